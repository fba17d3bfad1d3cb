"""Phrases read aloud on Realtime sessions: what is asked, that phrases stay apart, and how one is left or fails."""

import asyncio
from contextlib import aclosing

import pytest

from tests.reading_server import ReadingServer, heard, pool_at, reading
from tests.virtual import virtual_time
from tests.world import settings_for_tests, world
from voiceagent import protocol
from voiceagent.accounts import Work
from voiceagent.events import ReplyDone, ReplyPhrase
from voiceagent.heard import WordMark
from voiceagent.making import Timeouts
from voiceagent.reply import ReplyAttempt
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import Clients
from voiceagent.stages.ports import Acquired, StageError, Stages, Usage
from voiceagent.stages.reading import MAX_PARTS, READ
from voiceagent.twin import Script, ScriptedEngines, TwinServer, create_twin

FRAME = bytes(960)


def audio_of(parts):
    """The audio among parts."""
    return b"".join(part for part in parts if isinstance(part, bytes))


async def nothing(line, event):
    """A server that answers nothing."""


# ------------------------------------------------------------------------------------------ at the twin
@virtual_time
async def test_a_phrase():
    """The first phrase opens a session and the next one has it; its words are marked, it is read as it stands and counted."""
    engines = ScriptedEngines(Script(tts_ms_per_char=50))
    async with TwinServer(create_twin(engines)) as twin, pool_at(twin.base_url, tts_words="on") as (tts, pool):
        first, second = await heard(tts, "one two"), await heard(tts, "one two")
        assert audio_of(first) == audio_of(second) == engines.audio("one two")
        assert (first[0].reused, second[0]) == (False, Acquired(0, reused=True))
        assert [part for part in first if isinstance(part, WordMark)] == [WordMark(3, 3_600), WordMark(7, 8_400)]
        (usage,) = [part for part in first if isinstance(part, Usage)]
        assert usage.counts.keys() == {"tts_input_tokens", "tts_output_tokens"}
        assert first[-1] is usage
        assert len(pool) == 1


@virtual_time
async def test_words_are_not_asked_of_others():
    """Without being asked for its words the twin tells none, and the audio is the same."""
    engines = ScriptedEngines()
    async with TwinServer(create_twin(engines)) as twin, pool_at(twin.base_url) as (tts, _):
        parts = await heard(tts, "one two")
        assert audio_of(parts) == engines.audio("one two")
        assert not [part for part in parts if isinstance(part, WordMark)]


class Bin:
    """An outbox that keeps what it gets."""

    def __init__(self):
        self.pcm = b""

    async def audio(self, epoch, pcm):
        self.pcm += pcm

    def complete(self, epoch, samples):
        pass


@virtual_time
async def test_phrases_at_once_come_in_order():
    """While one phrase is spoken the next is asked for on the same session; what is heard is in the order of the text."""
    engines = ScriptedEngines(Script(tts_realtime_factor=0.5))
    sentences = ["This is a first sentence.", "And here is another one, which says a little more."]
    async with TwinServer(create_twin(engines)) as twin, pool_at(twin.base_url) as (tts, pool):
        facts, outbox = [], Bin()
        attempt = ReplyAttempt(
            Work(1), Stages(None, None, tts, None), outbox, post=facts.append, now_us=lambda: 0, timeouts=Timeouts(5, 5)
        )
        attempt.promote()
        await attempt.run([], " ".join(sentences))
        phrases = [fact.text for fact in facts if isinstance(fact, ReplyPhrase)]
        assert " ".join(phrases) == " ".join(sentences)
        assert outbox.pcm == b"".join(engines.audio(phrase) for phrase in phrases)
        assert engines.of("tts_request")[1].at_us < engines.of("tts_done")[0].at_us
        assert isinstance(facts[-1], ReplyDone)
        assert len(pool) == 1


