"""Turns in a Realtime session: what the server detects, what the client commits, and who is interrupted."""

import asyncio

import numpy as np
import pytest

from tests.twin.realtime import Loud, audio_in, kinds, silence, talking, transcribing, voice
from tests.virtual import virtual_time
from voiceagent.twin import LocalEngines, Script, detection
from voiceagent.twin.detection import SEMANTIC_SILENCE_MS, WINDOW, WINDOW_MS, TurnDetector

SERVER_VAD = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
COMMITTED = ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
TURN = ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", *COMMITTED]
HEARD = [f"conversation.item.input_audio_transcription.{kind}" for kind in ("delta", "completed")]


@pytest.fixture(autouse=True)
def _tones_are_speech(request, monkeypatch):
    """A tone is speech, except where the real judge is asked for."""
    if "real_judge" not in request.fixturenames:
        monkeypatch.setattr(detection, "Silero", Loud)


@pytest.fixture
def real_judge():
    """The agent's own judge of speech."""


@virtual_time
async def test_a_turn_in_a_conversation():
    """Speech is told with its padding, ended after the silence, committed, transcribed, and answered."""
    async with talking(Script(transcripts=["one two"], replies=["Yes."]), detects=True) as talk:
        await talk.update(audio={"input": {"transcription": {"model": "gpt-transcribe"}}})
        await talk.hear(silence(1000) + voice(1000) + silence(1000))
        events = await talk.answered()
        assert kinds(events)[:6] == [*TURN, "response.created"]
        assert kinds(events)[6:9] == [*HEARD, "response.output_item.added"]
        started, stopped, committed, added = events[:4]
        assert (started["audio_start_ms"], stopped["audio_end_ms"]) == (692, 2528)  # windows of 32 ms
        assert {event["item_id"] for event in events[:3]} == {added["item"]["id"]}
        assert committed["previous_item_id"] is None
        assert added["item"]["content"] == [{"type": "input_audio", "transcript": None}]
        completed = next(event for event in events if event["type"] == HEARD[1])
        assert (completed["transcript"], completed["usage"]["type"]) == ("one two", "tokens")
        (commit,) = talk.engines.of("stt_commit")
        assert commit.detail == (2528 - 692) * 24
        assert talk.engines.of("llm_request")[0].detail[-1] == {"role": "user", "content": "one two"}
        answer = events[-2]["response"]["output"][0]
        told = next(event for event in events if event["type"] == "conversation.item.added" and event != added)
        assert (told["item"]["id"], told["previous_item_id"]) == (answer["id"], added["item"]["id"])


@virtual_time
async def test_turns_follow_each_other():
    """Each has its own audio and its place in the chain; without a transcription model only the twin itself listens."""
    async with talking(Script(transcripts=["one", "two"], replies=["Yes.", "No."]), detects=True) as talk:
        for number in range(2):
            await talk.hear(silence(500) + voice(500) + silence(600))
            events = await talk.answered()
            assert kinds(events)[:6] == [*TURN, "response.created"]
            assert not set(HEARD) & set(kinds(events))
            assert (events[2]["previous_item_id"] is None) == (number == 0)
        said = [entry["content"] for entry in talk.engines.of("llm_request")[1].detail[1:]]
        assert said == ["one", "Yes.", "two"]


@virtual_time
async def test_speech_interrupts_an_answer():
    """The answer is cancelled where it stands, before anything else is told of the new turn."""
    script = Script(replies=["This is a long answer, and it goes on. " * 20, "Yes."], tts_realtime_factor=1)
    async with talking(script, detects=True) as talk:
        await talk.say("hello")
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        await talk.hear(voice(200))
        events = await talk.answered()
        cut = [kind for kind in kinds(events) if not kind.endswith("delta")]
        assert cut == [
            TURN[0], "response.output_audio.done", "response.output_audio_transcript.done", "response.content_part.done",
            "conversation.item.done", "response.output_item.done", "response.done", "rate_limits.updated",
        ]  # fmt: skip
        done = events[-2]["response"]
        assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
        await talk.hear(silence(600))
        assert (await talk.answered())[-2]["response"]["status"] == "completed"


@virtual_time
async def test_speech_that_does_not_interrupt():
    """Where it may not interrupt, the answer goes on, and the turn's own answer is refused."""
    script = Script(replies=["This is a long answer, and it goes on. " * 4], tts_realtime_factor=0.5)
    async with talking(script, detects=True) as talk:
        await talk.update(audio={"input": {"turn_detection": {"interrupt_response": False}}})
        await talk.say("hello")
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        await talk.hear(voice(200) + silence(600))
        events = await talk.answered()
        (error,) = [event["error"] for event in events if event["type"] == "error"]
        assert error["code"] == "conversation_already_has_active_response"
        assert events[-2]["response"]["status"] == "completed"
        assert [kind for kind in kinds(events) if kind in TURN][:2] == TURN[:2]


@virtual_time
async def test_turns_that_are_not_answered():
    """Where the client answers by itself, a turn is committed and that is all; its answer waits for the words."""
    async with talking(Script(transcripts=["one"], stt_delay_ms=2000), detects=True) as talk:
        session = await talk.update(audio={"input": {"turn_detection": {"create_response": False}}})
        assert session["audio"]["input"]["turn_detection"] == {
            **SERVER_VAD, "idle_timeout_ms": None, "create_response": False, "interrupt_response": True,
        }  # fmt: skip
        await talk.hear(silence(500) + voice(500) + silence(600))
        assert kinds(await talk.take(5)) == TURN
        await talk.send("response.create")
        await talk.answered()
        assert talk.engines.of("llm_request")[0].detail[-1] == {"role": "user", "content": "one"}


@virtual_time
async def test_the_client_commits():
    """Without detection an answer is asked for right behind the commit, and waits for the words."""
    async with talking(Script(transcripts=["one"], stt_delay_ms=2000)) as talk:
        await talk.hear(voice(500))
        await talk.send("input_audio_buffer.commit")
        await talk.send("response.create")
        events = await talk.answered()
        assert kinds(events)[:4] == [*COMMITTED, "response.created"]
        assert talk.engines.of("llm_request")[0].detail[-1] == {"role": "user", "content": "one"}


@pytest.mark.parametrize("faults", [{"stt_fail": {1}}, {"stt_empty": {1}}])
def test_a_turn_without_words(faults):
    """It is answered all the same, and told as failed or empty where somebody asked for transcripts."""

    @virtual_time
    async def run():
        async with talking(Script(**faults)) as talk:
            await talk.update(audio={"input": {"transcription": {"model": "gpt-transcribe"}}})
            await talk.hear(voice(500))
            await talk.send("input_audio_buffer.commit")
            await talk.send("response.create")
            events = await talk.answered()
            told = [kind for kind in kinds(events) if "transcription" in kind]
            assert told == [HEARD[1] if "stt_empty" in faults else HEARD[1].replace("completed", "failed")]
            errors = [event["error"] for event in events if event["type"].endswith("failed")]
            assert all(isinstance(value, str) for error in errors for value in error.values())
            assert talk.engines.of("llm_request")[0].detail[-1] == {"role": "user", "content": ""}
            assert events[-2]["response"]["status"] == "completed"

    run()


@pytest.mark.parametrize("eagerness", ["low", "medium", "high", "auto", None])
def test_semantic_detection(eagerness):
    """It is the same with a longer wait, by how eager it is to answer."""

    @virtual_time
    async def run():
        async with talking(detects=True) as talk:
            wanted = {"type": "semantic_vad"} | ({"eagerness": eagerness} if eagerness else {})
            session = await talk.update(audio={"input": {"turn_detection": wanted}})
            assert session["audio"]["input"]["turn_detection"] == {
                "type": "semantic_vad", "eagerness": eagerness or "auto", "create_response": True,
                "interrupt_response": True,
            }  # fmt: skip
            await talk.hear(silence(500) + voice(500) + silence(2500))
            stopped = (await talk.until(TURN[1]))[-1]
            wait_ms = SEMANTIC_SILENCE_MS[eagerness or "auto"]
            assert 1000 + wait_ms <= stopped["audio_end_ms"] < 1000 + wait_ms + 2 * WINDOW_MS

    run()


@virtual_time
async def test_silence_that_lasts_too_long():
    """After an answer has been played, and so much silence, the silence is committed and answered; before it, never."""
    async with talking(Script(replies=["Hello."], transcripts=["", ""]), detects=True) as talk:
        await talk.update(audio={"input": {"turn_detection": {"idle_timeout_ms": 5000}}})
        await talk.hear(silence(7000))
        await talk.say("hello")
        await talk.send("response.create")
        first = await talk.answered()
        played_ms = len(audio_in(first)) // 48
        await talk.hear(silence(7000))
        events = await talk.answered()
        assert kinds(events)[:5] == ["input_audio_buffer.timeout_triggered", *COMMITTED, "response.created"]
        triggered = events[0]
        assert triggered["item_id"] == events[1]["item_id"]
        start_ms, end_ms = triggered["audio_start_ms"], triggered["audio_end_ms"]
        assert start_ms == 7000 // WINDOW_MS * WINDOW_MS + played_ms
        assert 5000 <= end_ms - start_ms < 5000 + WINDOW_MS
        assert talk.engines.of("stt_commit")[0].detail == (end_ms - start_ms) * 24


