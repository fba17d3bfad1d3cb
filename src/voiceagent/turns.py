"""What is known of one turn: the user's words, the reply and how much of it was heard, the marks; and the prompt of many."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from voiceagent.heard import ReplyLedger
from voiceagent.patience import Wait
from voiceagent.speculation import GUESS_TABLE, Guess, Step
from voiceagent.timeline import BargeIn, Connection, Origin, Speculation, StageFault

CUT_OFF = " [interrupted by the user here]"
"""Stands in the prompt at the end of what was heard of an interrupted reply."""


@dataclass(slots=True, eq=False)
class Item:
    """One piece of the user's audio at the STT."""

    key: int
    committed: bool = False
    partial: str = ""
    streams: bool = False  # its words came while it was still being spoken
    at_commit: str = ""  # what was known of them then
    final: str | None = None

    @property
    def text(self) -> str:
        """The best that is known of its words."""
        return self.partial if self.final is None else self.final


@dataclass(slots=True, eq=False)
class Reply:
    """One attempt at an answer."""

    epoch: int
    started_us: int
    text: str = ""  # the words that it answers
    canned: bool = False
    ledger: ReplyLedger = field(default_factory=ReplyLedger)
    phrases: list[tuple[str, int]] = field(default_factory=list)  # text and first sample
    ready_us: int = 0  # since when its first audio waits at the gate; 0: not yet
    released: bool = False  # the gate was opened for it
    told: int = 0  # phrases that the browser was told of
    total_samples: int | None = None  # None while it is being made
    heard_samples: int = 0
    leading_silence_us: int = 0
    marks: dict[str, int] = field(default_factory=dict)
    failure: str = ""  # the stage that failed in it

    @property
    def ready(self) -> bool:
        """Whether its first audio waits at the gate."""
        return self.ready_us > 0

    @property
    def heard(self) -> str:
        """What was heard of it, up to the last whole word."""
        return self.ledger.heard(self.heard_samples)

    @property
    def whole(self) -> bool:
        """Whether all that the model had to say was heard."""
        return self.complete and not self.failure

    @property
    def complete(self) -> bool:
        """Whether every sample of it was made and heard."""
        return self.total_samples is not None and self.heard_samples >= self.total_samples


@dataclass(slots=True, eq=False)
class Turn:
    """One utterance of the user with its reply; `origin` is ``agent`` where the agent spoke first."""

    number: int
    origin: Origin
    started_us: int
    parent: int | None = None
    parts: list[Item | str] = field(default_factory=list)  # spoken items and typed texts, in order
    reply: Reply | None = None
    marks: dict[str, int] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    pauses: list[tuple[int, int | None]] = field(default_factory=list)
    """Silences after which the user went on, and the silence that would have ended the turn then: both in ms."""
    voiced_us: int = 0
    voicing_us: int = 0  # the same of the utterance that is not over yet
    ended: bool = False  # the user has finished it
    talk_key: bool = False  # held down: a pause does not end the turn
    speech: bool = True  # False: a sound over a reply of which it is not known whether it is speech
    level_db: float | None = None  # how loud, compared with the caller's usual voice
    onset_us: int = 0  # of its last item's speech
    told: tuple[str, bool] = ("", False)  # the words that the page has, and whether they are final
    trailing: bool = False  # it began over the last words of a reply that asked nothing
    farewell: str = ""  # why the session ends with it
    guess: Guess = Guess.NONE
    speculation: Speculation = field(default_factory=Speculation)
    wait: Wait | None = None  # the silence that ends it, as its words are now
    end_probability: float | None = None  # what an acoustic model makes of the present pause
    filler: int = 0  # the epoch of what bridges the wait for its reply; 0: nothing is heard
    fillers: int = 0
    apologies: int = 0
    reopened: int = 0
    barge_ins: list[BargeIn] = field(default_factory=list)
    stt_retries: int = 0
    faults: list[StageFault] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    rtt_us: int = 0

    @property
    def text(self) -> str:
        """The user's words so far."""
        words = (part if isinstance(part, str) else part.text for part in self.parts)
        return " ".join(filter(None, (word.strip() for word in words)))

    @property
    def all_marks(self) -> dict[str, int]:
        """The marks of the user's words and of the last reply to them."""
        return self.marks | (self.reply.marks if self.reply is not None else {})

    @property
    def items(self) -> list[Item]:
        """The spoken items, in order."""
        return [part for part in self.parts if isinstance(part, Item)]

    @property
    def open_item(self) -> Item | None:
        """The item that is still being spoken."""
        items = self.items
        return items[-1] if items and not items[-1].committed else None

    @property
    def guessed(self) -> bool:
        """Whether its reply is one that was prepared early and may still be dropped."""
        return self.guess in (Guess.RUNNING, Guess.READY)

    def guess_step(self, step: Step) -> None:
        """Move the guess on."""
        self.guess = GUESS_TABLE[self.guess, step]

    @property
    def waits_for_words(self) -> bool:
        """Whether a committed item has no final transcript yet."""
        return any(item.final is None for item in self.items)

    def join(self, later: "Turn") -> None:
        """Take in the words of a turn that turned out to be the rest of this one; its marks replace this one's.

        The reply so far is forgotten: nobody heard a sample of it.
        """
        self.parts += later.parts
        self.pauses += later.pauses
        self.voiced_us += later.voiced_us
        self.barge_ins += later.barge_ins
        later.barge_ins = []
        self.marks = {"speech_start": self.marks.get("speech_start", self.started_us), **later.marks}
        self.ended = later.ended
        self.wait, self.end_probability, self.voicing_us = later.wait, later.end_probability, later.voicing_us
        self.talk_key = later.talk_key
        self.onset_us = later.onset_us
        self.reply = None
        self.reopened += 1


@dataclass(frozen=True, slots=True)
class PastTurn:
    """What is remembered of a turn: exactly what was said and what was heard."""

    number: int
    user: str
    reply: str
    interrupted: bool

    @classmethod
    def of(cls, turn: Turn) -> Self:
        """Return what there is to remember of a turn that is over."""
        reply = turn.reply
        heard = reply.heard if reply is not None else ""
        return cls(turn.number, turn.text, heard, reply is not None and bool(heard) and not reply.complete)


def prompt(instructions: str, past: Sequence[PastTurn], text: str, *, limit: int) -> tuple[dict[str, str], ...]:
    """Return the chat messages for the next reply: instructions, the last `limit` turns as they were heard, and `text`."""
    return (
        {"role": "system", "content": instructions},
        *_dialog(past[-limit:]),
        {"role": "user", "content": text},
    )


def _dialog(past: Iterable[PastTurn]) -> Iterable[dict[str, str]]:
    for turn in past:
        if turn.user:
            yield {"role": "user", "content": turn.user}
        if turn.reply:
            yield {"role": "assistant", "content": turn.reply + (CUT_OFF if turn.interrupted else "")}
