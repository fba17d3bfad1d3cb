"""Lines of a log by hand: plain ones, of which a test changes what it is about."""

import json
from typing import Any

from voiceagent.records import TransitionLine, TurnLine

MARKS = {
    "speech_start": 0.0, "speech_end": 1000.0, "speech_end_arrived": 1020.0, "commit": 1120.0, "stt_final": 1220.0,
    "endpoint": 1520.0, "llm_request": 1220.0, "llm_first_token": 1420.0, "tts_request": 1440.0, "tts_first_byte": 1600.0,
    "gate_open": 1600.0, "first_frame_sent": 1602.0, "playback_start": 1680.0,
}  # fmt: skip
"""A wait of 500 ms under which the words, the model and half of the voice were hidden; the gap is 680 ms."""
SEGMENTS = {
    "uplink": 20.0, "endpoint_wait": 500.0, "stt_tail": 0.0, "queue": 0.0, "llm_ttft": 0.0, "clause_wait": 0.0,
    "tts_ttfb": 80.0, "gate_wait": 0.0, "send": 2.0, "network": 15.0, "playback": 63.0,
}  # fmt: skip
LATE = MARKS | {
    "llm_request": 1520.0, "llm_first_token": 1720.0, "tts_request": 1740.0, "tts_first_byte": 1900.0, "gate_open": 1900.0,
    "first_frame_sent": 1902.0, "playback_start": 1980.0,
}  # fmt: skip
"""The same turn without an early reply; the gap is 980 ms."""


def fields(**changes: Any) -> dict[str, Any]:
    """The fields of a turn line."""
    return {
        "timestamp": "2026-11-29T09:00:00.000000Z", "level": "info", "event": "turn", "schema": "voice.turn/1",
        "session": "aaa", "turn": 1, "epoch": 2, "parent": None, "origin": "user", "outcome": "completed",
        "started_us": 5_000_000, "duration_ms": 4000.0,
        "path": ["transcribing_open", "transcribing_ended", "thinking", "speaking", "listening"],
        "marks_ms": MARKS, "gap_ms": 680.0, "basis": "heard", "segments_ms": SEGMENTS, "hidden_ms": 380.0,
        "residual_ms": 0.0, "pauses_ms": [], "pause_waits_ms": [], "wait_ms": 500, "wait_reason": "neutral",
        "speculation": {"tries": 1, "hit": True, "saved_ms": 300.0, "wasted_tokens": 0, "wasted_characters": 0},
        "fillers": 0, "voiced_ms": 900, "barge_ins": [], "reopened": 0, "heard_ms": 2000.0, "reply_ms": 2000.0,
        "usage": {}, "rtt_ms": 30.0, "faults": [], "connections": {},
    } | changes  # fmt: skip


def turn(**changes: Any) -> TurnLine:
    """A turn as a reader has it."""
    return TurnLine.model_validate(fields(**changes))


def turn_line(**changes: Any) -> str:
    """A turn as it stands in the log."""
    return json.dumps(fields(**changes)) + "\n"


def late(**changes: Any) -> TurnLine:
    """A turn whose reply was begun at its end."""
    return turn(**{"marks_ms": LATE, "gap_ms": 980.0} | changes)


STEPS = (
    ("listening", "voice_on", "transcribing_open"),
    ("transcribing_open", "pause", "transcribing_open"),
    ("transcribing_open", "endpoint", "transcribing_ended"),
    ("transcribing_ended", "text_ready", "thinking"),
    ("thinking", "first_frame", "speaking"),
    ("speaking", "playback_ended", "listening"),
    ("listening", "leave", "closed"),
)


def step_line(seq: int, source: str, trigger: str, target: str, **changes: Any) -> str:
    """A transition as it stands in the log."""
    step = {
        "timestamp": "2026-11-29T09:00:00.000000Z", "level": "info", "event": "transition",
        "schema": "voice.transition/1", "session": "aaa", "seq": seq, "at_us": 1_000_000 * seq, "turn": 1, "epoch": 2,
        "from": source, "trigger": trigger, "to": target, "dwell_us": 1_000_000, "deadline_us": None, "reason": "",
    } | changes  # fmt: skip
    TransitionLine.model_validate(step)
    return json.dumps(step) + "\n"


def session_lines(**changes: Any) -> list[str]:
    """A whole session."""
    return [step_line(seq, *step, **changes) for seq, step in enumerate(STEPS, 1)]
