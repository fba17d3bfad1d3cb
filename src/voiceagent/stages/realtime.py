"""One Realtime session on a WebSocket: opened, configured and confirmed before anybody uses it; raw frames both ways.

What the session is for is its user's affair: transcription (`stt`), reading aloud (`tts`), or a whole conversation.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from voiceagent.events import Stage
from voiceagent.stages.clients import NAMES, Clients
from voiceagent.stages.codes import Verdict, verdict
from voiceagent.stages.ports import StageError

CLOSE_TIMEOUT_S = 0.05


class RealtimeSocket:
    """A confirmed session. `acquire_us`: how long connecting and configuring it took."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.acquire_us = 0

    async def send(self, event: str | Mapping[str, Any]) -> None:
        """Send one event; a string is sent as it is: the SDK's typed events cost fourteen times as much."""
        await self._connection.send_raw(event if isinstance(event, str) else json.dumps(event))

    async def receive(self) -> dict[str, Any]:
        """Wait for the next event. Raises what the WebSocket library raises when the connection is lost."""
        event = json.loads(await self._connection.recv_bytes())
        return event if isinstance(event, dict) else {}


@asynccontextmanager
async def realtime_session(
    clients: Clients, stage: Stage, session: Mapping[str, Any], *, query: Mapping[str, str]
) -> AsyncIterator[RealtimeSocket]:
    """Open a session with ``?query`` and configure it by `session`; yield it once ``session.updated`` has come.

    Raises `StageError` where the configuration is refused, and what the libraries raise where there is no connection:
    `Clients.explain` puts it into words.
    """
    endpoint, timeout_s = clients.endpoints[stage], clients.settings.connect_timeout_s
    options: dict[str, Any] = {"open_timeout": timeout_s, "close_timeout": CLOSE_TIMEOUT_S}
    if endpoint.is_loopback:
        options["proxy"] = None
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    manager = clients.get(stage).realtime.connect(
        extra_query=dict(query), websocket_connection_options=cast("Any", options)
    )
    connection = await manager.enter()
    socket = RealtimeSocket(connection)
    try:
        async with asyncio.timeout(timeout_s):
            await socket.send({"type": "session.update", "session": session})
            while (event := await socket.receive()).get("type") != "session.updated":
                if event.get("type") == "error":
                    raise session_error(stage, endpoint.host, event.get("error") or {})
        socket.acquire_us = round((loop.time() - began_s) * 1e6)
        yield socket
    finally:
        with suppress(Exception):
            await connection.close()


def session_error(stage: Stage, host: str, error: Mapping[str, Any]) -> StageError:
    """Return what an ``error`` event says of the session as a whole."""
    code = str(error.get("code") or error.get("type") or "error")
    if code == "session_expired":
        sentence = f"The session of {NAMES[stage].lower()} at {host} has reached its length; a new one is opened."
        return StageError(stage, code, sentence, retryable=True)
    sentence = f"{NAMES[stage]} at {host} refused the session ({code})."
    return StageError(stage, code, sentence, retryable=verdict(code) is not Verdict.FATAL)