TIMED = {"input": {"turn_detection": {"idle_timeout_ms": 5000, "create_response": False}}}


@virtual_time
async def test_nobody_is_waited_for_while_an_answer_is_made():
    """Silence counts from the end of the last answer on."""
    async with talking(Script(replies=["Hello."], llm_stall={2}), detects=True) as talk:
        await talk.update(audio=TIMED)
        await talk.send("response.create")
        await talk.answered()
        await talk.send("response.create")
        await talk.take(1)
        await talk.hear(silence(9000))
        await talk.send("response.cancel")
        assert kinds(await talk.answered()) == ["response.done", "rate_limits.updated"]
        await talk.hear(silence(6000))
        assert kinds(await talk.until("conversation.item.done"))[0] == "input_audio_buffer.timeout_triggered"


@virtual_time
async def test_nobody_is_waited_for_after_a_turn():
    """Where a turn that interrupted is not answered, the client may take its time."""
    script = Script(replies=["These are a few words. " * 9], tts_realtime_factor=1)
    async with talking(script, detects=True) as talk:
        await talk.update(audio=TIMED)
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        await talk.hear(voice(300) + silence(9000))
        assert (await talk.answered())[-2]["response"]["status_details"]["reason"] == "turn_detected"
        assert kinds(await talk.take(4)) == TURN[1:]
        await talk.send("input_audio_buffer.clear")
        assert (await talk.take(1))[0]["type"] == "input_audio_buffer.cleared"


@virtual_time
async def test_a_client_that_commits_under_detection():
    """It gets all that was not committed yet; what follows is a turn of its own, and an empty rest is refused."""
    async with talking(detects=True) as talk:
        await talk.hear(silence(330))
        await talk.send("input_audio_buffer.commit")
        assert kinds(await talk.take(3)) == COMMITTED
        assert talk.engines.of("stt_commit")[0].detail == 330 * 24
        await talk.send("input_audio_buffer.commit")
        assert (await talk.refused())["code"] == "input_audio_buffer_commit_empty"
        await talk.hear(voice(500))
        (started,) = await talk.take(1)
        await talk.send("input_audio_buffer.commit")
        committed = (await talk.take(3))[0]
        assert (started["type"], started["item_id"]) == (TURN[0], committed["item_id"])
        assert started["audio_start_ms"] == 330  # there is no padding left before it
        await talk.hear(voice(500))
        await talk.take(1)
        await talk.send("input_audio_buffer.clear")
        assert (await talk.take(1))[0]["type"] == "input_audio_buffer.cleared"
        await talk.hear(silence(1000))
        await talk.send("input_audio_buffer.commit")
        assert (await talk.take(1))[0]["type"] == COMMITTED[0]


@virtual_time
async def test_detection_is_switched():
    """What was appended before is lost neither when detection begins nor when it ends."""
    async with talking() as talk:
        await talk.hear(silence(90))
        await talk.update(audio={"input": {"turn_detection": SERVER_VAD}})
        await talk.hear(silence(90))
        await talk.update(audio={"input": {"turn_detection": None}})
        await talk.hear(silence(90))
        await talk.send("input_audio_buffer.commit")
        await talk.take(3)
        await talk.update(audio={"input": {"turn_detection": SERVER_VAD}})
        await talk.hear(silence(90))
        await talk.update(audio={"input": {"turn_detection": None}})
        await talk.hear(silence(90))
        await talk.send("input_audio_buffer.commit")
        await talk.take(3)
        await asyncio.sleep(0.2)
        assert [entry.detail for entry in talk.engines.of("stt_commit")] == [270 * 24, 180 * 24]


@pytest.mark.parametrize("model", ["gpt-transcribe", "gpt-4o-transcribe", "whisper-1"])
def test_turns_in_a_transcription_session(model):
    """Models that can detect turns do so there too; words come after the commit, and nothing is answered."""

    @virtual_time
    async def run():
        async with talking(Script(transcripts=["one two three"]), **transcribing()) as talk:
            wanted = {"transcription": {"model": model}, "turn_detection": {"type": "server_vad"}}
            session = await talk.update(kind="transcription", audio={"input": wanted})
            assert session["audio"]["input"]["turn_detection"] == SERVER_VAD
            await talk.hear(silence(500) + voice(1000) + silence(1000))
            events = await talk.take(7)
            assert [event["type"] for event in events] == [*TURN, *HEARD]
            assert events[-1]["usage"]["type"] == ("duration" if model == "whisper-1" else "tokens")
            await talk.hear(silence(500))
            await talk.send("input_audio_buffer.clear")
            assert (await talk.take(1))[0]["type"] == "input_audio_buffer.cleared"

    run()


