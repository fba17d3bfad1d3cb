"""The models that the twin lists, and what a strict one refuses: names that are none, and models of another kind."""

from collections.abc import Collection
from typing import Any, Literal

from voiceagent.twin.http import BadRequest

Kind = Literal["stt", "live stt", "llm", "tts", "realtime"]
CREATED = 1_767_225_600


def _rows(kind: Kind, names: str, shutdown: str | None = None) -> dict[str, tuple[Kind, str | None]]:
    return dict.fromkeys(names.split(), (kind, shutdown))


MODELS: dict[str, tuple[Kind, str | None]] = {
    **_rows("live stt", "gpt-live-transcribe gpt-realtime-whisper"),
    **_rows("stt", "gpt-transcribe"),
    **_rows("stt", "gpt-4o-transcribe gpt-4o-mini-transcribe whisper-1", "2027-02-26"),
    **_rows("llm", "gpt-6-luna gpt-6-sol gpt-6.2-sol gpt-6.1-terra gpt-5.6-luna gpt-5.6-terra gpt-5.6-sol"),
    **_rows("llm", "gpt-5.5 gpt-5.4 gpt-5.4-mini"),
    **_rows("llm", "gpt-5 gpt-5-mini gpt-5-nano", "2026-12-11"),
    **_rows("llm", "gpt-4o gpt-4o-mini gpt-4.1 gpt-4.1-mini", "2027-01-14"),
    **_rows(
        "tts", "gpt-4o-mini-tts gpt-4o-mini-tts-2025-03-20 gpt-4o-mini-tts-2025-12-15 tts-1 tts-1-hd", "2027-01-06"
    ),
    **_rows("realtime", "gpt-realtime-2.1-mini gpt-realtime-2.1 gpt-realtime-2 gpt-realtime-1.5"),
    **_rows("realtime", "gpt-realtime gpt-realtime-mini", "2027-01-20"),
}
"""Kind and announced shutdown date by name."""
_NEEDS: dict[Kind, frozenset[str]] = {
    "stt": frozenset({"stt"}), "live stt": frozenset({"stt"}), "llm": frozenset({"llm"}), "tts": frozenset({"tts"}),
    "realtime": frozenset({"stt", "llm", "tts"}),
}  # fmt: skip


class Catalogue:
    """The models of a twin with some services. `strict`: other names are refused."""

    def __init__(self, services: Collection[str], *, strict: bool = False) -> None:
        self._names = [name for name, (kind, _) in MODELS.items() if _NEEDS[kind] <= set(services)]
        self._strict = strict

    def listed(self) -> dict[str, Any]:
        """Return the answer to ``GET /v1/models``."""
        return {"object": "list", "data": [_entry(name) for name in self._names]}

    def one(self, name: str) -> dict[str, Any]:
        """Return a model's entry. Raises `BadRequest` of status 404."""
        if name not in self._names:
            raise unknown_model(name)
        return _entry(name)

    def check(self, name: object, *kinds: Kind) -> str:
        """Return the `model` of a request. Raises `BadRequest` if there is none, or a strict twin has none such."""
        if not isinstance(name, str) or not name:
            raise BadRequest("you must provide a model parameter", "model")
        if self._strict:
            if name not in MODELS:
                raise unknown_model(name)
            if MODELS[name][0] not in kinds:
                raise BadRequest(f"The model '{name}' is not supported by this endpoint.", "model", "invalid_model")
        return name


def unknown_model(name: str) -> BadRequest:
    """Return the refusal of a name that is none."""
    text = f"The model '{name[:80]}' does not exist or you do not have access to it."
    return BadRequest(text, "model", "model_not_found", 404)


def _entry(name: str) -> dict[str, Any]:
    shutdown = MODELS[name][1]
    entry: dict[str, Any] = {"id": name, "object": "model", "created": CREATED, "owned_by": "twin"}
    return entry | ({"shutdown_date": shutdown} if shutdown else {})
