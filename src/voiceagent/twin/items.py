"""The items of a conversation: a chain of messages and function calls, what of them was said, and a model's view of it."""

import asyncio
import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from voiceagent.twin.configs import RATE_HZ, Rejected
from voiceagent.twin.errors import identifier
from voiceagent.twin.ports import WordEnd
from voiceagent.twin.wire import Wire

MAX_ITEMS = 1_000
MAX_ID_CHARS = 200
MAX_AUDIO_CHARS = 15 * 1024 * 1024
_PARTS = {
    "user": ("input_text", "input_audio", "input_image"),
    "assistant": ("output_text", "output_audio", "text"),
    "system": ("input_text",),
}


@dataclass(slots=True, eq=False)
class Item:
    """A message, a call, or the answer to one. `fields` are the wire's, beside its id and status."""

    item_id: str
    fields: dict[str, Any]
    status: str = "completed"
    samples: int = 0  # of audio, heard or said
    words: list[WordEnd] = field(default_factory=list)  # where they end in what was said
    ready: asyncio.Event = field(default_factory=asyncio.Event)  # if it was heard: its transcript is there

    @property
    def content(self) -> list[dict[str, Any]]:
        """A message's parts, as on the wire but without audio."""
        parts: list[dict[str, Any]] = self.fields.get("content", [])
        return parts

    @property
    def has_words_to_come(self) -> bool:
        """Whether it was heard and is still being transcribed."""
        return any(part["type"] == "input_audio" and part.get("transcript") is None for part in self.content)

    @property
    def text(self) -> str:
        """A message's words, written, heard or said."""
        words = (part.get("text") or part.get("transcript") or "" for part in self.content)
        return " ".join(said for said in words if said)

    def shape(self) -> dict[str, Any]:
        """Return it as the wire shows it."""
        fields = dict(self.fields)
        if "content" in fields:
            fields["content"] = [dict(part) for part in self.content]
        return {"id": self.item_id, "object": "realtime.item", **fields, "status": self.status}

    def cut(self, audio_end_ms: int) -> None:
        """Forget what was said after so many milliseconds."""
        part = self.content[0]
        whole = str(part.get("transcript") or "")
        length_ms = self.samples * 1000 // RATE_HZ
        if audio_end_ms < length_ms:
            ends = [word.end_char for word in self.words if word.end_ms <= audio_end_ms]
            if not self.words:  # an engine that does not know its words: as if all took equally long
                ends = [whole.rfind(" ", 0, len(whole) * audio_end_ms // length_ms + 1)]
            part["transcript"] = whole[: max([0, *ends])]
            self.words = [word for word in self.words if word.end_ms <= audio_end_ms]
        self.samples = min(self.samples, audio_end_ms * RATE_HZ // 1000)


def heard(item_id: str) -> Item:
    """Return the item of an utterance whose transcript is still to come."""
    part = {"type": "input_audio", "transcript": None}
    return Item(item_id, {"type": "message", "role": "user", "content": [part]})


class Conversation:
    """The chain. Every change of it is told on the wire."""

    def __init__(self, wire: Wire) -> None:
        self.id = identifier("conv")
        self._wire = wire
        self._items: dict[str, Item] = {}

    @property
    def items(self) -> list[Item]:
        """All of them, in order."""
        return list(self._items.values())

    @property
    def last(self) -> str | None:
        """The id of the last one."""
        return next(reversed(self._items), None)

    def get(self, item_id: Any, param: str = "item_id") -> Item:
        """Return an item. Raises `Rejected`."""
        item = self._items.get(item_id) if isinstance(item_id, str) else None
        if item is None:
            raise Rejected("No item with that id.", code="item_not_found", param=param)
        return item

    # ------------------------------------------------------------------------------ growing
    def add(self, item: Item, after: str | None = None) -> str | None:
        """Put an item behind another one, ``root`` for the beginning, None for the end; return its predecessor's id.

        Raises `Rejected`. Says nothing yet.
        """
        if item.item_id in self._items:
            raise Rejected(f"An item with the id '{item.item_id}' exists already.", param="item.id")
        chain = list(self._items.items())
        at = len(chain)
        if after is not None:
            at = 0 if after == "root" else list(self._items).index(self.get(after, "previous_item_id").item_id) + 1
        chain.insert(at, (item.item_id, item))
        if len(chain) > MAX_ITEMS:
            del chain[0]
            at -= 1
        self._items = dict(chain)
        return chain[at - 1][0] if at > 0 else None

    def tell(self, kind: str, item: Item, previous: str | None) -> None:
        """Say that an item was ``added``, or is ``done``."""
        shape = item.shape()
        if kind == "added" and item.status == "in_progress" and "content" in shape:
            shape["content"] = []
        self._wire.send({"type": f"conversation.item.{kind}", "previous_item_id": previous, "item": shape})

    def previous(self, item: Item) -> str | None:
        """Return the id of the item before one; None for the first, and for one that was deleted."""
        before = None
        for item_id in self._items:
            if item_id == item.item_id:
                return before
            before = item_id
        return None

    def append(self, item: Item, after: str | None = None) -> str | None:
        """Put a whole item into the chain, as `add` does, and say so."""
        previous = self.add(item, after)
        for kind in ("added", "done"):
            self.tell(kind, item, previous)
        return previous

    # ------------------------------------------------------------------------------ the client's events
    def retrieve(self, event: Mapping[str, Any]) -> None:
        """Answer ``conversation.item.retrieve``."""
        self._wire.send({"type": "conversation.item.retrieved", "item": self.get(event.get("item_id")).shape()})

    def delete(self, event: Mapping[str, Any]) -> None:
        """Take in ``conversation.item.delete``."""
        item = self.get(event.get("item_id"))
        del self._items[item.item_id]
        self._wire.send({"type": "conversation.item.deleted", "item_id": item.item_id})

    def truncate(self, event: Mapping[str, Any]) -> None:
        """Take in ``conversation.item.truncate``: of what was said, the client has heard so much."""
        item, end_ms = self.get(event.get("item_id")), event.get("audio_end_ms")
        parts = item.content
        if item.fields.get("role") != "assistant" or not parts or parts[0]["type"] != "output_audio":
            raise Rejected("Only model output audio messages can be truncated.", param="item_id")
        if event.get("content_index", 0) != 0:
            raise Rejected("Invalid 'content_index': there is only 0.", param="content_index")
        if not isinstance(end_ms, int) or isinstance(end_ms, bool) or end_ms < 0:
            raise Rejected("Invalid 'audio_end_ms': expected a whole number of milliseconds.", param="audio_end_ms")
        has_ms = item.samples * 1000 // RATE_HZ
        if end_ms > has_ms:
            text = f"Audio content of {has_ms}ms is already shorter than {end_ms}ms"
            raise Rejected(text, param="audio_end_ms")
        item.cut(end_ms)
        told = {"item_id": item.item_id, "content_index": 0, "audio_end_ms": end_ms}
        self._wire.send({"type": "conversation.item.truncated", **told})


def audio_of(raw: Mapping[str, Any]) -> bytes:
    """Return the audio in a client's item that `parsed` has let pass. Raises `Rejected`."""
    parts = [part for part in raw.get("content") or [] if part["type"] == "input_audio" and part.get("audio")]
    return b"".join(decoded(part["audio"]) for part in parts if part.get("transcript") is None)


def decoded(audio: Any) -> bytes:
    """Return the bytes of a base64 string. Raises `Rejected`."""
    if not isinstance(audio, str) or len(audio) > MAX_AUDIO_CHARS:
        raise Rejected("Invalid 'audio': expected base64 of at most 15 MiB.", param="audio")
    try:
        return base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        raise Rejected("Invalid 'audio': expected base64-encoded audio bytes.", param="audio") from None


def parsed(raw: Any, where: str = "item") -> Item:
    """Return the item that a client describes, its audio aside. Raises `Rejected`."""
    if not isinstance(raw, dict):
        raise Rejected(f"Missing required parameter: '{where}'.", code="missing_required_parameter", param=where)
    item_id = raw.get("id") or identifier("item")
    if not isinstance(item_id, str) or len(item_id) > MAX_ID_CHARS:
        raise Rejected(f"Invalid '{where}.id': expected a short string.", param=f"{where}.id")
    kind = raw.get("type")
    if kind == "message":
        fields: dict[str, Any] = {"type": kind, "role": raw.get("role"), "content": _content(raw, where)}
    elif kind == "function_call_output":
        fields = {"type": kind, **_strings(raw, ("call_id", "output"), where)}
    elif kind == "function_call":
        call_id = raw.get("call_id") or identifier("call")
        fields = {"type": kind, **_strings({**raw, "call_id": call_id}, ("call_id", "name", "arguments"), where)}
    else:
        raise Rejected(f"Invalid value: '{str(kind)[:80]}'.", param=f"{where}.type")
    return Item(item_id, fields)


def _strings(raw: Mapping[str, Any], names: Iterable[str], where: str) -> dict[str, str]:
    for name in names:
        if not isinstance(raw.get(name), str):
            text = f"Missing required parameter: '{where}.{name}'."
            raise Rejected(text, code="missing_required_parameter", param=f"{where}.{name}")
    return {name: raw[name] for name in names}


def _content(raw: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    role, parts = raw.get("role"), raw.get("content")
    if role not in tuple(_PARTS):
        raise Rejected(f"Invalid value: '{str(role)[:80]}'.", param=f"{where}.role")
    if not isinstance(parts, list):
        text = f"Missing required parameter: '{where}.content'."
        raise Rejected(text, code="missing_required_parameter", param=f"{where}.content")
    content = []
    for index, part in enumerate(parts):
        if not isinstance(part, dict) or part.get("type") not in _PARTS[role]:
            said = str(part.get("type") if isinstance(part, dict) else part)[:80]
            raise Rejected(f"Invalid value: '{said}'.", param=f"{where}.content[{index}].type")
        for name in ("text", "transcript", "audio"):
            if part.get(name) is not None and not isinstance(part[name], str):
                raise Rejected(f"Invalid '{name}': expected a string.", param=f"{where}.content[{index}].{name}")
        kept = {key: value for key, value in part.items() if key in ("type", "text", "transcript")}
        if part["type"] == "input_audio":
            kept.setdefault("transcript", None if part.get("audio") else "")
        content.append(kept)
    return content


# ------------------------------------------------------------------------------------------ as a model sees it
def audio_tokens(samples: int) -> int:
    """Return how many tokens so much audio of a user is: ten a second."""
    return samples // (RATE_HZ // 10)


def as_messages(items: Iterable[Item], instructions: str) -> list[dict[str, Any]]:
    """Return items as messages of chat completions, behind the instructions; what has no words is left out.

    Only a last message of the user stays without any: a model that answers has to know that nothing was understood.
    """
    messages: list[dict[str, Any]] = [{"role": "system", "content": instructions}] if instructions else []
    chain = list(items)
    for index, item in enumerate(chain):
        fields = item.fields
        if fields["type"] == "message":
            if item.text or (fields["role"] == "user" and index == len(chain) - 1):
                messages.append({"role": fields["role"], "content": item.text})
        elif fields["type"] == "function_call":
            function = {"name": fields["name"], "arguments": fields["arguments"]}
            call = {"id": fields["call_id"], "type": "function", "function": function}
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        else:
            messages.append({"role": "tool", "tool_call_id": fields["call_id"], "content": fields["output"]})
    return messages
