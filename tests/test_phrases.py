"""Tokens to phrases that can be spoken."""

import random

import pytest

from voiceagent.phrases import MAX_CHARS, PhraseCutter, speakable


def cut(text, seed=None):
    """The phrases of a text that streams in, in random pieces."""
    rng, cutter, phrases, at = random.Random(seed), PhraseCutter(), [], 0
    while at < len(text):
        size = rng.randint(1, 9)
        phrases += cutter.feed(text[at : at + size])
        at += size
    return phrases + cutter.flush()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("**Very** _important_ `code`.", "Very important code."),
        ("# Title\n\n- one\n- two", "Title one two"),
        ("1. First\n2. Second", "First Second"),
        ("See [the page](https://example.com/x).", "See the page."),
        ("Go to https://www.example.com/a/b?c=d now", "Go to example.com link now"),
        ("Hi 😀 there 🎉!", "Hi there!"),
        ("<speak>Hello <break time='1s'/> you</speak>", "Hello you"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a, b 1, 2"),
        ("2 * 3 = 6, and 3.5 < 4", "2 * 3 = 6, and 3.5 < 4"),
        ("snake_case_name stays", "snake_case_name stays"),
        ("> quoted", "quoted"),
        ("```python\nprint(1)\n```", "(code)"),
        ("It is B, A, N.", "It is B, A, N."),
        ("", ""),
    ],
)
def test_speakable(text, said):
    """Markup is not read aloud; words, numbers and punctuation are."""
    assert speakable(text) == said


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("It is nine in the morning.", ["It is nine in", "the morning."]),
        ("Of course, I can tell you that.", ["Of course,", "I can tell you that."]),
        ("Well, hello there.", ["Well, hello there."]),
        ("Dr. Smith paid 1,000.50 dollars today.", ["Dr. Smith paid 1,000.50", "dollars today."]),
        ("Yes.", ["Yes."]),
        ("😀", []),
        ("", []),
        ("今日はいい天気です。散歩しましょう。", ["今日はいい天気です。", "散歩しましょう。"]),
    ],
)
def test_phrases(text, phrases):
    """The first phrase is cut early, and never inside a number, an abbreviation or a single word."""
    assert cut(text, 1) == phrases


def test_later_phrases_grow():
    """After the first phrase whole sentences are gathered until they are worth a request."""
    sentence = "This is a sentence of some length that somebody may say. "
    phrases = cut("Of course, " + sentence * 6, 1)
    assert phrases[0] == "Of course,"
    assert phrases[1:] == [(sentence * 3).strip()] * 2


@pytest.mark.parametrize("seed", range(20))
def test_no_word_is_lost(seed):
    """The phrases of any plain text join to it, however it streams in, and none is too long."""
    rng = random.Random(seed)
    words = rng.choices(
        ["a", "the", "word", "number", "3.5", "1,000", "Dr.", "then,", "stop.", "really?", "so:"], k=200
    )
    phrases = cut(" ".join(words), seed)
    assert " ".join(phrases) == " ".join(words)
    assert max(map(len, phrases)) <= MAX_CHARS


def test_a_text_without_an_end():
    """A flood without punctuation or spaces is cut all the same."""
    phrases = cut("x" * 2000, 1)
    assert "".join(phrases) == "x" * 2000
    assert max(map(len, phrases)) <= MAX_CHARS
