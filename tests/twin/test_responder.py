"""The responder by tables: what is said, and what comes back."""

import datetime as dt

import pytest

from voiceagent.twin.numbers import numbers_in, spoken
from voiceagent.twin.responder import NOT_UNDERSTOOD, STORY, respond, say_clock
from voiceagent.twin.vocabulary import phrases

NOW = dt.datetime(2026, 11, 24, 9, 5, tzinfo=dt.UTC)


def answer(text, *before):
    """The answer to a text after (user, assistant) pairs."""
    messages = [
        {"role": role, "content": said}
        for pair in before
        for role, said in zip(("user", "assistant"), pair, strict=True)
    ]
    return respond([{"role": "system", "content": "x"}, *messages, {"role": "user", "content": text}], NOW)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("what time is it", "It is 9:05 in the morning."),
        ("What time is it?", "It is 9:05 in the morning."),
        ("what date is it today", "Today is Tuesday, November 24, 2026."),
        ("what is seventeen plus twenty five", "17 plus 25 is 42."),
        ("what is 100 minus 58", "100 minus 58 is 42."),
        ("how much is six times seven", "6 times 7 is 42."),
        ("what is ten divided by zero", "One cannot divide by zero."),
        ("how many kilometers are ten miles", "10 miles are 16.09 kilometers."),
        ("convert ten miles to kilometers", "10 miles are 16.09 kilometers."),
        ("what is one hundred degrees fahrenheit in celsius", "100 degrees Fahrenheit are 37.78 degrees Celsius."),
        ("spell banana", "Banana is spelled B, A, N, A, N, A."),
        ("count to five", "1, 2, 3, 4, 5."),
        ("tell me a story", STORY),
        ("stop", "All right."),
        ("thank you very much", "You are welcome."),
        ("the quick brown fox", NOT_UNDERSTOOD),
        ("", NOT_UNDERSTOOD),
    ],
)
def test_answers(text, said):
    """Keywords and slots lead to the answer; what is not understood is said so."""
    assert answer(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("again", "Why?"),
        ("what did i ask", "You said: tell me a joke"),
        ("what did you say", "I said: Why?"),
    ],
)
def test_history(text, said):
    """It knows what was said before, without the mark of an interruption."""
    assert answer(text, ("tell me a joke", "Why? [interrupted by the user here]")) == said
    assert answer(text) != said


def test_the_story_goes_on_where_it_was_cut():
    """Going on continues after the last word that was heard."""
    heard = STORY[: STORY.index("climbed") - 1]
    assert answer("go on", ("a story", f"{heard} [interrupted by the user here]")) == STORY[len(heard) :].strip()


@pytest.mark.parametrize(
    ("asked", "told", "said"),
    [
        ("what time is it", "Tuesday, 24 November 2026, 21:07 UTC", "It is 9:07 in the evening."),
        ("what day is it", "Tuesday, 24 November 2026, 21:07 UTC", "It is Tuesday, 24 November 2026."),
        ("what time is it", "unknown", "It is unknown."),
    ],
)
def test_a_clock_that_was_asked(asked, told, said):
    """The answer of a function becomes what one says."""
    assert say_clock(asked, told) == said


@pytest.mark.parametrize("value", [0, 7, 19, 20, 42, 99, 100, 110, 342, 1000, 12_345, 999_999])
def test_numbers_there_and_back(value):
    """A number in words is read as the number."""
    assert numbers_in(spoken(value)) == [value]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("seventeen plus twenty five", [17, 25]),
        ("2.5 times 3", [2.5, 3]),
        ("one two", [1, 2]),
        ("one hundred and five minus twenty", [105, 20]),
        ("no numbers", []),
    ],
)
def test_numbers_in_a_text(text, numbers):
    """Numbers stand in their order, in digits and in words."""
    assert numbers_in(text) == numbers


def test_what_can_be_heard_can_be_answered():
    """Every phrase of the recogniser has an answer."""
    everything = phrases()
    assert len(everything) > 800
    assert [phrase for phrase in everything if answer(phrase) == NOT_UNDERSTOOD] == []
