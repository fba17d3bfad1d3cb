"""The bakery's agent under test: its timing to the millisecond, in seconds of virtual time, without a key or a sound.

Run it with ``python -m pytest examples``. The fixture `voice_agent` comes with voiceagent; docs/testing.md tells of it.
"""

from bakery import HOOKS, SETTINGS
from voiceagent.testing import FunctionCall, Script, VoiceAgent

HOURS = "We are open from seven in the morning, and we bake until noon. You can order by phone at any time of the day."
FIXED = {"endpoint_ms": 500, "endpoint_adapts": False}  # a turn ends after 500 ms of silence, whatever its words


async def test_a_barge_in(voice_agent: VoiceAgent) -> None:
    """Speech over the answer holds it after 60 ms; after 900 ms without a word it is cut, where it was held."""
    script = Script(
        transcripts=["when are you open", "do you have rye bread"], replies=[HOURS, "We do."], partials=False
    )
    async with voice_agent(script, SETTINGS, HOOKS, **FIXED) as caller:
        caller.speak(ms=800)
        await caller.until("speaking")
        await caller.until_heard(ms=2_000)
        caller.speak(ms=1_000)
        await caller.until("barge_in")
        first, second = await caller.turn_over(), await caller.turn_over()

    assert first.outcome == "interrupted"
    assert first.gap_ms == 540
    assert {name: ms for name, ms in first.segments_ms.items() if ms} == {"endpoint_wait": 500, "playback": 40}
    (barge_in,) = first.barge_ins
    assert (barge_in.hold_ms, barge_in.verdict, barge_in.reason, barge_in.yield_ms) == (60, "confirmed", "voiced", 900)
    assert first.heard_ms == 2_060
    assert caller.heard == ["We are open from seven in the morning,", "We do."]
    assert (second.outcome, second.gap_ms) == ("completed", 540)


async def test_the_function_is_asked(voice_agent: VoiceAgent) -> None:
    """The model asks for the time that six loaves take, is told, and answers; the second request costs 100 ms."""
    script = Script(
        transcripts=["when can I pick up six loaves"],
        llm_call={1: FunctionCall("pickup_time", '{"loaves": 6}')},
        replies=["", "At ten past six."],
    )
    async with voice_agent(script, SETTINGS, HOOKS, speculate=False, **FIXED) as caller:
        caller.speak(ms=1_200)
        turn = await caller.turn_over()

    told = caller.requests("llm")[-1]
    assert told[-1]["content"] == "at 18:10"
    assert (turn.outcome, turn.gap_ms) == ("completed", 850)
    assert {name: ms for name, ms in turn.segments_ms.items() if ms} == {
        "endpoint_wait": 500, "llm_ttft": 200, "clause_wait": 30, "tts_ttfb": 80, "playback": 40,
    }  # fmt: skip
