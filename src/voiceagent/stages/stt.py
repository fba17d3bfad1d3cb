"""Speech to text over a Realtime transcription session: our commits, results matched by item, nothing said is lost.

An item's audio is kept until its final transcript is there. The sender walks over the items and sends what the present
connection has not had yet; so a new connection needs no replay of its own: everything unfinished counts as unsent.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, NoReturn

from voiceagent.events import SttConnected, SttFailed
from voiceagent.models import capabilities
from voiceagent.settings import Settings
from voiceagent.stages.clients import NAMES, Clients
from voiceagent.stages.codes import ACCOUNT, CODES, Verdict, code_of, verdict
from voiceagent.stages.pieces import CHUNK_BYTES, Piece, Pieces
from voiceagent.stages.ports import StageError
from voiceagent.stages.realtime import RealtimeSocket, append_event, append_refused, realtime_session, session_error
from voiceagent.stages.transcription import transcription_session

QUERY = {"intent": "transcription"}
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.1, 5.0
WORTH_TELLING = 3  # failures in a row while nobody waits
STAYS_OPEN = frozenset({"rate_limit_exceeded"})
"""Retryable, but of one request: another connection would do no better."""


class _Renewed(Exception):  # noqa: N818 - nothing went wrong
    """The session is old and nobody speaks: the next one is open already."""


class _Line:
    """One confirmed session, from its opening to its closing."""

    def __init__(self, stack: AsyncExitStack, socket: RealtimeSocket, opened_s: float) -> None:
        self.aclose = stack.aclose
        self.socket = socket
        self.opened_s = opened_s


class RealtimeTranscriber:
    """Moves `pieces` over ``/realtime?intent=transcription``.

    `refused` hears of a failure that would end it for good, and may take the pieces over by returning True.
    """

    def __init__(
        self, clients: Clients, settings: Settings, pieces: Pieces,
        refused: Callable[[StageError], bool] = lambda _: False,
    ) -> None:  # fmt: skip
        self._clients = clients
        self._settings = settings
        self._pieces = pieces
        self._refused = refused
        self._host = clients.endpoints["stt"].host
        self._patience_s = settings.stt_timeout_s / 2  # so that another connection can still be in time
        own = clients.endpoints["stt"].azure_version is None and not capabilities(settings.stt_model, "stt").known
        # A server of one's own that has taken a commit may be slow: asked again, it would begin anew.
        self._patience_at_work_s = settings.stt_timeout_s if own else self._patience_s
        self._next: _Line | None = None  # opened in place of one that is old
        self._connected = False  # once at least
        self._failures = 0  # since something went well
        self._told = False
        self._backoff_s = FIRST_BACKOFF_S

    # ------------------------------------------------------------------------------ connections
    async def run(self) -> None:
        """Keep a connection, and open another when it is lost or old, until cancelled or refused for good."""
        try:
            while (failure := await self._one_connection()) is None or await self._goes_on(failure):
                pass
        finally:
            if self._next is not None:
                await self._next.aclose()

    async def _one_connection(self) -> StageError | None:
        """Use one connection to its end. Returns why it was lost; None if it was renewed."""
        line, self._next = self._next, None
        finished = self._pieces.finished
        try:
            if line is None:
                line = await self._open()
            await self._converse(line)
        except* _Renewed:
            failure = None
        except* Exception as error:  # noqa: BLE001 - whatever ends a connection is explained, and told
            failure = self._clients.explain("stt", error)
        finally:
            if line is not None:
                await line.aclose()
        if self._pieces.finished > finished or (line is not None and self._now() - line.opened_s > LONGEST_BACKOFF_S):
            self._failures, self._told, self._backoff_s = 0, False, FIRST_BACKOFF_S
        return failure

    async def _open(self) -> _Line:
        stack = AsyncExitStack()
        session = realtime_session(self._clients, "stt", transcription_session(self._settings), query=QUERY)
        socket = await stack.enter_async_context(session)
        self._connected = True
        self._pieces.post(SttConnected(socket.acquire_us))
        return _Line(stack, socket, self._now())

    async def _goes_on(self, failure: StageError) -> bool:
        """Say what has failed, once and if it matters to anybody, and wait before the next try; False: there is none."""
        fatal = verdict(failure.code) is Verdict.FATAL or not failure.retryable
        if fatal and self._refused(failure):
            self._pieces.forget_connection()
            return False
        self._failures += 1
        matters = bool(self._pieces.all) or not self._connected or self._failures >= WORTH_TELLING
        if (matters or fatal) and not self._told:
            self._told = True
            self._pieces.post(SttFailed(0, failure.code, failure.message))
        self._pieces.forget_connection(failure)
        if fatal:
            self._pieces.give_up(failure)
            return False
        await asyncio.sleep(max(self._backoff_s, min(failure.retry_after_s or 0, LONGEST_BACKOFF_S)))
        self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)
        return True

    async def _converse(self, line: _Line) -> None:
        self._pieces.forget_connection()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send(line.socket))
            group.create_task(self._receive(line.socket))
            group.create_task(self._renew(line.opened_s + self._settings.stt_session_s))

    async def _renew(self, due_s: float) -> NoReturn:
        """Once the session is old and nobody speaks, open another; once nobody speaks then either, change over."""
        await asyncio.sleep(due_s - self._now())
        while self._next is None:
            await self._pieces.idle.wait()
            try:
                self._next = await self._open()
            except Exception:  # noqa: BLE001 - the old one still works; when it does not, it is told
                await asyncio.sleep(LONGEST_BACKOFF_S)
        await self._pieces.idle.wait()
        raise _Renewed

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # ------------------------------------------------------------------------------ what goes out
    async def _send(self, socket: RealtimeSocket) -> NoReturn:
        while True:
            self._pieces.work.clear()
            await self._send_all(socket)
            try:
                async with asyncio.timeout_at(self._due_s()):
                    await self._pieces.work.wait()
            except TimeoutError:
                self._look_at_the_time()

    async def _send_all(self, socket: RealtimeSocket) -> None:
        for piece in self._pieces.all:
            while piece.sent < len(piece.audio):
                chunk = bytes(piece.audio[piece.sent : piece.sent + CHUNK_BYTES])
                piece.sent += len(chunk)
                async with asyncio.timeout(self._patience_s):
                    await socket.send(append_event(piece.key, chunk))
            if not piece.committed:
                break  # the service has one buffer: what follows waits for this piece's commit
            if not piece.asked:
                piece.asked, piece.news_s = True, self._now()
                async with asyncio.timeout(self._patience_s):
                    await socket.send(f'{{"type":"input_audio_buffer.commit","event_id":"commit_{piece.key}"}}')

    def _due_s(self) -> float | None:
        """When the first of the committed pieces has waited too long."""
        return min((self._late_from_s(piece) for piece in self._pieces.all if piece.asked), default=None)

    def _late_from_s(self, piece: Piece) -> float:
        return piece.news_s + (self._patience_at_work_s if piece.answered else self._patience_s)

    def _look_at_the_time(self) -> None:
        """Give up a session that owes an answer and has fallen silent."""
        now_s = self._now()
        late = [piece for piece in self._pieces.all if piece.asked and now_s >= self._late_from_s(piece)]
        if any([self._pieces.overdue(piece) for piece in late]):  # noqa: C419 - each is looked at
            sentence = f"{NAMES['stt']} at {self._host} did not answer in time."
            raise StageError("stt", "timeout", sentence, retryable=True)

    # ------------------------------------------------------------------------------ what comes in
    async def _receive(self, socket: RealtimeSocket) -> NoReturn:
        while True:
            event = await socket.receive()
            kind = str(event.get("type", ""))
            if kind == "error":
                self._error(event.get("error") or {})
            elif kind.startswith("input_audio_buffer."):
                self._buffer(kind.partition(".")[2], event)
            elif kind.startswith("conversation.item.input_audio_transcription."):
                self._words(kind.rpartition(".")[2], event)

    def _buffer(self, kind: str, event: Mapping[str, Any]) -> None:
        if kind == "committed":
            self._pieces.taken(str(event["item_id"]), event.get("previous_item_id"), self._now())
        elif kind == "speech_started":
            self._pieces.speech(str(event["item_id"]))
        elif kind == "speech_stopped":
            self._pieces.cut(str(event["item_id"]))

    def _words(self, kind: str, event: Mapping[str, Any]) -> None:
        item_id = str(event["item_id"])
        if kind == "delta":
            self._pieces.words(item_id, str(event.get("delta") or ""), self._now())
        elif kind == "completed":
            self._pieces.over(item_id, str(event.get("transcript") or ""), "", self._now())
        elif kind == "failed":
            self._pieces.over(item_id, None, code_of((event.get("error") or {}).get("code")), self._now())

    def _error(self, error: Mapping[str, Any]) -> None:
        """Take in an error: of a commit, of the session, or of something that does not matter so much."""
        code, asked = code_of(error.get("code")), str(error.get("event_id") or "")
        piece = next((piece for piece in self._pieces.all if asked == f"commit_{piece.key}"), None)
        meaning = CODES.get(code)
        if code in ACCOUNT or (meaning is Verdict.RETRY and code not in STAYS_OPEN):
            raise session_error("stt", self._host, error, self._settings.stt_model)
        if asked in {f"append_{piece.key}" for piece in self._pieces.all}:
            raise append_refused("stt", self._host, error)
        if piece is not None:
            self._refused_commit(piece, code)

    def _refused_commit(self, piece: Piece, code: str) -> None:
        if verdict(code) is Verdict.BENIGN:
            self._pieces.nothing_in(piece)
        elif not piece.answered:
            self._pieces.fail(piece, code or "error", "Speech to text refused what was said.")
