"""How long a silence ends a turn: after which words, by whose habits, by which dial, by what a model of the voice says."""

import dataclasses
import itertools
import random

import pytest

from voiceagent.lexicon import Lexicon
from voiceagent.patience import PAUSES_KEPT, Patience, Wait

SAID = {
    "empty": "",
    "neutral": "we found a hotel with a garden near the lake",
    "complete": "that's all",
    "question": "what time is it?",
    "unfinished": "I want the",
    "hesitation": "I want um",
    "number": "my number is 555 12",
    "spelling": "j o h n",
}
DIALS = [step / 20 for step in range(21)]
PROBABILITIES = [step / 20 for step in range(21)]


def patience(*, endpoint_ms=500, adapts=True, dial=0.5, language="en"):
    """A session's patience."""
    return Patience(endpoint_ms=endpoint_ms, adapts=adapts, dial=dial, lexicon=Lexicon.of(language))


@pytest.mark.parametrize(
    ("ending", "silence_ms"),
    [
        ("empty", 750),
        ("neutral", 850),
        ("complete", 400),
        ("question", 350),
        ("unfinished", 1_400),
        ("hesitation", 1_700),
        ("number", 1_500),
        ("spelling", 1_300),
    ],
)
def test_by_words(ending, silence_ms):
    """The words set the wait, and the reason says which."""
    assert patience().wait(SAID[ending], spoken_ms=1_000) == Wait(silence_ms, ending)


