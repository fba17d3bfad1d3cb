"""From words to a reply: it is made behind the gate, perhaps before its turn has ended, and released when the turn has.

A reply that is prepared early is a guess (`speculation`): it is the turn's reply like any other, but nothing of it leaves
the gate, and it is dropped as soon as the turn goes on or its words turn out to be others.
"""

from voiceagent import protocol
from voiceagent.bookkeeping import Bookkeeping
from voiceagent.effects import CancelReply, FlushReply, OpenGate, PromoteReply, StartReply, TellHeard
from voiceagent.lexicon import echoes, same_words
from voiceagent.speculation import Step
from voiceagent.states import Leaf, Trigger
from voiceagent.turns import Reply, Turn, prompt

LENGTH_REACHED = "This conversation has reached its length. Please start a new one to go on."
SAY_AGAIN = "Sorry, I did not catch that. Could you say it again?"
ECHO_LASTS_US = 1_500_000
"""What begins so soon after the agent's last word may still be its echo."""


class Answering(Bookkeeping):
    """Starts replies, early ones too, and opens the gate for them."""

    # ---------------------------------------------------------------------------------- the words
    def _weigh_words(self) -> None:
        """In `transcribing`: once every committed item has its words, answer them, or bet on them in a pause."""
        turn = self.turn
        if turn is None:
            return
        if self.leaf is Leaf.TRANSCRIBING_OPEN:
            self._consider_guess(turn)
        elif self.leaf is Leaf.TRANSCRIBING_ENDED:
            if self.rules.speech_to_speech:
                self._fire(Trigger.TEXT_READY, "audio")  # the model has heard it: nobody waits for words
                self._start_reply()
            elif not turn.waits_for_words:
                self._answer(turn)

    def _tell_words(self, turn: Turn) -> None:
        """Tell the page the words of a turn as they are known now, once."""
        told = (turn.text, turn.ended and not turn.waits_for_words)
        if turn in (self.turn, self._over) and turn.told != told:
            turn.told = told
            self._send(protocol.Transcript(turn=turn.number, text=told[0], final=told[1]))

    def _answer(self, turn: Turn) -> None:
        self._tell_words(turn)
        if turn.text and (nothing := self._is_nothing(turn)):
            self._fire(Trigger.TEXT_EMPTY, nothing)
            self._discard(turn)
        elif turn.text:
            self._fire(Trigger.TEXT_READY)
            self._reply_to(turn)
        elif any(fault.stage == "stt" and not fault.recovered for fault in turn.faults):
            self._fire(Trigger.STAGE_FAILED, "stt")
            self._start_reply(SAY_AGAIN)
        elif self._flush is not None:
            return  # `_resolve_flush` comes back here: perhaps this is the rest of a question nobody heard answered
        elif turn.voiced_us >= self.rules.unclear_us:
            self._fire(Trigger.UNCLEAR)
            self._start_reply(SAY_AGAIN)
        else:
            self._fire(Trigger.TEXT_EMPTY)
            self._discard(turn)

    def _is_nothing(self, turn: Turn) -> str:
        """Why these words want no answer: the agent's own, or a listener's noise over its last ones."""
        said = self._said
        if turn.reopened or not turn.items or turn.started_us - said.until_us > ECHO_LASTS_US:
            return ""
        if echoes(turn.text, said.text):
            return "echo"
        return "backchannel" if turn.trailing and self._lexicon.is_backchannel(turn.text) else ""

    def _discard(self, turn: Turn) -> None:
        self._drop_reply(turn)
        self._finish(turn, "discarded")
        self.turn = None

    # ----------------------------------------------------------------------------- making a reply
    def _reply_to(self, turn: Turn) -> None:
        """In thinking: the early reply, if it answers these very words, else a new one."""
        reply = turn.reply
        if reply is not None and turn.guessed and same_words(reply.text, turn.text):
            self._promote(turn, reply)
        else:
            self._start_reply()

    def _start_reply(self, canned: str = "", *, early: bool = False) -> None:
        """Mint an epoch and have a reply made, once it is known what was heard of the one before."""
        turn = self._floor()
        if self._flush is not None:
            return  # `_resolve_flush` comes back here
        if not early:
            self._drop_guess(turn)
        if self._tokens > self.rules.max_session_tokens:
            canned, turn.farewell, early = LENGTH_REACHED, "token_cap", False
        self.epoch += 2 if self.rules.filler else 1  # the number before its own is its filler's
        reply = turn.reply = Reply(self.epoch, self._now_us, turn.text, canned=bool(canned))
        if early:
            reply.marks["speculation_start"] = self._now_us
        past: tuple[dict[str, str], ...] = ()
        if not canned or self.rules.speech_to_speech:
            past = prompt(self.rules.instructions, self.past, turn.text, limit=self.rules.max_history_turns)
        self._out.append(StartReply(turn.number, self.epoch, past, canned, speculative=early))

    def _release(self, turn: Turn, reply: Reply) -> None:
        """Open the gate: from here on the reply is what is being said."""
        self._progress_us = self._now_us
        reply.marks["gate_open"] = self._now_us
        self._fire(Trigger.FIRST_FRAME)
        self._end_filler(turn)
        reply.released = True
        self._out.append(OpenGate(turn.number, reply.epoch))
        self._tell_phrases(turn, reply)

    def _tell_phrases(self, turn: Turn, reply: Reply) -> None:
        if reply.released:  # no word of it reaches the page before the gate opens
            for text, first_sample in reply.phrases[reply.told :]:
                self._send(
                    protocol.ReplyText(turn=turn.number, epoch=reply.epoch, text=text, first_sample=first_sample)
                )
            reply.told = len(reply.phrases)

    def _drop_reply(self, turn: Turn) -> None:
        """Forget a reply of which nobody heard a sample, and what bridged the wait for it."""
        self._end_filler(turn)
        if turn.guessed:
            turn.guess_step(Step.MISS)
        if turn.reply is not None:
            if not turn.reply.released:  # a released one was flushed and cancelled already
                self._out.append(CancelReply(turn.number, turn.reply.epoch))
                self._tell_heard(turn, turn.reply)
            turn.reply = None

    def _tell_heard(self, turn: Turn, reply: Reply) -> None:
        """A voice model keeps its own history: it is told what was heard of a reply that was cut off or dropped."""
        if self.rules.speech_to_speech:
            self._out.append(TellHeard(turn.number, reply.epoch, reply.heard_samples))

    def _end_filler(self, turn: Turn) -> None:
        if turn.filler:
            self._out += [FlushReply(turn.number, turn.filler), CancelReply(turn.number, turn.filler)]
            turn.filler = 0

    # ------------------------------------------------------------------------------------ guesses
    def _consider_guess(self, turn: Turn) -> None:
        """In `transcribing`, open: in a pause, have a reply prepared to the words so far, if that is worth a try."""
        if self._voice_onset_us is not None or turn.talk_key or self._flush is not None or turn.open_item is not None:
            return
        if turn.guessed:
            if turn.waits_for_words or same_words(self._guess(turn).text, turn.text):
                return
            self._drop_guess(turn)
        early = self._budget.trusts_partials
        if any(item.final is None and not (early and item.streams) for item in turn.items):
            return  # a model that writes while one speaks has its words by the pause; any other has to finish first
        if self._is_nothing(turn) or not self._lexicon.speculable(turn.text):
            return
        if not self._budget.take(turn.speculation.tries, self._now_us):
            return
        turn.speculation.tries += 1
        turn.guess_step(Step.START)
        self._start_reply(early=True)

    def _guess(self, turn: Turn) -> Reply:
        if turn.reply is None or not turn.guessed:
            raise AssertionError(f"turn {turn.number} has no early reply")
        return turn.reply

    def _drop_guess(self, turn: Turn) -> None:
        """The turn went on, or its words are others: the early reply is void, the words stay."""
        if turn.guessed:
            self._drop_reply(turn)
            self._budget.missed()
            self._tell_pause()

    def _promote(self, turn: Turn, reply: Reply) -> None:
        """In thinking: the turn ended as expected, and the early reply is the reply."""
        turn.guess_step(Step.HIT)
        turn.speculation.hit = True
        ahead_us = self._now_us - reply.started_us
        turn.speculation.saved_us = min(ahead_us, reply.ready_us - reply.started_us) if reply.ready_us else ahead_us
        self._out.append(PromoteReply(turn.number, reply.epoch))
        if reply.ready_us:
            self._release(turn, reply)
