"""How a record becomes the fields of a line: plain values, as a line must not cost more than microseconds."""

from typing import Any

from voiceagent.records import COMPONENTS
from voiceagent.timeline import BargeIn, Gap, TransitionRecord, TurnRecord

_NO_GAP: dict[str, Any] = {
    "gap_ms": None,
    "basis": None,
    "segments_ms": {},
    "due": {},
    "hidden_ms": None,
    "residual_ms": None,
}
_DUE_TO_THE_MODEL = COMPONENTS | {"leading_silence": "realtime"}


def transition_fields(record: TransitionRecord) -> dict[str, Any]:
    """Return the fields of a ``voice.transition/1`` line: times in microseconds of the server's monotonic clock."""
    return {
        "seq": record.seq, "at_us": record.at_us, "turn": record.turn, "epoch": record.epoch,
        "from": record.source, "trigger": record.trigger, "to": record.target, "dwell_us": record.dwell_us,
        "deadline_us": record.deadline_us, "reason": record.reason,
        "started": record.started, "cancelled": record.cancelled,
        "ended": [{"task": ended.task, "took_ms": _ms(ended.took_us)} for ended in record.ended],
        "inbox": record.inbox, "outbox": record.outbox, "loop_lag_us": record.loop_lag_us,
    }  # fmt: skip


def turn_fields(record: TurnRecord) -> dict[str, Any]:
    """Return the fields of a ``voice.turn/1`` line: marks and segments in milliseconds, marks from the turn's start."""
    fields: dict[str, Any] = {
        "version": record.version, "trace": record.trace, "mode": record.mode,
        "turn": record.turn, "parent": record.parent, "origin": record.origin, "outcome": record.outcome,
        "started_us": record.started_us, "duration_ms": _ms(record.ended_us - record.started_us),
        "epoch": record.epoch, "path": record.path,
        "marks_ms": {name: _ms(at_us - record.started_us) for name, at_us in record.marks.items()},
        **(_NO_GAP if record.gap is None else _gap(record.gap, record.mode)),
        "pauses_ms": record.pauses_ms, "pause_waits_ms": record.pause_waits_ms,
        "wait_ms": record.wait_ms, "wait_reason": record.wait_reason,
        "speculation": {
            "tries": record.speculation.tries, "hit": record.speculation.hit,
            "saved_ms": _ms(record.speculation.saved_us), "wasted_tokens": record.speculation.wasted_tokens,
            "wasted_characters": record.speculation.wasted_characters,
        },
        "fillers": record.fillers, "voiced_ms": record.voiced_ms,
        "barge_ins": [_barge_in(barge_in, record.started_us) for barge_in in record.barge_ins],
        "reopened": record.reopened,
        "heard_ms": _samples_ms(record.heard_samples), "reply_ms": _samples_ms(record.reply_samples),
        **_work(record),
        "loop_lag_ms": _ms(record.loop_lag_us), "cost_usd": record.cost_usd,
        "usage": record.usage, "rtt_ms": _ms(record.rtt_us),
        "faults": [
            {"stage": fault.stage, "code": fault.code, "recovered": fault.recovered} for fault in record.faults
        ],
        "connections": {
            stage: {"acquire_ms": _ms(connection.acquire_us), "reused": connection.reused}
            for stage, connection in record.connections.items()
        },
    }  # fmt: skip
    return fields | ({"content": record.content} if record.content else {})


def _gap(gap: Gap, mode: str) -> dict[str, Any]:
    due = _DUE_TO_THE_MODEL if mode == "realtime" else COMPONENTS
    return {
        "gap_ms": _ms(gap.gap_us), "basis": gap.basis,
        "segments_ms": {name: _ms(us) for name, us in gap.segments_us.items()},
        "due": {name: due[name] for name in gap.segments_us},
        "hidden_ms": _ms(gap.hidden_us), "residual_ms": _ms(gap.residual_us),
    }  # fmt: skip


def _work(record: TurnRecord) -> dict[str, Any]:
    """What each component did, and None for one that had nothing to do."""
    heard, stt, llm, tts, network = record.heard, record.stt, record.llm, record.tts, record.network
    return {
        "heard": None if heard is None else {
            "characters": heard.characters, "words": heard.words,
            "of_characters": heard.of_characters, "of_words": heard.of_words,
        },
        "stt": None if stt is None else {
            "host": stt.host, "model": stt.model, "audio_ms": _ms(stt.audio_us), "items": stt.items,
            "retries": stt.retries,
        },
        "llm": None if llm is None else {
            "host": llm.host, "model": llm.model, "tokens_in": llm.tokens_in, "tokens_out": llm.tokens_out,
            "tokens_cached": llm.tokens_cached, "finish": llm.finish, "attempts": llm.attempts,
        },
        "tts": None if tts is None else {
            "host": tts.host, "model": tts.model, "characters": tts.characters, "audio_ms": _ms(tts.audio_us),
            "real_time_factor": tts.real_time_factor, "underruns": tts.underruns,
        },
        "network": None if network is None else {
            "rtt_ms": _ms(network.rtt_us), "jitter_ms": _ms(network.jitter_us), "offset_ms": _ms(network.offset_us),
        },
    }  # fmt: skip


def _barge_in(barge_in: BargeIn, started_us: int) -> dict[str, Any]:
    return {
        "over": barge_in.over, "onset_ms": _ms(barge_in.onset_us - started_us),
        "hold_ms": _ms_if_known(barge_in.hold_us), "verdict": barge_in.verdict,
        "reason": barge_in.reason, "verdict_ms": _ms_if_known(barge_in.verdict_us),
        "resume_ms": _ms_if_known(barge_in.resume_us), "yield_ms": _ms_if_known(barge_in.yield_us),
    }  # fmt: skip


def _ms(us: int) -> float:
    return us / 1000


def _ms_if_known(us: int | None) -> float | None:
    return None if us is None else us / 1000


def _samples_ms(samples: int) -> float:
    return samples / 24
