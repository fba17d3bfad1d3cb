"""Responses of a Realtime conversation: every event in its place."""

import asyncio
import json

import pytest

from tests.twin.realtime import MESSAGE, audio_in, kinds, talking
from tests.virtual import virtual_time
from voiceagent.twin import Script, ScriptedEngines
from voiceagent.twin.ports import FunctionCall


@virtual_time
async def test_an_answer_in_audio():
    """The events come in the service's order, and agree with each other and with the engines."""
    async with talking(Script(replies=["Hello to you."])) as talk:
        asked = await talk.say("hello")
        await talk.send("response.create")
        events = await talk.answered()
        assert kinds(events) == MESSAGE
        created, added, in_chain, part = events[:4]
        response_id, item_id = created["response"]["id"], added["item"]["id"]
        assert (created["response"]["status"], created["response"]["output"]) == ("in_progress", [])
        assert (added["item"]["status"], added["item"]["content"]) == ("in_progress", [])
        assert in_chain["previous_item_id"] == asked
        assert part["part"] == {"type": "audio", "transcript": ""}
        assert response_id.startswith("resp_")
        assert {event["response_id"] for event in events if "response_id" in event} == {response_id}
        assert {event["item_id"] for event in events if "item_id" in event} == {item_id}
        assert {event["output_index"] for event in events if "output_index" in event} == {0}
        deltas = [event["delta"] for event in events if event["type"].endswith("transcript.delta")]
        assert deltas == ["Hello ", "to ", "you."]
        assert audio_in(events) == talk.engines.audio("Hello to you.")
        done = events[-2]["response"]
        content = [{"type": "output_audio", "transcript": "Hello to you."}]
        assert [item["content"] for item in done["output"]] == [content]
        assert (done["status"], done["status_details"], done["output"][0]["status"]) == ("completed", None, "completed")
        assert done["conversation_id"].startswith("conv_")
        assert done["usage"]["output_token_details"] == {"text_tokens": 3, "audio_tokens": 15}
        assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + 18


@virtual_time
async def test_sentences_are_spoken_one_by_one():
    """A sentence's audio follows its words; the next one's words come behind it."""
    async with talking(Script(replies=["This is the first one. And here is another."])) as talk:
        await talk.say("hello")
        await talk.send("response.create")
        events = await talk.answered()
        words, audio = MESSAGE[4:6]
        assert kinds(events) == [*MESSAGE[:4], words, audio, words, audio, *MESSAGE[6:]]
        assert [entry.detail for entry in talk.engines.of("tts_request")] == [
            "This is the first one.", "And here is another.",
        ]  # fmt: skip


@virtual_time
async def test_an_answer_in_text():
    """In the text modality nothing is spoken."""
    async with talking(Script(replies=["Hello to you."])) as talk:
        await talk.say("hello")
        await talk.send("response.create", response={"output_modalities": ["text"]})
        events = await talk.answered()
        assert kinds(events) == [
            *MESSAGE[:4], "response.output_text.delta", "response.output_text.done", *MESSAGE[8:],
        ]  # fmt: skip
        assert events[3]["part"] == {"type": "text", "text": ""}
        assert events[-2]["response"]["output"][0]["content"] == [{"type": "output_text", "text": "Hello to you."}]
        assert talk.engines.of("tts_request") == []


@virtual_time
async def test_the_model_sees_the_conversation():
    """Instructions, what was said by both sides, and the functions' answers reach the engine as messages."""
    engines = ScriptedEngines(Script(replies=["One.", "Two."]))
    async with talking(engines=engines) as talk:
        await talk.update(instructions="Be brief.")
        await talk.say("first")
        await talk.send("response.create")
        await talk.answered()
        await talk.say("second")
        await talk.send("response.create", response={"instructions": "Be loud."})
        await talk.answered()
        said = [
            {"role": "user", "content": "first"}, {"role": "assistant", "content": "One."},
            {"role": "user", "content": "second"},
        ]  # fmt: skip
        first, second = (entry.detail for entry in engines.of("llm_request"))
        assert first == [{"role": "system", "content": "Be brief."}, *said[:1]]
        assert second == [{"role": "system", "content": "Be loud."}, *said]


