"""One answer of a voice model on its way: what has come of it, which items it has made, and how it ends."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from voiceagent.heard import WordMark
from voiceagent.stages.codes import Verdict, code_of, verdict
from voiceagent.stages.ports import Acquired, Delta, SpokenPart, StageError, ToolCall

MAX_PARTS = 8_192
"""Parts of one answer that may wait to be taken: the model is faster than speech, and its socket must not stand still."""
SAMPLES_PER_MS = 24


class Answer:
    """The answer of one epoch. `create` is its request, `past` what a new conversation is to be told before."""

    def __init__(
        self, epoch: int, past: Sequence[Mapping[str, Any]], event_id: str, create: Mapping[str, Any], *, host: str
    ) -> None:
        self.epoch = epoch
        self.past = past
        self.event_id = event_id
        self.create = create
        self.asked_s = 0.0  # when it was asked for
        self.acquired: Acquired | None = None
        self.response_id: str | None = None
        self.items: list[str] = []  # the messages that it has put into the conversation
        self.samples = 0  # of its audio
        self.covers: set[int] = set()  # what it answers, by key
        self.left = False  # nobody takes it any more
        self.done = False
        self.worded = False  # it has words; where no sound comes with them, the connection has lost it
        self._who = f"The voice model at {host}"
        self._parts: asyncio.Queue[SpokenPart | StageError | None] = asyncio.Queue(maxsize=MAX_PARTS)

    def put(self, part: SpokenPart | StageError | None) -> None:
        """Add a part; None is the end. An answer that nobody takes in time fails."""
        if self.left or self.done:
            return
        if isinstance(part, bytes):
            self.samples += len(part) // 2
        self.done = part is None or isinstance(part, StageError)
        if self._parts.full():
            self.done = True
            self._parts.get_nowait()
            part = StageError("realtime", "overrun", f"{self._who} said more than anybody can hear.", retryable=False)
        self._parts.put_nowait(part)

    async def parts(self) -> AsyncIterator[SpokenPart]:
        """What comes, in order. Raises `StageError` in its place."""
        told = False
        while (part := await self._parts.get()) is not None:
            if isinstance(part, StageError):
                raise part
            if not told and self.acquired is not None:
                told = True
                yield Delta(acquired=self.acquired)
            yield part

    def take(self, event: Mapping[str, Any]) -> bool:
        """Take in an event of this answer; True if it was the last one."""
        match event["type"]:
            case "response.output_audio.delta":
                self.put(base64.b64decode(event["delta"]))
            case "response.output_audio_transcript.delta":
                self.worded = True
                self.put(Delta(event.get("delta") or ""))
            case "response.output_audio.words":
                for word in event["words"]:
                    self.put(WordMark(word["end_char"], round(word["end_ms"] * SAMPLES_PER_MS)))
            case "response.output_item.added" if event["item"].get("type") == "message":
                self.items.append(event["item"]["id"])
            case "response.output_item.done" if event["item"].get("type") == "function_call":
                call = event["item"]
                self.put(Delta(calls=(ToolCall(call["call_id"], call["name"], call.get("arguments") or "{}"),)))
            case "response.done":
                self._end(event["response"])
                return True
        return False

    def _end(self, response: Mapping[str, Any]) -> None:
        details = response.get("status_details") or {}
        usage = _usage(response.get("usage") or {})
        match response.get("status"):
            case "failed":
                error = details.get("error") or {}
                code = code_of(error.get("code"), error.get("type"), otherwise="failed")
                sentence = f"{self._who} broke off its answer with an error ({code})."
                self.put(StageError("realtime", code, sentence, retryable=verdict(code) is not Verdict.FATAL))
                return
            case "incomplete":
                usage["llm_filtered" if details.get("reason") == "content_filter" else "llm_cut"] = 1
        if usage:
            self.put(Delta(usage=usage))
        self.put(None)


def _usage(usage: Mapping[str, Any]) -> dict[str, int]:
    into, out = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    counts = {
        "prompt_tokens": usage.get("input_tokens"), "completion_tokens": usage.get("output_tokens"),
        "cached_tokens": into.get("cached_tokens"), "audio_input_tokens": into.get("audio_tokens"),
        "audio_output_tokens": out.get("audio_tokens"),
    }  # fmt: skip
    return {name: int(count) for name, count in counts.items() if count}
