"""What OpenTelemetry's conventions call our figures: the only module that knows a name of `gen_ai.*`.

The names are those of the semantic conventions 1.44.0, the last release that lists them; they are marked as in
development there, and go on in a repository of their own. A test compares them with the package of that release. What the
conventions have no word for is `voice.*`.
"""

from collections.abc import Mapping
from typing import Any

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
PROVIDERS = {"api.openai.com": "openai", "api.groq.com": "groq", "api.mistral.ai": "mistral_ai", "api.x.ai": "x_ai"}
"""Hosts whose provider the convention has a name for; another host is its own name."""
AZURE = ".openai.azure.com"
_OPERATIONS = {"llm": "chat", "realtime": "chat", "stt": "speech_to_text", "tts": "text_to_speech"}
"""The operation of each stage; for speech the convention has no word, and allows one's own."""
_PARTS = {"stt": "stt", "llm": "llm", "realtime": "llm", "tts": "tts"}


def part(turn: Mapping[str, Any], stage: str) -> Mapping[str, Any]:
    """Return what the turn's record says of a stage, or nothing."""
    return turn.get(_PARTS.get(stage, "")) or {}


def name(turn: Mapping[str, Any], stage: str) -> str:
    """Return the name of a stage's span: the operation and the model; the stage's own name for what is no model's."""
    if stage not in _OPERATIONS:
        return stage
    return f"{_OPERATIONS[stage]} {part(turn, stage).get('model', '')}".rstrip()


def of_session(session: str) -> dict[str, Any]:
    """Return what tells that spans belong to one conversation."""
    return {"gen_ai.conversation.id": session, "voice.session": session}


def of_stage(turn: Mapping[str, Any], stage: str, waited_ms: float | None) -> dict[str, Any]:
    """Return the attributes of a stage's span, `waited_ms` being the time to its first useful answer, if one came."""
    attributes: dict[str, Any] = {"voice.stage": stage, "voice.first_answer_ms": waited_ms}
    if stage not in _OPERATIONS:
        return attributes
    about = part(turn, stage)
    host = about.get("host") or None
    attributes |= {
        "gen_ai.operation.name": _OPERATIONS[stage],
        "gen_ai.provider.name": provider(host) if host else None,
        "gen_ai.request.model": about.get("model") or None,
        "gen_ai.request.stream": True,
        "server.address": host.rpartition(":")[0] if host and _port(host) else host,
        "server.port": _port(host) if host else None,
    }
    if stage in {"llm", "realtime"}:
        attributes |= _of_model(about, waited_ms) | ({"gen_ai.output.type": "speech"} if stage == "realtime" else {})
    if stage == "tts":
        attributes["gen_ai.output.type"] = "speech"
    known = {"host", "model", "tokens_in", "tokens_out", "tokens_cached", "finish"}
    attributes |= {f"voice.{stage}.{key}": value for key, value in about.items() if key not in known}
    connection = (turn.get("connections") or {}).get(stage) or {}
    attributes |= {f"voice.connection.{key}": value for key, value in connection.items()}
    return attributes


def _of_model(about: Mapping[str, Any], waited_ms: float | None) -> dict[str, Any]:
    return {
        "gen_ai.response.time_to_first_chunk": None if waited_ms is None else waited_ms / 1000,
        "gen_ai.usage.input_tokens": about.get("tokens_in"),
        "gen_ai.usage.output_tokens": about.get("tokens_out"),
        "gen_ai.usage.cache_read.input_tokens": about.get("tokens_cached"),
        "gen_ai.response.finish_reasons": [about["finish"]] if about.get("finish") else None,
    }


def of_failure(stage: str, code: str) -> dict[str, Any]:
    """Return what says that a stage failed."""
    return {"error.type": code, "voice.stage": stage}


def provider(host: str) -> str:
    """Return who answers at a host, by the convention's name where it has one."""
    bare = host.rpartition(":")[0] if _port(host) else host
    return "azure.ai.openai" if bare.endswith(AZURE) else PROVIDERS.get(bare, bare)


def _port(host: str) -> int | None:
    digits = host.rpartition(":")[2]
    return int(digits) if ":" in host and digits.isdecimal() and not host.endswith("]") else None
