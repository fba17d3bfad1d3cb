"""A second request when the first is late: who wins, what is closed, what it may cost; with fakes and through the real SDK."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.virtual import run_virtual, virtual_time
from tests.world import settings_for_tests, world
from voiceagent.bench.profiles import PROFILES
from voiceagent.bench.reckoning import spread
from voiceagent.bench.stragglers import OPENING, PHRASES, TRIES, Choice, stragglers
from voiceagent.heard import WordMark
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import Clients
from voiceagent.stages.hedging import Hedge, HedgeBudget, HedgedModel, HedgedSpeech, Hedges
from voiceagent.stages.ports import Delta, StageError
from voiceagent.twin import Script, ScriptedEngines, TwinServer, create_twin

NEVER = 10**9
WAIT_MS = 300


def refusal(code="http_500", *, retryable=True):
    """A failure of the synthesiser."""
    return StageError("tts", code, "It failed.", retryable=retryable)


class Voice:
    """A synthesiser whose requests do, in order, what each plan says: waits (ms), chunks, marks and failures."""

    def __init__(self, *plans):
        self.plans = plans
        self.log = []
        self.start_s = asyncio.get_running_loop().time()

    def note(self, what, number):
        """Write down what happened and when, in milliseconds."""
        self.log.append((round((asyncio.get_running_loop().time() - self.start_s) * 1000), what, number))

    @asynccontextmanager
    async def speak(self, text):
        number = sum(what == "asked" for _, what, _ in self.log) + 1
        self.note("asked", number)
        try:
            yield self._stream(self.plans[number - 1])
        finally:
            self.note("closed", number)

    async def _stream(self, plan):
        for step in plan:
            if isinstance(step, StageError):
                raise step
            if isinstance(step, int):
                await asyncio.sleep(step / 1000)
            else:
                yield step


def hedged(voice, *, per_min=60, told=lambda *_: None):
    """The voice with a second request after 300 ms."""
    return HedgedSpeech(voice, Hedge("tts", WAIT_MS, HedgeBudget(per_min), told))


async def heard(speech):
    """All that a phrase brings."""
    async with speech.speak("Hello.") as parts:
        return [part async for part in parts]


@virtual_time
async def test_one_that_is_in_time_is_asked_once():
    """A first byte at the end of the wait is in time: there is one request."""
    voice = Voice([WAIT_MS - 1, b"ab", WordMark(1, 1), 900, b"cd"])
    speech = hedged(voice)
    assert await heard(speech) == [b"ab", WordMark(1, 1), b"cd"]
    assert voice.log == [(0, "asked", 1), (1_199, "closed", 1)]
    assert speech.hedge.counts == Hedges(requests=1)


@virtual_time
async def test_the_second_wins():
    """After the wait a second request starts; when it gives its first byte, the first one is closed at once."""
    voice = Voice([NEVER, b"first"], [200, b"second", 400, b"!"])
    won = []
    speech = hedged(voice, told=lambda *fact: won.append(fact))
    assert await heard(speech) == [b"second", b"!"]
    assert voice.log == [(0, "asked", 1), (300, "asked", 2), (500, "closed", 1), (900, "closed", 2)]
    assert speech.hedge.counts == Hedges(requests=1, hedged=1, second_won=1)
    assert won == [("tts", "second")]


@virtual_time
async def test_the_first_wins_after_all():
    """The first request is not given up when the second starts: it may still be faster."""
    voice = Voice([400, b"first", 400, b"!"], [200, b"second"])
    speech = hedged(voice)
    assert await heard(speech) == [b"first", b"!"]
    assert voice.log == [(0, "asked", 1), (300, "asked", 2), (400, "closed", 2), (800, "closed", 1)]
    assert speech.hedge.counts == Hedges(requests=1, hedged=1)


@virtual_time
async def test_two_at_the_same_moment():
    """Of two that begin in one moment only the first one's audio is heard: streams are never mixed."""
    voice = Voice([500, b"1a", b"1b", 10, b"1c"], [200, b"2a", b"2b", 10, b"2c"])
    assert await heard(hedged(voice)) == [b"1a", b"1b", b"1c"]


