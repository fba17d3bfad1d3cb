"""The conversation: facts in, effects out. It owns state, turns, epochs, history, and the truth about what was heard.

It has no clock, no task and no socket. The driver calls `Conversation.handle` with each fact and the time, runs the
effects in their order, and calls it with `Tick` when `Conversation.deadline_us` is reached. Every decision is one
trigger put to the rulebook; what follows from it is in the method of the same fact.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from voiceagent import protocol
from voiceagent.events import (
    AgentSays,
    CancelReply,
    CommitItem,
    Effect,
    EndSession,
    Fact,
    FinalTranscript,
    FlushReply,
    HoldReply,
    Left,
    OpenGate,
    OpenItem,
    PartialTranscript,
    PlaybackProgress,
    PlaybackStarted,
    Record,
    ReplyAudible,
    ReplyDone,
    ReplyFailed,
    ReplyMark,
    ReplyPhrase,
    ReplyReady,
    ResumeReply,
    Send,
    StartReply,
    SttFailed,
    TalkKey,
    TextSubmitted,
    Tick,
    VoiceEnded,
    VoiceOn,
    VoicePaused,
    VoiceResumed,
)
from voiceagent.recording import Recorder
from voiceagent.states import Leaf, Position, Refused, Trigger, rulebook
from voiceagent.timeline import Origin, Outcome, StageFault
from voiceagent.turns import Item, PastTurn, Reply, Turn, prompt

SAY_AGAIN = "Sorry, I did not catch that. Could you say it again?"
APOLOGY = "Sorry, something went wrong on my side. Please try again."
NO_VOICE = "I cannot answer aloud right now. Please try again in a moment."
_BARGE_IN = (Leaf.BARGE_IN_THINKING, Leaf.BARGE_IN_SPEAKING)
_REPLYING = (Leaf.THINKING, Leaf.SPEAKING)


@dataclass(frozen=True, slots=True)
class Rules:
    """The conversation's settings, in microseconds."""

    instructions: str = ""
    barge_in: bool = True
    barge_in_us: int = 600_000
    verdict_us: int = 1_500_000
    resume_after_us: int = 300_000
    flush_ack_us: int = 250_000
    max_turn_us: int = 60_000_000
    stt_timeout_us: int = 8_000_000
    reply_timeout_us: int = 10_000_000
    stall_timeout_us: int = 8_000_000
    idle_us: int = 600_000_000
    unclear_us: int = 1_200_000  # a turn with so much voice and no word deserves "please repeat"
    max_history_turns: int = 40
    max_session_tokens: int = 200_000
    content: bool = False  # whether records carry texts


@dataclass(slots=True)
class _Flush:
    """A reply that was cut off and whose browser has not yet said how much of it was heard."""

    turn: Turn
    epoch: int
    deadline_us: int


