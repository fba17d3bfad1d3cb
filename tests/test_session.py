"""Whole sessions on virtual time: the real driver and the real SDK against the twin's scripted engines."""

import asyncio

import pytest

from tests.virtual import virtual_time
from tests.world import world
from voiceagent import protocol
from voiceagent.events import Left
from voiceagent.timeline import TransitionRecord
from voiceagent.tools import Tool
from voiceagent.twin import Script
from voiceagent.twin.ports import FunctionCall

QUESTION_MS = 800
FIXED = {"endpoint_adapts": False}  # the wait is `endpoint_ms`, whatever is said
ANSWER = "It is nine in the morning and the sun is up."
STORY = "Once upon a time there was a house. " * 8


@virtual_time
async def test_a_question_is_answered():
    """The gap is what the script and the settings say, to the microsecond, and its segments tile it."""
    script = Script(transcripts=["what time is it"], replies=[ANSWER])
    async with world(script, speculate=False, pause_ms=500, **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        (turn,) = await w.browser.until_turns(1)
        assert w.browser.states == ["transcribing_open", "transcribing_ended", "thinking", "speaking", "listening"]
        assert (turn.outcome, turn.basis) == ("completed", "heard")
        # The first clause is four words and the beginning of a fifth: four pauses of 10 ms after the first token.
        assert {name: ms for name, ms in turn.segments.items() if ms} == {
            "endpoint_wait": 500, "stt_tail": 50, "llm_ttft": 100, "clause_wait": 40, "tts_ttfb": 80, "playback": 40,
        }  # fmt: skip
        assert turn.gap_ms == 810
        assert w.turns[0].gap.residual_us == 0
        assert w.browser.of(protocol.Heard) == [protocol.Heard(turn=1, epoch=2, text=ANSWER, interrupted=False)]
        assert [message.text for message in w.browser.of(protocol.Transcript)][-1] == "what time is it"


@virtual_time
async def test_every_sample_is_played_once():
    """What the browser played is the synthesiser's audio, phrase after phrase, without a gap or a repetition."""
    async with world(Script(replies=[STORY], tts_odd_chunks=True, tts_wav_header=True)) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(1)
        said = [entry.detail for entry in w.engines.of("tts_request")]
        assert " ".join(said) == STORY.strip()
        assert bytes(w.browser.speaker.heard) == b"".join(w.engines.audio(text) for text in said)


@virtual_time
async def test_audio_is_sent_a_little_ahead():
    """No frame goes out more than the lead and one frame ahead of the speaker, however fast the synthesiser is."""
    async with world(Script(replies=[STORY]), lead_ms=300) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(1)
        first_ms = w.browser.frames[0][0]
        ahead = [frame.first_sample / 24 - (at_ms - first_ms) for at_ms, frame in w.browser.frames]
        assert 300 <= max(ahead) <= 341


@virtual_time
async def test_the_first_word_is_not_lost():
    """The STT gets the pre-roll: the utterance, the 400 ms before it was noticed, and the pause that committed it."""
    async with world(Script(), pre_roll_ms=400) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(1)
        (commit,) = w.engines.of("stt_commit")
        assert commit.detail == 24 * (400 + QUESTION_MS + 100)


@virtual_time
async def test_a_barge_in_by_voice():
    """Sound holds the reply at once; lasting, it interrupts: flush, requests closed, history is what was heard."""
    script = Script(transcripts=["tell me a story", "what time is it"], replies=[STORY, ANSWER], partials=False)
    async with world(script) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("speaking")
        await asyncio.sleep(2.0)
        w.browser.speak(1_000)
        await w.browser.until(lambda: w.browser.of(protocol.Hold))
        held_ms = w.browser.speaker.heard_ms(2)
        await w.browser.until(lambda: w.browser.of(protocol.Flush))
        assert w.browser.speaker.playing is None
        frames = len(w.browser.frames)
        first, second = await w.browser.until_turns(2)
        assert (first.outcome, second.outcome) == ("interrupted", "completed")
        assert {frame.epoch for _, frame in w.browser.frames[frames:]} == {5}
        heard, _ = w.browser.of(protocol.Heard)
        assert heard.interrupted
        assert STORY.startswith(heard.text)
        assert w.turns[0].heard_samples == round(held_ms * 24)
        prompt = w.engines.of("llm_request")[1].detail
        assert [message["role"] for message in prompt] == ["system", "user", "assistant", "user"]
        assert prompt[2]["content"] == f"{heard.text} [interrupted by the user here]"
        (barge_in,) = w.turns[0].barge_ins
        assert (barge_in.verdict, barge_in.reason) == ("confirmed", "voiced")


@virtual_time
async def test_cancelling_closes_the_requests():
    """A barge-in while the model still writes ends its request and the synthesiser's."""
    script = Script(transcripts=["a story", "stop"], replies=[STORY, ANSWER], llm_token_ms=200, partials=False)
    async with world(script) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("speaking")
        w.browser.send_up(protocol.Text(text="stop"))
        await w.browser.until(lambda: w.browser.of(protocol.Flush))
        at_ms = w.browser.now_ms
        await w.browser.until_turns(2)
        assert [entry.detail for entry in w.engines.of("llm_cancelled")] == [1]
        del at_ms


@virtual_time
async def test_words_confirm_a_barge_in():
    """The first word of a partial transcript is enough; it need not last."""
    script = Script(transcripts=["a story", "no wait a moment"], replies=[STORY, ANSWER], partial_every_ms=250)
    async with world(script) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("speaking")
        await asyncio.sleep(1.5)
        w.browser.speak(400)
        await w.browser.until_turns(2)
        (barge_in,) = w.turns[0].barge_ins
        assert (barge_in.verdict, barge_in.reason) == ("confirmed", "words")


@virtual_time
async def test_a_short_noise_resumes_from_the_exact_sample():
    """A noise without words holds the reply and lets it go on; every sample is heard once."""
    script = Script(transcripts=["a story", ""], replies=[STORY], partials=False)
    async with world(script) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("speaking")
        await asyncio.sleep(1.5)
        w.browser.speak(120)
        turns = await w.browser.until_turns(2)
        assert [turn.outcome for turn in turns] == ["discarded", "resumed"]
        said = [entry.detail for entry in w.engines.of("tts_request")]
        assert bytes(w.browser.speaker.heard) == b"".join(w.engines.audio(text) for text in said)
        assert len(w.engines.of("llm_request")) == 1


@virtual_time
async def test_typing_needs_no_microphone():
    """A typed line is answered, with a gap that begins when it came."""
    async with world(Script(replies=[ANSWER])) as w:
        w.browser.muted = True
        w.browser.send_up(protocol.Text(text="  what time is it "))
        (turn,) = await w.browser.until_turns(1)
        assert (turn.outcome, turn.origin, turn.gap_ms) == ("completed", "text", 260)
        assert w.engines.of("llm_request")[0].detail[-1]["content"] == "what time is it"


@virtual_time
async def test_the_talk_key():
    """While the key is down a pause ends nothing; its release ends the turn at once."""
    async with world(Script(transcripts=["what time is it"], replies=[ANSWER])) as w:
        w.browser.send_up(protocol.PushToTalk(down=True))
        w.browser.speak(300)
        await asyncio.sleep(1.2)
        w.browser.speak(300)
        await asyncio.sleep(0.5)
        assert w.browser.states == ["transcribing_open"]
        w.browser.send_up(protocol.PushToTalk(down=False))
        (turn,) = await w.browser.until_turns(1)
        assert turn.gap_ms == 260  # every word was there when it went up: a pause commits
        assert len(w.engines.of("stt_commit")) == 2


@virtual_time
async def test_muting_ends_the_turn():
    """A muted microphone ends what was being said at once."""
    async with world(Script(transcripts=["what time is it"])) as w:
        w.browser.speak(QUESTION_MS)
        await asyncio.sleep(0.7)
        w.browser.muted = True
        w.browser.send_up(protocol.Mute(muted=True))
        await asyncio.sleep(0.01)
        assert w.browser.states == ["transcribing_open", "transcribing_ended"]
        await w.browser.until_turns(1)


@virtual_time
async def test_a_dead_microphone_ends_the_turn():
    """No frames for `mic_timeout_s` in mid-turn: the turn is answered as far as it came."""
    async with world(Script(transcripts=["what time is it"]), mic_timeout_s=2.0) as w:
        w.browser.speak(QUESTION_MS)
        await asyncio.sleep(0.5)
        w.browser.muted = True
        (turn,) = await w.browser.until_turns(1)
        assert turn.outcome == "completed"


@virtual_time
async def test_a_greeting():
    """The agent speaks first where a greeting is set; it is nobody's turn, and has no gap."""
    async with world(Script(), greeting="Good morning.") as w:
        (turn,) = await w.browser.until_turns(1)
        assert (turn.origin, turn.outcome, turn.gap_ms) == ("agent", "completed", None)
        assert [entry.detail for entry in w.engines.of("tts_request")] == ["Good morning."]
        assert w.engines.of("llm_request") == []


@virtual_time
async def test_a_function_is_called():
    """The model's call of a function is answered, and its answer to that is spoken."""

    def weather(city: str) -> str:
        """Tell the weather."""
        return f"sunny in {city}"

    script = Script(llm_call={1: FunctionCall("weather", '{"city": "Rome"}')}, replies=["", "It is sunny."])
    async with world(script, tools=(Tool.from_function(weather),)) as w:
        w.browser.send_up(protocol.Text(text="how is the weather"))
        await w.browser.until_turns(1)
        result = w.engines.of("llm_request")[1].detail[-1]
        assert (result["role"], result["content"]) == ("tool", "sunny in Rome")
        assert w.browser.of(protocol.Heard)[0].text == "It is sunny."


@pytest.mark.parametrize(
    ("faults", "outcome", "heard"),
    [
        ({"llm_error": {1: 500}}, "completed", ANSWER),
        ({"llm_error": {1: 500, 2: 500}}, "failed", "Sorry, something went wrong on my side. Please try again."),
        ({"llm_error": {1: 401}}, "failed", "Sorry, something went wrong on my side. Please try again."),
        ({"llm_stall": {1}}, "completed", ANSWER),
        ({"tts_error": {1: 503}}, "completed", ANSWER),
        ({"tts_stall": {1}}, "completed", ANSWER),
        ({"tts_error": dict.fromkeys(range(1, 5), 500)}, "failed", None),
        ({"stt_fail": {1}}, "completed", "Sorry, I did not catch that. Could you say it again?"),
        ({"stt_drop": {1}}, "completed", ANSWER),
        ({"stt_stall": {1}}, "completed", ANSWER),
        ({"stt_stall": {1, 2, 3}}, "completed", "Sorry, I did not catch that. Could you say it again?"),
        ({"stt_empty": {1}}, "discarded", None),
        ({"llm_break": {1: 2}}, "failed", "Sorry, something went wrong on my side. Please try again."),
        ({"llm_break": {1: 8}}, "failed", "It is nine in"),
    ],
    ids=str,
)
def test_faults(faults, outcome, heard):
    """A back-end that fails is tried once more; then something is said aloud, and the session goes on."""

    @virtual_time
    async def run():
        script = Script(transcripts=["what time is it"], replies=[ANSWER], partials=False, **faults)
        async with world(script, speculate=False) as w:
            w.browser.speak(QUESTION_MS)
            (turn,) = await w.browser.until_turns(1)
            assert turn.outcome == outcome
            said = w.browser.of(protocol.Heard)
            assert (said[0].text if said else None) == heard
            script.llm_error, script.tts_error, script.stt_drop, script.stt_fail = {}, {}, set(), set()
            w.browser.speak(QUESTION_MS)
            turns = await w.browser.until_turns(2)
            assert turns[1].outcome == "completed"

    run()


@virtual_time
async def test_leaving_releases_everything_at_once():
    """When the browser vanishes in mid-reply, the requests are closed and the session ends within 100 ms."""
    script = Script(transcripts=["a story"], replies=[STORY], llm_token_ms=300)
    async with world(script) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("speaking")
        left_ms = w.browser.now_ms
        w.browser.leave()
        ending = await w.ending
        assert w.browser.now_ms - left_ms <= 100
        assert (ending.reason, ending.resumable) == ("disconnected", True)
        assert [turn.outcome for turn in w.turns] == ["interrupted"]


@virtual_time
async def test_hanging_up():
    """A hang-up closes with 1000 and is not kept for a return."""
    async with world(Script()) as w:
        w.browser.send_up(protocol.HangUp())
        ending = await w.ending
        assert (ending.reason, ending.resumable) == ("hung_up", False)
        assert w.browser.closed == (1000, "hung_up")


@pytest.mark.parametrize(
    ("settings", "reason", "code"),
    [({"session_cap_s": 5}, "session_cap", 4408), ({"idle_s": 3}, "idle", 4408)],
)
def test_limits(settings, reason, code):
    """A session that reaches a limit is told so in words before it is closed."""

    @virtual_time
    async def run():
        async with world(Script(), **settings) as w:
            ending = await w.ending
            assert ending.reason == reason
            (error,) = w.browser.of(protocol.Error)
            assert (error.code, error.fatal) == (reason, True)
            assert error.message
            assert error.hint
            assert w.browser.closed == (code, reason)

    run()


@virtual_time
async def test_a_browser_that_answers_no_ping_has_left():
    """Silence of the browser ends the session, and its conversation is kept."""
    async with world(Script(), pong_timeout_s=10) as w:
        w.browser.answers_pings = False
        w.browser.muted = True
        ending = await w.ending
        assert (ending.reason, ending.resumable) == ("pong_timeout", True)


@virtual_time
async def test_bad_messages_get_an_answer():
    """What is not of the protocol gets a typed error, and after ten of them the session ends."""
    async with world(Script()) as w:
        bad = [
            "{",
            '{"type":"nonsense"}',
            '{"type":"text","text":""}',
            b"\x01",
            '{"type":"pong","id":-1,"client_ms":1}',
        ]
        for message in bad:
            w.browser.send_up(message)
        await asyncio.sleep(0.1)
        codes = [error.code for error in w.browser.of(protocol.Error)]
        assert codes == ["bad_json", "unknown_type", "bad_message", "bad_frame", "bad_message"]
        for _ in range(5):
            w.browser.send_up("{")
        ending = await w.ending
        assert ending.reason == "bad_json"
        assert w.browser.closed == (protocol.Close.BAD_MESSAGE, "bad_json")


@virtual_time
async def test_a_flood_is_refused():
    """Audio much faster than real time ends the session; nothing piles up."""
    async with world(Script()) as w:
        w.browser.muted = True
        for seq in range(10_000, 12_000):
            w.browser.send_up(protocol.MicFrame(seq, 5_000_000.0 + seq, bytes(960)).pack())
        ending = await w.ending
        assert ending.reason == "too_fast"


@virtual_time
async def test_a_replaced_session_is_told():
    """The window that lost its conversation to another one learns it."""
    async with world(Script()) as w:
        w.session.leave(Left("replaced", protocol.Close.REPLACED, "It goes on elsewhere.", "Press Start."))
        ending = await w.ending
        assert ending.resumable
        assert w.browser.closed == (4409, "replaced")


@virtual_time
async def test_records_replay():
    """Feeding the triggers to the rulebook gives the states that were recorded, with a gapless sequence."""
    from voiceagent.states import Leaf, Position, Trigger, rulebook

    script = Script(transcripts=["a story", "stop"], replies=[STORY, ANSWER])
    async with world(script) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("speaking")
        await asyncio.sleep(1)
        w.browser.speak(900)
        await w.browser.until_turns(2)
        steps = [record for record in w.records if isinstance(record, TransitionRecord)]
        position = Position()
        for number, step in enumerate(steps, 1):
            assert step.seq == number
            assert position.leaf == Leaf(step.source)
            assert rulebook().fire(position, Trigger(step.trigger)) == Leaf(step.target)
        # The spans tile the session: what was spent in each leaf adds up.
        moves = [step for step in steps if step.source != step.target]
        began_us = w.session._conversation._recorder.began_us
        assert sum(step.dwell_us for step in moves) == moves[-1].at_us - began_us
