"""What a session did of late: the states it was in, which a turn's own record does not time."""

from collections import deque
from dataclasses import dataclass, field

from voiceagent.timeline import TransitionRecord

MOST_STAYS = 256
"""States that are remembered of a session; a turn goes through a dozen."""
MOST_CLOSED = 32
"""Sessions that are remembered after their end: the records of their last turns come right behind it."""
CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Stay:
    """One stay in a state; `trigger` is what ended it, empty while it lasts."""

    state: str
    from_us: int
    to_us: int
    trigger: str


@dataclass(slots=True)
class _Session:
    stays: deque[Stay] = field(default_factory=lambda: deque(maxlen=MOST_STAYS))
    state: str = ""
    entered_us: int = 0


class Memory:
    """The latest states of each session."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}
        self._closed: deque[str] = deque()

    def __len__(self) -> int:
        """How many sessions are remembered."""
        return len(self._sessions)

    def step(self, session: str, record: TransitionRecord) -> None:
        """Take one step of a session's machine."""
        known = self._sessions.get(session)
        if known is None:
            known = self._sessions[session] = _Session()
        if record.target != record.source:
            from_us = record.at_us - record.dwell_us
            known.stays.append(Stay(record.source, from_us, record.at_us, record.trigger))
        if record.target != known.state:
            known.state, known.entered_us = record.target, record.at_us
        if record.target == CLOSED:
            self._closed.append(session)
            if len(self._closed) > MOST_CLOSED:
                self._sessions.pop(self._closed.popleft(), None)

    def stays(self, session: str, from_us: int, to_us: int) -> list[Stay]:
        """Return the states that the session was in between two moments, cut to them; no state is as long as nothing."""
        known = self._sessions.get(session)
        if known is None:
            return []
        found = [Stay(known.state, max(from_us, known.entered_us), to_us, "")]
        for stay in reversed(known.stays):
            if stay.to_us <= from_us:
                break
            trigger = stay.trigger if stay.to_us <= to_us else ""
            found.append(Stay(stay.state, max(from_us, stay.from_us), min(to_us, stay.to_us), trigger))
        return [stay for stay in reversed(found) if stay.to_us > stay.from_us]
