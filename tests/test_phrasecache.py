"""Phrases that are said often: what is kept, what never is, how much of it, and that a hit waits for nothing."""

import asyncio
import tracemalloc
from contextlib import aclosing, asynccontextmanager

import pytest

from tests.virtual import virtual_time
from tests.world import settings_for_tests, world
from voiceagent.answering import SAY_AGAIN
from voiceagent.heard import WordMark
from voiceagent.phrases import PhraseCutter
from voiceagent.stages.cascade import own_words
from voiceagent.stages.phrasecache import MAX_CHARS, MAX_SEEN, CachedSpeech, PhraseCache
from voiceagent.stages.ports import StageError
from voiceagent.twin import Script

HELLO = "Hello to you."
BROKEN = StageError("tts", "error", "It broke off.", retryable=True)


class Voice:
    """A synthesiser that says the same of every phrase, after 100 ms."""

    def __init__(self, *parts):
        self.parts = parts or (b"abc", WordMark(5, 2), b"d", b"ef")
        self.asked = []

    @asynccontextmanager
    async def speak(self, text):
        self.asked.append(text)
        yield self._stream()

    async def _stream(self):
        await asyncio.sleep(0.1)
        for part in self.parts:
            if isinstance(part, StageError):
                raise part
            yield part


def cached(voice, *, own=(), max_bytes=1_000_000, cache=None, sound="marin"):
    """The voice with a cache before it."""
    cache = PhraseCache(max_bytes) if cache is None else cache
    return CachedSpeech(voice, cache, voice=sound, own_words=own)


async def say(speech, text=HELLO):
    """All that a phrase brings."""
    async with speech.speak(text) as parts, aclosing(parts):
        return [part async for part in parts]


@virtual_time
async def test_the_second_request_is_kept():
    """A phrase said twice is known the third time: the same audio, and its marks in the same places."""
    voice = Voice()
    speech = cached(voice)
    for _ in range(2):
        assert await say(speech) == [b"abc", WordMark(5, 2), b"d", b"ef"]
    began_s = asyncio.get_running_loop().time()
    assert await say(speech) == [b"abc", WordMark(5, 2), b"def"]
    assert asyncio.get_running_loop().time() == began_s
    assert (voice.asked, speech.hits, speech.misses) == ([HELLO, HELLO], 1, 2)


@virtual_time
async def test_own_words_are_kept_at_once():
    """The agent's own sentences, in the pieces in which they are spoken, need no second request."""
    voice = Voice()
    speech = cached(voice, own=[SAY_AGAIN])
    cutter = PhraseCutter()
    pieces = cutter.feed(SAY_AGAIN) + cutter.flush()
    for piece in pieces * 2:
        await say(speech, piece)
    assert len(pieces) > 1
    assert voice.asked == pieces


def test_which_words_are_its_own():
    """What is said without a model: apologies, the greeting, the question, the farewell, and a filler that has words."""
    plain = own_words(settings_for_tests(greeting="Good morning."))
    assert {"Good morning.", SAY_AGAIN, "Are you still there?", "I will hang up now. Goodbye."} <= set(plain)
    assert "tone" not in plain
    assert "One moment." in own_words(settings_for_tests(filler="One moment."))


@pytest.mark.parametrize(
    "parts",
    [(b"ab", BROKEN), (BROKEN,), (), (WordMark(1, 1),), (b"abc",)],
    ids=["broken off", "refused", "silent", "marks only", "half a sample"],
)
def test_what_is_never_kept(parts):
    """A stream that failed, brought no audio or ended within a sample is asked for again each time."""

    @virtual_time
    async def run():
        voice = Voice(*parts)
        voice.parts = parts
        speech = cached(voice, own=[HELLO])
        for _ in range(3):
            try:
                await say(speech)
            except StageError as failure:
                assert failure is BROKEN  # noqa: PT017 - some of them fail
        assert (len(voice.asked), speech.hits) == (3, 0)

    run()


@virtual_time
async def test_what_was_left_early_is_not_kept():
    """A phrase that nobody heard to its end is not whole: it is asked for again."""
    voice = Voice()
    speech = cached(voice, own=[HELLO])
    async with speech.speak(HELLO) as parts, aclosing(parts):
        assert await anext(parts) == b"abc"
    assert await say(speech) == [b"abc", WordMark(5, 2), b"d", b"ef"]
    assert len(voice.asked) == 2


@virtual_time
async def test_long_phrases_are_not_kept():
    """A phrase of more than 120 characters will not come again."""
    voice = Voice()
    speech = cached(voice)
    for _ in range(3):
        await say(speech, "x" * (MAX_CHARS + 1))
        await say(speech, "y" * MAX_CHARS)
    assert (len(voice.asked), speech.hits) == (5, 1)


