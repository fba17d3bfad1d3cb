"""What an item adds to the ones before it."""

import numpy as np
import pytest

from voiceagent.twin.joining import MOST_BYTES, Piece, carried_on, latest, new_words, word_pairs

PAIRS = word_pairs(
    ["tell me a joke", "tell me a long story", "what is seven times eight", "what is it", "stop", "help"]
)
QUIET = bytes(4_800)


def voice(seed, ms=300):
    """Audio that is like no other."""
    return np.random.default_rng(seed).integers(-9_000, 9_000, 24 * ms).astype("<i2").tobytes()


def added(given, joined, alone="", *, final=True):
    """What is new, whether it goes on, and how often the item was decoded alone."""
    tries = []

    def by_itself():
        tries.append(alone)
        return alone.split()

    words, goes_on = new_words(given.split(), joined.split(), by_itself, PAIRS, final=final)
    return " ".join(words), goes_on, len(tries)


@pytest.mark.parametrize(
    ("given", "joined", "alone", "expected"),
    [
        ("what is", "what is seven times eight", "-", ("seven times eight", True, 0)),  # it goes on
        ("", "tell me a joke", "-", ("tell me a joke", True, 0)),  # a fragment gave nothing: it comes now
        (
            "tell me a long story",
            "tell me a long story tell",
            "stop",
            ("stop", False, 1),
        ),  # no phrase goes on like that
        ("tell me a long story", "tell me a long story stop", "", ("", False, 1)),  # nor is it anything else
        (
            "what is it",
            "what is seven times eight",
            "-",
            ("seven times eight", True, 0),
        ),  # better heard, not told twice
        ("help", "tell me a joke", "-", ("tell me a joke", True, 0)),
        ("what is it", "what is tell me", "stop", ("stop", False, 1)),  # disagrees, and is no phrase
        ("tell me a joke", "", "stop", ("stop", False, 1)),  # all of it was garbage
        ("tell me a joke", "tell me a joke", "stop", ("stop", False, 1)),  # nothing new in it
        ("tell me a joke", "tell me a joke", "", ("", False, 1)),
        ("", "", "", ("", False, 1)),
    ],
)
def test_what_is_new(given, joined, alone, expected):
    """Words once told stay; the joined decode is believed where it is likely, and the item by itself where it is not."""
    assert added(given, joined, alone) == expected


def test_a_partial_need_not_end_a_phrase():
    """While one speaks the words so far may be the beginning of a phrase."""
    assert added("help", "tell me a", "stop", final=False) == ("tell me a", True, 0)
    assert added("help", "tell me a", "stop", final=True) == ("stop", False, 1)


def test_audio_that_goes_on():
    """An item with audio of its own goes on from all that was before it."""
    pieces = [Piece(QUIET + voice(1), "one"), Piece(voice(2) + QUIET, "two")]
    assert carried_on(pieces, QUIET + voice(3)) == pieces
    assert carried_on(pieces, QUIET) == pieces
    assert carried_on([], voice(3)) == []


def test_audio_that_comes_again():
    """An item that begins with the audio of the one before replaces it, whatever silence it begins with."""
    first, second = Piece(QUIET + voice(1) + QUIET, "one"), Piece(QUIET + voice(2) + QUIET, "two")
    whole = QUIET + voice(2) + QUIET + voice(3)
    for audio in (whole, whole[960:], QUIET + whole):
        (kept,) = carried_on([first, second], audio)
        assert kept.words == "one"
        assert first.audio.startswith(kept.audio)
        assert kept.audio.startswith(QUIET + voice(1))
    assert carried_on([second], whole) == []


def test_audio_that_begins_with_the_end_of_the_last_word():
    """What is sent twice is decoded once; the words of the piece stay."""
    piece = Piece(voice(1) + QUIET, "one")
    (kept,) = carried_on([piece], piece.audio[-9_600:] + voice(2))
    assert kept == Piece(piece.audio[:-9_600], "one")


def test_no_more_than_a_phrase_is_decoded_again():
    """The oldest pieces are left out where all would be too long."""
    pieces = [Piece(bytes(MOST_BYTES // 2), word) for word in ("one", "two", "three")]
    assert latest(pieces, b"") == pieces[1:]
    assert latest(pieces, bytes(4_800)) == pieces[2:]
    assert latest(pieces, bytes(MOST_BYTES)) == []
