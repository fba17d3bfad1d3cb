"""What every attempt at a reply does, whoever makes it: its audio goes behind the gate, and what it learns is told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from voiceagent.accounts import Work
from voiceagent.audio import first_audible_sample
from voiceagent.events import Fact, ReplyAudible, ReplyConnected, ReplyDone, ReplyMark, ReplyReady, ReplyRetried, Stage
from voiceagent.outbox import Outbox
from voiceagent.stages.clients import NAMES
from voiceagent.stages.ports import Acquired, StageError

MAX_TRIES = 2
MAX_TOOL_ROUNDS = 3
LONGEST_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Deadlines of the awaits on peers, in seconds."""

    first_s: float  # to a request's first token or byte
    next_s: float  # between two of them


class Making:
    """The part of an attempt that faces the session. `post` takes facts and never blocks."""

    def __init__(
        self, work: Work, outbox: Outbox,
        *, post: Callable[[Fact], None], now_us: Callable[[], int], timeouts: Timeouts, hosts: Mapping[Stage, str],
    ) -> None:  # fmt: skip
        self.epoch = work.epoch
        self.work = work
        """What it has cost so far."""
        self._outbox = outbox
        self._post = post
        self._now_us = now_us
        self._timeouts = timeouts
        self._hosts = hosts
        self._marked: set[str] = set()
        self._audible = False

    async def _put(self, pcm: bytes) -> None:
        """Hand on whole samples; the first ones, and the first that can be heard, are told."""
        first = self.work.samples == 0
        if not self._audible and (at := first_audible_sample(pcm)) is not None:
            self._audible = True
            self._mark("tts_first_audible")
            self._post(ReplyAudible(self.epoch, self.work.samples + at))
        self.work.samples += len(pcm) // 2
        if first:
            self._post(ReplyReady(self.epoch))
        await self._outbox.audio(self.epoch, pcm)

    def _mark(self, name: str, at_us: int | None = None) -> None:
        """Post a moment of this attempt, the present one if no other is given, the first time that it comes."""
        if name not in self._marked:
            self._marked.add(name)
            self._post(ReplyMark(self.epoch, name, self._now_us() if at_us is None else at_us))

    def _requested(self) -> None:
        """The model is asked, for the first time or again."""
        self.work.requests += 1
        self.work.finish = ""

    def _answered(self) -> None:
        """It has said all that it had to say, or was allowed to."""
        usage = self.work.usage
        self.work.finish = (
            "length" if usage.get("llm_cut") else "content_filter" if usage.get("llm_filtered") else "stop"
        )

    async def _again(self, failure: StageError) -> None:
        """Tell that another try follows; wait where a busy server says when to come again: later than soon is too late."""
        self._post(ReplyRetried(self.epoch, failure.stage, failure.code))
        if failure.retry_after_s:
            await asyncio.sleep(min(failure.retry_after_s, LONGEST_RETRY_S))

    def _waited(self, from_us: int) -> None:
        """Audio was waited for since then."""
        self.work.speech_us += self._now_us() - from_us

    def _connected(self, stage: Stage, acquired: Acquired) -> None:
        """Post how a stage's first request came by its connection."""
        if f"{stage} connected" not in self._marked:
            self._marked.add(f"{stage} connected")
            self._post(ReplyConnected(self.epoch, stage, acquired.acquire_us, acquired.reused))

    def _done(self, stage: Stage) -> None:
        """There is no more; `stage` answers for it if there was nothing at all."""
        self._outbox.complete(self.epoch, self.work.samples)
        self._post(ReplyDone(self.epoch, self.work.samples, self.work.usage, stage, self._who(stage)))

    def _who(self, stage: Stage) -> str:
        """How a sentence names the stage."""
        host = self._hosts.get(stage)
        return f"{NAMES[stage]} at {host}" if host else NAMES[stage]

    @asynccontextmanager
    async def _deadline(self, stage: Stage, timeout_s: float) -> AsyncIterator[asyncio.Timeout]:
        try:
            async with asyncio.timeout(timeout_s) as limit:
                yield limit
        except TimeoutError:
            raise StageError(stage, "timeout", f"{self._who(stage)} did not answer in time.", retryable=True) from None
