"""The dialogs: which caller says what in which room, family by family; the material is dealt out evenly and for good."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from typing import Literal, TypeVar

from voiceagent.dialogs import material
from voiceagent.dialogs.material import Murmur, Noise, Utterance

Family = Literal["plain", "pausing", "dictating", "backchannel", "tic and cough", "side speech", "barge-in", "echo"]
COUNTS: dict[Family, int] = {
    "plain": 36, "pausing": 64, "dictating": 40, "backchannel": 40,
    "tic and cough": 40, "side speech": 40, "barge-in": 56, "echo": 24,
}  # fmt: skip
FAMILIES = tuple(COUNTS)
OVER: tuple[Family, ...] = ("backchannel", "tic and cough", "side speech", "barge-in")
SNRS_DB: tuple[int | None, ...] = (None, 30, 20, 10)
ECHOES_DB = (-40, -30, -20)
SIDE_DB = (-8, -10, -12, -14, -16, -18, -20)
OVERS_PER_REPLY = 3


@dataclass(frozen=True, slots=True)
class Aside:
    """What is said to somebody else in the room, and how much quieter than the caller."""

    said: Utterance
    level_db: float


Card = TypeVar("Card")
Over = Murmur | Noise | Aside | Utterance


@dataclass(frozen=True, slots=True)
class Exchange:
    """A turn of the caller, and what is heard over the reply to it."""

    turn: Utterance
    overs: tuple[Over, ...] = ()
    long: bool = False  # the reply


@dataclass(frozen=True, slots=True)
class Script:
    """One dialog. `snr_db` None is a silent room; `echo_db` None: nothing of the agent's voice comes back."""

    name: str
    family: Family
    snr_db: int | None
    echo_db: int | None
    punctuated: bool  # how the STT writes
    exchanges: tuple[Exchange, ...]


@cache
def scripts() -> tuple[Script, ...]:
    """All dialogs."""
    return tuple(script for family in FAMILIES for script in _family(family))


def script(name: str) -> Script:
    """The dialog of that name. Raises `KeyError`."""
    return {each.name: each for each in scripts()}[name]


def _dealt(family: str, what: str, cards: Sequence[Card]) -> "cycle[Card]":
    """An endless pile of cards, shuffled once: each comes as often as any other."""
    order = list(cards)
    random.Random(f"{family} {what}").shuffle(order)
    return cycle(order)


def _family(family: Family) -> list[Script]:
    plain = _dealt(family, "plain", material.utterances("plain"))
    openings = _dealt(family, "openings", material.utterances("openings"))
    turns = _dealt(family, "turns", material.utterances(family)) if family in ("pausing", "dictating") else plain
    overs = _overs(family)
    found = []
    for number in range(COUNTS[family]):
        if family in OVER:
            talks = [_talked_over(next(openings), overs, family) for _ in range(2)]
            exchanges = (*talks, Exchange(next(plain)))
        elif family == "echo":
            # Every other echo dialog has a caller who interrupts: the echo must not hide that.
            over = (next(overs),) if number % 2 else ()
            exchanges = (Exchange(next(openings), long=True), Exchange(next(openings), over, long=True))
        elif family == "plain":
            exchanges = tuple(Exchange(next(turns)) for _ in range(4))
        else:
            exchanges = (Exchange(next(turns)), Exchange(next(plain)), Exchange(next(turns)), Exchange(next(turns)))
        snr_db = 30 if family == "echo" else SNRS_DB[number % 4]
        echo_db = ECHOES_DB[number % 3] if family == "echo" else None
        punctuated = (number // 4) % 2 == 0
        found.append(
            Script(f"{family.replace(' ', '-')}-{number + 1:02}", family, snr_db, echo_db, punctuated, exchanges)
        )
    return found


def _overs(family: Family) -> "cycle[Over]":
    cards: tuple[Over, ...]
    if family == "backchannel":
        cards = material.murmurs()
    elif family == "tic and cough":
        cards = material.noises()
    elif family == "side speech":
        cards = tuple(
            Aside(said, SIDE_DB[number % len(SIDE_DB)]) for number, said in enumerate(material.utterances("asides"))
        )
    else:
        cards = material.utterances("interruptions")
    return _dealt(family, "overs", cards)


def _talked_over(opening: Utterance, overs: "cycle[Over]", family: Family) -> Exchange:
    count = 1 if family == "barge-in" else OVERS_PER_REPLY
    return Exchange(opening, tuple(next(overs) for _ in range(count)), long=True)
