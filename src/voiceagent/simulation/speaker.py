"""A scripted voice model behind its port: it hears the items by the audio's own script, and answers in drawn sentences."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from voiceagent.heard import WordMark
from voiceagent.simulation.loop import VirtualLoop
from voiceagent.simulation.script import Timeline
from voiceagent.simulation.speech import Voice
from voiceagent.simulation.stages import EPOCH, LONG_S, Backends, ScriptedStt, Seen, loud, sentence
from voiceagent.stages.ports import Delta, SpokenPart, StageError, ToolCall, Transcribed


class ScriptedSpeaker(ScriptedStt):
    """`SpeechToSpeech`: its ear is the scripted STT's, its mouth the scripted voice's, sentence after sentence."""

    def __init__(
        self, timeline: Timeline, plan: Backends, voice: Voice, draw: random.Random,
        *, seen: Seen, loop: VirtualLoop, post: Callable[[Transcribed], None],
    ) -> None:  # fmt: skip
        super().__init__(timeline, plan, draw, seen=seen, loop=loop, post=post)
        self.requests = 0  # that are open
        self._voice = voice

    def discard(self, item: int) -> None:
        """Nobody wanted the floor."""
        self._items[item].final = True

    def typed(self, text: str) -> None:
        """A line was typed."""

    def result(self, call_id: str, output: str) -> None:
        """A function was called."""

    def heard(self, epoch: int, samples: int) -> None:
        """So much was heard of an answer."""

    @asynccontextmanager
    async def respond(
        self, epoch: int, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], canned: str
    ) -> AsyncIterator[AsyncIterator[SpokenPart]]:
        """Answer after the drawn delay, or fail."""
        del epoch, messages
        self.requests += 1
        try:
            fault = self._draw.randrange(5) if self._draw.random() < self._plan.llm_fail else None
            if fault in (0, 1):
                await asyncio.sleep(self._draw.choice(self._plan.llm_first_ms) / 1000)
                raise StageError("realtime", "http_500", "The voice model failed.", retryable=fault == 0)
            asked = bool(tools) and not canned and self._draw.random() < self._plan.tools
            yield self._call() if asked else self._speak(canned, fault)
        finally:
            self.requests -= 1

    async def _call(self) -> AsyncIterator[SpokenPart]:
        await asyncio.sleep(self._draw.choice(self._plan.llm_first_ms) / 1000)
        yield Delta(calls=(ToolCall("call", "note", f'{{"epoch": {EPOCH.get()}}}'),), usage={"completion_tokens": 9})

    async def _speak(self, canned: str, fault: int | None) -> AsyncIterator[SpokenPart]:
        plan, draw = self._plan, self._draw
        if fault == 2:
            await asyncio.sleep(LONG_S)
        await asyncio.sleep((draw.choice(plan.llm_first_ms) + draw.choice(plan.tts_first_ms)) / 1000)
        said = [canned] if canned else [sentence(draw) for _ in range(draw.randint(*plan.sentences))]
        first_char = first_sample = 0
        for number, text in enumerate(said):
            if number and fault == 3:
                await asyncio.sleep(LONG_S)
            if number and fault == 4:
                raise StageError("realtime", "connection", "The voice model broke off.", retryable=True)
            yield Delta(text + " ")
            for part in self._sound(text, first_char, first_sample):
                yield part
                if isinstance(part, bytes):
                    await asyncio.sleep(round(plan.tts_chunk_ms / plan.tts_speed / 10) / 100)
            first_char += len(text) + 1
            first_sample += self._voice.samples(text)
        yield Delta(usage={"prompt_tokens": 100, "completion_tokens": 20 * len(said)})

    def _sound(self, text: str, first_char: int, first_sample: int) -> list[bytes | WordMark]:
        """A sentence's audio in chunks, each after the marks of the words that end in it."""
        plan, size = self._plan, self._voice.samples(text) * 2
        marks: deque[WordMark] = deque()
        if self._voice.tells_words:
            at = 0
            for word, end in zip(text.split(), self._voice.word_ends(text), strict=True):
                at += len(word)
                marks.append(WordMark(first_char + at, first_sample + end))
                at += 1
        parts: list[bytes | WordMark] = []
        chunk, done = plan.tts_chunk_ms * 48, 0
        while done < size:
            now = min(chunk, size - done)
            while marks and (marks[0].end_sample - first_sample) * 2 <= done + now:
                parts.append(marks.popleft())
            parts.append(loud(now, 0))
            done += now
        return parts
