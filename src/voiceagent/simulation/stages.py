"""Scripted back-ends behind the stage ports: words from the audio's own script, drawn delays, stalls and failures."""

import asyncio
import random
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

from voiceagent.events import FinalTranscript, PartialTranscript, SttFailed
from voiceagent.heard import WordMark
from voiceagent.simulation.loop import VirtualLoop
from voiceagent.simulation.script import Timeline, Word, steps_in
from voiceagent.simulation.speech import Voice
from voiceagent.stages.ports import Delta, StageError, Stages, ToolCall, Transcribed

EPOCH: ContextVar[int] = ContextVar("epoch", default=0)
"""The reply attempt in whose tasks a request is made."""

LONG_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Backends:
    """How the back-ends of one session behave; delays in milliseconds on a grid of ten, `fail` are shares of requests."""

    stt_ms: tuple[int, ...] = (50,)
    partial_every_ms: int = 0  # 0: no partials
    stt_fail: float = 0.0
    llm_first_ms: tuple[int, ...] = (100,)
    llm_token_ms: tuple[int, ...] = (10,)
    words_per_token: int = 3
    llm_fail: float = 0.0
    tools: float = 0.0  # share of answers that first ask for a function
    tts_first_ms: tuple[int, ...] = (80,)
    tts_speed: float = 8.0  # times real time
    tts_chunk_ms: int = 200
    odd_chunks: bool = False
    tts_fail: float = 0.0
    sentences: tuple[int, int] = (1, 3)


class Seen(Protocol):
    """Who is told what reaches the back-ends."""

    def stt_audio(self, item: int, ranges: list[tuple[int, int]], samples: int) -> None:
        """The STT got audio of these steps for an item."""

    def tts_request(self, epoch: int, text: str) -> None:
        """Speech was asked for."""

    def tool_run(self, epoch: int) -> None:
        """A function was run."""


@dataclass(slots=True, eq=False)
class _Item:
    ranges: list[tuple[int, int]] = field(default_factory=list)
    samples: int = 0
    told: int = 0  # samples at the last partial
    due_ms: int = 0  # when the last partial is due
    final: bool = False


