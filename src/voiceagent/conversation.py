"""The conversation: facts in, effects out. It owns state, turns, epochs, history, and the truth about what was heard.

It has no clock, no task and no socket. The driver calls `Conversation.handle` with each fact and the time, runs the
effects in their order, and calls it with `Tick` when `Conversation.deadline_us` is reached. Every decision is one trigger
put to the rulebook. The class is built in five layers, each of which calls only down: `bookkeeping` (turns, items,
records), `answering` (replies, early ones too), `playing` (what is heard of them), `weighing` (words and verdicts), and
here the user's voice, keys and the clock.
"""

from collections.abc import Callable
from typing import Any

from voiceagent import protocol
from voiceagent.bookkeeping import CRACKLES, CRACKLES_US
from voiceagent.effects import Effect, HoldReply, StartFiller, TellTyped
from voiceagent.events import (
    AgentSays,
    EndOfTurn,
    Fact,
    FinalTranscript,
    Left,
    PartialTranscript,
    PlaybackProgress,
    PlaybackStarted,
    ReplyAudible,
    ReplyConnected,
    ReplyDone,
    ReplyDropped,
    ReplyFailed,
    ReplyMark,
    ReplyPhrase,
    ReplyReady,
    ReplyRetried,
    ReplyWords,
    SoundOff,
    SoundOn,
    SttConnected,
    SttFailed,
    TalkKey,
    TextSubmitted,
    Tick,
    Tuned,
    VoiceEnded,
    VoiceLevel,
    VoiceOn,
    VoicePaused,
    VoiceResumed,
)
from voiceagent.playing import FAREWELLS
from voiceagent.states import Leaf, Trigger
from voiceagent.timeline import BargeIn, Origin
from voiceagent.turns import Turn
from voiceagent.weighing import BARGE_IN, Weighing

