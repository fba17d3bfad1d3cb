"""One attempt at a reply: tokens become phrases, phrases become audio, in order, with the next one already under way.

Everything it makes goes behind the outbox's gate; everything it learns is posted as a fact with its epoch. It is one task
scope: cancelling it closes its requests at once. It raises nothing but its own cancellation.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from voiceagent.accounts import Work
from voiceagent.audio import RATE_HZ, OddBytes, first_audible_sample, last_audible_sample, strip_wav_header
from voiceagent.events import (
    Fact,
    ReplyFailed,
    ReplyPhrase,
    ReplyWords,
)
from voiceagent.heard import WordMark
from voiceagent.making import MAX_TOOL_ROUNDS, MAX_TRIES, Making, Timeouts
from voiceagent.outbox import Outbox
from voiceagent.phrases import PhraseCutter
from voiceagent.stages.ports import Acquired, Delta, SpeechPart, StageError, Stages, ToolCall, Usage
from voiceagent.tools import Tool

CHUNKS_AHEAD = 64
PHRASES_AHEAD = 8
TAIL_BYTES = RATE_HZ * 2
"""A phrase ends with less than a second of silence."""


@dataclass(slots=True, eq=False)
class _Speech:
    """One phrase on its way to becoming audio; its chunks end with None, or with what went wrong."""

    text: str
    chunks: asyncio.Queue[bytes | WordMark | StageError | None] = field(
        default_factory=lambda: asyncio.Queue(maxsize=CHUNKS_AHEAD)
    )


class _Sound:
    """Where the sound of a phrase begins and ends, where the synthesiser tells nothing of its words."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._samples = 0
        self._begun = False  # something could be heard
        self._tail = b""  # where its end is looked for

    def feed(self, pcm: bytes) -> list[WordMark]:
        """Take in more audio; the silence before the first sound is told once it is over."""
        marks = []
        if not self._begun and (first := first_audible_sample(pcm)) is not None:
            marks = [WordMark(0, self._samples + first)]
            self._begun = True
        self._samples += len(pcm) // 2
        self._tail = (self._tail + pcm)[-TAIL_BYTES:]
        return marks

    def end(self) -> list[WordMark]:
        """The audio is complete: the text was said where the sound ended."""
        if not self._begun:
            return []
        before = self._samples - len(self._tail) // 2
        return [WordMark(len(self._text), before + (last_audible_sample(self._tail) or 0))]


