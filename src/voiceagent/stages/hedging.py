"""A second request when the first is late or fails: the one that gives something first is heard, the other is closed.

Each request lives in a task of its own, which enters and leaves its context, so that one that lost can be closed at once
without regard to the other. No task outlives the race's context.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from voiceagent.allowance import Allowance
from voiceagent.events import Stage
from voiceagent.stages.ports import Delta, LanguageModel, SpeechPart, StageError, TextToSpeech

T = TypeVar("T")
Open = Callable[[], AbstractAsyncContextManager[AsyncIterator[T]]]
Told = Callable[[Stage, str], None]
"""Takes which stage was asked twice, and who won: `first`, `second`, or `none`."""


class HedgeBudget:
    """The second requests that a process may make: `per_min` on the average, a quarter of them at once."""

    def __init__(self, per_min: int) -> None:
        self._per_min = per_min
        self._allowance: Allowance | None = None  # begins with the first: there may be no loop before

    def take(self) -> bool:
        """Take one; False if there is none left."""
        now_us = round(asyncio.get_running_loop().time() * 1e6)
        if self._allowance is None:
            self._allowance = Allowance(max(1.0, self._per_min / 4), self._per_min / 60, now_us)
        return self._allowance.take_if_there(1, now_us)


@dataclass(slots=True)
class Hedges:
    """What a stage's hedging has come to."""

    requests: int = 0  # that were asked of it
    hedged: int = 0  # of them were sent twice
    second_won: int = 0
    both_failed: int = 0
    refused: int = 0  # were late, but there was no budget


class _End:
    """After a request's last part: how it ended."""

    def __init__(self, failure: Exception | None) -> None:
        self.failure = failure


class _Request(Generic[T]):
    """One request, and what it brings, no more than a part ahead of who takes it."""

    def __init__(self, open_: Open[T], name: str) -> None:
        self.begun: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        """Done when it has given something, or ended: with its failure, if it failed before it gave anything."""
        self._parts: asyncio.Queue[T | _End] = asyncio.Queue(maxsize=1)
        self.task = asyncio.create_task(self._run(open_), name=name)

    @property
    def gives(self) -> bool:
        """Whether it has given something."""
        return self.begun.done() and self.begun.result() is None

    async def _run(self, open_: Open[T]) -> None:
        failure: Exception | None = None
        try:
            async with open_() as stream, aclosing(stream):  # type: ignore[type-var]
                async for part in stream:
                    self._begin(None)
                    await self._parts.put(part)
        except Exception as error:  # noqa: BLE001 - it is raised to whoever takes the parts
            failure = error
        self._begin(failure)
        await self._parts.put(_End(failure))

    def _begin(self, failure: Exception | None) -> None:
        if not self.begun.done():
            self.begun.set_result(failure)

    async def parts(self) -> AsyncIterator[T]:
        """What it brings, in order. Raises its failure in its place."""
        while not isinstance(part := await self._parts.get(), _End):
            yield part
        if part.failure is not None:
            raise part.failure


class _Race(Generic[T]):
    """One request of a stage, or two of them."""

    def __init__(self, hedge: "Hedge", open_: Open[T]) -> None:
        self._hedge = hedge
        self._open = open_
        self._requests: list[_Request[T]] = []
        self.winner = 0  # 1 or 2, once it is known

    @property
    def hedged(self) -> bool:
        """Whether there is a second request."""
        return len(self._requests) > 1

    async def parts(self) -> AsyncIterator[T]:
        """The parts of the request that gives something first, and of no other."""
        winner = await self._run()
        async with aclosing(winner.parts()) as parts:  # type: ignore[type-var]
            async for part in parts:
                yield part

    async def aclose(self) -> None:
        """Close the requests and wait until nothing of them is left, even if one is cancelled meanwhile."""
        tasks = {request.task for request in self._requests}
        for task in tasks:
            task.cancel()
        cancelled: asyncio.CancelledError | None = None
        while any(not task.done() for task in tasks):
            try:
                await asyncio.wait(tasks)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def _run(self) -> _Request[T]:
        first = self._ask()
        await asyncio.wait({first.begun}, timeout=self._hedge.wait_s)
        if first.begun.done() and not _may_be_repeated(first.begun.result()):
            return first
        if not self._hedge.take():
            return first
        second = self._ask()
        waiting = {first.begun, second.begun}
        while waiting:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for number, winner, loser in ((1, first, second), (2, second, first)):
                if winner.gives:
                    loser.task.cancel()
                    self.winner = number
                    self._hedge.won(number)
                    return winner
        self._hedge.won(0)
        raise _final(first.begun.result())

    def _ask(self) -> _Request[T]:
        request = _Request(self._open, f"{self._hedge.stage} request")
        self._requests.append(request)
        return request


def _may_be_repeated(failure: Exception | None) -> bool:
    return isinstance(failure, StageError) and failure.retryable


def _final(failure: Exception | None) -> Exception:
    """The failure of a request whose second one has failed too: a third would be one too many."""
    if isinstance(failure, StageError):
        return StageError(failure.stage, failure.code, failure.message, retryable=False)
    return failure or AssertionError("it did not fail")


class Hedge:
    """When a stage asks twice. `wait_ms` is the patience with the first request."""

    def __init__(self, stage: Stage, wait_ms: int, budget: HedgeBudget, told: Told = lambda *_: None) -> None:
        self.stage: Stage = stage
        self.wait_s = wait_ms / 1000
        self.counts = Hedges()
        self._budget = budget
        self._told = told

    @asynccontextmanager
    async def race(self, open_: Open[T]) -> AsyncIterator[_Race[T]]:
        """Request something, and once more if it is late; leaving the context closes all of it."""
        self.counts.requests += 1
        race = _Race(self, open_)
        try:
            yield race
        finally:
            await race.aclose()

    def take(self) -> bool:
        """Whether a second request may be made; it is then counted."""
        if not self._budget.take():
            self.counts.refused += 1
            return False
        self.counts.hedged += 1
        return True

    def won(self, number: int) -> None:
        """The first or the second request was first to give something; 0: neither."""
        self.counts.second_won += number == 2
        self.counts.both_failed += number == 0
        self._told(self.stage, ("none", "first", "second")[number])


class HedgedModel:
    """`LanguageModel` that asks `model` a second time where the first token is late."""

    def __init__(self, model: LanguageModel, hedge: Hedge) -> None:
        self._model = model
        self.hedge = hedge

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        """Request an answer; its usage says if it was asked for twice (`hedged_llm`), and if that won."""
        async with self.hedge.race(lambda: self._model.reply(messages, tools)) as race:
            yield self._deltas(race)

    async def _deltas(self, race: _Race[Delta]) -> AsyncIterator[Delta]:
        told = False
        async with aclosing(race.parts()) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                yield delta
                if race.hedged and not told:
                    told = True
                    yield Delta(usage={"hedged_llm": 1, "hedge_won_llm": int(race.winner == 2)})


class HedgedSpeech:
    """`TextToSpeech` that asks `speech` a second time where the first byte is late."""

    def __init__(self, speech: TextToSpeech, hedge: Hedge) -> None:
        self._speech = speech
        self.hedge = hedge

    @asynccontextmanager
    async def speak(self, text: str) -> AsyncIterator[AsyncIterator[SpeechPart]]:
        """Request the audio of one phrase; leaving the context closes the requests at once. Raises `StageError`."""
        async with self.hedge.race(lambda: self._speech.speak(text)) as race:
            yield race.parts()
