"""The telephone's audio: a byte a sample at 8 kHz, by mu-law or A-law, to and from PCM16 at 24 kHz."""

import numpy as np
from numpy.typing import NDArray

from voiceagent.audio import OddBytes

RATIO = 3  # of 24 kHz to 8 kHz
LAWS = {"audio/pcmu": "mu", "audio/pcma": "a"}
_TAPS = 48


def _levels(law: str) -> NDArray[np.int16]:
    """The sample that each byte stands for."""
    codes = np.arange(256)
    codes = ~codes & 0xFF if law == "mu" else codes ^ 0x55
    exponent, mantissa = (codes >> 4) & 7, codes & 15
    if law == "mu":
        sizes = (((mantissa << 3) + 0x84) << exponent) - 0x84
        negative = codes >= 128
    else:
        sizes = np.where(exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0))
        negative = codes < 128
    return np.where(negative, -sizes, sizes).astype(np.int16)


_LEVELS = {form: _levels(law) for form, law in LAWS.items()}


class FromTelephone:
    """Decodes a stream. Each byte gives three samples at once, on a straight line from the sample before."""

    def __init__(self, form: str) -> None:
        self._levels = _LEVELS[form]
        self._last = 0.0

    def feed(self, data: bytes) -> bytes:
        """Return the PCM of the next bytes."""
        samples = self._levels[np.frombuffer(data, dtype=np.uint8)].astype(np.float32)
        if not samples.size:
            return b""
        before = np.concatenate([[self._last], samples[:-1]])
        self._last = float(samples[-1])
        steps = np.arange(1, RATIO + 1) / RATIO
        wide = before[:, None] + (samples - before)[:, None] * steps
        pcm: bytes = np.rint(wide).astype("<i2").tobytes()
        return pcm


class ToTelephone:
    """Encodes a stream: a low-pass at 3.4 kHz, every third sample, and the byte whose level is nearest."""

    def __init__(self, form: str) -> None:
        levels = _LEVELS[form].astype(np.int32)
        self._codes = np.argsort(levels, kind="stable").astype(np.uint8)
        ordered = levels[self._codes]
        self._bounds = (ordered[1:] + ordered[:-1]) / 2
        n = np.arange(_TAPS) - (_TAPS - 1) / 2
        low_pass = np.sinc(2 * 3_400 / 24_000 * n) * np.kaiser(_TAPS, 6.0)
        self._low_pass = (low_pass / low_pass.sum()).astype(np.float32)
        self._pending = np.zeros(_TAPS - 1, dtype=np.float32)
        self._whole = OddBytes()

    def feed(self, pcm: bytes) -> bytes:
        """Return the bytes that follow from this PCM: one for every whole three samples."""
        samples = np.frombuffer(self._whole.align(pcm), dtype="<i2").astype(np.float32)
        data = np.concatenate([self._pending, samples])
        count = (data.size - (_TAPS - 1)) // RATIO
        if count <= 0:
            self._pending = data
            return b""
        windows = np.lib.stride_tricks.sliding_window_view(data, _TAPS)[: count * RATIO : RATIO]
        narrow = windows @ self._low_pass
        self._pending = data[count * RATIO :]
        encoded: bytes = self._codes[np.searchsorted(self._bounds, narrow)].tobytes()
        return encoded
