"""The synthesiser's process: espeak-ng behind a pipe. It is GPL, optional, and shares no address space with the rest."""

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import soxr

from voiceagent.twin import pipes

OUT_HZ = 24_000
WORDS_PER_MINUTE = 165
LONGEST_PATH = 150  # espeak-ng's own buffer for its data path
VOICES = {
    "alloy": "en-us", "ash": "en-us+m1", "ballad": "en-us+m2", "cedar": "en-us+m3", "coral": "en-us+f2",
    "echo": "en-us+m4", "fable": "en-us+m5", "marin": "en-us+f1", "nova": "en-us+f2", "onyx": "en-us+m7",
    "sage": "en-us+f4", "shimmer": "en-us+f5", "verse": "en-us+m6",
}  # fmt: skip

_SYNCHRONOUS, _DONT_EXIT, _RATE, _UTF8 = 2, 0x8000, 1, 1
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Synthesiser:
    """espeak-ng through ctypes; for one thread."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        data = str(espeakng_loader.get_data_path())
        # With its symlink the data can be where it wants.
        self._link = tempfile.TemporaryDirectory(prefix="va-") if len(data) > LONGEST_PATH else None
        if self._link is not None:
            short = Path(self._link.name) / "d"
            short.symlink_to(Path(data).parent)
            data = str(short / "espeak-ng-data")
        rate_hz = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _DONT_EXIT)
        if rate_hz <= 0:
            raise RuntimeError("espeak-ng could not be started")
        self._rate_hz = rate_hz
        self._callback = _Callback(self._take)
        self._library.espeak_SetSynthCallback(self._callback)
        self._emit: Callable[[bytes], None] = lambda _: None
        self._resampler = soxr.ResampleStream(rate_hz, OUT_HZ, 1, dtype="int16")

    def speak(self, text: str, voice: str, speed: float, emit: Callable[[bytes], None]) -> None:
        """Synthesise a text; `emit` gets PCM16 mono at 24 kHz as it comes."""
        name = VOICES.get(voice, voice)
        for candidate in (name, "en-us"):  # an unknown voice would silently be the one before
            if self._library.espeak_SetVoiceByName(candidate.encode()) == 0:
                break
        self._library.espeak_SetParameter(_RATE, round(min(450, max(80, WORDS_PER_MINUTE * speed))), 0)
        self._emit = emit
        self._resampler = soxr.ResampleStream(self._rate_hz, OUT_HZ, 1, dtype="int16")
        raw = text.encode()
        self._library.espeak_Synth(raw, len(raw) + 1, 0, 0, 0, _UTF8, None, None)
        self._send(np.empty(0, dtype=np.int16), last=True)

    def _take(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _: int) -> int:
        if samples and count > 0:
            self._send(np.ctypeslib.as_array(samples, shape=(count,)).copy(), last=False)
        return 0

    def _send(self, samples: "np.ndarray[tuple[int], np.dtype[np.int16]]", *, last: bool) -> None:
        out = self._resampler.resample_chunk(samples, last=last)
        if out.size:
            self._emit(out.astype("<i2").tobytes())


def _writer(sink: IO[bytes], key: int) -> Callable[[bytes], None]:
    return lambda pcm: pipes.write(sink, {"id": key}, pcm)


def main() -> None:
    """Serve requests from stdin until it ends."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the messages
    engine = Synthesiser()
    pipes.write(sink, {"ready": True})
    while (message := pipes.read(source)) is not None:
        head, _ = message
        try:
            engine.speak(head["text"], head["voice"], head["speed"], _writer(sink, head["id"]))
            pipes.write(sink, {"id": head["id"], "end": True})
        except Exception as error:  # noqa: BLE001 - the request fails, the worker goes on
            pipes.write(sink, {"id": head["id"], "end": True, "error": f"{type(error).__name__}"})


if __name__ == "__main__":
    main()
