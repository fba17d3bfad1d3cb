"""Realtime sessions of the twin: who gets which, what they are set to, how they end, and what they are never hurt by."""

import asyncio
import base64
import contextlib
import json
import random

import pytest
from websockets.exceptions import ConnectionClosed

from tests.twin.realtime import MODEL, silence, talking, transcribing
from tests.virtual import virtual_time
from voiceagent.twin import Script, ScriptedEngines, realtime, wire

VAD = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}


# ------------------------------------------------------------------------------------------ which session
@virtual_time
async def test_a_conversation_session():
    """With a model in the query it is a conversation, and shows all that it is set to."""
    async with talking(opened=False, model=MODEL) as talk:
        session, conversation = await talk.take(2)
        assert conversation["type"] == "conversation.created"
        assert conversation["conversation"]["id"].startswith("conv_")
        shape = session["session"]
        assert shape["id"].startswith("sess_")
        assert (shape["object"], shape["type"], shape["model"]) == ("realtime.session", "realtime", MODEL)
        assert shape["output_modalities"] == ["audio"]
        assert shape["audio"]["input"] == {
            "format": {"type": "audio/pcm", "rate": 24000}, "transcription": None, "noise_reduction": None,
            "turn_detection": {**VAD, "idle_timeout_ms": None, "create_response": True, "interrupt_response": True},
        }  # fmt: skip
        assert shape["audio"]["output"] == {
            "format": {"type": "audio/pcm", "rate": 24000},
            "voice": "marin",
            "speed": 1.0,
        }


@virtual_time
async def test_a_transcription_session():
    """With the intent it is one, whatever model is named beside it: that is the transcription's."""
    for model, transcription in ((None, None), ("gpt-transcribe", {"model": "gpt-transcribe"})):
        async with talking(opened=False, **transcribing(model)) as talk:
            (event,) = await talk.take(1)
            shape = event["session"]
            assert (shape["object"], shape["type"]) == ("realtime.transcription_session", "transcription")
            assert shape["audio"] == {"input": {
                "format": {"type": "audio/pcm", "rate": 24000}, "transcription": transcription,
                "noise_reduction": None, "turn_detection": None,
            }}  # fmt: skip


# ------------------------------------------------------------------------------------------ settings
@virtual_time
async def test_an_update_is_sparse():
    """What it omits stays, null clears, and a detection of another kind begins with its own defaults."""
    async with talking(detects=True) as talk:
        detection = {"threshold": 0.7, "idle_timeout_ms": 9000}
        session = await talk.update(
            instructions="Be brief.", audio={"input": {"turn_detection": detection}, "output": {"voice": "anybody"}}
        )
        assert session["instructions"] == "Be brief."
        assert session["audio"]["output"]["voice"] == "anybody"
        found = session["audio"]["input"]["turn_detection"]
        assert (found["threshold"], found["idle_timeout_ms"], found["silence_duration_ms"]) == (0.7, 9000, 500)
        session = await talk.update(audio={"input": {"turn_detection": {"silence_duration_ms": 200}}})
        found = session["audio"]["input"]["turn_detection"]
        assert (found["threshold"], found["idle_timeout_ms"], found["silence_duration_ms"]) == (0.7, 9000, 200)
        assert session["instructions"] == "Be brief."
        session = await talk.update(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}})
        assert set(session["audio"]["input"]["turn_detection"]) == {
            "type", "eagerness", "create_response", "interrupt_response",
        }  # fmt: skip
        session = await talk.update(audio={"input": {"turn_detection": None}, "output": None}, tracing="auto")
        assert session["audio"]["input"]["turn_detection"] is None
        assert session["audio"]["output"]["voice"] == "anybody"
        assert session["tracing"] == "auto"
        session = await talk.update(audio={"input": {"turn_detection": {"type": "server_vad"}}}, model=MODEL)
        assert session["audio"]["input"]["turn_detection"]["threshold"] == 0.5


