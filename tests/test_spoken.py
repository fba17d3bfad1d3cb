"""One attempt of a voice model: where its sentences begin in its audio, its functions, its tries."""

from contextlib import asynccontextmanager

import pytest

from tests.virtual import run_virtual, virtual_time
from voiceagent.accounts import Work
from voiceagent.events import ReplyDone, ReplyFailed, ReplyPhrase, ReplyWords
from voiceagent.heard import WordMark
from voiceagent.making import Timeouts
from voiceagent.spoken import SpokenAttempt
from voiceagent.stages.ports import Delta, StageError, ToolCall
from voiceagent.tools import Tool
from voiceagent.twin.scripted import tone

LOST = StageError("realtime", "connection", "The voice model at host cannot be reached.", retryable=True)
KEY = StageError("realtime", "invalid_api_key", "The voice model at host refused the key.", retryable=False)


class Voice:
    """A model that answers by a list of lists of parts; a `StageError` is raised in its place."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.results = []

    @asynccontextmanager
    async def respond(self, epoch, messages, tools, canned):
        self.asked.append((canned, [tool["function"]["name"] for tool in tools]))
        yield self._parts(self.answers.pop(0))

    async def _parts(self, parts):
        for part in parts:
            if isinstance(part, StageError):
                raise part
            yield part

    def result(self, call_id, output):
        self.results.append((call_id, output))


class Bin:
    """An outbox that counts what it gets."""

    def __init__(self):
        self.samples = 0
        self.total = None

    async def audio(self, epoch, pcm):
        self.samples += len(pcm) // 2

    def complete(self, epoch, samples):
        self.total = samples


async def made(voice, *, canned="", tools=()):
    """The facts and the outbox of one attempt."""
    facts, outbox = [], Bin()
    attempt = SpokenAttempt(
        Work(7), voice, outbox,
        post=facts.append, now_us=lambda: 0, timeouts=Timeouts(1, 1), hosts={"realtime": "host"}, tools=tools,
    )  # fmt: skip
    await attempt.run([], canned)
    assert outbox.total == outbox.samples
    return facts, outbox


def of(facts, *kinds):
    """The facts of some kinds."""
    return [fact for fact in facts if isinstance(fact, kinds)]


@virtual_time
async def test_sentences_by_the_pace_of_speech():
    """Without marks a sentence begins where those before it end, as long as they take to say, and never before its audio."""
    voice = Voice([Delta("It is "), Delta("nine. All"), tone(2_400), Delta(" is well"), tone(48_000)])
    facts, outbox = await made(voice)
    phrases = of(facts, ReplyPhrase)
    assert [phrase.text for phrase in phrases] == ["It is nine.", "All is well"]
    assert phrases[0].first_sample == 0
    assert 0 < phrases[1].first_sample <= outbox.total
    assert of(facts, ReplyDone)[0].samples == 50_400


@virtual_time
async def test_sentences_by_marks():
    """Where the model marks its words, a sentence begins where the last word before it ends, and its marks count from there."""
    voice = Voice(
        [
            Delta("One two. Three."),
            WordMark(3, 1_000),
            WordMark(8, 2_000),
            tone(2_000),
            WordMark(15, 3_500),
            tone(2_000),
        ]
    )
    facts, _ = await made(voice)
    assert of(facts, ReplyPhrase, ReplyWords) == [
        ReplyPhrase(7, "One two.", 0),
        ReplyWords(7, 0, (WordMark(3, 1_000),)),
        ReplyWords(7, 0, (WordMark(8, 2_000),)),
        ReplyPhrase(7, "Three.", 2_000),
        ReplyWords(7, 2_000, (WordMark(6, 1_500),)),
    ]


@virtual_time
async def test_odd_bytes():
    """A sample whose halves come in two parts is one sample."""
    pcm = tone(100)
    facts, outbox = await made(Voice([Delta("Hm."), pcm[:51], pcm[51:]]))
    assert outbox.samples == 100
    assert of(facts, ReplyDone)[0].samples == 100


@virtual_time
async def test_a_function():
    """A function's result goes to the model, and its next answer is the rest of the same reply."""

    def add(a: int) -> int:
        """Add one."""
        return a + 1

    call = Delta(calls=(ToolCall("c1", "add", '{"a": 4}'),), usage={"completion_tokens": 3})
    voice = Voice([call], [Delta("Five.", usage={"completion_tokens": 4}), tone(480)])
    facts, _ = await made(voice, tools=(Tool.from_function(add),))
    assert voice.results == [("c1", "5")]
    assert voice.asked == [("", ["add"]), ("", ["add"])]
    assert of(facts, ReplyDone)[0].usage == {"completion_tokens": 7}


@virtual_time
async def test_no_endless_functions():
    """After some rounds no function is offered any more; one that is not there is answered with an error."""
    call = Delta(calls=(ToolCall("c", "gone", "{}"),))
    voice = Voice([call], [call], [call], [Delta("Enough."), tone(480)])

    def there() -> str:
        """Be there."""
        return "yes"

    await made(voice, tools=(Tool.from_function(there),))
    assert [names for _, names in voice.asked] == [["there"], ["there"], ["there"], []]
    assert voice.results == [("c", "Error: there is no such function.")] * 3


@pytest.mark.parametrize(
    ("answers", "tries"), [([[LOST], [Delta("Yes."), tone(480)]], 2), ([[LOST], [LOST]], 2), ([[KEY]], 1)]
)
def test_tries(answers, tries):
    """While nothing has come another try is made, but not for what would fail again."""
    voice = Voice(*answers)
    facts, outbox = run_virtual(made(voice))
    assert len(voice.asked) == tries
    failed = of(facts, ReplyFailed)
    assert bool(failed) == (outbox.samples == 0)
    assert all(fact.stage == "realtime" for fact in failed)


@virtual_time
async def test_broken_off():
    """What was said before it broke off stays; the sentence under way is marked as broken."""
    facts, outbox = await made(Voice([Delta("One two. Three four"), tone(24_000), LOST]))
    assert of(facts, ReplyFailed)[0].code == "connection"
    assert of(facts, ReplyWords)[-1].broken
    assert outbox.total == 24_000
