"""The driver of one session: it moves facts into the conversation and runs the effects; the only reader of the clock.

Six tasks at rest: the socket's reader, the sender, the STT, the keepalive, the decider, and the group's own; two or three
more while a reply is made. All of them live in one task group, so that when one session ends nothing of it is left.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from voiceagent import protocol
from voiceagent.accounts import Accounts, Work
from voiceagent.acoustics import AcousticEnd
from voiceagent.attempts import Attempt, Attempts
from voiceagent.clockmap import ClockMap
from voiceagent.conversation import Conversation
from voiceagent.effects import (
    CancelReply,
    CommitItem,
    DiscardItem,
    Effect,
    EndpointAfter,
    EndSession,
    FlushReply,
    HoldReply,
    OpenGate,
    OpenItem,
    PauseAfter,
    PromoteReply,
    Record,
    ResumeReply,
    Send,
    StartFiller,
    StartReply,
    TellHeard,
    TellTyped,
)
from voiceagent.endpointing import Ears
from voiceagent.events import (
    AgentSays,
    Fact,
    Left,
    PlaybackProgress,
    PlaybackStarted,
    ReplyMark,
    TalkKey,
    TextSubmitted,
    Tick,
    Tuned,
    VoicePaused,
)
from voiceagent.incoming import Gone, Incoming, Socket
from voiceagent.making import Timeouts
from voiceagent.microphone import Microphone
from voiceagent.outbox import Outbox, Overflow
from voiceagent.playing import OVERLOAD
from voiceagent.reply import ReplyAttempt
from voiceagent.rules import Rules
from voiceagent.settings import Settings
from voiceagent.spoken import SpokenAttempt
from voiceagent.stages.ports import SpeechToText, Stages
from voiceagent.states import Leaf
from voiceagent.steps import Steps
from voiceagent.timeline import TransitionRecord, TurnRecord
from voiceagent.tools import Tool
from voiceagent.turns import PastTurn
from voiceagent.vad import TurnModel

INBOX_FACTS = 1024
PING_S = 2.0
FIRST_PINGS = 4  # close together: the clock is wanted before the first turn
FIRST_PING_S = 0.1
LAST_WORDS_S = 0.05


@dataclass(frozen=True, slots=True)
class Ending:
    """How a session ended, and what to keep of it for the same person to go on."""

    reason: str
    past: tuple[PastTurn, ...]
    next_turn: int
    resumable: bool


class Session:
    """One browser's session, from its accepted hello to its end."""

    def __init__(
        self, name: str, socket: Socket, settings: Settings, stages: Stages, ears: Ears,
        *, record: Callable[[str, TransitionRecord | TurnRecord], None], tools: Sequence[Tool] = (),
        past: tuple[PastTurn, ...] = (), first_turn: int = 1, turn_model: TurnModel | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self._socket = socket
        self._settings = settings
        self._stages = stages
        self._tools = tools
        self._steps = Steps(lambda told: record(name, told), lambda: (self._inbox.qsize(), self._outbox.waiting))
        self._loop = asyncio.get_running_loop()
        self._fine_clock = type(self._loop).__module__.startswith("uvloop")
        self._inbox: asyncio.Queue[tuple[int, Fact]] = asyncio.Queue(maxsize=INBOX_FACTS)
        self._clock = ClockMap()
        self._voice = stages.voice(self._post) if stages.voice is not None else None
        self._stt: SpeechToText = self._voice or stages.stt(self._post)
        self._mic = Microphone(
            ears, self._stt, self._clock,
            pre_roll_us=settings.pre_roll_ms * 1000, now_us=self._now_us, echo_gate=settings.echo_gate,
        )  # fmt: skip
        self._accounts = Accounts(
            name, settings, stages.hosts,
            clock=self._clock, audio=self._mic.sent, lag_us=self._steps.latest_since,
        )  # fmt: skip
        self._outbox = Outbox(
            socket.send, self._now_us,
            lead_us=settings.lead_ms * 1000, send_timeout_s=settings.send_timeout_s,
            on_first_frame=lambda epoch, at_us: self._post(ReplyMark(epoch, "first_frame_sent", at_us)),
            on_playing=self._mic.playing, on_silent=self._mic.silent, on_resumed=self._mic.resumed,
            on_underrun=self._accounts.underrun,
        )  # fmt: skip
        self._conversation = Conversation(
            Rules.from_settings(settings), self._now_us(), past=past, first_turn=first_turn
        )
        self._timeouts = Timeouts(settings.reply_timeout_s / 2, settings.stall_timeout_s)
        self._group: asyncio.TaskGroup
        self._acoustics = AcousticEnd(turn_model, spawn=self._spawn, post=self._post)
        self._attempts = Attempts(
            self._outbox, make=self._attempt, spawn=self._spawn, post=self._post, now_us=self._now_us,
            steps=self._steps, accounts=self._accounts,
        )  # fmt: skip
        self._incoming = Incoming(
            socket, self._take, now_us=self._now_us, leave=self._post, busy=lambda: not self._inbox.empty(),
            complain=self._complain,
        )  # fmt: skip
        self._pings: dict[int, int] = {}
        self._frame_us = self._now_us()  # the microphone's last frame
        self._next_seq = 0
        self._talking = False  # the talk key is down
        self._end: EndSession | None = None

    def _now_us(self) -> int:
        # uvloop's time stands still within a step and counts milliseconds; both loops count from the same origin.
        if self._fine_clock:
            return time.monotonic_ns() // 1000
        return round(self._loop.time() * 1e6)

    @property
    def leaf(self) -> Leaf:
        """Where the session is."""
        return self._conversation.leaf

    def say(self, text: str) -> None:
        """Have the agent speak first, if nobody else does."""
        self._post(AgentSays(text))

    def leave(self, left: Left) -> None:
        """End the session from outside: replaced, or the server stops."""
        self._post(left)

    async def run(self) -> Ending:
        """Run until the conversation has ended and everything of it is released."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            tasks = [
                group.create_task(self._incoming.run(), name=f"{self.name} reader"),
                group.create_task(self._write(), name=f"{self.name} sender"),
                group.create_task(self._stt.run(), name=f"{self.name} stt"),
                group.create_task(self._keep_alive(), name=f"{self.name} keepalive"),
                group.create_task(self._stages.warm(), name=f"{self.name} warm"),
            ]
            if self._settings.greeting and not self._conversation.past:
                self.say(self._settings.greeting)
            await self._decide()
            await self._last_words()
            self._attempts.cancel_all()
            for task in tasks:
                task.cancel()
        end = self._end or EndSession(protocol.Close.INTERNAL, "unknown", "", "")
        return Ending(
            end.reason, tuple(self._conversation.past), self._conversation.next_turn,
            resumable=end.reason in {"disconnected", "pong_timeout", "send_timeout", "replaced"},
        )  # fmt: skip

    # ------------------------------------------------------------------------------ facts in, effects out
    def _post(self, fact: Fact) -> None:
        try:
            self._inbox.put_nowait((self._now_us(), fact))
        except asyncio.QueueFull:
            # A thousand facts that nobody took: this session is beyond help, and must not take the others with it.
            self._inbox.get_nowait()
            left = Left(OVERLOAD, protocol.Close.INTERNAL, "The session is overloaded.", "Reload.")
            self._inbox.put_nowait((self._now_us(), left))

    async def _decide(self) -> None:
        """Put every fact to the conversation, and `Tick` when its deadline has come."""
        while self._conversation.leaf is not Leaf.CLOSED:
            due_us, fact = await self._next_fact()
            now_us = self._now_us()
            self._steps.late(now_us, max(0, now_us - due_us))  # the loop's timers may be a hair early
            try:
                for effect in self._conversation.handle(fact, now_us):
                    self._run(effect)
            finally:  # of a step that ends in a defect the record is wanted most
                self._steps.close()

    async def _next_fact(self) -> tuple[int, Fact]:
        """The next fact, and since when it might have been taken."""
        with suppress(asyncio.QueueEmpty):
            return self._inbox.get_nowait()
        due_us = self._conversation.deadline_us
        try:
            async with asyncio.timeout_at(None if due_us is None else due_us / 1e6):
                return await self._inbox.get()
        except TimeoutError:
            return due_us or self._now_us(), Tick()

    def _run(self, effect: Effect) -> None:
        try:
            self._effect(effect)
        except Overflow:
            self._post(Left("send_timeout", protocol.Close.TIMEOUT))

    def _effect(self, effect: Effect) -> None:  # noqa: C901, PLR0912 - one line an effect
        match effect:
            case Send(message):
                self._outbox.put(message)
            case Record(record):
                self._steps.take(self._accounts.completed(record) if isinstance(record, TurnRecord) else record)
            case OpenItem(_, item, from_us, again):
                self._mic.open_item(item, from_us, again=again)
            case CommitItem(_, item):
                self._mic.commit_item(item)
            case DiscardItem(_, item):
                self._mic.close_item()
                if self._voice is not None:
                    self._voice.discard(item)
            case TellTyped(_, text):
                if self._voice is not None:
                    self._voice.typed(text)
            case TellHeard(_, epoch, samples):
                if self._voice is not None:
                    self._voice.heard(epoch, samples)
            case PauseAfter(silence_us):
                self._mic.pause_after(silence_us)
            case EndpointAfter(silence_us):
                self._mic.endpoint_after(silence_us)
            case StartReply():
                self._attempts.start(effect)
            case PromoteReply(_, epoch):
                self._attempts.promote(epoch)
            case StartFiller():
                self._attempts.fill(effect)
            case OpenGate(_, epoch):
                self._outbox.open(epoch)
            case HoldReply(_, epoch):
                self._outbox.hold(epoch)
            case ResumeReply(_, epoch):
                self._outbox.resume(epoch)
            case FlushReply(turn, epoch):
                self._outbox.flush(turn, epoch)
            case CancelReply(turn, epoch):
                self._attempts.cancel(turn, epoch)
            case EndSession():
                self._end = effect

    def _attempt(self, work: Work, post: Callable[[Fact], None]) -> Attempt:
        if self._voice is not None:
            return SpokenAttempt(
                work, self._voice, self._outbox,
                post=post, now_us=self._now_us, timeouts=self._timeouts, hosts=self._stages.hosts, tools=self._tools,
            )  # fmt: skip
        return ReplyAttempt(
            work, self._stages, self._outbox,
            post=post, now_us=self._now_us, timeouts=self._timeouts, tools=self._tools,
        )  # fmt: skip

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._group.create_task(work, name=f"{self.name} reply")

    # ------------------------------------------------------------------------------ the socket
    async def _write(self) -> None:
        try:
            await self._outbox.run()
        except TimeoutError:
            self._post(Left("send_timeout", protocol.Close.TIMEOUT))
        except Gone:
            self._post(Left("disconnected"))

    async def _last_words(self) -> None:
        """Tell the browser why it ends, if it is still there, and close."""
        end = self._end
        if end is None:
            return
        with suppress(Gone, TimeoutError, Overflow):
            async with asyncio.timeout(LAST_WORDS_S):
                if end.message:
                    self._outbox.put(protocol.Error(code=end.reason, message=end.message, hint=end.hint, fatal=True))
                await self._outbox.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._socket.close(end.code, end.reason)

    def _take(self, message: protocol.Message | protocol.MicFrame) -> None:
        if isinstance(message, protocol.MicFrame):
            self._take_frame(message)
        else:
            self._take_message(message)

    def _complain(self, error: protocol.ProtocolError) -> None:
        with suppress(Overflow):
            self._outbox.put(protocol.Error(code=error.code, message=error.message))

    def _take_frame(self, frame: protocol.MicFrame) -> None:
        if frame.seq < self._next_seq:
            raise protocol.ProtocolError("bad_frame", "Microphone frames must be numbered upwards.")
        self._next_seq = frame.seq + 1
        self._frame_us = self._now_us()
        for fact in self._mic.frame(frame):
            self._post(fact)
            if isinstance(fact, VoicePaused):
                self._acoustics.ask(fact.speech_end_us, self._mic.recent_16k)

    def _take_message(self, message: Any) -> None:  # noqa: C901, PLR0912 - one line a message
        match message:
            case protocol.Pong(id=number, client_ms=client_ms):
                sent_us = self._pings.pop(number, None)
                if sent_us is not None:
                    self._clock.pong(sent_us, self._now_us(), client_ms)
            case protocol.Started(epoch=epoch, at_ms=at_ms):
                at_us = self._clock.to_server_us(at_ms)
                now_us = self._now_us()
                self._post(PlaybackStarted(epoch, now_us if at_us is None else at_us, self._clock.rtt_us))
            case protocol.Played() | protocol.Held() | protocol.Flushed() | protocol.Ended():
                self._outbox.played(message.epoch, message.samples)
                self._post(PlaybackProgress(message.epoch, message.samples, message.type))
            case protocol.Text(text=text):
                if text.strip():
                    self._post(TextSubmitted(text.strip()))
            case protocol.PushToTalk(down=down):
                self._talk(down=down)
            case protocol.Mute(muted=muted):
                if muted and not self._talking:
                    self._end_speech()
            case protocol.Tune(patience=patience):
                self._post(Tuned(patience))
            case protocol.EchoTest(gain_db=gain_db):
                self._mic.echo_gain(gain_db)
            case protocol.HangUp():
                self._post(Left("hung_up"))
            case protocol.Hello():
                raise protocol.ProtocolError("bad_message", "There was a hello already.")

    def _talk(self, *, down: bool) -> None:
        """The talk key decides by itself: the endpointer must not hold an utterance over its edges."""
        if down == self._talking:
            return
        self._talking = down
        self._mic.reset()
        self._post(TalkKey(down, self._mic.spoken_us))

    def _end_speech(self) -> None:
        for fact in self._mic.end():
            self._post(fact)

    # ------------------------------------------------------------------------------ time
    async def _keep_alive(self) -> None:
        """Ping for the clock and for a sign of life; watch over a microphone that dies and the session's length."""
        settings, number = self._settings, 0
        cap_us = self._now_us() + round(settings.session_cap_s * 1e6)
        while True:
            number += 1
            self._pings = {key: at for key, at in self._pings.items() if key > number - FIRST_PINGS * 4}
            self._pings[number] = self._now_us()
            with suppress(Overflow):
                self._outbox.put(protocol.Ping(id=number))
            await asyncio.sleep(FIRST_PING_S if number < FIRST_PINGS else min(PING_S, settings.mic_timeout_s / 2))
            now_us = self._now_us()
            if now_us - self._incoming.heard_us > settings.pong_timeout_s * 1e6:
                self._post(Left("pong_timeout", protocol.Close.TIMEOUT))
            elif now_us >= cap_us:
                text = "This conversation has reached its longest duration."
                self._post(Left("session_cap", protocol.Close.TIMEOUT, text, "Press Start for a new one."))
            elif self._mic.in_utterance and now_us - self._frame_us > settings.mic_timeout_s * 1e6:
                self._end_speech()
