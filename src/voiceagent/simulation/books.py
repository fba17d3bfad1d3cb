"""What the simulator has seen of one session, epoch by epoch: the ground on which the invariants are checked."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from voiceagent import protocol
from voiceagent.conversation import Conversation
from voiceagent.effects import (
    CancelReply,
    CommitItem,
    DiscardItem,
    Effect,
    FlushReply,
    HoldReply,
    OpenGate,
    OpenItem,
    PromoteReply,
    Record,
    ResumeReply,
    Send,
    StartFiller,
    StartReply,
)
from voiceagent.events import (
    Fact,
    FinalTranscript,
    PlaybackProgress,
    PlaybackStarted,
    ReplyDone,
    ReplyFailed,
    ReplyMark,
    ReplyPhrase,
    ReplyReady,
    SttFailed,
    TextSubmitted,
    Tick,
    VoiceOn,
)
from voiceagent.settings import Settings
from voiceagent.simulation.loop import VirtualLoop
from voiceagent.simulation.playback import Track
from voiceagent.simulation.speech import Voice
from voiceagent.simulation.stages import EPOCH
from voiceagent.simulation.telling import Entry
from voiceagent.timeline import TransitionRecord, TurnRecord


@dataclass(slots=True, eq=False)
class EpochBook:
    """One attempt at a reply, or one filler."""

    turn: int
    epoch: int
    speculative: bool = False
    filler: bool = False
    asks: str = ""  # the words that it is to answer
    ready: bool = False
    opened: bool = False
    cancelled: bool = False
    flushed_us: int | None = None  # when the flush went out
    acked: bool = False  # and its answer came
    held: bool = False
    phrases: list[tuple[str, int]] = field(default_factory=list)
    requests: int = 0  # of speech
    sent: int = 0  # samples
    made: int | None = None
    reported: int = 0  # samples heard, as far as the server was told
    told: bool = False  # a voice model was told what was heard of it


@dataclass(slots=True, eq=False)
class ItemBook:
    """One piece of the user's audio at the STT."""

    turn: int
    committed: bool = False
    final: bool = False  # its transcript came, or it failed
    text: str | None = None
    void: bool = False  # its audio was given again to another
    ranges: list[tuple[int, int]] = field(default_factory=list)  # steps


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant."""

    name: str
    rule: str
    detail: str
    at_us: int


class Books:
    """Keeps them, and puts everything it sees to the invariants."""

    def __init__(self, loop: VirtualLoop, settings: Settings, voice: Voice, checks: Any, kept: int | None) -> None:
        self.loop, self.settings, self.voice = loop, settings, voice
        self.entries: deque[Entry] = deque(maxlen=kept)
        self.violations: list[Violation] = []
        self.epochs: dict[int, EpochBook] = {}
        self.turns: dict[int, TurnRecord] = {}
        self.steps: list[TransitionRecord] = []
        self.flushed: list[EpochBook] = []  # whose acknowledgement is waited for
        self.fact: Fact | None = None
        self.effects: list[Effect] = []
        self.began_us = loop.now_us
        self.conversation: Conversation
        self.session: Any = None
        self.browser: Any = None
        self.ears: Any = None
        self.clock_jumped = False
        self.stt_last = 0  # the step up to which the STT was given audio
        self.items: dict[int, ItemBook] = {}
        self.words: dict[int, str] = {}  # of each turn, as the page was told
        self.last_words = ""
        self.typed: set[int] = set()  # turns with typed words
        self.told_twice = False  # the present fact is the transcript of an item that has one
        self.item_in_utterance = False  # an item was opened since speech began
        self.passed_over = False  # a voice was taken for somebody else's
        self.longest_s: dict[str, float | None] = {}  # in each leaf, once reckoned
        self.leaf = "listening"
        self.progress_us = loop.now_us  # when a reply last showed a sign of life
        self.reached: tuple[str, asyncio.Future[None]] | None = None  # a leaf that is waited for
        self.tasks_started: set[str] = set()
        self.tasks_cancelled: set[str] = set()  # and not ended
        self._failed: set[int] = set()
        self.past_seen: tuple[Any, ...] = ()
        self._checks = checks

    # ------------------------------------------------------------------------------ the conversation
    def watch(self, session: Any) -> None:
        """Look at every fact and effect of a session from now on."""
        self.session = session
        conversation = self.conversation = session._conversation
        self.past_seen = tuple(conversation.past)
        handle = conversation.handle

        def watched(fact: Fact, now_us: int) -> Iterable[Effect]:
            self._note_fact(fact)
            effects: list[Effect] = handle(fact, now_us)
            self.effects = effects
            self.check("fact", fact)
            # Most facts are acknowledgements without an effect: after them all stands as it stood before.
            return self._each(effects) if effects or isinstance(fact, Tick) else ()

        conversation.handle = watched

    def _each(self, effects: list[Effect]) -> Iterator[Effect]:
        for effect in effects:
            self._note_effect(effect)
            self.check("effect", effect)
            yield effect
        self.check("after", None)

    def _note_fact(self, fact: Fact) -> None:  # noqa: C901 - one line a fact
        self.fact = fact
        self.entries.append((self.loop.now_us, "<", fact))
        match fact:
            case PlaybackProgress(epoch, samples, kind):
                book = self.book(epoch)
                if samples > book.reported:
                    book.reported = samples
                    self.progress_us = self.loop.now_us
                if kind == "flushed":
                    book.acked = True
                elif kind == "ended":
                    book.held = False  # there is nothing more of it to be held
            case VoiceOn():
                self.item_in_utterance = self.passed_over = False
            case FinalTranscript(number, text) | SttFailed(number, text):
                self._note_words(number, text if isinstance(fact, FinalTranscript) else None)
            case ReplyMark() | PlaybackStarted():
                self.progress_us = self.loop.now_us
            case ReplyReady(epoch):
                self.book(epoch).ready = True
            case ReplyPhrase(epoch, text, first_sample):
                self.book(epoch).phrases.append((text, first_sample))
            case ReplyDone(epoch, samples):
                self.book(epoch).made = samples
            case ReplyFailed(epoch):
                self._failed.add(epoch)

    def _note_words(self, number: int, text: str | None) -> None:
        item = self.items.get(number)
        self.told_twice = item is not None and item.final
        if item is not None and not item.final:
            item.final, item.text = True, text

    def _note_effect(self, effect: Effect) -> None:  # noqa: C901, PLR0912 - one line an effect
        self.entries.append((self.loop.now_us, ">", effect))
        match effect:
            case StartReply(turn, epoch):
                self.check("start", effect)
                asks = effect.messages[-1]["content"] if effect.messages else ""
                self.epochs[epoch] = EpochBook(turn, epoch, speculative=effect.speculative, asks=asks)
                EPOCH.set(epoch)  # the tasks of the attempt are made in this context
            case StartFiller(turn, epoch):
                self.check("start", effect)
                self.epochs[epoch] = EpochBook(turn, epoch, filler=True)
                EPOCH.set(epoch)
            case PromoteReply(_, epoch):
                self.check("promote", self.book(epoch))
                self.book(epoch).speculative = False
            case OpenItem(turn, number, _, again):
                self._open_item(turn, number, again=again)
            case CommitItem(_, number) | DiscardItem(_, number):
                self.items[number].committed = True
            case OpenGate(_, epoch):
                self.check("gate", self.book(epoch))
                self.book(epoch).opened = True
            case HoldReply(_, epoch):
                self.book(epoch).held = True
            case ResumeReply(_, epoch):
                self.book(epoch).held = False
            case FlushReply(_, epoch):
                book = self.book(epoch)
                book.held = False
                book.flushed_us = self.loop.now_us
                self.flushed.append(book)
            case CancelReply(_, epoch):
                self.book(epoch).cancelled = True
            case Record(TransitionRecord() as step):
                self.check("step", step)
                self.steps.append(step)
                self.leaf = step.target
                if self.reached is not None and self.reached[0] == step.target and not self.reached[1].done():
                    self.reached[1].set_result(None)
                if step.target == "speaking" and step.source != "speaking":
                    self.progress_us = self.loop.now_us
                self.passed_over |= step.reason == "side speech" or step.trigger == "too_long"
            case Record(TurnRecord() as turn):
                self.check("turn", turn)
                self.turns[turn.turn] = turn
            case Send(message):
                self._note_told(message)
                self.check("tell", message)

    def _open_item(self, turn: int, number: int, *, again: bool) -> None:
        if again:
            for item in reversed(self.items.values()):
                if not item.void:
                    item.void = True
                    break
            self.stt_last = 0
        self.items[number] = ItemBook(turn)
        self.item_in_utterance = True

    def _note_told(self, message: protocol.Message) -> None:
        if isinstance(message, protocol.Transcript):
            self.words[message.turn] = self.last_words = message.text
            if isinstance(self.fact, TextSubmitted):
                self.typed.add(message.turn)

    def turn_of(self, number: int) -> int:
        """The turn that one was joined to, or itself."""
        record = self.turns.get(number)
        while record is not None and record.outcome == "reopened" and record.parent is not None:
            number = record.parent
            record = self.turns.get(number)
        return number

    def book(self, epoch: int) -> EpochBook:
        """The book of an epoch; one that nobody started is a violation."""
        book = self.epochs.get(epoch)
        if book is None:
            book = self.epochs[epoch] = EpochBook(0, epoch)
            self.broken("epochs_are_started", "PEERS 5", f"epoch {epoch} was never started")
        return book

    def failed(self, epoch: int) -> bool:
        """Whether a stage of this epoch failed."""
        return epoch in self._failed

    # ------------------------------------------------------------------------------ the socket and the browser
    def sent(self, message: Any) -> None:
        """The server sends."""
        self.check("send", message)
        if isinstance(message, protocol.ReplyFrame):
            self.entries.append((self.loop.now_us, "~", message))
            self.check("frame", message)
            self.book(message.epoch).sent += len(message.pcm) // 2
        elif isinstance(message, protocol.ReplyEnd):
            self.check("reply_end", message)

    def sounds(self, track: Track, before: Track | None) -> None:
        """An epoch begins in the browser."""
        self.note(f"epoch {track.epoch} begins in the browser")
        self.check("sounds", (track, before))

    def note(self, text: str) -> None:
        """Put a line of the caller's into the transcript."""
        self.entries.append((self.loop.now_us, "~", text))

    def recorded(self, _: str, record: TransitionRecord | TurnRecord) -> None:
        """A record is on its way to the log."""
        self.check("line", record)

    # ------------------------------------------------------------------------------ the back-ends
    def stt_audio(self, item: int, ranges: list[tuple[int, int]], samples: int) -> None:
        """The STT got audio."""
        self.check("stt", (item, ranges, samples))
        spans = self.items[item].ranges
        if spans and spans[-1][1] >= ranges[0][0] >= spans[-1][0]:
            spans[-1] = (spans[-1][0], ranges[0][1])
            ranges = ranges[1:]
        spans += ranges

    def tts_request(self, epoch: int, text: str) -> None:
        """Speech was asked for."""
        book = self.book(epoch)
        book.requests += 1
        self.check("speech", (book, text))

    def tool_run(self, epoch: int) -> None:
        """A function was run."""
        self.check("tool", self.book(epoch))

    # ------------------------------------------------------------------------------ checking
    def check(self, occasion: str, what: Any) -> None:
        """Put what was seen to the invariants of this occasion."""
        for invariant in self._checks.get(occasion, ()):
            if wrong := invariant.check(self, what):
                self.broken(invariant.name, invariant.rule, wrong)

    def broken(self, name: str, rule: str, detail: str) -> None:
        """Note a violation."""
        self.violations.append(Violation(name, rule, detail, self.loop.now_us))
        self.entries.append((self.loop.now_us, "!", f"{name} [{rule}]: {detail}"))
