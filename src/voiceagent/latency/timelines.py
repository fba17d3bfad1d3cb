"""The states of some sessions over their time: those with the slowest turns, and no more of them than fit."""

from dataclasses import dataclass, field
from itertools import pairwise

from voiceagent.records import TransitionLine, TurnLine
from voiceagent.states import Leaf

SESSIONS = 12
"""So many are shown."""
KEPT = 200
"""More sessions than that are thinned out."""
STEPS = 1_500
"""So many moves of a session are kept; what follows is left out, and told."""
_STATES = {leaf.value: leaf.state for leaf in Leaf}


@dataclass(frozen=True, slots=True)
class Stay:
    """A state, from when to when; milliseconds from the session's first record."""

    state: str
    from_ms: float
    to_ms: float


@dataclass(slots=True)
class Session:
    """One session's moves and its longest gap."""

    name: str
    first_us: int
    first_at: str  # wall time
    longest_gap_ms: float = 0.0
    turns: int = 0
    moves: list[tuple[int, str]] = field(default_factory=list)  # when, into which leaf
    cut: bool = False  # there was more

    def stays(self) -> list[Stay]:
        """The states that it went through, one after the other."""
        ends = [(at_us - self.first_us) / 1000 for at_us, _ in self.moves]
        return [
            Stay(_STATES.get(leaf, leaf), start, end)
            for (_, leaf), (start, end) in zip(self.moves[:-1], pairwise(ends), strict=True)
        ]


class Timelines:
    """Takes the records of all sessions, and has the lines of the ones worth a look."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.seen = 0

    def take(self, record: TransitionLine | TurnLine) -> None:
        """Count a record in."""
        session = self.sessions.get(record.session)
        if isinstance(record, TurnLine):
            if session is not None:
                session.turns += 1
                session.longest_gap_ms = max(session.longest_gap_ms, record.gap_ms or 0.0)
            return
        if session is None:
            self._thin_out()
            self.seen += 1
            start_us = record.at_us - record.dwell_us
            session = self.sessions[record.session] = Session(record.session, start_us, record.timestamp)
            session.moves.append((start_us, record.source))
        if len(session.moves) >= STEPS:
            session.cut = True
        elif record.target != record.source and record.at_us >= session.moves[-1][0]:
            session.moves.append((record.at_us, record.target))

    def worth_a_look(self) -> list[Session]:
        """The sessions with the longest gaps, the longest first."""
        ranked = sorted(self.sessions.values(), key=lambda session: -session.longest_gap_ms)
        return [session for session in ranked if len(session.moves) > 1][:SESSIONS]

    def _thin_out(self) -> None:
        """Once there are too many, keep those with the longest gaps, and the newest: theirs are still to come."""
        if len(self.sessions) < KEPT:
            return
        newest = set(list(self.sessions)[-KEPT // 4 :])
        ranked = sorted(self.sessions.values(), key=lambda session: -session.longest_gap_ms)
        kept = {session.name for session in ranked[: KEPT // 4]} | newest
        self.sessions = {name: session for name, session in self.sessions.items() if name in kept}