@virtual_time
async def test_a_function_is_called():
    """A call is an item of its own and ends the response; its answer goes to the model with the call."""

    class Noting(ScriptedEngines):
        async def reply(self, messages, tools):
            offered.append(tools)
            async for token in super().reply(messages, tools):
                yield token

    offered = []
    engines = Noting(Script(replies=["-", "It is ten."], llm_call={1: FunctionCall("clock", '{"zone": "UTC"}')}))
    async with talking(engines=engines) as talk:
        await talk.update(tools=[{"type": "function", "name": "clock", "parameters": {"type": "object"}}])
        await talk.say("what time is it")
        await talk.send("response.create")
        events = await talk.answered()
        assert kinds(events) == [
            "response.created", "response.output_item.added", "conversation.item.added",
            "response.function_call_arguments.delta", "response.function_call_arguments.done",
            "conversation.item.done", "response.output_item.done", "response.done", "rate_limits.updated",
        ]  # fmt: skip
        assert (events[1]["item"]["type"], events[1]["item"]["arguments"]) == ("function_call", "")
        call = events[-3]["item"]
        assert (call["name"], call["arguments"], call["status"]) == ("clock", '{"zone": "UTC"}', "completed")
        assert events[-2]["response"]["output"] == [call]
        answer = {"type": "function_call_output", "call_id": call["call_id"], "output": "10:00"}
        await talk.send("conversation.item.create", item=answer)
        await talk.take(2)
        await talk.send("response.create", response={"tool_choice": "none"})
        events = await talk.answered()
        assert events[-2]["response"]["output"][0]["content"][0]["transcript"] == "It is ten."
        function = {"name": "clock", "parameters": {"type": "object"}}
        assert offered == [({"type": "function", "function": function},), ()]
        assert engines.of("llm_request")[1].detail[-2:] == [
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": call["call_id"], "type": "function", "function": {"name": "clock", "arguments": '{"zone": "UTC"}'}}
            ]},
            {"role": "tool", "tool_call_id": call["call_id"], "content": "10:00"},
        ]  # fmt: skip


@virtual_time
async def test_one_response_at_a_time():
    """A second response in the conversation is refused while one is active, and none can be cancelled when none is."""
    async with talking(Script(replies=["word " * 50])) as talk:
        await talk.send("response.cancel", event_id="early")
        assert await talk.refused() == {
            "type": "invalid_request_error", "code": "response_cancel_not_active", "param": None,
            "message": "Cancellation failed: no active response found", "event_id": "early",
        }  # fmt: skip
        await talk.say("hello")
        await talk.send("response.create")
        (created,) = await talk.take(1)
        await talk.send("response.create", event_id="mine")
        error = await talk.refused()
        assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "mine")
        assert created["response"]["id"] in error["message"]


@virtual_time
async def test_a_cancelled_response():
    """Where it stands, it ends: what is open is closed in order, the engines stop, and another one may begin at once."""
    script = Script(replies=["These are a few words. " + "word " * 50, "Again."], llm_token_ms=100)
    async with talking(script) as talk:
        await talk.say("hello")
        await talk.send("response.create")
        events = await talk.until("response.output_audio.delta")
        await talk.send("response.cancel", response_id=events[0]["response"]["id"])
        await talk.send("response.create")
        events += await talk.answered()
        assert kinds(events) == MESSAGE
        done = events[-2]["response"]
        assert done["status"] == "cancelled"
        assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        assert done["output"][0]["status"] == "incomplete"
        assert done["output"][0]["content"][0]["transcript"].startswith("These are a few words.")
        assert (await talk.answered())[-2]["response"]["output"][0]["content"][0]["transcript"] == "Again."
        assert [entry.detail for entry in talk.engines.of("llm_cancelled")] == [1]


