"""PCM16 arithmetic: durations, levels, resampling for the detector, and what comes wrapped or cut in the wrong place."""

import struct

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 24_000
SILENCE_DBFS = -96.0
"""The level of digital silence, in place of minus infinity."""

Samples = NDArray[np.int16]


# ------------------------------------------------------------------------------------------ samples and time
def samples_to_us(samples: int) -> int:
    """Return how long so many samples last, in microseconds, rounded down."""
    return samples * 1_000_000 // RATE_HZ


def us_to_samples(us: int) -> int:
    """Return how many whole samples fit into so many microseconds."""
    return us * RATE_HZ // 1_000_000


def ms_to_samples(ms: int) -> int:
    """Return how many samples so many milliseconds are."""
    return ms * RATE_HZ // 1000


# ------------------------------------------------------------------------------------------ level
def level_dbfs(pcm: bytes | Samples) -> float:
    """Return the RMS level in dB relative to full scale; a full-scale sine is at -3."""
    samples = np.frombuffer(pcm, dtype="<i2") if isinstance(pcm, bytes) else pcm
    if not samples.size:
        return SILENCE_DBFS
    wide = samples.astype(np.float32)
    power = float(np.dot(wide, wide)) / samples.size
    return max(SILENCE_DBFS, 10 * float(np.log10(power / 32768.0**2))) if power else SILENCE_DBFS


def levels_dbfs(samples: Samples, step: int) -> NDArray[np.float32]:
    """Return the level of each whole step of so many samples."""
    count = samples.size // step
    wide = samples[: count * step].astype(np.float32).reshape(count, step)
    power = np.einsum("ij,ij->i", wide, wide) / step
    levels: NDArray[np.float32] = np.maximum(10 * np.log10(power / 32768.0**2 + 1e-12), SILENCE_DBFS).astype(np.float32)
    return levels


def first_audible_sample(pcm: bytes, threshold_dbfs: float = -50.0) -> int | None:
    """Return where the first 10 ms begin that are at least so loud; None if there are none."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2")
    step = min(ms_to_samples(10), samples.size)
    if not step:
        return None
    loud = np.flatnonzero(levels_dbfs(samples, step) >= threshold_dbfs)
    return int(loud[0]) * step if loud.size else None


def last_audible_sample(pcm: bytes, threshold_dbfs: float = -50.0) -> int | None:
    """Return where the last 10 ms end that are at least so loud; None if there are none."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2")
    step = min(ms_to_samples(10), samples.size)
    if not step:
        return None
    loud = np.flatnonzero(levels_dbfs(samples, step) >= threshold_dbfs)
    return (int(loud[-1]) + 1) * step if loud.size else None


# ------------------------------------------------------------------------------------------ chunks and containers
class OddBytes:
    """Puts samples together again that were cut in two by a chunk's end."""

    def __init__(self) -> None:
        self._rest = b""

    def align(self, chunk: bytes) -> bytes:
        """Return the whole samples that there are now."""
        data = self._rest + chunk
        even = len(data) // 2 * 2
        self._rest = data[even:]
        return data[:even]


def strip_wav_header(chunk: bytes) -> bytes:
    """Return the first chunk of a PCM stream without the WAV header that some servers put before it."""
    if chunk[:4] != b"RIFF" or chunk[8:12] != b"WAVE":
        return chunk
    at = 12
    while at + 8 <= len(chunk):
        name, size = chunk[at : at + 4], struct.unpack_from("<I", chunk, at + 4)[0]
        at += 8
        if name == b"data":
            return chunk[at:]
        at += size + size % 2
    return b""


def wav_bytes(pcm: bytes, rate_hz: int = RATE_HZ) -> bytes:
    """Return PCM16 mono as a WAV file."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, rate_hz * 2, 2, 16)
    body = b"WAVE" + fmt + struct.pack("<4sI", b"data", len(pcm)) + pcm
    return b"RIFF" + struct.pack("<I", len(body)) + body


# ------------------------------------------------------------------------------------------ resampling
class Decimator:
    """24 kHz to 16 kHz, streaming: a polyphase low-pass of 48 taps at 48 kHz, 0.5 ms of lag.

    Of the input raised to 48 kHz with zeros every third sample is kept; so of the taps only every second one meets a
    sample, and there are two sets of them in turn. Any chunking of the same input gives the same output.
    """

    TAPS = 48

    def __init__(self) -> None:
        # The cut-off is 7.4 kHz, with room to fall before 8 kHz folds back; the gain of 2 makes up for the zeros.
        n = np.arange(self.TAPS) - (self.TAPS - 1) / 2
        low_pass = np.sinc(2 * 7_400 / 48_000 * n) * np.kaiser(self.TAPS, 6.0)
        low_pass *= 2 / low_pass.sum()
        half = self.TAPS // 2
        self._even = low_pass[0::2][::-1].astype(np.float32)  # meets the input at even places of the raised signal
        self._odd = low_pass[1::2][::-1].astype(np.float32)
        self._half = half
        self._pending = np.zeros(half - 1, dtype=np.float32)  # input not used up, with the filter's past before it

    def feed(self, samples: Samples) -> Samples:
        """Return the 16 kHz samples that follow from these 24 kHz ones: two for every whole three."""
        data = np.concatenate([self._pending, samples.astype(np.float32)])
        groups = (data.size - (self._half - 1)) // 3
        if groups <= 0:
            self._pending = data
            return np.empty(0, dtype=np.int16)
        # Output 2g stands at raised place 6g (even: input 3g), output 2g+1 at 6g+3 (odd: inputs up to 3g+1).
        windows = np.lib.stride_tricks.sliding_window_view(data, self._half)
        out = np.empty(groups * 2, dtype=np.float32)
        out[0::2] = windows[0 : groups * 3 : 3] @ self._even
        out[1::2] = windows[1 : groups * 3 : 3] @ self._odd
        self._pending = data[groups * 3 :]
        return np.clip(np.rint(out), -32768, 32767).astype(np.int16)
