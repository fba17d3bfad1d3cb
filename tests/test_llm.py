"""The language model's two back-ends through the real SDK: what is asked, what is understood, and how it fails."""

import asyncio
import json
from contextlib import aclosing, asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from tests.virtual import virtual_time
from tests.world import settings_for_tests
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import Clients
from voiceagent.stages.llm import ChatModel
from voiceagent.stages.ports import Acquired, Delta, StageError, ToolCall
from voiceagent.twin import TwinServer

ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What time is it?"}]
TOOL = {
    "type": "function",
    "function": {"name": "clock", "description": "Tells the time.", "parameters": {"type": "object", "properties": {}}},
}
FLAT = {
    "type": "function", "name": "clock", "description": "Tells the time.", "strict": False,
    "parameters": {"type": "object", "properties": {}},
}  # fmt: skip
USAGE = {
    "chat": {
        "prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2},
    },
    "responses": {
        "input_tokens": 9, "output_tokens": 5, "total_tokens": 14,
        "input_tokens_details": {"cached_tokens": 4}, "output_tokens_details": {"reasoning_tokens": 2},
    },
}  # fmt: skip
COUNTED = {"prompt_tokens": 9, "completion_tokens": 5, "cached_tokens": 4, "reasoning_tokens": 2}
both = pytest.mark.parametrize("api", ["chat", "responses"])


def chunk(delta, finish=None):
    """A chunk of a chat completion."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def text_of(api, *words, finish=None):
    """The events of an answer in words; `finish` is why it ended early, in the words of chat completions."""
    if api == "chat":
        end = [chunk({}, finish or "stop"), {"choices": [], "usage": USAGE["chat"]}]
        return [chunk({"role": "assistant", "content": ""}), *(chunk({"content": word}) for word in words), *end]
    reason = {"length": "max_output_tokens"}.get(finish, finish)
    response = {"id": "resp_1", "usage": USAGE["responses"], "incomplete_details": {"reason": reason}}
    return [
        {"type": "response.created", "response": {"id": "resp_1", "error": None}},
        *({"type": "response.output_text.delta", "delta": word} for word in words),
        {"type": "response.output_text.done", "text": "".join(words)},
        {"type": f"response.{'incomplete' if finish else 'completed'}", "response": response},
    ]


class Service:
    """Answers every request with the same events; `bodies` are the requests. `stays`: the body has no end."""

    def __init__(self, events, *, stays=False):
        self.events = events
        self.stays = stays
        self.bodies = []
        self.left = asyncio.Event()

    async def answer(self, request):
        """One request."""
        self.bodies.append(await request.json())
        chat = request.url.path.endswith("completions")
        return StreamingResponse(self._stream(chat), media_type="text/event-stream")

    async def _stream(self, chat):
        for event in self.events:
            yield b"data: " + json.dumps(event).encode() + b"\n\n"
        try:
            await asyncio.sleep(3_600 if self.stays else 0)
        except asyncio.CancelledError:
            self.left.set()
            raise
        if chat:
            yield b"data: [DONE]\n\n"


@asynccontextmanager
async def model(service, api, **settings):
    """The language model of the settings over a service."""
    paths = ("/v1/chat/completions", "/v1/responses")
    app = Starlette(routes=[Route(path, service.answer, methods=["POST"]) for path in paths])
    async with TwinServer(app) as server:
        chosen = settings_for_tests(llm_base_url=server.base_url, llm_api=api, **settings)
        clients = Clients(chosen, server.base_url)
        try:
            yield cascade(clients, chosen).llm
        finally:
            await clients.aclose()


async def answered(llm, messages=ASK, tools=()):
    """All deltas of an answer."""
    async with llm.reply(messages, tools) as deltas:
        return [delta async for delta in deltas]


def asked(api, messages=ASK, tools=(), **settings):
    """The request that these settings make."""
    service = Service(text_of(api, "Nine."))

    @virtual_time
    async def run():
        async with model(service, api, **settings) as llm:
            await answered(llm, messages, tools)

    run()
    return service.bodies[0]


# ------------------------------------------------------------------------------------------ what is asked
def test_chat_for_a_known_model():
    """A known model is asked with the parameters of its class for speed, and without padding."""
    body = asked("chat", tools=[TOOL])
    assert len(body.pop("prompt_cache_key")) == 32
    assert body == {
        "model": "gpt-6-luna", "messages": ASK, "tools": [TOOL], "stream": True, "max_completion_tokens": 1024,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
        "reasoning_effort": "none", "verbosity": "low",
    }  # fmt: skip


def test_responses_for_a_known_model():
    """The same in the shape of responses, kept by nobody."""
    body = asked("responses", tools=[TOOL])
    assert body.pop("prompt_cache_key") == asked("chat")["prompt_cache_key"]
    assert body == {
        "model": "gpt-6-luna", "instructions": "Be brief.", "input": [ASK[1]], "tools": [FLAT], "stream": True,
        "store": False, "max_output_tokens": 1024, "stream_options": {"include_obfuscation": False},
        "reasoning": {"effort": "none"}, "text": {"verbosity": "low"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"openai_base_url": "https://api.openai.com/v1"}, "max_completion_tokens"),
        ({"azure_endpoint": "https://r.openai.azure.com", "azure_api_key": "az"}, "max_completion_tokens"),
        ({"openai_base_url": "http://vllm.example/v1"}, "max_tokens"),
    ],
)
def test_how_a_limit_is_called(settings, name):
    """The service and Azure refuse the old name for newer models; servers of others know that one at least."""
    chosen = settings_for_tests(backend="openai", openai_api_key="sk-x", llm_model="my-llama", **settings)
    options = ChatModel(Clients(chosen), chosen)._options
    assert {"max_tokens", "max_completion_tokens"} & set(options) == {name}


def test_an_unknown_model_gets_what_is_set():
    """A model that nobody knows is sent nothing that was not set, and the longest reply as every server knows it."""
    assert asked("chat", llm_model="my-llama") == {
        "model": "my-llama", "messages": ASK, "stream": True, "max_tokens": 1024,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    assert asked("responses", llm_model="my-llama") == {
        "model": "my-llama", "instructions": "Be brief.", "input": [ASK[1]], "stream": True, "store": False,
        "max_output_tokens": 1024,
    }  # fmt: skip
    chosen = {"llm_reasoning_effort": "high", "llm_verbosity": "high", "llm_service_tier": "priority"}
    chat = asked("chat", llm_model="my-llama", **chosen)
    assert (chat["reasoning_effort"], chat["verbosity"], chat["service_tier"]) == ("high", "high", "priority")
    body = asked("responses", llm_model="my-llama", **chosen)
    assert (body["reasoning"], body["text"], body["service_tier"]) == (
        {"effort": "high"}, {"verbosity": "high"}, "priority",
    )  # fmt: skip


@both
def test_unset_is_never_sent(api):
    """A known model's parameters can be kept back."""
    body = asked(api, llm_reasoning_effort="unset", llm_verbosity="unset", llm_prompt_cache=False)
    assert not body.keys() & {"reasoning_effort", "reasoning", "verbosity", "text", "prompt_cache_key", "service_tier"}


