"""The reply on its way to an ear: what its making tells, what fails in it, what was heard of it, and how it is cut off."""

from dataclasses import replace

from voiceagent import protocol
from voiceagent.answering import Answering
from voiceagent.bookkeeping import HASTY_US, PendingFlush
from voiceagent.effects import CancelReply, EndSession, FlushReply, ResumeReply
from voiceagent.events import (
    Left,
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
)
from voiceagent.patience import QUESTION_MARKS
from voiceagent.speculation import Guess, Step
from voiceagent.states import Leaf, Trigger
from voiceagent.timeline import BargeIn, Connection, Outcome, StageFault
from voiceagent.turns import Reply, Turn

FAREWELLS = {
    "idle": ("Nobody has spoken for a while.", "Press Start to go on."),
    "token_cap": ("This conversation has reached its length.", "Start a new one to go on."),
}
"""Why a session ends by itself: what the page says, and what one can do."""
APOLOGY = "Sorry, something went wrong on my side. Please try again."
VOICES = ("tts", "realtime")  # without them there is nobody to apologize
OVERLOAD = "overrun"
"""Why a session is left with which the server does not keep up: its turns are shed."""
NO_VOICE = "I cannot answer aloud right now. Please try again in a moment."


class Playing(Answering):
    """Follows replies while they are made and heard, and ends them."""

    # ------------------------------------------------------------------------- a reply being made
    def _current(self, epoch: int) -> tuple[Turn, Reply] | None:
        """The reply that a stage or the browser speaks of; None, and counted, if it is not alive any more."""
        turn = self.turn
        if turn is not None and turn.reply is not None and turn.reply.epoch == epoch:
            return turn, turn.reply
        if turn is not None and turn.filler == epoch:
            return None  # it is no reply: nothing of it is measured or remembered
        self.stale += 1
        return None

    def _reply_mark(self, fact: ReplyMark) -> None:
        if current := self._current(fact.epoch):
            current[1].marks.setdefault(fact.name, fact.at_us)
            self._progress_us = self._now_us

    def _reply_connected(self, fact: ReplyConnected) -> None:
        if current := self._current(fact.epoch):
            current[0].connections[fact.stage] = Connection(fact.acquire_us, fact.reused)

    def _reply_phrase(self, fact: ReplyPhrase) -> None:
        if current := self._current(fact.epoch):
            turn, reply = current
            reply.ledger.add(fact.text, fact.first_sample)
            reply.phrases.append((fact.text, fact.first_sample))
            self._tell_phrases(turn, reply)

    def _reply_words(self, fact: ReplyWords) -> None:
        if current := self._current(fact.epoch):
            current[1].ledger.mark(fact.first_sample, fact.marks, broken=fact.broken)

    def _reply_ready(self, fact: ReplyReady) -> None:
        if current := self._current(fact.epoch):
            turn, reply = current
            reply.ready_us = self._now_us
            if "commit" in turn.marks:
                self._budget.made(self._now_us - turn.marks["commit"])
            if turn.guess is Guess.RUNNING:
                turn.guess_step(Step.AUDIO)
            elif self.leaf is Leaf.THINKING:
                self._release(turn, reply)

    def _reply_audible(self, fact: ReplyAudible) -> None:
        if current := self._current(fact.epoch):
            current[1].leading_silence_us = fact.sample * 1_000_000 // protocol.RATE_HZ

    def _reply_dropped(self, fact: ReplyDropped) -> None:
        for turn in (self.turn, self._over):
            if turn is not None and turn.number == fact.turn:
                turn.speculation.wasted_tokens += fact.tokens
                turn.speculation.wasted_characters += fact.characters

    def _reply_done(self, fact: ReplyDone) -> None:
        self._tokens += fact.usage.get("completion_tokens", 0)
        current = self._current(fact.epoch)
        if current is None:
            return
        turn, reply = current
        turn.usage |= fact.usage
        reply.total_samples = fact.samples
        if self.rules.speech_to_speech:
            reply.ledger.spread(fact.samples)
        if reply.failure not in VOICES:  # else its last phrase has more words than audio, and only the pace tells which
            reply.ledger.close(fact.samples)
        if fact.samples == 0 and not reply.failure:
            self._reply_failed(ReplyFailed(fact.epoch, fact.stage, "empty_reply", f"{fact.who} gave no answer."))
        elif reply.released and reply.complete:
            self._playback_ended(turn)

    # ----------------------------------------------------------------------------------- failures
    def _reply_retried(self, fact: ReplyRetried) -> None:
        if current := self._current(fact.epoch):
            current[0].faults.append(StageFault(fact.stage, fact.code, recovered=True))

    def _reply_failed(self, fact: ReplyFailed) -> None:
        current = self._current(fact.epoch)
        if current is None:
            return
        turn, reply = current
        if not turn.guessed and not reply.ready:  # then what was tried once more, or early, did not work either
            turn.faults = [
                replace(fault, recovered=fault.recovered and fault.stage != fact.stage) for fault in turn.faults
            ]
        if turn.guessed:  # the turn has not ended: there will be another try when it has
            turn.faults.append(StageFault(fact.stage, fact.code, recovered=True))
            self._drop_guess(turn)
            return
        turn.faults.append(StageFault(fact.stage, fact.code, recovered=reply.ready))
        reply.failure = fact.stage
        self._send(protocol.Notice(code=f"{fact.stage}_failed", message=fact.message))
        if self.leaf is Leaf.THINKING and not reply.ready:
            self._apologize(turn, fact.stage)
        else:  # what was made is played out; in a barge-in the verdict comes first
            self._fire(Trigger.STAGE_FAILED, fact.code)

    def _apologize(self, turn: Turn, stage: str) -> None:
        """In thinking: one apology aloud; if there is no voice for it, or it failed too, the page says it."""
        if stage in VOICES or turn.apologies:
            self._fire(Trigger.GAVE_UP, stage)
            reply = turn.reply
            self._drop_reply(turn)
            self._send(protocol.Notice(code="no_voice", message=NO_VOICE))
            turn.reply = reply  # the record tells how far it came
            self._finish(turn, "failed")
            self.turn = None
            self._part(turn)
            return
        turn.apologies += 1
        self._fire(Trigger.STAGE_FAILED, stage)
        self._drop_reply(turn)
        self._start_reply(APOLOGY)

    def _reply_late(self, turn: Turn) -> None:
        """In thinking: the deadline has come and nothing can be heard yet."""
        stage = "realtime" if self.rules.speech_to_speech else "tts" if "llm_first_token" in turn.all_marks else "llm"
        turn.faults.append(StageFault(stage, "late", recovered=False))
        if not turn.apologies:
            self._fire(Trigger.REPLY_LATE)
        self._apologize(turn, "late")

    def _stalled(self, turn: Turn) -> None:
        """In speaking: neither audio nor a word from the browser for too long."""
        reply = self._replying(turn)
        stage = "realtime" if self.rules.speech_to_speech else "tts"
        turn.faults.append(StageFault(stage, "stalled", recovered=False))
        self._fire(Trigger.STALLED)
        self._out += [FlushReply(turn.number, reply.epoch), CancelReply(turn.number, reply.epoch)]
        self._tell_heard(turn, reply)
        self.epoch += 1
        self._finish(turn, "failed")
        self.turn = None

    # -------------------------------------------------------------------------------- the speaker
    def _playback_started(self, fact: PlaybackStarted) -> None:
        current = self._current(fact.epoch)
        if current is not None and current[1].released:
            turn, reply = current
            self._progress_us = self._now_us
            # A clock that was mapped a little wrong must not tell of sound before it was sent, nor after it was told of.
            earliest_us = reply.marks.get("first_frame_sent", reply.marks["gate_open"])
            reply.marks.setdefault("playback_start", max(min(fact.at_us, self._now_us), earliest_us))
            turn.rtt_us = fact.rtt_us

    def _playback_progress(self, fact: PlaybackProgress) -> None:
        flush, turn = self._flush, self.turn
        if turn is not None and fact.epoch == turn.filler:
            if fact.kind == "ended":
                turn.filler = 0
            return
        if flush is not None and fact.epoch == flush.epoch:
            reply = self._replying(flush.turn)
            self._heard_up_to(flush.turn, reply, fact.samples)
            if fact.kind == "flushed":
                reply.marks["flush_ack"] = self._now_us
                barge_in = flush.turn.barge_ins[-1]
                barge_in.yield_us = self._now_us - barge_in.onset_us
                self._resolve_flush()
            return
        current = self._current(fact.epoch)
        if current is None:
            return
        turn, reply = current
        if not reply.released:
            self.stale += 1  # nobody can have heard it
            return
        self._heard_up_to(turn, reply, fact.samples)
        if fact.kind == "ended" and reply.complete:
            self._playback_ended(turn)

    def _heard_up_to(self, turn: Turn, reply: Reply, samples: int) -> None:
        bound = samples if reply.total_samples is None else min(samples, reply.total_samples)
        if bound > reply.heard_samples:
            reply.heard_samples = bound
            told_us = self._now_us - turn.rtt_us // 2  # the word was on its way for so long
            reply.marks["last_audible"] = max(told_us, reply.marks.get("playback_start", reply.marks["gate_open"]))
            self._progress_us = self._now_us

    def _playback_ended(self, turn: Turn) -> None:
        if self.leaf is Leaf.BARGE_IN_SPEAKING and self._over is not None and not self._over.speech:
            self._reject("the reply had ended")  # a sound that is no speech yet takes no floor
        if not self._fire(Trigger.PLAYBACK_ENDED):
            return
        reply, over = self._replying(turn), self._over
        reply.marks["playback_end"] = self._now_us
        if over is not None:
            self._out.append(FlushReply(turn.number, reply.epoch))  # the browser may still hold its end
        verdicts = {barge_in.verdict for barge_in in turn.barge_ins}
        if "open" in verdicts:
            self._judge(turn, "outlived", "the reply had ended")
        failed = bool(reply.failure) or (reply.canned and turn.apologies > 0)
        if reply.failure:
            self._tell_heard(turn, reply)
        self._finish(turn, "failed" if failed else "resumed" if "rejected" in verdicts else "completed")
        self.turn, self._over = over, None
        if over is not None:
            over.trailing = not reply.ledger.text.endswith(QUESTION_MARKS)
        if over is not None and over.ended:
            self._fire(Trigger.ENDPOINT, "ended before")
        self._weigh_words()
        if over is None:
            self._part(turn)

    # ------------------------------------------------------------------------------------ cutting
    def _judge(self, turn: Turn, verdict: str, reason: str) -> None:
        """Note the verdict on the last sound over this turn's reply."""
        if not turn.barge_ins or turn.barge_ins[-1].verdict != "open":  # taken by the talk key or by typing
            turn.barge_ins.append(BargeIn(self._now_us, self.leaf.state))
        barge_in = turn.barge_ins[-1]
        barge_in.verdict = verdict  # type: ignore[assignment]  # one of the literals
        barge_in.reason = reason
        barge_in.verdict_us = self._now_us - barge_in.onset_us

    def _cut_off(self, cut: Turn, reason: str) -> None:
        """Flush first, then cancel; the cut turn waits for the browser's word on what was heard."""
        reply = self._replying(cut)
        self._judge(cut, "confirmed", reason)
        onset_us = cut.barge_ins[-1].onset_us
        if onset_us - reply.marks.get("playback_start", onset_us - HASTY_US) < HASTY_US:
            self._learn_pause(cut, onset_us)
        reply.marks["flush_sent"] = self._now_us
        self._out += [FlushReply(cut.number, reply.epoch), CancelReply(cut.number, reply.epoch)]
        self.epoch += 1
        self.turn, self._over = self._over, None
        self._flush = PendingFlush(cut, reply.epoch, self._now_us + self.rules.flush_ack_us)

    def _resolve_flush(self) -> None:
        """Settle a cut-off turn by what is known to have been heard of it; not one sample: its question goes on."""
        flush, self._flush = self._flush, None
        if flush is None:
            return
        cut, rest = flush.turn, self.turn
        self._tell_heard(cut, self._replying(cut))
        unheard = self._replying(cut).heard_samples == 0 and cut.origin != "agent"
        if unheard and rest is not None and rest.reply is None and self.leaf is not Leaf.CLOSED:
            self._reopen(cut, rest)
        else:
            self._finish(cut, "interrupted")
        if self.leaf is Leaf.THINKING and self.turn is not None and self.turn.reply is None:
            self._start_reply()
            return
        self._weigh_words()

    def _go_on(self, cut: Turn, rest: Turn) -> None:
        """In thinking the user went on: with the same question, or, if the agent was about to speak first, with one."""
        self._judge(cut, "confirmed", "nothing was heard")
        if cut.origin == "agent":
            self._drop_reply(cut)
            self._finish(cut, "discarded")
            self.turn, self._over = rest, None
        else:
            self._reopen(cut, rest)

    def _reopen(self, turn: Turn, rest: Turn) -> None:
        """The user went on before anything was heard: one turn, its words joined, one reply to all of it."""
        self._drop_reply(turn)
        self._learn_pause(turn, rest.started_us)
        turn.join(rest)
        for item in rest.items:
            if item.key in self._items:
                self._items[item.key] = (turn, item)
        self._finish(rest, "reopened")
        self.turn = turn
        if self._over is rest:  # else somebody is speaking over the reply that is about to be made
            self._over = None
        self._send(protocol.Transcript(turn=turn.number, text=turn.text, final=False))

    def _reject(self, reason: str) -> None:
        """It was nothing: the reply goes on from the exact sample."""
        over, turn, leaf = self._over, self._floor(), self.leaf
        self._fire(Trigger.REJECTED, reason)
        self._over = None
        self._judge(turn, "rejected", reason)
        if over is not None:
            self._take_for_nothing(over)
        reply = turn.reply
        self._progress_us = self._now_us
        if reply is None:  # it waits for the browser's word on the reply before, or that came meanwhile
            self._start_reply()
        elif leaf is Leaf.BARGE_IN_SPEAKING:
            reply.marks["resume_sent"] = self._now_us
            barge_in = turn.barge_ins[-1]
            if barge_in.hold_us is not None:
                barge_in.resume_us = self._now_us - barge_in.onset_us - barge_in.hold_us
            self._out.append(ResumeReply(turn.number, reply.epoch))
        elif reply.ready:
            self._release(turn, reply)
        elif reply.failure:
            self._apologize(turn, reply.failure)
        elif turn.filler:
            self._out.append(ResumeReply(turn.number, turn.filler))

    def _take_for_nothing(self, over: Turn) -> None:
        """A sound over the reply was rejected, but its words may come after the verdict, or it may go on."""
        if not over.speech:
            self._false_sounds.append(self._now_us)
        if self.rules.speech_to_speech and not over.speech:
            over.ended = True
            for item in over.items:  # a voice model is not to hear it: there are no late words
                item.committed, item.final = True, ""
        else:
            self._commit(over)
        self._late = over
        self._settle_late_if_done()

    def _settle_late_if_done(self) -> None:
        """Let go of a rejected sound once nothing can come of it: no words, and nobody goes on with it."""
        late = self._late
        if late is not None and not late.waits_for_words and (late.ended or not late.speech):
            self._settle_late()

    def _settle_late(self) -> None:
        """Whatever may still come of a sound that was taken for nothing, it is over now."""
        if self._late is not None:
            late, self._late = self._late, None
            self._finish(late, "discarded")

    # ------------------------------------------------------------------------------------ the end
    def _part(self, turn: Turn) -> None:
        """In listening, after a farewell: the session ends."""
        if turn.farewell and self.leaf is Leaf.LISTENING:
            message, hint = FAREWELLS[turn.farewell]
            code = protocol.Close.TIMEOUT if turn.farewell == "idle" else protocol.Close.NORMAL
            self._leave(Trigger.LEAVE, Left(turn.farewell, code, message, hint))

    def _leave(self, trigger: Trigger, fact: Left) -> None:
        """Close the session from any leaf: every turn gets its last word, and the driver ends everything."""
        self._fire(trigger, fact.reason)
        self._settle_late()
        self._resolve_flush()
        for turn in (self.turn, self._over):
            if turn is not None:
                if turn.filler:
                    self._out.append(CancelReply(turn.number, turn.filler))
                if turn.reply is not None:
                    self._out.append(CancelReply(turn.number, turn.reply.epoch))
                outcome: Outcome = "interrupted" if turn.text else "discarded"
                self._finish(turn, "shed" if fact.reason == OVERLOAD else outcome)
        self.turn = self._over = None
        self._out.append(EndSession(fact.code, fact.reason, fact.message, fact.hint))
