"""Engines that do what a script says, to the sample and to the millisecond: for tests and benchmarks."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from voiceagent.twin.ports import ConnectionDropped, EngineError, FunctionCall, OnWords, WordEnd

RATE_HZ = 24_000
TONE_HZ = 220
TONE_AMPLITUDE = 4_634  # -20 dBFS


@dataclass(frozen=True, slots=True)
class LogEntry:
    """Something an engine did: when (microseconds of the loop's clock), what, and to what."""

    at_us: int
    kind: str
    detail: Any = None


@dataclass(slots=True)
class Script:
    """What is heard and answered, and how long it takes. Texts are used in order; the last one repeats."""

    transcripts: Sequence[str] = ("hello",)
    replies: Sequence[str] | Callable[[Sequence[Mapping[str, Any]]], str] = ("Hello to you.",)
    stt_delay_ms: float = 50
    llm_first_token_ms: float = 100
    llm_token_ms: float = 10
    tts_first_byte_ms: float = 80
    tts_chunk_ms: int = 100
    tts_realtime_factor: float = 0  # how long a second of audio takes after the first byte; 0: nothing
    tts_ms_per_char: int = 60
    tts_leading_silence_ms: int = 0
    tts_odd_chunks: bool = False
    tts_wav_header: bool = False
    partials: bool = True
    partial_every_ms: int = 200
    # Faults by the number of the commit or request, from 1.
    stt_fail: set[int] = field(default_factory=set)
    stt_empty: set[int] = field(default_factory=set)
    stt_drop: set[int] = field(default_factory=set)
    stt_stall: set[int] = field(default_factory=set)
    llm_error: dict[int, int] = field(default_factory=dict)
    llm_stall: set[int] = field(default_factory=set)
    llm_break: dict[int, int] = field(default_factory=dict)  # after so many tokens
    llm_call: dict[int, FunctionCall] = field(default_factory=dict)
    tts_error: dict[int, int] = field(default_factory=dict)
    tts_stall: set[int] = field(default_factory=set)
    tts_empty: set[int] = field(default_factory=set)


def tone(samples: int, at: int = 0) -> bytes:
    """Return so many samples of the scripted voice, a 220 Hz tone at -20 dBFS, from its sample `at`."""
    n = np.arange(at, at + samples)
    pcm: bytes = (TONE_AMPLITUDE * np.sin(2 * np.pi * TONE_HZ / RATE_HZ * n)).astype("<i2").tobytes()
    return pcm


class ScriptedEngines:
    """`Engines` by a script. `log` tells what was asked of them and when."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.log: list[LogEntry] = []
        self.commits = 0
        self._utterances = itertools.count()
        self._llm_requests = itertools.count(1)
        self._tts_requests = itertools.count(1)

    async def start(self) -> None:
        """Nothing takes time."""

    async def aclose(self) -> None:
        """Nothing was started."""

    def note(self, kind: str, detail: Any = None) -> None:
        """Add to the log."""
        at_us = round(asyncio.get_running_loop().time() * 1e6)
        self.log.append(LogEntry(at_us, kind, detail))

    def of(self, kind: str) -> list[LogEntry]:
        """Return the log's entries of one kind."""
        return [entry for entry in self.log if entry.kind == kind]

    def transcript(self, number: int) -> str:
        """Return what is heard in the utterance of this number, from 0."""
        texts = self.script.transcripts
        return texts[min(number, len(texts) - 1)]

    def transcribe(self, on_partial: Callable[[str], None]) -> "ScriptedTranscription":
        """Begin an utterance."""
        return ScriptedTranscription(self, next(self._utterances), on_partial)

    async def reply(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncIterator[str | FunctionCall]:
        """Stream the next reply, a word a token."""
        script, number = self.script, next(self._llm_requests)
        del tools
        self.note("llm_request", list(messages))
        done = False
        try:
            if number in script.llm_stall:
                await asyncio.Event().wait()
            await asyncio.sleep(script.llm_first_token_ms / 1000)
            if number in script.llm_error:
                raise EngineError(script.llm_error[number], "scripted", "The script says so.")
            if number in script.llm_call:
                yield script.llm_call[number]
                done = True
                return
            text = (
                script.replies(messages)
                if callable(script.replies)
                else script.replies[min(number, len(script.replies)) - 1]
            )
            words = text.split()
            for index, word in enumerate(words):
                if index:
                    await asyncio.sleep(script.llm_token_ms / 1000)
                if script.llm_break.get(number) == index:
                    raise EngineError(500, "scripted", "The script breaks off.")
                self.note("llm_token" if index else "llm_first_token", word)
                yield word if index == len(words) - 1 else word + " "
            self.note("llm_done", text)
            done = True
        finally:
            if not done:
                self.note("llm_cancelled", number)

    async def speak(self, text: str, voice: str, speed: float, on_words: OnWords | None = None) -> AsyncIterator[bytes]:
        """Stream a tone as long as the text, whose every character takes as long as the next."""
        script, number = self.script, next(self._tts_requests)
        del voice, speed
        self.note("tts_request", text)
        done = False
        try:
            if number in script.tts_stall:
                await asyncio.Event().wait()
            await asyncio.sleep(script.tts_first_byte_ms / 1000)
            if number in script.tts_error:
                raise EngineError(script.tts_error[number], "scripted", "The script says so.")
            pcm = b"" if number in script.tts_empty else self.audio(text)
            self.note("tts_first_byte", text)
            if on_words is not None and pcm:
                on_words(self.words(text))
            for chunk in self._chunks(pcm):
                yield chunk
                await asyncio.sleep(len(chunk) / 2 / RATE_HZ * script.tts_realtime_factor)
            self.note("tts_done", text)
            done = True
        finally:
            if not done:
                self.note("tts_cancelled", text)

    def audio(self, text: str) -> bytes:
        """Return the scripted voice's audio of a text."""
        script = self.script
        silence = bytes(2 * RATE_HZ * script.tts_leading_silence_ms // 1000)
        return silence + tone(len(text) * script.tts_ms_per_char * RATE_HZ // 1000)

    def words(self, text: str) -> list[WordEnd]:
        """Return where the words of a text end in its audio."""
        script, ends = self.script, [match.end() for match in re.finditer(r"\S+", text)]
        return [WordEnd(end, script.tts_leading_silence_ms + end * script.tts_ms_per_char) for end in ends]

    def _chunks(self, pcm: bytes) -> list[bytes]:
        size = self.script.tts_chunk_ms * RATE_HZ * 2 // 1000
        if self.script.tts_odd_chunks:
            size -= 1
        if self.script.tts_wav_header:
            pcm = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00" + bytes(16) + b"data\xff\xff\xff\xff" + pcm
        return [pcm[at : at + size] for at in range(0, len(pcm), size)]


class ScriptedTranscription:
    """One utterance: its words come one by one as audio is appended, the last one only after the commit."""

    def __init__(self, engines: ScriptedEngines, number: int, on_partial: Callable[[str], None]) -> None:
        self._engines = engines
        self._words = engines.transcript(number).split()
        self._number = number
        self._on_partial = on_partial
        self._samples = 0
        self._told = 0

    def append(self, pcm: bytes) -> None:
        """Add audio."""
        script = self._engines.script
        if self._samples == 0:
            self._engines.note("stt_append_first", self._number)
        self._samples += len(pcm) // 2
        known = min(len(self._words) - 1, self._samples * 1000 // RATE_HZ // script.partial_every_ms)
        if script.partials and known > self._told:
            self._told = known
            self._on_partial(" ".join(self._words[:known]))

    async def final(self) -> str:
        """Return the scripted words."""
        engines, script = self._engines, self._engines.script
        engines.commits += 1
        number = engines.commits
        engines.note("stt_commit", self._samples)
        if number in script.stt_stall:
            await asyncio.Event().wait()
        await asyncio.sleep(script.stt_delay_ms / 1000)
        if number in script.stt_drop:
            raise ConnectionDropped
        if number in script.stt_fail:
            raise EngineError(500, "scripted", "The script says so.")
        words = "" if number in script.stt_empty else " ".join(self._words)
        engines.note("stt_completed", words)
        return words

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._engines.note("stt_cancelled", self._number)
