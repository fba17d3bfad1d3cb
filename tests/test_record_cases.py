"""Records of single cases: what each pause would have done, what was sent again, what failed, and who hangs up when."""

import asyncio

import pytest

from tests.test_records import ANSWER, FIXED, MODES, QUESTION_MS, STORY, asked, checked
from tests.virtual import virtual_time
from tests.world import world
from voiceagent import protocol
from voiceagent.patience import Wait
from voiceagent.simulation.lines import as_written
from voiceagent.turns import Turn
from voiceagent.twin import FaultPlan, Script


@virtual_time
async def test_each_pause_is_told_with_the_wait_that_it_had():
    """Words that are not whole wait for longer; and a wait that ended the turn too early is no longer than its pause."""
    script = Script(
        transcripts=["i would like to", "order a pizza.", "with cheese."], replies=[ANSWER], partials=False,
        llm_first_token_ms=2_000,
    )  # fmt: skip
    async with world(script, filler="none") as w:
        w.browser.speak(QUESTION_MS)
        await asyncio.sleep(1.6)  # 0.8 s of speech and as much silence
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("thinking")
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(2)
        record = next(record for record in w.turns if record.outcome == "completed")
        assert record.reopened == 1
        (within_ms, ended_ms), (unfinished_ms, complete_ms) = record.pauses_ms, record.pause_waits_ms
        assert (within_ms, unfinished_ms, complete_ms) == (800, 500 + 900, 400)
        assert ended_ms >= complete_ms
        assert (record.wait_ms, record.wait_reason) == (400, "complete")


def test_a_reopened_turn_has_the_wait_of_its_rest():
    """What is told of the end is told of the later part, as its marks are."""
    first, rest = Turn(1, "user", 0, wait=Wait(400, "complete")), Turn(2, "user", 1, wait=Wait(1_400, "unfinished"))
    rest.voicing_us, rest.end_probability = 300_000, 0.25
    first.join(rest)
    assert (first.wait, first.voicing_us, first.end_probability) == (Wait(1_400, "unfinished"), 300_000, 0.25)


@pytest.mark.parametrize("settings", [{"endpoint_adapts": True}, FIXED])
def test_no_silence_ends_a_turn_with_a_key(settings):
    """While it is held a pause has no wait; nor has a turn that it ended."""

    @virtual_time
    async def run():
        script = Script(transcripts=["what time is it", "in Rome"], replies=[ANSWER], partials=False)
        async with world(script, **settings) as w:
            w.browser.send_up(protocol.PushToTalk(down=True))
            w.browser.speak(QUESTION_MS)
            await asyncio.sleep(1.1)
            w.browser.speak(QUESTION_MS)
            await asyncio.sleep(1)
            w.browser.send_up(protocol.PushToTalk(down=False))
            await w.browser.until_turns(1)
            (record,) = w.turns
            assert (record.pauses_ms, record.pause_waits_ms, record.wait_ms) == ((300,), (None,), None)

    run()


@virtual_time
async def test_a_turn_that_is_cut_for_its_length_has_no_wait():
    """A pause before has one; the silence after the cut is not what ended the turn."""
    script = Script(transcripts=["what time is it", "in Rome"], replies=[ANSWER], partials=False)
    async with world(script, max_turn_s=3.0, **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await asyncio.sleep(1)
        w.browser.speak(4_000)
        await w.browser.until_turns(1)
        record = w.turns[0]
        assert (record.pauses_ms, record.pause_waits_ms, record.wait_ms) == ((200,), (500,), None)


@virtual_time
async def test_what_a_voice_model_heard_twice_is_counted():
    """A connection that was lost with an item that was not answered yet: it is said to the next one again."""
    plan = FaultPlan({"stage": "realtime", "fault": "drop", "event": "response.created", "after_events": 1, "nth": 1})
    async with world(Script(replies=[ANSWER]), faults=plan, mode="realtime", **FIXED) as w:
        await asked(w)
        assert as_written(w.turns[0])["stt"]["retries"] == 1


@virtual_time
async def test_nothing_is_recovered_where_the_turn_failed():
    """Early replies that failed were tried again, but in the end the turn did not get what it needed."""
    async with world(Script(replies=[ANSWER], llm_error=dict.fromkeys(range(1, 9), 500)), **FIXED) as w:
        await asked(w)
        (record,) = w.turns
        assert (record.outcome, record.speculation.tries) == ("failed", 1)
        assert [fault.recovered for fault in record.faults] == [False] * 4


@virtual_time
async def test_a_turn_that_failed_tells_how_far_its_reply_came():
    """The voice is gone: what was asked of the model and of the voice is told all the same, though nothing was heard."""
    async with world(
        Script(replies=[ANSWER], tts_error=dict.fromkeys(range(1, 9), 500)), speculate=False, **FIXED
    ) as w:
        await asked(w)
        line = next(line for line in checked(w) if line["event"] == "turn")
        assert (line["outcome"], line["gap_ms"], line["heard_ms"], line["reply_ms"]) == ("failed", None, 0, 0)
        assert {"llm_request", "llm_first_token", "tts_request"} <= line["marks_ms"].keys()
        assert "first_frame_sent" not in line["marks_ms"]
        assert (line["llm"]["attempts"], line["tts"]["audio_ms"]) == (1, 0)
        assert line["tts"]["characters"] > 0


LEAVES = ("transcribing_open", "transcribing_ended", "thinking", "speaking", "barge_in_thinking", "barge_in_speaking")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("leaf", LEAVES)
def test_a_hang_up_in_each_state(leaf, mode):
    """Every turn that had begun has its one record, and the last step is the leaving of that very state."""
    if (leaf, mode) == ("transcribing_ended", "realtime"):
        return  # nobody waits there: the model has heard the turn

    @virtual_time
    async def run():
        script = Script(
            transcripts=["a story", "no, another"], replies=[STORY], partials=False,
            stt_delay_ms=900 if leaf == "transcribing_ended" else 50,
            llm_first_token_ms=1_500,
        )  # fmt: skip
        async with world(script, mode=mode, speculate=False, filler="none", **FIXED) as w:
            if leaf.startswith("barge_in"):
                await asked(w, leaf.removeprefix("barge_in_"))
                await asyncio.sleep(0.3)
            await asked(w, leaf)
            w.browser.leave()
            await w.ending
            lines = checked(w)
            last = [line for line in lines if line["event"] == "transition"][-1]
            assert (last["from"], last["trigger"], last["to"]) == (leaf, "leave", "closed")
            told = [line["turn"] for line in lines if line["event"] == "turn"]
            assert sorted(told) == [1, 2] if leaf.startswith("barge_in") else told == [1]

    run()
