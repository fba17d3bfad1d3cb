"""What all HTTP endpoints of the twin share: reading a request, refusing it, and streams of events."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from voiceagent.twin.errors import identifier

MAX_BODY_BYTES = 4 * 1024 * 1024
SILENT_S = 60.0
T = TypeVar("T")


class ClientGone(Exception):  # noqa: N818 - what happened
    """The client closed its connection before the answer began."""


class BadRequest(Exception):  # noqa: N818 - an answer
    """Answered with status 400, or another one, and the parameter that is wrong."""

    def __init__(self, message: str, param: str | None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status


class ClosedStream(StreamingResponse):
    """A stream whose making ends with it, also where its client has left."""

    def __init__(self, chunks: AsyncGenerator[bytes], **more: Any) -> None:
        super().__init__(chunks, **more)
        self._chunks = chunks

    async def stream_response(self, send: Send) -> None:
        """Send it, to its end or to the client's."""
        async with aclosing(self._chunks):
            await super().stream_response(send)


class EventStream(ClosedStream):
    """Server-sent events, never compressed."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        super().__init__(events, headers={"x-request-id": identifier("req"), "cache-control": "no-cache"})


def event(data: Mapping[str, Any]) -> bytes:
    """Return one event without a name."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def named_event(data: Mapping[str, Any]) -> bytes:
    """Return one event that is named after its `type`."""
    return b"event: " + str(data["type"]).encode() + b"\n" + event(data)


def object_of(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a parameter that is an object; anything else counts as not given."""
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def objects_of(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return a parameter that is a list of objects, empty if not given. Raises `BadRequest`."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadRequest(f"Invalid type for '{name}': expected an array of objects.", name, "invalid_type")
    return value


async def joined(first: T | None, rest: AsyncIterator[T]) -> AsyncGenerator[T]:
    """Stream what was taken already and the rest, which is closed in the end."""
    try:
        if first:
            yield first
        async for item in rest:
            yield item
    finally:
        close = getattr(rest, "aclose", None)
        if close is not None:
            await close()


async def while_there(request: Request, work: Awaitable[T]) -> T:
    """Return what the work comes to. Raises `ClientGone`: a client that leaves meanwhile ends it."""
    getting: asyncio.Future[T] = asyncio.ensure_future(work)
    leaving: asyncio.Future[None] = asyncio.ensure_future(_gone(request))
    both: set[asyncio.Future[Any]] = {getting, leaving}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not getting.done():
            raise ClientGone
        return getting.result()
    finally:
        for task in (getting, leaving):
            task.cancel()
        await asyncio.gather(getting, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def in_time(request: Request) -> Request:
    """Return the request with a bound to the wait for more of its body. Reading it raises `BadRequest` of status 408."""

    async def receive() -> Message:
        try:
            async with asyncio.timeout(SILENT_S):
                return await request.receive()
        except TimeoutError:
            raise BadRequest("The request did not come in time.", None, status=408) from None

    return Request(request.scope, receive)


async def json_body(request: Request) -> dict[str, Any]:
    """Return the body, a JSON object. Raises `BadRequest`."""
    raw = b""
    async for chunk in in_time(request).stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise BadRequest("The request is too large.", None)
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadRequest("We could not parse the JSON body of your request.", None) from None
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.", None)
    return body