class ReplyAttempt(Making):
    """Makes the reply of one epoch by the language model and text to speech."""

    def __init__(
        self, work: Work, stages: Stages, outbox: Outbox,
        *, post: Callable[[Fact], None], now_us: Callable[[], int], timeouts: Timeouts, tools: Sequence[Tool] = (),
    ) -> None:  # fmt: skip
        super().__init__(work, outbox, post=post, now_us=now_us, timeouts=timeouts, hosts=stages.hosts)
        self._stages = stages
        self._tools = {tool.name: tool for tool in tools}
        self._group: asyncio.TaskGroup
        self._tasks: set[asyncio.Task[None]] = set()
        self._phrases: asyncio.Queue[str | StageError | None] = asyncio.Queue(maxsize=PHRASES_AHEAD)
        self._speeches: asyncio.Queue[_Speech | None] = asyncio.Queue(maxsize=1)  # one is played, one is prepared
        self._promoted = asyncio.Event()
        self._fetching = 0  # phrases whose speech was asked for and is not there to its end
        self._asked_all = False
        self._fetched_us: int | None = None  # when the last of them was

    @property
    def promoted(self) -> bool:
        """Whether its turn has ended as expected."""
        return self._promoted.is_set()

    def promote(self) -> None:
        """The turn has ended as expected: make all of it."""
        self._promoted.set()

    async def run(self, messages: Sequence[Mapping[str, Any]], canned: str) -> None:
        """Make the reply from `messages` by the model, or from the `canned` words as they stand.

        Until it is promoted no function is called, and only the first phrase becomes speech.
        """
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._spawn(self._write(messages, canned))
            self._spawn(self._request_speech())
            await self._play()
            for task in self._tasks:  # after a failure in the middle nobody takes what they would make
                task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------------------------ tokens -> phrases
    async def _write(self, messages: Sequence[Mapping[str, Any]], canned: str) -> None:
        cutter = PhraseCutter()
        try:
            if canned:
                for phrase in cutter.feed(canned):
                    await self._phrases.put(phrase)
            else:
                self._mark("llm_request")
                async with aclosing(self._tokens(list(messages))) as texts:
                    async for text in texts:
                        for phrase in cutter.feed(text):
                            self._mark("first_clause")
                            await self._phrases.put(phrase)
                self._mark("llm_done")
            for phrase in cutter.flush():
                self._mark("first_clause")
                await self._phrases.put(phrase)
        except StageError as failure:
            await self._phrases.put(failure)  # in its place: what was made before is still played
        await self._phrases.put(None)

    async def _tokens(self, messages: list[Mapping[str, Any]]) -> AsyncGenerator[str]:
        """The words of the answer; functions that the model asks for are called in between."""
        schemas = [tool.schema for tool in self._tools.values()]
        for round_ in range(MAX_TOOL_ROUNDS + 1):
            calls: tuple[ToolCall, ...] = ()
            async with aclosing(self._deltas(messages, schemas if round_ < MAX_TOOL_ROUNDS else [])) as deltas:
                async for delta in deltas:
                    calls += delta.calls
                    self.work.count(delta.usage)
                    if delta.acquired is not None:
                        self._connected("llm", delta.acquired)
                    if delta.text:
                        self.work.tokens += 1
                        self._mark("llm_first_token")
                        yield delta.text
            if not calls:
                return
            self.work.finish = "tool_calls"
            messages += await self._call(calls)

    async def _call(self, calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
        said = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]
        results = []
        await self._promoted.wait()
        for call in calls:
            tool = self._tools.get(call.name)
            text = await tool.call(call.arguments) if tool is not None else "Error: there is no such function."
            results.append({"role": "tool", "tool_call_id": call.call_id, "content": text})
        return [{"role": "assistant", "content": None, "tool_calls": said}, *results]

    async def _deltas(
        self, messages: Sequence[Mapping[str, Any]], schemas: Sequence[Mapping[str, Any]]
    ) -> AsyncGenerator[Delta]:
        """One request's deltas; while nothing has come, another try is as good as the first."""
        for attempt in range(1, MAX_TRIES + 1):
            begun = False
            self._requested()
            try:
                async with self._deadline("llm", self._timeouts.first_s) as limit:  # noqa: SIM117 - outermost
                    async with self._stages.llm.reply(messages, schemas) as deltas, aclosing(deltas):  # type: ignore[type-var]
                        async for delta in deltas:
                            begun = True
                            limit.reschedule(None)  # the consumer's time is not the model's
                            yield delta
                            limit.reschedule(asyncio.get_running_loop().time() + self._timeouts.next_s)
            except StageError as failure:
                self.work.finish = "error"
                if begun or not failure.retryable or attempt == MAX_TRIES:
                    raise
                await self._again(failure)
            else:
                self._answered()
                return

    # ------------------------------------------------------------------------------ phrases -> audio
    async def _request_speech(self) -> None:
        while (phrase := await self._phrases.get()) is not None:
            if isinstance(phrase, StageError):
                speech = _Speech("")
                speech.chunks.put_nowait(phrase)
            else:
                speech = _Speech(phrase)
                self.work.characters += len(phrase)
                self._fetching += 1
                self._spawn(self._fetch(speech))
            await self._speeches.put(speech)
            await self._promoted.wait()
        self._asked_all = True
        self._mark_speech_done()
        await self._speeches.put(None)

    def _mark_speech_done(self) -> None:
        """No phrase is to come, and the speech of none is missing; of a guess that is known only once its turn has ended."""
        if self._asked_all and not self._fetching and self._fetched_us is not None:
            self._mark("tts_done", self._fetched_us)

    async def _fetch(self, speech: _Speech) -> None:
        for attempt in range(1, MAX_TRIES + 1):
            begun, from_us = False, self._now_us()
            self._mark("tts_request")
            try:
                async with self._deadline("tts", self._timeouts.first_s) as limit:  # noqa: SIM117 - outermost
                    async with self._stages.tts.speak(speech.text) as chunks, aclosing(chunks):  # type: ignore[type-var]
                        async for chunk in chunks:
                            begun = True
                            self._waited(from_us)
                            limit.reschedule(None)  # a full queue is not the synthesiser's fault
                            await self._take_part(speech, chunk)
                            from_us = self._now_us()
                            limit.reschedule(asyncio.get_running_loop().time() + self._timeouts.next_s)
            except StageError as failure:
                if begun or not failure.retryable or attempt == MAX_TRIES:
                    await speech.chunks.put(failure)
                    return
                await self._again(failure)
            else:
                self._fetching -= 1
                self._fetched_us = self._now_us()
                self._mark_speech_done()
                await speech.chunks.put(None)
                return

    async def _take_part(self, speech: _Speech, part: SpeechPart) -> None:
        match part:
            case Acquired():
                self._connected("tts", part)
            case Usage(counts):
                self.work.count(counts)
            case _:
                self._mark("tts_first_byte")
                await speech.chunks.put(part)

    # ------------------------------------------------------------------------------ audio -> the gate
    async def _play(self) -> None:
        while (speech := await self._speeches.get()) is not None:
            failure = await self._play_phrase(speech)
            if failure is not None:  # the rest of the reply is not asked for
                self._post(ReplyFailed(self.epoch, failure.stage, failure.code, failure.message))
                break
        self._done("llm")

    async def _play_phrase(self, speech: _Speech) -> StageError | None:
        whole, first_sample, begun = OddBytes(), self.work.samples, False
        told, sound = False, _Sound(speech.text)
        marks: list[WordMark] = []
        while (chunk := await speech.chunks.get()) is not None:
            if isinstance(chunk, StageError):
                if begun:
                    self._post(ReplyWords(self.epoch, first_sample, tuple(marks), broken=True))
                return chunk
            if isinstance(chunk, WordMark):
                told = True
                marks.append(chunk)
                continue
            pcm = whole.align(chunk if begun else strip_wav_header(chunk))
            if not pcm:
                continue
            if not begun:
                self._post(ReplyPhrase(self.epoch, speech.text, first_sample))
                begun = True
            if not told:
                marks += sound.feed(pcm)
            self._tell_words(first_sample, marks)
            await self._put(pcm)
        if begun:
            self._tell_words(first_sample, marks if told else sound.end())
        return None

    def _tell_words(self, first_sample: int, marks: list[WordMark]) -> None:
        if marks:
            self._post(ReplyWords(self.epoch, first_sample, tuple(marks)))
            marks.clear()
