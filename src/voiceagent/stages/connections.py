"""The HTTP connections below the SDK: how each was come by, whether it is still there, and whether the API answers on it.

HTTP/1.1 with spares, not HTTP/2: leaving a stream before its end costs an HTTP/1.1 connection, and HTTP/2 would keep it, but
it puts every stream behind one TCP connection's losses, needs a framing library in Python at each chunk of audio, and the
servers that people run themselves do not speak it. A spare that is opened in the background serves the next turn as well.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import httpx2

from voiceagent.stages.ports import Acquired
from voiceagent.stages.wirelog import HttpLog, WireLog

KEEPALIVE_S = 120.0
"""How long an idle connection is kept; the HTTP library's own 5 s are shorter than a pause in a conversation."""
_PAGES = (b"<!doctype", b"<html", b"<?xml")
_EVENTS = (b"data", b"event", b"id", b"retry", b":", b"{", b"[")


class WrongAnswerError(httpx2.TransportError):
    """Something else than the API answers. `what`: what it answers with, for a sentence."""

    def __init__(self, what: str) -> None:
        super().__init__(f"answered with {what}")
        self.what = what


class _Watch:
    """Listens to the library's trace of one request; the last time that it wants to send headers, it has a connection.

    (Through a proxy the first headers ask for a tunnel.)
    """

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._began_s = self._acquired_s = self._clock()
        self._reused = True

    async def __call__(self, name: str, _: dict[str, Any]) -> None:
        """Take the name of a step, as httpcore2's ``trace`` extension gives it."""
        if name.endswith(("connect_tcp.started", "connect_unix_socket.started")):
            self._reused = False
        elif name.endswith("send_request_headers.started"):
            self._acquired_s = self._clock()

    @property
    def acquired(self) -> Acquired:
        """How the connection was come by."""
        return Acquired(round((self._acquired_s - self._began_s) * 1e6), self._reused)


class WatchedConnections(httpx2.AsyncBaseTransport):
    """Stands before the library's pool.

    Each response carries ``extensions["acquired"]``, an `Acquired`. `lost` is called where an answer was left before its
    end, and its connection with it. Raises `WrongAnswerError` for what is plainly not the API's answer.
    """

    def __init__(self, pool: httpx2.AsyncBaseTransport, lost: Callable[[], None], wire: WireLog | None = None) -> None:
        self._pool = pool
        self._lost = lost
        self._wire = wire

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        watch = _Watch()
        request.extensions = {**request.extensions, "trace": watch}
        log = None if self._wire is None else self._wire.request(request.method, request.url, request.headers)
        if log is not None:
            log.sent(_body(request))
        try:
            response = await self._pool.handle_async_request(request)
        except BaseException as error:
            if log is not None:
                log.ended(type(error).__name__)
            if isinstance(error, asyncio.CancelledError):
                self._lost()
            raise
        response.extensions = {**response.extensions, "acquired": watch.acquired}
        if log is not None:
            log.answered(response.status_code, response.headers, watch.acquired)
        body = _Body(response, request, self._lost, log)
        if what := _not_the_api(request, response):
            await body.aclose()
            raise WrongAnswerError(what)
        response.stream = body
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    """An answer's body, which knows whether it was read to its end.

    It is no generator: who reads it may forget to close it, but closes the answer.
    """

    def __init__(
        self, response: httpx2.Response, request: httpx2.Request, lost: Callable[[], None], log: HttpLog | None
    ) -> None:
        if not isinstance(response.stream, httpx2.AsyncByteStream):
            raise TypeError("the pool answers with a stream")
        self._stream = response.stream
        self._chunks = aiter(response.stream)
        self._lost = lost
        self._log = log
        self._suspect = _may_be_a_page(response)
        self._wants_events = response.is_success and request.method == "POST"
        self._over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._end("")
            raise
        self._look_at(chunk)
        return chunk

    def _look_at(self, chunk: bytes) -> None:
        if self._log is not None:
            self._log.received(chunk)
        if self._suspect and (start := chunk.lstrip()):
            self._suspect = False
            if start[:9].lower().startswith(_PAGES):
                raise WrongAnswerError("a web page")
            if self._wants_events and not start.startswith(_EVENTS):
                raise WrongAnswerError("plain text")

    async def aclose(self) -> None:
        try:
            if isinstance(self._chunks, AsyncGenerator):
                await self._chunks.aclose()
            await self._stream.aclose()
        finally:
            if not self._over:
                self._end("left")
                self._lost()

    def _end(self, how: str) -> None:
        self._over = True
        if self._log is not None:
            self._log.ended(how)


def _body(request: httpx2.Request) -> bytes:
    try:
        return request.content
    except httpx2.RequestNotRead:  # a file that is streamed
        return b""


def _type(response: httpx2.Response) -> str:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def _may_be_a_page(response: httpx2.Response) -> bool:
    return _type(response) in {"", "text/plain"} and response.is_success


def _not_the_api(request: httpx2.Request, response: httpx2.Response) -> str:
    """What answers in place of the API; empty where it may be the API. A gateway's page of a fault (5xx) is a fault."""
    kind, status = _type(response), response.status_code
    if kind in {"text/html", "application/xhtml+xml"} and status < 500 and status != 429:
        return "a web page"
    if kind == "application/json" and response.is_success and request.method == "POST":
        if request.url.path.endswith("/audio/speech"):
            return "JSON in place of sound"
        if b'"stream":true' in _body(request).replace(b" ", b"")[:100_000]:
            return "one JSON object in place of a stream"
    return ""
