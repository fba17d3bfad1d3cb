"""Records as a trace in Chrome's JSON, which Perfetto and `chrome://tracing` show: a process a session, a track a matter.

Times are microseconds on the server's monotonic clock. Events come as the records do, so that a long log needs no memory;
the format does not ask for an order.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from voiceagent.exports.works import works
from voiceagent.records import TransitionLine, TurnLine
from voiceagent.timeline import GAP_START

STATES, MARKS = "states", "marks"
TRACKS = (STATES, "turns", "stt", "llm", "tts", "realtime", "playback", MARKS)
"""The tracks in the order in which they are shown; what overlaps goes to further ones of the same name."""
REMEMBERED = 16
"""So many slices of a track are remembered, to see whether the next one overlaps them."""
FRESH = 1_024
"""So many sessions are remembered so well: more do not run at a time."""
RUNS = 64
"""So many stretches of a session's log are remembered, to see whether a line comes twice."""
_TOLD = (
    "turn", "parent", "origin", "outcome", "mode", "trace", "epoch", "gap_ms", "basis", "hidden_ms", "residual_ms",
    "wait_ms", "wait_reason", "speculation", "fillers", "barge_ins", "reopened", "heard_ms", "reply_ms", "stt", "llm",
    "tts", "network", "connections", "faults", "loop_lag_ms", "cost_usd",
)  # fmt: skip
"""What of a turn is shown beside its slice: figures, no texts."""
_BARGE_IN = "barge_in"

Event = dict[str, Any]


@dataclass(slots=True)
class _Run:
    """Records that came one after the other: their numbers and their times."""

    first: int
    last: int
    from_us: int
    to_us: int

    def has(self, seq: int, at_us: int) -> bool:
        return self.first <= seq <= self.last and self.from_us <= at_us <= self.to_us


@dataclass(slots=True)
class _Session:
    pid: int
    tracks: dict[str, list[tuple[int, list[tuple[int, int]]]]] = field(default_factory=dict)  # thread id, slices
    runs: list[_Run] = field(default_factory=list)
    state: str = ""
    entered_us: int = 0
    latest_us: int = 0
    flow: int = 0


