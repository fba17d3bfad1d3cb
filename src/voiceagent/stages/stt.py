"""Speech to text over a Realtime transcription session: our commits, results matched by item, nothing said is lost.

An item's audio is kept until its final transcript is there. The sender walks over the items and sends what the present
connection has not had yet; so a new connection needs no replay of its own: everything unfinished counts as unsent.
"""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from voiceagent.events import FinalTranscript, PartialTranscript, SttConnected, SttFailed
from voiceagent.settings import Settings
from voiceagent.stages.clients import Clients
from voiceagent.stages.codes import Verdict, verdict
from voiceagent.stages.ports import StageError, Transcribed
from voiceagent.stages.realtime import RealtimeSocket, realtime_session, session_error

RATE_HZ = 24_000
CHUNK_BYTES = RATE_HZ * 2 // 5  # 200 ms a message when there is a backlog
MIN_COMMIT_BYTES = RATE_HZ * 2 * 120 // 1000  # the service refuses to commit less than 100 ms
MAX_ITEMS = 16
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.1, 5.0

QUERY = {"intent": "transcription"}


@dataclass(slots=True, eq=False)
class _Piece:
    """One item of the user's audio on its way."""

    key: int
    audio: bytearray = field(default_factory=bytearray)
    committed: bool = False
    # what the present connection knows of it
    sent: int = 0
    asked: bool = False  # its commit was sent
    item_id: str | None = None
    words: str = ""


