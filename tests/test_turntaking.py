"""Sound over a reply, silence, and long waits: whole sessions on virtual time."""

import asyncio

import numpy as np
import pytest

from tests.virtual import virtual_time
from tests.world import world
from voiceagent import protocol
from voiceagent.attempts import filler_tone
from voiceagent.twin import Script

QUESTION_MS = 800
ANSWER = "It is nine in the morning and the sun is up."
STORY = "Once upon a time there was a house. " * 8


async def over_a_story(w, ms, after_s=2.0):
    """Have the story told, and make a sound of so many milliseconds over it."""
    w.browser.speak(QUESTION_MS)
    await w.browser.until_leaf("speaking")
    await asyncio.sleep(after_s)
    w.browser.speak(ms)


@virtual_time
async def test_a_sound_holds_at_once():
    """60 ms of sound hold the reply; no verdict and no word is needed for that."""
    async with world(Script(transcripts=["a story", "stop"], replies=[STORY, ANSWER])) as w:
        await over_a_story(w, 300)
        await w.browser.until(lambda: w.browser.of(protocol.Hold))
        await w.browser.until_turns(2)
        assert w.turns[0].barge_ins[0].hold_us == 60_000


@pytest.mark.parametrize("words", ["yeah", "mm-hm", "right", "oh okay"])
def test_a_listeners_noise_lets_the_reply_go_on(words):
    """A backchannel holds the reply until its words are there, and then it goes on from the exact sample."""

    @virtual_time
    async def run():
        script = Script(transcripts=["a story", words], replies=[STORY], partials=False)
        async with world(script) as w:
            await over_a_story(w, 320)
            turns = await w.browser.until_turns(2)
            assert [turn.outcome for turn in turns] == ["discarded", "resumed"]
            (barge_in,) = w.turns[1].barge_ins
            assert (barge_in.verdict, barge_in.reason) == ("rejected", "backchannel")
            # 60 ms to hold; 320 of sound, 100 of pause, 50 of STT to the verdict.
            assert (barge_in.hold_us, barge_in.verdict_us, barge_in.resume_us) == (60_000, 470_000, 410_000)
            said = [entry.detail for entry in w.engines.of("tts_request")]
            assert bytes(w.browser.speaker.heard) == b"".join(w.engines.audio(text) for text in said)
            assert len(w.engines.of("llm_request")) == 1

    run()


@pytest.mark.parametrize(("words", "reason"), [("stop", "stop"), ("no wait", "stop"), ("Tuesday", "words")])
def test_anything_else_interrupts(words, reason):
    """Stop words and short answers are as short as a backchannel: the words tell them apart."""

    @virtual_time
    async def run():
        script = Script(transcripts=["a story", words], replies=[STORY, ANSWER], partials=False)
        async with world(script) as w:
            await over_a_story(w, 320)
            first, second = await w.browser.until_turns(2)
            assert (first.outcome, second.outcome) == ("interrupted", "completed")
            (barge_in,) = w.turns[0].barge_ins
            assert (barge_in.verdict, barge_in.reason) == ("confirmed", reason)
            held_ms = next(at for at, seen in w.browser.seen if isinstance(seen, protocol.Hold))
            assert all(not held_ms < at <= held_ms + 420 for at, _ in w.browser.frames)

    run()


@virtual_time
async def test_the_agents_own_words_are_no_barge_in():
    """A transcript that repeats what was just spoken is echo."""
    script = Script(transcripts=["a story", "there was a house once upon"], replies=[STORY], partials=False)
    async with world(script) as w:
        await over_a_story(w, 500, after_s=4.0)
        turns = await w.browser.until_turns(2)
        assert [turn.outcome for turn in turns] == ["discarded", "resumed"]
        assert w.turns[1].barge_ins[0].reason == "echo"


@virtual_time
async def test_yes_at_the_end_of_a_question_answers_it():
    """In the last second of a question a "yes" is an answer, not a listener's noise."""
    question = "Shall I book the table for four?"
    script = Script(transcripts=["a table", "yes"], replies=[question, ANSWER], partials=False, tts_ms_per_char=60)
    async with world(script) as w:
        await over_a_story(w, 300, after_s=1.3)
        first, second = await w.browser.until_turns(2)
        assert (first.outcome, second.outcome) == ("interrupted", "completed")
        assert w.turns[0].barge_ins[0].reason == "answer"


@virtual_time
async def test_late_words_interrupt_after_all():
    """Where the STT is slow the reply goes on after 300 ms of silence, and the words interrupt it when they come."""
    script = Script(transcripts=["a story", "stop it"], replies=[STORY, ANSWER], partials=False, stt_delay_ms=700)
    async with world(script) as w:
        await over_a_story(w, 300)
        first, second = await w.browser.until_turns(2)
        assert (first.outcome, second.outcome) == ("interrupted", "completed")
        assert [(b.verdict, b.reason) for b in w.turns[0].barge_ins] == [
            ("rejected", "silence"),
            ("confirmed", "late words"),
        ]


@virtual_time
async def test_a_room_that_crackles():
    """After three false sounds within ten seconds a mere sound holds nothing any more; speech still does."""
    script = Script(transcripts=["a story", "stop"], replies=[STORY, ANSWER], partials=False)
    async with world(script, min_speech_ms=200) as w:
        await over_a_story(w, 0, after_s=1.0)
        for _ in range(6):
            w.browser.speak(100)
            await asyncio.sleep(0.9)
        assert len(w.browser.of(protocol.Hold)) == 3
        assert len(w.browser.of(protocol.Resume)) == 3
        w.browser.speak(400)
        first, second = (await w.browser.until_turns(5))[-2:]
        assert (first.outcome, second.outcome) == ("interrupted", "completed")


@virtual_time
async def test_a_late_reply_is_bridged():
    """1.2 s after the end of the turn a tone is heard; it is no reply: the gap, the history and the record are the reply's."""
    script = Script(transcripts=["what time is it"], replies=[ANSWER], llm_first_token_ms=2_500, partials=False)
    async with world(script, endpoint_adapts=False) as w:
        w.browser.speak(QUESTION_MS)
        (turn,) = await w.browser.until_turns(1)
        filler = [frame for _, frame in w.browser.frames if frame.filler]
        reply = [frame for _, frame in w.browser.frames if not frame.filler]
        assert b"".join(frame.pcm for frame in filler) == filler_tone()
        assert {frame.epoch for frame in filler} == {reply[0].epoch - 1}
        ended_ms = next(at for at, seen in w.browser.seen if getattr(seen, "leaf", "") == "transcribing_ended")
        assert next(at for at, frame in w.browser.frames if frame.filler) == ended_ms + 1_200
        assert turn.gap_ms == 100 + 50 + 2_500 + 40 + 80 + 40
        assert [message.text for message in w.browser.of(protocol.Heard)] == [ANSWER]
        assert w.turns[0].fillers == 1
        assert w.browser.states == ["transcribing_open", "transcribing_ended", "thinking", "speaking", "listening"]


@virtual_time
async def test_the_reply_displaces_its_filler():
    """Words that bridge the wait are cut off the moment the reply is there: one voice at a time."""
    script = Script(transcripts=["what time is it"], replies=[ANSWER], llm_first_token_ms=1_600, partials=False)
    async with world(script, endpoint_adapts=False, filler="One moment please, I am looking it up.") as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(1)
        (flush,) = w.browser.of(protocol.Flush)
        epochs = [frame.epoch for _, frame in w.browser.frames]
        assert epochs == sorted(epochs)
        assert {flush.epoch} == {frame.epoch for _, frame in w.browser.frames if frame.filler}
        assert w.turns[0].outcome == "completed"
        assert w.browser.of(protocol.ReplyText)[0].text.startswith("It is")


@virtual_time
async def test_who_speaks_over_a_filler_goes_on():
    """Speech over the filler holds it, and reopens the turn: nothing of the reply was heard."""
    script = Script(
        transcripts=["what time is it", "in Rome"], replies=[ANSWER], llm_first_token_ms=3_000, partials=False
    )
    async with world(script, endpoint_adapts=False) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until(lambda: w.browser.frames)
        await asyncio.sleep(0.3)
        w.browser.speak(QUESTION_MS)
        turns = await w.browser.until_turns(2)
        assert [turn.outcome for turn in turns] == ["reopened", "completed"]
        assert w.browser.of(protocol.Hold)[0].epoch == w.browser.of(protocol.Flush)[0].epoch == 1
        assert w.engines.of("llm_request")[-1].detail[-1]["content"] == "what time is it in Rome"


@virtual_time
async def test_long_silence():
    """The agent asks once whether one is still there, says goodbye after more silence, and ends."""
    async with world(Script(), ask_after_s=5, idle_s=20) as w:
        ending = await w.ending
        said = [entry.detail for entry in w.engines.of("tts_request")]
        assert " ".join(said) == "Are you still there? I will hang up now. Goodbye."
        assert ending.reason == "idle"
        assert w.browser.closed == (4408, "idle")
        (error,) = w.browser.of(protocol.Error)
        assert (error.code, error.fatal) == ("idle", True)
        assert [turn.origin for turn in w.turns] == ["agent", "agent"]


