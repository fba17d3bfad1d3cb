"""One attempt at a reply by a voice model: it hears and speaks by itself, and its words come beside its audio.

Nothing tells which words belong to which audio, where the model does not mark them. Sentences are laid over the audio by
how long each takes to say, first by the pace of speech, and once all of it is there by its length.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from voiceagent.accounts import Work
from voiceagent.audio import RATE_HZ, OddBytes
from voiceagent.events import Fact, ReplyFailed, ReplyPhrase, ReplyWords, Stage
from voiceagent.heard import WordMark, pause_ms, word_ms
from voiceagent.making import MAX_TOOL_ROUNDS, MAX_TRIES, Making, Timeouts
from voiceagent.outbox import Outbox
from voiceagent.stages.ports import Delta, SpeechToSpeech, StageError, ToolCall
from voiceagent.tools import Tool

_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"'”’)\]]*(?=\s)|(?<=[。！？])")


class SpokenAttempt(Making):
    """Makes the reply of one epoch with `voice`. It is never a guess: its turn has ended."""

    promoted = True

    def __init__(
        self, work: Work, voice: SpeechToSpeech, outbox: Outbox,
        *, post: Callable[[Fact], None], now_us: Callable[[], int], timeouts: Timeouts, hosts: Mapping[Stage, str],
        tools: Sequence[Tool] = (),
    ) -> None:  # fmt: skip
        super().__init__(work, outbox, post=post, now_us=now_us, timeouts=timeouts, hosts=hosts)
        self._voice = voice
        self._tools = {tool.name: tool for tool in tools}
        self._words = _Words(work.epoch, post)

    def promote(self) -> None:
        """Nothing: it was asked for in earnest."""

    async def run(self, messages: Sequence[Mapping[str, Any]], canned: str) -> None:
        """Have the model answer what it has heard, or say the `canned` words; functions are called in between."""
        self._mark("llm_request")
        try:
            for round_ in range(MAX_TOOL_ROUNDS + 1):
                schemas = [tool.schema for tool in self._tools.values()] if round_ < MAX_TOOL_ROUNDS else []
                calls = await self._respond(messages, schemas, canned)
                if not calls:
                    break
                self.work.finish = "tool_calls"
                for call in calls:
                    tool = self._tools.get(call.name)
                    text = await tool.call(call.arguments) if tool is not None else "Error: there is no such function."
                    self._voice.result(call.call_id, text)
        except StageError as failure:
            self._words.end(broken=True)
            self._post(ReplyFailed(self.epoch, failure.stage, failure.code, failure.message))
        else:
            self._mark("model_done")
            self._words.end(broken=False)
        self._done("realtime")

    async def _respond(
        self, messages: Sequence[Mapping[str, Any]], schemas: Sequence[Mapping[str, Any]], canned: str
    ) -> tuple[ToolCall, ...]:
        """One answer; while nothing has come of it, another try is as good as the first."""
        for attempt in range(1, MAX_TRIES + 1):
            calls: tuple[ToolCall, ...] = ()
            begun, whole, from_us = False, OddBytes(), self._now_us()
            self._requested()
            try:
                async with self._deadline("realtime", self._timeouts.first_s) as limit:
                    response = self._voice.respond(self.epoch, messages, schemas, canned)
                    async with response as parts, aclosing(parts):  # type: ignore[type-var]
                        async for part in parts:
                            begun = True
                            self._waited(from_us)
                            limit.reschedule(None)  # a full outbox is not the model's fault
                            calls += part.calls if isinstance(part, Delta) else ()
                            await self._take(part, whole)
                            from_us = self._now_us()
                            limit.reschedule(asyncio.get_running_loop().time() + self._timeouts.next_s)
            except StageError as failure:
                self.work.finish = "error"
                if begun or not failure.retryable or attempt == MAX_TRIES:
                    raise
                await self._again(failure)
            else:
                self._answered()
                return calls
        return ()

    async def _take(self, part: bytes | WordMark | Delta, whole: OddBytes) -> None:
        match part:
            case bytes():
                self._mark("model_first_audio")
                if pcm := whole.align(part):
                    self._words.samples += len(pcm) // 2
                    self._words.tell()
                    await self._put(pcm)
            case WordMark():
                self._words.mark(part)
            case Delta():
                self.work.count(part.usage)
                if part.acquired is not None:
                    self._connected("realtime", part.acquired)
                if part.text:
                    self.work.tokens += 1
                    self.work.characters += len(part.text)
                    self._words.add(part.text)


class _Words:
    """The transcript, sentence by sentence, and where each begins in the audio."""

    def __init__(self, epoch: int, post: Callable[[Fact], None]) -> None:
        self._epoch = epoch
        self._post = post
        self._rest = ""  # what is not a whole sentence yet
        self._chars = 0  # of the transcript before it
        self._waiting: list[tuple[str, int]] = []  # sentences without audio yet: text, first character
        self._told: tuple[str, int, int] | None = None  # the last one told: text, first character, first sample
        self._next_ms = 0.0  # when the next one begins, by the pace of speech
        self._marks: list[WordMark] = []  # of words whose sentence is not whole yet
        self._end_sample: int | None = None  # of what the model has marked
        self.samples = 0  # of audio so far

    def add(self, text: str) -> None:
        """Take in more of the transcript."""
        self._rest += text
        while (match := _SENTENCE_END.search(self._rest)) is not None:
            self._cut(match.end())
        self._place()
        self.tell()

    def _cut(self, end: int) -> None:
        sentence = self._rest[:end]
        text = sentence.strip()
        if text:
            self._waiting.append((text, self._chars + len(sentence) - len(sentence.lstrip())))
        self._chars += end
        self._rest = self._rest[end:]

    def mark(self, mark: WordMark) -> None:
        """Take in where a word ends; its character counts in the whole transcript, its sample in the whole audio."""
        self._marks.append(mark)
        self._place()

    def _place(self) -> None:
        """Give the marks to their sentences, as far as these are whole; a sentence begins where the last mark was."""
        while self._marks:
            mark = self._marks[0]
            if self._waiting and mark.end_char > self._waiting[0][1]:
                self._tell_next(self._end_sample or 0)
                continue
            if mark.end_char > self._chars:
                return
            self._marks.pop(0)
            self._end_sample = mark.end_sample
            if self._told is not None and self._told[1] < mark.end_char:
                text, first_char, first_sample = self._told
                inside = WordMark(min(mark.end_char - first_char, len(text)), mark.end_sample - first_sample)
                self._post(ReplyWords(self._epoch, first_sample, (inside,)))

    def tell(self) -> None:
        """Tell the sentences whose audio must have begun, where no marks say when."""
        marked = bool(self._marks) or self._end_sample is not None
        while self._waiting and not marked and self.samples and self._estimate() <= self.samples:
            self._tell_next(self._estimate())

    def _estimate(self) -> int:
        return round(self._next_ms * RATE_HZ / 1000)

    def _tell_next(self, first_sample: int) -> None:
        text, first_char = self._waiting.pop(0)
        if self._told is not None:  # two phrases do not begin together
            first_sample = max(first_sample, self._told[2] + 1)
        self._told = (text, first_char, first_sample)
        self._next_ms += sum(word_ms(word) + pause_ms(word) for word in text.split())
        self._post(ReplyPhrase(self._epoch, text, first_sample))

    def end(self, *, broken: bool) -> None:
        """There is no more: the last sentence may have no sign at its end, and all that has audio is told."""
        self._cut(len(self._rest))
        self._place()
        while self._waiting and self.samples:
            if self._end_sample is None:
                self._tell_next(min(self._estimate(), self.samples))
            else:
                self._tell_next(self._end_sample)
        if broken and self._told is not None:
            self._post(ReplyWords(self._epoch, self._told[2], (), broken=True))
