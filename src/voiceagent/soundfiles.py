"""Sound files of any kind to the audio that the protocol speaks: PCM16 mono at 24 kHz."""

import io
import struct
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

RATE_HZ = 24_000
MAX_BYTES = 512 * 1024 * 1024


class SoundFileError(Exception):
    """The file cannot be played; the message is a sentence that says why."""


def read_speech(path: Path) -> bytes:
    """Return a file's audio: any rate, width and number of channels that libsndfile reads; channels are averaged.

    A WAV header that lies about its length is believed in nothing but the format: what is there is played. Raises
    `SoundFileError`.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SoundFileError(f"{path} is larger than {MAX_BYTES // 1024 // 1024} MiB.")
        data = path.read_bytes()
    except OSError as error:
        raise SoundFileError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        samples, rate_hz = soundfile.read(io.BytesIO(_honest(data)), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError):
        raise SoundFileError(f"{path} is not a sound file that can be read.") from None
    if not len(samples):
        raise SoundFileError(f"{path} holds no sound.")
    return to_pcm(samples.mean(axis=1), rate_hz)


def to_pcm(samples: NDArray[np.float32], rate_hz: int) -> bytes:
    """Return float samples in -1 to 1 at any rate as PCM16 at 24 kHz."""
    if rate_hz != RATE_HZ:
        samples = soxr.resample(samples, rate_hz, RATE_HZ, quality="HQ")
    scaled = np.clip(np.rint(np.nan_to_num(samples) * 32767), -32768, 32767)
    return scaled.astype("<i2").tobytes()


def _honest(data: bytes) -> bytes:
    """Return a WAV file whose data chunk says as much as there is; any other file as it is."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return data
    at, frame = 12, 2
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        if name == b"fmt " and at + 24 <= len(data):
            frame = max(1, struct.unpack_from("<H", data, at + 20)[0])
        if name == b"data":
            there = len(data) - at - 8
            if 0 < size <= there:
                return data
            whole = there // frame * frame
            head = bytearray(data[: at + 8])
            struct.pack_into("<I", head, at + 4, whole)
            struct.pack_into("<I", head, 4, at + whole)
            return bytes(head) + data[at + 8 : at + 8 + whole]
        at += 8 + size + size % 2
    return data
