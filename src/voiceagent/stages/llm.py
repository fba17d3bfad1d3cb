"""The language model over streamed chat completions.

The request and its chunks stay plain objects: to build the SDK's typed ones costs more than a millisecond before the first
token and a third of one at each, in the only place where somebody waits for them.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from voiceagent.settings import Settings
from voiceagent.stages.clients import NAMES, Clients
from voiceagent.stages.parameters import ModelParameters, acquired, counts
from voiceagent.stages.ports import Delta, StageError, ToolCall

CUT = {"length": "llm_cut", "content_filter": "llm_filtered"}
"""How the record calls an answer that ended before its end."""


class ChatModel:
    """`LanguageModel` on ``/chat/completions``."""

    def __init__(self, clients: Clients, settings: Settings) -> None:
        self._clients = clients
        self._parameters = parameters = ModelParameters(settings)
        endpoint = clients.endpoints["llm"]
        # The new name is refused by some servers of others, the old one by the service for its newer models.
        new = parameters.known or endpoint.is_openai or endpoint.azure_version is not None
        named = {
            "reasoning_effort": parameters.effort, "verbosity": parameters.verbosity, "service_tier": parameters.tier,
        }  # fmt: skip
        self._options: dict[str, Any] = {
            "model": settings.llm_model,
            "stream": True,
            "stream_options": {"include_usage": True} | ({"include_obfuscation": False} if parameters.known else {}),
            "max_completion_tokens" if new else "max_tokens": settings.max_reply_tokens,
            **{name: value for name, value in named.items() if value},
        }

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        """Request an answer; leaving the context closes the request at once. Raises `StageError`."""
        offered = {"tools": list(tools)} if tools else {}
        body = {"messages": list(messages), **offered, **self._options, **self._parameters.cache_key(messages)}
        stream = await opened(self._clients, "/chat/completions", body)
        try:
            yield self._deltas(stream)
        finally:
            await stream.close()

    async def _deltas(self, stream: Any) -> AsyncIterator[Delta]:
        calls: dict[int, dict[str, str]] = {}
        came, ended = acquired(stream.response), False  # until it is told
        try:
            async with aclosing(aiter(stream)) as chunks:
                async for chunk in chunks:
                    for choice in chunk.get("choices") or ():
                        delta = choice.get("delta") or {}
                        _collect(calls, delta.get("tool_calls") or ())
                        if text := delta.get("content") or delta.get("refusal"):
                            yield Delta(text, acquired=came)
                            came = None
                        ended = ended or bool(choice.get("finish_reason"))
                        if cut := CUT.get(choice.get("finish_reason") or ""):
                            yield Delta(usage={cut: 1})
                    if chunk.get("usage"):
                        ended = True
                        yield Delta(usage=_usage(chunk["usage"]))
        except Exception as error:
            raise self._clients.explain("llm", error) from error
        if not ended:
            raise unended(self._clients)
        if calls:
            told = tuple(ToolCall(c["id"], c["name"], c["arguments"] or "{}") for _, c in sorted(calls.items()))
            yield Delta(calls=told, acquired=came)


async def opened(clients: Clients, path: str, body: Mapping[str, Any]) -> Any:
    """Post a request for a stream of plain objects, and return the SDK's stream. Raises `StageError`."""
    from openai import AsyncStream

    try:
        return await clients.get("llm").post(
            path, body=body, cast_to=object, stream=True, stream_cls=AsyncStream[object]
        )
    except Exception as error:
        raise clients.explain("llm", error) from error


def unended(clients: Clients) -> StageError:
    """Return the failure of an answer that stopped, however neatly, before it said that this was all."""
    sentence = f"{NAMES['llm']} at {clients.endpoints['llm'].host} broke off its answer."
    return StageError("llm", "broken_off", sentence, retryable=True)


def _collect(calls: dict[int, dict[str, str]], pieces: Sequence[Mapping[str, Any]]) -> None:
    """Put the pieces of function calls together: the name comes once, the arguments in fragments."""
    for piece in pieces:
        call = calls.setdefault(piece.get("index", 0), {"id": "", "name": "", "arguments": ""})
        call["id"] = piece.get("id") or call["id"]
        function = piece.get("function") or {}
        call["name"] = function.get("name") or call["name"]
        call["arguments"] += function.get("arguments") or ""


def _usage(usage: Mapping[str, Any]) -> dict[str, int]:
    into, out = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    return counts(
        prompt_tokens=usage.get("prompt_tokens"), completion_tokens=usage.get("completion_tokens"),
        cached_tokens=into.get("cached_tokens"), reasoning_tokens=out.get("reasoning_tokens"),
    )  # fmt: skip