@virtual_time
async def test_a_failure_does_not_wait():
    """Where the first request fails before the wait is over, the second one starts at once."""
    voice = Voice([50, refusal()], [200, b"second"])
    assert await heard(hedged(voice)) == [b"second"]
    assert voice.log == [(0, "asked", 1), (50, "closed", 1), (50, "asked", 2), (250, "closed", 2)]


@virtual_time
async def test_a_refusal_is_final():
    """What another try would not help is not tried again."""
    voice = Voice([50, refusal("http_401", retryable=False)])
    with pytest.raises(StageError, match="It failed") as failure:
        await heard(hedged(voice))
    assert (failure.value.code, len(voice.log)) == ("http_401", 2)


@pytest.mark.parametrize(
    "plans",
    [([400, refusal()], [200, b"left"]), ([600, b"left"], [100, refusal()]),
     ([400, refusal("http_401", retryable=False)], [200, b"left"])],
)  # fmt: skip
def test_one_fails_and_the_other_goes_on(plans):
    """Whichever of two requests fails, the other one's audio is heard."""

    @virtual_time
    async def run():
        assert await heard(hedged(Voice(*plans))) == [b"left"]

    run()


@virtual_time
async def test_both_fail():
    """The first one's failure is raised, and that it is of no use to try a third time."""
    voice = Voice([600, refusal("first")], [100, refusal("second")])
    speech = hedged(voice)
    with pytest.raises(StageError) as failure:
        await heard(speech)
    assert (failure.value.code, failure.value.retryable) == ("first", False)
    assert speech.hedge.counts == Hedges(requests=1, hedged=1, both_failed=1)


@virtual_time
async def test_a_failure_in_the_middle():
    """Once something was heard, a failure is the reply's own: nothing else would fit to it."""
    voice = Voice([NEVER], [200, b"half", refusal()])
    speech = hedged(voice)
    got = []
    with pytest.raises(StageError) as failure:
        async with speech.speak("Hello.") as parts:
            async for part in parts:
                got.append(part)  # noqa: PERF401 - what came before the failure counts
    assert (got, failure.value.retryable) == ([b"half"], True)


@virtual_time
async def test_a_defect_is_not_swallowed():
    """An exception that is no stage's failure reaches whoever asked."""

    class Broken:
        @asynccontextmanager
        async def speak(self, text):
            raise ZeroDivisionError
            yield

    with pytest.raises(ZeroDivisionError):
        await heard(hedged(Broken()))


@pytest.mark.parametrize("leaves_ms", [100, 299, 300, 301, 450, 500, 501])
def test_leaving_closes_both(leaves_ms):
    """Whenever the context is cancelled, every request is closed in that moment and no task is left."""

    async def run():
        voice = Voice([NEVER, b"1"], [200, b"2", NEVER])
        before = asyncio.all_tasks()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(leaves_ms / 1000):
                await heard(hedged(voice))
        asked = [entry for entry in voice.log if entry[1] == "asked"]
        closed = [entry for entry in voice.log if entry[1] == "closed"]
        assert len(closed) == len(asked)
        assert max(at_ms for at_ms, _, _ in closed) == leaves_ms
        assert asyncio.all_tasks() == before

    run_virtual(run())


@virtual_time
async def test_leaving_early_without_cancelling():
    """Who leaves after the first part closes what is still coming."""
    voice = Voice([NEVER], [0, b"2", NEVER])
    async with hedged(voice).speak("Hello.") as parts:
        assert await anext(parts) == b"2"
        await parts.aclose()
    assert voice.log[2:] == [(300, "closed", 1), (300, "closed", 2)]


