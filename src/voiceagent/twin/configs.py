"""What a Realtime session is set to: the service's defaults, sparse updates, and what an update may not say."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Literal

from voiceagent.twin.telephony import LAWS

RATE_HZ = 24_000
NO_SERVER_VAD = ("gpt-live-transcribe", "gpt-realtime-whisper")
STREAMING = NO_SERVER_VAD
"""Models that send words while one speaks; the others send them after the commit."""
EAGERNESS = ("low", "medium", "high", "auto")
MAX_TOKENS = 4096

Kind = Literal["transcription", "realtime"]
Admits = Callable[[Kind, str], None]
"""Takes what a model is for and its name. Raises `Rejected` for one that there is not."""


class Rejected(Exception):  # noqa: N818 - an answer
    """A client event that is answered with an error event; the session goes on."""

    def __init__(self, message: str, *, code: str | None = "invalid_value", param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class SessionConfig:
    """One session's settings. `model`: of the conversation, or of the transcription."""

    def __init__(self, kind: Kind, model: str | None = None, admits: Admits = lambda *_: None) -> None:
        self.kind = kind
        self._admits = admits
        self._values = _transcription(model) if kind == "transcription" else _conversation(model)

    def update(self, session: Mapping[str, Any], *, voice_locked: bool = False) -> None:
        """Merge an update into it: what is omitted stays, null clears. Raises `Rejected`; then nothing has changed."""
        if "type" not in session:
            raise Rejected(
                "Missing required parameter: 'session.type'.", code="missing_required_parameter", param="session.type"
            )
        if session["type"] != self.kind:
            names = ("realtime", "transcription") if self.kind == "transcription" else ("transcription", "realtime")
            text = f"Passing a {names[0]} session update event to a {names[1]} session is not allowed."
            raise Rejected(text, param="session.type")
        own = {key: value for key, value in session.items() if key not in {"id", "object", "expires_at"}}
        _check_branches(own)
        merged = _merge(self._values, own)
        _settle_formats(merged)
        _settle_turn_detection(merged, own)
        _check_input(merged)
        if self.kind == "realtime":
            _check_conversation(self._values, merged, voice_locked=voice_locked)
        self._check_models(merged)
        self._values = merged

    def _check_models(self, merged: Mapping[str, Any]) -> None:
        transcriber = (merged["audio"]["input"].get("transcription") or {}).get("model")
        named: tuple[tuple[Kind, Any], ...] = (("realtime", merged.get("model")), ("transcription", transcriber))
        for kind, name in named:
            if isinstance(name, str) and name:
                self._admits(kind, name)

    def shape(self) -> dict[str, Any]:
        """Return all of it as the wire shows it, without id and expiry."""
        kind = "transcription_session" if self.kind == "transcription" else "session"
        return {"object": f"realtime.{kind}", **copy.deepcopy(self._values)}

    def get(self, name: str) -> Any:
        """Return a setting of the session itself, such as ``tools``."""
        return self._values.get(name)

    @property
    def input(self) -> dict[str, Any]:
        """``audio.input``."""
        found: dict[str, Any] = self._values["audio"]["input"]
        return found

    @property
    def output(self) -> dict[str, Any]:
        """``audio.output``; empty in a transcription session."""
        found: dict[str, Any] = self._values["audio"].get("output") or {}
        return found

    @property
    def telephone(self) -> str:
        """The format of audio that comes, if it is the telephone's; else empty."""
        kind = str(self.input["format"]["type"])
        return kind if kind in LAWS else ""

    @property
    def turn_detection(self) -> dict[str, Any] | None:
        """How turns are detected; None if the client commits."""
        return self.input.get("turn_detection")

    @property
    def transcriber(self) -> str:
        """The transcription model; empty if nobody asked for transcripts."""
        return str((self.input.get("transcription") or {}).get("model") or "")


# ------------------------------------------------------------------------------------------ the service's defaults
def _input(turn_detection: dict[str, Any] | None, transcription: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "format": {"type": "audio/pcm", "rate": RATE_HZ}, "transcription": transcription, "noise_reduction": None,
        "turn_detection": turn_detection,
    }  # fmt: skip


