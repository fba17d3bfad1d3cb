"""What a conversation keeps: its position in the table, its turns and items, its past, and the effects it asks for."""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

from voiceagent import protocol
from voiceagent.effects import CommitItem, DiscardItem, Effect, OpenItem, PauseAfter, Record, Send
from voiceagent.lexicon import Lexicon
from voiceagent.patience import QUESTION_MARKS, Patience
from voiceagent.recording import Recorder, farewell
from voiceagent.rules import Rules
from voiceagent.speculation import Budget
from voiceagent.states import Leaf, Position, Refused, Trigger, rulebook
from voiceagent.timeline import Connection, Origin, Outcome
from voiceagent.turns import Item, PastTurn, Reply, Turn

LONGEST_PAUSE_US = 3_000_000
"""Who goes on after more than this has begun anew."""
HASTY_US = 1_000_000
"""A reply that is interrupted within so much of its beginning came too early."""
A_COMPLETE_TURN = "That is all."
ITEMS_AFTER = 16
"""A voice model's words may come after the end of their turn; so many items are remembered for them."""
CRACKLES = 3
CRACKLES_US = 10_000_000
"""After so many false sounds in so much time a sound must be speech before it holds a reply."""


@dataclass(frozen=True, slots=True)
class Said:
    """What was heard last of the agent, and when that ended."""

    text: str
    until_us: int


@dataclass(slots=True)
class PendingFlush:
    """A reply that was cut off and whose browser has not yet said how much of it was heard."""

    turn: Turn
    epoch: int
    deadline_us: int


