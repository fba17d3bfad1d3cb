"""What a turn looks like as a trace: one root span, and beneath it the response gap, the stages and the states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from voiceagent.exports import genai
from voiceagent.exports.memory import Stay
from voiceagent.exports.works import STAGES, asked, works
from voiceagent.recordlines import turn_fields
from voiceagent.timeline import GAP_START, TurnRecord

_PLAIN = (
    "origin", "outcome", "mode", "parent", "epoch", "basis", "gap_ms", "hidden_ms", "residual_ms", "wait_ms",
    "wait_reason", "fillers", "voiced_ms", "reopened", "heard_ms", "reply_ms", "rtt_ms", "loop_lag_ms", "cost_usd",
    "pauses_ms", "path",
)  # fmt: skip
"""Fields of the record that become `voice.…` as they are."""
_PARTS = {"segments_ms": "segment_ms", "speculation": "speculation", "heard": "heard", "network": "network",
          "content": "content"}  # fmt: skip
"""Fields whose own fields become `voice.….…`."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened at a moment within a span."""

    name: str
    at_us: int
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One span in microseconds of the server's monotonic clock; `failure` is the code of what went wrong, if anything.

    `remote` says that another machine did the work.
    """

    name: str
    from_us: int
    to_us: int
    attributes: dict[str, Any]
    moments: tuple[Moment, ...] = ()
    failure: str = ""
    remote: bool = False


@dataclass(frozen=True, slots=True)
class Trace:
    """One turn: its trace id (empty where the record has none), the root, and what lies beneath it."""

    id: str
    root: Span
    spans: tuple[Span, ...]


def trace(session: str, record: TurnRecord, stays: Sequence[Stay]) -> Trace:
    """Return the trace of a turn; `stays` are the states that its session was in meanwhile."""
    fields = turn_fields(record)
    spans = [*_gap(record), *_stages(fields, record), *(_state(stay) for stay in stays)]
    return Trace(fields.get("trace") or "", _root(session, fields, record), tuple(spans))


def _root(session: str, fields: Mapping[str, Any], record: TurnRecord) -> Span:
    attributes = {"voice.turn": record.turn} | genai.of_session(session)
    attributes |= {f"voice.{name}": fields.get(name) for name in _PLAIN}
    for name, prefix in _PARTS.items():
        attributes |= {f"voice.{prefix}.{key}": value for key, value in (fields.get(name) or {}).items()}
    attributes["voice.faults"] = [f"{fault.stage}:{fault.code}" for fault in record.faults]
    moments = [Moment(name, at_us) for name, at_us in record.marks.items()]
    for told, sound in zip(fields["barge_ins"], record.barge_ins, strict=True):
        about = {f"voice.barge_in.{key}": value for key, value in told.items()}
        moments.append(Moment("barge_in", sound.onset_us, about))
    moments.sort(key=lambda moment: moment.at_us)
    lost = [fault.code for fault in record.faults if not fault.recovered]
    failure = (lost[-1] if lost else "failed") if record.outcome == "failed" else ""
    if failure:
        attributes["error.type"] = failure
    return Span("turn", record.started_us, record.ended_us, attributes, tuple(moments), failure)


def _gap(record: TurnRecord) -> list[Span]:
    start_us = record.marks.get(GAP_START)
    if record.gap is None or start_us is None or record.gap.gap_us < 0:
        return []
    segments = {f"voice.segment_ms.{name}": us / 1000 for name, us in record.gap.segments_us.items()}
    return [Span("response_gap", start_us, start_us + record.gap.gap_us, {"voice.basis": record.gap.basis} | segments)]


def _stages(fields: Mapping[str, Any], record: TurnRecord) -> list[Span]:
    lost = {fault.stage: fault.code for fault in record.faults if not fault.recovered}
    spans = []
    for work in works(record.marks):
        attributes = genai.of_stage(fields, work.name, work.waited / 1000)
        code = lost.pop(work.name, "")
        if code:
            attributes |= genai.of_failure(work.name, code)
        name, remote = genai.name(fields, work.name), work.name in STAGES
        spans.append(Span(name, int(work.asked), int(work.ended), attributes, (), code, remote))
    for stage, code in lost.items():  # those that did not answer at all: nobody knows how long they tried
        from_us = asked(record.marks, stage)
        if from_us is not None:
            attributes = genai.of_stage(fields, stage, None) | genai.of_failure(stage, code)
            spans.append(
                Span(genai.name(fields, stage), int(from_us), record.ended_us, attributes, (), code, remote=True)
            )
    return spans


def _state(stay: Stay) -> Span:
    attributes = {"voice.state": stay.state, "voice.trigger": stay.trigger or None}
    return Span(f"state {stay.state}", stay.from_us, stay.to_us, attributes)
