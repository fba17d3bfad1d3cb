"""One attempt at a reply: what is told of its phrases and their words."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.virtual import virtual_time
from voiceagent.accounts import Work
from voiceagent.events import ReplyDone, ReplyFailed, ReplyPhrase, ReplyWords
from voiceagent.heard import WordMark
from voiceagent.making import Timeouts
from voiceagent.reply import ReplyAttempt
from voiceagent.stages.ports import Delta, StageError, Stages
from voiceagent.twin.scripted import tone

QUIET, LOUD = bytes(4_800), tone(2_400)  # 100 ms
BROKEN = StageError("tts", "error", "It broke off.", retryable=True)


class Voice:
    """A synthesiser that says the same of every phrase."""

    def __init__(self, parts):
        self.parts = parts

    @asynccontextmanager
    async def speak(self, text):
        yield self._stream()

    async def _stream(self):
        for part in self.parts:
            if isinstance(part, StageError):
                raise part
            yield part


class Bin:
    """An outbox that keeps nothing."""

    async def audio(self, epoch, pcm):
        pass

    def complete(self, epoch, samples):
        pass


async def told(text, *parts):
    """What is told of the phrases of a reply whose speech consists of `parts`."""
    facts = []
    stages = Stages(stt=None, llm=None, tts=Voice(parts), warm=None)
    attempt = ReplyAttempt(Work(1), stages, Bin(), post=facts.append, now_us=lambda: 0, timeouts=Timeouts(1, 1))
    attempt.promote()
    await attempt.run([], text)
    return [fact for fact in facts if isinstance(fact, ReplyPhrase | ReplyWords | ReplyFailed)]


@virtual_time
async def test_marks_are_told_before_their_audio():
    """Marks follow their phrase, whose audio has begun, and go before the audio that they stand before."""
    first, second, late = WordMark(2, 1_000), WordMark(6, 3_000), WordMark(8, 4_800)
    assert await told("It is me.", first, LOUD, second, LOUD, late) == [
        ReplyPhrase(1, "It is me.", 0), ReplyWords(1, 0, (first,)), ReplyWords(1, 0, (second,)), ReplyWords(1, 0, (late,)),
    ]  # fmt: skip


@virtual_time
async def test_a_phrase_is_bounded_by_its_sound():
    """Without marks the silence before the first sound and after the last one is told."""
    assert await told("It is me.", QUIET, QUIET, LOUD, LOUD, QUIET) == [
        ReplyPhrase(1, "It is me.", 0), ReplyWords(1, 0, (WordMark(0, 4_800),)), ReplyWords(1, 0, (WordMark(9, 9_600),)),
    ]  # fmt: skip


@virtual_time
async def test_marks_belong_to_their_phrase():
    """The marks of a phrase count from its own first sample, which they are told with."""
    facts = await told("It is nine in the morning.", WordMark(2, 1_000), LOUD)
    assert [fact.first_sample for fact in facts] == [0, 0, 2_400, 2_400]


@pytest.mark.parametrize(
    ("parts", "marks"), [((QUIET, LOUD), (WordMark(0, 2_400),)), ((WordMark(2, 1_000), LOUD), (WordMark(2, 1_000),))]
)
def test_a_phrase_that_breaks_off(parts, marks):
    """It is told that the phrase was not said to its end; a phrase that never began is not told at all."""

    @virtual_time
    async def run():
        assert await told("It is me.", *parts, BROKEN) == [
            ReplyPhrase(1, "It is me.", 0), ReplyWords(1, 0, marks), ReplyWords(1, 0, (), broken=True),
            ReplyFailed(1, "tts", "error", "It broke off."),
        ]  # fmt: skip
        assert await told("It is me.", BROKEN) == [ReplyFailed(1, "tts", "error", "It broke off.")]

    run()


@virtual_time
async def test_an_answer_without_a_word():
    """Whoever made the reply answers for it if there is nothing in it: its stage, and its name with its host."""
    facts = []
    stages = Stages(stt=None, llm=None, tts=Voice(()), warm=None, hosts={"llm": "host:80"})
    attempt = ReplyAttempt(Work(1), stages, Bin(), post=facts.append, now_us=lambda: 0, timeouts=Timeouts(1, 1))
    attempt.promote()
    await attempt.run([], " ")
    assert facts == [ReplyDone(1, 0, {}, "llm", "The language model at host:80")]


class Talker:
    """A model that says more than anybody takes, and tells when its request was closed."""

    closed = False

    @asynccontextmanager
    async def reply(self, messages, tools):
        try:
            yield self._deltas()
        finally:
            await asyncio.sleep(0)  # as a socket does
            self.closed = True

    async def _deltas(self):
        while True:
            yield Delta("Here is one more sentence. ")


@virtual_time
async def test_nothing_is_left_to_the_garbage_collector():
    """A writer that is ahead of the speech, and is cancelled then, has closed its request when it has ended."""
    talker = Talker()
    stages = Stages(stt=None, llm=talker, tts=Voice([LOUD]), warm=None)
    attempt = ReplyAttempt(Work(1), stages, Bin(), post=lambda _: None, now_us=lambda: 0, timeouts=Timeouts(9, 9))
    task = asyncio.create_task(attempt.run([], ""))  # it is not promoted: only its first phrase becomes speech
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait({task})
    assert talker.closed
