"""A loop whose clock jumps: when nothing is ready to run, the time of the next timer has come.

Sockets are real. Loopback delivers within the call that sends, so that what was sent is ready in the same step (given that
Nagle's algorithm is off); work in a thread stops the clock until it is done.
"""

import asyncio
import functools
import inspect
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

START_S = 1_000.0
LONGEST_REAL_WAIT_S = 5.0


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or self.loop.threads:
            return super().select(LONGEST_REAL_WAIT_S if timeout is None else min(timeout, 0.001))
        if timeout <= 0:
            return super().select(0)
        ready = super().select(0)
        if not ready:
            self.loop.jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that begins at 1,000 s and waits for nothing but sockets and threads."""

    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self
        self._at_s = START_S
        self.threads = 0
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """The virtual time in seconds."""
        return self._at_s

    def jump(self, by_s: float) -> None:
        """Let time pass. Rounded to nanoseconds, or sums of 20 ms would drift off; but never to before a timer."""
        at_s = self._at_s + by_s
        self._at_s = max(at_s, round(at_s, 9))

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """Run in a thread; the clock stands still meanwhile."""
        self.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(lambda _: setattr(self, "threads", self.threads - 1))
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        """Join the threads; the clock stands still meanwhile, or the limit for it would have passed at once."""
        self.threads += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self.threads -= 1


class VirtualTime:
    """The clock of the loop that runs, for whoever asks."""

    @property
    def now_ms(self) -> float:
        """Milliseconds since the loop began."""
        return round((asyncio.get_running_loop().time() - START_S) * 1e6) / 1e3


def run_virtual(work: Coroutine[Any, Any, Any], limit_s: float | None = None) -> Any:
    """Run a coroutine on a virtual clock and return its result.

    Raises `AssertionError` if it leaves a task behind, and `TimeoutError` after `limit_s` of virtual time.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        result = runner.run(work if limit_s is None else asyncio.wait_for(work, limit_s))
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        if left:
            raise AssertionError(f"tasks that are left: {left}")
        return result


def on_virtual_time(test: Callable[..., Coroutine[Any, Any, Any]], limit_s: float | None = None) -> Callable[..., None]:
    """Make of an async test a plain one that runs on a virtual clock, under any runner of tests; as `run_virtual`."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs), limit_s)

    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined] # pytest reads the fixtures from it
    del run.__wrapped__  # else pytest's plugins see a coroutine function
    return run
