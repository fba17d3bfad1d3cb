"""Speech to speech: one Realtime conversation that hears the items, answers them aloud, and forgets what nobody heard.

The server keeps the conversation, so a new connection begins without one: it is told first what was said and heard so far,
as text, and then what is not answered yet, as it was. The client decides about turns: the session's own detection is off.
"""

import asyncio
import base64
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from voiceagent.events import FinalTranscript, PartialTranscript, SttFailed
from voiceagent.settings import Settings
from voiceagent.stages.answers import SAMPLES_PER_MS, Answer
from voiceagent.stages.clients import Clients
from voiceagent.stages.codes import Verdict, verdict
from voiceagent.stages.ports import Acquired, SpokenPart, StageError, Transcribed
from voiceagent.stages.realtime import RealtimeSocket, realtime_session, session_error
from voiceagent.stages.voice_config import (
    deletion,
    response_create,
    result_item,
    seeds,
    truncation,
    typed_item,
    voice_config,
)

CHUNK_BYTES = 24_000 * 2 // 5  # 200 ms a message when there is a backlog
MIN_COMMIT_BYTES = 24_000 * 2 * 120 // 1000  # the service refuses to commit less than 100 ms
MAX_SAID = 64
MAX_EARLY = 16
KEPT_ANSWERS = 16
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.1, 5.0


class _Renewed(Exception):  # noqa: N818 - nothing went wrong
    """The session is old and nobody speaks: another one is opened."""


@dataclass(slots=True, eq=False)
class _Said:
    """Something the user said (an item's audio) or typed; kept until it is answered, for a new connection."""

    key: int
    text: str = ""  # typed
    audio: bytearray = field(default_factory=bytearray)
    committed: bool = False
    answered: bool = False
    unwanted: bool = False
    final: bool = False  # its words were told
    words: str = ""
    # what the present connection knows of it
    sent: int = 0
    asked: bool = False
    item_id: str | None = None


