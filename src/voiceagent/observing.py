"""Who looks on: observers get the records of all sessions as they happen."""

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
