"""A session over Realtime conversations through every fault: one voice model, and text to speech that is one."""

import pytest

from tests.faulty import ANSWERED, CUT, ENDED, SILENT, UP, row, through

CREATED, DELTA, DONE = "response.created", "response.output_audio.delta", "response.done"
BUSY = "conversation_already_has_active_response"

BOTH = [
    *(row("realtime", ANSWERED, "refuse", status=status) for status in (429, 503)),
    row("realtime", ANSWERED, "stall"),
    row("realtime", ANSWERED, "stall", after_events=2),
    row("realtime", ANSWERED, "stall", event=DELTA, after_events=3, for_ms=1_500),
    row("realtime", ANSWERED, "delay", delay_ms=1_500),
    row("realtime", ANSWERED, "delay", delay_ms=300, each=True),
    row("realtime", ANSWERED, "slow", bytes_per_s=100_000),
    row("realtime", ANSWERED, "close"),
    row("realtime", ANSWERED, "drop"),
    row("realtime", ANSWERED, "drop", after_events=2),
    row("realtime", ANSWERED, "drop", after_idle_ms=700),
    row("realtime", ANSWERED, "drop", event=CREATED, after_events=1),
    row("realtime", CUT, "drop", event=DELTA, after_events=3),
    row("realtime", CUT, "close", event=DELTA, after_events=3),
    row("realtime", CUT, "session_expired", event=DELTA, after_events=3),
    row("realtime", CUT, "garbage", event=DELTA, after_events=2),
    row("realtime", ANSWERED, "session_expired", after_ms=500),
    row("realtime", ANSWERED, "error", after_events=2),
    row("realtime", SILENT, "reject", event="response.create", event_nth=1, code="invalid_value"),
    row("realtime", ANSWERED, "reject", event="response.create", event_nth=1, code=BUSY),
    row("realtime", ANSWERED, "missing", event="session.updated"),
    row("realtime", ANSWERED, "missing", event="response.output_audio.done"),
    row("realtime", ANSWERED, "duplicate", event=DONE),
    row("realtime", ANSWERED, "garbage", after_events=2),
    row("realtime", ANSWERED, "garbage", event=DELTA, after_events=2, text='{"type":"response.output_audio.delta"}'),
    row("realtime", ANSWERED, "garbage", event=CREATED, after_events=1, text='{"type":"response.done"}'),
    row("realtime", ANSWERED, "wav_header"),
]
VOICE = [
    row("realtime", SILENT, "refuse", status=401),
    row("realtime", SILENT, "refuse", status=404),
    row("realtime", SILENT, "html"),
    row("realtime", SILENT, "reject", event="session.update", code="invalid_value"),
    row("realtime", ANSWERED, "session_expired", after_ms=1_800),
    row("realtime", ANSWERED, "error", event=DELTA, after_events=2),
    row("realtime", ANSWERED, "missing", event="*.committed"),
    row("realtime", ANSWERED, "missing", event="*input_audio_transcription.completed"),
    row("realtime", ANSWERED, "swap", event="*.committed", behind=CREATED),
    row("realtime", ANSWERED, "transcript"),
    row("realtime", ANSWERED, "failed_transcript"),
    row("realtime", ENDED, "stall", event=CREATED, after_events=1),
    row("realtime", ENDED, "stall", event=DELTA, after_events=3),
    row("realtime", ENDED, "missing", event=CREATED, event_nth=1),
    row("realtime", ENDED, "missing", event=DONE, event_nth=1),
    row("realtime", ENDED, "missing", event="response.create", event_nth=1, **UP),
    row("realtime", ANSWERED, "duplicate", event="response.create", **UP),
    row("realtime", SILENT, "missing", event=DELTA),
]


@pytest.mark.parametrize(("rule", "becomes"), BOTH + VOICE)
def test_a_voice_model(rule, becomes):
    """The turn becomes what the table says; it is told why; the session goes on."""
    through(rule, becomes, mode="realtime")


@pytest.mark.parametrize(("rule", "becomes"), BOTH)
def test_speech_on_a_realtime_session(rule, becomes):
    """The cascade's text to speech over a Realtime session goes the same way."""
    through(rule, becomes, "tts", speculate=False, llm_api="chat", tts_api="realtime")
