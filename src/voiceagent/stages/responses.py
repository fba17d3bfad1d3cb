"""The language model over streamed responses: the same conversation in items, and nothing of it kept by the service."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from voiceagent.settings import Settings
from voiceagent.stages.clients import NAMES, Clients
from voiceagent.stages.codes import Verdict, code_of, verdict
from voiceagent.stages.llm import opened, unended
from voiceagent.stages.parameters import ModelParameters, acquired, counts
from voiceagent.stages.ports import Delta, StageError, ToolCall

DRAIN_S = 0.1
"""For the body's end behind the last event: read to there, the connection can be used again."""
CUT = {"max_output_tokens": "llm_cut", "content_filter": "llm_filtered"}
LAST = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})


class ResponsesModel:
    """`LanguageModel` on ``/responses``, with plain events as `ChatModel` has plain chunks."""

    def __init__(self, clients: Clients, settings: Settings) -> None:
        self._clients = clients
        self._parameters = parameters = ModelParameters(settings)
        self._options: dict[str, Any] = {
            "model": settings.llm_model,
            "stream": True,
            "store": False,
            "max_output_tokens": settings.max_reply_tokens,
        }
        if parameters.known:
            self._options["stream_options"] = {"include_obfuscation": False}
        if parameters.effort:
            self._options["reasoning"] = {"effort": parameters.effort}
        if parameters.verbosity:
            self._options["text"] = {"verbosity": parameters.verbosity}
        if parameters.tier:
            self._options["service_tier"] = parameters.tier

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        """Request an answer; leaving the context closes the request at once. Raises `StageError`."""
        body = {**_conversation(messages), **self._options, **self._parameters.cache_key(messages)}
        if tools:
            body["tools"] = [_flat(tool) for tool in tools]
        stream = await opened(self._clients, "/responses", body)
        try:
            yield self._deltas(stream)
        finally:
            await stream.close()

    async def _deltas(self, stream: Any) -> AsyncIterator[Delta]:
        came = acquired(stream.response)  # until it is told
        try:
            async with aclosing(aiter(stream)) as events:
                async for event in events:
                    delta = self._delta(event)
                    if delta.text or delta.calls:
                        yield Delta(delta.text, came, delta.calls)
                        came = None
                    elif delta.usage:
                        yield delta
                    if event.get("type") in LAST:
                        with suppress(TimeoutError):
                            async with asyncio.timeout(DRAIN_S):
                                await anext(events, None)
                        return
        except Exception as error:
            raise self._clients.explain("llm", error) from error
        raise unended(self._clients)

    def _delta(self, event: Mapping[str, Any]) -> Delta:
        """What an event brings; nothing if it is not known here. Raises `StageError` where it is a failure."""
        match event.get("type"):
            case "response.output_text.delta" | "response.refusal.delta":
                return Delta(event.get("delta") or "")
            case "response.output_item.done" if event["item"].get("type") == "function_call":
                call = event["item"]
                return Delta(calls=(ToolCall(call["call_id"], call["name"], call.get("arguments") or "{}"),))
            case "response.completed":
                return Delta(usage=_usage(event["response"]))
            case "response.incomplete":
                cut = CUT.get((event["response"].get("incomplete_details") or {}).get("reason") or "")
                return Delta(usage=_usage(event["response"]) | ({cut: 1} if cut else {}))
            case "response.failed":
                raise self._failure(event["response"].get("error") or {})
            case "error":
                raise self._failure(event)
            case _:
                return Delta()

    def _failure(self, error: Mapping[str, Any]) -> StageError:
        code = code_of(error.get("code"), otherwise="error")
        sentence = f"{NAMES['llm']} at {self._host} broke off its answer with an error ({code})."
        return StageError("llm", code, sentence, retryable=verdict(code) is not Verdict.FATAL)

    @property
    def _host(self) -> str:
        return self._clients.endpoints["llm"].host


def _conversation(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A conversation as chat completions have it, in instructions and items."""
    if messages and messages[0]["role"] == "system":
        return {"instructions": messages[0]["content"], "input": list(_items(messages[1:]))}
    return {"input": list(_items(messages))}


def _items(messages: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        if message["role"] == "tool":
            yield {"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}
            continue
        if message.get("content"):
            yield {"role": message["role"], "content": message["content"]}
        for call in message.get("tool_calls") or ():
            function = call["function"]
            yield {
                "type": "function_call", "call_id": call["id"],
                "name": function["name"], "arguments": function["arguments"],
            }  # fmt: skip


def _flat(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A function without the envelope of chat completions; strict is the default here, and not there."""
    function = tool["function"]
    return {"type": "function", **function, "strict": bool(function.get("strict"))}


def _usage(response: Mapping[str, Any]) -> dict[str, int]:
    usage = response.get("usage") or {}
    into, out = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    return counts(
        prompt_tokens=usage.get("input_tokens"), completion_tokens=usage.get("output_tokens"),
        cached_tokens=into.get("cached_tokens"), reasoning_tokens=out.get("reasoning_tokens"),
    )  # fmt: skip
