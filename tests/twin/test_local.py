"""The real engines, in their processes."""

import asyncio
import contextlib
import os
import signal
from itertools import pairwise

import numpy as np
import pytest

from voiceagent.twin import LocalEngines
from voiceagent.twin.ports import EngineError
from voiceagent.twin.stt_worker import Recogniser

pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(bool(LocalEngines.missing()), reason="the extra 'local' is not installed"),
]
PHRASES = (
    "what time is it", "what is the date today", "tell me a long story", "spell the word banana", "count to ten",
    "how many kilometers are ten miles", "what can you do", "thank you very much", "good morning", "what did i ask you",
)  # fmt: skip
FOREIGN = (
    "my mother bought three tickets for the concert",
    "please open the garage door and bring the ladder",
    "the quick brown fox jumps over the fence",
)


@pytest.fixture
async def engines():
    """Running engines."""
    made = LocalEngines()
    await made.start()
    yield made
    await made.aclose()


async def hear(engines, text, voice="en-us"):
    """Speak a text and return what is heard."""
    pcm = b"".join([chunk async for chunk in engines.speak(text, voice, 1.0)])
    transcription = engines.transcribe(lambda _: None)
    transcription.append(bytes(9_600) + pcm + bytes(24_000))
    return await transcription.final()


async def test_phrases_are_recognised(engines):
    """At least eight of ten everyday phrases are heard word for word."""
    heard = [await hear(engines, phrase) for phrase in PHRASES]
    exact = sum(phrase == words for phrase, words in zip(PHRASES, heard, strict=True))
    assert exact >= 8, heard


async def test_what_lies_outside_is_rejected(engines):
    """Speech that is none of the phrases is not bent into one."""
    assert [await hear(engines, text) for text in FOREIGN].count("") >= 2


async def say(engines, text):
    """Return the audio of a text, as an agent sends it: some silence, the voice, and 100 ms more."""
    pcm = b"".join([chunk async for chunk in engines.speak(text, "en-us", 1.0)])
    loud = np.flatnonzero(np.abs(np.frombuffer(pcm, dtype="<i2")) > 60)
    return bytes(19_200) + pcm[loud[0] * 2 : loud[-1] * 2 + 2] + bytes(4_800)


async def hear_items(engines, *items):
    """Return what is heard in items that follow each other closely."""
    before, heard = None, []
    for audio in items:
        before = engines.transcribe(lambda _: None, "", before)
        before.append(audio)
        heard.append(before.final())
    return await asyncio.gather(*heard)


async def test_a_sentence_in_two_items(engines):
    """What is committed in the middle of a sentence is understood with its rest, and no word is given twice."""
    for first, rest in (("what is", "seven times eight"), ("tell me", "a joke")):
        items = await say(engines, first), await say(engines, rest)
        assert " ".join(await hear_items(engines, *items)).split() == f"{first} {rest}".split()


async def test_a_new_sentence_soon_after_another(engines):
    """It is heard as it would be by itself."""
    items = [await say(engines, text) for text in ("what is the date today", "what time is it", "good morning")]
    assert await hear_items(engines, *items) == ["what is the date today", "what time is it", "good morning"]


async def test_what_lies_outside_is_rejected_after_a_phrase_too(engines):
    """A phrase before it does not make up for it."""
    phrase = await say(engines, "what time is it")
    heard = [(await hear_items(engines, phrase, await say(engines, text)))[1] for text in FOREIGN]
    assert heard.count("") >= 2