class VoiceModel:
    """`SpeechToSpeech` over ``/realtime?model=…``; `post` takes the transcripts, and never blocks."""

    def __init__(self, clients: Clients, settings: Settings, post: Callable[[Transcribed], None]) -> None:
        self._clients = clients
        self._settings = settings
        self._post = post
        self._said: list[_Said] = []  # in order; answered ones while their words are still to come
        self._open: _Said | None = None
        self._typed = 0  # typed lines have numbers below zero
        self._early: dict[str, dict[str, Any]] = {}  # words that came before it was known whose they are
        self._controls: deque[dict[str, Any]] = deque()
        self._requests: deque[Answer] = deque()  # not sent yet
        self._active: Answer | None = None  # the one the server works on
        self._answers: deque[Answer] = deque(maxlen=KEPT_ANSWERS)  # the last ones, for what was heard of them
        self._fresh = True  # the connection knows nothing of the conversation yet
        self._acquired: Acquired | None = None
        self._work = asyncio.Event()
        self._backoff_s = FIRST_BACKOFF_S
        self._dead: StageError | None = None

    # ------------------------------------------------------------------------------ the user's side
    def open(self, item: int) -> None:
        """Begin an item."""
        self._open = _Said(item)
        self._keep(self._open)

    def append(self, pcm: bytes) -> None:
        """Add audio to the open item."""
        if self._open is not None:
            self._open.audio += pcm
            self._work.set()

    def commit(self, item: int) -> None:
        """End the open item."""
        said = self._open
        if said is None or said.key != item:
            return
        self._open = None
        said.committed = True
        said.audio += bytes(max(0, MIN_COMMIT_BYTES - len(said.audio)))
        self._work.set()
        if self._dead is not None:
            self._post(SttFailed(item, self._dead.code, self._dead.message))

    def discard(self, item: int) -> None:
        """Forget an item."""
        said = next((said for said in self._said if said.key == item), None)
        if said is None:
            return
        self._open = None if self._open is said else self._open
        if said.asked:
            said.unwanted, said.final = True, True
            self._forget_if_unwanted(said)
        else:
            self._said.remove(said)
            if said.sent:
                self._control({"type": "input_audio_buffer.clear"})

    def typed(self, text: str) -> None:
        """Put a typed line into the conversation."""
        self._typed -= 1
        self._keep(_Said(self._typed, text=text, committed=True, final=True))
        self._work.set()

    def _keep(self, said: _Said) -> None:
        self._said.append(said)
        if len(self._said) > MAX_SAID:
            del self._said[0]

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
        answer = Answer(epoch, messages[1:-1], *response_create(epoch, tools, canned, words=words))
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
        elif answer is self._active and answer.response_id is not None and not answer.done:
            self._control({"type": "response.cancel", "response_id": answer.response_id})

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
                self._settle(answer)  # the turn is over: a new connection is told of it in words
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

    def _settle(self, answer: Answer) -> None:
        """What it answers needs no other answer: its audio is not needed again."""
        for said in self._said:
            if said.key in answer.covers:
                said.answered = True
                said.audio.clear()
        self._said = [said for said in self._said if not (said.answered and said.final)]

    # ------------------------------------------------------------------------------ connections
    async def run(self) -> None:
        """Keep a connection, and open another when it is lost or old, until cancelled or refused for good."""
        settings = self._settings
        while True:
            try:
                query = {"model": settings.realtime_model}
                async with realtime_session(
                    self._clients, "realtime", voice_config(settings), query=query
                ) as socket, asyncio.TaskGroup() as group:  # fmt: skip
                    self._acquired = Acquired(socket.acquire_us, reused=False)

                    group.create_task(self._send(socket))
                    group.create_task(self._receive(socket))
            except Exception as error:  # noqa: BLE001 - whatever ends a connection is explained, and told
                cause = _only(error)
            self._forget_connection()
            if isinstance(cause, _Renewed):
                continue
            failure = self._clients.explain("realtime", cause)
            if self._backoff_s == FIRST_BACKOFF_S:  # say it once, not at every try
                self._post(SttFailed(0, failure.code, failure.message))
            self._fail_active(failure)
            if verdict(failure.code) is Verdict.FATAL or not failure.retryable:
                self._give_up(failure)
                return
            await asyncio.sleep(self._backoff_s)
            self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)

    def _forget_connection(self) -> None:
        self._early.clear()
        self._controls.clear()
        self._fresh = True
        for said in self._said:
            if said.answered and not said.final:
                self._post(FinalTranscript(said.key, said.words.strip()))
        self._said = [said for said in self._said if not said.answered and not said.unwanted]
        for said in self._said:
            said.sent, said.asked, said.item_id = 0, False, None
        for answer in self._answers:
            answer.items.clear()

    def _fail_active(self, failure: StageError) -> None:
        active, self._active = self._active, None
        if active is not None:
            active.put(StageError("realtime", failure.code, failure.message, retryable=failure.retryable))

    def _give_up(self, failure: StageError) -> None:
        self._dead = failure
        for answer in self._requests:
            answer.put(failure)
        for said in self._said:
            if said.committed and not said.final:
                said.final = True
                self._post(SttFailed(said.key, failure.code, failure.message))

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
            self._controls.extend(seeds(self._requests[0].past))
        if self._controls:
            return self._controls.popleft()
        event = self._next_said()
        if event is None and not self._fresh and self._requests and self._active is None:
            self._active = answer = self._requests.popleft()
            answer.covers = {said.key for said in self._said if said.asked}
            answer.acquired, self._acquired = self._acquired, Acquired(0, reused=True)
            return answer.create
        return event

    def _next_said(self) -> str | Mapping[str, Any] | None:
        for said in self._said:
            if said.answered or said.asked:
                continue
            if said.sent < len(said.audio):
                chunk = bytes(said.audio[said.sent : said.sent + CHUNK_BYTES])
                said.sent += len(chunk)
                return f'{{"type":"input_audio_buffer.append","audio":"{base64.b64encode(chunk).decode("ascii")}"}}'
            if self._fresh or not said.committed:
                return None  # the server has one buffer: what follows waits for this one's commit
            said.asked = True
            if said.text:
                return typed_item(said.text)
            return f'{{"type":"input_audio_buffer.commit","event_id":"commit_{said.key}"}}'
        return None

    # ------------------------------------------------------------------------------ what comes
    async def _receive(self, socket: RealtimeSocket) -> None:
        clock = asyncio.get_running_loop().time
        due_s: float = clock() + self._settings.stt_session_s
        while True:
            try:
                async with asyncio.timeout_at(due_s if clock() < due_s else None):
                    event = await socket.receive()
            except TimeoutError:
                event = {}
            self._take(event)
            if clock() >= due_s and not self._busy:
                raise _Renewed

    @property
    def _busy(self) -> bool:
        return bool(self._active or self._requests or any(not said.answered for said in self._said))

    def _take(self, event: dict[str, Any]) -> None:
        kind = str(event.get("type", ""))
        if kind.startswith("response."):
            self._take_answer(kind, event)
        elif kind == "input_audio_buffer.committed":
            self._bind(event["item_id"])
        elif kind.startswith("conversation.item.input_audio_transcription."):
            self._words(kind.rpartition(".")[2], event)
        elif kind == "error":
            self._error(event.get("error") or {})

    def _take_answer(self, kind: str, event: dict[str, Any]) -> None:
        active = self._active
        if active is None:
            return
        if kind == "response.created":
            active.response_id = event["response"]["id"]
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
                self._settle(active)
            self._work.set()

    def _bind(self, item_id: str) -> None:
        """The service confirms commits in the order in which it got them."""
        for said in self._said:
            if said.asked and not said.text and said.item_id is None:
                said.item_id = item_id
                self._forget_if_unwanted(said)
                break
        early = self._early.pop(item_id, None)
        if early is not None:
            self._words(early["type"].rpartition(".")[2], early)

    def _forget_if_unwanted(self, said: _Said) -> None:
        if said.unwanted and said.item_id is not None:
            self._control(deletion(said.item_id))
            self._said.remove(said)

    def _words(self, kind: str, event: dict[str, Any]) -> None:
        said = next((said for said in self._said if said.item_id == event["item_id"]), None)
        if said is None:
            if kind != "delta" and len(self._early) < MAX_EARLY:
                self._early[event["item_id"]] = event
            return
        if said.final:
            return
        if kind == "delta":
            said.words += event.get("delta") or ""
            self._post(PartialTranscript(said.key, said.words))
        elif kind in {"completed", "failed"}:  # what could not be written down was heard all the same
            self._finish(said, str(event.get("transcript") or said.words))

    def _finish(self, said: _Said, words: str) -> None:
        said.final = True
        if said.answered:
            self._said.remove(said)
        self._post(FinalTranscript(said.key, words.strip()))

    def _error(self, error: Mapping[str, Any]) -> None:
        code, asked = str(error.get("code") or ""), str(error.get("event_id") or "")
        for said in self._said:
            if asked == f"commit_{said.key}" and not said.text:
                self._said.remove(said)
                self._post(FinalTranscript(said.key, ""))
                return
        active, host = self._active, self._clients.endpoints["realtime"].host
        if active is not None and asked == active.event_id:
            self._active = None
            active.put(session_error("realtime", host, error))
        elif verdict(code) is Verdict.FATAL or code == "session_expired":
            raise session_error("realtime", host, error)


def _only(error: BaseException) -> BaseException:
    """The exception itself, out of the groups that task groups wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
