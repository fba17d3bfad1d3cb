"""The conversation: facts in, effects out. It owns state, turns, epochs, history, and the truth about what was heard.

It has no clock, no task and no socket. The driver calls `Conversation.handle` with each fact and the time, runs the
effects in their order, and calls it with `Tick` when `Conversation.deadline_us` is reached. Every decision is one trigger
put to the rulebook. The class is built in four layers, each of which calls only down: `bookkeeping` (turns, items,
records), `answering` (the reply), `weighing` (words and verdicts), and here the user's voice, keys and the clock.
"""

from collections.abc import Callable
from typing import Any

from voiceagent import protocol
from voiceagent.events import (
    AgentSays,
    Effect,
    Fact,
    FinalTranscript,
    HoldReply,
    Left,
    PartialTranscript,
    PlaybackProgress,
    PlaybackStarted,
    ReplyAudible,
    ReplyDone,
    ReplyFailed,
    ReplyMark,
    ReplyPhrase,
    ReplyReady,
    SttFailed,
    TalkKey,
    TextSubmitted,
    Tick,
    VoiceEnded,
    VoiceOn,
    VoicePaused,
    VoiceResumed,
)
from voiceagent.states import Leaf, Trigger
from voiceagent.timeline import BargeIn, Origin
from voiceagent.turns import Turn
from voiceagent.weighing import BARGE_IN, Weighing