@virtual_time
async def test_nobody_waits_for_anybody():
    """Two who ask for the same new phrase both ask the service; what is kept then is kept once."""
    voice, cache = Voice(), PhraseCache(1_000_000)
    speech = cached(voice, own=[HELLO], cache=cache)
    await asyncio.gather(say(speech), say(speech))
    assert (len(voice.asked), len(cache)) == (2, 1)
    once = PhraseCache(1_000_000)
    await say(cached(voice, own=[HELLO], cache=once))
    assert cache.size_bytes == once.size_bytes


@virtual_time
async def test_another_voice_is_another_phrase():
    """The same words in another voice are not taken from the cache."""
    cache, low, high = PhraseCache(1_000_000), Voice(b"low!"), Voice(b"high")
    bass = cached(low, own=[HELLO], cache=cache, sound="bass")
    soprano = cached(high, own=[HELLO], cache=cache, sound="soprano")
    for _ in range(2):
        assert (await say(bass), await say(soprano)) == ([b"low!"], [b"high"])
    assert (len(low.asked), len(high.asked)) == (1, 1)


@virtual_time
async def test_a_hit_lets_others_run():
    """A long hit comes in pieces of 200 ms, and between them it is everybody else's turn."""
    voice = Voice(bytes(48_000))
    speech = cached(voice, own=[HELLO])
    await say(speech)
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    assert [len(part) for part in await say(speech)] == [9_600] * 5
    task.cancel()
    assert turns >= 4


# ------------------------------------------------------------------------------------------ how much
def test_the_longest_unused_goes_first():
    """When it is full, what was not asked for the longest is forgotten."""
    cache = PhraseCache(10_000)
    for name in "abc":
        cache.keep(("v", name), (bytes(2_000),))
    assert cache.find(("v", "a")) is not None
    cache.keep(("v", "d"), (bytes(2_000),))
    assert [name for name in "abcd" if cache.find(("v", name))] == ["a", "c", "d"]
    assert cache.size_bytes <= 10_000


def test_one_phrase_does_not_drive_out_all():
    """What would be more than half of the cache is not kept."""
    cache = PhraseCache(10_000)
    cache.keep(("v", "a"), (bytes(2_000),))
    cache.keep(("v", "b"), (bytes(6_000),))
    assert (cache.find(("v", "b")), len(cache)) == (None, 1)


@virtual_time
async def test_a_stream_without_end_is_not_collected():
    """What outgrows the cache on its way passes through and is not held."""
    voice = Voice(*(bytes(100_000) for _ in range(100)))
    voice_bytes = 100 * 100_000
    cache = PhraseCache(1_000_000)
    speech = cached(voice, own=[HELLO], cache=cache)
    tracemalloc.start()
    try:
        total = 0
        async with speech.speak(HELLO) as parts, aclosing(parts):
            async for part in parts:
                total += len(bytes(bytearray(part)))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (total, len(cache)) == (voice_bytes, 0)
    assert peak_bytes < 1_000_000


@virtual_time
async def test_its_memory_is_bounded():
    """Two thousand different phrases, each asked for twice, leave no more than the cache's size and what it has seen."""

    class Fresh:
        @asynccontextmanager
        async def speak(self, text):
            yield self._stream()

        async def _stream(self):
            yield bytes(2_400)
            yield WordMark(3, 1_200)
            yield bytes(2_400)

    max_bytes = 1_000_000
    cache = PhraseCache(max_bytes)
    speech = cached(Fresh(), cache=cache)
    tracemalloc.start()
    try:
        for number in range(2_000):
            for _ in range(2):
                await say(speech, f"This is phrase number {number}.")
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(cache) > 100
    assert cache.size_bytes <= max_bytes
    assert held_bytes < max_bytes + MAX_SEEN * 500
    assert speech.hits == 0


# ------------------------------------------------------------------------------------------ in a session
@virtual_time
async def test_a_phrase_in_a_session():
    """A phrase said before takes the synthesiser's delay off the gap, and every sample of it is heard."""
    script = Script(transcripts=["hello"], replies=["Hello to you."])
    fixed = {"endpoint_adapts": False, "speculate": False, "pause_ms": 500}
    async with world(script, **fixed) as w:
        gaps = []
        for count in range(1, 4):
            w.browser.speak(800)
            gaps.append((await w.browser.until_turns(count))[-1].gap_ms)
            await asyncio.sleep(1)
        assert [gaps[0] - gap for gap in gaps] == [0, 0, script.tts_first_byte_ms]
        assert len(w.engines.of("tts_request")) == 2
        assert bytes(w.browser.speaker.heard) == w.engines.audio("Hello to you.") * 3


@virtual_time
async def test_none_is_kept_where_none_may_be():
    """With a size of 0 every phrase is asked for."""
    async with world(Script(replies=["Hello to you."]), phrase_cache_mb=0) as w:
        for count in range(1, 4):
            w.browser.send_up('{"type": "text", "text": "hello"}')
            await w.browser.until_turns(count)
        assert len(w.engines.of("tts_request")) == 3