@pytest.mark.parametrize("stalls", [{"llm_stall": {1}}, {"tts_stall": {1}}])
def test_cancelling_and_leaving_stop_the_engines(stalls):
    """An engine that does not answer is left alone, whether the client cancels or goes."""

    @virtual_time
    async def run():
        engines = ScriptedEngines(Script(**stalls))
        stage = next(iter(stalls)).removesuffix("_stall")
        async with talking(engines=engines) as talk:
            await talk.say("hello")
            await talk.send("response.create")
            await talk.take(1)
            await asyncio.sleep(1)
            await talk.send("response.cancel")
            events = await talk.answered()
            assert events[-2]["response"]["status"] == "cancelled"
            await asyncio.sleep(0.01)
            assert len(engines.of(f"{stage}_cancelled")) == 1
            engines.script.llm_stall = {2}
            await talk.send("response.create")
            await talk.take(1)
            await asyncio.sleep(1)
        assert engines.of("llm_cancelled")[-1].detail == 2

    run()


@virtual_time
async def test_input_of_its_own():
    """A response may be given other items, and refer to those of the conversation; an unknown one is refused."""
    async with talking() as talk:
        await talk.say("not this")
        known = await talk.say("but this")
        message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "and this"}]}
        given = [{"type": "item_reference", "id": known}, message]
        order = {"conversation": "none", "input": given, "instructions": ""}
        await talk.send("response.create", response=order)
        await talk.answered()
        assert talk.engines.of("llm_request")[0].detail == [
            {"role": "user", "content": "but this"}, {"role": "user", "content": "and this"},
        ]  # fmt: skip
        await talk.send("response.create", response={"input": [{"type": "item_reference", "id": "item_no"}]})
        error = await talk.refused()
        assert (error["code"], error["param"]) == ("item_not_found", "response.input[0].id")


@virtual_time
async def test_a_limit_of_tokens():
    """A response that reaches it is incomplete, and what was said until then is spoken."""
    async with talking(Script(replies=["one two three four"])) as talk:
        await talk.say("count")
        await talk.send("response.create", response={"max_output_tokens": 2})
        done = (await talk.answered())[-2]["response"]
        assert (done["status"], done["status_details"]["reason"]) == ("incomplete", "max_output_tokens")
        assert done["output"][0]["content"][0]["transcript"] == "one two "
        assert [entry.detail for entry in talk.engines.of("tts_request")] == ["one two"]


@pytest.mark.parametrize("script", [{"llm_error": {1: 503}}, {"tts_error": {1: 500}}, {"llm_break": {1: 1}}])
def test_an_engine_that_fails(script):
    """The response fails, what was begun is closed, and the next one succeeds."""

    @virtual_time
    async def run():
        async with talking(Script(**script)) as talk:
            await talk.say("hello")
            await talk.send("response.create")
            events = await talk.answered()
            done = events[-2]["response"]
            assert (done["status"], done["status_details"]["error"]["code"]) == ("failed", "scripted")
            assert [item["status"] for item in done["output"]] == ["incomplete"] * ("llm_error" not in script)
            await talk.send("response.create")
            assert (await talk.answered())[-2]["response"]["status"] == "completed"

    run()


@pytest.mark.parametrize(
    ("response", "param"),
    [
        ([], "response"),
        ({"output_modalities": ["audio", "text"]}, "response.output_modalities"),
        ({"max_output_tokens": 0}, "response.max_output_tokens"),
        ({"conversation": "other"}, "response.conversation"),
        ({"metadata": {"a": 1}}, "response.metadata"),
        ({"audio": {"output": {"speed": 9}}}, "response.audio.output.speed"),
        ({"audio": {"output": "loud"}}, "response.audio"),
        ({"tools": ["x"]}, "response.tools"),
        ({"input": {}}, "response.input"),
        ({"input": [{"type": "message", "role": "nobody", "content": []}]}, "response.input[0].role"),
    ],
)
def test_what_a_response_may_not_ask(response, param):
    """It is refused with the parameter that is wrong; nothing begins."""

    @virtual_time
    async def run():
        async with talking() as talk:
            await talk.connection.send_raw(json.dumps({"type": "response.create", "response": response}))
            assert (await talk.refused())["param"] == param
            await talk.send("response.create")
            assert (await talk.take(1))[0]["type"] == "response.created"

    run()
