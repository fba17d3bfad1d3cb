"""What a request carries beside its words: only what the user set, and what its class of models is known to take."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from voiceagent.events import Stage
from voiceagent.models import Capabilities, capabilities
from voiceagent.settings import Settings
from voiceagent.stages.clients import NAMES
from voiceagent.stages.ports import Acquired, StageError

UNSET = "unset"
"""As a setting: a parameter is not sent, whatever the class would be sent otherwise."""
KEY_CHARS = 32


class ModelParameters:
    """What a language model is asked with, under names that are neither API's.

    A function may be called by gpt-6-luna over chat completions only without reasoning (effort ``none``, which is what
    its class is sent): another effort together with tools is the user's choice, and the service may refuse it.
    """

    def __init__(self, settings: Settings) -> None:
        row: Capabilities = capabilities(settings.llm_model, "llm")
        self.known = row.known
        self.effort = _chosen(settings.llm_reasoning_effort, row.effort)
        self.verbosity = _chosen(settings.llm_verbosity, row.verbosity)
        self.tier = settings.llm_service_tier
        self._caches = row.caches and settings.llm_prompt_cache

    def cache_key(self, messages: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Return ``prompt_cache_key`` of a conversation, where the model takes one: requests with one beginning share it.

        It is a hash of the instructions and of the first thing that the user said, so it tells nothing of either.
        """
        if not self._caches:
            return {}
        first = [
            next((str(m.get("content") or "") for m in messages if m["role"] == role), "")
            for role in ("system", "user")
        ]
        digest = hashlib.sha256("\0".join(first).encode("utf-8", "surrogatepass")).hexdigest()
        return {"prompt_cache_key": digest[:KEY_CHARS]}


def _chosen(set_: str | None, fastest: str | None) -> str | None:
    return None if set_ == UNSET else set_ or fastest


def voice(settings: Settings) -> str | dict[str, str]:
    """Return the voice as it is sent: a name, or, to the service's own models, the id of a voice that somebody made."""
    name = settings.tts_voice
    made = name.startswith("voice_") and capabilities(settings.tts_model, "tts").known
    return {"id": name} if made else name


def silent(stage: Stage, host: str) -> StageError:
    """Return the failure of speech that ended without a sound, though there were words to say."""
    return StageError(stage, "no_audio", f"{NAMES[stage]} at {host} gave no sound.", retryable=True)


def acquired(response: Any) -> Acquired | None:
    """Return how an HTTP response came by its connection, if the transport tells."""
    found = response.extensions.get("acquired")
    return found if isinstance(found, Acquired) else None


def counts(**named: Any) -> dict[str, int]:
    """Return what a usage says under the record's names; what is zero or not told is left out."""
    return {name: int(count) for name, count in named.items() if isinstance(count, int | float) and count > 0}
