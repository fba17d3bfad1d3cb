"""An event loop without a world: its clock jumps to the next timer, and what falls on one moment comes in a drawn order.

It knows nothing of sockets, threads and signals. Time is kept in whole microseconds; one seed gives one order of steps.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

START_US = 1_000_000_000
MAX_STEPS_AT_ONCE = 50_000
"""So many callbacks without a moment passing: it runs in a circle."""


class Stuck(Exception):  # noqa: N818 - what happened
    """Nothing will ever happen again, or for ever the same at one moment."""


class _Step:
    """A callback that is due, at once or by the clock."""

    __slots__ = ("args", "callback", "context", "gone", "when_us")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Any, when_us: int) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.when_us = when_us
        self.gone = False  # cancelled

    def cancel(self) -> None:
        """Forget it."""
        self.gone = True
        self.args = ()

    def cancelled(self) -> bool:
        """Whether it was forgotten."""
        return self.gone

    def when(self) -> float:
        """When it is due, in seconds."""
        return self.when_us / 1e6


class _Task(asyncio.Task[Any]):
    """A task told from others by its number: where the product keeps a set of them, its order is the same in every run."""

    def __init__(self, coro: Any, *, loop: "VirtualLoop", name: str | None, context: Any, number: int) -> None:
        self.number = number  # the base class puts the task into a set at once
        super().__init__(coro, loop=loop, name=name, context=context)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs one seed's sessions; of its base only the manners are left."""

    def __init__(self, seed: int) -> None:
        self.now_us = START_US
        self._tie = random.Random(seed).random
        self._due: deque[_Step] = deque()
        self._timers: list[tuple[int, float, int, _Step]] = []
        self._count = 0
        self._tasks: list[_Task] = []
        self._failure: BaseException | None = None
        self._runs = True
        super().__init__()
        self.set_exception_handler(self._failed)

    # ------------------------------------------------------------------------------ what asyncio asks for
    def time(self) -> float:
        """The virtual time in seconds."""
        return self.now_us / 1e6

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        """Run it in this moment, after what waits already."""
        step = _Step(callback, args, context, self.now_us)
        self._due.append(step)
        return step

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        """Run it so many seconds from now."""
        return self._at(self.now_us + round(delay * 1e6), callback, args, context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        """Run it at this time."""
        return self._at(round(when * 1e6), callback, args, context)

    def after_us(self, delay_us: int, callback: Callable[..., Any], *args: Any) -> Any:
        """Run it so many microseconds from now."""
        return self._at(self.now_us + delay_us, callback, args, None)

    def _at(self, when_us: int, callback: Any, args: tuple[Any, ...], context: Any) -> _Step:
        step = _Step(callback, args, context, when_us)
        self._count += 1
        heapq.heappush(self._timers, (when_us, self._tie(), self._count, step))
        return step

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> Any:
        """A task of this loop."""
        self._count += 1
        task = _Task(coro, loop=self, name=name, context=context, number=self._count)
        self._tasks.append(task)
        return task

    def is_running(self) -> bool:
        """Whether `run` has not returned."""
        return self._runs

    def _failed(self, _: object, context: dict[str, Any]) -> None:
        """A callback or a task failed and nobody saw it: the run fails."""
        self._failure = self._failure or context.get("exception") or RuntimeError(context["message"])

    # ------------------------------------------------------------------------------ running
    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run until `work` is done and return its result. Raises `Stuck`."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            task = self.create_task(work, name="world")
            self._run_until(task)
            if self._failure is not None:
                raise self._failure
            return task.result()
        finally:
            asyncio._set_running_loop(before)
            self._runs = False
            self.close()

    def _run_until(self, task: _Task) -> None:  # noqa: C901 - one loop: the speed is here
        """Run all that is ready, let time pass until the next timer, and so on."""
        ready, timers, tie = self._due, self._timers, self._tie
        steps = 0  # at this moment
        while True:
            while ready:
                step = ready.popleft()
                if not step.gone:
                    steps += 1
                    if step.context is None:  # a timer of the world or of asyncio: it looks at no context
                        step.callback(*step.args)
                    else:
                        step.context.run(step.callback, *step.args)
                    if steps > MAX_STEPS_AT_ONCE:
                        raise Stuck("the same moment goes on for ever")
            if task.done():
                return
            while timers and timers[0][3].gone:
                heapq.heappop(timers)
            if not timers:
                raise Stuck("everything waits, and for nothing")
            now_us = timers[0][0]
            if now_us > self.now_us:
                self.now_us, steps = now_us, 0
            # One at a time: what it wakes runs before the next timer of this moment, or after, as it is drawn.
            while timers and timers[0][0] <= self.now_us:
                ready.append(heapq.heappop(timers)[3])
                if tie() < 0.5:
                    break

    # ------------------------------------------------------------------------------ what is left
    def tasks_left(self) -> list[str]:
        """The names of the tasks that are not done."""
        self._tasks = [task for task in self._tasks if not task.done()]
        return [task.get_name() for task in self._tasks]

    def timers_left(self) -> list[str]:
        """What timers would still call."""
        return [repr(timer[3].callback) for timer in self._timers if not timer[3].gone]
