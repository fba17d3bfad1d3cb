"""One Realtime session on a WebSocket: opened, configured and confirmed before anybody uses it; raw frames both ways.

What the session is for is its user's affair: transcription (`stt`), reading aloud (`tts`), or a whole conversation.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from voiceagent.events import Stage
from voiceagent.stages.clients import NAMES, Clients
from voiceagent.stages.codes import ACCOUNT, Verdict, code_of, verdict
from voiceagent.stages.explaining import NO_MODEL, unknown_model
from voiceagent.stages.ports import StageError
from voiceagent.stages.wirelog import SocketLog

CLOSE_TIMEOUT_S = 0.05


class RealtimeSocket:
    """A confirmed session. `acquire_us`: how long connecting and configuring it took."""

    def __init__(self, connection: Any, log: SocketLog | None = None) -> None:
        self._connection = connection
        self._log = log
        self.acquire_us = 0

    async def send(self, event: str | Mapping[str, Any]) -> None:
        """Send one event; a string is sent as it is: the SDK's typed events cost fourteen times as much."""
        text = event if isinstance(event, str) else json.dumps(event)
        if self._log is not None:
            self._log.sent(text)
        await self._connection.send_raw(text)

    async def receive(self) -> dict[str, Any]:
        """Wait for the next event. Raises what the WebSocket library raises when the connection is lost."""
        raw = await self._connection.recv_bytes()
        if self._log is not None:
            self._log.received(raw)
        event = json.loads(raw)
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
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    log = None if clients.wire is None else clients.wire.session(stage, endpoint.host, query)
    how = ""
    try:
        connection = await _connect(clients, stage, query)
        socket = RealtimeSocket(connection, log)
        try:
            async with asyncio.timeout(timeout_s):
                await _configure(
                    socket, session, lambda error: session_error(stage, endpoint.host, error, clients.model(stage))
                )
            socket.acquire_us = round((loop.time() - began_s) * 1e6)
            yield socket
        finally:
            with suppress(Exception):
                await connection.close()
    except BaseException as error:
        how = type(error).__name__
        raise
    finally:
        if log is not None:
            log.ended(how)


async def _configure(
    socket: RealtimeSocket, session: Mapping[str, Any], refused: Callable[[Mapping[str, Any]], StageError]
) -> None:
    await socket.send({"type": "session.update", "session": session})
    while (event := await socket.receive()).get("type") != "session.updated":
        if event.get("type") == "error":
            raise refused(event.get("error") or {})


async def _connect(clients: Clients, stage: Stage, query: Mapping[str, str]) -> Any:
    """Open the WebSocket. Azure asks for the deployment in every session, also where the model stands in its configuration."""
    options: dict[str, Any] = {**clients.websocket(stage), "close_timeout": CLOSE_TIMEOUT_S}
    asked = dict(query)
    more: dict[str, Any] = {}
    if clients.endpoints[stage].azure_version is not None:
        more["model"] = asked.pop("model", "") or clients.model(stage)  # the SDK makes it the `deployment`
    manager = clients.get(stage).realtime.connect(
        extra_query=asked, websocket_connection_options=cast("Any", options), **more
    )
    return await manager.enter()


def append_event(key: int, pcm: bytes) -> str:
    """Return the event that adds audio to item `key`; plain text, since the SDK's costs fourteen times as much."""
    audio = base64.b64encode(pcm).decode("ascii")
    return f'{{"type":"input_audio_buffer.append","event_id":"append_{key}","audio":"{audio}"}}'


def append_refused(stage: Stage, host: str, error: Mapping[str, Any]) -> StageError:
    """Return the failure of a session whose buffer lacks some of what was said, by the server's `error`."""
    code = code_of(error.get("code"))
    if code in ACCOUNT or code == "session_expired":
        return session_error(stage, host, error)
    detail = f" ({code})" if code else ""
    sentence = f"{NAMES[stage]} at {host} did not take all that was said{detail}."
    return StageError(stage, "append_refused", sentence, retryable=True)


def session_error(stage: Stage, host: str, error: Mapping[str, Any], model: str = "") -> StageError:
    """Return what an ``error`` event says of the session as a whole, which asked for `model`."""
    code = code_of(error.get("code"), error.get("type"), otherwise="error")
    of_model = verdict(code) is Verdict.FATAL and str(error.get("param") or "").endswith("model")
    if code in NO_MODEL or of_model:
        return unknown_model(stage, host, model, code)
    if code == "session_expired":
        sentence = f"The session of {NAMES[stage].lower()} at {host} has reached its length; a new one is opened."
        return StageError(stage, code, sentence, retryable=True)
    sentence = f"{NAMES[stage]} at {host} refused the session ({code})."
    return StageError(stage, code, sentence, retryable=verdict(code) is not Verdict.FATAL)
