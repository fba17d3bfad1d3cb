"""A loop whose clock jumps: when nothing is ready to run, the time of the next timer has come.

Sockets are real. Loopback delivers within the call that sends, so that what was sent is ready in the same step (given that
Nagle's algorithm is off); work in a thread stops the clock until it is done.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

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
        self._at_s = 1_000.0
        self.threads = 0
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """The virtual time in seconds."""
        return self._at_s

    def jump(self, by_s: float) -> None:
        """Let time pass. Rounded to nanoseconds, or sums of 20 ms would drift off; but never to before a timer."""
        at_s = self._at_s + by_s
        self._at_s = max(at_s, round(at_s, 9))

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
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


def run_virtual(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a virtual clock, and fail if it leaves a task behind."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        result = runner.run(work)
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        assert not left, left
        return result


def virtual_time(test: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., None]:
    """Run an async test on a virtual clock."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    del run.__wrapped__  # else the plugin sees a coroutine function
    return run
