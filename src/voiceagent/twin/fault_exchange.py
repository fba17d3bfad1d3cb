"""One request or one WebSocket under faults: the application inside, the faulty line between, the client outside."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from voiceagent.twin import fault_rules as rules
from voiceagent.twin.errors import error_body
from voiceagent.twin.fault_events import AUDIO, BODY, Item, error_event, message_item, sse_block, sse_item
from voiceagent.twin.fault_line import Line
from voiceagent.twin.faults import Armed

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
MAX_KEPT = 1_000
"""Messages of the client that are kept while its answer is withheld."""
CHANGES_LENGTH = (
    rules.Transcript, rules.FailedTranscript, rules.Garbage, rules.Truncate, rules.WavHeader, rules.Duplicate,
    rules.Missing, rules.Error,
)  # fmt: skip


class Inbox:
    """What the client sends, and whether it has gone; it can be watched before the application asks for it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: list[Message] = []
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        """Return the next message."""
        if self._kept:
            return self._kept.pop(0)
        message = await self._receive()
        if message["type"].endswith(".disconnect"):
            self.gone.set()
        return message

    async def until_gone(self, *, keep: bool = False) -> None:
        """Read until the client has gone; with `keep` the application gets what came."""
        while not self.gone.is_set():
            message = await self._receive()
            if message["type"].endswith(".disconnect"):
                self.gone.set()
            if keep and len(self._kept) < MAX_KEPT:
                self._kept.append(message)

    async def stays(self, for_s: float | None) -> bool:
        """Wait so long, or for ever, and return whether the client is still there."""
        try:
            async with asyncio.timeout(for_s):
                await self.until_gone(keep=True)
        except TimeoutError:
            return True
        return False

    def hang_up(self, *, reset: bool) -> None:
        """Close the TCP connection below. It is the server's (uvicorn's): ASGI knows no such thing."""
        transport = getattr(getattr(self._receive, "__self__", None), "transport", None)
        if transport is None:
            raise RuntimeError("a connection can only be dropped under uvicorn")
        if reset:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()


class Exchange:
    """What both have: the application as a task, the line as another, and an end that leaves nothing."""

    def __init__(self, app: App, scope: MutableMapping[str, Any], inbox: Inbox, send: Send, armed: list[Armed]) -> None:
        self._app = app
        self._scope = scope
        self._inbox = inbox
        self._send = send
        self._armed = armed
        self._ended = asyncio.Event()
        self._dropped = False
        self._down = Line(self._going("down"), self._write, self._act, self._ended, cuts=scope["type"] == "http")

    def _going(self, direction: str) -> list[Armed]:
        return [one for one in self._armed if getattr(one.rule, "direction", "down") == direction]

    async def _write(self, item: Item) -> None:
        raise NotImplementedError

    async def _act(self, one: Armed) -> None:
        raise NotImplementedError

    async def _finish(self) -> None:
        """The application has returned."""

    async def _hang_up(self, one: Armed) -> None:
        one.done_to()
        self._dropped = True
        self._ended.set()
        self._inbox.hang_up(reset=isinstance(one.rule, rules.Drop) and one.rule.reset)

    async def _run(self, receive: Receive, from_app: Send, *others: Coroutine[Any, Any, None]) -> None:
        app = asyncio.ensure_future(self._app(self._scope, receive, from_app))
        pump = asyncio.ensure_future(self._down.run())
        more = [asyncio.ensure_future(other) for other in others]
        tasks: list[asyncio.Future[Any]] = [app, pump, *more]
        try:
            await asyncio.wait({app, pump}, return_when=asyncio.FIRST_COMPLETED)
            if app.done() and not pump.done():
                app.result()  # what it raises is for whoever serves it
                await self._finish()
                gone = asyncio.ensure_future(self._inbox.until_gone())
                tasks.append(gone)
                await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
        except OSError:
            pass  # the client has gone while something was written
        finally:
            self._down.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._dropped:
            await self._inbox.until_gone()  # the server has noticed, and asks for no answer any more


