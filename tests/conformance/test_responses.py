"""The Responses API: events in order and numbered, functions, a conversation that the server keeps."""

import json

import openai
import pytest

from tests.conformance.wire import order

SAY = "Say hello."
CLOCK = {
    "type": "function", "name": "get_time", "description": "Tells the time.", "strict": False,
    "parameters": {"type": "object", "properties": {}},
}  # fmt: skip
FRAME = ["response.created", "response.in_progress"]
MESSAGE = [
    "response.output_item.added", "response.content_part.added", "delta", "response.output_text.done",
    "response.content_part.done", "response.output_item.done",
]  # fmt: skip
CALL = ["response.output_item.added", "delta", "response.function_call_arguments.done", "response.output_item.done"]


@pytest.fixture
async def create(target):
    """``responses.create`` with the model under test."""
    await target.needs("responses")

    async def create(**fields):
        return await target.client.responses.create(**{"model": target.models["llm"], **fields})

    return create


async def stream(create, **fields):
    """All events of a streamed response, without those of reasoning, and numbered without a gap."""
    events = [event async for event in await create(stream=True, **fields)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    reasoning = {
        event.output_index for event in events if getattr(getattr(event, "item", None), "type", "") == "reasoning"
    }
    return [event for event in events if getattr(event, "output_index", None) not in reasoning]


def kinds(events):
    """The kinds in order."""
    return order([{"type": event.type} for event in events])


async def test_stream(create):
    """Created, in progress, the item, its part, words, and all of it closed in turn; the end holds the whole."""
    events = await stream(create, input=SAY)
    assert kinds(events) == [*FRAME, *MESSAGE, "response.completed"]
    created, last = events[0].response, events[-1].response
    assert (created.status, last.status) == ("in_progress", "completed")
    assert created.id == last.id
    assert created.output == []
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text.strip()
    assert text == last.output_text
    (done,) = (event for event in events if event.type == "response.output_text.done")
    assert done.text == text
    assert {event.item_id for event in events if hasattr(event, "item_id")} == {done.item_id}
    assert last.usage.total_tokens == last.usage.input_tokens + last.usage.output_tokens


async def test_items(create):
    """An item is in progress and empty at first, and complete in the end."""
    events = await stream(create, input=SAY)
    (added,) = (event for event in events if event.type == "response.output_item.added")
    (done,) = (event for event in events if event.type == "response.output_item.done")
    assert (added.item.type, added.item.role, added.item.status, added.item.content) == (
        "message", "assistant", "in_progress", [],
    )  # fmt: skip
    assert (done.item.id, done.item.status) == (added.item.id, "completed")
    assert [part.type for part in done.item.content] == ["output_text"]


async def test_whole(create):
    """Without a stream there is the response alone."""
    whole = await create(input=[{"role": "user", "content": SAY}], instructions="You are friendly.")
    assert (whole.object, whole.status, whole.error) == ("response", "completed", None)
    assert whole.instructions == "You are friendly."
    assert whole.output_text.strip()
    assert whole.usage.output_tokens > 0


async def test_function(create):
    """A call is an item with streamed arguments; its result in the next request goes on from it."""
    options = {"tools": [CLOCK], "extra_body": {"reasoning": {"effort": "none"}}}
    ask = {"role": "user", "content": "What time is it?"}
    events = await stream(create, input=[ask], tool_choice="required", **options)
    assert kinds(events) == [*FRAME, *CALL, "response.completed"]
    call = events[-2].item
    assert (call.type, call.name, call.status) == ("function_call", "get_time", "completed")
    assert json.loads(call.arguments) == {}
    assert call.call_id
    (done,) = (event for event in events if event.type == "response.function_call_arguments.done")
    assert (done.item_id, done.arguments) == (call.id, call.arguments)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "twelve o'clock"}
    given = {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
    answer = await create(input=[ask, given, result], **options)
    assert answer.output_text.strip()


async def test_previous_response(create):
    """A stored response is gone on from by its id; one that nobody knows is a bad request."""
    first = await create(input="My name is Ada.", store=True)
    second = await create(input="What is my name?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert second.id != first.id
    assert second.output_text.strip()
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as refused:
        await create(input=SAY, previous_response_id="resp_0123456789abcdef0123456789abcdef")
    assert refused.value.param == "previous_response_id"
    assert refused.value.code == "previous_response_not_found"


async def test_function_result_by_previous_response(create):
    """A call's result alone is enough where the call is stored."""
    options = {"tools": [CLOCK], "extra_body": {"reasoning": {"effort": "none"}}}
    called = await create(input="What time is it?", tool_choice="required", **options)
    (call,) = (item for item in called.output if item.type == "function_call")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "twelve o'clock"}
    answer = await create(input=[result], previous_response_id=called.id, **options)
    assert answer.output_text.strip()


async def test_known_parameters_are_taken(create):
    """What current models take is refused by nobody."""
    answer = await create(
        input=SAY, store=False, max_output_tokens=400, text={"verbosity": "low"}, reasoning={"effort": "none"},
        prompt_cache_key="a-conversation",
    )  # fmt: skip
    assert answer.output_text.strip()


async def test_token_limit(create):
    """An answer that reaches its limit is incomplete and says why, in its last event as well."""
    events = await stream(
        create, input="Tell me a long story.", max_output_tokens=16, extra_body={"reasoning": {"effort": "none"}}
    )
    last = events[-1]
    assert last.type in {"response.incomplete", "response.completed"}
    if last.type == "response.incomplete":
        assert (last.response.status, last.response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


@pytest.mark.parametrize("streamed", [False, True])
async def test_bad_requests(create, streamed):
    """Without any input there is nothing to respond to, and the error says so before any event."""
    with pytest.raises(openai.BadRequestError) as refused:
        await create(stream=streamed)
    assert refused.value.type == "invalid_request_error"
    assert refused.value.body["message"]
