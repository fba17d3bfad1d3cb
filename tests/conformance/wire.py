"""A Realtime connection through the SDK, event by event, each one held against the SDK's own type of it."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, get_args

from openai.types.realtime import RealtimeServerEvent
from pydantic import ValidationError

from tests.conformance.targets import Target

RATE_HZ = 24_000
PASSED_OVER = {"rate_limits.updated", "conversation.created"}
"""What a server may send at any time, or not at all."""


def _kinds() -> Iterator[tuple[str, Any]]:
    union = get_args(RealtimeServerEvent)[0]
    for kind in get_args(union):
        for name in get_args(kind.model_fields["type"].annotation):
            yield name, kind


KINDS = dict(_kinds())


def misshapen(event: dict[str, Any]) -> str | None:
    """Return what is wrong with a server event by the SDK's type of it; one that the SDK does not know is wrong in itself."""
    kind = KINDS.get(event.get("type", ""))
    if kind is None:
        return f"{event.get('type')} is no event of the SDK"
    try:
        kind.model_validate(event)
    except ValidationError as error:
        return f"{event['type']}: {error}"
    return None


class Dialog:
    """One open session; `events` has all that came, in order."""

    def __init__(self, connection: Any, target: Target) -> None:
        self.connection = connection
        self.events: list[dict[str, Any]] = []
        self._ids: set[str] = set()
        self._deadline_s = target.deadline_s
        self._may_be_new = not target.is_twin  # the service may have got events since the SDK was made

    async def send(self, kind: str, **fields: Any) -> None:
        """Send a client event, as the SDK writes it."""
        await self.connection.send({"type": kind, **fields})

    async def update(self, session: dict[str, Any]) -> dict[str, Any]:
        """Change the session and return what it then is."""
        await self.send("session.update", session=session)
        return (await self.until("session.updated"))["session"]

    async def append(self, pcm: bytes) -> None:
        """Stream audio, 100 ms an event."""
        for at in range(0, len(pcm), 4_800):
            await self.send("input_audio_buffer.append", audio=base64.b64encode(pcm[at : at + 4_800]).decode())

    async def next(self) -> dict[str, Any]:
        """Return the next event."""
        while True:
            async with asyncio.timeout(self._deadline_s):
                event = json.loads(await self.connection.recv_bytes())
            if event["type"] not in KINDS and self._may_be_new:
                continue
            assert (wrong := misshapen(event)) is None, wrong
            assert event["event_id"] not in self._ids
            self._ids.add(event["event_id"])
            if event["type"] not in PASSED_OVER:
                self.events.append(event)
                return event

    async def until(self, kind: str, *, errors: bool = False, **fields: Any) -> dict[str, Any]:
        """Return the next event of a kind with these fields, over all the others; an error is one only if asked for."""
        while True:
            event = await self.next()
            if event["type"] == kind and all(event.get(name) == value for name, value in fields.items()):
                return event
            assert errors or event["type"] != "error", event["error"]

    async def refused(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send what is wrong and return its error, which names the event that it is about."""
        await self.send(kind, event_id="event_of_mine", **fields)
        error = (await self.until("error"))["error"]
        assert error["event_id"] == "event_of_mine"
        assert error["message"]
        return error

    async def settled(self, *, errors: bool = False) -> None:
        """Wait until all that was sent before has been dealt with; an error is one unless it may come."""
        await self.send("input_audio_buffer.clear")
        await self.until("input_audio_buffer.cleared", errors=errors)

    def since(self, count: int) -> list[dict[str, Any]]:
        """Return what came after the first so many events."""
        return self.events[count:]


@asynccontextmanager
async def dialog(target: Target, **query: str) -> AsyncIterator[Dialog]:
    """An open session through the SDK."""
    model = query.pop("model", None)
    options = {"websocket_connection_options": target.socket_options, "extra_query": query}
    if model is not None:
        options["model"] = model
    async with target.client.realtime.connect(**options) as connection:
        yield Dialog(connection, target)


def order(events: Sequence[dict[str, Any]]) -> list[str]:
    """The kinds of some events in order, a run of deltas as one."""
    kinds: list[str] = []
    for event in events:
        kind = "delta" if event["type"].endswith(".delta") else event["type"]
        if kind != "delta" or kinds[-1:] != ["delta"]:
            kinds.append(kind)
    return kinds