@virtual_time
async def test_cancelled_twice():
    """A second cancellation while a request is slow to close leaves nothing behind either."""

    class SlowToClose(Voice):
        @asynccontextmanager
        async def speak(self, text):
            async with super().speak(text) as stream:
                try:
                    yield stream
                finally:
                    await asyncio.sleep(1)

    voice = SlowToClose([NEVER])
    task = asyncio.create_task(heard(hedged(voice)))
    for _ in range(2):
        await asyncio.sleep(0.1)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert voice.log == [(0, "asked", 1), (1_100, "closed", 1)]


@virtual_time
async def test_the_budget():
    """Four a minute: one at once, and the next a quarter of a minute later; what is refused waits for its first request."""
    voice = Voice(*([1_000, b"x"], [200, b"y"], [1_000, b"x"], [1_000, b"x"], [200, b"y"]))
    speech = hedged(voice, per_min=4)
    assert [await heard(speech) for _ in range(2)] == [[b"y"], [b"x"]]
    await asyncio.sleep(14)
    assert await heard(speech) == [b"y"]
    assert speech.hedge.counts == Hedges(requests=3, hedged=2, second_won=2, refused=1)


@virtual_time
async def test_the_budget_is_everybodys():
    """The language model and the voice spend from the same purse."""
    budget = HedgeBudget(4)
    assert [budget.take(), budget.take()] == [True, False]


@virtual_time
async def test_no_more_than_asked_for_is_taken():
    """A winner whose audio nobody takes is read no more than two parts ahead."""
    taken = []

    class Endless:
        @asynccontextmanager
        async def speak(self, text):
            yield self._stream()

        async def _stream(self):
            for number in range(100):
                taken.append(number)
                yield bytes([number])

    async with hedged(Endless()).speak("Hello.") as parts:
        assert await anext(parts) == bytes([0])
        await asyncio.sleep(10)
        assert taken == [0, 1, 2]
        await parts.aclose()


class Model:
    """A language model whose first request is late."""

    def __init__(self):
        self.requests = 0

    @asynccontextmanager
    async def reply(self, messages, tools):
        self.requests += 1
        yield self._stream(5.0 if self.requests == 1 else 0.1)

    async def _stream(self, delay_s):
        await asyncio.sleep(delay_s)
        yield Delta("Hello")
        yield Delta(usage={"completion_tokens": 1})


@virtual_time
async def test_an_answers_usage_tells():
    """Among what an answer has used is that it was asked for twice, once, and only if it was."""
    model = HedgedModel(Model(), Hedge("llm", WAIT_MS, HedgeBudget(60)))
    for expected in ({"hedged_llm": 1, "hedge_won_llm": 1}, {}):
        async with model.reply([], []) as deltas:
            usages = [delta.usage async for delta in deltas if not delta.text]
        assert [usage for usage in usages if "completion_tokens" not in usage] == ([expected] if expected else [])


# ------------------------------------------------------------------------------------------ through the SDK
@virtual_time
async def test_the_loser_is_closed_through_the_sdk():
    """A stalled request's connection is closed when the second one speaks: the service notices at once."""
    script = Script(tts_stall={1}, llm_stall={1}, replies=["It is nine."])
    engines = ScriptedEngines(script)
    chosen = settings_for_tests(hedge_llm_ms=400, hedge_tts_ms=300)
    won = []
    async with TwinServer(create_twin(engines)) as twin:
        clients = Clients(chosen, twin.base_url)
        made = cascade(clients, chosen, lambda *fact: won.append(fact))
        start_us = round(asyncio.get_running_loop().time() * 1e6)
        async with made.llm.reply([{"role": "user", "content": "Hi."}], []) as deltas:
            text = "".join([delta.text async for delta in deltas])
        between_us = round(asyncio.get_running_loop().time() * 1e6)
        async with made.tts.speak(text) as parts:
            pcm = b"".join([part async for part in parts if isinstance(part, bytes)])
        await asyncio.sleep(0.2)
        await clients.aclose()
        await asyncio.sleep(0.2)
    assert (text, pcm) == ("It is nine.", engines.audio("It is nine."))
    assert won == [("llm", "second"), ("tts", "second")]
    (llm,), (tts,) = engines.of("llm_cancelled"), engines.of("tts_cancelled")
    assert (llm.at_us - start_us, tts.at_us - between_us) == (
        500_000,
        380_000,
    )  # wait and first token, wait and first byte


