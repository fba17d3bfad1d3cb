"""Speech to speech: one Realtime conversation that hears the items, answers them aloud, and forgets what nobody heard.

The server keeps the conversation, so a new connection begins without one: it is told first what was said and heard so far,
as text, and then what is not answered yet, as it was. The client decides about turns: the session's own detection is off.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from voiceagent.events import SttFailed
from voiceagent.settings import Settings
from voiceagent.stages.answers import SAMPLES_PER_MS, Answer
from voiceagent.stages.clients import NAMES, Clients
from voiceagent.stages.codes import Verdict, code_of, verdict
from voiceagent.stages.explaining import only
from voiceagent.stages.ports import Acquired, SpokenPart, StageError, Transcribed
from voiceagent.stages.realtime import RealtimeSocket, append_refused, realtime_session, session_error
from voiceagent.stages.said import SaidList
from voiceagent.stages.voice_config import deletion, response_create, result_item, seeds, truncation, voice_config

KEPT_ANSWERS = 16
MAX_CONTROLS = 256
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.1, 5.0
ASKED_TWICE = "conversation_already_has_active_response"
TIMER_S = 0.001  # a timer may be early by less
END_TIMEOUT_S = 2.0
"""An answer that was left ends within so much, and a connection that was silent for so much then is dead."""


class _Renewed(Exception):  # noqa: N818 - nothing went wrong
    """Another session is opened: this one is old and nobody speaks, or its answers have no sound."""


class VoiceModel:
    """`SpeechToSpeech` over ``/realtime?model=…``; `post` takes the transcripts, and never blocks."""

    def __init__(self, clients: Clients, settings: Settings, post: Callable[[Transcribed], None]) -> None:
        self._clients = clients
        self._settings = settings
        self._post = post
        self._said = SaidList(post, self._control)
        self._past: deque[dict[str, Any]] = (
            deque()
        )  # what a new conversation is still to be told; as long as the history
        self._controls: deque[dict[str, Any]] = (
            deque()
        )  # corrections: of more than `MAX_CONTROLS` the connection is left
        self._requests: deque[Answer] = deque(maxlen=KEPT_ANSWERS)  # not sent yet
        self._active: Answer | None = None  # the one the server works on
        self._answers: deque[Answer] = deque(maxlen=KEPT_ANSWERS)  # the last ones, for what was heard of them
        self._fresh = True  # the connection knows nothing of the conversation yet
        self._acquired: Acquired | None = None
        self._work = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._heard_s = 0.0  # when the server last said anything
        self._due_s = 0.0  # when the connection is to be replaced: for its age, or as an answer does not end
        self._limit: asyncio.Timeout | None = None  # of the wait for the next event
        self._backoff_s = FIRST_BACKOFF_S
        self._dead: StageError | None = None

    @property
    def _host(self) -> str:
        return self._clients.endpoints["realtime"].host

    # ------------------------------------------------------------------------------ the user's side
    def open(self, item: int) -> None:
        """Begin an item."""
        self._said.open(item)

    def append(self, pcm: bytes) -> None:
        """Add audio to the open item."""
        self._said.append(pcm)
        self._work.set()

    def commit(self, item: int) -> None:
        """End the open item."""
        if self._said.commit(item):
            self._work.set()
            if self._dead is not None:
                self._said.fail(self._dead)

    def discard(self, item: int) -> None:
        """Forget an item."""
        self._said.discard(item)

    def typed(self, text: str) -> None:
        """Put a typed line into the conversation."""
        self._said.type(text)
        self._work.set()

    # ------------------------------------------------------------------------------ the model's side
    @asynccontextmanager
    async def respond(
        self, epoch: int, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], canned: str
    ) -> AsyncIterator[AsyncIterator[SpokenPart]]:
        """Ask for an answer to all that was committed; leaving the context cancels it. Raises `StageError`."""
        if self._dead is not None:
            raise self._dead
        settings = self._settings
        words = settings.tts_words == "on" or (
            settings.tts_words == "auto" and settings.is_local and settings.realtime_base_url is None
        )
        answer = Answer(epoch, messages[1:-1], *response_create(epoch, tools, canned, words=words), host=self._host)
        self._requests.append(answer)
        self._answers.append(answer)
        self._work.set()
        try:
            yield answer.parts()
        finally:
            self._leave(answer)

    def _leave(self, answer: Answer) -> None:
        if answer.left:
            return
        answer.left = True
        if answer in self._requests:
            self._requests.remove(answer)
        elif answer is self._active and not answer.done:
            if answer.response_id is not None:
                self._control({"type": "response.cancel", "response_id": answer.response_id})
            self._replace_at(max(self._clock(), self._silent_from_s(answer) + END_TIMEOUT_S))

    def _replace_at(self, at_s: float) -> None:
        self._due_s = min(self._due_s, at_s)
        if self._limit is not None:
            self._limit.reschedule(self._due_s)

    def result(self, call_id: str, output: str) -> None:
        """Answer a function call."""
        self._control(result_item(call_id, output))

    def heard(self, epoch: int, samples: int) -> None:
        """Cut the last message of an answer at what was heard of it, or take it back whole."""
        for answer in self._answers:
            if answer.epoch != epoch:
                continue
            if answer is self._active:
                self._leave(answer)
            if samples > 0:
                self._said.settle(answer.covers)  # the turn is over: a new connection is told of it in words
                if answer.items and answer.samples > samples:
                    self._control(truncation(answer.items[-1], samples // SAMPLES_PER_MS))
            else:
                for item_id in answer.items:
                    self._control(deletion(item_id))
                answer.items.clear()
            samples -= answer.samples

    def _control(self, event: dict[str, Any]) -> None:
        self._controls.append(event)
        self._work.set()

    # ------------------------------------------------------------------------------ connections
    async def run(self) -> None:
        """Keep a connection, and open another when it is lost or old, until cancelled or refused for good."""
        query = {"model": self._settings.realtime_model}
        while True:
            try:
                async with realtime_session(
                    self._clients, "realtime", voice_config(self._settings), query=query
                ) as socket, asyncio.TaskGroup() as group:  # fmt: skip
                    self._acquired = Acquired(socket.acquire_us, reused=False)
                    group.create_task(self._send(socket))
                    group.create_task(self._receive(socket))
            except Exception as error:  # noqa: BLE001 - whatever ends a connection is explained, and told
                cause = only(error)
            active, self._active = self._active, None
            busy = active is not None or bool(self._requests) or self._said.waits
            self._forget_connection()
            if isinstance(cause, _Renewed):
                continue
            failure = self._clients.explain("realtime", cause)
            if active is not None:
                active.put(failure)
            if self._backoff_s == (FIRST_BACKOFF_S if busy else 2 * FIRST_BACKOFF_S):
                # Once; and a loss that nobody waits through and that heals at the first try not at all.
                self._post(SttFailed(0, failure.code, failure.message))
            if verdict(failure.code) is Verdict.FATAL or not failure.retryable:
                self._give_up(failure)
                return
            await asyncio.sleep(self._backoff_s)
            self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)

    def _forget_connection(self) -> None:
        self._past.clear()
        self._controls.clear()
        self._fresh = True
        self._limit = None
        self._said.forget_connection()
        for answer in self._answers:
            answer.items.clear()

    def _give_up(self, failure: StageError) -> None:
        self._dead = failure
        for answer in self._requests:
            answer.put(failure)
        self._said.fail(failure)

    async def _send(self, socket: RealtimeSocket) -> None:
        self._work.set()
        while True:
            await self._work.wait()
            self._work.clear()
            while (event := self._next_event()) is not None:
                async with asyncio.timeout(self._settings.stt_timeout_s):
                    await socket.send(event)

    def _next_event(self) -> str | Mapping[str, Any] | None:
        """What is to be sent next: corrections, then what was said, then the request for an answer to it."""
        if self._fresh and self._requests:  # only now it is known what a new conversation is to be told first
            self._fresh = False
            self._past.extend(seeds(self._requests[0].past))
        if self._past:
            return self._past.popleft()
        if len(self._controls) > MAX_CONTROLS:
            sentence = f"{NAMES['realtime']} at {self._host} does not keep up."
            raise StageError("realtime", "stalled", sentence, retryable=True)
        if self._controls:
            return self._controls.popleft()
        event = self._said.next_event(fresh=self._fresh)
        if event is None and not self._fresh and self._requests and self._active is None:
            self._active = answer = self._requests.popleft()
            answer.covers, answer.asked_s = self._said.asked, self._clock()
            answer.acquired, self._acquired = self._acquired, Acquired(0, reused=True)
            return answer.create
        return event

    # ------------------------------------------------------------------------------ what comes
    async def _receive(self, socket: RealtimeSocket) -> None:
        old_s = self._clock() + self._settings.stt_session_s
        self._heard_s, aged = self._clock(), False
        while True:
            if aged and not self._busy:
                raise _Renewed
            self._due_s = math.inf if aged else old_s
            event = await self._next(socket)
            if event is not None:
                self._take(event)
            elif self._active is not None and self._active.left:
                sentence = f"{NAMES['realtime']} at {self._host} did not end its answer."
                raise StageError("realtime", "stalled", sentence, retryable=True)
            aged = aged or self._clock() >= old_s - TIMER_S

    async def _next(self, socket: RealtimeSocket) -> dict[str, Any] | None:
        """The next event; None when the time has come to look at the connection."""
        if self._active is not None and self._active.left:
            self._due_s = min(self._due_s, self._silent_from_s(self._active) + END_TIMEOUT_S)
        try:
            async with asyncio.timeout_at(None if self._due_s == math.inf else self._due_s) as self._limit:
                event = await socket.receive()
        except TimeoutError:
            return None
        finally:
            self._limit = None
        self._heard_s = self._clock()
        return event

    def _silent_from_s(self, answer: Answer) -> float:
        """When the server last gave a sign of life, or was asked."""
        return max(self._heard_s, answer.asked_s)

    @property
    def _busy(self) -> bool:
        return bool(self._active or self._requests or self._said.waits)

    def _take(self, event: dict[str, Any]) -> None:
        kind = str(event.get("type", ""))
        if kind.startswith("response."):
            self._take_answer(kind, event)
        elif kind == "error":
            self._error(event.get("error") or {})
        else:
            self._said.take(kind, event)

    def _take_answer(self, kind: str, event: dict[str, Any]) -> None:
        active = self._active
        if active is None:
            return
        if kind == "response.created":
            active.response_id = active.response_id or event["response"]["id"]
            if active.left:
                self._control({"type": "response.cancel", "response_id": active.response_id})
            return
        if active.response_id != (event["response"]["id"] if "response" in event else event.get("response_id")):
            return
        known = len(active.items)
        last = active.take(event)
        if active.left and len(active.items) > known:  # nobody will hear it
            self._control(deletion(active.items.pop()))
        if last:
            self._active = None
            self._backoff_s = FIRST_BACKOFF_S
            if event["response"].get("status") == "completed":
                if active.worded and not active.samples:
                    raise _Renewed
                self._said.settle(active.covers)
            self._work.set()

    def _error(self, error: Mapping[str, Any]) -> None:
        code, asked = code_of(error.get("code")), str(error.get("event_id") or "")
        if self._said.empty(asked):
            return
        if self._said.lacks(asked):
            raise append_refused("realtime", self._host, error)
        active = self._active
        if active is not None and asked == active.event_id:
            if active.response_id is None or code != ASKED_TWICE:  # then the first time counts
                self._active = None
                active.put(session_error("realtime", self._host, error))
                self._work.set()
        elif (verdict(code) is Verdict.FATAL and not asked) or code == "session_expired":
            raise session_error("realtime", self._host, error)