def test_the_cache_key_is_the_conversations():
    """Later turns have the key of the first; another beginning has another."""
    later = [*ASK, {"role": "assistant", "content": "Nine."}, {"role": "user", "content": "Thanks."}]
    other = [ASK[0], {"role": "user", "content": "Thanks."}]
    keys = [asked("chat", messages)["prompt_cache_key"] for messages in (ASK, later, other)]
    assert keys[0] == keys[1] != keys[2]


def test_a_conversation_in_items():
    """Calls and their results become items of their own; an assistant's words stay with its calls."""
    call = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    messages = [
        *ASK,
        {"role": "assistant", "content": "Let me see.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "nine"},
        {"role": "assistant", "content": None, "tool_calls": [{**call, "id": "call_2"}]},
        {"role": "system", "content": "Hurry."},
    ]
    assert asked("responses", messages)["input"] == [
        ASK[1],
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "call_1", "name": "clock", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "nine"},
        {"type": "function_call", "call_id": "call_2", "name": "clock", "arguments": "{}"},
        {"role": "system", "content": "Hurry."},
    ]
    assert "instructions" not in asked("responses", [ASK[1]])


# ------------------------------------------------------------------------------------------ what is understood
@both
def test_words_connection_and_usage(api):
    """The first words come with their connection, nothing before them; the end brings what it cost."""

    @virtual_time
    async def run():
        async with model(Service(text_of(api, "It is", " nine.")), api) as llm:
            first, second = await answered(llm), await answered(llm)
            assert [delta.text for delta in first] == ["It is", " nine.", ""]
            assert (first[0].acquired.reused, second[0].acquired) == (False, Acquired(0, reused=True))
            assert [delta.acquired for delta in first[1:]] == [None, None]
            assert first[2] == Delta(usage=COUNTED)

    run()


@pytest.mark.parametrize(("finish", "counted"), [("length", "llm_cut"), ("content_filter", "llm_filtered")])
@both
def test_an_answer_that_is_cut(api, finish, counted):
    """An answer that reaches its limit or is filtered ends like any other, and is counted."""

    @virtual_time
    async def run():
        async with model(Service(text_of(api, "It is", finish=finish)), api) as llm:
            deltas = await answered(llm)
            assert "".join(delta.text for delta in deltas) == "It is"
            usage = {name: count for delta in deltas for name, count in delta.usage.items()}
            assert usage == {**COUNTED, counted: 1}

    run()


CALLS = {
    "chat": [
        chunk({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "clock", "arguments": ""}}]}),
        chunk({"tool_calls": [{"index": 1, "id": "call_2", "function": {"name": "sum", "arguments": '{"a"'}}]}),
        chunk({"tool_calls": [{"index": 1, "function": {"arguments": ": 1}"}}]}, "tool_calls"),
    ],
    "responses": [
        {"type": "response.function_call_arguments.done", "item_id": "fc_1", "arguments": ""},
        *(
            {"type": "response.output_item.done", "item": {"type": "function_call", "call_id": key, "name": name, "arguments": a}}
            for key, name, a in (("call_1", "clock", ""), ("call_2", "sum", '{"a": 1}'))
        ),
        {"type": "response.output_item.done", "item": {"type": "message", "content": []}},
        {"type": "response.completed", "response": {}},
    ],
}  # fmt: skip


