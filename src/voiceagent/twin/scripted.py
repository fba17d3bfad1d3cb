"""Engines that do what a script says, to the sample and to the millisecond: for tests and benchmarks."""

import asyncio
import itertools
import math
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from voiceagent.twin.bursts import Bursts
from voiceagent.twin.ports import ConnectionDropped, EngineError, FunctionCall, OnWords, Transcription, WordEnd

RATE_HZ = 24_000
TIMER_S = 0.002
"""A loop's timers are late by no more than this."""
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
    # What each connection hears, burst after burst of voice, in place of `transcripts`: the words follow the audio.
    transcripts_by_burst: Sequence[Sequence[str]] = ()
    stt_delay_ms: float = 50
    stt_ms_per_tail_s: float = 0  # for each second since the last commit
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
    # Words come so far behind the voice, the last one too; without it the last one needs the commit.
    partial_lag_ms: float | None = None
    # The delays to a first result are lognormal about the above, some of them stragglers; a seed gives the same ones.
    sigma: float = 0
    straggler_share: float = 0
    straggler_factor: float = 4
    seed: int = 1
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

    def drawn_ms(self, stage: str, number: int, ms: float) -> float:
        """Return the delay of a stage's request of this number, where the plain script says `ms`."""
        if not self.sigma and not self.straggler_share:
            return ms
        dice = random.Random(f"{self.seed} {stage} {number}")  # noqa: S311 - to be repeated, not to be secret
        factor = math.exp(dice.gauss(0, self.sigma))
        return ms * factor * (self.straggler_factor if dice.random() < self.straggler_share else 1)


def tone(samples: int, at: int = 0) -> bytes:
    """Return so many samples of the scripted voice, a 220 Hz tone at -20 dBFS, from its sample `at`."""
    n = np.arange(at, at + samples)
    pcm: bytes = (TONE_AMPLITUDE * np.sin(2 * np.pi * TONE_HZ / RATE_HZ * n)).astype("<i2").tobytes()
    return pcm


class ScriptedEngines:
    """`Engines` by a script. `log` tells what was asked of them and when."""

    def __init__(self, script: Script | None = None, *, exact: bool = False) -> None:
        """`exact`: wait for the very moment, where the loop's timers would be up to a millisecond late each time."""
        self.script = script or Script()
        self._exact = exact
        self.log: list[LogEntry] = []
        self.commits = 0
        self._utterances = itertools.count()
        self._connections: dict[str, Bursts] = {}
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

    def transcribe(
        self, on_partial: Callable[[str], None], connection: str = "", after: Transcription | None = None
    ) -> "ScriptedTranscription":
        """Begin an utterance."""
        del after  # the script says what each one is
        texts = self.script.transcripts_by_burst
        number = len(self._connections)
        bursts = self._connections.setdefault(connection, Bursts(texts[min(number, len(texts) - 1)] if texts else None))
        return ScriptedTranscription(self, next(self._utterances), bursts, on_partial)

    async def wait(self, stage: str, number: int, plain_ms: float, detail: str = "") -> None:
        """Let a stage's delay pass, and log what it was."""
        delay_ms = self.script.drawn_ms(stage, number, plain_ms)
        self.note(f"{stage}_delay", {"number": number, "ms": round(delay_ms, 3), "text": detail})
        await self._until(asyncio.get_running_loop().time() + delay_ms / 1000)

    async def _until(self, due_s: float) -> None:
        clock = asyncio.get_running_loop().time
        if not self._exact:
            await asyncio.sleep(max(0.0, due_s - clock()))
            return
        await asyncio.sleep(max(0.0, due_s - clock() - TIMER_S))
        while clock() < due_s:  # noqa: ASYNC110 - no event tells of a moment
            await asyncio.sleep(0)

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
            await self.wait("llm", number, script.llm_first_token_ms)
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
            words, clock = text.split(), asyncio.get_running_loop().time
            first_s = clock()
            for index, word in enumerate(words):
                if index:  # by an absolute schedule: sums of sleeps would drift
                    await self._until(first_s + index * script.llm_token_ms / 1000)
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
            await self.wait("tts", number, script.tts_first_byte_ms, text)
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
    """One utterance: its words come one by one as audio is appended, the last one only after the commit.

    With `partial_lag_ms` they follow the voice, and the last one comes when the voice has been silent for so long.
    """

    def __init__(
        self, engines: ScriptedEngines, number: int, bursts: Bursts, on_partial: Callable[[str], None]
    ) -> None:
        self._engines = engines
        self._number = number
        self._bursts = bursts
        self._words = [] if bursts.follows else engines.transcript(number).split()
        self._on_partial = on_partial
        self._samples = 0
        self._voiced_samples = 0
        self._told = 0
        self._expected = 0  # words that a timer will tell
        self._timers: list[asyncio.TimerHandle] = []
        self._fallen_silent: asyncio.TimerHandle | None = None

    def append(self, pcm: bytes) -> None:
        """Add audio."""
        script = self._engines.script
        if self._samples == 0:
            self._engines.note("stt_append_first", self._number)
        self._samples += len(pcm) // 2
        heard = self._bursts.feed(pcm)
        self._voiced_samples += heard.voiced_samples
        for text in heard.texts:
            self._words += text.split()
        if not script.partials:
            return
        if script.partial_lag_ms is None:
            self._tell(min(len(self._words) - 1, self._samples * 1000 // RATE_HZ // script.partial_every_ms))
        elif heard.voiced_samples:
            self._follow(script.partial_lag_ms - heard.silent_samples * 1000 / RATE_HZ)

    def _follow(self, lag_ms: float) -> None:
        """Tell after the lag the words said so far, and the rest if no more voice has come by then."""
        loop, delay_s = asyncio.get_running_loop(), max(0.0, lag_ms) / 1000
        said = self._voiced_samples * 1000 // RATE_HZ // self._engines.script.partial_every_ms
        said = min(len(self._words) - 1, said)
        if said > self._expected:
            self._expected = said
            self._timers.append(loop.call_later(delay_s, self._tell, said))
        if self._fallen_silent is not None:
            self._fallen_silent.cancel()
        self._fallen_silent = loop.call_later(delay_s, self._tell, len(self._words))

    def _tell(self, count: int) -> None:
        if count > self._told:
            self._told = count
            self._on_partial(" ".join(self._words[:count]))

    def _stop(self) -> None:
        for timer in (*self._timers, self._fallen_silent):
            if timer is not None:
                timer.cancel()

    async def final(self) -> str:
        """Return the scripted words."""
        engines, script = self._engines, self._engines.script
        self._stop()
        engines.commits += 1
        number = engines.commits
        engines.note("stt_commit", self._samples)
        if number in script.stt_stall:
            await asyncio.Event().wait()
        words = "" if number in script.stt_empty else " ".join(self._words)
        tail_ms = script.stt_ms_per_tail_s * self._samples / RATE_HZ
        await engines.wait("stt", number, script.stt_delay_ms + tail_ms, words)
        if number in script.stt_drop:
            raise ConnectionDropped
        if number in script.stt_fail:
            raise EngineError(500, "scripted", "The script says so.")
        engines.note("stt_completed", words)
        return words

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._stop()
        self._engines.note("stt_cancelled", self._number)
