"""The twin's HTTP endpoints as the real SDK sees them: responses, transcriptions of files, models, keys, the cache."""

import asyncio
import io

import numpy as np
import openai
import pytest
import soundfile

from tests.twin.test_wire import twin
from tests.virtual import virtual_time
from voiceagent.twin import Script, ScriptedEngines, TwinServer, create_twin
from voiceagent.twin.ports import FunctionCall

CLOCK = {"type": "function", "name": "get_time", "description": "The time.", "parameters": {"type": "object"}}
TEXT_EVENTS = [
    "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    "response.output_text.delta", "response.output_text.delta", "response.output_text.done",
    "response.content_part.done", "response.output_item.done",
]  # fmt: skip


async def events_of(client, **options):
    """The events of a streamed response."""
    async with await client.responses.create(model="gpt-6-luna", stream=True, **options) as stream:
        events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    return events


def sound(form="WAV", rate_hz=16_000, seconds=1.0):
    """A sound file."""
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(int(rate_hz * seconds)) / 20) / 4, rate_hz, format=form)
    return (f"speech.{form.lower()}", file.getvalue())


@virtual_time
async def test_a_streamed_response():
    """Its events come in the service's order and end in the whole, with usage."""
    async with twin(Script(replies=["one two"])) as (_, client, _):
        events = await events_of(client, input="count please", instructions="Be short.")
        assert [event.type for event in events] == [*TEXT_EVENTS, "response.completed"]
        response = events[-1].response
        assert (response.status, response.output_text, response.instructions) == ("completed", "one two", "Be short.")
        usage = response.usage
        assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (4, 2, 6)


@virtual_time
async def test_a_response_at_once_and_one_cut_short():
    """Not streamed it is the same; at `max_output_tokens` it is incomplete."""
    async with twin(Script(replies=["one two three"])) as (_, client, _):
        whole = await client.responses.create(model="gpt-6-luna", input="count")
        assert (whole.output_text, whole.status) == ("one two three", "completed")
        events = await events_of(client, input="count", max_output_tokens=2)
        assert [event.type for event in events] == [*TEXT_EVENTS, "response.incomplete"]
        assert events[-1].response.incomplete_details.reason == "max_output_tokens"
        assert events[-1].response.output_text == "one two "


@virtual_time
async def test_a_function_call_and_its_output():
    """A flat tool is called, and its output leads on from the kept response."""
    script = Script(replies=["It is noon."], llm_call={1: FunctionCall("get_time", "{}")})
    async with twin(script) as (_, client, engines):
        events = await events_of(client, input="what time is it", tools=[CLOCK])
        assert [event.type for event in events[2:-1]] == [
            "response.output_item.added", "response.function_call_arguments.delta",
            "response.function_call_arguments.done", "response.output_item.done",
        ]  # fmt: skip
        (call,) = events[-1].response.output
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "12:00"}
        answer = await client.responses.create(
            model="gpt-6-luna", input=[output], previous_response_id=events[-1].response.id
        )
        assert answer.output_text == "It is noon."
        assert [message["role"] for message in engines.of("llm_request")[1].detail] == ["user", "assistant", "tool"]


@virtual_time
async def test_a_response_that_is_not_kept():
    """An id that is not known, or was not stored, is refused."""
    async with twin() as (_, client, _):
        loose = await client.responses.create(model="gpt-6-luna", input="hello", store=False)
        for unknown in (loose.id, "resp_none"):
            with pytest.raises(openai.BadRequestError) as raised:
                await client.responses.create(model="gpt-6-luna", input="hello", previous_response_id=unknown)
            assert raised.value.code == "previous_response_not_found"


@virtual_time
async def test_a_response_that_breaks_off():
    """In mid-stream it fails by an event, not streamed by a status."""
    async with twin(Script(replies=["one two"], llm_break={1: 1, 2: 1})) as (_, client, _):
        events = await events_of(client, input="count")
        assert (events[-1].type, events[-1].response.error.code) == ("response.failed", "scripted")
        with pytest.raises(openai.InternalServerError):
            await client.responses.create(model="gpt-6-luna", input="count")


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ([{"type": "strange"}], "input[0].type"),
        ([{"role": "nobody", "content": "x"}], "input[0].role"),
        ([{"type": "function_call_output", "call_id": "c", "output": "x"}], "input"),
        ([], "input"),
    ],
)
def test_input_that_is_refused(given, param):
    """Wrong items are 400 with the parameter."""

    @virtual_time
    async def run():
        async with twin() as (_, client, _):
            with pytest.raises(openai.BadRequestError) as raised:
                await client.responses.create(model="gpt-6-luna", input=given)
            assert raised.value.param == param

    run()