@virtual_time
async def test_leaving_a_phrase_keeps_the_session():
    """A phrase that is left is cancelled at the server at once; another one on the socket goes on, and so does the socket."""
    engines = ScriptedEngines(Script(tts_realtime_factor=1))
    async with TwinServer(create_twin(engines)) as twin, pool_at(twin.base_url) as (tts, pool):
        other = asyncio.create_task(heard(tts, "somebody else"))
        async with tts.speak("never mind") as parts, aclosing(parts):
            async for part in parts:
                if isinstance(part, bytes):
                    break
        await asyncio.sleep(0)
        left_us = round(asyncio.get_running_loop().time() * 1e6)
        assert audio_of(await other) == engines.audio("somebody else")
        (cancelled,) = engines.of("tts_cancelled")
        assert (cancelled.detail, cancelled.at_us) == ("never mind", left_us)
        assert (await heard(tts, "and on"))[0] == Acquired(0, reused=True)
        assert len(pool) == 1


@virtual_time
async def test_a_key_that_is_refused():
    """It is said in words, and another try would not help."""
    async with TwinServer(create_twin(ScriptedEngines(), "right")) as twin, pool_at(twin.base_url) as (tts, _):
        with pytest.raises(StageError, match=r"^Text to speech at 127\.0\.0\.1:\d+ refused the key") as error:
            await heard(tts)
        assert not error.value.retryable


@virtual_time
async def test_as_the_settings_say():
    """The streams of a server use such sessions where they are set, open one ahead, and close it with the clients."""
    engines = ScriptedEngines()
    async with TwinServer(create_twin(engines)) as twin:
        chosen = settings_for_tests(tts_api="realtime")
        clients = Clients(chosen, twin.base_url)
        made = cascade(clients, chosen)
        await made.warm()
        parts = await heard(made.tts, "one two")
        assert parts[0] == Acquired(0, reused=True)
        assert audio_of(parts) == engines.audio("one two")
        await clients.aclose()
        await asyncio.sleep(0.2)
        with pytest.raises(StageError, match="closed"):
            await heard(made.tts, "three")


@virtual_time
async def test_a_conversation():
    """In a conversation the voice is there before the first turn; an interruption cancels its phrases and costs no socket."""
    story = "Once upon a time there was a lighthouse keeper, and she had never seen the sea. That is all of it."
    script = Script(transcripts=["a story"], replies=[story, "As you wish."], tts_realtime_factor=0.9)
    async with world(script, tts_api="realtime") as w:
        w.browser.speak(1_000)
        await w.browser.until_leaf("speaking")
        await asyncio.sleep(1)
        w.browser.send_up(protocol.Text(text="stop"))
        first, second = await w.browser.until_turns(2)
        assert (first.outcome, second.outcome) == ("interrupted", "completed")
        assert len(w.engines.of("tts_cancelled")) == 1
        assert [(turn.connections["tts"].acquire_us, turn.connections["tts"].reused) for turn in w.turns] == [
            (0, True)
        ] * 2
        assert w.turns[1].usage["tts_output_tokens"] > 0
        assert "tts_drifts" not in w.turns[1].usage


# ------------------------------------------------------------------------------------------ what is asked
@virtual_time
async def test_what_a_session_and_a_phrase_ask():
    """The session detects no turns; each phrase stands outside its conversation, and is to be read, not answered."""
    server = ReadingServer(nothing)
    server.on_event = server.read
    chosen = {"tts_instructions": "Whisper.", "tts_speed": 2.0, "tts_voice": "voice_1234", "tts_words": "on"}
    async with reading(server, **chosen) as (tts, _):
        await heard(tts, "What time is it?")
        (line,) = server.lines
        assert line.websocket.query_params["model"] == "gpt-realtime-2.1-mini"
        session, create = line.events
        assert session["session"] == {
            "type": "realtime", "output_modalities": ["audio"], "instructions": f"{READ}\nWhisper.",
            "audio": {
                "input": {"turn_detection": None},
                "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": {"id": "voice_1234"}, "speed": 1.5},
            },
        }  # fmt: skip
        assert READ.startswith("Read the user's text aloud verbatim")
        said = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What time is it?"}]}
        assert create["response"] == {
            "conversation": "none", "input": [said], "instructions": f"{READ}\nWhisper.", "output_modalities": ["audio"],
            "metadata": {"utt": create["event_id"], "words": "on"},
        }  # fmt: skip


