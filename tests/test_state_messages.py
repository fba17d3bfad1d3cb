"""What the page is told with each move of the machine: the marks so far, of the turn that it is about."""

import asyncio

from tests.test_session import ANSWER, FIXED, QUESTION_MS, STORY
from tests.virtual import virtual_time
from tests.world import world
from voiceagent import protocol
from voiceagent.twin import Script


def told(browser, leaf):
    """The marks of the last message that said this leaf, from the end of the speech on."""
    marks = [message.marks for message in browser.of(protocol.State) if message.leaf == leaf][-1]
    return {name: round(ms - marks["speech_end"], 3) for name, ms in marks.items()} if "speech_end" in marks else {}


@virtual_time
async def test_the_marks_so_far():
    """Each state adds what has happened by then; the segments up to there are those of the record."""
    script = Script(transcripts=["what time is it"], replies=[ANSWER])
    async with world(script, speculate=False, pause_ms=500, **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        (turn,) = await w.browser.until_turns(1)
        assert turn.gap_ms == 810
        begun, ended = (told(w.browser, leaf) for leaf in ("transcribing_open", "transcribing_ended"))
        assert begun == {}
        assert ended.items() >= {"speech_start": -QUESTION_MS, "speech_end_arrived": 0, "endpoint": 500}.items()
        assert "stt_final" not in ended
        thinking, speaking = (told(w.browser, leaf) for leaf in ("thinking", "speaking"))
        assert thinking.items() >= {"stt_final": 550, "endpoint": 500}.items()
        assert "gate_open" not in thinking
        assert speaking.items() >= {
            "llm_request": 550, "llm_first_token": 650, "tts_request": 690, "tts_first_byte": 770, "gate_open": 770,
        }.items()  # fmt: skip


@virtual_time
async def test_the_marks_of_an_interruption():
    """Once a sound over the reply is the user's, the marks are those of the new turn, whose number comes later."""
    script = Script(transcripts=["tell me a story", "what time is it"], replies=[STORY, ANSWER], partials=False)
    async with world(script) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("speaking")
        await asyncio.sleep(2.0)
        w.browser.speak(2_000)
        first, second = await w.browser.until_turns(2)
        assert (first.outcome, second.outcome) == ("interrupted", "completed")
        onset_ms = [message.at_ms for message in w.browser.of(protocol.State) if message.trigger == "voice_on"][-1]
        taken = [message for message in w.browser.of(protocol.State) if message.trigger == "confirmed"]
        assert [message.leaf for message in taken] == ["transcribing_open"]
        assert all(message.marks["speech_start"] <= onset_ms < message.at_ms for message in taken)
        assert all("gate_open" not in message.marks for message in taken)
