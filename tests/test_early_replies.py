"""Replies that are prepared before their turn has ended: whole sessions on virtual time, exact to the microsecond."""

import asyncio

import pytest

from tests.virtual import virtual_time
from tests.world import world
from voiceagent import protocol
from voiceagent.speculation import GUESS_TABLE, Budget, Guess, Step
from voiceagent.tools import Tool
from voiceagent.twin import Script
from voiceagent.twin.ports import FunctionCall

QUESTION_MS = 800
ANSWER = "It is nine in the morning and the sun is up."
STORY = "Once upon a time there was a house. " * 8
FIXED = {"endpoint_adapts": False}  # the wait is `endpoint_ms`, whatever is said


@pytest.mark.parametrize(("endpoint_ms", "gap_ms"), [(200, 370), (300, 370), (500, 500)])
def test_a_reply_is_prepared_early(endpoint_ms, gap_ms):
    """The reply is made from a pause of 100 ms on: it waits at the gate, or the gate waits for it, whichever is longer."""

    @virtual_time
    async def run():
        script = Script(transcripts=["what time is it"], replies=[ANSWER], partials=False)
        async with world(script, endpoint_ms=endpoint_ms, **FIXED) as w:
            w.browser.speak(QUESTION_MS)
            (turn,) = await w.browser.until_turns(1)
            assert turn.gap_ms == gap_ms + 40  # the speaker's buffer
            assert w.turns[0].gap.residual_us == 0
            assert (w.turns[0].speculation.tries, w.turns[0].speculation.hit) == (1, True)
            # Without it the making (220 ms) had begun at the endpoint; the words were there at 150 ms.
            assert w.turns[0].speculation.saved_us == min(220, endpoint_ms - 150) * 1000
            assert len(w.engines.of("llm_request")) == 1

    run()