@virtual_time
async def test_leniency():
    """What harms nobody passes: empty lists, a language for any model, words nobody knows."""
    async with talking(**transcribing()) as talk:
        transcription = {"model": "gpt-transcribe", "language": "en", "languages": [], "keywords": [], "prompt": ""}
        wanted = {"transcription": transcription, "noise_reduction": {"type": "near_field", "strength": 0.5}}
        session = await talk.update(kind="transcription", audio={"input": wanted}, include=[], odd=1)
        assert session["audio"]["input"]["transcription"] == transcription


@virtual_time
async def test_a_model_that_cannot_detect_turns():
    """To ask it to is refused; where nobody asks, its detection is null, whatever was before."""
    async with talking(**transcribing("gpt-transcribe")) as talk:
        await talk.update(kind="transcription", audio={"input": {"turn_detection": VAD}})
        live = {"transcription": {"model": "gpt-live-transcribe"}}
        asked = {"type": "transcription", "audio": {"input": {**live, "turn_detection": VAD}}}
        await talk.send("session.update", session=asked)
        error = await talk.refused()
        assert error["message"] == "Turn detection is not supported for this transcription model."
        session = await talk.update(kind="transcription")
        assert session["audio"]["input"]["turn_detection"] == VAD  # nothing of what was refused is kept
        assert session["audio"]["input"]["transcription"] == {"model": "gpt-transcribe"}
        session = await talk.update(kind="transcription", audio={"input": live})
        assert session["audio"]["input"]["turn_detection"] is None


DETECTION = "session.audio.input.turn_detection"


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        (None, "missing_required_parameter", "session"),
        ({}, "missing_required_parameter", "session.type"),
        ({"type": "transcription"}, "invalid_value", "session.type"),
        ({"type": ["realtime"]}, "invalid_value", "session.type"),
        ({"model": "another"}, "invalid_value", "session.model"),
        ({"audio": "loud"}, "invalid_value", "session.audio"),
        ({"audio": {"input": "loud"}}, "invalid_value", "session.audio.input"),
        ({"audio": {"output": 5}}, "invalid_value", "session.audio.output"),
        ({"audio": {"output": {"format": {"type": "audio/opus"}}}}, "invalid_value", "session.audio.output.format"),
        ({"audio": {"input": {"format": {"type": []}}}}, "invalid_value", "session.audio.input.format"),
        ({"audio": {"output": {"speed": 2}}}, "invalid_value", "session.audio.output.speed"),
        ({"audio": {"input": {"turn_detection": "vad"}}}, "invalid_value", DETECTION),
        ({"audio": {"input": {"turn_detection": {"type": "other"}}}}, "invalid_value", f"{DETECTION}.type"),
        ({"audio": {"input": {"turn_detection": {"type": []}}}}, "invalid_value", f"{DETECTION}.type"),
        ({"audio": {"input": {"turn_detection": {"threshold": 2}}}}, "invalid_value", f"{DETECTION}.threshold"),
        ({"audio": {"input": {"turn_detection": {"idle_timeout_ms": 1}}}}, "invalid_value", f"{DETECTION}.idle_timeout_ms"),
        (
            {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "wild"}}}},
            "invalid_value", f"{DETECTION}.eagerness",
        ),
        ({"audio": {"input": {"transcription": "x"}}}, "invalid_value", "session.audio.input.transcription"),
        (
            {"audio": {"input": {"transcription": {"language": "en", "languages": ["en"]}}}},
            "invalid_value", "session.audio.input.transcription.languages",
        ),
        ({"output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
        ({"max_output_tokens": 5000}, "invalid_value", "session.max_output_tokens"),
        ({"max_output_tokens": []}, "invalid_value", "session.max_output_tokens"),
        ({"tools": {}}, "invalid_value", "session.tools"),
        ({"instructions": 5}, "invalid_value", "session.instructions"),
    ],
)  # fmt: skip
def test_an_update_that_is_refused(session, code, param):
    """The parameter that is wrong is named, the event's id is echoed, and nothing of the update is kept."""

    @virtual_time
    async def run():
        async with talking(detects=True) as talk:
            before = await talk.update()
            if session and "type" not in session:
                session["type"] = "realtime"
            await talk.connection.send_raw(
                json.dumps({"type": "session.update", "event_id": "mine", "session": session})
            )
            error = await talk.refused()
            assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
            assert await talk.update() == before

    run()


