"""The SDK's clients, one a stage, and what their exceptions mean in words."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from voiceagent.events import Stage
from voiceagent.settings import Settings
from voiceagent.stages.ports import StageError

if TYPE_CHECKING:  # importing it takes half a second: the port opens first
    from openai import AsyncOpenAI

NAMES: dict[Stage, str] = {
    "stt": "Speech to text",
    "llm": "The language model",
    "tts": "Text to speech",
    "realtime": "The voice model",
}
KEEPALIVE_S = 120.0
"""How long an idle connection is kept; the HTTP library's own 5 s are shorter than a pause in a conversation."""
WARM_TIMEOUT_S = 5.0
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one stage is served."""

    stage: Stage
    base_url: str
    api_key: str

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.base_url).netloc

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, where no proxy has any business."""
        return urlsplit(self.base_url).hostname in _LOOPBACK

    @classmethod
    def of(cls, stage: Stage, settings: Settings, local_url: str | None) -> "Endpoint":
        """Return the stage's endpoint: its own, or the service's, or the twin's at `local_url`."""
        url: str | None = getattr(settings, f"{stage}_base_url")
        key = getattr(settings, f"{stage}_api_key") or settings.openai_api_key
        if url is None and settings.is_local:
            return cls(stage, local_url or "", "local")
        return cls(stage, url or settings.openai_base_url, key.get_secret_value() if key else "none")


class Clients:
    """The process's clients, made on first use and shared by all sessions. `aclose` releases their connections."""

    def __init__(self, settings: Settings, local_url: str | None = None) -> None:
        self.settings = settings
        self.endpoints = {stage: Endpoint.of(stage, settings, local_url) for stage in NAMES}
        self._clients: dict[Endpoint, AsyncOpenAI] = {}

    def get(self, stage: Stage) -> "AsyncOpenAI":
        """Return the stage's client. Stages with the same URL and key share one, and so its connections."""
        endpoint = self.endpoints[stage]
        for known, client in self._clients.items():
            if (known.base_url, known.api_key) == (endpoint.base_url, endpoint.api_key):
                return client
        import httpx2
        from openai import AsyncOpenAI, DefaultAsyncHttpx2Client

        settings = self.settings
        client = AsyncOpenAI(
            api_key=endpoint.api_key,
            base_url=endpoint.base_url,
            max_retries=0,  # a retry belongs to the turn that waits for it: `reply.py` decides
            http_client=DefaultAsyncHttpx2Client(
                trust_env=not endpoint.is_loopback,
                timeout=httpx2.Timeout(settings.stall_timeout_s, connect=settings.connect_timeout_s),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=KEEPALIVE_S),
            ),
        )
        self._clients[endpoint] = client
        return client

    async def warm(self) -> None:
        """Open one connection to each service ahead of the first turn; whether it answers is of no matter here."""
        with suppress(Exception):
            async with asyncio.timeout(WARM_TIMEOUT_S):
                await asyncio.gather(
                    *(self.get(stage).models.list() for stage in ("llm", "tts")), return_exceptions=True
                )

    async def aclose(self) -> None:
        """Close every connection."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    def explain(self, stage: Stage, error: BaseException) -> StageError:
        """Say in words what an exception of the SDK means, and whether another try may help."""
        return explain(stage, self.endpoints[stage].host, error)


def explain(stage: Stage, host: str, error: BaseException) -> StageError:
    """Return the failure of `stage` at `host` that the exception means."""
    import openai

    who = f"{NAMES[stage]} at {host}"
    if isinstance(error, StageError):
        return error
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return StageError(stage, "timeout", f"{who} did not answer in time.", retryable=True)
    status = _status(error)
    if status is not None:
        return _refusal(stage, who, status, _code(error))
    if isinstance(error, openai.APIError) and not isinstance(error, openai.APIConnectionError):
        return StageError(stage, _code(error) or "error", f"{who} broke off its answer with an error.", retryable=True)
    return StageError(stage, "connection", f"{who} cannot be reached.", retryable=True)


def _refusal(stage: Stage, who: str, status: int, code: str) -> StageError:
    sentences = {
        401: "refused the key",
        403: "refused access",
        404: "does not know the model or the address",
        429: "is out of quota" if code == "insufficient_quota" else "asks for fewer requests",
    }
    sentence = sentences.get(status, "failed" if status >= 500 else "refused the request")
    retryable = status >= 500 or status in {408, 409} or (status == 429 and code != "insufficient_quota")
    detail = f"{status}, {code}" if code and status not in {401, 429} else str(status)
    return StageError(stage, code or f"http_{status}", f"{who} {sentence} ({detail}).", retryable=retryable)


def _status(error: BaseException) -> int | None:
    response: Any = getattr(error, "response", None)  # of the SDK, and of the WebSocket library's refused handshake
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def _code(error: BaseException) -> str:
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else ""
