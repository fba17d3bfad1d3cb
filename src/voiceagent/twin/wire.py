"""One Realtime WebSocket as events: what is sent waits in a bounded queue, what comes is parsed, errors are events too."""

import asyncio
import json
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from voiceagent.twin.configs import Rejected
from voiceagent.twin.errors import error_body, identifier

MAX_WAITING = 1_000
ROOM = MAX_WAITING // 2
"""Beyond this only what cannot wait is queued: a response's audio waits until the client has read some of it."""
CLOSE_TIMEOUT_S = 2.0


class Wire:
    """The events of one accepted WebSocket. `overflowed` is set when its client does not read; nothing is sent then."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._out: asyncio.Queue[dict[str, Any] | int] = asyncio.Queue(maxsize=MAX_WAITING)
        self._read = asyncio.Event()
        self.overflowed = asyncio.Event()

    def send(self, event: dict[str, Any]) -> None:
        """Queue an event; its ``event_id`` is added."""
        self._put({"event_id": identifier("event"), **event})

    def refuse(self, rejected: Rejected, event_id: Any = None) -> None:
        """Queue the error event that answers a client's event."""
        body = error_body(str(rejected), kind="invalid_request_error", code=rejected.code, param=rejected.param)
        self.send({"type": "error", "error": {**body["error"], "event_id": event_id}})

    def close(self, code: int) -> None:
        """Close the socket after what is queued."""
        self._put(code)

    def _put(self, entry: dict[str, Any] | int) -> None:
        try:
            self._out.put_nowait(entry)
        except asyncio.QueueFull:
            self.overflowed.set()

    async def room(self) -> None:
        """Wait until there is room for what can wait."""
        while self._out.qsize() >= ROOM:
            self._read.clear()
            await self._read.wait()

    async def write(self) -> None:
        """Write what is queued until the socket is closed by either side."""
        try:
            while isinstance(entry := await self._out.get(), dict):
                await self._websocket.send_text(json.dumps(entry))
                if self._out.qsize() < ROOM:
                    self._read.set()
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._websocket.close(entry)
        except (WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
            return  # the reader learns of it as well

    async def receive(self) -> Any:
        """Wait for the next message, of ASGI's kind."""
        return await self._websocket.receive()


def parse(message: Any) -> dict[str, Any]:
    """Return a client's event. Raises `Rejected`."""
    text = message.get("text")
    if text is None:
        raise Rejected("Binary messages are not supported.", code="invalid_event")
    try:
        event = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Rejected("The message is not valid JSON.", code="invalid_json") from None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise Rejected("Missing required parameter: 'type'.", code="missing_required_parameter", param="type")
    return event


def _no_number(name: str) -> None:
    raise ValueError(name)  # NaN and the infinities are Python's, not JSON's
