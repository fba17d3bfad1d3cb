"""One attempt at a reply: what is told of its phrases and their words."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.virtual import run_virtual, virtual_time
from voiceagent.accounts import Work
from voiceagent.events import ReplyDone, ReplyFailed, ReplyMark, ReplyPhrase, ReplyWords
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


class Slowly(Talker):
    """A model that says two sentences, each after so long."""

    def __init__(self, wait_s):
        self.wait_s = wait_s

    async def _deltas(self):
        for text in ("It is nine in the morning. ", "The sun is up."):
            await asyncio.sleep(self.wait_s)
            yield Delta(text)


class SlowVoice(Voice):
    """A voice that takes a second for each phrase."""

    async def _stream(self):
        await asyncio.sleep(1)
        for part in self.parts:
            yield part


def marks_of(wait_s, *, promoted_after_s=0.0):
    """The marks of a reply whose sentences take so long, in milliseconds from its beginning."""

    async def run():
        facts, loop = [], asyncio.get_running_loop()
        began_s = loop.time()
        stages = Stages(stt=None, llm=Slowly(wait_s), tts=SlowVoice([LOUD]), warm=None)
        attempt = ReplyAttempt(
            Work(1), stages, Bin(), post=facts.append, now_us=lambda: round((loop.time() - began_s) * 1e6),
            timeouts=Timeouts(9, 9),
        )  # fmt: skip
        loop.call_later(promoted_after_s, attempt.promote)
        await attempt.run([], "")
        assert isinstance(facts[-1], ReplyDone)
        return {fact.name: fact.at_us // 1000 for fact in facts if isinstance(fact, ReplyMark)}

    return run_virtual(run())


def test_the_end_of_the_work_is_marked():
    """The model's last word and the last audio of the last phrase, however they lie to each other and to the turn's end."""
    marks = marks_of(2)
    assert (marks["llm_first_token"], marks["llm_done"]) == (2_000, 4_000)
    assert (marks["tts_request"], marks["tts_first_byte"], marks["tts_done"]) == (2_000, 3_000, 5_000)
    marks = marks_of(0.1, promoted_after_s=5)  # it was a guess: the second phrase waits for the end of the turn
    assert (marks["llm_done"], marks["tts_first_byte"], marks["tts_done"]) == (200, 1_100, 6_000)


@virtual_time
async def test_a_reply_of_one_phrase_is_done_when_it_is_made():
    """Also if it waits for the end of the turn after that."""
    facts, loop = [], asyncio.get_running_loop()
    stages = Stages(stt=None, llm=None, tts=SlowVoice([LOUD]), warm=None)
    attempt = ReplyAttempt(
        Work(1), stages, Bin(), post=facts.append, now_us=lambda: round(loop.time() * 1e6), timeouts=Timeouts(9, 9)
    )
    began_us = round(loop.time() * 1e6)
    loop.call_later(5, attempt.promote)
    await attempt.run([], "It is me.")
    done = [fact for fact in facts if isinstance(fact, ReplyMark) and fact.name == "tts_done"]
    assert done == [ReplyMark(1, "tts_done", began_us + 1_000_000)]


@pytest.mark.parametrize("text", [" ", "It is me."])
@virtual_time
async def test_what_was_not_done_has_no_end(text):
    """Nothing was to be said, or it was not said to its end."""
    facts = []
    stages = Stages(stt=None, llm=None, tts=Voice([LOUD, BROKEN]), warm=None)
    attempt = ReplyAttempt(Work(1), stages, Bin(), post=facts.append, now_us=lambda: 0, timeouts=Timeouts(1, 1))
    attempt.promote()
    await attempt.run([], text)
    assert not [fact for fact in facts if isinstance(fact, ReplyMark) and fact.name.endswith("_done")]
