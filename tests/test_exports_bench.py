"""The benchmark of the exports without its clock: the load is a hundred conversations, and nothing of it is dropped."""

from collections import Counter, defaultdict

from voiceagent.bench.records import SESSIONS, STEPS_PER_TURN
from voiceagent.bench.tracing import _collector, _load, _turn, tracing_rows
from voiceagent.exports.otel import Tracer
from voiceagent.exports.works import STAGES, works
from voiceagent.timeline import TransitionRecord, TurnRecord


def test_the_load():
    """Each session has the records of a whole turn, its steps in order, and the sessions are not in step."""
    of_session = defaultdict(list)
    for session, record in _load():
        of_session[session].append(record)
    assert len(of_session) == SESSIONS
    firsts = Counter()
    for records in of_session.values():
        assert Counter(type(record) for record in records) == {TransitionRecord: STEPS_PER_TURN, TurnRecord: 1}
        numbers = [record.seq for record in records if isinstance(record, TransitionRecord)]
        assert numbers == list(range(numbers[0], numbers[0] + STEPS_PER_TURN))
        firsts[numbers[0]] += 1
    assert max(firsts.values()) <= 2 * SESSIONS // (STEPS_PER_TURN + 1) + 1


def test_a_turn_of_the_load():
    """The turn goes through all states of its path and has every stage, so that its trace is a whole one."""
    *steps, turn = _turn(3)
    moves = [step.target for step in steps if step.source != step.target]
    assert tuple(moves) == turn.path[1:]
    assert [work.name for work in works(turn.marks)] == [*STAGES[:3], "playback"]
    assert min(step.at_us for step in steps) >= turn.started_us
    assert max(step.at_us for step in steps) <= turn.ended_us


def test_the_collector_takes_what_comes():
    """The collector's process takes a turn's spans, and ends."""
    with _collector() as url, Tracer(url) as tracer:
        for record in _turn(0):
            (tracer.turn if isinstance(record, TurnRecord) else tracer.transition)("a", record)
        tracer.flush()


def test_rows():
    """The table's rows say what was measured, in whose time."""
    rows = tracing_rows({
        "metrics_transition_us": 2.22, "metrics_turn_us": 56.4, "traces_transition_us": 1.1, "traces_turn_us": 229.0,
        "sessions": 100, "turn_s": 5.0, "metrics_core_percent": 0.79, "metrics_loop_percent": 0.79,
        "traces_core_percent": 2.31, "traces_loop_percent": 0.92, "talking": 25, "off_core_percent": 40.4,
        "on_core_percent": 41.4, "on_over_off": 1.025, "on_over_off_range": [0.98, 1.06],
    })  # fmt: skip
    assert [(what, figure) for what, figure, _ in rows] == [
        ("metrics: a transition, a turn in the event loop", "2.2, 56 µs"),
        ("traces: a transition, a turn in the event loop", "1.1, 229 µs"),
        (
            "metrics, traces of 100 sessions, each a turn every 5 s, all of it",
            "0.8, 2.3 % of a core; in the event loop 0.8, 0.9 %",
        ),
        (
            "a server with 25 sessions talking without a rest, metrics and traces off / on",
            "40 / 41 % of a core; 1.02 times (0.98 to 1.06)",
        ),
    ]
