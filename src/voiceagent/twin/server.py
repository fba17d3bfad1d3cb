"""A server for one application on a loopback socket, as a task of the running loop; it leaves nothing behind."""

import asyncio
import contextlib
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
KEEP_ALIVE_S = 120


class _Quiet(uvicorn.Server):
    """Leaves the process's signals to whoever owns the process, and says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


class TwinServer:
    """``async with TwinServer(app) as twin: twin.base_url``. With a certificate and its key (PEM files) it speaks TLS."""

    def __init__(
        self, app: Starlette, host: str = "127.0.0.1", port: int = 0, *,
        ssl_certfile: str | Path | None = None, ssl_keyfile: str | Path | None = None,
    ) -> None:  # fmt: skip
        self._app = app
        self._certificate = (ssl_certfile, ssl_keyfile)
        self._address = (host, port)
        self._task: asyncio.Task[None]
        self._server: _Quiet
        self.port = port

    @property
    def base_url(self) -> str:
        """The URL that clients take as ``base_url``."""
        scheme = "http" if self._certificate[0] is None else "https"
        return f"{scheme}://{self._address[0]}:{self.port}/v1"

    async def __aenter__(self) -> Self:
        config = self._config()  # first: a certificate that cannot be used leaves no socket
        # With the protocol named, asyncio switches Nagle's algorithm off; else small messages wait 40 ms for an ACK.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(self._address)
        except BaseException:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        self._server = _Quiet(config)
        self._task = asyncio.create_task(self._serve(listener), name="twin")
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait({up, self._task}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if not self._server.started:
            await self._task
            raise RuntimeError("the twin could not be started")
        return self

    def _config(self) -> uvicorn.Config:
        certfile, keyfile = self._certificate
        config = uvicorn.Config(
            self._app, log_config=None, access_log=False, lifespan="on", ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES, ws_per_message_deflate=False, timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=1, server_header=False, date_header=False,
            ssl_certfile=certfile, ssl_keyfile=keyfile,
        )  # fmt: skip
        config.load()
        return config

    async def _serve(self, listener: socket.socket) -> None:
        with listener:
            await self._server.serve([listener])

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        await self._task