def test_a_wait_is_a_fact():
    """Nobody changes a wait."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        patience().wait("yes", spoken_ms=300).silence_ms = 1


@pytest.mark.parametrize(("endpoint_ms", "complete_ms"), [(200, 200), (300, 300), (350, 300), (500, 400), (1_000, 800)])
def test_complete_words_are_not_cut_short(endpoint_ms, complete_ms):
    """After complete words the wait is shorter than usual, but not under 300 ms, and never longer than usual."""
    assert patience(endpoint_ms=endpoint_ms).wait("that's all", spoken_ms=900).silence_ms == complete_ms


@pytest.mark.parametrize(("text", "silence_ms"), [("could you send me?", 350), ("could you send me the form", 500)])
def test_a_question_without_its_mark(text, silence_ms):
    """Only a transcript with a question mark knows that the question has ended."""
    assert patience().wait(text, spoken_ms=900).silence_ms == silence_ms


def test_only_a_fast_dial_goes_below():
    """With the dial at fast even complete words wait less than 300 ms."""
    assert patience(dial=0.0).wait("that's all", spoken_ms=900).silence_ms == 240


@pytest.mark.parametrize("text", SAID.values())
@pytest.mark.parametrize("probability", [None, 0.0, 1.0])
def test_fixed(text, probability):
    """A patience that does not adapt waits for the same silence whatever is said, seen or set."""
    fixed = patience(endpoint_ms=230, adapts=False, dial=1.0)
    for _ in range(5):
        fixed.pause(900)
    assert fixed.wait(text, spoken_ms=9_000, probability=probability) == Wait(230, "fixed")


def test_a_long_story():
    """Who has talked for long pauses longer between two sentences, but not after a question."""
    assert patience().wait("we found a hotel with a garden near the lake", spoken_ms=5_999).silence_ms == 850
    assert patience().wait("we found a hotel with a garden near the lake", spoken_ms=6_000) == Wait(1_000, "neutral")
    assert patience().wait("what time is it?", spoken_ms=60_000) == Wait(350, "question")


# ------------------------------------------------------------------------------------------ the dial
@pytest.mark.parametrize(("dial", "silence_ms"), [(0.0, 510), (0.5, 850), (1.0, 1_700), (-3.0, 510), (7.0, 1_700)])
def test_the_dial(dial, silence_ms):
    """From fast to patient it goes from 0.6 to 2 times the wait."""
    assert patience(dial=dial).wait("we found a hotel with a garden near the lake", spoken_ms=900) == Wait(
        silence_ms, "neutral"
    )


def test_the_dial_turns_while_running():
    """A turn of the dial is in force with the next wait."""
    one = patience(dial=0.0)
    one.dial = 1.0
    assert one.wait("we found a hotel with a garden near the lake", spoken_ms=900).silence_ms == 1_700


@pytest.mark.parametrize("text", SAID.values())
@pytest.mark.parametrize("probability", [None, 0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("endpoint_ms", [60, 200, 500, 1_500, 10_000])
def test_more_patience_is_never_a_shorter_wait(text, probability, endpoint_ms):
    """The wait grows with the dial, evenly, whatever else decides."""
    one = patience(endpoint_ms=endpoint_ms)
    waits = []
    for dial in DIALS:
        one.dial = dial
        waits.append(one.wait(text, spoken_ms=900, probability=probability).silence_ms)
    assert waits == sorted(waits)
    assert max(b - a for a, b in itertools.pairwise(waits)) <= max(1, waits[-1] * 0.12)
    assert waits[0] >= 120
    assert waits[-1] <= 4_000


# ------------------------------------------------------------------------------------------ the caller
def test_habits_of_the_caller():
    """Three pauses make a habit; what follows complete words then outlasts nearly all of them."""
    one = patience()
    one.pause(700)
    one.pause(700)
    assert one.wait("we found a hotel with a garden near the lake", spoken_ms=900) == Wait(850, "neutral")
    one.pause(700)
    assert one.wait("we found a hotel with a garden near the lake", spoken_ms=900) == Wait(865, "caller")
    assert one.wait("that's all", spoken_ms=900) == Wait(865, "caller")
    assert one.wait("what time is it?", spoken_ms=900) == Wait(350, "question")
    assert one.wait("I want the", spoken_ms=900) == Wait(1_400, "unfinished")


def test_a_quick_caller_is_not_cut_off():
    """Short pauses lower nothing."""
    one = patience()
    for _ in range(50):
        one.pause(120)
    assert one.wait("we found a hotel with a garden near the lake", spoken_ms=900) == Wait(850, "neutral")


def test_the_slowest_caller():
    """A habit is no reason to wait for longer than 1.5 s."""
    one = patience()
    for _ in range(5):
        one.pause(30_000)
    assert one.wait("we found a hotel with a garden near the lake", spoken_ms=900) == Wait(1_500, "caller")


def test_one_long_pause_is_no_habit():
    """A single long pause among many short ones is forgotten sooner than a habit."""
    one = patience()
    one.pause(1_400)
    for _ in range(9):
        one.pause(200)
    assert one.wait("we found a hotel with a garden near the lake", spoken_ms=900) == Wait(850, "neutral")


def test_old_habits_fade():
    """Pauses of long ago are outweighed by those of now, and their number is bounded."""
    one = patience()
    for _ in range(1_000):
        one.pause(1_000)
    assert one.wait("we found a hotel with a garden near the lake", spoken_ms=900).reason == "caller"
    for _ in range(PAUSES_KEPT):
        one.pause(200)
    assert one.wait("we found a hotel with a garden near the lake", spoken_ms=900) == Wait(850, "neutral")
    assert len(one._pauses_ms) == PAUSES_KEPT


@pytest.mark.parametrize("text", [SAID["neutral"], SAID["complete"], SAID["empty"]])
def test_longer_pauses_are_never_a_shorter_wait(text):
    """The wait grows with the caller's pauses."""
    waits = []
    for pause_ms in range(0, 2_000, 50):
        one = patience()
        for _ in range(4):
            one.pause(pause_ms)
        waits.append(one.wait(text, spoken_ms=900).silence_ms)
    assert waits == sorted(waits)
    assert waits[0] < waits[-1] == 1_500


