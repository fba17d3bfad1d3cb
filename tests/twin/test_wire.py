"""The twin's wire, as the real SDK and a bare WebSocket see it."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager

import httpx2
import openai
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.virtual import virtual_time
from voiceagent.twin import Script, ScriptedEngines, TwinServer, create_twin
from voiceagent.twin.ports import FunctionCall
from voiceagent.twin.realtime import GOES_ON_S
from voiceagent.twin.scripted import tone

AUDIO = base64.b64encode(tone(24_000)).decode()


@asynccontextmanager
async def twin(script=None, api_key=None):
    """A twin with scripted engines and a client of the SDK."""
    engines = ScriptedEngines(script or Script())
    async with TwinServer(create_twin(engines, api_key)) as server:
        http = openai.DefaultAsyncHttpx2Client(trust_env=False)
        async with openai.AsyncOpenAI(
            api_key="any", base_url=server.base_url, max_retries=0, http_client=http
        ) as client:
            yield server, client, engines


def socket(server, query="?intent=transcription", **headers):
    """A bare WebSocket to the twin."""
    url = server.base_url.replace("http", "ws") + "/realtime" + query
    return connect(url, proxy=None, additional_headers={"Authorization": "Bearer any", **headers})


async def take(ws, count):
    """The next events."""
    return [json.loads(await ws.recv()) for _ in range(count)]


def update(model="gpt-live-transcribe", **fields):
    """A session.update."""
    audio_input = {"transcription": {"model": model}, "turn_detection": None, **fields}
    return json.dumps({"type": "session.update", "session": {"type": "transcription", "audio": {"input": audio_input}}})


def append(audio=AUDIO):
    """An append."""
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


COMMIT = json.dumps({"type": "input_audio_buffer.commit", "event_id": "mine"})


# ------------------------------------------------------------------------------------------ realtime
@virtual_time
async def test_the_order_of_events():
    """created, updated, then for a commit: committed, added, done, deltas, completed with usage; items make a chain."""
    async with twin(Script(transcripts=["one two"], partials=False)) as (server, _, _), socket(server) as ws:
        (created,) = await take(ws, 1)
        assert (created["type"], created["session"]["object"]) == ("session.created", "realtime.transcription_session")
        await ws.send(update())
        (updated,) = await take(ws, 1)
        assert updated["session"]["audio"]["input"]["transcription"] == {"model": "gpt-live-transcribe"}
        previous = None
        for _ in range(2):
            await ws.send(append())
            await ws.send(COMMIT)
            events = await take(ws, 5)
            assert [event["type"].removeprefix("conversation.item.") for event in events] == [
                "input_audio_buffer.committed", "added", "done",
                "input_audio_transcription.delta", "input_audio_transcription.completed",
            ]  # fmt: skip
            assert events[0]["previous_item_id"] == previous
            assert events[4]["transcript"] == "one two"
            assert events[4]["usage"] == {"type": "duration", "seconds": 1.0}
            previous = events[0]["item_id"]
            assert {event.get("item_id", previous) for event in events} == {previous}
            await ws.send(json.dumps({"type": "conversation.item.retrieve", "item_id": previous}))
            (item,) = await take(ws, 1)
            assert item["item"]["content"] == [{"type": "input_audio", "transcript": "one two"}]


@virtual_time
async def test_an_item_may_go_on_with_the_one_before():
    """What is said soon after a commit is offered to the engine as going on; later, or after a clear, it is not."""

    class Noting(ScriptedEngines):
        def transcribe(self, on_partial, connection="", after=None):
            made.append((super().transcribe(on_partial, connection, after), after))
            return made[-1][0]

    made = []
    async with TwinServer(create_twin(Noting(Script(partials=False)), None)) as server, socket(server) as ws:
        await ws.send(update())
        await take(ws, 2)
        for wait_s in (0, GOES_ON_S - 0.5, GOES_ON_S + 0.5):
            await asyncio.sleep(wait_s)
            await ws.send(append())
            await ws.send(COMMIT)
            await take(ws, 5)
        await ws.send(append())
        await ws.send(json.dumps({"type": "input_audio_buffer.clear"}))
        await ws.send(append())
        await ws.send(json.dumps({"type": "input_audio_buffer.clear"}))
        await take(ws, 2)
    first, second, third, fourth, fifth = made
    assert [after for _, after in made] == [None, first[0], None, third[0], None]
    assert len({second[0], fourth[0], fifth[0]}) == 3


@virtual_time
async def test_deltas_while_one_speaks():
    """Streaming models send words before the commit, append-only; the others do not."""
    for model, early in (("gpt-live-transcribe", ["one", " two"]), ("gpt-transcribe", [])):
        async with twin(Script(transcripts=["one two three"])) as (server, _, _), socket(server) as ws:
            await ws.send(update(model))
            await take(ws, 2)
            for _ in range(4):
                await ws.send(append(base64.b64encode(tone(4800)).decode()))
            await ws.send(COMMIT)
            deltas = []
            while (event := (await take(ws, 1))[0])["type"] != "input_audio_buffer.committed":
                deltas.append(event["delta"])
            assert deltas == early


@pytest.mark.parametrize(
    ("sent", "code", "param"),
    [
        ("{", "invalid_json", None),
        (b"\x00\x01", "invalid_event", None),
        ('{"type":"nonsense"}', "invalid_value", "type"),
        ("[]", "missing_required_parameter", "type"),
        (COMMIT, "input_audio_buffer_commit_empty", None),
        (append("!!"), "invalid_value", "audio"),
        (update(turn_detection={"type": "server_vad"}), "invalid_value", "session.audio.input.turn_detection"),
        (update(format={"type": "audio/pcm", "rate": 16000}), "invalid_value", "session.audio.input.format"),
        ('{"type":"session.update","session":{"type":"realtime"}}', "invalid_value", "session.type"),
        ('{"type":"conversation.item.retrieve","item_id":"x"}', "item_not_found", "item_id"),
    ],
)
def test_errors_leave_the_session_open(sent, code, param):
    """What is wrong is answered with an error event that echoes its event_id, and the session goes on."""

    @virtual_time
    async def run():
        async with twin() as (server, _, _), socket(server) as ws:
            await take(ws, 1)
            await ws.send(sent)
            (event,) = await take(ws, 1)
            assert (event["type"], event["error"]["code"], event["error"]["param"]) == ("error", code, param)
            if sent == COMMIT:
                assert event["error"]["event_id"] == "mine"
                assert "buffer only has 0.00ms of audio" in event["error"]["message"]
            await ws.send(update())
            assert (await take(ws, 1))[0]["type"] == "session.updated"

    run()


@virtual_time
async def test_updates_merge():
    """What an update omits stays, and an explicit null clears."""
    async with twin() as (server, _, _), socket(server) as ws:
        await ws.send(update(noise_reduction={"type": "near_field"}))
        await ws.send(update("gpt-transcribe"))
        await ws.send(update(noise_reduction=None))
        states = [event["session"]["audio"]["input"] for event in (await take(ws, 4))[1:]]
        assert [state["noise_reduction"] for state in states] == [{"type": "near_field"}, {"type": "near_field"}, None]
        assert states[1]["transcription"] == {"model": "gpt-transcribe"}


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("?intent=transcription", {"OpenAI-Beta": "realtime=v1"}, "beta_api_shape_disabled"),
        ("", {}, "missing_model"),
        ("?model=gpt-realtime", {"OpenAI-Beta": "realtime=v1"}, "beta_api_shape_disabled"),
    ],
)
def test_refused_sessions(query, headers, code):
    """The beta shape, and a session that names no model, are refused with an error and close code 4000."""

    @virtual_time
    async def run():
        async with twin() as (server, _, _), socket(server, query, **headers) as ws:
            (event,) = await take(ws, 1)
            assert event["error"]["code"] == code
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
            assert closed.value.rcvd.code == 4000

    run()


@virtual_time
async def test_websocket_auth():
    """A wrong key is 401 in the handshake; the key may come by header, by subprotocol, or as api-key."""
    async with twin(api_key="right") as (server, _, _):
        with pytest.raises(InvalidStatus) as refused:
            async with socket(server):
                pass
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body)["error"]["code"] == "invalid_api_key"
        url = server.base_url.replace("http", "ws") + "/realtime?intent=transcription"
        async with connect(url, proxy=None, subprotocols=["realtime", "openai-insecure-api-key.right"]) as ws:
            assert ws.subprotocol == "realtime"
        async with connect(url, proxy=None, additional_headers={"api-key": "right"}) as ws:
            assert (await take(ws, 1))[0]["type"] == "session.created"


# ------------------------------------------------------------------------------------------ chat
MESSAGES = [{"role": "user", "content": "hello"}]


@virtual_time
async def test_chat_streamed_and_not():
    """Both ways give the same words, with usage."""
    async with twin(Script(replies=["Hello to you."])) as (_, client, _):
        whole = await client.chat.completions.create(model="m", messages=MESSAGES)
        assert whole.choices[0].message.content == "Hello to you."
        assert whole.usage.completion_tokens == 3
        text, usage = "", None
        stream = await client.chat.completions.create(
            model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in stream:
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            usage = chunk.usage or usage
        assert text == "Hello to you."
        assert usage.completion_tokens == 3


@virtual_time
async def test_chat_calls_functions():
    """A function call comes as the service sends it."""
    async with twin(Script(llm_call={1: FunctionCall("f", '{"x": 1}')})) as (_, client, _):
        answer = await client.chat.completions.create(model="m", messages=MESSAGES)
        (call,) = answer.choices[0].message.tool_calls
        assert (call.function.name, call.function.arguments) == ("f", '{"x": 1}')
        assert answer.choices[0].finish_reason == "tool_calls"


@virtual_time
async def test_cancelled_requests_stop():
    """A client that leaves ends the work for it, before the first token and after."""
    async with twin(Script(replies=["word " * 50], llm_stall={1})) as (_, client, engines):
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(model="m", messages=MESSAGES, stream=True, timeout=1)
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        async for _ in stream:
            break
        await stream.close()
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(model="m", messages=MESSAGES, timeout=0.2)
        await asyncio.sleep(0.1)
        assert [entry.detail for entry in engines.of("llm_cancelled")] == [1, 2, 3]


# ------------------------------------------------------------------------------------------ speech, models, errors
@virtual_time
async def test_speech():
    """PCM is headerless, WAV has a header of unknown length; both hold the same samples."""
    async with twin() as (_, client, engines):
        made = {}
        for form in ("pcm", "wav"):
            async with client.audio.speech.with_streaming_response.create(
                model="tts-1", voice="alloy", input="hello", response_format=form
            ) as response:
                made[form] = (response.headers["content-type"], await response.read())
        assert made["pcm"] == ("audio/pcm", engines.audio("hello"))
        assert made["wav"][0] == "audio/wav"
        assert made["wav"][1][:4] == b"RIFF"
        assert made["wav"][1].endswith(engines.audio("hello"))


async def speech_events(client, text, **options):
    """The events of a speech request."""
    async with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input=text, stream_format="sse", **options
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line async for line in response.iter_lines()]
    return [json.loads(line.removeprefix("data: ")) for line in lines if line]


@virtual_time
async def test_speech_as_events():
    """Deltas hold the same samples, `done` has usage, and words are told before the audio they end in."""
    async with twin(Script(tts_leading_silence_ms=100)) as (_, client, engines):
        events = await speech_events(client, "hello you", response_format="pcm")
        deltas = [event for event in events if event["type"] == "speech.audio.delta"]
        assert b"".join(base64.b64decode(event["audio"]) for event in deltas) == engines.audio("hello you")
        assert events[0] == {
            "type": "speech.audio.words",
            "words": [{"end_char": 5, "end_ms": 400}, {"end_char": 9, "end_ms": 640}],
        }
        assert events[-1] == {
            "type": "speech.audio.done", "usage": {"input_tokens": 2, "output_tokens": 12, "total_tokens": 14},
        }  # fmt: skip
        wav = await speech_events(client, "hello", response_format="wav")
        assert {event["type"] for event in wav} == {"speech.audio.delta", "speech.audio.done"}
        assert base64.b64decode(wav[0]["audio"])[:4] == b"RIFF"


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/audio/speech", {"model": "m", "voice": "v"}, 400, "input"),
        ("/audio/speech", {"input": "x", "voice": "v"}, 400, "response_format"),
        ("/audio/speech", {"input": "x", "response_format": "mp3"}, 400, "response_format"),
        ("/audio/speech", {"input": "x" * 5000, "response_format": "pcm"}, 400, "input"),
        ("/audio/speech", {"input": "x", "response_format": "pcm", "speed": 9}, 400, "speed"),
        ("/audio/speech", {"input": "x", "response_format": "pcm", "stream_format": "x"}, 400, "stream_format"),
        ("/chat/completions", {"model": "m"}, 400, "messages"),
        ("/chat/completions", {"messages": MESSAGES}, 400, "model"),
        ("/chat/completions", [], 400, None),
        ("/nowhere", {}, 404, None),
    ],
)
def test_bad_requests(path, body, status, param):
    """Every error has OpenAI's shape and names the parameter."""

    @virtual_time
    async def run():
        async with twin() as (server, _, _), httpx2.AsyncClient(trust_env=False) as http:
            answer = await http.post(server.base_url + path, json=body, headers={"Authorization": "Bearer x"})
            error = answer.json()["error"]
            assert (answer.status_code, error["param"]) == (status, param)
            assert error["message"]
            assert error["type"] == "invalid_request_error"
            assert answer.headers["x-request-id"].startswith("req_")

    run()


@virtual_time
async def test_models():
    """Models are listed with their shutdown dates; an unknown one is 404, and no key is 401."""
    async with twin() as (server, client, _), httpx2.AsyncClient(trust_env=False) as http:
        listed = {model.id: model for model in (await client.models.list()).data}
        assert listed["tts-1"].shutdown_date == "2027-01-06"
        assert (await client.models.retrieve("gpt-6-luna")).id == "gpt-6-luna"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nothing")
        assert (await http.get(server.base_url + "/models")).json()["error"]["code"] == "invalid_api_key"
        assert (await http.get(server.base_url.removesuffix("/v1") + "/health")).json()["status"] == "ok"
