"""What of an event may be kept in a file: its structure; of sound its length, of texts theirs, and of keys nothing."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

STRUCTURE = frozenset(
    {
        "type", "event_id", "item_id", "previous_item_id", "response_id", "conversation_id", "conversation",
        "id", "object", "status", "role", "model", "code", "param", "reason", "call_id", "name", "format",
        "response_format", "stream_format", "voice", "language", "languages", "finish_reason", "tool_choice",
        "service_tier", "eagerness", "delay", "effort", "reasoning_effort", "verbosity", "modalities",
        "output_modalities", "include", "truncation", "system_fingerprint", "owned_by", "shutdown_date",
        "method", "path", "host", "stage", "kind", "how", "content_type", "request_id", "schema", "began",
        "intent", "deployment", "api-version",
    }
)  # fmt: skip
"""Fields whose strings say how, not what: they are kept. All that stands under ``metadata`` is ours, and kept too."""
SECRET = frozenset({"authorization", "api-key", "api_key", "client_secret", "token", "value", "password"})
MESSAGE = "message"
"""What an error says: kept, since a log is read for it; a key in it is not."""
_KEY = re.compile(r"\b(?:sk|ek)[-_][A-Za-z0-9_\-*.]{6,}")


class Redaction:
    """Redacts events. With `content` texts are kept; `keys` are cut out of every string."""

    def __init__(self, keys: Iterable[str] = (), *, content: bool = False) -> None:
        self._keys = sorted((key for key in keys if key), key=len, reverse=True)
        self._content = content

    def event(self, event: Any) -> Any:
        """Return the event as it may be kept."""
        sound = isinstance(event, Mapping) and str(event.get("type", "")).endswith("audio.delta")
        return self._value(event, "", sound=sound)

    def text(self, text: str) -> str:
        """Return a string without keys."""
        for key in self._keys:
            text = text.replace(key, "[key]")
        return _KEY.sub("[key]", text)

    def _value(self, value: Any, name: str, *, sound: bool) -> Any:
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): self._value(below, "metadata" if name == "metadata" else str(key), sound=sound)
                for key, below in value.items()
            }
        if isinstance(value, list):
            return [self._value(below, name, sound=sound) for below in value]
        return self._string(value, name, sound=sound) if isinstance(value, str) else value

    def _string(self, value: str, name: str, *, sound: bool) -> Any:
        if name.lower() in SECRET:
            return "[key]"
        if name == "audio" or (sound and name == "delta"):
            return {"bytes": sound_bytes(value)}
        if self._content or name in STRUCTURE or name in {MESSAGE, "metadata"}:
            return self.text(value)
        return {"chars": len(value)}


def sound_bytes(base64_text: str) -> int:
    """Return how many bytes stand in base64."""
    return len(base64_text) * 3 // 4 - base64_text[-2:].count("=")
