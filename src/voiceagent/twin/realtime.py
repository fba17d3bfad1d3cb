"""Realtime transcription sessions in GA shape: one WebSocket, the client's commits, items in a chain."""

import asyncio
import base64
import binascii
import copy
import json
import time
from dataclasses import dataclass, field
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from voiceagent.twin.errors import error_body, identifier
from voiceagent.twin.ports import ConnectionDropped, EngineError, Engines, Transcription

RATE_HZ = 24_000
MIN_COMMIT_BYTES = RATE_HZ * 2 // 10
MAX_APPEND_CHARS = 15 * 1024 * 1024
MAX_BUFFER_BYTES = RATE_HZ * 2 * 600
MAX_ITEMS = 1_000
GOES_ON_S = 2.5  # what is said so soon after a commit may be the rest of the sentence
SESSION_S = 3600
NO_SERVER_VAD = ("gpt-live-transcribe", "gpt-realtime-whisper")
STREAMING = NO_SERVER_VAD
"""Models that send words while one speaks; the others send them after the commit."""


class Rejected(Exception):  # noqa: N818 - an answer
    """A client event that is answered with an error event; the session goes on."""

    def __init__(self, message: str, *, code: str | None = "invalid_value", param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


@dataclass(slots=True, eq=False)
class _Item:
    """One piece of audio: the buffer that is being filled, or one that was committed."""

    item_id: str
    transcription: Transcription | None  # until it is done: it holds all the audio
    bytes: int = 0
    words: str = ""
    previous: str | None = None
    transcript: str | None = None
    told: list[str] = field(default_factory=list)


class TranscriptionSession:
    """Serves one accepted WebSocket until it closes."""

    def __init__(self, websocket: WebSocket, engines: Engines, model: str | None) -> None:
        self._websocket = websocket
        self._engines = engines
        self._id = identifier("sess")
        self._expires_at = int(time.time()) + SESSION_S
        transcription = {"model": model} if model else None
        self._config: dict[str, Any] = {
            "format": {"type": "audio/pcm", "rate": RATE_HZ},
            "transcription": transcription,
            "noise_reduction": None,
            "turn_detection": None,
        }
        self._include: Any = None
        self._buffer: _Item | None = None
        self._items: dict[str, _Item] = {}
        self._last: str | None = None
        self._before: tuple[float, Transcription] | None = None  # the last commit: when, and of what
        self._out: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(maxsize=1_000)
        self._finals: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve; when it returns nothing of the session is left."""
        self._send({"type": "session.created", "session": self._session})
        sender = asyncio.create_task(self._sender())
        try:
            await self._receive()
        finally:
            for task in (sender, *self._finals):
                task.cancel()
            await asyncio.gather(sender, *self._finals, return_exceptions=True)
            for item in (self._buffer, *self._items.values()):
                if item is not None and item.transcription is not None:
                    item.transcription.cancel()

    # ------------------------------------------------------------------------------ the wire
    def _send(self, event: dict[str, Any]) -> None:
        try:
            self._out.put_nowait({"event_id": identifier("event"), **event})
        except asyncio.QueueFull:
            raise WebSocketDisconnect(1008, "the client does not read") from None

    async def _sender(self) -> None:
        try:
            while (event := await self._out.get()) is not None:
                await self._websocket.send_text(json.dumps(event))
            await self._websocket.close(1011)
        except (WebSocketDisconnect, RuntimeError, OSError):
            return  # the reader learns of it as well

    async def _receive(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            event: Any = None
            try:
                event = self._parse(message)
                self._take(event)
            except Rejected as rejected:
                echo = event.get("event_id") if isinstance(event, dict) else None
                body = error_body(str(rejected), kind="invalid_request_error", code=rejected.code, param=rejected.param)
                self._send({"type": "error", "error": {**body["error"], "event_id": echo}})
            except WebSocketDisconnect:
                return

    def _parse(self, message: Any) -> dict[str, Any]:
        text = message.get("text")
        if text is None:
            raise Rejected("Binary messages are not supported.", code="invalid_event")
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            raise Rejected("The message is not valid JSON.", code="invalid_json") from None
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            raise Rejected("Missing required parameter: 'type'.", code="missing_required_parameter", param="type")
        return event

    def _take(self, event: dict[str, Any]) -> None:
        acts = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.retrieve": self._retrieve,
            "conversation.item.delete": self._delete,
        }
        act = acts.get(event["type"])
        if act is None:
            raise Rejected(f"Invalid value: '{event['type'][:80]}'.", param="type")
        act(event)

    # ------------------------------------------------------------------------------ the session
    @property
    def _session(self) -> dict[str, Any]:
        return {
            "id": self._id, "object": "realtime.transcription_session", "type": "transcription",
            "expires_at": self._expires_at, "audio": {"input": self._config}, "include": self._include,
        }  # fmt: skip

    @property
    def _model(self) -> str:
        return str((self._config.get("transcription") or {}).get("model", ""))

    def _update(self, event: dict[str, Any]) -> None:
        session = event.get("session")
        if not isinstance(session, dict):
            raise Rejected("Missing required parameter: 'session'.", code="missing_required_parameter", param="session")
        if session.get("type", "transcription") != "transcription":
            text = "Passing a realtime session update event to a transcription session is not allowed."
            raise Rejected(text, param="session.type")
        changes = (session.get("audio") or {}).get("input") or {}
        merged = _merge(self._config, changes)
        rate = (merged.get("format") or {}).get("rate", RATE_HZ)
        if (merged.get("format") or {}).get("type") != "audio/pcm" or rate != RATE_HZ:
            text = "Only audio/pcm at 24000 Hz is supported here."
            raise Rejected(text, param="session.audio.input.format")
        transcription = merged.get("transcription") or {}
        if "language" in transcription and "languages" in transcription:
            text = "Only one of 'language' and 'languages' may be set."
            raise Rejected(text, param="session.audio.input.transcription.languages")
        if merged.get("turn_detection") is not None:
            # The service refuses it for the streaming models; here there is none for the others either.
            text = "Turn detection is not supported for this transcription model."
            raise Rejected(text, param="session.audio.input.turn_detection")
        self._config = merged
        self._include = session.get("include", self._include)
        self._send({"type": "session.updated", "session": self._session})

    # ------------------------------------------------------------------------------ audio
    def _open(self) -> _Item:
        if self._buffer is None:
            item_id = identifier("item")
            after = None
            if self._before is not None and asyncio.get_running_loop().time() - self._before[0] < GOES_ON_S:
                after = self._before[1]
            self._before = None
            engine = self._engines.transcribe(lambda words: self._partial(item_id, words), self._id, after)
            self._buffer = _Item(item_id, engine)
        return self._buffer

    def _append(self, event: dict[str, Any]) -> None:
        audio = event.get("audio")
        if not isinstance(audio, str) or len(audio) > MAX_APPEND_CHARS:
            raise Rejected("Invalid 'audio': expected base64 of at most 15 MiB.", param="audio")
        try:
            pcm = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError):
            raise Rejected("Invalid 'audio': expected base64-encoded audio bytes.", param="audio") from None
        item = self._open()
        if item.bytes + len(pcm) > MAX_BUFFER_BYTES:
            raise Rejected("The input audio buffer is full.", code="input_audio_buffer_full", param="audio")
        item.bytes += len(pcm)
        if self._model and item.transcription is not None:  # without a model nobody asked for a transcript
            item.transcription.append(pcm[: len(pcm) // 2 * 2])

    def _clear(self, event: dict[str, Any]) -> None:
        del event
        if self._buffer is not None and self._buffer.transcription is not None:
            self._buffer.transcription.cancel()
        self._buffer = None
        self._send({"type": "input_audio_buffer.cleared"})

    def _commit(self, event: dict[str, Any]) -> None:
        del event
        item = self._buffer
        if item is None or item.bytes < MIN_COMMIT_BYTES:
            has_ms = 0.0 if item is None else item.bytes / RATE_HZ / 2 * 1000
            text = (
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
                f"but buffer only has {has_ms:.2f}ms of audio."
            )
            raise Rejected(text, code="input_audio_buffer_commit_empty")
        self._buffer = None
        item.previous, self._last = self._last, item.item_id
        self._items[item.item_id] = item
        if len(self._items) > MAX_ITEMS:
            del self._items[next(iter(self._items))]
        chain = {"item_id": item.item_id, "previous_item_id": item.previous}
        self._send({"type": "input_audio_buffer.committed", **chain})
        for kind in ("added", "done"):
            self._send({
                "type": f"conversation.item.{kind}", "previous_item_id": item.previous, "item": _shape(item),
            })  # fmt: skip
        transcription, item.transcription = item.transcription, None
        if self._model and transcription is not None:
            self._before = (asyncio.get_running_loop().time(), transcription)
            task = asyncio.create_task(self._finish(item, transcription))
            self._finals.add(task)
            task.add_done_callback(self._finals.discard)

    # ------------------------------------------------------------------------------ words
    def _partial(self, item_id: str, words: str) -> None:
        """Send what is new of an utterance's words; a word once sent is never taken back."""
        item = self._items.get(item_id) or self._buffer
        if item is None or item.item_id != item_id or item.transcript is not None or self._model not in STREAMING:
            return
        if words.startswith(item.words) and len(words) > len(item.words):
            delta, item.words = words[len(item.words) :], words
            self._delta(item, delta)

    def _delta(self, item: _Item, delta: str) -> None:
        self._send({
            "type": "conversation.item.input_audio_transcription.delta",
            "item_id": item.item_id, "content_index": 0, "delta": delta,
        })  # fmt: skip

    async def _finish(self, item: _Item, transcription: Transcription) -> None:
        base = {"item_id": item.item_id, "content_index": 0}
        try:
            words = await transcription.final()
        except EngineError as error:
            item.transcript = ""
            failure = {"type": "server_error", "code": error.code, "message": error.message, "param": None}
            self._send({"type": "conversation.item.input_audio_transcription.failed", **base, "error": failure})
            return
        except ConnectionDropped:
            await self._out.put(None)
            return
        if words.startswith(item.words) and len(words) > len(item.words):
            self._delta(item, words[len(item.words) :])
        item.transcript = words
        usage: dict[str, Any] = {"type": "duration", "seconds": round(item.bytes / RATE_HZ / 2, 3)}
        if self._model not in STREAMING:
            tokens = max(1, item.bytes // (RATE_HZ * 2 // 10))
            output = len(words.split())
            usage = {
                "type": "tokens", "input_tokens": tokens, "output_tokens": output, "total_tokens": tokens + output,
                "input_token_details": {"audio_tokens": tokens, "text_tokens": 0},
            }  # fmt: skip
        self._send({
            "type": "conversation.item.input_audio_transcription.completed", **base, "transcript": words,
            "usage": usage,
        })  # fmt: skip

    # ------------------------------------------------------------------------------ items
    def _known(self, event: dict[str, Any]) -> _Item:
        item = self._items.get(str(event.get("item_id")))
        if item is None:
            raise Rejected("No item with that id.", code="item_not_found", param="item_id")
        return item

    def _retrieve(self, event: dict[str, Any]) -> None:
        self._send({"type": "conversation.item.retrieved", "item": _shape(self._known(event))})

    def _delete(self, event: dict[str, Any]) -> None:
        item = self._known(event)
        del self._items[item.item_id]
        self._send({"type": "conversation.item.deleted", "item_id": item.item_id})


def _shape(item: _Item) -> dict[str, Any]:
    return {
        "id": item.item_id, "object": "realtime.item", "type": "message", "status": "completed", "role": "user",
        "content": [{"type": "input_audio", "transcript": item.transcript}],
    }  # fmt: skip


def _merge(old: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Deep and sparse: what is omitted stays, an explicit null clears."""
    merged = copy.deepcopy(old)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged
