"""The language model over streamed chat completions."""

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
        offered = {"tools": list(tools)} if tools else {}
        try:
            create: Any = self._clients.get("llm").chat.completions.create
            stream = await create(messages=list(messages), **offered, **self._options)
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
                for choice in chunk.choices or ():
                    _collect(calls, choice.delta.tool_calls or ())
                    if choice.delta.content:
                        yield Delta(choice.delta.content)
                if chunk.usage is not None:
                    yield Delta(usage=_usage(chunk.usage))
        except Exception as error:
            raise self._clients.explain("llm", error) from error
        if calls:
            yield Delta(
                calls=tuple(ToolCall(c["id"], c["name"], c["arguments"] or "{}") for _, c in sorted(calls.items()))
            )


def _collect(calls: dict[int, dict[str, str]], pieces: Sequence[Any]) -> None:
    """Put the pieces of function calls together: the name comes once, the arguments in fragments."""
    for piece in pieces:
        call = calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
        call["id"] = piece.id or call["id"]
        if piece.function is not None:
            call["name"] = piece.function.name or call["name"]
            call["arguments"] += piece.function.arguments or ""


def _usage(usage: Any) -> dict[str, int]:
    counts = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
    cached = getattr(usage.prompt_tokens_details, "cached_tokens", None)
    return counts | ({"cached_tokens": cached} if cached else {})
