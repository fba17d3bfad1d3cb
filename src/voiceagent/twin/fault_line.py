"""One direction of a faulty connection: what goes in comes out later, otherwise, in another order, or not at all."""

import asyncio
import itertools
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from voiceagent.twin import fault_rules as rules
from voiceagent.twin.fault_events import Item, altered, event_id
from voiceagent.twin.faults import Armed

MAX_WAITING = 1_000
SLOW_PIECES_PER_S = 20
Act = Callable[[Armed], Awaitable[None]]


class Line:
    """Feed it, and `run` it as a task: that is the only one that writes.

    `act` does what a fault at a place does to the connection; `ended` is set when it has ended that.
    """

    def __init__(
        self, armed: list[Armed], write: Callable[[Item], Awaitable[None]], act: Act, ended: asyncio.Event, *,
        cuts: bool,
    ) -> None:  # fmt: skip
        """`cuts`: an item may be written in pieces (a body), not only as a whole (a message)."""
        self._write = write
        self._act = act
        self._ended = ended
        self._cuts = cuts
        self._places = [one for one in armed if isinstance(one.rule, rules.PlaceRule)]
        self._of_events = [one for one in armed if isinstance(one.rule, rules.EventRule | rules.WavHeader)]
        self._rates = [one for one in armed if isinstance(one.rule, rules.Slow)]
        self._odd = next((one for one in armed if isinstance(one.rule, rules.OddChunks) and cuts), None)
        self._sizes = itertools.cycle(self._odd.rule.sizes) if self._odd else None
        self._left_of_size = next(self._sizes) if self._sizes else 0
        self._clock = asyncio.get_running_loop().time
        self._waiting: deque[tuple[float, Item]] = deque()
        self._due: deque[Armed] = deque()  # faults whose moment has come
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._free_s = self._silent_until_s = 0.0
        self._heard_s = self._clock()
        self._bytes = 0

    # ------------------------------------------------------------------------------ in
    @property
    def dead(self) -> bool:
        """Whether nothing will come any more, although the connection stays."""
        return math.isinf(self._silent_until_s)

    async def feed(self, item: Item) -> None:
        """Put an item in; waits where too many are under way."""
        while len(self._waiting) >= MAX_WAITING and not self._ended.is_set() and not self.dead:
            self._room.clear()
            await self._room.wait()
        if self.dead:
            return
        due_s = self._clock()
        for one in self._of_events:
            rule = one.rule
            if isinstance(rule, rules.Delay) and rule.of_events and not item.last and one.picks(item.kind):
                by_s = (rule.delay_ms + one.dice.uniform(0, rule.jitter_ms)) / 1000
                due_s += by_s
                one.done_to({"ms": round(by_s * 1000, 3), "event": item.kind})
        self._waiting.append((due_s, item))  # a line keeps the order: none overtakes one that is later
        self._wake.set()

    def heard(self) -> None:
        """Note that somebody said something: the connection is not idle."""
        self._heard_s = self._clock()

    def clock_starts(self) -> None:
        """Begin to count the time until faults that come by the clock."""
        for at, one in enumerate(self._places):
            if one.rule.after_ms is not None:
                self._after(at, one.rule.after_ms / 1000, self._strike, one)
            elif one.rule.after_idle_ms is not None:
                self._idle(at, one)

    def begins(self) -> None:
        """Headers or handshake are out: what comes right after them is due."""
        for one in self._places:
            if one.rule.at_once or one.rule.after_events == 0 or one.rule.after_bytes == 0:
                self._strike(one)

    def _after(self, key: int, delay_s: float, do: Callable[..., None], *args: Any) -> None:
        if key in self._timers:
            self._timers[key].cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(delay_s, do, *args)

    def _idle(self, at: int, one: Armed) -> None:
        left_s = self._heard_s + one.rule.after_idle_ms / 1000 - self._clock()
        if left_s <= 1e-9:
            self._strike(one)
        else:
            self._after(at, left_s, self._idle, at, one)

    def _strike(self, one: Armed) -> None:
        if not one.done:
            one.done = True
            self._due.append(one)
            self._wake.set()

    def close(self) -> None:
        """Stop the clocks, and wake whoever waits."""
        for timer in self._timers.values():
            timer.cancel()
        self._ended.set()
        self._room.set()
        self._wake.set()

    # ------------------------------------------------------------------------------ out
    async def run(self) -> None:
        """Write what is due until the last item is out or a fault has ended the connection."""
        while await self._until(lambda: self._waiting[0][0] if self._waiting else math.inf):
            _, item = self._waiting.popleft()
            self._room.set()
            if item.last:
                for one in self._of_events:  # nothing is held longer than the line
                    await self._release(one)
                await self._until(lambda: self._silent_until_s)
                if not self._ended.is_set():
                    await self._write(item)
                return
            for made in await self._altered(item):
                await self._put(made)

    async def _until(self, moment_s: Callable[[], float]) -> bool:
        """Wait for a moment, which may change meanwhile; faults that come due are done. False: it has ended."""
        while True:
            while self._due and not self._ended.is_set():
                await self._do(self._due.popleft())
            if self._ended.is_set():
                return False
            at_s = moment_s()
            if self._clock() >= at_s:
                return True
            self._wake.clear()
            try:
                async with asyncio.timeout_at(None if math.isinf(at_s) else at_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _do(self, one: Armed) -> None:
        rule = one.rule
        if isinstance(rule, rules.Stall):
            one.done_to()
            self._silent_until_s = math.inf if rule.for_ms is None else self._clock() + rule.for_ms / 1000
            if self.dead:
                self._waiting.clear()
                self._room.set()
        elif isinstance(rule, rules.Swap):
            await self._release(one)
        else:
            await self._act(one)

    async def _release(self, one: Armed) -> None:
        if one.held is not None:
            held, one.held = one.held, None
            one.done_to({"event": held.kind, "behind": None})
            await self._put(held)

    async def _put(self, item: Item) -> None:
        """Write an item at the line's rate, with the faults that come at a byte or after an event of this type."""
        for data in self._pieces(item.data):
            self._take_time(data)
            if not await self._until(lambda: max(self._free_s, self._silent_until_s)):
                return
            await self._write(Item(item.kind, data))
            self._bytes += Item("", data).size
            for one in self._places:
                if one.rule.after_bytes is not None and one.rule.after_bytes <= self._bytes:
                    self._strike(one)
            if not await self._until(lambda: 0.0):
                return
        for one in self._places:
            if one.rule.after_events is not None and one.of_type(item.kind):
                one.events += 1
                if one.events == one.rule.after_events:
                    self._strike(one)
        await self._until(lambda: 0.0)

    def _take_time(self, data: str | bytes) -> None:
        """Let the line be busy as long as these bytes take."""
        for one in self._rates:
            self._free_s = max(self._free_s, self._clock() + Item("", data).size / one.rule.bytes_per_s)
            if not one.done:
                one.done = True
                one.done_to()

    def _pieces(self, data: str | bytes) -> Iterator[str | bytes]:
        if not self._cuts or not isinstance(data, bytes):
            yield data
            return
        at = 0
        while at < len(data):
            size = len(data) - at
            for one in self._places:
                if one.rule.after_bytes is not None and one.rule.after_bytes > self._bytes:
                    size = min(size, one.rule.after_bytes - self._bytes)
            for one in self._rates:
                size = min(size, max(1, one.rule.bytes_per_s // SLOW_PIECES_PER_S))
            if self._sizes is not None:
                size = min(size, self._left_of_size)
                self._left_of_size -= size
                if self._left_of_size == 0:
                    self._left_of_size = next(self._sizes)
            yield data[at : at + size]
            at += size
        if self._odd is not None and not self._odd.done:
            self._odd.done = True
            self._odd.done_to()

    # ------------------------------------------------------------------------------ otherwise
    async def _altered(self, item: Item) -> list[Item]:
        items = [item]
        for one in self._of_events:
            items = [made for each in items for made in await self._by(one, each)]
        return items

    async def _by(self, one: Armed, item: Item) -> list[Item]:
        """Return what one rule makes of an item."""
        if isinstance(one.rule, rules.Swap):
            return self._swapped(one, item)
        if isinstance(one.rule, rules.Reject):
            if not one.picks(item.kind):
                return [item]
            one.held = event_id(item)
            await self._act(one)
            return []
        return altered(one, item)

    def _swapped(self, one: Armed, item: Item) -> list[Item]:
        rule = one.rule
        if one.held is not None:
            if not fnmatchcase(item.kind, rule.behind or rule.event or "*"):
                return [item]
            held, one.held = one.held, None
            one.done_to({"event": held.kind, "behind": item.kind})
            return [item, held]
        if not one.picks(item.kind):
            return [item]
        one.held = item
        self._after(id(one), rule.hold_ms / 1000, self._too_long, one, item)
        return []

    def _too_long(self, one: Armed, item: Item) -> None:
        if one.held is item:
            self._due.append(one)
            self._wake.set()
