"""What a ``response.create`` asks for: over which items, in what voice, and whether a text is only to be read aloud."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voiceagent.twin.configs import Rejected, SessionConfig, check_response_fields
from voiceagent.twin.items import Conversation, Item, audio_of, parsed
from voiceagent.twin.telephony import LAWS

READS_ALOUD = re.compile(r"(?i)^read the user's text aloud verbatim|\bverbatim\b")
SAYS_EXACTLY = re.compile(r"(?i)^say exactly the following[^:\n]*:[ \t]*\n?")
MAX_INPUT = 1_000


@dataclass(frozen=True, slots=True)
class Asked:
    """One response to be."""

    in_band: bool  # it becomes part of the conversation
    items: tuple[Item, ...]  # what it answers
    given: tuple[tuple[Item, bytes], ...]  # those of them that came with audio and have no words yet
    instructions: str
    verbatim: str | None  # what is to be said, where it needs no model
    audio: bool
    voice: str
    speed: float
    telephone: str  # the format of its audio, if it is the telephone's
    tools: tuple[Mapping[str, Any], ...]  # as chat completions have them
    limit: int | None  # tokens
    metadata: Mapping[str, str] | None
    tells_words: bool
    fields: Mapping[str, Any]  # what the response resource repeats


def asked(raw: Any, config: SessionConfig, conversation: Conversation, *, voice_locked: bool = False) -> Asked:
    """Return what a client's ``response`` asks for, the session's settings behind it. Raises `Rejected`."""
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        raise Rejected("Invalid 'response': expected an object.", param="response")
    output = _output(raw)
    check_response_fields({**raw, "speed": output.get("speed"), "format": output.get("format")}, "response")
    where = raw.get("conversation", "auto")
    if where not in ("auto", "none", None, conversation.id):
        raise Rejected("Invalid 'conversation': expected 'auto' or 'none'.", param="response.conversation")
    in_band = where != "none"
    items, given = _items(raw.get("input"), conversation)
    instructions = raw.get("instructions")
    instructions = str(config.get("instructions") or "") if instructions is None else instructions
    voice = output.get("voice") or config.output.get("voice") or "marin"
    if in_band and voice_locked and voice != config.output.get("voice"):
        text = "Cannot update a conversation's voice if assistant audio is present."
        raise Rejected(text, code="cannot_update_voice")
    modalities = raw.get("output_modalities") or config.get("output_modalities") or ["audio"]
    limit = raw.get("max_output_tokens") or config.get("max_output_tokens") or "inf"
    metadata = raw.get("metadata")
    form = output.get("format") or config.output.get("format")
    return Asked(
        in_band=in_band, items=items, given=given, instructions=instructions,
        verbatim=_verbatim(instructions, items, in_band=in_band),
        audio=modalities == ["audio"], voice=str(voice.get("id", "")) if isinstance(voice, dict) else str(voice),
        speed=float(output.get("speed") or config.output.get("speed") or 1.0),
        telephone=form["type"] if form and form["type"] in LAWS else "",
        tools=_tools(raw, config), limit=limit if isinstance(limit, int) else None, metadata=metadata,
        tells_words="on" in ((metadata or {}).get("words"), (config.get("metadata") or {}).get("words")),
        fields={
            "conversation_id": conversation.id if in_band else None, "output_modalities": list(modalities),
            "max_output_tokens": limit, "audio": {"output": {"format": form, "voice": voice}}, "metadata": metadata,
        },
    )  # fmt: skip


def _output(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    audio = raw.get("audio")
    output = audio.get("output") if isinstance(audio, dict) else audio
    if output is not None and not isinstance(output, dict):
        raise Rejected("Invalid 'audio': expected an object.", param="response.audio")
    return output or {}


def _items(raw: Any, conversation: Conversation) -> tuple[tuple[Item, ...], tuple[tuple[Item, bytes], ...]]:
    """The conversation as it is now, or the items that came with the request."""
    if raw is None:
        return tuple(conversation.items), ()
    if not isinstance(raw, list) or len(raw) > MAX_INPUT:
        raise Rejected(f"Invalid 'input': expected an array of at most {MAX_INPUT} items.", param="response.input")
    items, given = list[Item](), list[tuple[Item, bytes]]()
    for index, entry in enumerate(raw):
        where = f"response.input[{index}]"
        if isinstance(entry, dict) and entry.get("type") == "item_reference":
            items.append(conversation.get(entry.get("id"), f"{where}.id"))
            continue
        items.append(parsed(entry, where))
        if items[-1].has_words_to_come:
            given.append((items[-1], audio_of(entry)))
    return tuple(items), tuple(given)


def _verbatim(instructions: str, items: Sequence[Item], *, in_band: bool) -> str | None:
    """A model told to read aloud may reword; here it is sure to say the very text."""
    if order := SAYS_EXACTLY.match(instructions):
        return instructions[order.end() :]
    if in_band or not READS_ALOUD.search(instructions):
        return None
    return next((item.text for item in reversed(items) if item.fields.get("role") == "user"), "")


def _tools(raw: Mapping[str, Any], config: SessionConfig) -> tuple[Mapping[str, Any], ...]:
    """The functions that may be called, in the shape of chat completions; tools of other kinds are passed over."""
    tools = raw["tools"] if raw.get("tools") is not None else config.get("tools") or []
    choice = raw["tool_choice"] if raw.get("tool_choice") is not None else config.get("tool_choice")
    if choice == "none":
        return ()
    only = choice.get("name") if isinstance(choice, dict) else None
    names = ("name", "description", "parameters")
    return tuple(
        {"type": "function", "function": {name: tool[name] for name in names if name in tool}}
        for tool in tools
        if tool.get("type", "function") == "function" and only in (None, tool.get("name"))
    )
