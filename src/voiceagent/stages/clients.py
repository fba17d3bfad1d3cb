"""The SDK's clients: one for each server and key, its connections ready before a turn needs them."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voiceagent.events import Stage
from voiceagent.settings import Settings
from voiceagent.stages import explaining
from voiceagent.stages.endpoints import STAGES, Endpoint, keys_of, model_of, over_http
from voiceagent.stages.explaining import NAMES
from voiceagent.stages.ports import StageError
from voiceagent.stages.wirelog import WireLog

if TYPE_CHECKING:  # importing it takes half a second: the port opens first
    import httpx2
    from openai import AsyncOpenAI

__all__ = ["NAMES", "Clients", "Endpoint"]

WARM_TIMEOUT_S = 5.0
MAX_IDLE = 64


@dataclass(slots=True, eq=False)
class _Server:
    """One server, with one key: what asks it, and what keeps its connections."""

    endpoint: Endpoint
    http: "httpx2.AsyncClient"
    sdk: "AsyncOpenAI"
    streams: int  # requests that a turn makes here at a time
    warming: set[asyncio.Task[None]] = field(default_factory=set)  # one at most


class Clients:
    """The process's clients, made on first use and shared by all sessions. `aclose` releases their connections."""

    def __init__(self, settings: Settings, local_url: str | None = None) -> None:
        self.settings = settings
        self.endpoints = {stage: Endpoint.of(stage, settings, local_url) for stage in STAGES}
        self.wire: WireLog | None = None
        if settings.wire_log is not None:
            keys = keys_of(self.endpoints.values())
            self.wire = WireLog(settings.wire_log, content=settings.log_content, keys=keys)
        self._servers: dict[tuple[str, str, str | None], _Server] = {}
        self._tls: ssl.SSLContext | None = None
        self._closing: list[Callable[[], Awaitable[Any]]] = []
        self._closed = False

    # ------------------------------------------------------------------------------ asking
    def get(self, stage: Stage) -> "AsyncOpenAI":
        """Return the stage's client. Stages with the same URL and key share one, and so its connections.

        Raises `StageError` where no request can be made with what is set.
        """
        return self._server(stage).sdk

    def model(self, stage: Stage) -> str:
        """Return the stage's model, with Azure its deployment."""
        return model_of(stage, self.settings)

    def websocket(self, stage: Stage) -> dict[str, Any]:
        """Return how a WebSocket to the stage's server is to be opened: the same way out, the same trust as HTTP's."""
        endpoint = self.endpoints[stage]
        options: dict[str, Any] = {"proxy": endpoint.proxy, "open_timeout": self.settings.connect_timeout_s}
        return options | ({"ssl": self._trust()} if endpoint.base_url.startswith("https:") else {})

    def explain(self, stage: Stage, error: BaseException) -> StageError:
        """Say in words what an exception of the SDK means, and whether another try may help."""
        endpoint = self.endpoints[stage]
        failure = explaining.explain(stage, endpoint.host, error, self.model(stage))
        return explaining.by_proxy(failure) if endpoint.proxy is not None else failure

    # ------------------------------------------------------------------------------ connections
    async def warm(self) -> None:
        """Have as many connections open to each server as a turn needs there at a time. Never raises."""
        servers = []
        for stage in over_http(self.settings):
            with suppress(Exception):  # what is wrong with it is said by whoever asks
                servers.append(self._server(stage))
        tasks = [task for server in dict.fromkeys(servers) for task in self._warm(server)]
        await asyncio.gather(*tasks, return_exceptions=True)

    def spare(self, stage: Stage) -> None:
        """Replace, in the background, the stage's connection that was lost with an answer that nobody waited for."""
        if not self._closed:
            self._warm(self._server(stage))

    def on_close(self, callback: Callable[[], Awaitable[Any]]) -> None:
        """Have something closed before the clients are; the last that came is the first to go."""
        self._closing.append(callback)

    async def aclose(self) -> None:
        """Close every connection."""
        self._closed = True
        for callback in reversed(self._closing):
            await callback()
        self._closing.clear()
        servers, self._servers = list(self._servers.values()), {}
        warming = [task for server in servers for task in server.warming]
        for task in warming:
            task.cancel()
        await asyncio.gather(*warming, return_exceptions=True)
        for server in servers:
            await server.sdk.close()
        if self.wire is not None:
            await self.wire.aclose()

    def _warm(self, server: _Server) -> set[asyncio.Task[None]]:
        if not server.warming and not self._closed:
            task = asyncio.create_task(self._fill(server), name=f"connections to {server.endpoint.host}")
            server.warming.add(task)
            task.add_done_callback(server.warming.discard)
        return set(server.warming)

    async def _fill(self, server: _Server) -> None:
        """Ask as many times at once as connections are wanted: a request takes an idle one, or opens one.

        A HEAD is answered without a body by whatever is there, and costs no tokens; what it says is of no matter.
        """
        endpoint = server.endpoint
        auth = (
            {"api-key": endpoint.api_key} if endpoint.azure_version else {"authorization": f"Bearer {endpoint.api_key}"}
        )
        query = {"api-version": endpoint.azure_version} if endpoint.azure_version else {}
        with suppress(Exception):
            async with asyncio.timeout(WARM_TIMEOUT_S):
                url = endpoint.base_url.rstrip("/") + "/models"
                asks = (server.http.head(url, headers=auth, params=query or None) for _ in range(server.streams))
                await asyncio.gather(*asks, return_exceptions=True)

    # ------------------------------------------------------------------------------ making
    def _server(self, stage: Stage) -> _Server:
        endpoint = self.endpoints[stage]
        key = _identity(endpoint)
        if (server := self._servers.get(key)) is None:
            if endpoint.flaw:
                raise StageError(stage, "settings", f"{NAMES[stage]} {endpoint.flaw}.", retryable=False)
            server = self._servers[key] = self._made(endpoint)
        return server

    def _made(self, endpoint: Endpoint) -> _Server:
        from openai import AsyncAzureOpenAI, AsyncOpenAI

        http = self._http(endpoint)
        key, url, version = endpoint.api_key, endpoint.base_url, endpoint.azure_version
        # No retries below: a retry belongs to the turn that waits for it.
        if version is None:
            sdk = AsyncOpenAI(api_key=key, base_url=url, max_retries=0, http_client=http)
        else:
            resource = url.removesuffix("/openai")
            # The SDK's way to Realtime is wss:// alone; a gateway or a test may be without TLS.
            plain = "ws" + url.removeprefix("http") if url.startswith("http:") else None
            sdk = AsyncAzureOpenAI(
                api_key=key, azure_endpoint=resource, api_version=version, websocket_base_url=plain,
                max_retries=0, http_client=http,
            )  # fmt: skip
        here = [stage for stage in over_http(self.settings) if _identity(self.endpoints[stage]) == _identity(endpoint)]
        return _Server(endpoint, http, sdk, streams=max(1, len(here)))

    def _http(self, endpoint: Endpoint) -> "httpx2.AsyncClient":
        import httpx2
        from openai import DefaultAsyncHttpx2Client

        from voiceagent.stages.connections import KEEPALIVE_S, WatchedConnections

        pool = httpx2.AsyncHTTPTransport(
            verify=self._trust(),
            proxy=endpoint.proxy,
            limits=httpx2.Limits(
                max_connections=None, max_keepalive_connections=MAX_IDLE, keepalive_expiry=KEEPALIVE_S
            ),
        )
        settings = self.settings
        return DefaultAsyncHttpx2Client(
            transport=WatchedConnections(pool, lambda: self.spare(endpoint.stage), self.wire),
            timeout=httpx2.Timeout(settings.stall_timeout_s, connect=settings.connect_timeout_s),
            trust_env=False,  # what the environment says of proxies and trust is in the transport already
        )

    def _trust(self) -> ssl.SSLContext:
        """The certificates that are trusted: the system's, or those of ``SSL_CERT_FILE``."""
        if self._tls is None:
            import httpx2

            self._tls = httpx2.create_ssl_context()
        return self._tls


def _identity(endpoint: Endpoint) -> tuple[str, str, str | None]:
    """What makes two stages' endpoints one server: the same address, the same key."""
    return endpoint.base_url, endpoint.api_key, endpoint.azure_version