@virtual_time
async def test_the_voice_stays():
    """It may change until something was said aloud, and not after; text is not aloud."""
    async with talking() as talk:
        await talk.say("hello")
        await talk.send("response.create", response={"output_modalities": ["text"]})
        await talk.answered()
        await talk.update(audio={"output": {"voice": "cedar"}})
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        session = {"type": "realtime", "audio": {"output": {"voice": "marin"}}}
        await talk.send("session.update", session=session)
        error = (await talk.until("error"))[-1]["error"]
        assert (error["code"], error["message"]) == (
            "cannot_update_voice", "Cannot update a conversation's voice if assistant audio is present.",
        )  # fmt: skip
        await talk.send("response.create", response={"audio": {"output": {"voice": "marin"}}})
        assert (await talk.until("error"))[-1]["error"]["code"] == "cannot_update_voice"
        session["audio"]["output"]["voice"] = "cedar"
        await talk.send("session.update", session=session)
        assert (await talk.until("session.updated", "error"))[-1]["type"] == "session.updated"


# ------------------------------------------------------------------------------------------ how it ends
@pytest.mark.parametrize("busy", [False, True])
def test_a_session_has_an_end(busy, monkeypatch):
    """When it is too old it says so and closes, whatever goes on in it."""
    monkeypatch.setattr(realtime, "SESSION_S", 120.0)

    @virtual_time
    async def run():
        async with talking(Script(llm_stall={1}, stt_stall={1}), model=MODEL) as talk:
            if busy:
                await talk.hear(silence(200))
                await talk.send("input_audio_buffer.commit")
                await talk.take(3)
                await talk.say("hello")
                await talk.send("response.create")
            error = (await talk.until("error"))[-1]["error"]
            assert (error["type"], error["code"]) == ("invalid_request_error", "session_expired")
            assert error["message"] == "Your session hit the maximum duration of 2 minutes."
            with pytest.raises(ConnectionClosed):
                await talk.next()

    run()


@virtual_time
async def test_a_client_that_leaves():
    """What it was saying, and what of it is still being transcribed, is dropped."""
    engines = ScriptedEngines(Script(stt_stall={1}))
    async with talking(engines=engines) as talk:
        await talk.hear(silence(200))
        await talk.send("input_audio_buffer.commit")
        await talk.take(3)
        await talk.hear(silence(200))
        await asyncio.sleep(0.1)
        assert engines.of("stt_cancelled") == []
    assert [entry.detail for entry in engines.of("stt_cancelled")] == [1]


def test_a_client_that_does_not_read(monkeypatch):
    """Audio waits for it; when even what cannot wait finds no room, the connection is given up."""
    monkeypatch.setattr(wire, "MAX_WAITING", 40)
    monkeypatch.setattr(wire, "ROOM", 20)

    @virtual_time
    async def run():
        engines = ScriptedEngines(Script(replies=["These are a few words. " * 500], llm_token_ms=0))
        with contextlib.suppress(ConnectionClosed):
            async with talking(engines=engines) as talk:
                await talk.say("hello")
                await talk.send("response.create")
                await asyncio.sleep(5)
                assert len(engines.of("tts_request")) < 500
                assert engines.of("llm_cancelled") == []
                for _ in range(100):
                    await talk.send("input_audio_buffer.clear")
                await asyncio.sleep(5)
                assert len(engines.of("llm_cancelled")) == 1

    run()