class Chrome:
    """Turns records of any number of sessions into events: `record` for each of them, then `end`."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}
        self._fresh: deque[_Session] = deque()
        self._flows = 0

    @property
    def sessions(self) -> int:
        """How many sessions there were so far."""
        return len(self._sessions)

    def record(self, record: TransitionLine | TurnLine) -> Iterator[Event]:
        """Yield the events of a record."""
        session = self._sessions.get(record.session)
        if session is None:
            session = self._sessions[record.session] = _Session(len(self._sessions) + 1)
            self._remember(session)
            yield _named("process_name", session.pid, 0, name=f"session {record.session}")
        if isinstance(record, TransitionLine):
            yield from self._step(session, record)
        else:
            yield from self._turn(session, record)

    def end(self) -> Iterator[Event]:
        """Yield the states that were not left in the log."""
        for session in self._sessions.values():
            if session.state and session.latest_us > session.entered_us:
                args = {"the log ends here": True}
                span = (session.entered_us, session.latest_us)
                yield from self._slice(session, STATES, session.state, span, args)

    def _remember(self, session: _Session) -> None:
        self._fresh.append(session)
        if len(self._fresh) > FRESH:
            for _, taken in chain.from_iterable(self._fresh.popleft().tracks.values()):
                taken.clear()

    # -- transitions
    def _step(self, session: _Session, step: TransitionLine) -> Iterator[Event]:
        if any(run.has(step.seq, step.at_us) for run in session.runs):
            return  # the same line twice
        before = session.runs[-1] if session.runs else None
        if before is not None and step.seq == before.last + 1 and step.at_us >= before.to_us:
            before.last, before.to_us = step.seq, step.at_us
        else:
            session.runs.append(_Run(step.seq, step.seq, step.at_us, step.at_us))
            del session.runs[:-RUNS]
            if before is not None and step.seq > before.last:  # not so where the conversation was taken up again
                missing = {"from": before.last + 1, "to": step.seq - 1}
                yield from self._instant(session, STATES, "records are missing", step.at_us, missing)
        session.latest_us = max(session.latest_us, step.at_us)
        if step.target != step.source:
            args = {"trigger": step.trigger, "turn": step.turn, "epoch": step.epoch, "to": step.target}
            yield from self._slice(session, STATES, step.source, (step.at_us - step.dwell_us, step.at_us), args)
            yield from self._sound(session, step)
            session.state, session.entered_us = step.target, step.at_us
        yield from self._instant(session, STATES, step.trigger, step.at_us, _why(step))
        counters = {
            "queues": {"inbox": step.inbox, "outbox": step.outbox},
            "loop lag, ms": {"lag": step.loop_lag_us / 1000},
        }
        for name, values in counters.items():
            yield {"ph": "C", "name": name, "pid": session.pid, "tid": 0, "ts": step.at_us, "args": values}

    def _sound(self, session: _Session, step: TransitionLine) -> Iterator[Event]:
        """An arrow from the beginning of a barge-in to what became of it."""
        began, over = step.target.startswith(_BARGE_IN), step.source.startswith(_BARGE_IN)
        if began == over:
            return
        arrow = {"name": _BARGE_IN, "cat": _BARGE_IN, "pid": session.pid, "ts": step.at_us}
        tid = session.tracks[STATES][0][0]
        if began:
            self._flows += 1
            session.flow = self._flows
            yield arrow | {"ph": "s", "id": session.flow, "tid": tid}
        elif session.flow:
            yield arrow | {"ph": "f", "bp": "e", "id": session.flow, "tid": tid}
            session.flow = 0

    # -- turns
    def _turn(self, session: _Session, turn: TurnLine) -> Iterator[Event]:
        start_us, end_us = turn.started_us, turn.started_us + round(turn.duration_ms * 1000)
        session.latest_us = max(session.latest_us, end_us)
        marks = {name: start_us + round(at_ms * 1000) for name, at_ms in turn.marks_ms.items()}
        told = turn.model_dump(mode="json", include=set(_TOLD), exclude_none=True)
        slices = [(f"turn {turn.turn}: {turn.outcome}", (start_us, end_us), told), *_segments(turn, marks, end_us)]
        yield from self._slices(session, "turns", slices)
        for work in works(marks):
            about = getattr(turn, "llm" if work.name == "realtime" else work.name, None)
            args = {"turn": turn.turn, "first_answer_ms": work.waited / 1000}
            args |= about.model_dump(mode="json") if about is not None else {}
            name = f"{work.name} {args['model']}" if args.get("model") else work.name
            yield from self._slice(session, work.name, name, (int(work.asked), int(work.ended)), args)
        for name, at_us in sorted(marks.items(), key=lambda mark: mark[1]):
            yield from self._instant(session, MARKS, name, at_us, {"turn": turn.turn})

    # -- slices and instants
    def _slice(
        self, session: _Session, track: str, name: str, span: tuple[int, int], args: Mapping[str, Any]
    ) -> Iterator[Event]:
        yield from self._slices(session, track, [(name, span, args)])

    def _slices(
        self, session: _Session, track: str, slices: list[tuple[str, tuple[int, int], Mapping[str, Any]]]
    ) -> Iterator[Event]:
        """Yield slices that lie in the first one, on a track where nothing overlaps that."""
        tid, taken, events = self._place(session, track, slices[0][1])
        taken.append(slices[0][1])
        del taken[:-REMEMBERED]
        yield from events
        for name, (from_us, to_us), args in slices:
            yield {
                "ph": "X", "name": name, "cat": track, "pid": session.pid, "tid": tid, "ts": from_us,
                "dur": max(0, to_us - from_us), "args": dict(args),
            }  # fmt: skip

    def _instant(
        self, session: _Session, track: str, name: str, at_us: int, args: Mapping[str, Any]
    ) -> Iterator[Event]:
        tid, _, events = self._place(session, track, None)
        yield from events
        yield {
            "ph": "i", "s": "t", "name": name, "cat": track, "pid": session.pid, "tid": tid, "ts": at_us, "args": dict(args),
        }  # fmt: skip

    def _place(
        self, session: _Session, track: str, span: tuple[int, int] | None
    ) -> tuple[int, list[tuple[int, int]], list[Event]]:
        """Return the thread for a slice, what is on it, and the events that name it if it is new."""
        lanes = session.tracks.setdefault(track, [])
        for tid, taken in lanes:
            if span is None or not any(_overlap(span, other) for other in taken):
                return tid, taken, []
        tid = (TRACKS.index(track) + 1) * 1000 + len(lanes)
        nothing: list[tuple[int, int]] = []
        name = track if not lanes else f"{track} ({len(lanes) + 1})"
        lanes.append((tid, nothing))
        events = [
            _named("thread_name", session.pid, tid, name=name),
            _named("thread_sort_index", session.pid, tid, sort_index=tid),
        ]
        return tid, nothing, events


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _named(what: str, pid: int, tid: int, **args: Any) -> Event:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": args}


def _why(step: TransitionLine) -> dict[str, Any]:
    args = {"from": step.source, "to": step.target, "seq": step.seq, "turn": step.turn, "reason": step.reason}
    tasks = {"started": step.started, "cancelled": step.cancelled}
    args |= {name: list(names) for name, names in tasks.items() if names}
    return args | ({"ended": {task.task: task.took_ms for task in step.ended}} if step.ended else {})


def _segments(
    turn: TurnLine, marks: Mapping[str, int], end_us: int
) -> Iterable[tuple[str, tuple[int, int], Mapping[str, Any]]]:
    """The response gap and the segments that tile it, within their turn."""
    start_us = marks.get(GAP_START)
    if turn.gap_ms is None or start_us is None:
        return
    yield "response gap", (start_us, min(end_us, start_us + round(turn.gap_ms * 1000))), {"basis": turn.basis}
    for name, length_ms in turn.segments_ms.items():
        length_us = round(length_ms * 1000)
        if length_us:
            span = (min(end_us, start_us), min(end_us, start_us + length_us))
            yield name, span, {"ms": length_ms, "due to": turn.due.get(name, "")}
        start_us += length_us
