"""What words decide: whether a turn has all of its own, how long to wait for more, and whether a sound over a reply is the user.

A reply is held at the first sound. Stop words cut it at once; listening noises, echo, side speech and noise let it go on;
anything else interrupts it. Duration alone decides only late: "yeah" and "stop" last equally long.
"""

from voiceagent import protocol
from voiceagent.answering import SAY_AGAIN
from voiceagent.audio import RATE_HZ
from voiceagent.effects import EndpointAfter
from voiceagent.events import EndOfTurn, FinalTranscript, PartialTranscript, SttConnected, SttFailed
from voiceagent.lexicon import echoes, same_words
from voiceagent.patience import QUESTION_MARKS
from voiceagent.playing import Playing
from voiceagent.states import Leaf, Trigger
from voiceagent.timeline import BargeIn, StageFault
from voiceagent.turns import PastTurn, Turn

BARGE_IN = (Leaf.BARGE_IN_THINKING, Leaf.BARGE_IN_SPEAKING)
BUFFERED_SAMPLES = RATE_HZ // 2
"""The browser may have played so much more than it has acknowledged."""
LAST_WORDS_SAMPLES = RATE_HZ
"""A "yes" within the last second of a question answers it."""


class Weighing(Playing):
    """Takes in transcripts, sets the wait, and gives the verdict on sounds over a reply."""

    # ---------------------------------------------------------------------------------- the words
    def _partial(self, fact: PartialTranscript) -> None:
        turn, item = self._items.get(fact.item, (None, None))
        if turn is None or item is None:
            self.stale += 1
            return
        turn.marks.setdefault("stt_first_partial", self._now_us)
        item.partial = fact.text
        item.streams = item.streams or not item.committed
        self._tell_words(turn)
        if turn is self._over:
            self._judge_words(turn)
        else:
            self._set_wait(turn)

    def _final(self, fact: FinalTranscript) -> None:
        turn, item = self._items.pop(fact.item, (None, None))
        if turn is None or item is None:
            self._final_after(fact)
            return
        item.final = fact.text
        if item.streams:
            self._budget.partials_were(right=same_words(item.at_commit, fact.text))
        turn.stt_retries += fact.retries
        # Words that nobody waits for, as the reply is made already or by who has heard the turn, are no part of the gap.
        waited = (turn.reply is None or turn.guessed) and not self.rules.speech_to_speech
        turn.marks["stt_final" if waited else "words_final"] = self._now_us
        self._tell_words(turn)
        self._item_is_final(turn, "")

    def _final_after(self, fact: FinalTranscript) -> None:
        """A voice model's turn is over, and its record is made; its words are for the page and for what is remembered."""
        turn, item = self._items_after.pop(fact.item, (None, None))
        if turn is None or item is None:
            self.stale += 1
            return
        item.final = fact.text
        self._remember(PastTurn.of(turn))
        self._send(protocol.Transcript(turn=turn.number, text=turn.text, final=not turn.waits_for_words))

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
            self._judge_words(turn)
        elif turn is self.turn:
            self._set_wait(turn)
            self._weigh_words()

    def _set_wait(self, turn: Turn) -> None:
        """In a pause: tell the ears which silence ends the turn, as far as its words are known."""
        if self._voice_onset_us is not None or turn.ended or turn.talk_key:
            return
        spoken_ms = (turn.voiced_us + turn.voicing_us) // 1000
        text = None if self.rules.speech_to_speech else turn.text  # its words come too late to be listened to
        wait = self._patience.wait(text, spoken_ms=spoken_ms, probability=turn.end_probability)
        if turn.wait != wait:
            turn.wait = wait
            self._out.append(EndpointAfter(wait.silence_ms * 1000))

    def _end_of_turn(self, fact: EndOfTurn) -> None:
        """An acoustic model has looked at the present pause; a later one is none of its business."""
        turn = self._over if self._over is not None else self.turn
        if turn is not None and self._voice_onset_us is None and fact.speech_end_us == self._speech_end_us:
            turn.end_probability = fact.probability
            self._set_wait(turn)

    # --------------------------------------------------------------------------------- late words
    def _late_words(self, turn: Turn) -> None:
        """A sound was taken for nothing, and now its words are there after all."""
        if self._is_noise(turn) or self.leaf not in (Leaf.LISTENING, Leaf.THINKING, Leaf.SPEAKING):
            self._settle_late_if_done()
            return
        self._late, cut, leaf = None, self.turn, self.leaf
        turn.ended = True
        # Of a voice that goes on the end has not been told: the last one known is that of an utterance before.
        ended_us = self._speech_end_us if self._speech_end_us >= turn.started_us else self._now_us
        turn.marks.setdefault("speech_end", ended_us)
        turn.marks.setdefault("endpoint", self._now_us)
        self._over = turn
        self._fire(Trigger.CONFIRMED_ENDED, "late words")
        if cut is not None:  # its times count from the sound that was rejected
            cut.barge_ins.append(BargeIn(turn.started_us, leaf.state))
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
        for item in turn.items:  # should their words come after all, they are still the turn's
            item.final = item.text
        if turn.text:
            self._tell_words(turn)
            self._fire(Trigger.TEXT_READY, "deadline")
            self._reply_to(turn)
        else:
            self._fire(Trigger.STT_LATE)
            self._start_reply(SAY_AGAIN)

    def _stt_connected(self, fact: SttConnected) -> None:
        self._stt_acquire_us = fact.acquire_us

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
        turn.stt_retries += fact.retries
        turn.faults.append(StageFault("stt", fact.code, recovered=bool(turn.text)))
        alone = self.leaf is Leaf.TRANSCRIBING_ENDED and turn is self.turn and not turn.waits_for_words
        if alone and not turn.text and self._flush is None:
            self._fire(Trigger.STAGE_FAILED, fact.code)
            self._start_reply(SAY_AGAIN)
        else:
            self._item_is_final(turn, fact.code)

    # ----------------------------------------------------------------------------------- verdicts
    def _judge_words(self, over: Turn) -> None:
        """Give the verdict that the words of a sound over a reply allow, if they allow one yet."""
        text, lexicon = over.text, self._lexicon
        waits = over.waits_for_words or self._voice_onset_us is not None  # more words may come
        if self._is_aside(over.level_db):
            self._reject("side speech")
        elif self.rules.speech_to_speech:
            return  # there are no words in time: how long it lasts decides
        elif lexicon.is_stop(text):
            self._confirm_by("stop")
        elif waits and (not text or lexicon.may_become_backchannel(text) or self._is_echo(text)):
            return
        elif not text:
            self._reject("no words")
        elif self._is_echo(text):
            self._reject("echo")
        elif lexicon.is_backchannel(text):
            if self._answers_a_question():
                self._confirm_by("answer")
            else:
                self._reject("backchannel")
        else:
            self._confirm_by("words")

    def _is_noise(self, over: Turn) -> bool:
        """Whether all the words of a sound over a reply are nobody's who wants the floor."""
        text = over.text
        if not text or self._is_aside(over.level_db):
            return True
        return not self._lexicon.is_stop(text) and (self._lexicon.is_backchannel(text) or self._is_echo(text))

    def _is_aside(self, level_db: float | None) -> bool:
        """Whether a voice is so much quieter than the caller's that it is somebody else's."""
        limit_db = self.rules.side_speech_db
        return bool(limit_db) and level_db is not None and level_db <= -limit_db

    def _is_echo(self, text: str) -> bool:
        reply = self.turn.reply if self.turn is not None else None
        heard = (
            reply.ledger.heard(reply.heard_samples + BUFFERED_SAMPLES) if reply is not None and reply.released else ""
        )
        return echoes(text, f"{self._said.text} {heard}".strip())

    def _answers_a_question(self) -> bool:
        reply = self._floor().reply
        if reply is None or reply.total_samples is None or not reply.ledger.text.endswith(QUESTION_MARKS):
            return False
        return reply.total_samples - reply.heard_samples <= LAST_WORDS_SAMPLES

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