class Bookkeeping:
    """The lowest layer of a conversation. `past` is what a resumed session remembers, `first_turn` its next number."""

    def __init__(self, rules: Rules, now_us: int, *, past: tuple[PastTurn, ...] = (), first_turn: int = 1) -> None:
        self.rules = rules
        self.past = list(past)
        self.epoch = 0
        self.stale = 0  # facts of an earlier epoch or item, dropped
        self.turn: Turn | None = None  # has the floor: the user's words, or the reply to them
        self._over: Turn | None = None  # the tentative turn of a barge-in
        self._late: Turn | None = None  # was taken for nothing, but its words may still come
        self._flush: PendingFlush | None = None
        self._voice_onset_us: int | None = None  # while somebody speaks
        self._speech_end_us = now_us  # of the last voice
        self._progress_us = now_us  # when the reply last showed a sign of life
        self._passed_us: int | None = None  # onset of a voice over a reply that was taken for somebody else's
        self._false_sounds: deque[int] = deque(maxlen=CRACKLES)  # when sounds over replies turned out to be nothing
        self._said = Said("", now_us)
        self._stt_acquire_us: int | None = None  # of a connection that no turn has used yet
        self._unanswered = 0  # questions of the agent whether one is still there
        self._lexicon = Lexicon.of(rules.language)
        self._patience = Patience(
            endpoint_ms=rules.endpoint_us // 1000, adapts=rules.endpoint_adapts, dial=rules.patience,
            lexicon=self._lexicon,
        )  # fmt: skip
        self._budget = Budget(
            enabled=rules.speculate, pause_us=rules.pause_us, wait_us=self._usual_wait_us(),
            per_turn=rules.speculations_per_turn, per_min=rules.speculations_per_min, now_us=now_us,
        )  # fmt: skip
        self._pause_us = rules.pause_us  # what the ears were last told
        self._tokens = 0
        self._now_us = now_us
        self._out: list[Effect] = []
        self._items: dict[int, tuple[Turn, Item]] = {}  # whose final transcript is still to come
        self._items_after: dict[int, tuple[Turn, Item]] = {}  # the same of a voice model's turns that are over
        self._position = Position()
        self._book = rulebook()
        self._next_turn = first_turn
        self._next_item = 1
        self._recorder = Recorder(now_us, content=rules.content)

    @property
    def leaf(self) -> Leaf:
        """Where the session is."""
        return self._position.leaf

    @property
    def next_turn(self) -> int:
        """The number that the next turn will have."""
        return self._next_turn

    def _fire(self, trigger: Trigger, reason: str = "") -> bool:
        """Put a trigger to the rulebook; False, and nothing has changed, if it is refused here."""
        source = self.leaf
        try:
            target = self._book.fire(self._position, trigger)
        except Refused:
            return False
        step = (source, trigger, target)
        dwell_us = self._recorder.move(self._now_us, step)
        number = self.turn.number if self.turn is not None else 0
        record = self._recorder.transition(
            self._now_us, number, self.epoch, step,
            dwell_us=dwell_us, deadline_us=self._leaf_deadline_us(), reason=reason,
        )  # fmt: skip
        self._out.append(Record(record))
        if target is not source:
            for turn in (self.turn, self._over):
                if turn is not None:
                    turn.path.append(target.value)
            self._tell_pause()
            self._send(
                protocol.State(
                    state=target.state,
                    leaf=target.value, trigger=trigger.value, turn=number, epoch=self.epoch,
                    at_ms=self._since_ms(self._now_us), marks=self._marks_so_far(target),
                )
            )  # fmt: skip
        return True

    def _since_ms(self, at_us: int) -> float:
        return (at_us - self._recorder.began_us) / 1000

    def _marks_so_far(self, leaf: Leaf) -> dict[str, float]:
        """The marks of the turn that has the floor in this leaf: a sound over the reply that became a turn has it already."""
        taken = self._over is not None and leaf in (Leaf.TRANSCRIBING_OPEN, Leaf.TRANSCRIBING_ENDED)
        turn = self._over if taken else self.turn
        return {} if turn is None else {name: self._since_ms(at_us) for name, at_us in turn.all_marks.items()}

    def _usual_wait_us(self) -> int:
        """The silence that ends most turns: those whose words are complete."""
        return self._patience.wait(A_COMPLETE_TURN, spoken_ms=1_000).silence_ms * 1000

    def _tell_pause(self) -> None:
        """Tell the ears after which pause a guess is worth its cost; over a reply the verdict wants the words at once."""
        if self.leaf is Leaf.CLOSED:
            return
        own_turn = self.leaf in (Leaf.LISTENING, Leaf.TRANSCRIBING_OPEN, Leaf.TRANSCRIBING_ENDED)
        pause_us = self._budget.pause_us if own_turn and self.rules.speculate else self.rules.pause_us
        if pause_us != self._pause_us:
            self._pause_us = pause_us
            self._out.append(PauseAfter(pause_us))

    def _leaf_deadline_us(self) -> int | None:
        """When the leaf's own deadline is due; None once closed."""
        rules, entered_us = self.rules, self._recorder.entered_us
        match self.leaf:
            case Leaf.LISTENING:
                asks = not self._unanswered and 0 < rules.ask_after_us < rules.idle_us
                due_us: int | None = entered_us + (rules.ask_after_us if asks else rules.idle_us)
            case Leaf.TRANSCRIBING_OPEN:
                due_us = entered_us + rules.max_turn_us
            case Leaf.TRANSCRIBING_ENDED:
                due_us = entered_us + rules.stt_timeout_us
            case Leaf.THINKING:
                reply = self.turn.reply if self.turn is not None else None
                due_us = (entered_us if reply is None else max(entered_us, reply.started_us)) + rules.reply_timeout_us
            case Leaf.SPEAKING:
                due_us = self._progress_us + rules.stall_timeout_us
            case Leaf.CLOSED:
                due_us = None
            case _:
                due_us = self._verdict_due_us()
        return due_us

    def _verdict_due_us(self) -> int:
        """When a sound over a reply is judged without words: noise soon, voice once it has lasted, silence after speech."""
        rules, entered_us, over = self.rules, self._recorder.entered_us, self._over
        if over is None or not over.speech:
            due_us = entered_us + rules.unconfirmed_us
        elif self._voice_onset_us is not None:
            lasting_us = rules.barge_in_us if self.leaf is Leaf.BARGE_IN_SPEAKING else rules.barge_in_thinking_us
            due_us = self._voice_onset_us + max(0, lasting_us - over.voiced_us)
        else:
            due_us = max(self._speech_end_us, entered_us) + rules.resume_after_us
        return min(due_us, entered_us + rules.verdict_us)

    def _send(self, message: protocol.Message) -> None:
        self._out.append(Send(message))

    # ---------------------------------------------------------------------------- turns and items
    def _floor(self) -> Turn:
        if self.turn is None:
            raise AssertionError(f"nobody has the floor in {self.leaf}")
        return self.turn

    def _replying(self, turn: Turn) -> Reply:
        if turn.reply is None:
            raise AssertionError(f"turn {turn.number} has no reply in {self.leaf}")
        return turn.reply

    def _new_turn(self, origin: Origin, started_us: int, parent: int | None = None) -> Turn:
        """Begin a turn, or go on with a sound that was taken for nothing while its words are still to come."""
        late, self._late = self._late, None
        if late is not None and origin != "agent" and (late.text or late.waits_for_words):
            late.ended = False
            return late
        if late is not None:
            self._finish(late, "discarded")
        self._budget.next_turn()
        self._patience.next_turn(answers=self._said.text.endswith(QUESTION_MARKS))
        turn = Turn(self._next_turn, origin, started_us, parent)
        turn.marks["speech_start"] = started_us
        self._next_turn += 1
        return turn

    def _open_item(self, turn: Turn, from_us: int, *, again: bool = False) -> None:
        if turn.open_item is None:
            item = Item(self._next_item)
            self._next_item += 1
            turn.onset_us = from_us
            turn.parts.append(item)
            self._items[item.key] = (turn, item)
            self._out.append(OpenItem(turn.number, item.key, from_us, again))

    def _commit(self, turn: Turn) -> None:
        item = turn.open_item
        if item is not None:
            self._note_connection(turn)
            item.committed, item.at_commit = True, item.partial
            turn.marks["commit"] = self._now_us
            self._out.append(CommitItem(turn.number, item.key))

    def _note_connection(self, turn: Turn) -> None:
        """The first item that goes over a connection of the STT has waited for it; a voice model tells with its reply."""
        acquire_us, self._stt_acquire_us = self._stt_acquire_us, None
        if not self.rules.speech_to_speech:
            turn.connections.setdefault("stt", Connection(acquire_us or 0, reused=acquire_us is None))

    def _learn_pause(self, turn: Turn, onset_us: int) -> None:
        """The user went on with a turn that was taken for finished: their pauses are longer than that."""
        ended_us = turn.marks.get("speech_end")
        if turn.origin == "user" and ended_us is not None and 0 < onset_us - ended_us < LONGEST_PAUSE_US:
            pause_ms = (onset_us - ended_us) // 1000
            turn.pauses.append((pause_ms, None if turn.wait is None else turn.wait.silence_ms))
            self._patience.pause(pause_ms)

    def _end_of_speech(self, turn: Turn) -> None:
        """Note that the user's turn ended now, without a silence that said so."""
        turn.ended, turn.wait = True, None
        turn.marks |= {"speech_end": self._now_us, "speech_end_arrived": self._now_us, "endpoint": self._now_us}

    def _finish(self, turn: Turn, outcome: Outcome) -> None:
        """Say the last word about a turn: its record, the page's lines, and what is remembered of it."""
        record = self._recorder.turn(turn, outcome, self._now_us)
        self._out.append(Record(record))
        for message in farewell(turn, record):
            self._send(message)
        if outcome == "reopened":
            return  # its items and words went to the turn that goes on
        for item in turn.items:
            waits = self._items.pop(item.key, None) is not None and item.committed
            if self.rules.speech_to_speech and outcome == "discarded":
                self._out.append(DiscardItem(turn.number, item.key))
            elif waits and self.rules.speech_to_speech:
                self._items_after[item.key] = (turn, item)
        while len(self._items_after) > ITEMS_AFTER:
            del self._items_after[next(iter(self._items_after))]
        past = PastTurn.of(turn)
        if past.reply:
            self._said = Said(past.reply, self._now_us)
        if outcome != "discarded":
            self._remember(past)

    def _remember(self, past: PastTurn) -> None:
        """Put a turn into its place in what is remembered, where it may be already, without all of its words."""
        if not past.user and not past.reply:
            return
        at = bisect_left(self.past, past.number, key=lambda turn: turn.number)
        there = at < len(self.past) and self.past[at].number == past.number
        self.past[at : at + there] = [past]
        del self.past[: -self.rules.max_history_turns]