# ------------------------------------------------------------------------------------------ the model
@pytest.mark.parametrize(
    ("ending", "probability", "wait"),
    [
        ("neutral", 1.0, Wait(200, "model")),
        ("neutral", 0.75, Wait(525, "model")),
        ("neutral", 0.5, Wait(850, "neutral")),
        ("neutral", 0.0, Wait(1_100, "model")),
        ("complete", 1.0, Wait(200, "model")),
        ("complete", 0.0, Wait(1_100, "model")),
        ("empty", 1.0, Wait(200, "model")),
        ("unfinished", 1.0, Wait(500, "model")),
        ("unfinished", 0.0, Wait(1_400, "unfinished")),
        ("number", 0.75, Wait(1_000, "model")),
        ("neutral", 9.0, Wait(200, "model")),
        ("neutral", -9.0, Wait(1_100, "model")),
    ],
)
def test_a_model_of_the_voice(ending, probability, wait):
    """A sure model shortens the wait to 200 ms, against unfinished words to the usual one; an unsure one lengthens it."""
    assert patience().wait(SAID[ending], spoken_ms=900, probability=probability) == wait


@pytest.mark.parametrize("text", SAID.values())
@pytest.mark.parametrize("endpoint_ms", [60, 200, 500, 1_500])
def test_a_surer_model_is_never_a_longer_wait(text, endpoint_ms):
    """The wait falls with the probability that the turn is over."""
    one = patience(endpoint_ms=endpoint_ms)
    waits = [one.wait(text, spoken_ms=900, probability=probability).silence_ms for probability in PROBABILITIES]
    assert waits == sorted(waits, reverse=True)
    assert waits[0] >= min(4_000, endpoint_ms + 600)


# ------------------------------------------------------------------------------------------ anything
def test_bounds():
    """Whatever comes, the wait lies between 120 ms and 4 s."""
    rng = random.Random(3)
    for _ in range(300):
        one = patience(endpoint_ms=rng.randrange(0, 10_000), dial=rng.random(), language=rng.choice(["en", "fr", "xx"]))
        for _ in range(rng.randrange(6)):
            one.pause(rng.randrange(0, 5_000))
        text = "".join(rng.choices("aeio tn1,.?'", k=30))
        wait = one.wait(text, spoken_ms=rng.randrange(60_000), probability=rng.choice([None, rng.random()]))
        assert 120 <= wait.silence_ms <= 4_000


def test_a_language_without_lists():
    """Without word lists the timing is neutral."""
    assert patience(language="xx").wait("I want the", spoken_ms=900) == Wait(500, "neutral")


def test_who_dictates_goes_on_dictating():
    """After half a number even words that look whole wait as long, until another turn begins."""
    one = patience()
    assert one.wait("my number is 555 12", spoken_ms=900) == Wait(1_500, "number")
    assert one.wait("we found a hotel with a garden near the lake", spoken_ms=900) == Wait(1_500, "neutral")
    one.next_turn()
    assert one.wait("we found a hotel with a garden near the lake", spoken_ms=900) == Wait(850, "neutral")


@pytest.mark.parametrize(
    ("text", "answers", "silence_ms"),
    [
        ("my daughter's school", False, 1_200),
        ("the red one", False, 1_200),
        ("the red one", True, 500),
        ("tell me a joke", False, 500),
        ("please tell me a long story", False, 500),
    ],
)
def test_a_fragment(text, answers, silence_ms):
    """A few words are a beginning, unless they answer a question or ask for something."""
    one = patience()
    one.next_turn(answers=answers)
    assert one.wait(text, spoken_ms=900) == Wait(silence_ms, "neutral")


def test_without_words():
    """Where nobody hears the words, the wait is the setting by the dial, and the caller's own pauses still lengthen it."""
    patience = Patience(endpoint_ms=650, adapts=True, dial=0.5, lexicon=Lexicon.of("en"))
    assert patience.wait(None, spoken_ms=900) == Wait(650, "unheard")
    patience.dial = 1.0
    assert patience.wait(None, spoken_ms=900) == Wait(1_300, "unheard")
    patience.dial = 0.5
    for _ in range(8):
        patience.pause(900)
    assert patience.wait(None, spoken_ms=900).reason == "caller"
    assert patience.wait(None, spoken_ms=900).silence_ms > 900