@virtual_time
async def test_a_straggler_in_a_session():
    """A language model that stalls costs a turn the wait and no more; its record says that it was asked twice."""
    script = Script(transcripts=["what time is it"], replies=["It is nine in the morning."], llm_stall={1})
    fixed = {"endpoint_adapts": False, "speculate": False, "pause_ms": 500}
    async with world(script, hedge_llm_ms=250, **fixed) as w:
        w.browser.speak(800)
        (turn,) = await w.browser.until_turns(1)
        assert turn.outcome == "completed"
        assert turn.segments["llm_ttft"] == 250 + 100
        assert w.turns[0].usage["hedged_llm"] == 1
        assert w.turns[0].usage["hedge_won_llm"] == 1
        assert w.turns[0].faults == ()


@virtual_time
async def test_a_dropped_reply_closes_both_requests():
    """A turn that is interrupted while two requests are under way ends both of them."""
    script = Script(transcripts=["what time is it"], replies=["It is nine."], llm_stall={1, 2})
    async with world(script, hedge_llm_ms=250) as w:
        w.browser.speak(800)
        await w.browser.until(lambda: w.browser.states[-1:] == ["thinking"])
        await asyncio.sleep(0.5)
        assert len(w.engines.of("llm_request")) == 2
        w.browser.send_up('{"type": "text", "text": "never mind"}')
        await w.browser.until(lambda: "speaking" in w.browser.states)
        assert sorted(entry.detail for entry in w.engines.of("llm_cancelled")) == [1, 2]


# ------------------------------------------------------------------------------------------ what it gains
def reckoned(turns, wait_llm_ms=NEVER, wait_tts_ms=NEVER):
    """The gaps of the benchmark's turns by arithmetic: a second request is there by its own draw after the wait."""
    script = Script(**PROFILES["openai26"].delays)
    gaps_ms = []
    for turn in range(turns):
        llm = [script.drawn_ms("llm", turn * TRIES + tries, script.llm_first_token_ms) for tries in (1, 2)]
        tts = [script.drawn_ms("tts", turn * PHRASES * TRIES + tries, script.tts_first_byte_ms) for tries in (1, 2)]
        stt_ms = script.drawn_ms("stt", turn, script.stt_delay_ms)
        llm_ms = min(llm[0], wait_llm_ms + llm[1])
        tts_ms = min(tts[0], wait_tts_ms + tts[1])
        assert max(llm_ms, tts_ms) < 5_000  # no deadline comes
        clause_ms = (len(OPENING.split()) - 1) * script.llm_token_ms
        gaps_ms.append(max(500, 100 + stt_ms + llm_ms + clause_ms + tts_ms))
    return spread("gap", gaps_ms)


def test_what_hedging_gains():
    """On drawn delays with stragglers the gap's quantiles are what arithmetic says: the same median, a shorter tail."""
    plain, hedges = stragglers(400, [Choice(), Choice(1_100, 950)])["runs"]
    assert {name: plain[name] for name in plain if name.startswith("gap")} == reckoned(400)
    assert {name: hedges[name] for name in hedges if name.startswith("gap")} == reckoned(400, 1_100, 950)
    assert hedges["gap_p50_ms"] == plain["gap_p50_ms"]
    assert hedges["gap_p99_ms"] < plain["gap_p99_ms"]
    assert hedges["llm_calls_per_turn"] - plain["llm_calls_per_turn"] < 0.15