def _transcription(model: str | None) -> dict[str, Any]:
    # The service detects turns by default where a model allows it; its clients are told to say what they want.
    return {
        "type": "transcription",
        "audio": {"input": _input(None, {"model": model} if model else None)},
        "include": None,
    }


def _conversation(model: str | None) -> dict[str, Any]:
    output = {"format": {"type": "audio/pcm", "rate": RATE_HZ}, "voice": "marin", "speed": 1.0}
    return {
        "type": "realtime", "model": model, "output_modalities": ["audio"],
        "instructions": "You are a helpful voice assistant. Answer briefly.",
        "audio": {"input": _input(_detection("server_vad", "realtime"), None), "output": output},
        "tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "max_output_tokens": "inf",
        "truncation": "auto", "tracing": None, "prompt": None, "include": None,
    }  # fmt: skip


def _detection(kind: str, session: str) -> dict[str, Any]:
    if kind == "semantic_vad":
        values: dict[str, Any] = {"type": kind, "eagerness": "auto"}
    else:
        values = {"type": kind, "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
    if session == "realtime":
        idle = {"idle_timeout_ms": None} if kind == "server_vad" else {}
        values |= {**idle, "create_response": True, "interrupt_response": True}
    return values


# ------------------------------------------------------------------------------------------ updates
def _merge(old: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Deep and sparse: what is omitted stays, an explicit null clears."""
    merged = copy.deepcopy(old)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        elif value is None and isinstance(merged.get(key), dict) and key in {"audio", "input", "output"}:
            continue  # there is no session without them
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _check_branches(changes: Mapping[str, Any]) -> None:
    audio = changes.get("audio")
    if audio is not None and not isinstance(audio, dict):
        raise Rejected("Invalid 'audio': expected an object.", param="session.audio")
    for name in ("input", "output"):
        branch = (audio or {}).get(name)
        if branch is not None and not isinstance(branch, dict):
            raise Rejected(f"Invalid 'audio.{name}': expected an object.", param=f"session.audio.{name}")


def _settle_formats(merged: dict[str, Any]) -> None:
    for name in ("input", "output"):
        branch = merged["audio"].get(name) or {}
        form = branch.get("format")
        if isinstance(form, dict) and form.get("type") in tuple(LAWS):
            branch["format"] = {"type": form["type"]}  # the telephone has one rate
        elif isinstance(form, dict) and form.get("rate") is None:
            branch["format"] = {**form, "rate": RATE_HZ}


def _settle_turn_detection(merged: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Fill in a detection's defaults, of its new kind where the kind has changed; null where its model has none."""
    audio_input, where = merged["audio"]["input"], "session.audio.input.turn_detection"
    asked = ((changes.get("audio") or {}).get("input") or {}).get("turn_detection")
    detection = audio_input.get("turn_detection")
    if asked is None and detection is None:
        return
    if merged["type"] == "transcription":
        model = (audio_input.get("transcription") or {}).get("model", "")
        if model in NO_SERVER_VAD:
            if asked is not None:
                raise Rejected("Turn detection is not supported for this transcription model.", param=where)
            audio_input["turn_detection"] = None
            return
    if asked is None:
        return
    if not isinstance(asked, dict):
        raise Rejected("Invalid 'turn_detection': expected an object or null.", param=where)
    kind = asked.get("type", detection.get("type") if isinstance(detection, dict) else None)
    if kind not in ("server_vad", "semantic_vad"):
        raise Rejected(
            f"Invalid value: '{str(kind)[:80]}'. Supported: 'server_vad', 'semantic_vad'.", param=f"{where}.type"
        )
    known = _detection(kind, merged["type"])
    allowed = _detection(kind, "realtime")
    before = detection if isinstance(detection, dict) else {}
    values = {key: before.get(key, value) for key, value in known.items()}
    values |= {key: value for key, value in asked.items() if key in allowed}
    values = {key: known.get(key) if value is None else value for key, value in values.items()}
    _check_detection(values, where)
    audio_input["turn_detection"] = values


def _check_detection(values: Mapping[str, Any], where: str) -> None:
    ranges = {
        "threshold": (0, 1), "prefix_padding_ms": (0, 10_000), "silence_duration_ms": (0, 60_000),
        "idle_timeout_ms": (5_000, 30_000),
    }  # fmt: skip
    for key, (least, most) in ranges.items():
        value = values.get(key)
        if value is not None and not (_is_number(value) and least <= value <= most):
            raise Rejected(f"Invalid '{key}': expected a number from {least} to {most}.", param=f"{where}.{key}")
    if values.get("eagerness") not in (None, *EAGERNESS):
        raise Rejected(f"Invalid 'eagerness': expected one of {', '.join(EAGERNESS)}.", param=f"{where}.eagerness")


def _check_input(merged: Mapping[str, Any]) -> None:
    audio_input = merged["audio"]["input"]
    _check_format(audio_input.get("format"), "session.audio.input.format")
    transcription, where = audio_input.get("transcription"), "session.audio.input.transcription"
    if transcription is None:
        return
    if not isinstance(transcription, dict):
        raise Rejected("Invalid 'transcription': expected an object or null.", param=where)
    if transcription.get("language") and transcription.get("languages"):
        raise Rejected("Only one of 'language' and 'languages' may be set.", param=f"{where}.languages")


def _check_format(form: Any, where: str) -> None:
    kind = form.get("type") if isinstance(form, dict) else None
    if kind not in ("audio/pcm", *LAWS) or (kind == "audio/pcm" and form.get("rate") not in (RATE_HZ, None)):
        raise Rejected("Only audio/pcm at 24000 Hz, audio/pcmu and audio/pcma are supported.", param=where)


def _check_conversation(old: Mapping[str, Any], merged: dict[str, Any], *, voice_locked: bool) -> None:
    if merged.get("model") != old.get("model") and old.get("model") is not None:
        raise Rejected("The model of a session cannot be changed.", param="session.model")
    output = merged["audio"]["output"]
    _check_format(output.get("format"), "session.audio.output.format")
    if voice_locked and output.get("voice") != old["audio"]["output"].get("voice"):
        text = "Cannot update a conversation's voice if assistant audio is present."
        raise Rejected(text, code="cannot_update_voice")
    check_response_fields({**merged, "speed": output.get("speed")}, "session")


def check_response_fields(values: Mapping[str, Any], where: str) -> None:
    """Raise `Rejected` where a field that sessions and responses have in common is not what it may be."""
    if values.get("output_modalities") not in (None, ["audio"], ["text"]):
        text = "Invalid modalities. Supported combinations are: ['text'] and ['audio']."
        raise Rejected(text, param=f"{where}.output_modalities")
    if values.get("format") is not None:
        _check_format(values["format"], f"{where}.audio.output.format")
    speed = values.get("speed")
    if speed is not None and not (_is_number(speed) and 0.25 <= speed <= 1.5):
        raise Rejected("Invalid 'speed': expected a number from 0.25 to 1.5.", param=f"{where}.audio.output.speed")
    limit = values.get("max_output_tokens")
    whole = isinstance(limit, int) and not isinstance(limit, bool) and 1 <= limit <= MAX_TOKENS
    if limit not in (None, "inf") and not whole:
        text = f"Invalid 'max_output_tokens': expected an integer from 1 to {MAX_TOKENS}, or 'inf'."
        raise Rejected(text, param=f"{where}.max_output_tokens")
    tools = values.get("tools")
    if tools is not None and not (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)):
        raise Rejected("Invalid 'tools': expected an array of objects.", param=f"{where}.tools")
    if values.get("instructions") is not None and not isinstance(values["instructions"], str):
        raise Rejected("Invalid 'instructions': expected a string.", param=f"{where}.instructions")
    metadata = values.get("metadata")
    if metadata is not None and not (
        isinstance(metadata, dict)
        and len(metadata) <= 16
        and all(isinstance(value, str) for value in metadata.values())
    ):
        raise Rejected("Invalid 'metadata': expected at most 16 strings by name.", param=f"{where}.metadata")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
