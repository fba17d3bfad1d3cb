"""Words and keys that must turn up nowhere, and who looks for them in any text."""

import json
from typing import Any

KEY = "sk-canary_9f31c0de5ecre7"
TOKEN = "canary-t0ken-3e1d"
SECRETS = (KEY, TOKEN, "9f31c0de5ecre7", "3e1d")
HEARD = "please book the ochre heron for walpurga"
ANSWER = "The zircon otter sails at vespers, dear Ottoline."
TYPED = "and what does a quetzal cost in smaragd"
CALLED = "kumquat parlour"
WORDS = (
    "ochre",
    "heron",
    "walpurga",
    "zircon",
    "otter",
    "vespers",
    "ottoline",
    "quetzal",
    "smaragd",
    "kumquat",
    "parlour",
)


def secrets_in(text: str) -> list[str]:
    """The pieces of keys and tokens in any text."""
    return [secret for secret in SECRETS if secret in text]


def words_in(text: str) -> list[str]:
    """The words of the conversation in it."""
    return [word for word in WORDS if word in text.lower()]


def without_content(line: str) -> str:
    """A line of the log without what stands under `content`."""
    fields: dict[str, Any] = json.loads(line)
    fields.pop("content", None)
    return json.dumps(fields)
