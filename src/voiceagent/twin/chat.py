"""``POST /v1/chat/completions``: streamed and not, with usage and function calls."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voiceagent.twin.caching import PromptCache, tokens_of
from voiceagent.twin.catalogue import Catalogue
from voiceagent.twin.errors import error_body, identifier
from voiceagent.twin.http import BadRequest, EventStream, event, joined, json_body, object_of, objects_of, while_there
from voiceagent.twin.ports import EngineError, Engines, FunctionCall

UNLIMITED = 100_000


class Chat:
    """The endpoint; parameters that it does not know are ignored."""

    def __init__(self, engines: Engines, catalogue: Catalogue, cache: PromptCache) -> None:
        self._engines = engines
        self._catalogue = catalogue
        self._cache = cache

    async def __call__(self, request: Request) -> Response:
        """Answer. An engine that refuses does so before the status line."""
        body = await json_body(request)
        messages = objects_of(body, "messages")
        if not messages:
            raise BadRequest("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
        model = self._catalogue.check(body.get("model"), "llm")
        messages = [plain(message) for message in messages]
        tokens = self._engines.reply(messages, objects_of(body, "tools"))
        first = await while_there(request, anext(tokens, None))
        cached = self._cache.cached_tokens(body.get("prompt_cache_key"), messages)
        completion = _Completion(body, model, sum(map(tokens_of, messages)), cached)
        if body.get("stream"):
            return EventStream(completion.events(joined(first, tokens)))
        whole = await while_there(request, completion.whole(joined(first, tokens)))
        return JSONResponse(whole, headers={"x-request-id": identifier("req")})


def plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message whose content, if it comes in parts, is the text of them."""
    content = message.get("content")
    return {**message, "content": text_of(content)} if isinstance(content, list) else dict(message)


def text_of(parts: Sequence[Any]) -> str:
    """Return the texts of content parts; images and sounds have none."""
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts if isinstance(part, dict))


class _Completion:
    """The shapes of one completion."""

    def __init__(self, body: Mapping[str, Any], model: str, prompt_tokens: int, cached_tokens: int) -> None:
        self._base = {"id": identifier("chatcmpl"), "created": int(time.time()), "model": model}
        self._tells_usage = bool(object_of(body, "stream_options").get("include_usage"))
        self._prompt_tokens = prompt_tokens
        self._cached_tokens = cached_tokens
        self._count = 0
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        self._limit = limit if isinstance(limit, int) and limit > 0 else UNLIMITED

    def _usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self._prompt_tokens, "completion_tokens": self._count,
            "total_tokens": self._prompt_tokens + self._count,
            "prompt_tokens_details": {"cached_tokens": self._cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
            },
        }  # fmt: skip

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**self._base, "object": "chat.completion.chunk", "choices": [choice]})

    async def events(self, tokens: AsyncGenerator[str | FunctionCall]) -> AsyncGenerator[bytes]:
        """Stream it."""
        yield self._chunk({"role": "assistant", "content": ""})
        finish, calls = "stop", 0
        try:
            async with aclosing(tokens):
                async for token in tokens:
                    if isinstance(token, FunctionCall):
                        finish = "tool_calls"
                        yield self._chunk({"tool_calls": [{"index": calls, **_call(token)}]})
                        calls += 1
                        continue
                    if self._count >= self._limit:
                        finish = "length"
                        break
                    self._count += 1
                    yield self._chunk({"content": token})
        except EngineError as error:
            yield event(error_body(error.message, kind="server_error", code=error.code))
            return
        yield self._chunk({}, finish)
        if self._tells_usage:
            yield event({**self._base, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    async def whole(self, tokens: AsyncGenerator[str | FunctionCall]) -> dict[str, Any]:
        """Return it at once. Raises `EngineError`."""
        text, calls, finish = "", list[dict[str, Any]](), "stop"
        async with aclosing(tokens):
            async for token in tokens:
                if isinstance(token, FunctionCall):
                    calls.append(_call(token))
                    finish = "tool_calls"
                elif self._count >= self._limit:
                    finish = "length"
                    break
                else:
                    self._count += 1
                    text += token
        message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        return {**self._base, "object": "chat.completion", "choices": [choice], "usage": self._usage()}


def _call(call: FunctionCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": identifier("call"), "type": "function", "function": function}
