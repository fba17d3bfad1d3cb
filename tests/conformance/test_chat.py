"""Chat completions: the order of a stream, usage, functions, and errors."""

import contextlib
import json

import openai
import pytest

SAY = [{"role": "user", "content": "Say hello."}]
CLOCK = {
    "type": "function",
    "function": {
        "name": "get_time", "description": "Tells the time.", "parameters": {"type": "object", "properties": {}},
    },
}  # fmt: skip
ASK = [{"role": "user", "content": "What time is it?"}]


@pytest.fixture
async def create(target):
    """``chat.completions.create`` with the model under test."""
    await target.needs("chat")

    async def create(**fields):
        return await target.client.chat.completions.create(**{"model": target.models["llm"], **fields})

    return create


async def test_stream(create):
    """The role first, then words, then the reason in a chunk without words; one id throughout."""
    chunks = [chunk async for chunk in await create(messages=SAY, stream=True)]
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert choices[0].delta.role == "assistant"
    assert not choices[0].delta.content
    assert "".join(choice.delta.content or "" for choice in choices).strip()
    assert [choice.finish_reason for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert choices[-1].finish_reason == "stop"
    assert not choices[-1].delta.content


async def test_bytes_of_a_stream(target, create):
    """On the wire: events of one line, never compressed, `[DONE]` as the last, and the body ends behind it."""
    async with target.client.chat.completions.with_streaming_response.create(
        model=target.models["llm"], messages=SAY, stream=True
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in response.headers
        assert not target.is_twin or response.headers["x-request-id"]
        lines = [line async for line in response.iter_lines()]
    assert lines[-1 if lines[-1] else -2] == "data: [DONE]"
    assert all(not line or line.startswith("data: ") for line in lines)


async def test_usage_comes_last(create):
    """With `include_usage` one more chunk has no choice but the counts; without it there is none."""
    asked = [chunk async for chunk in await create(messages=SAY, stream=True, stream_options={"include_usage": True})]
    assert asked[-1].choices == []
    usage = asked[-1].usage
    assert usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert not any(chunk.usage for chunk in asked[:-1])
    plain = [chunk async for chunk in await create(messages=SAY, stream=True)]
    assert not any(chunk.usage for chunk in plain)
    assert all(chunk.choices for chunk in plain)


async def test_whole(create):
    """Without a stream there is one answer with its usage."""
    whole = await create(messages=SAY)
    assert whole.object == "chat.completion"
    (choice,) = whole.choices
    assert choice.message.role == "assistant"
    assert choice.message.content.strip()
    assert choice.finish_reason == "stop"
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


async def test_function(create):
    """A streamed call has its id and name at first, its arguments after, and ends the answer; its result goes on."""
    options = {"tools": [CLOCK], "tool_choice": "required", "extra_body": {"reasoning_effort": "none"}}
    name = arguments = call_id = ""
    reasons = []
    async for chunk in await create(messages=ASK, stream=True, **options):
        for choice in chunk.choices:
            reasons.append(choice.finish_reason)
            for call in choice.delta.tool_calls or []:
                assert call.index == 0
                call_id, name = call_id or call.id, name or call.function.name
                arguments += call.function.arguments or ""
    assert (name, reasons[-1]) == ("get_time", "tool_calls")
    assert call_id
    assert json.loads(arguments) == {}
    called = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    messages = [
        *ASK, {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": call_id, "content": "twelve o'clock"},
    ]  # fmt: skip
    answer = await create(messages=messages, tools=[CLOCK], extra_body={"reasoning_effort": "none"})
    assert answer.choices[0].message.content.strip()
    assert answer.choices[0].finish_reason == "stop"


async def test_whole_function(create):
    """The same without a stream: a call in the message, and no words needed."""
    options = {"tools": [CLOCK], "tool_choice": "required", "extra_body": {"reasoning_effort": "none"}}
    choice = (await create(messages=ASK, **options)).choices[0]
    (call,) = choice.message.tool_calls
    assert (call.type, call.function.name, choice.finish_reason) == ("function", "get_time", "tool_calls")


async def test_known_parameters_are_taken(create):
    """What current models take is refused by nobody."""
    answer = await create(
        messages=SAY, stream=True, max_completion_tokens=400, store=False,
        stream_options={"include_usage": True, "include_obfuscation": False},
    )  # fmt: skip
    assert [chunk async for chunk in answer][-1].usage


async def test_unknown_parameters(target, create):
    """A parameter of another server is passed over, or refused by its name; the connection is none the worse."""
    extra = {"parameter_of_another_server": 1}
    if target.is_twin:
        assert (await create(messages=SAY, extra_body=extra)).choices[0].message.content.strip()
    else:
        with contextlib.suppress(openai.BadRequestError):
            await create(messages=SAY, extra_body=extra)
    assert (await create(messages=SAY)).choices[0].message.content.strip()


async def test_token_limit(create):
    """An answer that reaches its limit says so."""
    options = {"messages": SAY, "extra_body": {"max_completion_tokens": 16, "reasoning_effort": "none"}}
    options["messages"] = [{"role": "user", "content": "Tell me a long story."}]
    answer = await create(**options)
    assert answer.choices[0].finish_reason in {"length", "stop"}
    assert answer.usage.completion_tokens <= 16


@pytest.mark.parametrize(("fields", "param"), [({"messages": []}, "messages"), ({"messages": SAY, "model": ""}, None)])
async def test_bad_requests(create, fields, param):
    """What is wrong is a bad request of the service's type, and nothing is streamed."""
    for stream in (False, True):
        with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as refused:
            await create(stream=stream, **fields)
        assert refused.value.type == "invalid_request_error"
        assert refused.value.body["message"]
        assert param is None or param in str(refused.value.param)


async def test_a_stream_can_be_left(create):
    """Who leaves a stream may come again at once."""
    stream = await create(messages=SAY, stream=True)
    async for _ in stream:
        break
    await stream.close()
    assert (await create(messages=SAY)).choices[0].message.content
