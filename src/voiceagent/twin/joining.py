"""What a new item of a turn adds to the words of the items before it, when their audio is decoded as one."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

BYTES_PER_S = 24_000 * 2
MOST_BYTES = BYTES_PER_S * 8  # longer than any phrase with its pauses; what is older is not decoded again
STRETCH_BYTES = BYTES_PER_S // 10
SEARCHED_BYTES = BYTES_PER_S * 2
LOUD = 256  # of 32767: digital silence is everywhere the same, a room's noise nowhere
Pairs = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Piece:
    """An item's audio and the words given for it."""

    audio: bytes
    words: str


def word_pairs(phrases: Iterable[str]) -> Pairs:
    """Return which words follow each other in phrases; "" stands before the first one and after the last one."""
    return frozenset(pair for phrase in phrases for pair in pairwise(["", *phrase.split(), ""]))


def all_known(words: Sequence[str], pairs: Pairs, *, ended: bool = True) -> bool:
    """Return whether each word follows the one before it in some phrase; without `ended` more may come."""
    return all(pair in pairs for pair in pairwise(["", *words, *([""] if ended else [])]))


def carried_on(pieces: Sequence[Piece], audio: bytes) -> list[Piece]:
    """Return what an item goes on from: the pieces before it, less the audio that it brings again.

    After a very short pause a client may take an item back and send its audio once more, with what follows.
    """
    at = _again(b"".join(piece.audio for piece in pieces), audio)
    if at is None:
        return list(pieces)
    kept = []
    for piece in pieces:
        left = piece.audio[: max(0, at)]
        at -= len(piece.audio)
        if _voice_at(left) is None:
            break  # nothing that was said in it is left: it is replaced
        kept.append(Piece(left, piece.words))
    return kept


def latest(pieces: Sequence[Piece], audio: bytes) -> list[Piece]:
    """Return the last pieces that together with an item are not too long to be decoded with it."""
    kept: list[Piece] = []
    room = MOST_BYTES - len(audio)
    for piece in reversed(pieces):
        room -= len(piece.audio)
        if room < 0:
            break
        kept.insert(0, piece)
    return kept


def new_words(
    given: Sequence[str], joined: Sequence[str], alone: Callable[[], Sequence[str]], pairs: Pairs, *, final: bool
) -> tuple[list[str], bool]:
    """Return the words of the last item, and whether it goes on with what was said before.

    `joined` are the words of all the audio, `given` those told of the earlier items, which are not taken back;
    `alone` decodes the item by itself, which takes time.
    """
    same = 0
    while same < min(len(given), len(joined)) and given[same] == joined[same]:
        same += 1
    rest = list(joined[same:])
    if same == len(given):
        likely = bool(rest) and (not given or (given[-1], rest[0]) in pairs)
    else:
        likely = bool(rest) and all_known(joined, pairs, ended=final)
    if likely:
        return rest, True
    return list(alone()), False


def _voice_at(audio: bytes) -> int | None:
    loud = np.flatnonzero(np.abs(np.frombuffer(audio, dtype="<i2").astype(np.int32)) >= LOUD)
    return int(loud[0]) * 2 if loud.size else None


def _again(earlier: bytes, audio: bytes) -> int | None:
    """Where in the earlier audio an item begins that repeats some of it: in bytes, negative before its start."""
    voice = _voice_at(audio[:SEARCHED_BYTES])
    if voice is None or len(audio) < voice + STRETCH_BYTES:
        return None
    stretch, at = audio[voice : voice + STRETCH_BYTES], -1
    while (at := earlier.find(stretch, at + 1)) >= 0:
        if at % 2 == 0:
            return at - voice
    return None