CUT_WORD_US = 200_000
"""A shorter pause may be inside a word: what was transcribed up to it is not to be trusted."""
TAKE_BACK_US = 8_000_000
"""So far back the microphone's audio is kept to be transcribed anew."""


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
        if self.leaf is Leaf.LISTENING and self._voice_onset_us is not None and self._passed_us is None:
            self._hear(now_us)  # somebody speaks whom the reply that has just ended did not let in: the floor is free
        return self._out

    @property
    def deadline_us(self) -> int | None:
        """When `Tick` is due; None once closed."""
        leaf_us = self._leaf_deadline_us()
        if leaf_us is None:
            return None
        flush_us = leaf_us if self._flush is None else self._flush.deadline_us
        return min(leaf_us, flush_us, self._filler_due_us() or leaf_us)

    # --------------------------------------------------------------------------- the user's voice
    def _sound_on(self, fact: SoundOn) -> None:
        """Something is loud over the reply: hold it before it is known what it is."""
        if self.leaf in (Leaf.THINKING, Leaf.SPEAKING) and self.rules.barge_in and not self._crackles():
            self._speak_over(fact.onset_us, "sound").speech = False

    def _sound_off(self, _: SoundOff) -> None:
        if self.leaf in BARGE_IN and self._over is not None and not self._over.speech:
            self._reject("noise")

    def _crackles(self) -> bool:
        """Whether the room is so full of sounds that only speech may hold a reply."""
        false = self._false_sounds
        return len(false) == CRACKLES and self._now_us - false[0] < CRACKLES_US

    def _voice_on(self, fact: VoiceOn) -> None:
        self._unanswered = 0
        self._hear(fact.onset_us)

    def _voice_level(self, fact: VoiceLevel) -> None:
        """Somebody in the room speaks over the reply, but does not sound like the caller: it goes on."""
        over = self._over
        if self.leaf in BARGE_IN and over is not None and over.speech:
            over.level_db = fact.level_db
            if self._is_aside(fact.level_db):
                self._passed_us = over.onset_us
                self._reject("side speech")

    def _hear(self, onset_us: int, *, again: bool = False) -> None:
        """Somebody speaks, for the first time or again."""
        leaf = self.leaf
        self._voice_onset_us = onset_us
        self._passed_us = None
        if not self.rules.barge_in and leaf in (Leaf.THINKING, Leaf.SPEAKING):
            return  # half-duplex: while the agent has the floor nobody else is heard
        if leaf is Leaf.LISTENING:
            turn = self.turn = self._new_turn("user", onset_us)
            self._fire(Trigger.VOICE_ON)
        elif leaf in (Leaf.THINKING, Leaf.SPEAKING):
            turn = self._speak_over(onset_us, "speech")
        else:
            turn = self._over if leaf in BARGE_IN and self._over is not None else self._floor()
            self._drop_guess(turn)
            if leaf is Leaf.TRANSCRIBING_ENDED:
                self._learn_pause(turn, onset_us)
            self._fire(Trigger.VOICE_ON, "" if turn.speech else "speech")
            turn.ended = False
        turn.speech = True
        self._open_item(turn, onset_us, again=again)

    def _speak_over(self, onset_us: int, what: str) -> Turn:
        """Sound over a reply: a tentative turn beside the reply's own, and the reply stands still."""
        turn, leaf = self._floor(), self.leaf
        over = self._over = self._new_turn("user", onset_us, parent=turn.number)
        self._fire(Trigger.VOICE_ON, what)
        barge_in = BargeIn(onset_us, leaf.state)
        turn.barge_ins.append(barge_in)
        if leaf is Leaf.SPEAKING:
            reply = self._replying(turn)
            barge_in.hold_us = self._now_us - onset_us
            reply.marks |= {"barge_in_onset": onset_us, "hold_sent": self._now_us}
            self._out.append(HoldReply(turn.number, reply.epoch))
        elif turn.filler:
            self._out.append(HoldReply(turn.number, turn.filler))
        return over

    def _voice_resumed(self, fact: VoiceResumed) -> None:
        if self._passed_us is not None:
            return
        if self.leaf in (Leaf.TRANSCRIBING_OPEN, *BARGE_IN):
            turn = self._over if self._over is not None else self._floor()
            pause_ms = fact.silence_us // 1000
            # A wait that came down below the silence in its last moment came too late to end the turn.
            turn.pauses.append((pause_ms, None if turn.wait is None else max(turn.wait.silence_ms, pause_ms + 1)))
            self._patience.pause(pause_ms)
            if fact.silence_us < CUT_WORD_US and self._take_back(turn):
                return
        self._hear(fact.onset_us)

    def _take_back(self, turn: Turn) -> bool:
        """The pause may have been inside a word: the last item goes on, and what was made of its half is void."""
        item = turn.items[-1] if turn.items else None
        if item is None or not item.committed or self._now_us - turn.onset_us > TAKE_BACK_US:
            return False
        self._items.pop(item.key, None)
        turn.parts.remove(item)
        self._hear(turn.onset_us, again=True)
        self._voice_onset_us = self._now_us
        return True

    def _voice_paused(self, fact: VoicePaused) -> None:
        self._voice_onset_us = None
        self._speech_end_us = fact.speech_end_us
        if self._passed_us is not None and self.leaf in (Leaf.THINKING, Leaf.SPEAKING):
            if fact.level_db is None or self._is_aside(fact.level_db):
                return
            self._hear(self._passed_us)  # it began softly, but it is the caller after all
            self._voice_onset_us = None
        turn = self._over if self._over is not None else self.turn
        self._fire(Trigger.PAUSE)
        if turn is None or self.leaf not in (Leaf.TRANSCRIBING_OPEN, *BARGE_IN):
            return
        turn.marks["pause_noticed"] = self._now_us
        turn.voicing_us, turn.level_db = fact.voiced_us, fact.level_db
        if not self.rules.speech_to_speech:
            self._commit(turn)  # the words so far are wanted: for the verdict, for the wait, for an early reply
        turn.wait = turn.end_probability = None  # the ears began anew when the voice did
        self._set_wait(turn)
        if turn is self._over:
            self._judge_words(turn)
        else:
            self._weigh_words()

    def _voice_ended(self, fact: VoiceEnded) -> None:
        self._voice_onset_us = self._passed_us = None
        self._speech_end_us = fact.speech_end_us
        if self.leaf not in (Leaf.TRANSCRIBING_OPEN, *BARGE_IN):
            if self._late is not None:
                self._late.ended = True
                self._settle_late_if_done()
            return
        turn = self._over if self._over is not None else self._floor()
        turn.voiced_us += fact.voiced_us
        turn.voicing_us = 0
        if turn.talk_key:
            return  # the key ends it
        turn.marks |= {
            "speech_end": fact.speech_end_us, "speech_end_arrived": fact.arrived_us,
            "vad_stop": self._now_us, "endpoint": self._now_us,
        }  # fmt: skip
        turn.ended = True
        self._fire(Trigger.ENDPOINT)
        self._commit(turn)
        self._weigh_words()

    def _tuned(self, fact: Tuned) -> None:
        self._patience.dial = fact.patience
        self._budget.wait_us = self._usual_wait_us()

    # ---------------------------------------------------------------------------- keys and typing
    def _talk_key(self, fact: TalkKey) -> None:
        self._unanswered = 0
        self._voice_onset_us = None  # the key says who speaks; the endpointer begins anew at both of its edges
        if fact.down:
            turn = self._take_floor(Trigger.PTT_DOWN, "user")
            turn.talk_key, turn.ended = True, False
            self._open_item(turn, fact.at_us)
        elif self.leaf is Leaf.TRANSCRIBING_OPEN and self._floor().talk_key:
            turn = self._floor()
            turn.talk_key = False
            self._end_of_speech(turn)
            self._fire(Trigger.PTT_UP)
            self._commit(turn)
            self._weigh_words()

    def _text_submitted(self, fact: TextSubmitted) -> None:
        self._unanswered = 0
        turn = self._take_floor(Trigger.TEXT_SUBMITTED, "text")
        turn.parts.append(fact.text)
        if self.rules.speech_to_speech:
            self._out.append(TellTyped(turn.number, fact.text))
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
            self._drop_guess(self._floor())
            self._fire(trigger)
        return self._floor()

    def _agent_says(self, fact: AgentSays) -> None:
        if self.leaf is Leaf.LISTENING:
            self._speak_first(fact.text)

    def _speak_first(self, text: str, reason: str = "") -> Turn:
        self._settle_late()
        turn = self.turn = self._new_turn("agent", self._now_us)
        self._fire(Trigger.AGENT_TURN, reason)
        self._start_reply(text)
        return turn

    # --------------------------------------------------------------------------- time and leaving
    def _tick(self, _: Tick) -> None:
        if self._flush is not None and self._now_us >= self._flush.deadline_us:
            self._resolve_flush()
        due_us = self._leaf_deadline_us()
        if due_us is not None and self._now_us >= due_us:
            self._leaf_is_late()
        filler_us = self._filler_due_us()
        if filler_us is not None and self._now_us >= filler_us:
            self._fill()

    def _leaf_is_late(self) -> None:
        match self.leaf:
            case Leaf.LISTENING:
                self._idle()
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
            case _ if self._over is None or not self._over.speech:
                self._reject("no speech")
            case _ if self._voice_onset_us is not None:
                self._confirm_by("voiced")
            case _:
                self._reject("silence")

    def _idle(self) -> None:
        """In listening: nobody has spoken for long. Ask once; after more silence say goodbye, and end."""
        rules = self.rules
        if not self._unanswered and rules.ask and 0 < rules.ask_after_us < rules.idle_us:
            self._unanswered += 1
            self._speak_first(rules.ask, "silence")
        elif rules.farewell:
            self._speak_first(rules.farewell, "silence").farewell = "idle"
        else:
            message, hint = FAREWELLS["idle"]
            self._leave(Trigger.IDLE, Left("idle", protocol.Close.TIMEOUT, message, hint))

    def _filler_due_us(self) -> int | None:
        """When the wait for the reply has lasted so long that it is to be bridged; None if it is not, or was."""
        turn, rules = self.turn, self.rules
        if self.leaf is not Leaf.THINKING or not rules.filler or turn is None or turn.fillers or turn.origin == "agent":
            return None
        if turn.reply is None or turn.reply.ready or turn.reply.canned:
            return None
        return turn.marks.get("endpoint", self._recorder.entered_us) + rules.filler_after_us

    def _fill(self) -> None:
        turn = self._floor()
        turn.fillers += 1
        turn.filler = self._replying(turn).epoch - 1
        self._fire(Trigger.FILL)
        self._out.append(StartFiller(turn.number, turn.filler, self.rules.filler))

    def _left(self, fact: Left) -> None:
        self._leave(Trigger.LEAVE, fact)


_ACTS: dict[type, Callable[[Conversation, Any], None]] = {
    SoundOn: Conversation._sound_on,
    SoundOff: Conversation._sound_off,
    EndOfTurn: Conversation._end_of_turn,
    Tuned: Conversation._tuned,
    VoiceOn: Conversation._voice_on,
    VoiceLevel: Conversation._voice_level,
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
    SttConnected: Conversation._stt_connected,
    ReplyConnected: Conversation._reply_connected,
    ReplyMark: Conversation._reply_mark,
    ReplyPhrase: Conversation._reply_phrase,
    ReplyReady: Conversation._reply_ready,
    ReplyWords: Conversation._reply_words,
    ReplyAudible: Conversation._reply_audible,
    ReplyDone: Conversation._reply_done,
    ReplyDropped: Conversation._reply_dropped,
    ReplyRetried: Conversation._reply_retried,
    ReplyFailed: Conversation._reply_failed,
    PlaybackStarted: Conversation._playback_started,
    PlaybackProgress: Conversation._playback_progress,
}
