"""The language model over streamed chat completions.

The request and its chunks stay plain objects: to build the SDK's typed ones costs more than a millisecond before the first
token and a third of one at each, in the only place where somebody waits for them.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from voiceagent.settings import Settings
from voiceagent.stages.clients import Clients
from voiceagent.stages.ports import Delta, ToolCall


class ChatModel:
    """`LanguageModel` on ``/chat/completions``."""

    def __init__(self, clients: Clients, settings: Settings) -> None:
        self._clients = clients
        self._options: dict[str, Any] = {
            "model": settings.llm_model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_completion_tokens": settings.max_reply_tokens,
        }
        if settings.llm_reasoning_effort:
            self._options["reasoning_effort"] = settings.llm_reasoning_effort
        if settings.llm_verbosity:
            self._options["verbosity"] = settings.llm_verbosity

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        """Request an answer; leaving the context closes the request at once. Raises `StageError`."""
        from openai import AsyncStream

        offered = {"tools": list(tools)} if tools else {}
        body = {"messages": list(messages), **offered, **self._options}
        try:
            stream: Any = await self._clients.get("llm").post(
                "/chat/completions", body=body, cast_to=object, stream=True, stream_cls=AsyncStream[object]
            )
        except Exception as error:
            raise self._clients.explain("llm", error) from error
        try:
            yield self._deltas(stream)
        finally:
            await stream.close()

    async def _deltas(self, stream: Any) -> AsyncIterator[Delta]:
        calls: dict[int, dict[str, str]] = {}
        try:
            async for chunk in stream:
                for choice in chunk.get("choices") or ():
                    delta = choice.get("delta") or {}
                    _collect(calls, delta.get("tool_calls") or ())
                    if delta.get("content"):
                        yield Delta(delta["content"])
                if chunk.get("usage"):
                    yield Delta(usage=_usage(chunk["usage"]))
        except Exception as error:
            raise self._clients.explain("llm", error) from error
        if calls:
            yield Delta(
                calls=tuple(ToolCall(c["id"], c["name"], c["arguments"] or "{}") for _, c in sorted(calls.items()))
            )


def _collect(calls: dict[int, dict[str, str]], pieces: Sequence[Mapping[str, Any]]) -> None:
    """Put the pieces of function calls together: the name comes once, the arguments in fragments."""
    for piece in pieces:
        call = calls.setdefault(piece.get("index", 0), {"id": "", "name": "", "arguments": ""})
        call["id"] = piece.get("id") or call["id"]
        function = piece.get("function") or {}
        call["name"] = function.get("name") or call["name"]
        call["arguments"] += function.get("arguments") or ""


def _usage(usage: Mapping[str, Any]) -> dict[str, int]:
    counts = {name: int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")}
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    return counts | ({"cached_tokens": int(cached)} if cached else {})
