"""Who looks on: observers get the records of all sessions as they happen."""

from collections.abc import Callable, Sequence
from typing import Protocol

from voiceagent.timeline import TransitionRecord, TurnRecord


class Observer(Protocol):
    """Is called in the event loop, in order, and must not block: what takes longer belongs in a task or thread.

    What it raises is logged once and counted; the conversation goes on.
    """

    def transition(self, session: str, record: TransitionRecord) -> None:
        """Take one step of a session's machine."""

    def turn(self, session: str, record: TurnRecord) -> None:
        """Take the record of a turn that is over."""


class Observers:
    """Hands each record to every observer; what one raises concerns neither the others nor the session."""

    def __init__(self, observers: Sequence[Observer], told: Callable[[Observer, Exception], None]) -> None:
        """`told` hears of the first exception of each."""
        self._observers = tuple(observers)
        self._told = told
        self._raised = [0] * len(self._observers)

    @property
    def raised(self) -> int:
        """How often one has raised so far."""
        return sum(self._raised)

    def record(self, session: str, record: TransitionRecord | TurnRecord) -> None:
        """Pass one record on."""
        for number, observer in enumerate(self._observers):
            try:
                if isinstance(record, TransitionRecord):
                    observer.transition(session, record)
                else:
                    observer.turn(session, record)
            except Exception as error:  # noqa: BLE001 - users' own code
                self._raised[number] += 1
                if self._raised[number] == 1:
                    self._told(observer, error)
