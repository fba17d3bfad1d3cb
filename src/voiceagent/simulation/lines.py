"""What must hold of the lines of the log, as they are written: they keep to the published schema, and nothing is negative."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from voiceagent.recordlines import transition_fields, turn_fields
from voiceagent.records import MARKS, TRANSITION_SCHEMA, TURN_SCHEMA, TransitionLine, TurnLine
from voiceagent.simulation.books import Books
from voiceagent.simulation.checks import on
from voiceagent.timeline import TransitionRecord, TurnRecord

MAY_BE_NEGATIVE = {"offset_ms"}
"""Between two clocks that began at different times."""
OPTIONAL = {"content"}


def as_written(record: TransitionRecord | TurnRecord) -> dict[str, Any]:
    """Return a record's line as a reader gets it."""
    step = isinstance(record, TransitionRecord)
    line = {
        "timestamp": "2026-01-01T00:00:00Z", "level": "info", "session": "sim",
        "event": "transition" if step else "turn", "schema": TRANSITION_SCHEMA if step else TURN_SCHEMA,
        **(transition_fields(record) if isinstance(record, TransitionRecord) else turn_fields(record)),
    }  # fmt: skip
    written: dict[str, Any] = json.loads(json.dumps(line))
    return written


def misfit(line: dict[str, Any]) -> str:
    """Return in what a line and its schema differ, down to fields that one has and the other has not; empty if nowhere."""
    model = TransitionLine if line["event"] == "transition" else TurnLine
    try:
        read = model.model_validate(line)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False)[0]
        return f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"
    known = read.model_dump(mode="json", by_alias=True, exclude=None if "content" in line else OPTIONAL)
    if known == line:
        return ""
    names = known.keys() | line.keys()
    return f"unlike the schema: {sorted(name for name in names if known.get(name, known) != line.get(name, line))}"


def negatives(value: Any, name: str = "") -> Iterator[str]:
    """Yield the names of all the numbers in a line that are below zero and must not be."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from negatives(inner, key)
        case list():
            for inner in value:
                yield from negatives(inner, name)
        case int() | float() if value < 0 and name not in MAY_BE_NEGATIVE:
            yield f"{name} is {value}"


@on("line", "METRICS: one record a turn and a transition, complete; ISSUE 5: no negative number")
def line_is_by_the_schema(_: Books, record: TransitionRecord | TurnRecord) -> str | None:
    """Each line has the fields that are published, all of them, and none is below zero."""
    line = as_written(record)
    wrong = misfit(line) or ", ".join(negatives(line))
    return f"{line['event']} {line.get('seq', line['turn'])}: {wrong}" if wrong else None


@on("line", "METRICS: segments tile the gap, each due to a component")
def every_segment_is_due_to_somebody(_: Books, record: TransitionRecord | TurnRecord) -> str | None:
    """The segments as they are written sum to the gap, and each has a component."""
    if isinstance(record, TransitionRecord) or record.gap is None:
        return None
    fields = turn_fields(record)
    if strange := fields["marks_ms"].keys() - MARKS.keys():
        return f"turn {record.turn} has marks {strange} that nobody knows"
    whole_us = round(sum(fields["segments_ms"].values()) * 1000)
    if whole_us != round((fields["gap_ms"] + fields["residual_ms"]) * 1000):
        return f"turn {record.turn}: the segments sum to {whole_us} us, of {fields['gap_ms']} ms"
    return None if fields["due"].keys() == fields["segments_ms"].keys() else f"turn {record.turn}: {fields['due']}"


@on("line", "METRICS: tasks started and cancelled, with how long each cancellation took")
def tasks_end_once(books: Books, record: TransitionRecord | TurnRecord) -> str | None:
    """What is cancelled was started, and what has ended was cancelled, once."""
    if isinstance(record, TurnRecord):
        return None
    books.tasks_started |= set(record.started)
    if strange := set(record.cancelled) - books.tasks_started:
        return f"record {record.seq}: {strange} were cancelled and never started"
    books.tasks_cancelled |= set(record.cancelled)
    ended = [ended.task for ended in record.ended]
    if len(set(ended)) < len(ended) or set(ended) - books.tasks_cancelled:
        return f"record {record.seq}: {ended} have ended"
    books.tasks_cancelled -= set(ended)
    return None


@on("line", "METRICS: the record says what each component did")
def work_is_accounted_for(books: Books, record: TransitionRecord | TurnRecord) -> str | None:
    """A reply that was heard has its speech on the record, and a turn of spoken words what was sent of them."""
    if isinstance(record, TransitionRecord):
        return None
    if record.heard_samples and (record.tts is None or record.tts.audio_us <= 0 or record.heard is None):
        return f"turn {record.turn} was heard, and nothing was spoken: {record.tts}"
    if record.items and (record.stt is None or record.stt.items != len(record.items)):
        return f"turn {record.turn} has items {record.items}: {record.stt}"
    book = books.epochs.get(record.epoch)
    if book is not None and book.asks and book.ready and record.llm is None:
        return f"turn {record.turn} was answered by nobody"
    return None
