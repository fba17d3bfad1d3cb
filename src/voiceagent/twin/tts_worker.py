"""The synthesiser's process: espeak-ng behind a pipe. It is GPL, optional, and shares no address space with the rest."""

import ctypes
import os
import re
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
_NO_MORE_EVENTS, _WORD_BEGINS, _CLAUSE_ENDS = 0, 1, 5
_OPENING = re.compile(r"(?:(?<=\s)|^)[^\w\s]+$")
_QUIET = 64  # of 32767; between two clauses espeak is silent
WordEnd = tuple[int, int]
"""How many characters are said after how many milliseconds."""


class _Event(ctypes.Structure):
    """``espeak_EVENT``."""

    _fields_ = (
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int), ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", ctypes.c_char * 8),
    )  # fmt: skip


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


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
        self._emit: Callable[[bytes, list[WordEnd]], None] = lambda _, __: None
        self._words = WordEnds("", rate_hz)
        self._resampler = soxr.ResampleStream(rate_hz, OUT_HZ, 1, dtype="int16")

    def speak(self, text: str, voice: str, speed: float, emit: Callable[[bytes, list[WordEnd]], None]) -> None:
        """Synthesise a text; `emit` gets PCM16 mono at 24 kHz as it comes, and the words that end in it."""
        name = VOICES.get(voice, voice)
        for candidate in (name, "en-us"):  # an unknown voice would silently be the one before
            if self._library.espeak_SetVoiceByName(candidate.encode()) == 0:
                break
        self._library.espeak_SetParameter(_RATE, round(min(450, max(80, WORDS_PER_MINUTE * speed))), 0)
        self._emit = emit
        self._words = WordEnds(text, self._rate_hz)
        self._resampler = soxr.ResampleStream(self._rate_hz, OUT_HZ, 1, dtype="int16")
        raw = text.encode()
        self._library.espeak_Synth(raw, len(raw) + 1, 0, 0, 0, _UTF8, None, None)
        self._send(np.empty(0, dtype=np.int16), last=True)

    def _take(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: "ctypes._Pointer[_Event]") -> int:
        chunk = np.empty(0, dtype=np.int16)
        if samples and count > 0:
            chunk = np.ctypeslib.as_array(samples, shape=(count,)).copy()
        self._words.listen(chunk)
        index = 0
        while (event := events[index]).type != _NO_MORE_EVENTS:
            self._words.note(event.type, event.text_position - 1, event.sample)
            index += 1
        if chunk.size:
            self._send(chunk, last=False)
        return 0

    def _send(self, samples: "np.ndarray[tuple[int], np.dtype[np.int16]]", *, last: bool) -> None:
        out = self._resampler.resample_chunk(samples, last=last)
        if out.size or last:
            self._emit(out.astype("<i2").tobytes(), self._words.take())


class WordEnds:
    """Turns espeak's events, which tell where words begin, into where they end."""

    def __init__(self, text: str, rate_hz: int) -> None:
        self._text = text
        self._rate_hz = rate_hz
        self._ends: list[WordEnd] = []
        self._said = 0  # characters
        self._pausing = False  # after a clause
        self._samples = 0
        self._loud = 0  # the last sample that was not silent

    def listen(self, samples: "np.ndarray[tuple[int], np.dtype[np.int16]]") -> None:
        """Take in the samples that the next events belong to."""
        loud = np.flatnonzero(np.abs(samples) > _QUIET)
        if loud.size:
            self._loud = self._samples + int(loud[-1]) + 1
        self._samples += samples.size

    def note(self, kind: int, position: int, sample: int) -> None:
        """Take in an event before a character and at a sample; one that tells nothing about words is passed over."""
        if kind == _WORD_BEGINS:
            said = self._chars_before(position)
            if said > self._said or self._pausing:  # else it begins inside a word: "10:30" is two to espeak
                self._add(said, sample)
            self._pausing = False
        elif kind == _CLAUSE_ENDS:
            last = position + 1 >= len(self._text)  # there espeak counts one character too few
            said = len(self._text[: None if last else position].rstrip())
            if said > self._said:
                self._add(said, min(sample, self._loud))
                self._pausing = True

    def _chars_before(self, position: int) -> int:
        """Where the word before this one ends: a bracket or a quotation mark belongs to the word that it opens."""
        return len(_OPENING.sub("", self._text[:position]).rstrip())

    def take(self) -> list[WordEnd]:
        """Return what is known and was not taken before."""
        ends, self._ends = self._ends, []
        return ends

    def _add(self, said: int, sample: int) -> None:
        self._said = said
        self._ends.append((said, sample * 1000 // self._rate_hz))


def _writer(sink: IO[bytes], key: int) -> Callable[[bytes, list[WordEnd]], None]:
    return lambda pcm, words: pipes.write(sink, {"id": key, "words": words}, pcm)


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
