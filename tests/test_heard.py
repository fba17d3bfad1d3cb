"""Samples to words: what was heard of a reply."""

import random

import pytest

from voiceagent.heard import ReplyLedger, WordMark, weight

SECOND = 24_000


def ledger():
    """Two phrases of a second and a half each."""
    made = ReplyLedger()
    made.add("It is nine in", 0)
    made.add("the morning, my friend.", SECOND * 3 // 2)
    made.close(SECOND * 3)
    return made


@pytest.mark.parametrize(
    ("samples", "heard"),
    [
        (0, ""),
        (1, ""),
        (SECOND // 4, "It"),
        (SECOND * 3 // 2, "It is nine in"),
        (SECOND * 3 // 2 + 1, "It is nine in"),
        (SECOND * 9 // 4, "It is nine in the morning,"),
        (SECOND * 3, "It is nine in the morning, my friend."),
        (SECOND * 30, "It is nine in the morning, my friend."),
    ],
)
def test_heard(samples, heard):
    """A word counts once half of it was played; phrases before it count whole."""
    assert ledger().heard(samples) == heard


def test_it_only_grows():
    """More samples never mean fewer words."""
    made = ledger()
    lengths = [len(made.heard(samples)) for samples in range(0, SECOND * 3 + 1, 240)]
    assert lengths == sorted(lengths)


def test_a_phrase_that_is_not_complete():
    """While a phrase's audio still comes, its length is guessed by the pace of those before it."""
    made = ReplyLedger()
    made.add("one two three four", 0)
    made.add("five six seven eight", SECOND * 2)
    assert made.heard(SECOND * 2) == "one two three four"
    assert made.heard(SECOND * 3) == "one two three four five six"
    assert made.heard(SECOND * 20) == "one two three four five six seven eight"


def test_word_marks_are_exact():
    """Where the synthesiser tells its words' ends, they decide."""
    made = ReplyLedger()
    made.add("one two three", 0, [WordMark(3, 1000), WordMark(7, 5000), WordMark(13, 6000)])
    made.close(6000)
    assert [made.heard(samples) for samples in (999, 1000, 4999, 5000, 6000)] == [
        "", "one", "one", "one two", "one two three",
    ]  # fmt: skip


def test_an_empty_ledger():
    """Nothing said is nothing heard."""
    made = ReplyLedger()
    made.close(0)
    assert (made.text, made.heard(0), made.heard(100)) == ("", "", "")


def test_weights():
    """Digits take as long as the words they are spoken as, and long words longer than short ones."""
    assert weight("1984") > weight("year") > weight("a")
    assert weight("stop.") > weight("stop")


@pytest.mark.parametrize("seed", range(10))
def test_the_whole_is_the_text(seed):
    """Everything played is everything said, whatever the phrases."""
    rng, made, at, phrases = random.Random(seed), ReplyLedger(), 0, []
    for _ in range(rng.randint(1, 6)):
        phrases.append(" ".join(rng.choices(["a", "word", "4711", "really,", "日本語", "end."], k=rng.randint(1, 9))))
        made.add(phrases[-1], at)
        at += rng.randint(1, 50_000)
    made.close(at)
    assert made.heard(at) == " ".join(phrases)
