"""The records on their way out, in order; on a step's stands what its effects did to tasks, queues and time.

A step's record is asked for before its effects are run, so it is kept until they have been. What a cancelled task took to
end is told with the next step's.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from voiceagent.timeline import EndedTask, TransitionRecord, TurnRecord

KEPT_LAGS = 64


class Steps:
    """`hand_on` takes the records, `waiting` returns how many facts and messages wait."""

    def __init__(
        self, hand_on: Callable[[TransitionRecord | TurnRecord], None], waiting: Callable[[], tuple[int, int]]
    ) -> None:
        self._hand_on = hand_on
        self._waiting = waiting
        self._kept: list[TransitionRecord | TurnRecord] = []  # a step, and the turns that ended with it
        self._depths = (0, 0)
        self._lag_us = 0  # the greatest since the step before
        self._step_lag_us = 0
        self._lags: deque[tuple[int, int]] = deque(maxlen=KEPT_LAGS)  # (at, lag), each smaller than the one before
        self._started: list[str] = []
        self._cancelled: list[str] = []
        self._ended: list[EndedTask] = []

    # ------------------------------------------------------------------------------ what happens
    def late(self, at_us: int, lag_us: int) -> None:
        """Note how late a fact was taken."""
        self._lag_us = max(self._lag_us, lag_us)
        while self._lags and self._lags[-1][1] <= lag_us:
            self._lags.pop()
        if lag_us:
            self._lags.append((at_us, lag_us))

    def latest_since(self, from_us: int) -> int:
        """Return how late a fact was taken at most since then."""
        return next((lag_us for at_us, lag_us in self._lags if at_us >= from_us), 0)

    def started(self, task: str) -> None:
        """Note a task that the present step started."""
        self._started.append(task)

    def cancelled(self, task: str) -> None:
        """Note one that it cancelled."""
        self._cancelled.append(task)

    def ended(self, task: str, took_us: int) -> None:
        """Note that a cancelled one has ended."""
        self._ended.append(EndedTask(task, took_us))

    # ------------------------------------------------------------------------------ the records
    def take(self, record: TransitionRecord | TurnRecord) -> None:
        """Take in the next record."""
        if isinstance(record, TransitionRecord):
            self.close()
            self._depths = self._waiting()
            self._step_lag_us, self._lag_us = self._lag_us, 0
        self._kept.append(record)

    def close(self) -> None:
        """The effects have been run: hand on what is kept."""
        if not self._kept:
            return
        kept, self._kept = self._kept, []
        if isinstance(kept[0], TransitionRecord):
            inbox, outbox = self._depths
            kept[0] = replace(
                kept[0], started=tuple(self._started), cancelled=tuple(self._cancelled), ended=tuple(self._ended),
                inbox=inbox, outbox=outbox, loop_lag_us=self._step_lag_us,
            )  # fmt: skip
            for told in (self._started, self._cancelled, self._ended):
                told.clear()
        for record in kept:
            self._hand_on(record)
