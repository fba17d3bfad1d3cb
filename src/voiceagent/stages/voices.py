"""Realtime sessions that read aloud, shared by all conversations of the process: opened ahead, kept, renewed, reopened."""

import asyncio
import contextvars
import itertools
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from voiceagent.settings import Settings
from voiceagent.stages.clients import NAMES, Clients
from voiceagent.stages.codes import Verdict, code_of, verdict
from voiceagent.stages.explaining import only
from voiceagent.stages.ports import Acquired, StageError
from voiceagent.stages.reading import Reading, response_create, session_config
from voiceagent.stages.realtime import RealtimeSocket, realtime_session, session_error

MAX_SESSIONS = 8
PARALLEL = 2
"""Phrases that a session reads at once before another session is opened."""
ONE_AT_A_TIME = "conversation_already_has_active_response"
"""The code of a server that reads one phrase at a time on a session."""
MAX_WAITING = 256
"""Events that may wait to be sent on one socket."""
MAX_LEFT = 64
SILENT_S = 2.0
"""A socket that has brought nothing at all for so long is taken for dead once the phrase that waits for it is given up."""


class _Renewed(Exception):  # noqa: N818 - nothing went wrong
    """The session is old and reads nothing."""


@dataclass(slots=True)
class Limits:
    """What all sessions have learnt of their server."""

    parallel: int = PARALLEL


class VoiceSession:
    """One session, from its opening to its end. Its task is its own; `ended` is called when there is no more of it."""

    def __init__(
        self, clients: Clients, settings: Settings, limits: Limits, ended: Callable[["VoiceSession"], None]
    ) -> None:
        self._clients = clients
        self._settings = settings
        self._limits = limits
        self._ended = ended
        self._readings: dict[str, Reading] = {}  # asked for and not done, by key
        self._by_response: dict[str, Reading] = {}
        self._waiting: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue(maxsize=MAX_WAITING)
        self._clock = asyncio.get_running_loop().time
        self._heard_s = 0.0  # when the last event came
        self._failure: StageError | None = None
        self.settled = asyncio.Event()  # it is open, or it could not be opened
        self.open = False
        self.old = False  # it takes no more phrases
        self.used = False
        self.renewed = False  # it ended of age, and somebody may miss it
        # Without the context of the conversation that happens to need it first: its log lines are not its.
        self.task = asyncio.create_task(self._run(), name="voice session", context=contextvars.Context())

    @property
    def load(self) -> int:
        """The phrases that it reads, or will."""
        return sum(reading.wanted for reading in self._readings.values())

    # ------------------------------------------------------------------------------ asking
    def reserve(self, reading: Reading) -> None:
        """Count a phrase before the session is open."""
        self.used = True
        self._readings[reading.key] = reading

    async def ask(self, reading: Reading) -> None:
        """Ask for a reserved phrase once the session is open. Raises `StageError` if it does not open."""
        began_s = self._clock()
        if not self.open:
            await self.settled.wait()  # bounded by the connection's own deadlines
            reading.acquired = Acquired(round((self._clock() - began_s) * 1e6), reused=False)
        if not self.open:
            raise self._failure or self._lost()
        reading.asked_s = self._clock()
        self._send(response_create(reading, self._settings))

    def leave(self, reading: Reading) -> None:
        """Nobody wants the phrase any more: it is cancelled, as soon as it is known by which id."""
        if reading.over:
            self._readings.pop(reading.key, None)
            return
        reading.left = True
        if not reading.asked_s:
            self._readings.pop(reading.key, None)
        elif self._clock() - max(reading.asked_s, self._heard_s) >= SILENT_S:
            self._give_up()
        elif reading.response_id is not None:
            self._cancel(reading.response_id)
        left = [other for other in self._readings.values() if other.left]
        for other in left[:-MAX_LEFT]:
            self._forget(other)

    def _cancel(self, response_id: str) -> None:
        self._send({"type": "response.cancel", "event_id": f"cancel_{response_id}", "response_id": response_id})

    def _send(self, event: Mapping[str, Any]) -> None:
        if self._waiting.full():  # nothing has gone out for long: the socket is as good as lost
            self._give_up()
            return
        self._waiting.put_nowait(event)

    def _give_up(self) -> None:
        """End it from our side; from now on nobody gets it, and what it still read fails in a moment."""
        self.open, self.old = False, True
        self.task.cancel()

    def _forget(self, reading: Reading) -> None:
        self._readings.pop(reading.key, None)
        self._by_response.pop(reading.response_id or "", None)

    # ------------------------------------------------------------------------------ the connection
    async def _run(self) -> None:
        settings = self._settings
        try:
            async with realtime_session(
                self._clients, "tts", session_config(settings), query={"model": settings.tts_model}
            ) as socket, asyncio.TaskGroup() as group:  # fmt: skip
                self.open = True
                self.settled.set()
                group.create_task(self._write(socket))
                group.create_task(self._read(socket))
        except Exception as error:  # noqa: BLE001 - whatever ends a connection is explained to who waits for it
            cause = only(error)
            self.renewed = self.used and isinstance(cause, _Renewed)
            if not isinstance(cause, _Renewed):
                self._failure = self._clients.explain("tts", cause)
        finally:
            self.open, self.old = False, True
            self.settled.set()
            for reading in self._readings.values():
                reading.fail(self._failure or self._lost())
            self._readings.clear()
            self._ended(self)

    def _lost(self) -> StageError:
        sentence = f"{NAMES['tts']} at {self._host} gave no answer any more."
        return StageError("tts", "connection", sentence, retryable=True)

    async def _write(self, socket: RealtimeSocket) -> None:
        while True:
            event = await self._waiting.get()
            async with asyncio.timeout(self._settings.stall_timeout_s):
                await socket.send(event)

    async def _read(self, socket: RealtimeSocket) -> None:
        due_s = self._clock() + self._settings.stt_session_s
        while not self.old or self.load:
            event: Mapping[str, Any] = {}
            try:
                async with asyncio.timeout_at(None if self.old else due_s):
                    event = await socket.receive()
            except TimeoutError:
                pass
            self.old = self._clock() >= due_s
            if event:
                self._heard_s = self._clock()
                self._take(event)
        raise _Renewed

    # ------------------------------------------------------------------------------ what comes
    def _take(self, event: Mapping[str, Any]) -> None:
        kind = str(event.get("type", ""))
        if kind == "error":
            self._error(event.get("error") or {})
        elif kind == "response.created":
            self._created(event["response"])
        elif kind.startswith("response."):
            response_id = event["response"]["id"] if kind == "response.done" else event.get("response_id")
            reading = self._by_response.get(str(response_id))
            if reading is None:
                return
            was_wanted = reading.wanted
            reading.take(event)
            if kind == "response.done":
                self._forget(reading)
            elif was_wanted and reading.over:  # it failed on our side, and the service does not know
                self._cancel(str(response_id))

    def _created(self, response: Mapping[str, Any]) -> None:
        key = (response.get("metadata") or {}).get("utt")
        # A server that does not give metadata back begins in the order in which it was asked.
        first = next((one for one in self._readings.values() if one.asked_s and one.response_id is None), None)
        reading = self._readings.get(str(key)) if key is not None else first
        response_id = str(response["id"])
        if reading is None or reading.response_id is not None:  # nobody asked for it, or it is a second one
            self._cancel(response_id)
            return
        reading.response_id = response_id
        self._by_response[response_id] = reading
        if not reading.wanted:
            self._cancel(response_id)

    def _error(self, error: Mapping[str, Any]) -> None:
        """An error of a request fails its phrase; any other that is not benign ends the session."""
        code = code_of(error.get("code"), error.get("type"), otherwise="error")
        event_id = str(error.get("event_id") or "")
        if verdict(code) is Verdict.BENIGN or event_id.startswith("cancel_"):
            return
        if not event_id.startswith("utt_"):
            raise session_error("tts", self._host, error, self._clients.model("tts"))
        if code == ONE_AT_A_TIME:
            self._limits.parallel = 1
        if (reading := self._readings.get(event_id)) is not None:
            sentence = f"{NAMES['tts']} at {self._host} refused to speak ({code[:60]})."
            reading.fail(StageError("tts", code, sentence, retryable=verdict(code) is not Verdict.FATAL))
            self._forget(reading)

    @property
    def _host(self) -> str:
        return self._clients.endpoints["tts"].host


