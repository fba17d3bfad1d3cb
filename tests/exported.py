"""Records by hand for the exports, with round numbers: one turn of a second and a half, and what its session did."""

from dataclasses import replace

from voiceagent.recordlines import transition_fields, turn_fields
from voiceagent.records import TRANSITION_SCHEMA, TURN_SCHEMA, TransitionLine, TurnLine
from voiceagent.timeline import (
    BargeIn,
    Connection,
    LlmWork,
    Speculation,
    StageFault,
    SttWork,
    TransitionRecord,
    TtsWork,
    TurnRecord,
    response_gap,
)

START_US = 1_000_000
MARKS = {
    "speech_start": 1_000_000, "commit": 1_300_000, "speech_end": 1_200_000, "speech_end_arrived": 1_210_000,
    "endpoint": 1_500_000, "stt_final": 1_520_000, "llm_request": 1_521_000, "llm_first_token": 1_721_000,
    "first_clause": 1_760_000, "tts_request": 1_761_000, "tts_first_byte": 1_841_000, "tts_first_audible": 1_842_000,
    "gate_open": 1_842_000, "first_frame_sent": 1_843_000, "playback_start": 1_900_000, "playback_end": 2_400_000,
}  # fmt: skip
TRACE = "0af7651916cd43dd8448eb211c80319c"
SECRET = "an-unlikely-word"


def turn(**changes):
    """One turn; `marks` given are in place of all of them."""
    marks = changes.pop("marks", MARKS)
    made = TurnRecord(
        turn=1, parent=None, origin="user", outcome="completed", started_us=START_US, ended_us=2_500_000, epoch=1,
        path=("transcribing_open", "transcribing_ended", "thinking", "speaking", "listening"), marks=dict(marks),
        gap=response_gap(marks, rtt_us=20_000), pauses_ms=(), wait_ms=300, wait_reason="neutral",
        speculation=Speculation(tries=2, hit=True), fillers=0, voiced_ms=200,
        barge_ins=(
            BargeIn(2_000_000, "speaking", hold_us=60_000, verdict="rejected", reason="backchannel", verdict_us=400_000),
            BargeIn(2_300_000, "speaking", hold_us=70_000, verdict="confirmed", verdict_us=100_000, yield_us=150_000),
        ),
        heard_samples=12_000, reply_samples=12_000, usage={}, rtt_us=20_000, reopened=0,
        faults=(StageFault("tts", "rate_limit", recovered=True),), trace=TRACE,
        stt=SttWork("127.0.0.1:9000", "ear", 500_000, 1, 0),
        llm=LlmWork("api.openai.com", "gpt-x", 10, 5, 2, "stop", 1),
        tts=TtsWork("[::1]:80", "mouth", 20, 500_000, 0.2, 0), connections={"llm": Connection(1500, reused=True)},
    )  # fmt: skip
    return replace(made, **changes)


def steps():
    """The transitions of that turn's session, up to its end."""
    made, entered_us, leaf = [], 0, "listening"
    for at_us, trigger, target in (
        (1_064_000, "voice_on", "transcribing_open"), (1_300_000, "pause", "transcribing_open"),
        (1_500_000, "endpoint", "transcribing_ended"), (1_520_000, "text_ready", "thinking"),
        (1_842_000, "first_frame", "speaking"), (2_500_000, "playback_ended", "listening"),
        (9_000_000, "leave", "closed"),
    ):  # fmt: skip
        made.append(
            TransitionRecord(
                seq=len(made) + 1, at_us=at_us, turn=1, epoch=1, source=leaf, trigger=trigger, target=target,
                dwell_us=at_us - entered_us, deadline_us=None, reason="",
            )
        )  # fmt: skip
        if target != leaf:
            leaf, entered_us = target, at_us
    return made


def line(session, record):
    """A record as its line in the log."""
    of_turn = isinstance(record, TurnRecord)
    fields = turn_fields(record) if of_turn else transition_fields(record)
    schema = TURN_SCHEMA if of_turn else TRANSITION_SCHEMA
    head = {"timestamp": "2026-11-29T12:00:00.000000Z", "session": session, "schema": schema}
    return (TurnLine if of_turn else TransitionLine).model_validate(head | fields)