# ------------------------------------------------------------------------------------------ phrases stay apart
class Held:
    """Keeps the phrases that are asked for, by their text, until the test answers them."""

    def __init__(self):
        self.server = ReadingServer(self)
        self.keys = {}
        self.lines = {}

    async def __call__(self, line, event):
        if event["type"] == "response.create":
            text = event["response"]["input"][0]["content"][0]["text"]
            self.keys[text], self.lines[text] = event["event_id"], line

    async def asked(self, tts, *texts):
        """Ask for phrases, and wait until the server has the requests."""
        tasks = [asyncio.create_task(heard(tts, text)) for text in texts]
        while not all(text in self.keys for text in texts):
            await asyncio.sleep(0.01)
        return tasks


@pytest.mark.parametrize("told", [True, False])
def test_responses_are_told_apart(told):
    """Each phrase gets its own audio, however the responses are mixed; without metadata they are in the order asked."""

    @virtual_time
    async def run():
        held = Held()
        async with reading(held.server) as (tts, _):
            tasks = await held.asked(tts, "a", "b")
            line = held.lines["a"]
            order = ("b", "a") if told else ("a", "b")
            for text in order:
                await line.created(f"resp_{text}", held.keys[text] if told else None)
            for text in ("b", "a", "b"):
                await line.audio(f"resp_{text}", text.encode() * 960)
            await line.audio("resp_nobody", b"xx")
            await line.done("resp_b")
            await line.done("resp_a")
            assert [audio_of(await task) for task in tasks] == [b"a" * 960, b"b" * 1_920]

    run()


@virtual_time
async def test_a_second_response():
    """A response too many, to the same phrase or to none, is cancelled and not heard."""
    held = Held()
    async with reading(held.server) as (tts, _):
        (task,) = await held.asked(tts, "a")
        line = held.lines["a"]
        for response_id, utt in (("resp_a", held.keys["a"]), ("resp_b", held.keys["a"]), ("resp_c", "utt_0")):
            await line.created(response_id, utt)
            await line.audio(response_id, response_id.encode() * 2)
        await line.done("resp_a")
        assert audio_of(await task) == b"resp_a" * 2
        await asyncio.sleep(0.01)
        assert [event["response_id"] for event in line.of("response.cancel")] == ["resp_b", "resp_c"]


@virtual_time
async def test_a_phrase_left_before_its_response():
    """It is cancelled as soon as it is known by which id, and what comes of it goes nowhere."""
    held = Held()
    async with reading(held.server) as (tts, pool):
        (task,) = await held.asked(tts, "a")
        line = held.lines["a"]
        task.cancel()
        await asyncio.wait({task})
        assert line.of("response.cancel") == []
        await line.created("resp_a", held.keys["a"])
        await asyncio.sleep(0.01)
        assert [event["response_id"] for event in line.of("response.cancel")] == ["resp_a"]
        await line.send(type="error", error={"code": "response_cancel_not_active", "event_id": "cancel_resp_a"})
        await line.done("resp_a", "cancelled")
        held.server.on_event = held.server.read
        assert audio_of(await heard(tts, "b")) == FRAME
        assert (len(pool), len(held.server.lines)) == (1, 1)


@virtual_time
async def test_a_phrase_that_nobody_takes():
    """A phrase whose parts nobody takes fails and is cancelled; the others on its socket do not wait for it."""
    held = Held()
    async with reading(held.server) as (tts, _), tts.speak("a") as parts, aclosing(parts):
        (other,) = await held.asked(tts, "b")
        line = held.lines["a"]
        for text in ("a", "b"):
            await line.created(f"resp_{text}", held.keys[text])
        for _ in range(MAX_PARTS + 1):
            await line.audio("resp_a", FRAME)
        await line.audio("resp_b", FRAME)
        await line.done("resp_b")
        assert audio_of(await other) == FRAME
        with pytest.raises(StageError, match="said more than anybody took"):
            async for _ in parts:
                pass
        await asyncio.sleep(0.01)
        assert [event["response_id"] for event in line.of("response.cancel")] == ["resp_a"]


