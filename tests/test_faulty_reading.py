"""A session whose phrases are read aloud on Realtime sessions, through faults that fall silent or tell too much."""

import pytest

from tests.faulty import ANSWERED, CUT, UP, row, through

CREATED, DELTA, DONE = "response.created", "response.output_audio.delta", "response.done"
FAULTS = [
    row("realtime", ANSWERED, "drop"),
    row("realtime", ANSWERED, "stall", event=CREATED, after_events=1),
    row("realtime", CUT, "stall", event=DELTA, after_events=3),
    row("realtime", ANSWERED, "missing", event=CREATED, event_nth=1),
    row("realtime", CUT, "missing", event=DONE, event_nth=1),
    row("realtime", ANSWERED, "missing", event="response.create", event_nth=1, **UP),
    row("realtime", ANSWERED, "duplicate", event="response.create", **UP),
]


@pytest.mark.parametrize(("rule", "becomes"), FAULTS)
def test_a_fault(rule, becomes):
    """The turn becomes what the table says, and the next one is read aloud as if nothing had been."""
    through(rule, becomes, "tts", speculate=False, llm_api="chat", tts_api="realtime")
