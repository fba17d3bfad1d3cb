"""A cascade's session through every fault: the turn ends, the user learns why in one sentence, and the next turn works."""

import pytest

from tests.faulty import (
    AGAIN,
    ANSWERED,
    APOLOGY,
    COMPLETED,
    CUT,
    ENDED,
    NOTHING,
    SILENT,
    UP,
    defect,
    row,
    through,
)

STT = [
    *(row("stt", ANSWERED, "refuse", status=status) for status in (429, 500, 503)),
    *(row("stt", AGAIN, "refuse", status=status) for status in (401, 403, 404)),
    row("stt", AGAIN, "html"),
    row("stt", ANSWERED, "stall"),
    row("stt", ANSWERED, "stall", after_events=1),
    row("stt", ANSWERED, "stall", after_events=3, for_ms=1_000),
    row("stt", ANSWERED, "delay", delay_ms=1_500),
    row("stt", ANSWERED, "delay", delay_ms=400, each=True),
    row("stt", ANSWERED, "delay", delay_ms=300, **UP),
    row("stt", ANSWERED, "slow", bytes_per_s=2_000),
    *(row("stt", ANSWERED, "close", after_events=2, code=code) for code in (1000, 1001, 1008, 1011, 4000)),
    *(row("stt", ANSWERED, "drop", after_events=events) for events in (0, 1, 2, 3)),
    row("stt", ANSWERED, "drop", event="*.append", after_events=5, **UP),
    row("stt", ANSWERED, "drop", after_idle_ms=500),
    row("stt", ANSWERED, "session_expired", after_ms=1_500),
    row("stt", ANSWERED, "session_expired", after_events=3),
    row("stt", ANSWERED, "error", after_events=3),
    row("stt", AGAIN, "error", after_events=3, code="invalid_api_key"),
    row("stt", AGAIN, "reject", event="session.update", code="invalid_value"),
    row("stt", NOTHING, "reject", event_nth=1),
    row("stt", ANSWERED, "missing", event=COMPLETED, event_nth=1),
    row("stt", ANSWERED, "missing", event="*.committed", event_nth=1),
    row("stt", ANSWERED, "missing", event="session.created"),
    row("stt", ANSWERED, "missing", event="session.updated"),
    row("stt", ANSWERED, "duplicate"),
    row("stt", ANSWERED, "swap"),
    row("stt", ANSWERED, "swap", event="*.committed", behind=COMPLETED),
    row("stt", NOTHING, "transcript", event_nth=1),
    row("stt", ANSWERED, "failed_transcript", event_nth=1),
    *(row("stt", ANSWERED, "garbage", after_events=events) for events in (0, 2, 3)),
    row("stt", ANSWERED, "garbage", after_events=3, text="[]"),
    row("stt", ANSWERED, "garbage", after_events=3, text='{"type": "error", "error": "no"}'),
]
LLM = [
    *(row("llm", ANSWERED, "refuse", status=status) for status in (429, 500, 503)),
    *(row("llm", APOLOGY, "refuse", status=status) for status in (400, 401, 403, 404)),
    row("llm", ANSWERED, "refuse", status=429, retry_after_ms=500),
    row("llm", ANSWERED, "refuse", status=429, retry_after_s=60),
    row("llm", APOLOGY, "refuse", status=429, code="insufficient_quota"),
    row("llm", APOLOGY, "html"),
    row("llm", ANSWERED, "html", status=502),
    row("llm", ANSWERED, "drop"),
    row("llm", ANSWERED, "drop", reset=True),
    row("llm", ANSWERED, "drop", after_events=0),
    row("llm", ANSWERED, "drop", after_bytes=200),
    row("llm", APOLOGY, "drop", after_events=3),
    row("llm", CUT, "drop", after_events=8),
    row("llm", ANSWERED, "stall"),
    row("llm", ANSWERED, "stall", after_events=0),
    row("llm", ANSWERED, "stall", after_events=3, for_ms=700),
    row("llm", ANSWERED, "error", after_events=0),
    row("llm", APOLOGY, "error", after_events=3),
    row("llm", CUT, "error", after_events=9),
    row("llm", ANSWERED, "garbage"),
    row("llm", APOLOGY, "garbage", after_events=3),
    row("llm", APOLOGY, "garbage", after_events=3, text="[]"),
    row("llm", APOLOGY, "truncate", after_events=3),
    row("llm", CUT, "truncate", after_events=9),
    row("llm", ANSWERED, "missing", event="[[]DONE]"),
    row("llm", ANSWERED, "duplicate", event="[[]DONE]"),
    row("llm", ANSWERED, "odd_chunks"),
    row("llm", ANSWERED, "slow", bytes_per_s=3_000),
    row("llm", ANSWERED, "delay", delay_ms=700, jitter_ms=300),
    row("llm", ANSWERED, "delay", delay_ms=30, each=True),
]
TTS = [
    *(row("tts", ANSWERED, "refuse", status=status) for status in (429, 500, 503)),
    *(row("tts", SILENT, "refuse", status=status) for status in (400, 401, 403, 404)),
    row("tts", SILENT, "html"),
    row("tts", ANSWERED, "html", status=502),
    row("tts", ANSWERED, "drop"),
    row("tts", ANSWERED, "drop", after_events=0),
    row("tts", ANSWERED, "drop", after_bytes=1),
    row("tts", CUT, "drop", after_events=2),
    row("tts", ANSWERED, "stall"),
    row("tts", ANSWERED, "stall", after_bytes=4_801, for_ms=700),
    row("tts", CUT, "error", after_events=2),
    row("tts", ANSWERED, "garbage"),
    row("tts", ANSWERED, "truncate"),
    row("tts", ANSWERED, "wav_header"),
    row("tts", ANSWERED, "odd_chunks"),
    row("tts", ANSWERED, "slow", bytes_per_s=60_000),
    row("tts", ANSWERED, "slow", bytes_per_s=30_000),
    row("tts", ANSWERED, "delay", delay_ms=700),
]

SILENCE = "a session that has fallen silent is not given up: every later turn waits in vain"
NO_HOST = "the session's own deadlines name no host"
DEFECTS = [
    defect("one lost handshake ends speech to text for good", "stt", ANSWERED, "drop"),
    defect(SILENCE, "stt", ENDED, "stall", after_events=3),
    defect(SILENCE, "stt", ENDED, "stall", event="*.append", after_events=5, **UP),
    defect(SILENCE, "stt", ENDED, "missing", event="*.commit", event_nth=1, **UP),
    defect(
        "what a second commit is told ends the first one's item", "stt", ANSWERED, "duplicate", event="*.commit", **UP
    ),
    defect(NO_HOST, "llm", APOLOGY, "stall", after_events=3),
    defect(NO_HOST, "llm", CUT, "stall", after_events=8),
    defect(NO_HOST, "llm", APOLOGY, "truncate"),
    defect(NO_HOST, "tts", CUT, "stall", after_events=3),
]


@pytest.mark.parametrize(("rule", "becomes"), STT + LLM + TTS + DEFECTS)
def test_a_fault(rule, becomes, monkeypatch):
    """The turn becomes what the table says; who failed, where and why is told; the session goes on."""
    through(rule, becomes, monkeypatch, speculate=False, llm_api="chat", tts_api="speech")
