"""The benchmark of the log: what it writes is what a server writes, and its table says what was measured."""

import json

from tests.world import settings_for_tests
from voiceagent.bench import table
from voiceagent.bench.records import STEP, TURN
from voiceagent.logs import RecordLog
from voiceagent.records import TransitionLine, TurnLine


class Lines(list):
    """A sink that is a list."""

    name, pretty = "lines", False

    def write(self, line):
        self.append(line)

    def close(self):
        pass


def test_its_records_are_whole():
    """Both are lines by the schema, and the turn has every part that a turn can have, so that it costs as much."""
    lines = Lines()
    log = RecordLog(settings_for_tests(), sinks=[lines])
    log.record("s", STEP)
    log.record("s", TURN)
    log.start()
    assert log.close()
    step, turn = map(json.loads, lines)
    TransitionLine.model_validate(step)
    assert step["started"] == ["reply 91"]
    whole = TurnLine.model_validate(turn)
    assert whole.residual_ms == 0
    absent = [name for name in TurnLine.model_fields if getattr(whole, name) is None]
    assert absent == ["content"]


def test_its_table():
    """A row a figure."""
    figures = {
        "transition_put_us": 0.62, "turn_put_us": 0.7, "transition_thread_us": 9.1, "turn_thread_us": 38.4,
        "per_s": {"a file": 61_391}, "paced_put_p50_us": 4.4, "paced_put_p99_us": 16.2, "records_per_s": 300,
        "sessions": 100, "core_percent": 0.93,
    }  # fmt: skip
    rows = [line.split(" | ")[:2] for line in table({"records": figures}).splitlines()[2:]]
    assert rows == [
        ["| a transition, a turn of the log: cost in the event loop", "0.6, 0.7 µs"],
        ["| the same in the log's thread", "9, 38 µs"],
        ["| records through a file", "61,391 a second"],
        ["| the log of 100 sessions, each a turn every 5 s (300 records a second), all of it", "0.9 % of a core"],
        ["| a record in the event loop under that load, p50 / p99", "4 / 16 µs"],
    ]