async def test_an_item_that_was_taken_back(engines):
    """An item that brings the audio of the one before again replaces it: all its words are its own."""
    whole = await say(engines, "what time is it")
    for cut in (len(whole) // 2 // 2 * 2, len(whole) * 2 // 3 // 2 * 2):
        assert (await hear_items(engines, whole[:cut], whole))[1] == "what time is it"


def test_what_is_heard_does_not_depend_on_what_was_heard_before():
    """The room that is added is the same for everybody, and nothing of one utterance is kept for the next."""
    recogniser, dice = Recogniser(), np.random.default_rng(1)
    audio = (dice.normal(0, 3_000, 24_000) * np.hanning(24_000)).astype("<i2").tobytes()
    other = dice.integers(-99, 99, 36_000).astype("<i2").tobytes()
    heard = []
    for pcm in (audio, other, audio):
        words = recogniser.words(pcm, final=True)
        heard.append((words, recogniser._decoder.get_cmn(False), recogniser._decoder.n_frames()))
    assert heard[0] == heard[2] != heard[1]


async def test_silence_is_nothing(engines):
    """Silence and nothing have no words."""
    for pcm in (b"", bytes(48_000)):
        transcription = engines.transcribe(lambda _: None)
        transcription.append(pcm)
        assert await transcription.final() == ""


async def test_speech_is_as_long_as_its_text(engines):
    """Audio streams in whole chunks; a faster speed is shorter, and an unknown voice speaks all the same."""
    lengths = {}
    for voice, speed in (("alloy", 1.0), ("alloy", 2.0), ("nobody", 1.0)):
        chunks = [chunk async for chunk in engines.speak("This is a sentence.", voice, speed)]
        assert all(len(chunk) % 2 == 0 for chunk in chunks)
        lengths[voice, speed] = sum(map(len, chunks)) / 48_000
    assert 0.8 < lengths["alloy", 1.0] < 3
    assert lengths["alloy", 2.0] < lengths["alloy", 1.0]
    assert 0.8 < lengths["nobody", 1.0] < 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", ["hello"]),
        ("Hello there, it is me.", ["Hello", "there,", "it", "is", "me."]),
        ('He said "no" then (very quietly) left', ["He", "said", '"no"', "then", "(very", "quietly)", "left"]),
        (
            "in the 21st — don't you know?",
            ["in the", "21st —", "don't", "you", "know?"],
        ),  # espeak has one entry for "in the"
        ("It costs $40 or 3.5 dollars", ["It", "costs", "$40", "or", "3.5", "dollars"]),
        ("well\nthen  go", ["well", "then", "go"]),
    ],
)
async def test_word_ends(engines, text, words):
    """The synthesiser tells where each word ends, in order, and the last one at the end of the sound."""
    ends = []
    pcm = b"".join([chunk async for chunk in engines.speak(text, "alloy", 1.0, ends.extend)])
    whole = [end for end in ends if end.end_char == len(text) or text[end.end_char].isspace()]
    said = [text[: end.end_char] for end in whole]
    assert [later[len(earlier) :].strip() for earlier, later in pairwise(["", *dict.fromkeys(said)])] == words
    assert ends == sorted(ends, key=lambda end: (end.end_char, end.end_ms))
    assert [end.end_ms for end in ends] == sorted(end.end_ms for end in ends)
    samples = np.frombuffer(pcm, dtype="<i2")
    loud_ms = int(np.flatnonzero(np.abs(samples) > 100)[-1]) / 24
    assert abs(ends[-1].end_ms - loud_ms) < 20


async def test_a_pause_lies_between_two_words(engines):
    """After a comma the sound stops, and both its ends are told."""
    ends = []
    pcm = b"".join([chunk async for chunk in engines.speak("Hello there, it is me.", "alloy", 1.0, ends.extend)])
    begins, goes_on = (end.end_ms for end in ends if end.end_char == len("Hello there,"))
    assert goes_on - begins > 100
    samples = np.frombuffer(pcm, dtype="<i2")
    assert np.abs(samples[(begins + 20) * 24 : (goes_on - 20) * 24]).max() < 100


async def test_words_appear_while_one_speaks(engines):
    """Partial words come before the end, and only grow."""
    pcm = b"".join([chunk async for chunk in engines.speak("how many kilometers are ten miles", "en-us", 1.0)])
    partials = []
    transcription = engines.transcribe(partials.append)
    for at in range(0, len(pcm), 9_600):
        transcription.append(pcm[at : at + 9_600])
        if transcription._task is not None:
            await transcription._task
    assert partials
    assert all(later.startswith(earlier) for earlier, later in pairwise(partials))
    transcription.cancel()


async def test_a_worker_that_dies_is_started_again(engines):
    """A request in hand may fail with a sentence; the next one is served by a new process."""
    assert await hear(engines, "what time is it") == "what time is it"
    os.kill(engines._stt._process.pid, signal.SIGKILL)
    before = engines._stt._process.pid
    with contextlib.suppress(EngineError):
        await hear(engines, "what time is it")
    assert await hear(engines, "what time is it") == "what time is it"
    assert engines._stt._process.pid != before


async def test_the_twin_asks_for_the_time():
    """Where a function for the time is offered, it is called, and its answer is spoken."""
    engines = LocalEngines()
    tools = [{"type": "function", "function": {"name": "current_time"}}]
    messages = [{"role": "user", "content": "what time is it"}]
    (call,) = [token async for token in engines.reply(messages, tools)]
    assert call.name == "current_time"
    messages += [{"role": "assistant", "tool_calls": []}, {"role": "tool", "content": "Monday, 10:30 UTC"}]
    assert "".join([token async for token in engines.reply(messages, tools)]) == "It is 10:30 in the morning."
