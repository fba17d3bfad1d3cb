"""What words decide: whether a turn has all of its own, and whether a sound over a reply is the user or nothing."""

from voiceagent import protocol
from voiceagent.answering import SAY_AGAIN, Answering
from voiceagent.events import FinalTranscript, PartialTranscript, ResumeReply, SttFailed
from voiceagent.states import Leaf, Trigger
from voiceagent.timeline import StageFault
from voiceagent.turns import Turn

BARGE_IN = (Leaf.BARGE_IN_THINKING, Leaf.BARGE_IN_SPEAKING)


class Weighing(Answering):
    """Takes in transcripts and gives the verdict on sounds over a reply."""

    # ---------------------------------------------------------------------------------- the words
    def _partial(self, fact: PartialTranscript) -> None:
        turn, item = self._items.get(fact.item, (None, None))
        if turn is None or item is None:
            self.stale += 1
            return
        turn.marks.setdefault("stt_first_partial", self._now_us)
        item.partial = fact.text
        self._tell_words(turn)
        if turn is self._over and item.text.strip():
            self._confirm_by("words")

    def _final(self, fact: FinalTranscript) -> None:
        turn, item = self._items.pop(fact.item, (None, None))
        if turn is None or item is None:
            self.stale += 1
            return
        item.final = fact.text
        turn.marks["stt_final"] = self._now_us
        self._tell_words(turn)
        self._item_is_final(turn, "")

    def _item_is_final(self, turn: Turn, reason: str) -> None:
        complete = not turn.waits_for_words
        if self.leaf is Leaf.TRANSCRIBING_ENDED and turn is self.turn and complete:
            self._weigh_words()
            return
        self._fire(Trigger.ITEM_FINAL, reason)
        if turn is self._late:
            if complete:
                self._late_words(turn)
        elif turn is self._over:
            if turn.text:
                self._confirm_by("words")
            elif complete and self._voice_onset_us is None:
                self._reject("no words")

    def _tell_words(self, turn: Turn) -> None:
        if turn in (self.turn, self._over):
            final = turn.ended and not turn.waits_for_words
            self._send(protocol.Transcript(turn=turn.number, text=turn.text, final=final))

    def _late_words(self, turn: Turn) -> None:
        """A sound was taken for nothing, and now its words are there after all."""
        if not turn.text or self.leaf not in (Leaf.LISTENING, Leaf.THINKING, Leaf.SPEAKING):
            self._settle_late()
            return
        self._late, cut, leaf = None, self.turn, self.leaf
        turn.ended = True
        turn.marks.setdefault("speech_end", self._speech_end_us)
        turn.marks.setdefault("endpoint", self._now_us)
        self._over = turn
        self._fire(Trigger.CONFIRMED_ENDED, "late words")
        if cut is None:
            self.turn, self._over = turn, None
        elif leaf is Leaf.SPEAKING:
            self._cut_off(cut, "late words")
        else:
            self._go_on(cut, turn)
        self._tell_words(turn)
        self._weigh_words()

    def _words_late(self, turn: Turn) -> None:
        """In `transcribing`, ended: the deadline has come; what was heard so far is the turn."""
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

    def _stt_failed(self, fact: SttFailed) -> None:
        self._send(protocol.Notice(code="stt_failed", message=fact.message))
        turn, item = self._items.pop(fact.item, (None, None))
        if turn is None or item is None:  # the connection as a whole; the stage is at work on it
            if self.turn is not None:
                self.turn.faults.append(StageFault("stt", fact.code, recovered=True))
            if self.leaf is not Leaf.TRANSCRIBING_ENDED:  # there its words may still come
                self._fire(Trigger.STAGE_FAILED, fact.code)
            return
        item.final = item.partial
        turn.faults.append(StageFault("stt", fact.code, recovered=bool(turn.text)))
        alone = self.leaf is Leaf.TRANSCRIBING_ENDED and turn is self.turn and not turn.waits_for_words
        if alone and not turn.text and self._flush is None:
            self._fire(Trigger.STAGE_FAILED, fact.code)
            self._start_reply(SAY_AGAIN)
        else:
            self._item_is_final(turn, fact.code)

    # ----------------------------------------------------------------------------------- verdicts
    def _confirm_by(self, reason: str) -> None:
        over = self._over
        if self.leaf in BARGE_IN and over is not None:
            self._confirm(Trigger.CONFIRMED_ENDED if over.ended else Trigger.CONFIRMED, reason)
            self._weigh_words()

    def _confirm(self, trigger: Trigger, reason: str) -> None:
        """It is the user: cut the reply, or, where nothing of it was heard, let the question go on."""
        cut, over, leaf = self._floor(), self._over, self.leaf
        if over is None:
            raise AssertionError(f"nobody spoke over the reply in {leaf}")
        self._fire(trigger, reason)
        if leaf is Leaf.BARGE_IN_THINKING:
            self._go_on(cut, over)
        else:
            self._cut_off(cut, reason)

    def _reject(self, reason: str) -> None:
        """It was nothing: the reply goes on from the exact sample."""
        over, turn, leaf = self._over, self._floor(), self.leaf
        self._fire(Trigger.REJECTED, reason)
        self._over = None
        self._judge(turn, "rejected", reason)
        if over is not None:
            self._commit(over)
            self._late = over  # its words may come after the verdict
            if not over.waits_for_words:
                self._settle_late()
        reply = turn.reply
        self._progress_us = self._now_us
        if reply is None:  # it waits for the browser's word on the reply before, or that came meanwhile
            self._start_reply()
        elif leaf is Leaf.BARGE_IN_SPEAKING:
            reply.marks["resume_sent"] = self._now_us
            self._out.append(ResumeReply(turn.number, reply.epoch))
        elif reply.ready:
            self._release(turn, reply)
        elif reply.failure:
            self._apologize(turn, reply.failure)
