"""Where each stage is served, by which key, and by which way out of this machine; nothing of any library."""

import ipaddress
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from voiceagent.events import Stage
from voiceagent.models import capabilities
from voiceagent.settings import Settings

STAGES: tuple[Stage, ...] = ("stt", "llm", "tts", "realtime")
OPENAI_DOMAIN = "api.openai.com"
"""The service itself; its regions are names below it."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one stage is served. `azure_version` is set where Azure serves it; models are then deployments."""

    stage: Stage
    base_url: str
    api_key: str = field(repr=False)
    azure_version: str | None = None
    embedded: bool = field(default=False, compare=False)  # the twin in this process, which needs no asking

    @property
    def host(self) -> str:
        """Host and port, for messages; never what else an address may hold."""
        parts = self._parts
        if not parts.hostname:
            return self.base_url.partition("?")[0].rpartition("@")[2][:80]
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return name if parts.port is None else f"{name}:{parts.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, where no proxy has any business."""
        name = self._parts.hostname or ""
        try:
            return name == "localhost" or ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    @property
    def is_openai(self) -> bool:
        """Whether it is the service itself, whose list of models is complete."""
        name = self._parts.hostname or ""
        return name == OPENAI_DOMAIN or name.endswith("." + OPENAI_DOMAIN)

    @property
    def has_key(self) -> bool:
        """Whether a key was set for it."""
        return not self.embedded and self.api_key != "none"

    @property
    def proxy(self) -> str | None:
        """The proxy that the environment names for it (``HTTPS_PROXY``, ``NO_PROXY``, …); none on this machine."""
        parts = self._parts
        if self.is_loopback or not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
            return None
        proxies = urllib.request.getproxies()
        found = proxies.get(parts.scheme) or proxies.get("all")
        return found if found is None or "://" in found else f"http://{found}"

    @property
    def flaw(self) -> str:
        """Why no request to it can be made, as the end of a sentence; empty if one can."""
        parts = self._parts
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return "has no usable address: a base URL begins with http:// or https://"
        if not self.api_key.isascii() or not self.api_key.isprintable():
            return "has a key with characters that no key has"
        return ""

    @property
    def _parts(self) -> SplitResult:
        try:
            parts = urlsplit(self.base_url)
            _ = parts.port  # raises where it is no number
        except ValueError:
            return urlsplit("")
        return parts

    @classmethod
    def of(cls, stage: Stage, settings: Settings, local_url: str | None) -> "Endpoint":
        """Return the stage's endpoint: its own, or the service's (Azure's, OpenAI's), or the twin's at `local_url`.

        A stage with a base URL of its own is plain, whatever serves the others. A key that was read from a file has
        often a line's end, which is no part of it.
        """
        url: str | None = getattr(settings, f"{stage}_base_url")
        own = getattr(settings, f"{stage}_api_key")
        if url is None and settings.is_local:
            return cls(stage, local_url or "", "local", embedded=True)
        if url is None and settings.azure_endpoint and settings.azure_api_key:
            base_url = settings.azure_endpoint.strip().rstrip("/").removesuffix("/openai") + "/openai"
            key = own or settings.azure_api_key
            return cls(stage, base_url, key.get_secret_value().strip(), settings.azure_api_version)
        key = own or settings.openai_api_key
        key_text = key.get_secret_value().strip() if key else ""
        return cls(stage, (url or settings.openai_base_url).strip(), key_text or "none")


def used(settings: Settings) -> tuple[Stage, ...]:
    """Return the stages that a session asks; a voice model asks the service for the transcripts itself."""
    return ("realtime",) if settings.mode == "realtime" else ("stt", "llm", "tts")


def over_http(settings: Settings) -> tuple[Stage, ...]:
    """Return the streams whose turns wait for HTTP requests, and so for HTTP connections."""
    stages: list[Stage] = ["llm"]
    if settings.tts_api == "speech" or (settings.tts_api == "auto" and _speech_is_over_http(settings)):
        stages.append("tts")
    if settings.stt_api == "file":
        stages.append("stt")
    return tuple(stages)


def _speech_is_over_http(settings: Settings) -> bool:
    if settings.is_local and settings.tts_base_url is None:
        return True
    return capabilities(settings.tts_model, "tts").http


def model_of(stage: Stage, settings: Settings) -> str:
    """Return the model, with Azure the deployment, of a stage."""
    model: str = getattr(settings, f"{stage}_model")
    return model


def keys_of(endpoints: Iterable[Endpoint]) -> frozenset[str]:
    """Return the keys that must appear nowhere."""
    return frozenset(endpoint.api_key for endpoint in endpoints if endpoint.has_key)