@both
def test_calls(api):
    """Functions that the model asks for are told whole, each one once, with the connection if no words had it."""

    @virtual_time
    async def run():
        async with model(Service(CALLS[api]), api) as llm:
            deltas = await answered(llm, tools=[TOOL])
            calls = [call for delta in deltas for call in delta.calls]
            assert calls == [ToolCall("call_1", "clock", "{}"), ToolCall("call_2", "sum", '{"a": 1}')]
            assert [delta.acquired is not None for delta in deltas] == [True, False][: len(deltas)]

    run()


@pytest.mark.parametrize(
    ("api", "events"),
    [
        ("chat", [chunk({"refusal": "I cannot."}), chunk({}, "stop")]),
        ("responses", [{"type": "response.refusal.delta", "delta": "I cannot."}, *text_of("responses")[-1:]]),
    ],
)
def test_a_refusal_is_said(api, events):
    """What a model says in place of an answer is its answer: silence would be worse."""

    @virtual_time
    async def run():
        async with model(Service(events), api) as llm:
            assert "".join(delta.text for delta in await answered(llm)) == "I cannot."

    run()


# ------------------------------------------------------------------------------------------ how it fails
@pytest.mark.parametrize(
    ("events", "code", "retryable"),
    [
        ([{"type": "response.failed", "response": {"error": {"code": "server_error", "message": "Oh."}}}], "server_error", True),
        ([{"type": "response.failed", "response": {"error": {"code": "insufficient_quota"}}}], "insufficient_quota", False),
        ([{"type": "error", "code": "rate_limit_exceeded", "message": "Oh.", "param": None}], "rate_limit_exceeded", True),
        ([{"type": "error", "code": None, "message": "Oh."}], "error", True),
        ([{"type": "response.in_progress", "response": {}}], "broken_off", True),
    ],
)  # fmt: skip
def test_responses_that_break_off(events, code, retryable):
    """A failure after some words is the stage's, with the words before it; so is an end that nobody announced."""

    @virtual_time
    async def run():
        begun = [{"type": "response.output_text.delta", "delta": "It"}]
        async with model(Service([*begun, *events]), "responses") as llm:
            said = []
            with pytest.raises(
                StageError, match=r"^The language model at 127\.0\.0\.1:\d+ broke off its answer"
            ) as error:
                async with llm.reply(ASK, []) as deltas:
                    async for delta in deltas:
                        said.append(delta.text)  # noqa: PERF401 - what came before the failure counts
            assert (said, error.value.code, error.value.retryable) == (["It"], code, retryable)

    run()


@pytest.mark.parametrize(
    ("events", "code"),
    [([], "broken_off"), ([{"choices": []}], "broken_off"), ([[]], "unreadable"), ([{"choices": ["x"]}], "unreadable")],
)
def test_chat_that_breaks_off(events, code):
    """An answer that stops before it is said to be whole has broken off, and one that makes no sense cannot be read."""

    @virtual_time
    async def run():
        async with model(Service([chunk({"content": "It"}), *events]), "chat") as llm:
            with pytest.raises(StageError, match=r"^The language model at 127\.0\.0\.1:\d+ ") as error:
                await answered(llm)
            assert (error.value.code, error.value.retryable) == (code, True)

    run()


@virtual_time
async def test_a_server_without_reasons():
    """A server that never says why an answer ended tells by its usage that it has."""
    async with model(
        Service([chunk({"content": "It"}), {"choices": [], "usage": {}}, {"usage": USAGE["chat"]}]), "chat"
    ) as llm:
        assert [delta.text for delta in await answered(llm)] == ["It", ""]


@virtual_time
async def test_a_body_without_an_end():
    """After a response's last event nothing is waited for but the connection's sake, and that not long."""
    loop = asyncio.get_running_loop()
    async with model(Service(text_of("responses", "Nine."), stays=True), "responses") as llm:
        began_s = loop.time()
        assert [delta.text for delta in await answered(llm)] == ["Nine.", ""]
        assert loop.time() - began_s == pytest.approx(0.1, abs=1e-6)


@both
def test_leaving_closes_the_request(api):
    """Who leaves an answer in its middle leaves nothing running: the service sees it at once."""

    @virtual_time
    async def run():
        service = Service(text_of(api, "It is")[:2], stays=True)
        async with model(service, api) as llm:
            async with llm.reply(ASK, []) as deltas, aclosing(deltas):
                assert (await anext(deltas)).text == "It is"
                left_s = asyncio.get_running_loop().time()
            await service.left.wait()
            assert asyncio.get_running_loop().time() == left_s
        await asyncio.sleep(0.1)  # the SDK's generators close

    run()
