"""Which texts are the same words, and which transcripts are only the agent's own voice come back."""

import random
from difflib import SequenceMatcher

import pytest

from voiceagent import likeness
from voiceagent.lexicon import echoes, same_words


def rows(text):
    """The rows of a table."""
    return [row.strip() for row in " ".join(text.split()).split(" / ")]


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("What time is it?", "what time is it", True),
        ("OK, e-mail me", "okay email me", True),
        ("don’t", "Don't", True),
        ("ｆｕｌｌ ｗｉｄｔｈ", "full width", True),
        ("good bye", "goodbye", True),
        ("cafe\u0301", "café", True),
        ("", "...", True),
        ("今日はいい天気", "今日は いい天気。", True),
        ("what time is it", "what time is it now", False),
        ("Tuesday", "Thursday", False),
        ("हिन्दी", "हिन्द", False),
        ("$5", "5", False),
        ("yes", "", False),
    ],
)
def test_same_words(a, b, same):
    """Words are the same whatever their dress."""
    assert same_words(a, b) is same
    assert same_words(b, a) is same


SPOKEN = "Your appointment is on Tuesday at half past nine. Would you like me to send you a reminder the day before?"
ECHOES = """your appointment is on Tuesday / is on Tuesday at half past nine / your appointment is on Tuesday at half past wine /
    would you like me to send you a remind / pointment is on Tuesday / the day before / reminder the day before / reminder /
    yourappointment is on tuesday at half passed nine / you're appointment is on tuesday / send you reminder the day before /
    like me to sand you a reminder the day / would you like me too send you the reminder / day bef / re minder the day before"""
ANSWERS = """no, Tuesday please / Tuesday please / the / yes / no / stop / wait / you / is / yes on Tuesday / not Tuesday /
    on Thursday at half past nine please / Wednesday / what about Thursday / can you make it ten / tuesday is bad for me /
    yes send me a reminder please / no reminder / hold on / stop stop / I'd like Monday at nine / at half past ten then / a /
    who is this / how much is it / no no / Thursday / yes please / no on Tuesday at half past / wait on Tuesday at half past"""


@pytest.mark.parametrize("text", rows(ECHOES))
def test_echoes(text):
    """What comes back of the agent's words is an echo, also garbled, merged, or cut."""
    assert echoes(text, SPOKEN)


@pytest.mark.parametrize("text", [*rows(ANSWERS), "", "..."])
def test_answers_are_no_echoes(text):
    """An answer that takes up the agent's words is none, nor is a call to stop, nor a common word."""
    assert not echoes(text, SPOKEN)


def test_numbers_come_back_in_words():
    """The agent's text has digits, the recogniser's may have words, and the other way round."""
    assert echoes("it is nine thirty in the morning", "It is 9:30 in the morning and it costs $45.")
    assert echoes("it costs forty five", "It is 9:30 in the morning and it costs $45.")
    assert echoes("it costs $45", "It costs forty five, all in all.")
    assert not echoes("it costs 46", "It costs 45, all in all.")
    assert not echoes("at ten thirty", "We meet at 9:30.")


def test_nothing_was_spoken():
    """Where the agent said nothing there is no echo."""
    assert not echoes("would you like me to send", "")


def test_stop_within_a_longer_echo():
    """A stop word that was itself spoken does not save a stretch of the agent's words; alone it is always the user's."""
    assert echoes("there is no charge", "Well, there is no charge for it.")
    assert not echoes("stop", "Say stop at any time to stop.")
    assert not echoes("no no", "Oh no, no, that is fine.")


@pytest.mark.parametrize("seed", range(20))
def test_garbled_echoes(seed):
    """A stretch of the agent's words is an echo though one word in five came back as another."""
    rng = random.Random(seed)
    said = SPOKEN.split()
    start = rng.randrange(8)
    heard = said[start : start + 10]
    for at in rng.sample(range(10), 2):
        heard[at] = rng.choice(["banana", "velvet", "gorilla"])
    assert echoes(" ".join(heard), SPOKEN)
    for at in rng.sample(range(10), 8):
        heard[at] = rng.choice(["banana", "velvet", "gorilla"])
    assert not echoes(" ".join(heard), SPOKEN)


def test_any_two_texts():
    """No text is too strange, and each is the same as itself."""
    rng = random.Random(1)
    alphabet = "aeiomnst' -.,?!…0123456789()[]<>*♪\u0301\u200b\u00a0ß’é今の한हि\U0001f600\ufeff\x00\t\n$€%+"
    for _ in range(600):
        text, other = ("".join(rng.choices(alphabet, k=rng.randrange(40))) for _ in range(2))
        assert same_words(text, text)
        assert echoes(text, other) in {True, False}


def test_the_cost_is_bounded(monkeypatch):
    """Two floods of words that are nearly alike are compared no more often than their last words allow."""
    calls = []
    monkeypatch.setattr(likeness, "SequenceMatcher", lambda *a, **k: calls.append(1) or SequenceMatcher(*a, **k))
    rng = random.Random(2)
    heard, said = (" ".join("t" + "".join(rng.choices("ab", k=7)) for _ in range(500)) for _ in range(2))
    echoes(heard, said)
    assert len(calls) <= 40 * 60 * 5