class HttpExchange(Exchange):
    """A request: server-sent events, a JSON body, or audio."""

    _kind = ""
    _started = False
    _events = 0
    _rest = b""

    async def run(self) -> None:
        """Answer it."""
        self._early: list[Armed] = []
        self._down.clock_starts()
        await self._run(self._inbox.receive, self._from_app)

    async def _from_app(self, message: Message) -> None:
        if self._ended.is_set() or self._down.dead:
            return
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            kind = headers.get(b"content-type", b"").decode("latin-1").split(";")[0]
            self._kind = {"text/event-stream": "sse", "application/json": BODY}.get(kind, AUDIO)
            kept = list(message["headers"])
            if any(isinstance(one.rule, CHANGES_LENGTH) for one in self._armed):
                kept = [pair for pair in kept if pair[0].lower() != b"content-length"]
            self._started = True
            await self._send({**message, "headers": kept})
            self._down.begins()
            for one in self._early:
                await self._act(one)
        elif message["type"] == "http.response.body":
            await self._body(message.get("body", b""), more=message.get("more_body", False))
        else:
            await self._send(message)

    async def _body(self, data: bytes, *, more: bool) -> None:
        if self._kind == AUDIO:
            if data:
                await self._down.feed(Item(AUDIO, data))
        else:
            self._rest += data
            *blocks, self._rest = self._rest.split(b"\n\n") if self._kind == "sse" else [self._rest]
            for block in blocks:
                await self._down.feed(sse_item(block + b"\n\n"))
            if not more and self._rest:
                await self._down.feed(sse_item(self._rest) if self._kind == "sse" else Item(BODY, self._rest))
        if not more:
            await self._down.feed(Item("", last=True))

    async def _write(self, item: Item) -> None:
        body = item.data if isinstance(item.data, bytes) else item.data.encode()
        self._events += 1
        await self._send({"type": "http.response.body", "body": body, "more_body": not item.last})

    async def _act(self, one: Armed) -> None:
        rule = one.rule
        if isinstance(rule, rules.Drop):
            await self._hang_up(one)
        elif not self._started:
            self._early.append(one)
        elif isinstance(rule, rules.Truncate):
            await self._last(one)
        elif isinstance(rule, rules.Error):
            if self._kind != "sse":  # in audio there is no place for it: such a stream just breaks
                await self._hang_up(one)
            else:
                await self._last(one, self._error_block(rule))
        elif isinstance(rule, rules.Garbage) and self._kind == "sse":
            one.done_to()
            await self._write(Item("", b"data: " + rule.text.encode() + b"\n\n"))
        elif isinstance(rule, rules.Garbage):
            await self._last(one, rule.text.encode())

    def _error_block(self, rule: rules.Error) -> bytes:
        """An error as the endpoint has it: responses know an event for it, completions do not."""
        if self._scope["path"].endswith("/responses"):
            event = {"type": "error", "code": rule.code, "message": rule.message, "param": None}
            return sse_block({**event, "sequence_number": self._events}, named=True)
        return sse_block(error_body(rule.message, kind=rule.type, code=rule.code))

    async def _last(self, one: Armed, data: bytes = b"") -> None:
        one.done_to()
        await self._write(Item("", data, last=True))
        self._ended.set()


class SocketExchange(Exchange):
    """A WebSocket, both ways."""

    _accepted = False

    async def run(self) -> None:
        """Serve it until it closes."""
        upward = self._going("up")
        self._lines = [self._down]
        self._to_app: asyncio.Queue[Message] = asyncio.Queue(maxsize=100)
        if not any(isinstance(one.rule, rules.EventRule | rules.PlaceRule) for one in upward):
            await self._run(self._receive, self._from_app)
            return
        self._up = Line(upward, self._write_up, self._act, self._ended, cuts=False)
        self._lines.append(self._up)
        try:
            await self._run(self._to_app.get, self._from_app, self._read(), self._up.run())
        finally:
            self._up.close()

    async def _receive(self) -> Message:
        message = await self._inbox.receive()
        for line in self._lines:
            line.heard()
        return message

    async def _read(self) -> None:
        while not self._inbox.gone.is_set():
            message = await self._receive()
            if message["type"] != "websocket.receive":
                await self._to_app.put(message)
                continue
            data = message.get("text")
            await self._up.feed(message_item(message.get("bytes") or b"" if data is None else data))

    async def _write_up(self, item: Item) -> None:
        await self._to_app.put({"type": "websocket.receive", **_payload(item.data)})

    async def _from_app(self, message: Message) -> None:
        if self._ended.is_set():
            return
        if message["type"] == "websocket.send":
            data = message.get("text")
            await self._down.feed(message_item(message.get("bytes") or b"" if data is None else data))
        elif message["type"] == "websocket.close" and self._accepted:
            await self._down.feed(Item("", control=dict(message), last=True))
        else:
            await self._send(message)
            if message["type"] == "websocket.accept":
                self._accepted = True
                for line in self._lines:
                    line.heard()
                    line.clock_starts()
                    line.begins()
            elif not message.get("more_body", False) and message["type"] != "websocket.http.response.start":
                self._ended.set()  # it was refused

    async def _finish(self) -> None:
        if not self._inbox.gone.is_set():  # the server closes what its application left
            await self._down.feed(Item("", last=True))

    async def _write(self, item: Item) -> None:
        if item.control is not None:
            await self._send(item.control)
        elif not item.last:
            for line in self._lines:
                line.heard()
            await self._send({"type": "websocket.send", **_payload(item.data)})

    async def _act(self, one: Armed) -> None:
        rule = one.rule
        if isinstance(rule, rules.Drop):
            await self._hang_up(one)
        elif isinstance(rule, rules.Close):
            one.done_to({"code": rule.code})
            await self._close(rule.code, rule.reason)
        elif isinstance(rule, rules.SessionExpired):
            one.done_to({"code": rule.code})
            await self._say(error_event("invalid_request_error", "session_expired", rule.message))
            await self._close(rule.code, "")
        elif isinstance(rule, rules.Error):
            one.done_to()
            await self._say(error_event(rule.type, rule.code, rule.message))
        elif isinstance(rule, rules.Reject):
            one.done_to({"event_id": one.held})
            await self._say(error_event("invalid_request_error", rule.code, rule.message, one.held))
        elif isinstance(rule, rules.Garbage):
            one.done_to()
            await self._say(rule.text)

    async def _say(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def _close(self, code: int, reason: str) -> None:
        self._ended.set()
        await self._send({"type": "websocket.close", "code": code, "reason": reason})
        self._down.close()


def _payload(data: str | bytes) -> dict[str, Any]:
    return {"text": data} if isinstance(data, str) else {"bytes": data}
