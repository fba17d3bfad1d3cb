"""A prompt cache as it shows in the usage: messages that came before under the same key count as cached."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

MAX_KEYS = 256


def tokens_of(message: Mapping[str, Any]) -> int:
    """Return roughly the tokens of a message: its words."""
    return len(str(message.get("content") or "").split())


class PromptCache:
    """The last prompt of each key, as hashes of its messages. The service caches from 1024 tokens on; here all count."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, list[int]] = OrderedDict()

    def cached_tokens(self, key: object, messages: Sequence[Mapping[str, Any]]) -> int:
        """Return how many tokens of a prompt its key has seen at the beginning of the last one, which this becomes."""
        if not isinstance(key, str) or not key:
            return 0
        hashes, count = [hash(repr(message)) for message in messages], 0
        for message, now, before in zip(messages, hashes, self._last.pop(key, []), strict=False):
            if now != before:
                break
            count += tokens_of(message)
        self._last[key] = hashes
        while len(self._last) > MAX_KEYS:
            self._last.popitem(last=False)
        return count
