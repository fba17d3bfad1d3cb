"""``POST /v1/responses``: streamed and not, with function calls and responses that are kept to go on from."""

import itertools
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voiceagent.twin.caching import PromptCache, tokens_of
from voiceagent.twin.catalogue import Catalogue
from voiceagent.twin.errors import identifier
from voiceagent.twin.http import BadRequest, EventStream, joined, json_body, named_event, objects_of, while_there
from voiceagent.twin.ports import EngineError, Engines, FunctionCall
from voiceagent.twin.response_input import Kept, Messages, chat_tools, messages_of

UNLIMITED = 100_000
ECHOED: dict[str, Any] = {
    "instructions": None, "max_output_tokens": None, "metadata": {}, "parallel_tool_calls": True,
    "previous_response_id": None, "prompt_cache_key": None, "reasoning": {"effort": None, "summary": None},
    "service_tier": "default", "store": True, "temperature": 1.0, "text": {"format": {"type": "text"}},
    "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled",
}  # fmt: skip
"""Parameters that a response tells, and what they are if not given."""
Event = dict[str, Any]


class ResponsesApi:
    """The endpoint; parameters that it does not know are ignored."""

    def __init__(self, engines: Engines, catalogue: Catalogue, cache: PromptCache) -> None:
        self._engines = engines
        self._catalogue = catalogue
        self._cache = cache
        self._kept = Kept()

    async def __call__(self, request: Request) -> Response:
        """Answer. An engine that refuses does so before the status line."""
        body = await json_body(request)
        model = self._catalogue.check(body.get("model"), "llm")
        tools, limit, instructions = objects_of(body, "tools"), body.get("max_output_tokens"), body.get("instructions")
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
            raise BadRequest("Invalid 'max_output_tokens': expected a positive integer.", "max_output_tokens")
        said = self._kept.before(body.get("previous_response_id"))
        said += messages_of(body.get("input"), said)
        asked: Messages = [{"role": "system", "content": str(instructions)}] if instructions else []
        asked += said
        tokens = self._engines.reply(asked, chat_tools(tools))
        first = await while_there(request, anext(tokens, None))
        cached = self._cache.cached_tokens(body.get("prompt_cache_key"), asked)
        making = _Making(body, model, sum(map(tokens_of, asked)), cached)
        events = self._keeping(making, said, joined(first, tokens), keep=body.get("store") is not False)
        if body.get("stream"):
            return EventStream(_numbered(events))
        await while_there(request, _through(events))
        if making.failure is not None:
            raise making.failure
        return JSONResponse(making.shape(), headers={"x-request-id": identifier("req")})

    async def _keeping(
        self, making: "_Making", said: Messages, tokens: AsyncGenerator[str | FunctionCall], *, keep: bool
    ) -> AsyncGenerator[Event]:
        async with aclosing(making.events(tokens)) as events:
            async for event in events:
                if keep and event["type"] in ("response.completed", "response.incomplete"):
                    self._kept.keep(making.id, said + making.messages())
                yield event


async def _through(events: AsyncGenerator[Event]) -> None:
    async with aclosing(events):
        async for _ in events:
            pass


async def _numbered(events: AsyncGenerator[Event]) -> AsyncGenerator[bytes]:
    numbers = itertools.count()
    async with aclosing(events):
        async for event in events:
            yield named_event({**event, "sequence_number": next(numbers)})