@virtual_time
async def test_an_answer_to_the_question_begins_the_wait_anew():
    """Who answers is asked again after the next silence, and not sent away."""
    script = Script(transcripts=["yes I am here"], replies=["Good."], partials=False)
    async with world(script, ask_after_s=5, idle_s=20) as w:
        await w.browser.until_turns(1)
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(3)
        assert [turn.origin for turn in w.turns] == ["agent", "user", "agent"]


class Sure:
    """An acoustic model that has its mind made up."""

    def __init__(self, probability):
        self.probability_ = probability
        self.asked = []

    def probability(self, audio):
        """Say it."""
        self.asked.append(audio)
        if self.probability_ is None:
            raise ValueError("broken")
        return self.probability_


@pytest.mark.parametrize(("probability", "shorter"), [(0.99, True), (0.01, False)])
def test_an_acoustic_model_is_listened_to(probability, shorter):
    """What it hears in a pause shortens or lengthens the wait; it gets the last seconds at 16 kHz."""

    @virtual_time
    async def run():
        model = Sure(probability)
        script = Script(transcripts=["tell me a joke"], replies=[ANSWER], partials=False)
        async with world(script, turn_model=model) as w:
            w.browser.speak(QUESTION_MS)
            await w.browser.until_turns(1)
            assert len(model.asked) == 1
            assert model.asked[0].dtype == np.int16
            assert (w.turns[0].wait_ms < 500) is shorter
            assert w.turns[0].wait_reason == "model"

    run()


@virtual_time
async def test_a_broken_acoustic_model_is_done_without():
    """A model that raises changes nothing."""
    script = Script(transcripts=["the red one"], replies=[ANSWER], partials=False)
    async with world(script, turn_model=Sure(None)) as w:
        w.browser.speak(QUESTION_MS)
        (turn,) = await w.browser.until_turns(1)
        assert turn.outcome == "completed"
        assert w.turns[0].wait_reason != "model"


@virtual_time
async def test_the_dial():
    """Turned to patient in mid-session, the same pause no longer ends the turn."""
    script = Script(transcripts=["the red one", "the blue one"], replies=[ANSWER], partials=False)
    async with world(script) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(1)
        w.browser.send_up(protocol.Tune(patience=1.0))
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(2)
        assert w.turns[1].wait_ms == 2 * w.turns[0].wait_ms


@virtual_time
async def test_what_was_said_while_the_network_stood_still_is_not_lost():
    """Pause, more words and the end come in one burst: each is decided on in its place, and the STT gets all of the audio."""
    script = Script(transcripts=["the red one", "and the blue one"], replies=[ANSWER], partials=False)
    async with world(script, endpoint_adapts=False) as w:
        w.browser.speak(QUESTION_MS)
        await asyncio.sleep(0.5)
        stalled = asyncio.create_task(w.browser.stall(2.5))
        await asyncio.sleep(0.7)
        w.browser.speak(600)
        await stalled
        (turn,) = await w.browser.until_turns(1)
        first, second = w.engines.of("stt_commit")
        assert first.detail == 24 * (400 + QUESTION_MS + 100)
        assert second.detail == 24 * (400 + 600 + 100) - 24 * 100  # the pre-roll ends where the first piece ended
        assert turn.outcome == "completed"
        assert w.engines.of("llm_request")[-1].detail[-1]["content"] == "the red one and the blue one"


@virtual_time
async def test_the_talk_key_in_a_stall():
    """Key down, words and key up come in one burst after a stall: the words are there."""
    async with world(Script(transcripts=["the red one"], replies=[ANSWER], partials=False)) as w:
        stalled = asyncio.create_task(w.browser.stall(2.5))
        await asyncio.sleep(0.1)
        w.browser.send_up(protocol.PushToTalk(down=True))
        w.browser.speak(600)
        await asyncio.sleep(1.0)
        w.browser.send_up(protocol.PushToTalk(down=False))
        await stalled
        await w.browser.until_turns(1)
        assert sum(entry.detail for entry in w.engines.of("stt_commit")) >= 24 * 600
        assert w.engines.of("llm_request")[-1].detail[-1]["content"].startswith("the red one")


@virtual_time
async def test_no_filler():
    """Where none is wanted a long wait stays silent."""
    script = Script(transcripts=["what time is it"], replies=[ANSWER], llm_first_token_ms=2_500, partials=False)
    async with world(script, filler="none") as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(1)
        assert not any(frame.filler for _, frame in w.browser.frames)
        assert w.turns[0].fillers == 0