class VoicePool:
    """The sessions. A phrase takes the one that reads least; `aclose` ends them all."""

    def __init__(self, clients: Clients, settings: Settings) -> None:
        self._clients = clients
        self._settings = settings
        self._sessions: list[VoiceSession] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._limits = Limits()
        self._keys = itertools.count(1)
        self._closed = False

    def __len__(self) -> int:
        """How many sessions there are, open or being opened."""
        return len(self._sessions)

    def reading(self, text: str) -> Reading:
        """Make a phrase."""
        return Reading(f"utt_{next(self._keys)}", text, self._clients.endpoints["tts"].host)

    def session(self) -> VoiceSession:
        """Return the session for the next phrase; where all have enough to do, another is opened for those to come.

        Raises `StageError` where the pool is closed.
        """
        if self._closed:
            raise StageError("tts", "closed", f"{NAMES['tts']} is closed.", retryable=False)
        parallel, young = self._limits.parallel, [session for session in self._sessions if not session.old]
        if len(young) < MAX_SESSIONS and all(session.load >= parallel for session in young):
            young.append(self._opened())
        # One that is open goes before one that is being opened, however much it reads: it is there at once. Where a
        # server refuses a second phrase, one that reads nothing goes first.
        return min(young, key=lambda one: (parallel == 1 and one.load > 0, not one.open, one.load))

    async def warm(self) -> None:
        """Have one session open. Never raises."""
        with suppress(Exception):
            if not self._closed:
                young = [session for session in self._sessions if not session.old]
                await (young[0] if young else self._opened()).settled.wait()

    async def aclose(self) -> None:
        """End all sessions."""
        self._closed = True
        tasks = {session.task for session in self._sessions} | self._ending
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _opened(self) -> VoiceSession:
        session = VoiceSession(self._clients, self._settings, self._limits, self._gone)
        self._sessions.append(session)
        return session

    def _gone(self, session: VoiceSession) -> None:
        """A session is no more. One that was lost is missed by the next phrase; one that was used and grew old, at once."""
        self._sessions.remove(session)
        self._ending.add(session.task)
        session.task.add_done_callback(self._ending.discard)
        if session.renewed and not self._closed and all(other.old for other in self._sessions):
            self._opened()
