"""The input of a response as messages of a chat, which is what the engines take; and the responses that are kept."""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from voiceagent.twin.chat import text_of
from voiceagent.twin.http import BadRequest

MAX_KEPT = 256
MAX_KEPT_CHARS = 32 * 1024 * 1024
ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
Messages = list[dict[str, Any]]


class Kept:
    """What was said up to each of the last responses; the oldest is forgotten first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[Messages, int]] = OrderedDict()
        self._chars = 0

    def keep(self, response_id: str, messages: Messages) -> None:
        """Keep a response's messages, its own among them."""
        chars = len(json.dumps(messages))
        self._kept[response_id] = (messages, chars)
        self._chars += chars
        while len(self._kept) > MAX_KEPT or self._chars > MAX_KEPT_CHARS:
            self._chars -= self._kept.popitem(last=False)[1][1]

    def before(self, response_id: object) -> Messages:
        """Return what was said up to a response. Raises `BadRequest` if it is not known."""
        if response_id is None:
            return []
        if not isinstance(response_id, str) or response_id not in self._kept:
            text = f"Previous response with id '{str(response_id)[:80]}' not found."
            raise BadRequest(text, "previous_response_id", "previous_response_not_found")
        return list(self._kept[response_id][0])


def messages_of(given: object, before: Sequence[Mapping[str, Any]]) -> Messages:
    """Return `input`, a text or a list of items, as messages. Raises `BadRequest`."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise BadRequest("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    called = {call["id"] for message in before for call in message.get("tool_calls") or ()}
    messages: Messages = []
    for index, item in enumerate(given):
        if not isinstance(item, dict):
            raise BadRequest(
                f"Invalid type for 'input[{index}]': expected an object.", f"input[{index}]", "invalid_type"
            )
        message = _message(item, f"input[{index}]", called)
        if message is not None:
            messages.append(message)
    return messages


def _message(item: Mapping[str, Any], where: str, called: set[str]) -> dict[str, Any] | None:
    kind, call_id = item.get("type", "message"), str(item.get("call_id"))
    if kind == "message":
        role, content = item.get("role"), item.get("content")
        if role not in ("user", "assistant", "system", "developer"):
            raise BadRequest(f"Invalid value: '{str(role)[:40]}'.", f"{where}.role", "invalid_value")
        if not isinstance(content, str | list):
            raise BadRequest(f"Invalid type for '{where}.content'.", f"{where}.content", "invalid_type")
        return {"role": ROLES[role], "content": content if isinstance(content, str) else text_of(content)}
    if kind == "function_call":
        called.add(call_id)
        function = {"name": str(item.get("name")), "arguments": str(item.get("arguments", "{}"))}
        call = {"id": call_id, "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    if kind == "function_call_output":
        if call_id not in called:
            text = f"No tool call found for function call output with call_id {call_id[:80]}."
            raise BadRequest(text, "input", None)
        output = item.get("output")
        return {
            "role": "tool", "tool_call_id": call_id,
            "content": text_of(output) if isinstance(output, list) else str(output or ""),
        }  # fmt: skip
    if kind == "reasoning":
        return None
    raise BadRequest(f"Invalid value: '{str(kind)[:40]}'.", f"{where}.type", "invalid_value")


def chat_tools(tools: Sequence[Mapping[str, Any]]) -> Messages:
    """Return flat function tools in the shape of a chat's; tools of other types are left out."""
    return [
        {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}
        for tool in tools
        if tool.get("type") == "function"
    ]