@virtual_time
async def test_words_while_one_speaks():
    """A model that streams tells words before the turn has ended, of the item that was announced."""
    async with talking(Script(transcripts=["one two three"]), detects=True) as talk:
        await talk.update(audio={"input": {"transcription": {"model": "gpt-live-transcribe"}}})
        await talk.hear(voice(1000) + silence(600))
        events = await talk.answered()
        assert kinds(events)[:3] == [TURN[0], HEARD[0], TURN[1]]
        deltas = [event for event in events if event["type"] == HEARD[0]]
        assert "".join(event["delta"] for event in deltas) == "one two three"
        assert {event["item_id"] for event in deltas} == {events[0]["item_id"]}


class Levels:
    """A judge that says what it is told, and counts how often it was asked."""

    def __init__(self, *levels):
        self.levels = list(levels)
        self.asked = 0
        self.resets = 0

    def probability(self, window):
        self.asked += 1
        assert len(window) == 512
        return self.levels.pop(0)

    def reset(self):
        self.resets += 1


def test_detection_by_the_numbers():
    """Two loud windows begin it; above the threshold less a margin it goes on; a silence as long as asked for ends it."""
    detector = TurnDetector({**SERVER_VAD, "silence_duration_ms": 64})
    levels = [0.0, 0.9, 0.4, 0.5, 0.6, 0.36, 0.1, 0.36, 0.1, 0.1, 0.9]
    detector._judge = Levels(*levels)
    detector._skipped = False
    window = np.full(WINDOW, 9000, dtype=np.int16)
    facts = [detector.window(window) for _ in levels]
    assert facts == [None, None, None, None, "started", None, None, None, None, "stopped", None]


def test_the_judge_is_spared():
    """A quiet window is nobody's speech; after it the judge forgets what it heard, and hears first what came just before."""
    detector = TurnDetector(SERVER_VAD)
    detector._judge = judge = Levels(0, 1, 1, *[0] * 99)
    quiet, loud = np.zeros(WINDOW, dtype=np.int16), np.full(WINDOW, 9000, dtype=np.int16)
    assert [detector.window(quiet) for _ in range(50)] == [None] * 50
    assert judge.asked == 0
    assert [detector.window(loud) for _ in range(2)] == [None, "started"]
    assert (judge.asked, judge.resets) == (3, 1)
    facts = [detector.window(quiet) for _ in range(20)]  # while somebody speaks, silence is judged as well
    assert facts.index("stopped") == 15
    assert judge.asked == 3 + 16


@pytest.mark.usefixtures("real_judge")
@virtual_time
async def test_a_tone_is_no_speech():
    """The judge of the agent is the judge of the twin."""
    async with talking(detects=True) as talk:
        await talk.hear(silence(500) + voice(1000) + silence(1000))
        await talk.send("input_audio_buffer.clear")
        assert (await talk.take(1))[0]["type"] == "input_audio_buffer.cleared"


@pytest.mark.local
@pytest.mark.skipif(bool(LocalEngines.missing()), reason="the extra 'local' is not installed")
@pytest.mark.usefixtures("real_judge")
async def test_a_conversation_with_the_local_engines():
    """Synthesised speech is found, understood, and answered aloud."""
    engines = LocalEngines()
    async with talking(engines=engines, detects=True) as talk:
        pcm = b"".join([chunk async for chunk in engines.speak("what is seven plus eight", "en-us", 1.0)])
        await talk.update(audio={"input": {"transcription": {"model": "gpt-transcribe"}}})
        await talk.hear(silence(500) + pcm + silence(1000))
        events = await talk.answered()
        assert kinds(events)[:5] == TURN
        completed = next(event for event in events if event["type"] == HEARD[1])
        assert completed["transcript"] == "what is seven plus eight"
        start_ms, end_ms = events[0]["audio_start_ms"], events[1]["audio_end_ms"]
        assert 100 < start_ms < 500
        assert len(pcm) // 48 + 500 < end_ms < len(pcm) // 48 + 1200
        answer = events[-2]["response"]
        assert answer["output"][0]["content"][0]["transcript"] == "7 plus 8 is 15."
        assert len(audio_in(events)) > 48_000