# ------------------------------------------------------------------------------------------ how a phrase fails
FAILED = {"status_details": {"type": "failed", "error": {"type": "server_error", "code": "server_error"}}}


@pytest.mark.parametrize(
    ("status", "fields", "code", "retryable"),
    [
        ("failed", FAILED, "server_error", True),
        ("failed", {"status_details": {"error": {"code": "insufficient_quota"}}}, "insufficient_quota", False),
        ("failed", {}, "failed", True),
        ("incomplete", {"status_details": {"reason": "content_filter"}}, "content_filter", False),
        ("incomplete", {"status_details": {"reason": "max_output_tokens"}}, "max_output_tokens", False),
        ("cancelled", {"status_details": {"reason": "turn_detected"}}, "turn_detected", True),
    ],
)
def test_responses_that_end_badly(status, fields, code, retryable):
    """A response that is not completed is a failure of its phrase alone, behind the audio that came."""

    @virtual_time
    async def run():
        held = Held()
        async with reading(held.server) as (tts, pool):
            a, b = await held.asked(tts, "a", "b")
            line = held.lines["a"]
            for text in ("a", "b"):
                await line.created(f"resp_{text}", held.keys[text])
                await line.audio(f"resp_{text}", FRAME)
            await line.done("resp_a", status, **fields)
            await line.done("resp_b")
            with pytest.raises(StageError, match="broke off its answer") as error:
                await a
            assert (error.value.stage, error.value.code, error.value.retryable) == ("tts", code, retryable)
            assert audio_of(await b) == FRAME
            assert len(pool) == 1

    run()


@virtual_time
async def test_words_without_a_sound():
    """A response that is completed without audio has not read its phrase; without words there is none to read."""
    held = Held()
    async with reading(held.server) as (tts, _):
        for text in ("a", "..."):
            (task,) = await held.asked(tts, text)
            line = held.lines[text]
            await line.created(f"resp_{text}", held.keys[text])
            await line.done(f"resp_{text}")
            if text == "a":
                with pytest.raises(StageError, match="gave no sound") as error:
                    await task
                assert error.value.retryable
            else:
                assert await task == []


@virtual_time
async def test_a_request_that_is_refused():
    """An error that names a request fails that phrase and no other; one that names none ends the session with all of them."""
    held = Held()
    async with reading(held.server) as (tts, pool):
        a, b = await held.asked(tts, "a", "b")
        line = held.lines["a"]
        await line.send(type="error", error={"code": "invalid_value", "event_id": held.keys["a"]})
        with pytest.raises(StageError, match=r"refused to speak \(invalid_value\)") as error:
            await a
        assert not error.value.retryable
        assert not b.done()
        await line.send(type="error", error={"code": "input_audio_buffer_commit_empty"})
        await line.send(type="error", error={"code": "session_expired"})
        with pytest.raises(StageError, match="has reached its length") as error:
            await b
        assert error.value.retryable
        assert len(pool) == 0


@virtual_time
async def test_drift_is_counted():
    """Words that were read otherwise than they stand are counted with the phrase's cost; the phrase is good all the same."""
    server = ReadingServer(nothing)

    async def reword(line, event):
        if event["type"] == "response.create":
            await line.created("resp_1", event["event_id"])
            await line.audio("resp_1", FRAME)
            usage = {"input_tokens": 7, "output_tokens": 20}
            await line.done("resp_1", transcript="I'm glad you have come.", usage=usage)

    server.on_event = reword
    async with reading(server) as (tts, _):
        parts = await heard(tts, "I am happy you've come.")
        assert parts[1:] == [
            FRAME,
            Usage({"tts_input_tokens": 7, "tts_output_tokens": 20, "tts_drifts": 1, "tts_drift_words": 1}),
        ]