class Conversation(Weighing):
    """One session's conversation."""

    def handle(self, fact: Fact, now_us: int) -> list[Effect]:
        """Take in one fact and return what is to be done, in order. Once closed, nothing is done any more.

        The caller runs the effects before the next fact, and then waits for facts until `deadline_us`.
        """
        if self.leaf is Leaf.CLOSED:
            return []
        self._now_us = now_us
        self._out = []
        _ACTS[type(fact)](self, fact)
        return self._out

    @property
    def deadline_us(self) -> int | None:
        """When `Tick` is due; None once closed."""
        leaf_us = self._leaf_deadline_us()
        if leaf_us is not None and self._flush is not None:
            return min(leaf_us, self._flush.deadline_us)
        return leaf_us

    # --------------------------------------------------------------------------- the user's voice
    def _voice_on(self, fact: VoiceOn) -> None:
        self._hear(fact.onset_us)

    def _hear(self, onset_us: int) -> None:
        """Somebody speaks, for the first time or again."""
        leaf = self.leaf
        if not self.rules.barge_in and leaf in (Leaf.THINKING, Leaf.SPEAKING):
            return  # half-duplex: while the agent has the floor nobody else is heard
        self._voice_onset_us = onset_us
        if leaf is Leaf.LISTENING:
            turn = self.turn = self._new_turn("user", onset_us)
            self._fire(Trigger.VOICE_ON)
        elif leaf in (Leaf.THINKING, Leaf.SPEAKING):
            turn = self._over = self._new_turn("user", onset_us, parent=self._floor().number)
            self._fire(Trigger.VOICE_ON)
            self._hold(self._floor(), leaf, onset_us)
        else:
            self._fire(Trigger.VOICE_ON)
            turn = self._over if leaf in BARGE_IN and self._over is not None else self._floor()
            turn.ended = False
        self._open_item(turn, onset_us)

    def _hold(self, turn: Turn, over: Leaf, onset_us: int) -> None:
        barge_in = BargeIn(onset_us, over.state)
        turn.barge_ins.append(barge_in)
        if over is Leaf.SPEAKING:
            reply = self._replying(turn)
            barge_in.hold_us = self._now_us - onset_us
            reply.marks |= {"barge_in_onset": onset_us, "hold_sent": self._now_us}
            self._out.append(HoldReply(turn.number, reply.epoch))

    def _voice_resumed(self, fact: VoiceResumed) -> None:
        if self.leaf in (Leaf.TRANSCRIBING_OPEN, *BARGE_IN):
            turn = self._over if self._over is not None else self._floor()
            turn.pauses_ms.append(fact.silence_us // 1000)
        self._hear(self._now_us)

    def _voice_paused(self, fact: VoicePaused) -> None:
        self._voice_onset_us = None
        self._speech_end_us = fact.speech_end_us
        if self.leaf is Leaf.TRANSCRIBING_OPEN:
            self._floor().marks["pause_noticed"] = self._now_us
        self._fire(Trigger.PAUSE)
        if self.leaf in BARGE_IN and self._over is not None:
            self._commit(self._over)  # the verdict needs its words

    def _voice_ended(self, fact: VoiceEnded) -> None:
        self._voice_onset_us = None
        self._speech_end_us = fact.speech_end_us
        if self.leaf not in (Leaf.TRANSCRIBING_OPEN, *BARGE_IN):
            return
        turn = self._over if self._over is not None else self._floor()
        turn.voiced_us += fact.voiced_us
        if turn.talk_key:
            return  # the key ends it
        turn.marks |= {
            "speech_end": fact.speech_end_us, "speech_end_arrived": fact.arrived_us, "endpoint": self._now_us,
        }  # fmt: skip
        turn.ended = True
        self._fire(Trigger.ENDPOINT)
        self._commit(turn)
        self._weigh_words()

    # ---------------------------------------------------------------------------- keys and typing
    def _talk_key(self, fact: TalkKey) -> None:
        self._voice_onset_us = None  # the key says who speaks; the endpointer begins anew at both of its edges
        if fact.down:
            turn = self._take_floor(Trigger.PTT_DOWN, "user")
            turn.talk_key, turn.ended = True, False
            self._open_item(turn, self._now_us)
        elif self.leaf is Leaf.TRANSCRIBING_OPEN and self._floor().talk_key:
            turn = self._floor()
            turn.talk_key = False
            self._end_of_speech(turn)
            self._fire(Trigger.PTT_UP)
            self._commit(turn)
            self._weigh_words()

    def _text_submitted(self, fact: TextSubmitted) -> None:
        turn = self._take_floor(Trigger.TEXT_SUBMITTED, "text")
        turn.parts.append(fact.text)
        turn.marks["speech_end"] = self._now_us
        turn.ended = turn.ended or self.leaf is Leaf.THINKING
        self._tell_words(turn)
        if self.leaf is Leaf.THINKING:
            self._start_reply()
        elif self.leaf is Leaf.TRANSCRIBING_OPEN and (turn.ended or turn.open_item is None):
            turn.ended = True  # nobody is speaking: the typed line is all there is
            self._fire(Trigger.ENDPOINT, "typed")
            self._weigh_words()

    def _take_floor(self, trigger: Trigger, origin: Origin) -> Turn:
        """Give the user the floor at once, whatever goes on: the talk key and typing need no verdict."""
        leaf = self.leaf
        if leaf is Leaf.LISTENING:
            self.turn = self._new_turn(origin, self._now_us)
            self._fire(trigger)
        elif leaf is Leaf.THINKING:
            cut = self._floor()
            self._fire(trigger)
            if cut.origin == "agent" or self._late is not None:
                self._go_on(cut, self._new_turn(origin, self._now_us, parent=cut.number))
            else:
                self._drop_reply(cut)
                cut.reopened += 1
        elif leaf is Leaf.SPEAKING:
            cut = self._floor()
            self._over = self._new_turn(origin, self._now_us, parent=cut.number)
            self._fire(trigger)
            self._cut_off(cut, "taken")
        elif leaf in BARGE_IN:
            self._confirm(trigger, "taken")
        else:
            self._fire(trigger)
        return self._floor()

    def _agent_says(self, fact: AgentSays) -> None:
        if self.leaf is Leaf.LISTENING:
            self._settle_late()
            self.turn = self._new_turn("agent", self._now_us)
            self._fire(Trigger.AGENT_TURN)
            self._start_reply(fact.text)

    # --------------------------------------------------------------------------- time and leaving
    def _tick(self, _: Tick) -> None:
        if self._flush is not None and self._now_us >= self._flush.deadline_us:
            self._resolve_flush()
        due_us = self._leaf_deadline_us()
        if due_us is None or self._now_us < due_us:
            return
        match self.leaf:
            case Leaf.LISTENING:
                message, hint = "Nobody has spoken for a while.", "Press Start to go on."
                self._leave(Trigger.IDLE, Left("idle", protocol.Close.TIMEOUT, message, hint))
            case Leaf.TRANSCRIBING_OPEN:
                turn = self._floor()
                self._end_of_speech(turn)
                self._fire(Trigger.TOO_LONG)
                self._commit(turn)
                self._weigh_words()
            case Leaf.TRANSCRIBING_ENDED:
                self._words_late(self._floor())
            case Leaf.THINKING:
                self._reply_late(self._floor())
            case Leaf.SPEAKING:
                self._stalled(self._floor())
            case _ if self._voice_onset_us is not None:
                self._confirm_by("voiced")
            case _:
                self._reject("silence")

    def _left(self, fact: Left) -> None:
        self._leave(Trigger.LEAVE, fact)


_ACTS: dict[type, Callable[[Conversation, Any], None]] = {
    VoiceOn: Conversation._voice_on,
    VoiceResumed: Conversation._voice_resumed,
    VoicePaused: Conversation._voice_paused,
    VoiceEnded: Conversation._voice_ended,
    TextSubmitted: Conversation._text_submitted,
    TalkKey: Conversation._talk_key,
    AgentSays: Conversation._agent_says,
    Left: Conversation._left,
    Tick: Conversation._tick,
    PartialTranscript: Conversation._partial,
    FinalTranscript: Conversation._final,
    SttFailed: Conversation._stt_failed,
    ReplyMark: Conversation._reply_mark,
    ReplyPhrase: Conversation._reply_phrase,
    ReplyReady: Conversation._reply_ready,
    ReplyAudible: Conversation._reply_audible,
    ReplyDone: Conversation._reply_done,
    ReplyFailed: Conversation._reply_failed,
    PlaybackStarted: Conversation._playback_started,
    PlaybackProgress: Conversation._playback_progress,
}
