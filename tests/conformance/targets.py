"""Against what the suite runs: the twin with scripted or with local engines, or any server that the environment names."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from voiceagent.settings import OPENAI_URL, Settings
from voiceagent.twin import Script, ScriptedEngines
from voiceagent.twin.ports import FunctionCall

URL, KEY = "VOICEAGENT_CONFORMANCE_URL", "VOICEAGENT_CONFORMANCE_KEY"
TWIN_KEY = "sk-conformance"
NO_SERVER = f"no other server was asked: set {KEY} for OpenAI's, {URL} for any"


def _setting(name: str) -> str:
    return str(Settings.model_fields[name].default)


MODELS = {
    "stt": _setting("stt_model"),  # streams words; the client commits
    "vad": "gpt-transcribe",  # lets the server end turns
    "file": "gpt-transcribe",  # over HTTP
    "llm": _setting("llm_model"),
    "speech": "gpt-4o-mini-tts",  # over HTTP
    "realtime": _setting("realtime_model"),
    "voice": _setting("tts_voice"),
}
"""What is asked for; VOICEAGENT_CONFORMANCE_STT_MODEL and so on (of the voice: …_VOICE) name others."""


def models() -> dict[str, str]:
    """Return the names to use here."""
    suffix = {role: role.upper() + ("" if role == "voice" else "_MODEL") for role in MODELS}
    return {role: os.environ.get(f"VOICEAGENT_CONFORMANCE_{suffix[role]}", name) for role, name in MODELS.items()}


def remote() -> tuple[str, str] | None:
    """Return the URL and the key of the server that the environment names."""
    url, key = os.environ.get(URL), os.environ.get(KEY)
    return (url or OPENAI_URL, key or "none") if url or key else None


def is_here(url: str) -> bool:
    """Whether a URL leads to this machine: then there is no proxy on the way."""
    return urlsplit(url).hostname in {"127.0.0.1", "::1", "localhost"}


class Obliging(ScriptedEngines):
    """Scripted engines that call the first function they are offered, once, as a model does that has to."""

    async def reply(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncIterator[str | FunctionCall]:
        """Stream the next reply."""
        if tools and messages and messages[-1].get("role") == "user":
            yield FunctionCall(tools[0].get("function", tools[0])["name"], "{}")
            return
        async with aclosing(super().reply(messages, tools)) as tokens:
            async for token in tokens:
                yield token


def engines() -> Obliging:
    """Return engines that answer at once."""
    fast = {"stt_delay_ms": 1, "llm_first_token_ms": 1, "llm_token_ms": 0, "tts_first_byte_ms": 1}
    return Obliging(Script(transcripts=("hello there",), replies=("Hello to you all.",), **fast))


class LocalTwin:
    """The twin with its local engines, as a process of its own for the whole run."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "voiceagent.cli", "twin", "--port", "0", "--api-key", TWIN_KEY]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self._process.stdout.readline()
        assert line.startswith("twin: "), line
        self.base_url = line.removeprefix("twin: ").strip()

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


@dataclass
class Target:
    """One server under test, with a client of the SDK that checks every HTTP answer against the SDK's own types."""

    name: str  # scripted, local, remote
    base_url: str
    api_key: str
    client: openai.AsyncOpenAI
    engines: Obliging | None = None
    models: dict[str, str] = field(default_factory=models)

    @property
    def is_twin(self) -> bool:
        """Whether it is one of ours: then nothing may be missing."""
        return self.name != "remote"

    @property
    def deadline_s(self) -> float:
        """How long one event may take before the test has failed."""
        return 20.0 if self.is_twin else 60.0

    @property
    def ws_url(self) -> str:
        """The URL of Realtime for a bare WebSocket."""
        return self.base_url.replace("http", "ws", 1) + "/realtime"

    @property
    def socket_options(self) -> dict[str, Any]:
        """What the WebSocket's client needs to know here: no proxy to this machine."""
        return {"proxy": None} if is_here(self.base_url) else {}

    async def needs(self, *capabilities: str) -> None:
        """Skip the test, with the reason, if this server lacks one of the capabilities."""
        for name in capabilities:
            key = (self.name if self.name == "scripted" else self.base_url, name)
            if key not in _LACKS:
                _LACKS[key] = await PROBES[name](self)
            if _LACKS[key] is not None:
                pytest.skip(f"{self.name}: no {name.replace('_', ' ')} ({_LACKS[key]})")


_LACKS: dict[tuple[str, str], str | None] = {}
PROBES: dict[str, Callable[[Target], Awaitable[str | None]]] = {}
"""By capability: what finds out whether a server has it, and returns what it said if not."""


def probe(function: Callable[[Target], Awaitable[str | None]]) -> Callable[[Target], Awaitable[str | None]]:
    """Enter a probe under its name."""
    PROBES[function.__name__] = function
    return function


@asynccontextmanager
async def opened(name: str, base_url: str, api_key: str, made: Obliging | None = None) -> AsyncIterator[Target]:
    """A target with its client."""
    http = openai.DefaultAsyncHttpx2Client(trust_env=not is_here(base_url))
    async with openai.AsyncOpenAI(
        api_key=api_key, base_url=base_url, max_retries=0, timeout=60, http_client=http,
        _strict_response_validation=True,
    ) as client:  # fmt: skip
        yield Target(name, base_url, api_key, client, made)
