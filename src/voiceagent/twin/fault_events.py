"""What passes along a faulty line: events, how they are told apart, and how a transcript or a piece of audio is rewritten."""

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from voiceagent.twin.errors import error_body, identifier
from voiceagent.twin.fault_rules import Duplicate, FailedTranscript, Missing, Transcript, WavHeader
from voiceagent.twin.faults import Armed

BODY, AUDIO = "body", "audio"
"""The types of what has none: a JSON body, and a piece of audio."""
AUDIO_DELTAS = {"speech.audio.delta": "audio", "response.output_audio.delta": "delta"}
WAV_HEADER = struct.pack(
    "<4sI4s4sIHHIIHH4sI", b"RIFF", 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, 1, 24_000, 48_000, 2, 16, b"data", 0xFFFFFFFF
)
"""24 kHz mono PCM16 of unknown length, as a streaming server writes it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One event on its way: its type, and what is on the wire. `control` is an ASGI message that ends the line."""

    kind: str
    data: str | bytes = b""
    control: dict[str, Any] | None = None
    last: bool = False

    @property
    def size(self) -> int:
        """The bytes on the wire."""
        return len(self.data) if isinstance(self.data, bytes) else len(self.data.encode())


def message_item(data: str | bytes) -> Item:
    """Return a WebSocket message as an item."""
    event = _parsed(data) if isinstance(data, str) else None
    return Item(str(event.get("type", "")) if event else "", data)


def sse_item(block: bytes) -> Item:
    """Return a block of server-sent events as an item; a chunk of a completion is of the type of its object."""
    text = _data_of(block)
    event = _parsed(text)
    if event is None:
        return Item(text if text == "[DONE]" else "", block)
    kind = event.get("type") or event.get("object") or ("error" if "error" in event else "")
    return Item(str(kind), block)


def _data_of(block: bytes) -> str:
    lines = [line[5:].strip() for line in block.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines).decode("utf-8", "replace")


def sse_block(event: dict[str, Any], *, named: bool = False) -> bytes:
    """Return a block of server-sent events; `named` ones have their type on a line of its own."""
    name = b"event: %b\n" % str(event.get("type", "")).encode() if named else b""
    return name + b"data: " + json.dumps(event).encode() + b"\n\n"


def _parsed(text: str | bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def rewritten(item: Item, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Item | None:
    """Return the item with its JSON changed; None where it has none, or where `change` returns None."""
    block = item.data if isinstance(item.data, bytes) and item.data.startswith((b"data:", b"event:")) else None
    event = _parsed(item.data if block is None else _data_of(block))
    changed = change(event) if event is not None else None
    if changed is None:
        return None
    kind = str(changed.get("type", item.kind))
    if block is not None:
        return Item(kind, sse_block(changed, named=block.startswith(b"event:")))
    text = json.dumps(changed)
    return Item(kind, text.encode() if isinstance(item.data, bytes) else text)


def with_transcript(item: Item, text: str) -> Item | None:
    """Return a transcript's event or body with other words; None if the item is none."""

    def change(event: dict[str, Any]) -> dict[str, Any] | None:
        if "transcript" in event and item.kind.endswith("input_audio_transcription.completed"):
            return {**event, "transcript": text}
        if "text" in event and item.kind in {BODY, "transcript.text.done"}:
            return {**event, "text": text}
        return None

    return rewritten(item, change)


def with_failure(item: Item, code: str, message: str) -> Item | None:
    """Return the failure in place of a transcript; None if the item is none."""

    def change(event: dict[str, Any]) -> dict[str, Any] | None:
        if not item.kind.endswith("input_audio_transcription.completed"):
            return None
        error = error_body(message, kind="server_error", code=code)["error"]
        kept = {name: event.get(name) for name in ("event_id", "item_id", "content_index")}
        return {"type": item.kind.removesuffix("completed") + "failed", **kept, "error": error}

    return rewritten(item, change)


def with_wav_header(item: Item) -> Item | None:
    """Return a piece of audio with a WAV header before it; None if the item is none."""
    if item.kind == AUDIO and isinstance(item.data, bytes):
        return replace(item, data=WAV_HEADER + item.data)
    field = AUDIO_DELTAS.get(item.kind)
    if field is None:
        return None

    def change(event: dict[str, Any]) -> dict[str, Any]:
        pcm = base64.b64decode(str(event.get(field, "")))
        return {**event, field: base64.b64encode(WAV_HEADER + pcm).decode()}

    return rewritten(item, change)


def error_event(kind: str, code: str | None, message: str, event_id: str | None = None) -> str:
    """Return a Realtime error event."""
    error = error_body(message, kind=kind, code=code)["error"]
    return json.dumps({"type": "error", "event_id": identifier("event"), "error": {**error, "event_id": event_id}})


def event_id(item: Item) -> str | None:
    """Return a client event's own id."""
    found = (_parsed(item.data) or {}).get("event_id")
    return found if isinstance(found, str) else None


def altered(one: Armed, item: Item) -> list[Item]:
    """Return what a rule that changes single events makes of this one."""
    rule = one.rule
    if isinstance(rule, Missing | Duplicate):
        becomes = [item] * (1 + rule.times) if isinstance(rule, Duplicate) else []
    else:
        changed = _changed(one, item)
        if changed is None:
            return [item]
        becomes = [changed]
    if not one.picks(item.kind):
        return [item]
    one.done = True
    one.done_to({"event": item.kind})
    return becomes


def _changed(one: Armed, item: Item) -> Item | None:
    rule = one.rule
    if isinstance(rule, Transcript):
        return with_transcript(item, rule.text)
    if isinstance(rule, FailedTranscript):
        return with_failure(item, rule.code, rule.message)
    if isinstance(rule, WavHeader) and not one.done:
        return with_wav_header(item)
    return None