@pytest.mark.parametrize(("form", "rate_hz"), [("WAV", 16_000), ("FLAC", 48_000), ("OGG", 24_000)])
def test_a_file_is_transcribed(form, rate_hz):
    """Any format and rate becomes 24 kHz; json has the usage, text is plain, a stream has deltas that add up."""

    @virtual_time
    async def run():
        async with twin(Script(transcripts=["one two"])) as (_, client, engines):
            create = client.audio.transcriptions.create
            made = await create(model="gpt-transcribe", file=sound(form, rate_hz), language="en", prompt="numbers")
            assert (made.text, made.usage.type, made.usage.input_tokens) == ("one two", "tokens", 10)
            assert engines.of("stt_commit")[0].detail == 24_000
            text = await create(model="whisper-1", file=sound(form, rate_hz), response_format="text")
            assert text == "one two\n"
            stream = await create(model="gpt-transcribe", file=sound(form, rate_hz), stream=True)
            events = [event async for event in stream]
            assert "".join(event.delta for event in events[:-1]) == events[-1].text == "one two"
            assert events[-1].type == "transcript.text.done"

    run()


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"file": ("a.wav", b"nonsense")}, "file"),
        ({"file": sound(seconds=0.05)}, "file"),
        ({"file": sound(seconds=61)}, "file"),
        ({"file": sound(), "response_format": "srt"}, "response_format"),
    ],
)
def test_a_file_that_is_refused(options, param):
    """What is no sound, too short or long, or wanted in another format, is 400 with the parameter."""

    @virtual_time
    async def run():
        async with twin() as (_, client, _):
            with pytest.raises(openai.BadRequestError) as raised:
                await client.audio.transcriptions.create(model="gpt-transcribe", **options)
            assert raised.value.param == param

    run()


@virtual_time
async def test_a_key_for_a_session():
    """An ephemeral key is made, and a wrong wish is 400 with its parameter."""
    async with twin() as (_, client, _):
        made = await client.realtime.client_secrets.create(session={"type": "realtime", "model": "gpt-realtime-2"})
        assert made.value.startswith("ek_")
        with pytest.raises(openai.BadRequestError) as raised:
            await client.realtime.client_secrets.create(expires_after={"anchor": "created_at", "seconds": 1})
        assert raised.value.param == "expires_after.seconds"


@virtual_time
async def test_the_prompt_cache():
    """What came before under the same key counts as cached, and nothing under another or without one."""
    async with twin() as (_, client, _):

        async def cached(key, *texts):
            messages = [{"role": "user", "content": text} for text in texts]
            options = {} if key is None else {"prompt_cache_key": key}
            made = await client.chat.completions.create(model="gpt-6-luna", messages=messages, **options)
            assert made.usage.completion_tokens_details.reasoning_tokens == 0
            return made.usage.prompt_tokens_details.cached_tokens

        assert [await cached("a", "one two"), await cached("a", "one two", "three")] == [0, 2]
        assert [await cached("a", "other", "three"), await cached("b", "other"), await cached(None, "other")] == [0] * 3


@virtual_time
async def test_a_body_that_does_not_come():
    """Whoever announces a body and sends none is told so after a minute, and let go."""
    head = "POST /v1/{} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer any\r\nContent-Length: 50\r\nContent-Type: {}\r\n\r\n-"
    async with TwinServer(create_twin(ScriptedEngines(Script()))) as server:
        for path, kind in (
            ("chat/completions", "application/json"), ("audio/transcriptions", "multipart/form-data; boundary=b"),
        ):  # fmt: skip
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(head.format(path, kind).encode())
            before_s = asyncio.get_running_loop().time()
            answer = await reader.readuntil(b"}}")
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"The request did not come in time." in answer
            assert asyncio.get_running_loop().time() - before_s == 60
            writer.close()
            await writer.wait_closed()


@virtual_time
async def test_strict_models():
    """A strict twin refuses names that are none, and models of another kind; any other takes them."""
    async with TwinServer(create_twin(ScriptedEngines(Script()), strict_models=True)) as server:
        http = openai.DefaultAsyncHttpx2Client(trust_env=False)
        async with openai.AsyncOpenAI(
            api_key="any", base_url=server.base_url, max_retries=0, http_client=http
        ) as client:
            with pytest.raises(openai.NotFoundError) as unknown:
                await client.responses.create(model="gpt-none", input="hello")
            assert unknown.value.code == "model_not_found"
            with pytest.raises(openai.BadRequestError) as another:
                await client.audio.speech.create(
                    model="gpt-realtime-2.1-mini", voice="marin", input="hello", response_format="pcm"
                )
            assert another.value.param == "model"