class RealtimeTranscriber:
    """`SpeechToText` over ``/realtime?intent=transcription``; `post` takes the transcripts, and never blocks."""

    def __init__(self, clients: Clients, settings: Settings, post: Callable[[Transcribed], None]) -> None:
        self._clients = clients
        self._settings = settings
        self._post = post
        self._pieces: list[_Piece] = []  # unfinished, in the order they were spoken
        self._open: _Piece | None = None
        self._early: dict[str, dict[str, Any]] = {}  # results that came before it was known whose they are
        self._work = asyncio.Event()
        self._backoff_s = FIRST_BACKOFF_S
        self._dead: StageError | None = None

    # ------------------------------------------------------------------------------ the port
    def open(self, item: int) -> None:
        """Begin an item."""
        self._open = _Piece(item)
        self._pieces.append(self._open)
        if len(self._pieces) > MAX_ITEMS:
            self._fail(self._pieces[0], "overrun", "Speech to text does not keep up.")

    def append(self, pcm: bytes) -> None:
        """Add audio to the open item."""
        if self._open is not None:
            self._open.audio += pcm
            self._work.set()

    def commit(self, item: int) -> None:
        """End the open item."""
        piece = self._open
        if piece is None or piece.key != item:
            return
        self._open = None
        piece.committed = True
        if not piece.audio:
            self._finish(piece, "")
        elif len(piece.audio) < MIN_COMMIT_BYTES:
            piece.audio += bytes(MIN_COMMIT_BYTES - len(piece.audio))
        self._work.set()
        if self._dead is not None:
            self._fail(piece, self._dead.code, self._dead.message)

    async def run(self) -> None:
        """Keep a connection, and open another when it is lost, until cancelled or refused for good."""
        while True:
            try:
                async with realtime_session(
                    self._clients, "stt", _session(self._settings), query=QUERY
                ) as socket, asyncio.TaskGroup() as group:  # fmt: skip
                    self._post(SttConnected(socket.acquire_us))
                    group.create_task(self._send_audio(socket))
                    group.create_task(self._receive(socket))
            except Exception as error:  # noqa: BLE001 - whatever ends a connection is explained, and told
                failure = self._clients.explain("stt", _only(error))
            if self._backoff_s == FIRST_BACKOFF_S:  # say it once, not at every try
                self._post(SttFailed(0, failure.code, failure.message))
            self._forget_connection()
            if verdict(failure.code) is Verdict.FATAL or not failure.retryable:
                self._give_up(failure)
                return
            await asyncio.sleep(self._backoff_s)
            self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)

    # ------------------------------------------------------------------------------ one connection
    async def _send_audio(self, socket: RealtimeSocket) -> None:
        timeout_s = self._settings.stt_timeout_s
        self._work.set()
        while True:
            await self._work.wait()
            self._work.clear()
            for piece in list(self._pieces):
                while piece.sent < len(piece.audio):
                    chunk = bytes(piece.audio[piece.sent : piece.sent + CHUNK_BYTES])
                    piece.sent += len(chunk)
                    # Plain text: the SDK's typed append costs fourteen times as much, fifty times a second.
                    audio = base64.b64encode(chunk).decode("ascii")
                    async with asyncio.timeout(timeout_s):
                        await socket.send(f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}')
                if not piece.committed:
                    break  # the service has one buffer: what follows waits for this piece's commit
                if not piece.asked:
                    piece.asked = True
                    async with asyncio.timeout(timeout_s):
                        await socket.send(f'{{"type":"input_audio_buffer.commit","event_id":"commit_{piece.key}"}}')

    async def _receive(self, socket: RealtimeSocket) -> None:
        while True:
            event = await socket.receive()
            match event.get("type", ""):
                case "input_audio_buffer.committed":
                    self._bind(event["item_id"])
                case "conversation.item.input_audio_transcription.delta":
                    self._delta(event)
                case (
                    "conversation.item.input_audio_transcription.completed"
                    | "conversation.item.input_audio_transcription.failed"
                ):
                    self._result(event)
                case "error":
                    self._error(event["error"])

    # ------------------------------------------------------------------------------ whose is it
    def _piece(self, item_id: str) -> _Piece | None:
        """The piece the service speaks of; where only one can be meant, that one."""
        for piece in self._pieces:
            if piece.item_id == item_id:
                return piece
        nameless = [piece for piece in self._pieces if piece.item_id is None and piece.sent]
        if len(nameless) == 1:
            nameless[0].item_id = item_id
            return nameless[0]
        return None

    def _bind(self, item_id: str) -> None:
        """The service confirms commits in the order in which it got them."""
        for piece in self._pieces:
            if piece.item_id == item_id or (piece.item_id is None and piece.asked):
                piece.item_id = item_id
                break
        early = self._early.pop(item_id, None)
        if early is not None:
            self._result(early)

    def _delta(self, event: dict[str, Any]) -> None:
        piece = self._piece(event["item_id"])
        if piece is not None:
            piece.words += event.get("delta") or ""
            self._post(PartialTranscript(piece.key, piece.words))

    def _result(self, event: dict[str, Any]) -> None:
        piece = self._piece(event["item_id"])
        if piece is None:
            if len(self._early) < MAX_ITEMS:
                self._early[event["item_id"]] = event
        elif event["type"].endswith(".completed"):
            self._finish(piece, event.get("transcript") or "")
        else:
            error = event.get("error") or {}
            self._fail(piece, error.get("code") or "failed", "Speech to text could not read what was said.")

    def _error(self, error: dict[str, Any]) -> None:
        code = error.get("code") or ""
        asked = str(error.get("event_id") or "")
        for piece in self._pieces:
            if asked == f"commit_{piece.key}":
                if code == "input_audio_buffer_commit_empty":
                    self._finish(piece, "")  # there was nothing in it, and that is an answer
                else:
                    self._fail(piece, code or "error", "Speech to text refused what was said.")
                return
        if verdict(code) is Verdict.FATAL or code == "session_expired":
            raise session_error("stt", self._clients.endpoints["stt"].host, error, self._settings.stt_model)

    # ------------------------------------------------------------------------------ ends
    def _finish(self, piece: _Piece, words: str) -> None:
        if piece in self._pieces:
            self._pieces.remove(piece)
            self._backoff_s = FIRST_BACKOFF_S
            self._post(FinalTranscript(piece.key, words.strip()))

    def _fail(self, piece: _Piece, code: str, message: str) -> None:
        if piece in self._pieces:
            self._pieces.remove(piece)
            self._post(SttFailed(piece.key, code, message))

    def _give_up(self, failure: StageError) -> None:
        self._dead = failure
        for piece in list(self._pieces):
            if piece.committed:
                self._fail(piece, failure.code, failure.message)

    def _forget_connection(self) -> None:
        self._early.clear()
        for piece in self._pieces:
            piece.sent, piece.asked, piece.item_id, piece.words = 0, False, None, ""


def _session(settings: Settings) -> dict[str, Any]:
    transcription: dict[str, Any] = {"model": settings.stt_model}
    if settings.stt_language:
        live = settings.stt_model in {"gpt-live-transcribe", "gpt-transcribe"}
        transcription |= {"languages": [settings.stt_language]} if live else {"language": settings.stt_language}
    audio_input = {
        "format": {"type": "audio/pcm", "rate": RATE_HZ},
        "transcription": transcription,
        "turn_detection": None,
    }
    return {"type": "transcription", "audio": {"input": audio_input}}


def _only(error: BaseException) -> BaseException:
    """The exception itself, out of the groups that task groups wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
