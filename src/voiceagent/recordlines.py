"""How a record becomes the fields of a line: plain values, as a line must not cost more than microseconds."""

from dataclasses import asdict
from typing import Any

from voiceagent.timeline import TransitionRecord, TurnRecord


def transition_fields(record: TransitionRecord) -> dict[str, Any]:
    """Return the fields of a ``voice.transition/1`` line: times in microseconds of the server's monotonic clock."""
    return {
        "seq": record.seq, "at_us": record.at_us, "turn": record.turn, "epoch": record.epoch,
        "from": record.source, "trigger": record.trigger, "to": record.target, "dwell_us": record.dwell_us,
        "deadline_us": record.deadline_us, "reason": record.reason,
    }  # fmt: skip


def turn_fields(record: TurnRecord) -> dict[str, Any]:
    """Return the fields of a ``voice.turn/1`` line: marks and segments in milliseconds, marks from the turn's start."""
    gap = record.gap
    fields: dict[str, Any] = {
        "turn": record.turn, "parent": record.parent, "origin": record.origin, "outcome": record.outcome,
        "started_us": record.started_us, "duration_ms": _ms(record.ended_us - record.started_us),
        "epoch": record.epoch, "path": record.path,
        "marks_ms": {name: _ms(at_us - record.started_us) for name, at_us in record.marks.items()},
        "gap_ms": None if gap is None else _ms(gap.gap_us), "basis": None if gap is None else gap.basis,
        "segments_ms": {} if gap is None else {name: _ms(us) for name, us in gap.segments_us.items()},
        "hidden_ms": None if gap is None else _ms(gap.hidden_us),
        "residual_ms": None if gap is None else _ms(gap.residual_us),
        "pauses_ms": record.pauses_ms, "wait_ms": record.wait_ms, "wait_reason": record.wait_reason,
        "speculation": {
            "tries": record.speculation.tries, "hit": record.speculation.hit,
            "saved_ms": _ms(record.speculation.saved_us), "wasted_tokens": record.speculation.wasted_tokens,
            "wasted_characters": record.speculation.wasted_characters,
        },
        "fillers": record.fillers, "voiced_ms": record.voiced_ms,
        "barge_ins": [_barge_in(asdict(barge_in)) for barge_in in record.barge_ins],
        "reopened": record.reopened,
        "heard_ms": _samples_ms(record.heard_samples), "reply_ms": _samples_ms(record.reply_samples),
        "usage": record.usage, "rtt_ms": _ms(record.rtt_us),
        "faults": [asdict(fault) for fault in record.faults],
        "connections": {
            stage: {"acquire_ms": _ms(connection.acquire_us), "reused": connection.reused}
            for stage, connection in record.connections.items()
        },
    }  # fmt: skip
    return fields | ({"content": record.content} if record.content else {})


def _barge_in(fields: dict[str, Any]) -> dict[str, Any]:
    del fields["onset_us"]
    return {
        (name.removesuffix("_us") + "_ms" if name.endswith("_us") else name):
        (_ms(value) if name.endswith("_us") and value is not None else value)
        for name, value in fields.items()
    }  # fmt: skip


def _ms(us: int) -> float:
    return us / 1000


def _samples_ms(samples: int) -> float:
    return samples / 24
