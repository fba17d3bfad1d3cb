"""The log: one JSON line a record, for people to tune by; texts only where a setting allows them, keys never."""

import sys
from dataclasses import asdict
from typing import IO, Any, TextIO, cast

import structlog

from voiceagent.settings import Settings
from voiceagent.timeline import TransitionRecord, TurnRecord

TURN_SCHEMA = "voice.turn/1"
TRANSITION_SCHEMA = "voice.transition/1"
# Where it happened, but not what was in the variables there: among them are keys.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class RecordLog:
    """Writes records of sessions and the server's own events as lines to `stream`."""

    def __init__(self, settings: Settings, stream: IO[str] | None = None) -> None:
        stream = sys.stdout if stream is None else stream
        pretty = settings.log_format == "pretty" or (settings.log_format == "auto" and stream.isatty())
        renderer: Any = structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
        self._log = cast(
            "structlog.typing.FilteringBoundLogger",
            structlog.wrap_logger(
                structlog.PrintLogger(cast("TextIO", stream)),
                processors=[
                    structlog.processors.add_log_level,
                    structlog.processors.TimeStamper(fmt="iso", utc=True),
                    structlog.processors.format_exc_info if pretty else _TRACEBACKS,
                    renderer,
                ],
                wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.log_level]),
                cache_logger_on_first_use=True,
            ),
        )

    def record(self, session: str, record: TransitionRecord | TurnRecord) -> None:
        """Write one record of a session."""
        if isinstance(record, TransitionRecord):
            self._log.info("transition", schema=TRANSITION_SCHEMA, session=session, **transition_fields(record))
        else:
            self._log.info("turn", schema=TURN_SCHEMA, session=session, **turn_fields(record))

    def event(self, name: str, **fields: Any) -> None:
        """Write an event of the server itself."""
        self._log.info(name, **fields)

    def warning(self, name: str, **fields: Any) -> None:
        """Write something that somebody should look at."""
        self._log.warning(name, **fields)

    def failure(self, name: str, error: BaseException, **fields: Any) -> None:
        """Write a defect of this program, with where it happened."""
        self._log.error(name, exc_info=error, **fields)


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