@virtual_time
async def test_who_goes_on_drops_the_early_reply():
    """A pause inside a turn is guessed at; who goes on is answered once, to all the words, and nothing early was heard."""
    script = Script(transcripts=["what time is it", "in Rome"], replies=[ANSWER], partials=False)
    async with world(script, **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await asyncio.sleep(0.3 + QUESTION_MS / 1000)
        assert [entry.detail[-1]["content"] for entry in w.engines.of("llm_request")] == ["what time is it"]
        w.browser.speak(QUESTION_MS)
        (turn,) = await w.browser.until_turns(1)
        requests = [entry.detail[-1]["content"] for entry in w.engines.of("llm_request")]
        assert requests == ["what time is it", "what time is it in Rome"]
        assert len({frame.epoch for _, frame in w.browser.frames}) == 1
        assert w.browser.states == ["transcribing_open", "transcribing_ended", "thinking", "speaking", "listening"]
        speculation = w.turns[0].speculation
        assert (speculation.tries, speculation.hit) == (2, True)
        assert speculation.wasted_tokens + speculation.wasted_characters > 0
        assert turn.outcome == "completed"


@virtual_time
async def test_an_early_reply_calls_no_function():
    """A function that the model asks for too early is called when the turn has ended, and not before."""
    called = []

    def weather(city: str) -> str:
        """Tell the weather."""
        called.append((w.browser.now_ms, city))
        return "sunny"

    script = Script(
        transcripts=["how is it"],
        llm_call={1: FunctionCall("weather", '{"city": "Rome"}')},
        replies=["", "It is sunny."],
    )
    async with world(script, tools=(Tool.from_function(weather),), **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(1)
        ended_ms = next(at for at, seen in w.browser.seen if getattr(seen, "leaf", "") == "transcribing_ended")
        assert [at >= ended_ms for at, _ in called] == [True]
        assert w.turns[0].speculation.hit


@virtual_time
async def test_an_early_reply_that_fails_is_made_again():
    """A back-end that fails a guess costs nothing but the guess: the turn's end is another try."""
    script = Script(transcripts=["what time is it"], replies=[ANSWER], llm_error={1: 401}, partials=False)
    async with world(script, **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        (turn,) = await w.browser.until_turns(1)
        assert turn.outcome == "completed"
        assert w.turns[0].faults[0].recovered
        assert w.browser.of(protocol.Notice) == []


@virtual_time
async def test_after_a_barge_in_it_is_the_same():
    """The turn that interrupted is guessed at like any other, once it is known what was heard of the reply it cut off."""
    script = Script(transcripts=["tell me a story", "what time is it"], replies=[STORY, ANSWER], partials=False)
    async with world(script, **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("speaking")
        await asyncio.sleep(2.0)
        w.browser.speak(QUESTION_MS)
        first, second = await w.browser.until_turns(2)
        assert (first.outcome, second.outcome) == ("interrupted", "completed")
        assert w.turns[1].speculation.hit
        assert second.gap_ms == 540  # as without: 500 of silence, 40 of the speaker's buffer
        prompt = w.engines.of("llm_request")[1].detail
        assert prompt[2]["content"].endswith("[interrupted by the user here]")


@virtual_time
async def test_words_that_come_late_void_the_guess():
    """A guess from partials whose last word came only with the final is dropped; the answer is to all the words."""
    script = Script(transcripts=["what time is it in Rome", "what time is it now there"], replies=[ANSWER])
    async with world(script, **FIXED) as w:
        w.browser.speak(2_000)
        await w.browser.until_turns(1)
        asked = [entry.detail[-1]["content"] for entry in w.engines.of("llm_request")]
        assert asked[-1] == "what time is it in Rome"
        w.browser.speak(2_000)  # now it is known that this model's partials lag: no guess before the final
        await w.browser.until_turns(2)
        assert [entry.detail[-1]["content"] for entry in w.engines.of("llm_request")][len(asked) :] == [
            "what time is it now there"
        ]


@pytest.mark.parametrize("guess", list(Guess))
@pytest.mark.parametrize("step", list(Step))
def test_the_states_of_a_guess(guess, step):
    """Only a guess that runs can be ready, only one that runs or is ready can hit or miss, and none runs twice."""
    open_ = guess in (Guess.RUNNING, Guess.READY)
    legal = {Step.START: not open_, Step.AUDIO: guess is Guess.RUNNING, Step.HIT: open_, Step.MISS: open_}[step]
    assert ((guess, step) in GUESS_TABLE) == legal


def budget(**changes):
    """A budget with plain numbers."""
    options = {
        "enabled": True, "pause_us": 100_000, "wait_us": 500_000, "per_turn": 3, "per_min": 60, "now_us": 0, **changes,
    }  # fmt: skip
    return Budget(**options)


def test_the_pause_waits_as_long_as_the_back_ends_allow():
    """The pause is what the usual wait leaves when nine of ten replies have been made, between its setting and 200 ms."""
    it = budget()
    assert it.pause_us == 100_000  # nothing is known yet
    it.made(360_000)
    assert it.pause_us == 140_000
    it.made(100_000)
    assert it.pause_us == 140_000  # the slow one counts
    fast = budget()
    fast.made(50_000)
    assert fast.pause_us == 200_000
    slow = budget()
    slow.made(1_500_000)
    assert slow.pause_us == 100_000


def test_a_lost_guess_lengthens_the_pause_for_its_turn():
    """Each miss adds 40 ms, up to 300 ms; the next turn begins anew."""
    it = budget()
    pauses = []
    for _ in range(7):
        pauses.append(it.pause_us // 1000)
        it.missed()
    assert pauses == [100, 140, 180, 220, 260, 300, 300]
    it.next_turn()
    assert it.pause_us == 100_000


def test_the_budget():
    """So many guesses a turn, so many a minute; and none where speculation is off."""
    it = budget(per_min=4)
    assert [it.take(tries, 0) for tries in (0, 1, 2)] == [True, False, False]  # a burst is a quarter of a minute's
    assert it.take(0, 15_000_000)
    assert not it.take(3, 60_000_000)
    assert not budget(enabled=False).take(0, 0)


def test_partials_are_trusted_while_they_are_right():
    """One miss is enough to wait for finals; it takes two right ones to guess again."""
    it = budget()
    assert it.trusts_partials
    it.partials_were(right=False)
    assert not it.trusts_partials
    it.partials_were(right=True)
    assert not it.trusts_partials
    it.partials_were(right=True)
    assert it.trusts_partials


@virtual_time
async def test_the_record_tells_what_was_hidden():
    """Work that was done while the end of the turn was waited for stands beside the gap, not in it."""
    script = Script(transcripts=["what time is it"], replies=[ANSWER], partials=False)
    async with world(script, endpoint_ms=300, **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(1)
        gap = w.turns[0].gap
        # 50 ms of STT, 100 to the first token, 40 to the first phrase, 80 to its first byte; the turn ended at 300.
        assert gap.segments_us["endpoint_wait"] == 300_000
        assert gap.segments_us["tts_ttfb"] == 70_000
        assert gap.hidden_us == 50_000 + 100_000 + 40_000 + 10_000


@virtual_time
async def test_a_pause_that_was_taken_for_the_end_is_learnt():
    """Who goes on while the reply is being made pauses longer than was thought: the next waits know it."""
    script = Script(transcripts=["tell me", "a joke"] * 3, replies=[ANSWER], partials=False, llm_first_token_ms=2_000)
    async with world(script, filler="none") as w:
        for turn in range(1, 4):
            w.browser.speak(QUESTION_MS)
            await w.browser.until_leaf("thinking", times=2 * turn - 1)
            w.browser.speak(QUESTION_MS)
            await w.browser.until_turns(2 * turn)
        pauses = [pause for record in w.turns if record.outcome == "completed" for pause in record.pauses_ms]
        assert len(pauses) == 3
        assert min(pauses) > w.settings.endpoint_ms
        assert w.session._conversation._patience.wait("that is all.", spoken_ms=1_000).reason == "caller"