class _Making:
    """One response being made: its events, and its shape so far."""

    def __init__(self, body: Mapping[str, Any], model: str, input_tokens: int, cached_tokens: int) -> None:
        self.id = identifier("resp")
        self.failure: EngineError | None = None
        self._echo = {name: usual if body.get(name) is None else body[name] for name, usual in ECHOED.items()}
        self._base = {"id": self.id, "object": "response", "created_at": int(time.time()), "model": model}
        self._limit = body.get("max_output_tokens") or UNLIMITED
        self._input_tokens = input_tokens
        self._cached_tokens = cached_tokens
        self._count = 0
        self._status = "in_progress"
        self._output: list[Event] = []
        self._cut = False

    def shape(self) -> Event:
        """Return the response as it is now."""
        failed = None if self.failure is None else {"code": self.failure.code, "message": self.failure.message}
        over = self._status in ("completed", "incomplete")
        return {
            **self._base, **self._echo, "status": self._status, "error": failed, "output": list(self._output),
            "incomplete_details": {"reason": "max_output_tokens"} if self._status == "incomplete" else None,
            "usage": self._usage() if over else None,
        }  # fmt: skip

    def messages(self) -> Messages:
        """Return what was said, as messages."""
        made: Messages = []
        for item in self._output:
            if item["type"] == "message":
                made.append({"role": "assistant", "content": item["content"][0]["text"]})
            else:
                function = {"name": item["name"], "arguments": item["arguments"]}
                call = {"id": item["call_id"], "type": "function", "function": function}
                made.append({"role": "assistant", "content": None, "tool_calls": [call]})
        return made

    def _usage(self) -> Event:
        return {
            "input_tokens": self._input_tokens, "output_tokens": self._count,
            "total_tokens": self._input_tokens + self._count,
            "input_tokens_details": {"cached_tokens": self._cached_tokens, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }  # fmt: skip

    def _whole(self, kind: str) -> Event:
        return {"type": f"response.{kind}", "response": self.shape()}

    async def events(self, tokens: AsyncGenerator[str | FunctionCall]) -> AsyncGenerator[Event]:
        """Stream its events; the last one is completed, incomplete or failed."""
        yield self._whole("created")
        yield self._whole("in_progress")
        message: _Message | None = None
        try:
            async with aclosing(tokens):
                async for token in tokens:
                    if isinstance(token, FunctionCall):
                        for event in self._called(token):
                            yield event
                        continue
                    if self._count >= self._limit:
                        self._cut = True
                        break
                    self._count += 1
                    if message is None:
                        message = _Message(len(self._output))
                        self._output.append(message.item("in_progress"))
                        for event in message.begin():
                            yield event
                    yield message.delta(token)
        except EngineError as error:
            self.failure, self._status = error, "failed"
            yield self._whole("failed")
            return
        self._status = "incomplete" if self._cut else "completed"
        if message is not None:
            self._output[message.index] = message.item(self._status)
            for event in message.end(self._status):
                yield event
        yield self._whole(self._status)

    def _called(self, call: FunctionCall) -> list[Event]:
        index, item_id = len(self._output), identifier("fc")
        item = {
            "id": item_id, "type": "function_call", "status": "completed", "call_id": identifier("call"),
            "name": call.name, "arguments": call.arguments,
        }  # fmt: skip
        self._output.append(item)
        at = {"item_id": item_id, "output_index": index}
        kind = "response.function_call_arguments"
        begun = {**item, "status": "in_progress", "arguments": ""}
        return [
            {"type": "response.output_item.added", "output_index": index, "item": begun},
            {"type": f"{kind}.delta", **at, "delta": call.arguments},
            {"type": f"{kind}.done", **at, "name": call.name, "arguments": call.arguments},
            {"type": "response.output_item.done", "output_index": index, "item": item},
        ]


class _Message:
    """The text of a response."""

    def __init__(self, index: int) -> None:
        self.index = index
        self._id = identifier("msg")
        self._text = ""
        self._at = {"item_id": self._id, "output_index": index, "content_index": 0}

    def _part(self) -> Event:
        return {"type": "output_text", "text": self._text, "annotations": [], "logprobs": []}

    def item(self, status: str) -> Event:
        """Return the item."""
        content = [] if status == "in_progress" and not self._text else [self._part()]
        return {"id": self._id, "type": "message", "status": status, "role": "assistant", "content": content}

    def begin(self) -> list[Event]:
        """Return the events before its first words."""
        return [
            {"type": "response.output_item.added", "output_index": self.index, "item": self.item("in_progress")},
            {"type": "response.content_part.added", **self._at, "part": self._part()},
        ]

    def delta(self, token: str) -> Event:
        """Add to it."""
        self._text += token
        return {"type": "response.output_text.delta", **self._at, "delta": token, "logprobs": []}

    def end(self, status: str) -> list[Event]:
        """Return the events after its last words."""
        return [
            {"type": "response.output_text.done", **self._at, "text": self._text, "logprobs": []},
            {"type": "response.content_part.done", **self._at, "part": self._part()},
            {"type": "response.output_item.done", "output_index": self.index, "item": self.item(status)},
        ]