class Conversation:
    """One session's conversation. `past` is what a resumed session remembers, `first_turn` its next number."""

    def __init__(self, rules: Rules, now_us: int, *, past: tuple[PastTurn, ...] = (), first_turn: int = 1) -> None:
        self.rules = rules
        self.past = list(past)
        self.epoch = 0
        self.stale = 0  # facts of an earlier epoch or item, dropped
        self.turn: Turn | None = None  # has the floor: the user's words or the reply to them
        self._position = Position()
        self._book = rulebook()
        self._next_turn = first_turn
        self._next_item = 1
        self._items: dict[int, tuple[Turn, Item]] = {}
        self._over: Turn | None = None  # the tentative turn of a barge-in
        self._late: Turn | None = None  # rejected, but its words may still come
        self._flush: _Flush | None = None
        self._voice_onset_us: int | None = None  # while somebody speaks
        self._speech_end_us = now_us  # of the last voice
        self._progress_us = now_us  # the reply last showed a sign of life
        self._tokens = 0
        self._now_us = now_us
        self._out: list[Effect] = []
        self._recorder = Recorder(now_us, content=rules.content)
        self._acts: dict[type, Callable[[Any], None]] = {
            VoiceOn: lambda fact: self._voice_on(fact.onset_us),
            VoiceResumed: self._voice_resumed,
            VoicePaused: self._voice_paused,
            VoiceEnded: self._voice_ended,
            TextSubmitted: self._text_submitted,
            TalkKey: self._talk_key,
            AgentSays: self._agent_says,
            Left: self._left,
            Tick: self._tick,
            PartialTranscript: self._partial,
            FinalTranscript: self._final,
            SttFailed: self._stt_failed,
            ReplyMark: self._reply_mark,
            ReplyPhrase: self._reply_phrase,
            ReplyReady: self._reply_ready,
            ReplyAudible: self._reply_audible,
            ReplyDone: self._reply_done,
            ReplyFailed: self._reply_failed,
            PlaybackStarted: self._playback_started,
            PlaybackProgress: self._playback_progress,
        }

    # --------------------------------------------------------------------------------------------------------- the funnel
    def handle(self, fact: Fact, now_us: int) -> list[Effect]:
        """Take in one fact and return what is to be done, in order. After `Leaf.CLOSED` nothing is done any more.

        The caller runs the effects before the next fact, and then waits for facts until `deadline_us`.
        """
        if self.leaf is Leaf.CLOSED:
            return []
        self._now_us = now_us
        self._out = []
        self._acts[type(fact)](fact)
        return self._out

    @property
    def leaf(self) -> Leaf:
        """Where the session is."""
        return self._position.leaf

    @property
    def turn_count(self) -> int:
        """The number that the next turn will have."""
        return self._next_turn

    @property
    def deadline_us(self) -> int | None:
        """When `Tick` is due; None once closed."""
        leaf_us = self._leaf_deadline_us()
        if leaf_us is not None and self._flush is not None:
            return min(leaf_us, self._flush.deadline_us)
        return leaf_us

    def _leaf_deadline_us(self) -> int | None:  # noqa: PLR0911 - one line a leaf
        rules, entered_us = self.rules, self._recorder.entered_us
        match self.leaf:
            case Leaf.LISTENING:
                return entered_us + rules.idle_us
            case Leaf.TRANSCRIBING_OPEN:
                return entered_us + rules.max_turn_us
            case Leaf.TRANSCRIBING_ENDED:
                return entered_us + rules.stt_timeout_us
            case Leaf.THINKING:
                reply = self.turn.reply if self.turn else None
                return (reply.started_us if reply else entered_us) + rules.reply_timeout_us
            case Leaf.SPEAKING:
                return self._progress_us + rules.stall_timeout_us
            case Leaf.CLOSED:
                return None
            case _:
                latest_us = entered_us + rules.verdict_us
                if self._voice_onset_us is not None:
                    return min(latest_us, max(self._voice_onset_us, entered_us) + rules.barge_in_us)
                return min(latest_us, max(self._speech_end_us, entered_us) + rules.resume_after_us)

    def _fire(self, trigger: Trigger, reason: str = "") -> bool:
        """Put a trigger to the rulebook; False, and nothing has changed, if it is refused here."""
        source = self.leaf
        try:
            target = self._book.fire(self._position, trigger)
        except Refused:
            return False
        if target is not source:
            for turn in {id(turn): turn for turn in (self.turn, self._over) if turn is not None}.values():
                turn.path.append(target.value)
        number = self.turn.number if self.turn else 0
        record = self._recorder.transition(
            self._now_us, number, self.epoch, (source, trigger, target), self._leaf_deadline_us, reason
        )
        self._out.append(Record(record))
        if target is not source:
            since_ms = (self._now_us - self._recorder.began_us) / 1000
            self._send(
                protocol.State(
                    state=target.state,  # type: ignore[arg-type]  # one of the six names, by Leaf.state
                    leaf=target.value, trigger=trigger.value, turn=number, epoch=self.epoch, at_ms=since_ms,
                )
            )  # fmt: skip
        return True

    def _send(self, message: protocol.Message) -> None:
        self._out.append(Send(message))

    # ---------------------------------------------------------------------------------------------------- the user's voice
    def _voice_on(self, onset_us: int) -> None:
        if not self.rules.barge_in and self.leaf in _REPLYING:
            return  # half-duplex: while the agent has the floor nobody else is heard
        self._voice_onset_us = onset_us
        self._settle_late()
        match self.leaf:
            case Leaf.LISTENING:
                self.turn = self._new_turn("user", onset_us)
                self._fire(Trigger.VOICE_ON)
                self._open_item(self.turn, onset_us)
            case Leaf.THINKING | Leaf.SPEAKING as leaf:
                reply_turn = self._floor()
                self._over = self._new_turn("user", onset_us, parent=reply_turn.number)
                reply_turn.barge_in = {"onset_us": onset_us, "verdict": "open"}
                self._fire(Trigger.VOICE_ON)
                if leaf is Leaf.SPEAKING:
                    reply_turn.marks["hold_sent"] = self._now_us
                    self._out.append(HoldReply(reply_turn.number, self._replying().epoch))
                self._open_item(self._over, onset_us)
            case leaf:
                turn = self._over if leaf in _BARGE_IN else self.turn
                self._fire(Trigger.VOICE_ON)
                if turn is not None:
                    turn.ended = False
                    self._open_item(turn, onset_us)

    def _voice_resumed(self, fact: VoiceResumed) -> None:
        if self.leaf in (Leaf.TRANSCRIBING_OPEN, *_BARGE_IN):
            turn = self._over or self.turn
            if turn is not None:
                turn.pauses_ms.append(fact.silence_us // 1000)
            self._voice_on(self._now_us)
        elif self.leaf is not Leaf.LISTENING:  # a sound that was rejected in its pause goes on: a new sound
            self._voice_on(self._now_us)

    def _voice_paused(self, fact: VoicePaused) -> None:
        self._voice_onset_us = None
        self._speech_end_us = fact.speech_end_us
        if self.leaf is Leaf.TRANSCRIBING_OPEN:
            self._floor().marks["pause_noticed"] = self._now_us
        self._fire(Trigger.PAUSE)
        if self.leaf in _BARGE_IN and self._over is not None:
            self._commit(self._over)  # the verdict needs its words

    def _voice_ended(self, fact: VoiceEnded) -> None:
        self._voice_onset_us = None
        self._speech_end_us = fact.speech_end_us
        turn = self._over if self.leaf in _BARGE_IN else self.turn
        if turn is None or self.leaf not in (Leaf.TRANSCRIBING_OPEN, *_BARGE_IN):
            return
        turn.voiced_us += fact.voiced_us
        if turn.talk_key:
            return
        turn.marks |= {
            "speech_end": fact.speech_end_us, "speech_end_arrived": fact.arrived_us, "endpoint": self._now_us,
        }  # fmt: skip
        turn.ended = True
        self._fire(Trigger.ENDPOINT)
        self._commit(turn)
        self._weigh_words()

    def _talk_key(self, fact: TalkKey) -> None:
        if not fact.down:
            turn = self.turn
            if turn is not None and turn.talk_key and self.leaf is Leaf.TRANSCRIBING_OPEN:
                turn.talk_key = False
                turn.ended = True
                turn.marks |= {"speech_end": self._now_us, "endpoint": self._now_us}
                self._fire(Trigger.PTT_UP)
                self._commit(turn)
                self._weigh_words()
            return
        self._take_floor(Trigger.PTT_DOWN, "user")
        turn = self._floor()
        turn.talk_key, turn.ended = True, False
        self._open_item(turn, self._now_us)

    def _text_submitted(self, fact: TextSubmitted) -> None:
        leaf = self.leaf
        if leaf is Leaf.THINKING:  # the question goes on: one reply to all of it
            self._fire(Trigger.TEXT_SUBMITTED)
            self._cancel_reply(self._floor())
        else:
            self._take_floor(Trigger.TEXT_SUBMITTED, "text")
        turn = self._floor()
        turn.parts.append(fact.text)
        turn.marks |= {"speech_end": self._now_us}
        self._send(protocol.Transcript(turn=turn.number, text=turn.text, final=not turn.waits_for_words))
        if self.leaf is Leaf.THINKING:
            self._start_reply()
        elif leaf in _BARGE_IN and turn.ended:
            self._end_open_turn("typed")
        else:
            self._weigh_words()

    def _take_floor(self, trigger: Trigger, origin: Origin) -> None:
        """Give the user the floor at once, whatever goes on: the talk key and typing need no verdict."""
        self._settle_late()
        match self.leaf:
            case Leaf.LISTENING:
                self.turn = self._new_turn(origin, self._now_us)
                self._fire(trigger)
            case Leaf.THINKING:
                self._fire(trigger)
                self._cancel_reply(self._floor())
                self._floor().reopened += 1
            case Leaf.SPEAKING:
                cut = self._floor()
                self._over = self._new_turn(origin, self._now_us, parent=cut.number)
                self._fire(trigger)
                self._cut_off(cut, "taken")
            case Leaf.BARGE_IN_THINKING | Leaf.BARGE_IN_SPEAKING:
                self._confirm(trigger, "taken")
            case _:
                self._fire(trigger)

    def _agent_says(self, fact: AgentSays) -> None:
        if self.leaf is Leaf.LISTENING:
            self.turn = self._new_turn("agent", self._now_us)
            self._fire(Trigger.AGENT_TURN)
            self._start_reply(fact.text)

    # ----------------------------------------------------------------------------------------------------------- the words
    def _partial(self, fact: PartialTranscript) -> None:
        turn, item = self._items.get(fact.item, (None, None))
        if turn is None or item is None or item.final is not None:
            self.stale += 1
            return
        turn.marks.setdefault("stt_first_partial", self._now_us)
        item.partial = fact.text
        if turn in (self.turn, self._over):
            self._send(protocol.Transcript(turn=turn.number, text=turn.text, final=False))
        if turn is self._over and item.text.strip():
            self._confirm_by("words")

    def _final(self, fact: FinalTranscript) -> None:
        turn, item = self._items.pop(fact.item, (None, None))
        if turn is None or item is None or item.final is not None:
            self.stale += 1
            return
        item.final = fact.text
        turn.marks["stt_final"] = self._now_us
        complete = not turn.waits_for_words
        if turn in (self.turn, self._over):
            self._send(protocol.Transcript(turn=turn.number, text=turn.text, final=complete and turn.ended))
        if turn is self._late:
            self._late_words(turn)
        elif turn is self._over:
            self._fire(Trigger.ITEM_FINAL)
            if turn.text:
                self._confirm_by("words")
            elif complete and self._voice_onset_us is None:
                self._reject("no words")
        elif self.leaf is Leaf.TRANSCRIBING_ENDED and turn is self.turn and complete:
            self._weigh_words()
        else:
            self._fire(Trigger.ITEM_FINAL)

    def _weigh_words(self) -> None:
        """In `transcribing`, ended: go on as soon as every committed item has its words."""
        turn = self.turn
        if self.leaf is not Leaf.TRANSCRIBING_ENDED or turn is None or turn.waits_for_words:
            return
        if turn.text:
            self._fire(Trigger.TEXT_READY)
            self._start_reply()
        elif turn.voiced_us >= self.rules.unclear_us:
            self._fire(Trigger.UNCLEAR)
            self._start_reply(SAY_AGAIN)
        else:
            self._fire(Trigger.TEXT_EMPTY)
            self._finish(turn, "discarded")
            self.turn = None

    def _late_words(self, turn: Turn) -> None:
        """A sound was taken for nothing, and now its words are there after all."""
        self._fire(Trigger.ITEM_FINAL)
        if turn.waits_for_words:
            return
        if not turn.text or self.leaf not in (Leaf.LISTENING, *_REPLYING):
            self._settle_late()
            return
        self._late = None
        turn.ended = True
        cut = self.turn
        self._over = turn
        leaf = self.leaf
        self._fire(Trigger.CONFIRMED_ENDED, "late words")
        if cut is None or leaf is Leaf.LISTENING:
            self.turn, self._over = turn, None
        elif leaf is Leaf.SPEAKING:
            self._cut_off(cut, "late words")
        else:
            self._reopen(cut, turn)
        self._weigh_words()

    def _settle_late(self) -> None:
        """Whatever may still come of a rejected sound, it is over now."""
        if self._late is not None:
            late, self._late = self._late, None
            self._finish(late, "discarded")

    def _stt_failed(self, fact: SttFailed) -> None:
        turn, item = self._items.pop(fact.item, (None, None))
        for heard in filter(None, {id(t): t for t in (turn or self.turn,)}.values()):
            heard.faults.append(StageFault("stt", fact.code, recovered=fact.item == 0))
        if item is not None:
            item.final = item.partial
        if self.leaf is Leaf.TRANSCRIBING_ENDED and turn is self.turn and turn is not None and not turn.text:
            if turn.waits_for_words:
                return
            self._fire(Trigger.STAGE_FAILED, fact.code)
            self._start_reply(SAY_AGAIN)
        else:
            self._fire(Trigger.STAGE_FAILED, fact.code)
            self._weigh_words()
        self._send(protocol.Notice(code="stt_failed", message=fact.message))

    # ------------------------------------------------------------------------------------------------------------ barge-in
    def _confirm_by(self, reason: str) -> None:
        over = self._over
        if self.leaf in _BARGE_IN and over is not None:
            self._confirm(Trigger.CONFIRMED_ENDED if over.ended else Trigger.CONFIRMED, reason)
            self._weigh_words()

    def _confirm(self, trigger: Trigger, reason: str) -> None:
        """It is the user: cut the reply, or, where nothing of it was heard, let the question go on."""
        cut, over, leaf = self._floor(), self._over, self.leaf
        self._fire(trigger, reason)
        if over is None:
            return
        if leaf is Leaf.BARGE_IN_THINKING:
            self._reopen(cut, over)
        else:
            self._cut_off(cut, reason)

    def _reject(self, reason: str) -> None:
        """It was nothing: the reply goes on from the exact sample."""
        over, turn, leaf = self._over, self._floor(), self.leaf
        self._over = None
        if not self._fire(Trigger.REJECTED, reason):
            return
        turn.barge_in |= {"verdict": "rejected", "reason": reason, "verdict_at_us": self._now_us}
        if over is not None:
            self._commit(over)
            self._late = over
            if not over.waits_for_words:
                self._settle_late()
        if leaf is Leaf.BARGE_IN_SPEAKING:
            self._progress_us = self._now_us
            turn.marks["resume_sent"] = self._now_us
            self._out.append(ResumeReply(turn.number, self._replying().epoch))
        elif turn.reply is not None and turn.reply.failure:
            self._apologize(turn, turn.reply.failure)
        elif turn.reply is not None and turn.reply.ready:
            self._release(turn)

    def _cut_off(self, cut: Turn, reason: str) -> None:
        """Flush first, then cancel; the cut turn waits for the browser's word on what was heard."""
        reply = self._replying(cut)
        cut.barge_in |= {"verdict": "confirmed", "reason": reason, "verdict_at_us": self._now_us}
        cut.marks["flush_sent"] = self._now_us
        self._out += [FlushReply(cut.number, reply.epoch), CancelReply(cut.number, reply.epoch)]
        self.epoch += 1
        self._resolve_flush()  # an earlier one that was never answered
        self._flush = _Flush(cut, reply.epoch, self._now_us + self.rules.flush_ack_us)
        self.turn, self._over = self._over, None

    def _resolve_flush(self) -> None:
        """Settle a cut-off turn by what is known to have been heard of it; not one sample: its question goes on."""
        flush, self._flush = self._flush, None
        if flush is None:
            return
        cut, successor = flush.turn, self.turn
        reply = self._replying(cut)
        if reply.heard_samples == 0 and successor is not None and successor.reply is None and cut.origin != "agent":
            self._reopen(cut, successor)
        else:
            self._finish(cut, "interrupted")
        if self.leaf is Leaf.THINKING and self.turn is not None and self.turn.reply is None:
            self._start_reply()

    def _reopen(self, turn: Turn, rest: Turn) -> None:
        """The user went on before anything was heard: one turn, its words joined, one reply to all of it."""
        self._cancel_reply(turn)
        turn.join(rest)
        for item in rest.items:
            if item.key in self._items:
                self._items[item.key] = (turn, item)
        self._finish(rest, "reopened")
        self.turn, self._over = turn, None
        self._send(protocol.Transcript(turn=turn.number, text=turn.text, final=False))

    # ----------------------------------------------------------------------------------------------------------- the reply
    def _start_reply(self, canned: str = "") -> None:
        """In thinking: mint an epoch and have a reply made, once it is known what was heard of the one before."""
        turn = self._floor()
        if self._flush is not None and not canned:
            return  # `_resolve_flush` comes back here
        if self._tokens > self.rules.max_session_tokens:
            self._left(Left("token_cap", protocol.Close.NORMAL, "This conversation has reached its length.",
                            "Start a new one to go on."))  # fmt: skip
            return
        self.epoch += 1
        turn.reply = Reply(self.epoch, self._now_us, canned=bool(canned))
        messages = prompt(self.rules.instructions, self.past, turn.text, limit=self.rules.max_history_turns)
        self._out.append(StartReply(turn.number, self.epoch, () if canned else messages, canned))

    def _cancel_reply(self, turn: Turn) -> None:
        if turn.reply is not None:
            if not (self._flush is not None and self._flush.epoch == turn.reply.epoch) and not turn.reply.released:
                self._out.append(CancelReply(turn.number, turn.reply.epoch))
            turn.reply = None

    def _current(self, epoch: int) -> tuple[Turn, Reply] | None:
        """The reply that a stage or the browser speaks of; None, and counted, if it is not alive any more."""
        turn = self.turn
        if turn is not None and turn.reply is not None and turn.reply.epoch == epoch:
            return turn, turn.reply
        self.stale += 1
        return None

    def _reply_mark(self, fact: ReplyMark) -> None:
        if current := self._current(fact.epoch):
            current[0].marks.setdefault(fact.name, fact.at_us)

    def _reply_phrase(self, fact: ReplyPhrase) -> None:
        if current := self._current(fact.epoch):
            turn, reply = current
            reply.ledger.add(fact.text, fact.first_sample)
            reply.phrases.append((fact.text, fact.first_sample))
            self._tell_phrases(turn)

    def _tell_phrases(self, turn: Turn) -> None:
        reply = self._replying(turn)
        if reply.released:  # no word of it reaches the page before the gate opens
            for text, first_sample in reply.phrases[reply.told :]:
                self._send(
                    protocol.ReplyText(turn=turn.number, epoch=reply.epoch, text=text, first_sample=first_sample)
                )
            reply.told = len(reply.phrases)

    def _reply_ready(self, fact: ReplyReady) -> None:
        if current := self._current(fact.epoch):
            turn, reply = current
            reply.ready = True
            if self.leaf is Leaf.THINKING:
                self._release(turn)

    def _release(self, turn: Turn) -> None:
        reply = self._replying(turn)
        self._progress_us = self._now_us
        turn.marks["gate_open"] = self._now_us
        self._fire(Trigger.FIRST_FRAME)
        reply.released = True
        self._out.append(OpenGate(turn.number, reply.epoch))
        self._tell_phrases(turn)

    def _reply_audible(self, fact: ReplyAudible) -> None:
        if current := self._current(fact.epoch):
            current[1].leading_silence_us = fact.sample * 1_000_000 // protocol.RATE_HZ

    def _reply_done(self, fact: ReplyDone) -> None:
        self._tokens += fact.usage.get("completion_tokens", 0)
        if current := self._current(fact.epoch):
            turn, reply = current
            turn.usage |= fact.usage
            turn.connections |= fact.connections
            reply.total_samples = fact.samples
            reply.ledger.close(fact.samples)
            if fact.samples == 0 and not reply.failure:
                self._reply_failed(ReplyFailed(fact.epoch, "llm", "empty_reply", "The model gave no answer."))
            elif reply.complete:
                self._playback_ended(turn)

    def _reply_failed(self, fact: ReplyFailed) -> None:
        current = self._current(fact.epoch)
        if current is None:
            return
        turn, reply = current
        turn.faults.append(StageFault(fact.stage, fact.code, recovered=reply.released))
        reply.failure = fact.stage
        self._send(protocol.Notice(code=f"{fact.stage}_failed", message=fact.message))
        if self.leaf is Leaf.THINKING and not reply.ready:
            self._apologize(turn, fact.stage)
        else:  # what was made is played out, or, in a barge-in, the verdict comes first
            self._fire(Trigger.STAGE_FAILED, fact.code)

    def _apologize(self, turn: Turn, stage: str) -> None:
        """In thinking: one apology aloud; if there is no voice for it, or it failed too, the page says it."""
        if stage == "tts" or turn.apologies:
            self._fire(Trigger.GAVE_UP, stage)
            self._cancel_reply(turn)
            self._send(protocol.Notice(code="no_voice", message=NO_VOICE))
            self._finish(turn, "failed")
            self.turn = None
            return
        turn.apologies += 1
        self._fire(Trigger.STAGE_FAILED, stage)
        self._cancel_reply(turn)
        self._start_reply(APOLOGY)

    # --------------------------------------------------------------------------------------------------------- the speaker
    def _playback_started(self, fact: PlaybackStarted) -> None:
        if current := self._current(fact.epoch):
            self._progress_us = self._now_us
            current[0].marks.setdefault("playback_start", fact.at_us)
            current[0].rtt_us = fact.rtt_us

    def _playback_progress(self, fact: PlaybackProgress) -> None:
        flush = self._flush
        if flush is not None and fact.epoch == flush.epoch:
            self._heard_up_to(self._replying(flush.turn), fact.samples)
            if fact.kind == "flushed":
                flush.turn.marks["flush_ack"] = self._now_us
                self._resolve_flush()
            return
        current = self._current(fact.epoch)
        if current is None:
            return
        turn, reply = current
        if not reply.released:
            self.stale += 1  # nobody can have heard it
            return
        self._heard_up_to(reply, fact.samples)
        if fact.kind == "ended" and reply.complete:
            self._playback_ended(turn)

    def _heard_up_to(self, reply: Reply, samples: int) -> None:
        bound = samples if reply.total_samples is None else min(samples, reply.total_samples)
        if bound > reply.heard_samples:
            reply.heard_samples = bound
            self._progress_us = self._now_us

    def _playback_ended(self, turn: Turn) -> None:
        over = self._over
        if not self._fire(Trigger.PLAYBACK_ENDED):
            return
        turn.marks["playback_end"] = self._now_us
        rejected = turn.barge_in.get("verdict") == "rejected"
        self._finish(turn, "failed" if self._replying(turn).canned and turn.apologies else
                     "resumed" if rejected else "completed")  # fmt: skip
        self.turn, self._over = over, None
        if over is not None and over.ended:
            self._end_open_turn("ended before")

    def _end_open_turn(self, reason: str) -> None:
        self._fire(Trigger.ENDPOINT, reason)
        self._weigh_words()

    # ------------------------------------------------------------------------------------------------------ time and leaving
    def _tick(self, _: Tick) -> None:
        if self._flush is not None and self._now_us >= self._flush.deadline_us:
            self._resolve_flush()
        due_us = self._leaf_deadline_us()
        if due_us is None or self._now_us < due_us:
            return
        turn = self.turn
        match self.leaf:
            case Leaf.LISTENING:
                self._leave(Trigger.IDLE, Left("idle", protocol.Close.TIMEOUT, "Nobody spoke for a while.", "Press Start to go on."))
            case Leaf.TRANSCRIBING_OPEN:
                self._floor().ended = True
                self._floor().marks |= {"speech_end": self._now_us, "endpoint": self._now_us}
                self._fire(Trigger.TOO_LONG)
                self._commit(self._floor())
                self._weigh_words()
            case Leaf.TRANSCRIBING_ENDED if turn is not None:
                self._words_late(turn)
            case Leaf.THINKING if turn is not None:
                self._reply_late(turn)
            case Leaf.SPEAKING if turn is not None:
                self._stalled(turn)
            case _ if self._voice_onset_us is not None:
                self._confirm_by("voiced")
            case _:
                self._reject("silence")

    def _words_late(self, turn: Turn) -> None:
        turn.faults.append(StageFault("stt", "late", recovered=bool(turn.text)))
        for item in turn.items:
            self._items.pop(item.key, None)
            item.final = item.text
        if turn.text:
            self._fire(Trigger.TEXT_READY, "deadline")
            self._start_reply()
        else:
            self._fire(Trigger.STT_LATE)
            self._start_reply(SAY_AGAIN)

    def _reply_late(self, turn: Turn) -> None:
        turn.faults.append(StageFault("llm" if "llm_first_token" not in turn.marks else "tts", "late", recovered=False))
        if turn.apologies:
            self._apologize(turn, "late")
            return
        self._fire(Trigger.REPLY_LATE)
        self._apologize(turn, "late")

    def _stalled(self, turn: Turn) -> None:
        reply = self._replying(turn)
        turn.faults.append(StageFault("tts", "stalled", recovered=False))
        self._fire(Trigger.STALLED)
        self._out += [FlushReply(turn.number, reply.epoch), CancelReply(turn.number, reply.epoch)]
        self.epoch += 1
        self._finish(turn, "failed")
        self.turn = None

    def _left(self, fact: Left) -> None:
        self._leave(Trigger.LEAVE, fact)

    def _leave(self, trigger: Trigger, fact: Left) -> None:
        self._fire(trigger, fact.reason)
        self._settle_late()
        self._resolve_flush()
        for turn in (self.turn, self._over):
            if turn is not None:
                if turn.reply is not None:
                    self._out.append(CancelReply(turn.number, turn.reply.epoch))
                self._finish(turn, "interrupted" if turn.reply is not None and turn.reply.released else "discarded")
        self.turn = self._over = None
        self._out.append(EndSession(fact.code, fact.reason, fact.message, fact.hint))

    # -------------------------------------------------------------------------------------------------------- bookkeeping
    def _floor(self) -> Turn:
        if self.turn is None:
            raise AssertionError(f"nobody has the floor in {self.leaf}")
        return self.turn

    def _replying(self, turn: Turn | None = None) -> Reply:
        reply = (turn or self._floor()).reply
        if reply is None:
            raise AssertionError(f"there is no reply in {self.leaf}")
        return reply

    def _new_turn(self, origin: Origin, started_us: int, parent: int | None = None) -> Turn:
        turn = Turn(self._next_turn, origin, started_us, parent)
        turn.marks["speech_start"] = started_us
        self._next_turn += 1
        return turn

    def _open_item(self, turn: Turn, from_us: int) -> None:
        if turn.open_item is None:
            item = Item(self._next_item)
            self._next_item += 1
            turn.parts.append(item)
            self._items[item.key] = (turn, item)
            self._out.append(OpenItem(turn.number, item.key, from_us))

    def _commit(self, turn: Turn) -> None:
        item = turn.open_item
        if item is not None:
            item.committed = True
            turn.marks["commit"] = self._now_us
            self._out.append(CommitItem(turn.number, item.key))

    def _finish(self, turn: Turn, outcome: Outcome) -> None:
        """Say the last word about a turn: its record, the page's lines, and what is remembered of it."""
        if turn.reply is None and outcome not in ("failed", "reopened") and turn.text and outcome != "discarded":
            outcome = "discarded"
        record = self._recorder.turn(turn, outcome, self._now_us)
        self._out.append(Record(record))
        for message in self._recorder.farewell(turn, record):
            self._send(message)
        if outcome != "reopened" and turn.reply is not None and (turn.text or turn.reply.heard):
            heard = turn.reply.heard
            self.past.append(PastTurn(turn.number, turn.text, heard, bool(heard) and not turn.reply.complete))
            del self.past[: -self.rules.max_history_turns]
        for item in turn.items if outcome != "reopened" else ():
            self._items.pop(item.key, None)
