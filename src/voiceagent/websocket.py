"""The browser's WebSocket as the driver sees it, and what is checked before a session may begin."""

import asyncio
import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from voiceagent import protocol
from voiceagent.incoming import Gone
from voiceagent.settings import Settings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class StarletteSocket:
    """`voiceagent.session.Socket` over Starlette."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> protocol.Message | protocol.MicFrame:
        """Return the next message. Raises `ProtocolError` for one that is none."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise Gone
        decoded: protocol.Message | protocol.MicFrame = protocol.decode_client(
            message["text"] if message.get("text") is not None else message["bytes"]
        )
        return decoded

    async def send(self, message: protocol.Message | protocol.ReplyFrame) -> None:
        """Send one message."""
        data = protocol.encode(message)
        try:
            if isinstance(data, str):
                await self._websocket.send_text(data)
            else:
                await self._websocket.send_bytes(data)
        except (WebSocketDisconnect, RuntimeError, OSError) as error:  # RuntimeError: it was closed before
            raise Gone from error

    async def close(self, code: int, reason: str) -> None:
        """Close it with a code; never raises."""
        if self._websocket.application_state is WebSocketState.CONNECTED:
            try:
                await self._websocket.close(code, reason)
            except (WebSocketDisconnect, RuntimeError, OSError):
                return


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a session does not begin: the close code, and the words for the page."""

    close: int
    code: str
    message: str
    hint: str


def origin_allowed(websocket: WebSocket, settings: Settings, *, token_needed: bool) -> bool:
    """Whether this page, or this program without a page, may ask for a session at all.

    A page of another site must not reach a server on the visitor's own machine; a name that was made to point there
    (DNS rebinding) is no better, so a server on loopback answers only to loopback's names.
    """
    origin = websocket.headers.get("origin")
    host = websocket.headers.get("host", "")
    name = urlsplit(f"//{host}").hostname or ""
    if origin is not None and origin in settings.allowed_origins:
        return True
    if settings.host in LOOPBACK and name not in LOOPBACK:
        return False
    if origin is None:
        peer = websocket.client.host if websocket.client is not None else ""
        return token_needed or peer in LOOPBACK
    return urlsplit(origin).netloc == host


async def hello(websocket: WebSocket, settings: Settings, token: str | None) -> protocol.Hello | Refusal:
    """Wait for the hello and check it. Raises `Gone`."""
    socket = StarletteSocket(websocket)
    reload = "Reload the page; if it happens again, the client does not speak this protocol."
    try:
        async with asyncio.timeout(settings.hello_timeout_s):
            greeting = await socket.receive()
    except TimeoutError:
        return Refusal(protocol.Close.TIMEOUT, "hello_late", "No hello came.", "Reload the page.")
    except protocol.ProtocolError as error:
        code = "hello_first" if error.code == "bad_frame" else error.code
        return Refusal(protocol.Close.BAD_MESSAGE, code, error.message, reload)
    if not isinstance(greeting, protocol.Hello):
        return Refusal(protocol.Close.BAD_MESSAGE, "hello_first", "The first message must be a hello.", reload)
    if greeting.version != protocol.PROTOCOL_VERSION:
        text = f"This server speaks version {protocol.PROTOCOL_VERSION} of the protocol, the client {greeting.version}."
        return Refusal(protocol.Close.VERSION, "version", text, "Reload the page.")
    if token is not None and not hmac.compare_digest((greeting.token or "").encode(), token.encode()):
        text = "This server asks for an access token." if greeting.token is None else "The access token is not right."
        return Refusal(protocol.Close.UNAUTHORIZED, "token", text, "Enter the token that the server printed.")
    return greeting


async def refuse(websocket: WebSocket, refusal: Refusal) -> None:
    """Say why, and close: a page can read that, unlike a refused handshake."""
    socket = StarletteSocket(websocket)
    error = protocol.Error(code=refusal.code, message=refusal.message, hint=refusal.hint, fatal=True)
    await socket.send(error)
    await socket.close(refusal.close, refusal.code)