class ScriptedStt:
    """`SpeechToText`: an item's words are those whose middle is in its audio."""

    def __init__(
        self, timeline: Timeline, plan: Backends, draw: random.Random,
        *, seen: Seen, loop: VirtualLoop, post: Callable[[Transcribed], None],
    ) -> None:  # fmt: skip
        self._timeline, self._plan, self._draw, self._seen = timeline, plan, draw, seen
        self._loop = loop
        self._post = post
        self._items: dict[int, _Item] = {}
        self._open = 0
        self._near = 0
        self._due: dict[int, Any] = {}  # timers
        self._timers = 0

    def open(self, item: int) -> None:
        """Begin an item."""
        self._items[item] = _Item()
        self._open = item

    def append(self, pcm: bytes) -> None:
        """Add audio to the open item."""
        item = self._items[self._open]
        ranges = steps_in(pcm, self._near)
        self._near = ranges[-1][1]
        if item.ranges and item.ranges[-1][1] in (ranges[0][0], ranges[0][0] + 1):
            item.ranges[-1] = (item.ranges[-1][0], ranges[0][1])
            item.ranges += ranges[1:]
        else:
            item.ranges += ranges
        item.samples += len(pcm) // 2
        self._seen.stt_audio(self._open, ranges, len(pcm) // 2)
        every = self._plan.partial_every_ms * 24
        if every and item.samples - item.told >= every:
            item.told = item.samples
            words = self._timeline.words(item.ranges)
            if words:
                # What comes over one connection keeps its order.
                delay_ms = max(self._draw.choice(self._plan.stt_ms), item.due_ms - self._loop.now_us // 1000)
                item.due_ms = self._loop.now_us // 1000 + delay_ms
                self._later(delay_ms, self._partial, self._open, _text(words))

    def commit(self, item: int) -> None:
        """The item is complete."""
        draw, delay_ms = self._draw, self._draw.choice(self._plan.stt_ms)
        words = self._timeline.words(self._items[item].ranges)
        if draw.random() >= self._plan.stt_fail:
            self._later(delay_ms, self._final, item, _text(words))
            return
        match draw.randrange(7):
            case 0:
                self._later(delay_ms, self._fail, item)
            case 1:  # never
                return
            case 2:
                self._later(delay_ms, self._final, item, "")
            case 3:
                self._later(delay_ms, self._final, item, "thank you")
            case 4:
                self._later(delay_ms + draw.choice((2_000, 5_000, 9_000)), self._final, item, _text(words))
            case 5:  # told twice
                self._later(delay_ms, self._final, item, _text(words))
                self._later(delay_ms + draw.choice((0, 10, 300)), self._post, FinalTranscript(item, _text(words)))
            case _:
                self._later(0, self._post, SttFailed(0, "connection", "Speech to text is being reached again."))
                self._later(delay_ms + 300, self._final, item, _text(words))

    async def run(self) -> None:
        """Stay until cancelled."""
        try:
            await asyncio.Event().wait()
        finally:
            for timer in self._due.values():
                timer.cancel()

    def _later(self, delay_ms: int, act: Callable[..., None], *args: Any) -> None:
        self._timers += 1
        number = self._timers
        self._due[number] = self._loop.after_us(delay_ms * 1000, self._now, number, act, args)

    def _now(self, number: int, act: Callable[..., None], args: tuple[Any, ...]) -> None:
        del self._due[number]
        act(*args)

    def _partial(self, item: int, text: str) -> None:
        if not self._items[item].final:
            self._post(PartialTranscript(item, text))

    def _final(self, item: int, text: str) -> None:
        self._items[item].final = True
        self._post(FinalTranscript(item, text))

    def _fail(self, item: int) -> None:
        self._items[item].final = True
        self._post(SttFailed(item, "server_error", "Speech to text failed."))


def _text(words: list[Word]) -> str:
    return " ".join(word.text for word in words)


class ScriptedModel:
    """`LanguageModel`: sentences of drawn words."""

    def __init__(self, plan: Backends, draw: random.Random) -> None:
        self.open = 0  # requests
        self._plan = plan
        self._draw = draw

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        """Answer after the drawn delay, or fail."""
        self.open += 1
        try:
            fault = self._draw.randrange(6) if self._draw.random() < self._plan.llm_fail else None
            if fault in (0, 1):
                await asyncio.sleep(self._draw.choice(self._plan.llm_first_ms) / 1000)
                raise StageError("llm", "http_500", "The language model failed.", retryable=fault == 0)
            asked = bool(tools) and messages[-1]["role"] == "user" and self._draw.random() < self._plan.tools
            yield self._deltas(fault, ask=asked)
        finally:
            self.open -= 1

    async def _deltas(self, fault: int | None, *, ask: bool) -> AsyncIterator[Delta]:
        plan, draw = self._plan, self._draw
        if fault == 2:
            await asyncio.sleep(LONG_S)
        await asyncio.sleep(draw.choice(plan.llm_first_ms) / 1000)
        if ask:
            yield Delta(
                calls=(ToolCall("call", "note", f'{{"epoch": {EPOCH.get()}}}'),), usage={"completion_tokens": 9}
            )
            return
        if fault == 3:  # an empty answer
            return
        words = " ".join(sentence(draw) for _ in range(draw.randint(*plan.sentences))).split()
        for at in range(0, len(words), plan.words_per_token):
            if at:
                if fault == 4 and at > len(words) // 2:
                    await asyncio.sleep(LONG_S)
                if fault == 5 and at > len(words) // 2:
                    raise StageError("llm", "connection", "The language model broke off.", retryable=True)
                await asyncio.sleep(draw.choice(plan.llm_token_ms) / 1000)
            yield Delta(" ".join(words[at : at + plan.words_per_token]) + " ")
        yield Delta(usage={"prompt_tokens": 100, "completion_tokens": len(words)})


VOCABULARY = """
the a is of and to in it that was for on are with as at be this have from or one had by word but not what all were when
your can said there each which she how their will other about out many then them these some her would make like him into
time has look two more write go see number way could people than first water been called who oil its now find long down
day did get come made may part yesterday beautiful information university
""".split()  # noqa: SIM905 - to be read


def sentence(draw: random.Random) -> str:
    """A sentence of no meaning."""
    words = [draw.choice(VOCABULARY) for _ in range(draw.randint(3, 14))]
    if len(words) > 8 and draw.random() < 0.5:
        words[4] += ","
    return " ".join(words).capitalize() + draw.choice(".?.")


class ScriptedVoice:
    """`TextToSpeech`: audio by the sample, in chunks of any size, as fast as it was drawn."""

    def __init__(self, plan: Backends, voice: Voice, draw: random.Random, seen: Seen) -> None:
        self.open = 0  # requests
        self._plan, self._voice, self._draw, self._seen = plan, voice, draw, seen

    @asynccontextmanager
    async def speak(self, text: str) -> AsyncIterator[AsyncIterator[bytes | WordMark]]:
        """Speak one phrase, or fail."""
        self.open += 1
        self._seen.tts_request(EPOCH.get(), text)
        try:
            fault = self._draw.randrange(4) if self._draw.random() < self._plan.tts_fail else None
            if fault in (0, 1):
                await asyncio.sleep(self._draw.choice(self._plan.tts_first_ms) / 1000)
                raise StageError("tts", "http_500", "Text to speech failed.", retryable=fault == 0)
            yield self._chunks(text, fault)
        finally:
            self.open -= 1

    async def _chunks(self, text: str, fault: int | None) -> AsyncIterator[bytes | WordMark]:
        plan, size = self._plan, self._voice.samples(text) * 2
        marks = self._marks(text)
        await asyncio.sleep(self._draw.choice(plan.tts_first_ms) / 1000)
        at, chunk = 0, plan.tts_chunk_ms * 48 + plan.odd_chunks
        wait_s = round(plan.tts_chunk_ms / plan.tts_speed / 10) / 100
        while at < size:
            if at:
                if fault == 2 and at > size // 2:
                    await asyncio.sleep(LONG_S)
                if fault == 3 and at > size // 2:
                    raise StageError("tts", "connection", "Text to speech broke off.", retryable=True)
                await asyncio.sleep(wait_s)
            yield loud(min(chunk, size - at), at % 2)
            at += chunk
            while marks and marks[0].end_sample * 2 <= at:
                yield marks.popleft()

    def _marks(self, text: str) -> deque[WordMark]:
        if not self._voice.tells_words:
            return deque()
        ends = self._voice.word_ends(text)
        return deque(WordMark(match.end(), end) for match, end in zip(re.finditer(r"\S+", text), ends, strict=True))


@cache
def loud(size: int, odd: int) -> bytes:
    """So many bytes of audio that can be heard; `odd`: from the second byte of a sample on."""
    return (b"\x00\x20" * (size // 2 + 2))[odd : odd + size]


async def nothing() -> None:
    """There is nothing to open beforehand."""


def stages(
    timeline: Timeline, plan: Backends, voice: Voice, draw: random.Random, *, seen: Seen, loop: VirtualLoop
) -> tuple[Stages, ScriptedModel, ScriptedVoice]:
    """The back-ends of one session."""
    model, speech = ScriptedModel(plan, draw), ScriptedVoice(plan, voice, draw, seen)

    def stt(post: Callable[[Transcribed], None]) -> ScriptedStt:
        return ScriptedStt(timeline, plan, draw, seen=seen, loop=loop, post=post)

    return Stages(stt=stt, llm=model, tts=speech, warm=nothing), model, speech
