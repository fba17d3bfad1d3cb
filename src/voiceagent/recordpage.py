"""docs/records.md and the JSON Schemas of the log's lines, from the models that read them."""

import json
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from voiceagent.records import COMPONENTS, MARKS, OUTCOMES, TRANSITION_SCHEMA, TURN_SCHEMA, TransitionLine, TurnLine
from voiceagent.timeline import CHAIN, SEGMENTS

LINES: dict[str, type[BaseModel]] = {TURN_SCHEMA: TurnLine, TRANSITION_SCHEMA: TransitionLine}
UNITS = {"_us": "µs", "_ms": "ms", "_usd": "US dollars"}
WAYS = {
    "network": "half a round trip of the way to the speaker", "playback": "the rest of it: buffers and the sound device",
    "leading_silence": "silence at the beginning of the reply's audio",
}  # fmt: skip


def schema_file(name: str) -> str:
    """Return the name of the file with a schema, such as ``voice.turn-1.json``."""
    return name.replace("/", "-") + ".json"


def schema(name: str) -> str:
    """Return the JSON Schema of a line."""
    model = LINES[name]
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name, **model.model_json_schema()}
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def page() -> str:
    """Return the page without its note."""
    segments = "\n".join(
        f"| {number} | `{name}` | {_ends(name)} | {_component(name)} |" for number, name in enumerate(SEGMENTS, 1)
    )
    marks = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in MARKS.items())
    outcomes = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in OUTCOMES.items())
    parts = "\n".join(_table(model, "###") for model in _parts())
    return (
        "# Records\n\nThe log has one JSON line for each turn, once it is over, and one for each step of the state machine. "
        + " and ".join(f"[`{name}`](schema/{schema_file(name)})" for name in LINES)
        + " are their JSON Schemas. Within one version fields are only added, so a reader ignores what it does not know. "
        "Texts of what was said are only there with `log_content`, and only under `content`; keys and tokens never are. "
        "No number is below zero but `offset_ms`, which lies between two clocks.\n\n"
        "Times are taken on one monotonic clock in the server; the browser's is mapped onto it by the pings, of which the "
        "one with the shortest round trip counts. Where that map would put a sound before it was sent or after it was told "
        "of, the bound holds.\n\n"
        f"{_table(TurnLine, '##')}\n{_table(TransitionLine, '##')}\n## Parts of a turn\n\n{parts}\n"
        "## Segments\n\nThe response gap is the time from the user's last voiced sample to the first audible sample of the "
        "reply at the speaker. Its segments tile it: each lasts from the end of the one before to its mark, and is 0 where "
        "that mark was earlier, since the work was done while something else was waited for (`hidden_ms`). "
        "A segment whose mark is missing is missing too.\n\n"
        f"| | Segment | Ends with | Due to |\n|---|---|---|---|\n{segments}\n\n"
        f"## Marks\n\n| Mark | Moment |\n|---|---|\n{marks}\n\n"
        f"## Outcomes\n\n| Outcome | |\n|---|---|\n{outcomes}\n"
    )  # fmt: skip


def _ends(segment: str) -> str:
    mark = dict(CHAIN).get(segment)
    return f"`{mark}`" if mark else WAYS[segment]


def _component(segment: str) -> str:
    also = "; `realtime` where a voice model speaks" if segment == "leading_silence" else ""
    return f"`{COMPONENTS[segment]}`{also}"


def _parts() -> list[type[BaseModel]]:
    """The models inside the lines, in the order in which they are met."""
    found: list[type[BaseModel]] = []
    for model in LINES.values():
        for field in model.model_fields.values():
            found += [inner for inner in _models(field.annotation) if inner not in found]
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _table(model: type[BaseModel], heading: str) -> str:
    rows = "\n".join(
        f"| `{field.alias or name}` | {kind(field.annotation)}{_unit(name)} | {field.description} |"
        for name, field in model.model_fields.items()
    )
    doc = " ".join((model.__doc__ or "").split())
    title = next((f"`{name}`" for name, line in LINES.items() if line is model), model.__name__.removesuffix("Part"))
    return f"{heading} {title}\n\n{doc}\n\n| Field | Kind | |\n|---|---|---|\n{rows}\n"


def _unit(name: str) -> str:
    return next((f", {unit}" for end, unit in UNITS.items() if name.endswith(end)), "")


def kind(annotation: Any) -> str:  # noqa: PLR0911 - one line a kind
    """Return how a page names a type."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind(inner[0])
    if origin is Literal:
        return " \\| ".join(f"`{value}`" if value else "empty" for value in inner)
    if origin in (Union, UnionType):
        return ", ".join(kind(one) for one in inner if one is not NoneType) + " or none"
    if origin is tuple:
        return f"list of {kind(inner[0])}"
    if origin is dict:
        return f"object of {kind(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__.removesuffix('Part')}](#{annotation.__name__.removesuffix('Part').lower()})"
    return {str: "text", int: "integer", float: "number", bool: "yes or no"}.get(annotation, "anything")