# ------------------------------------------------------------------------------------------ bad input
@virtual_time
async def test_too_much_audio():
    """An append of more than 15 MiB is refused, and the buffer is as it was."""
    async with talking(**transcribing("gpt-transcribe")) as talk:
        await talk.hear(silence(200))
        await talk.send("input_audio_buffer.append", audio="A" * (15 * 1024 * 1024 + 4), event_id="big")
        error = await talk.refused()
        assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "audio", "big")
        await talk.send("input_audio_buffer.commit")
        await talk.take(5)
        assert talk.engines.of("stt_commit")[0].detail == 200 * 24


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("{", "invalid_json"),
        ('{"type": "session.update", "session": {"type": "realtime", "tracing": NaN}}', "invalid_json"),
        (b"{}", "invalid_event"),
        ("[]", "missing_required_parameter"),
        ('{"type": "nonsense"}', "invalid_value"),
        (
            '{"type": "session.update", "session": {"type": "realtime", "prompt": %s}}' % ("[" * 800 + "]" * 800),
            "invalid_event",
        ),
    ],
)
def test_what_is_no_event(sent, code):
    """It is answered with an error, and the session stays open."""

    @virtual_time
    async def run():
        async with talking() as talk:
            await talk.connection.send_raw(sent)
            assert (await talk.refused())["code"] == code
            await talk.update()

    run()


@virtual_time
async def test_a_commit_of_too_little():
    """Under 100 ms it is refused with the service's sentence; half a sample is kept for the other half."""
    async with talking() as talk:
        for at in range(0, 99 * 48, 4751):
            audio = base64.b64encode(bytes(99 * 48)[at : at + 4751]).decode()
            await talk.send("input_audio_buffer.append", audio=audio)
        await talk.send("input_audio_buffer.commit")
        assert (await talk.refused())["message"] == (
            "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
            "but buffer only has 99.00ms of audio."
        )
        await talk.hear(silence(1))
        await talk.send("input_audio_buffer.commit")
        assert (await talk.take(3))[0]["type"] == "input_audio_buffer.committed"


VALUES = (
    None,
    True,
    -1,
    0.5,
    "",
    "x",
    "root",
    [],
    ["x"],
    {},
    {"type": "message"},
    {"type": []},
    [[]],
    {"a": {"b": {}}},
)
NAMES = (
    "session", "type", "audio", "input", "output", "item", "item_id", "previous_item_id", "content", "role", "response",
    "response_id", "event_id", "content_index", "audio_end_ms", "conversation", "metadata", "tools", "tool_choice",
    "turn_detection", "transcription", "format", "voice", "speed", "instructions", "max_output_tokens", "id",
)  # fmt: skip
KINDS = (
    "session.update", "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear",
    "conversation.item.create", "conversation.item.retrieve", "conversation.item.delete", "conversation.item.truncate",
    "response.create", "response.cancel", "nonsense",
)  # fmt: skip


def nonsense(dice, depth=3):
    """Something that may stand anywhere in an event."""
    if depth and dice.random() < 0.7:
        return {dice.choice(NAMES): nonsense(dice, depth - 1) for _ in range(dice.randint(0, 4))}
    return dice.choice(VALUES)


@pytest.mark.parametrize("seed", range(8))
def test_nonsense_hurts_nobody(seed):
    """Whatever an event holds, it is taken or refused, and the session goes on."""
    dice = random.Random(seed)

    @virtual_time
    async def run():
        async with talking(detects=seed % 2 == 0) as talk:
            for _ in range(200):
                event = {name: nonsense(dice) for name in dice.sample(NAMES, 5)} | {"type": dice.choice(KINDS)}
                if event["type"] == "session.update" and isinstance(event.get("session"), dict):
                    event["session"]["type"] = "realtime"
                if event["type"] == "conversation.item.create" and isinstance(event.get("item"), dict):
                    event["item"] |= {"type": "message", "role": dice.choice(("user", "assistant"))}
                await talk.connection.send_raw(json.dumps(event))
                await asyncio.sleep(0.1)
            await talk.send("session.update", event_id="last", session={"type": "nobody"})
            while True:
                event = json.loads(await talk.connection.recv_bytes())
                if event["type"] == "error" and event["error"]["event_id"] == "last":
                    return

    run()
