"""Realtime sessions in GA shape: who may have one, and what each event of its client does."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket

from voiceagent.twin.configs import Admits, Kind, Rejected, SessionConfig
from voiceagent.twin.errors import error_body, identifier
from voiceagent.twin.items import Conversation, audio_of, parsed
from voiceagent.twin.ports import Engines
from voiceagent.twin.replying import Response, Responses
from voiceagent.twin.transcribing import GOES_ON_S, Hearing
from voiceagent.twin.wire import CLOSE_TIMEOUT_S, Wire, parse

__all__ = ["GOES_ON_S", "SESSION_S", "RealtimeSession", "serve"]

SESSION_S = 3600.0


async def serve(
    websocket: WebSocket, engines: Engines, secret: Mapping[str, Any] | None = None, admits: Admits = lambda *_: None
) -> None:
    """Serve an accepted WebSocket. `secret`: the session settings that its ephemeral key was made for."""
    query, secret = websocket.query_params, secret or {}
    transcribes = query.get("intent") == "transcription" or secret.get("type") == "transcription"
    kind: Kind = "transcription" if transcribes else "realtime"
    model = secret.get("model") or query.get("model")
    if "openai-beta" in websocket.headers:
        text = "The beta shape of the Realtime API is no longer supported."
        await _refuse(websocket, text, "beta_api_shape_disabled")
    elif kind == "realtime" and not model:
        await _refuse(websocket, "You must provide a model parameter.", "missing_model")
    else:
        config = SessionConfig(kind, model, admits)
        if secret.get("type") == kind:
            with suppress(Rejected):  # it was checked when the key was made
                config.update(secret)
        await RealtimeSession(websocket, engines, config).run()


async def _refuse(websocket: WebSocket, message: str, code: str) -> None:
    error = error_body(message, kind="invalid_request_error", code=code)["error"]
    event = {"type": "error", "event_id": identifier("event"), "error": {**error, "event_id": None}}
    with suppress(RuntimeError, OSError):
        await websocket.send_text(json.dumps(event))
        await websocket.close(4000, f"invalid_request_error.{code}")


class RealtimeSession:
    """One session on an accepted WebSocket."""

    def __init__(
        self, websocket: WebSocket, engines: Engines, config: SessionConfig, session_s: float | None = None
    ) -> None:
        self._session_s = SESSION_S if session_s is None else session_s
        self._id = identifier("sess")
        self._expires_at = int(time.time() + self._session_s)
        self._config = config
        self._wire = Wire(websocket)
        self._conversation = Conversation(self._wire)
        self._responses = Responses(self._wire, self._conversation, engines, config, self._answered)
        self._hearing = Hearing(
            self._wire, self._conversation, engines, config,
            connection=self._id, on_speech=self._interrupt, on_turn=self._answer,
        )  # fmt: skip

    async def run(self) -> None:
        """Serve until either side closes, or the session is too old; then nothing of it is left."""
        self._wire.send({"type": "session.created", "session": self._session})
        if self._config.kind == "realtime":
            shape = {"id": self._conversation.id, "object": "realtime.conversation"}
            self._wire.send({"type": "conversation.created", "conversation": shape})
        writer = asyncio.create_task(self._wire.write(), name="realtime writer")
        reader = asyncio.create_task(self._read(), name="realtime reader")
        choked = asyncio.create_task(self._wire.overflowed.wait())
        tasks = (writer, reader, choked)
        try:
            done, _ = await asyncio.wait(tasks, timeout=self._session_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                await self._expire(reader, writer)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._responses.aclose()
            await self._hearing.aclose()
        if not reader.cancelled():
            reader.result()  # what nobody expected is the server's to log

    async def _expire(self, reader: asyncio.Task[None], writer: asyncio.Task[None]) -> None:
        reader.cancel()
        await self._responses.aclose()
        minutes = f"{self._session_s / 60:g}"
        text = f"Your session hit the maximum duration of {minutes} minutes."
        self._wire.refuse(Rejected(text, code="session_expired"))
        self._wire.close(1001)
        await asyncio.wait({writer}, timeout=CLOSE_TIMEOUT_S)

    @property
    def _session(self) -> dict[str, Any]:
        return {"id": self._id, **self._config.shape(), "expires_at": self._expires_at}

    # ------------------------------------------------------------------------------ the client's events
    async def _read(self) -> None:
        while (message := await self._wire.receive())["type"] != "websocket.disconnect":
            event: Any = None
            try:
                event = parse(message)
                await self._take(event)
            except Rejected as rejected:
                self._wire.refuse(rejected, event.get("event_id") if event is not None else None)
            except RecursionError:
                self._wire.refuse(Rejected("The event is nested too deeply.", code="invalid_event"))

    async def _take(self, event: dict[str, Any]) -> None:
        if event["type"] == "input_audio_buffer.append":
            await self._hearing.append(event)
            return
        acts: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "session.update": self._update,
            "input_audio_buffer.commit": self._hearing.commit,
            "input_audio_buffer.clear": self._hearing.clear,
            "conversation.item.create": self._create_item,
            "conversation.item.retrieve": self._conversation.retrieve,
            "conversation.item.delete": self._conversation.delete,
            "conversation.item.truncate": self._conversation.truncate,
        }
        if self._config.kind == "realtime":
            acts |= {"response.create": self._create_response, "response.cancel": self._responses.cancel}
        act = acts.get(event["type"])
        if act is None:
            raise Rejected(f"Invalid value: '{event['type'][:80]}'.", param="type")
        act(event)

    def _update(self, event: Mapping[str, Any]) -> None:
        session = event.get("session")
        if not isinstance(session, dict):
            raise Rejected("Missing required parameter: 'session'.", code="missing_required_parameter", param="session")
        self._config.update(session, voice_locked=self._responses.voice_locked)
        self._hearing.configure()
        self._wire.send({"type": "session.updated", "session": self._session})

    def _create_item(self, event: Mapping[str, Any]) -> None:
        raw, after = event.get("item"), event.get("previous_item_id")
        item = parsed(raw)
        pcm = audio_of(raw or {})
        self._conversation.append(item, after if after is None else str(after))
        if item.has_words_to_come:
            self._hearing.transcribe(item, pcm)

    # ------------------------------------------------------------------------------ responses
    def _create_response(self, event: Mapping[str, Any]) -> None:
        order = self._responses.ask(event.get("response"))
        for item, pcm in order.given:
            self._hearing.transcribe(item, pcm)
        if order.in_band:
            self._hearing.wait_for_speech_after(None)
        self._responses.begin(order)

    def _interrupt(self) -> None:
        if (self._config.turn_detection or {}).get("interrupt_response") is not False:
            self._responses.interrupt()

    def _answer(self) -> None:
        wanted = (self._config.turn_detection or {}).get("create_response") is not False
        if self._config.kind == "realtime" and wanted:
            self._create_response({})

    def _answered(self, response: Response) -> None:
        """What was said is still being played; then silence may last too long."""
        self._hearing.wait_for_speech_after(response.samples)
