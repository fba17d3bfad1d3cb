"""What is known of the service's models: one row a class, with what each can do, what it takes, and when it is shut down.

A name that no row knows is used as it is, with what every server of its kind understands: nothing is refused here.
"""

import datetime as dt
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from voiceagent.settings import Settings

Role = Literal["stt", "llm", "tts", "realtime"]
Detection = Literal["server_vad", "semantic_vad"]
SOON = dt.timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a class of models can do."""

    role: Role
    known: bool = True
    shutdown: dt.date | None = None
    successor: str = ""
    # -- speech to text
    detects: frozenset[Detection] = frozenset()  # turns, on the server; without any the client commits
    deltas: Literal["speaking", "committed", "none"] = "none"  # when words come: while one speaks, after the commit
    takes: frozenset[str] = frozenset()  # of: language languages prompt keywords delay noise_reduction instructions
    http: bool = True  # whether the plain endpoint of its role takes it
    realtime: bool = False  # whether it works in a Realtime session of its role
    # -- language models
    effort: str | None = None  # the reasoning effort for the fastest first token, sent if none is set
    verbosity: str | None = None  # the same of verbosity
    caches: bool = False  # takes a prompt cache key


def _stt(takes: str, *, detects: str = "", deltas: Literal["speaking", "committed"] = "committed",
         http: bool = True, shutdown: dt.date | None = None) -> Capabilities:  # fmt: skip
    kinds: frozenset[Detection] = frozenset(kind for kind in ("server_vad", "semantic_vad") if kind in detects.split())
    return Capabilities(
        "stt", shutdown=shutdown, successor="gpt-live-transcribe" if shutdown else "", detects=kinds, deltas=deltas,
        takes=frozenset(takes.split()), http=http, realtime=True,
    )  # fmt: skip


def _llm(effort: str | None, *, verbosity: str | None = "low", shutdown: dt.date | None = None) -> Capabilities:
    successor = "gpt-6-luna" if shutdown else ""
    return Capabilities("llm", shutdown=shutdown, successor=successor, effort=effort, verbosity=verbosity, caches=True)


def _tts(takes: str = "") -> Capabilities:
    return Capabilities("tts", shutdown=dt.date(2027, 1, 6), successor=VOICE, takes=frozenset(takes.split()))


def _voice(shutdown: dt.date | None = None) -> Capabilities:
    return Capabilities(
        "realtime", shutdown=shutdown, successor=VOICE if shutdown else "", detects=frozenset({"server_vad", "semantic_vad"}),
        takes=frozenset({"instructions", "noise_reduction"}), http=False, realtime=True,
    )  # fmt: skip


VOICE = "gpt-realtime-2.1-mini"
_END = {"gpt-4o": dt.date(2027, 1, 14), "gpt-5": dt.date(2026, 12, 11), "stt": dt.date(2027, 2, 26)}
_LIVE, _BOTH = "languages keywords prompt delay noise_reduction", "server_vad semantic_vad"
TABLE: dict[str, Capabilities] = {
    # -- speech to text; the streaming ones refuse to detect turns, and are not there over HTTP
    "gpt-live-transcribe": _stt(_LIVE, deltas="speaking", http=False),
    "gpt-realtime-whisper": _stt("language delay noise_reduction", deltas="speaking", http=False),
    "gpt-transcribe": _stt("languages keywords prompt noise_reduction", detects=_BOTH),
    "gpt-4o-transcribe": _stt("language prompt noise_reduction", detects=_BOTH, shutdown=_END["stt"]),
    "gpt-4o-mini-transcribe": _stt("language prompt noise_reduction", detects=_BOTH, shutdown=_END["stt"]),
    "whisper-1": _stt("language prompt", detects="server_vad", shutdown=_END["stt"]),
    # -- language models; the first row that fits counts
    "gpt-6*": _llm("none"),
    "gpt-5.[1-9]*": _llm("none"),
    "gpt-5": _llm("minimal", shutdown=_END["gpt-5"]),
    "gpt-5-mini": _llm("minimal", shutdown=_END["gpt-5"]),
    "gpt-5-nano": _llm("minimal", shutdown=_END["gpt-5"]),
    "gpt-4o": _llm(None, verbosity=None, shutdown=_END["gpt-4o"]),
    "gpt-4o-mini": _llm(None, verbosity=None, shutdown=_END["gpt-4o"]),
    "gpt-4.1": _llm(None, verbosity=None, shutdown=_END["gpt-4o"]),
    "gpt-4.1-mini": _llm(None, verbosity=None, shutdown=_END["gpt-4o"]),
    # -- speech; all that speak over HTTP end together
    "gpt-4o-mini-tts": _tts("instructions"),
    "tts-1": _tts(),
    "tts-1-hd": _tts(),
    # -- voices that hear and speak; they read aloud as well
    "gpt-realtime-2*": _voice(),
    "gpt-realtime-1.5": _voice(),
    "gpt-realtime": _voice(dt.date(2027, 1, 20)),
    "gpt-realtime-mini": _voice(dt.date(2027, 1, 20)),
}
"""As announced by the service up to 2026-11-22, by name or pattern of names; a dated snapshot is of its name's class."""

_UNKNOWN = {
    "stt": Capabilities("stt", known=False, takes=frozenset({"language", "prompt"}), deltas="committed", realtime=True),
    "llm": Capabilities("llm", known=False),
    "tts": Capabilities("tts", known=False, takes=frozenset({"instructions"})),
    "realtime": Capabilities("realtime", known=False, takes=frozenset({"instructions"}), http=False, realtime=True),
}
_DATED = "-20[0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


def capabilities(name: str, role: Role) -> Capabilities:
    """Return what a model can do in a role; a voice model in the role of ``tts`` reads aloud."""
    for pattern, row in TABLE.items():
        if fnmatchcase(name, pattern) or fnmatchcase(name, pattern + _DATED):
            if row.role == role or (row.role == "realtime" and role == "tts"):
                return row
            break
    return _UNKNOWN[role]


COMMITTED_TRANSCRIBER = "gpt-transcribe"
"""Transcribes what a conversation was told; the models that stream words are for transcription sessions."""


def conversation_transcriber(settings: Settings) -> str:
    """Return the model that writes down what the user says to a voice model."""
    streams = capabilities(settings.stt_model, "stt").deltas == "speaking"
    return COMMITTED_TRANSCRIBER if streams else settings.stt_model


def chosen(settings: Settings) -> dict[Role, str]:
    """Return the models that these settings use, by role."""
    if settings.mode == "realtime":
        return {"realtime": settings.realtime_model, "stt": conversation_transcriber(settings)}
    return {"stt": settings.stt_model, "llm": settings.llm_model, "tts": settings.tts_model}


def warnings(settings: Settings, today: dt.date | None = None) -> list[str]:
    """Return a sentence for each chosen model that is shut down, or will be within 90 days."""
    today = today or dt.datetime.now().astimezone().date()
    sentences = []
    for role, name in chosen(settings).items():
        row = capabilities(name, role)
        if row.shutdown is None or row.shutdown - today > SOON:
            continue
        verb = "was" if row.shutdown <= today else "will be"
        sentences.append(f"{name} {verb} shut down on {row.shutdown}; its successor is {row.successor}.")
    return sentences
