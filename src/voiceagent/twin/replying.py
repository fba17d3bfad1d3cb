"""The responses of a Realtime conversation: their events in the service's order, one in the conversation, others beside."""

import asyncio
import base64
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Literal, cast

from voiceagent.twin.asking import Asked, asked
from voiceagent.twin.configs import RATE_HZ, Rejected, SessionConfig
from voiceagent.twin.errors import identifier
from voiceagent.twin.items import Conversation, Item, as_messages, audio_tokens
from voiceagent.twin.ports import ConnectionDropped, EngineError, Engines, FunctionCall
from voiceagent.twin.speaking import Ends, OutOfTokens, Part, Words, parts
from voiceagent.twin.telephony import ToTelephone
from voiceagent.twin.wire import Wire

MAX_RESPONSES = 32  # at once
WORDS_TIMEOUT_S = 60.0
SPOKEN_TOKENS_PER_S = 20

Reason = Literal["turn_detected", "client_cancelled"]


class Response:
    """One response. `over`: it has been told to the end, and what it asked of the engines is no longer wanted."""

    def __init__(
        self,
        wire: Wire,
        conversation: Conversation,
        engines: Engines,
        order: Asked,
        on_over: Callable[["Response"], None],
    ) -> None:
        self.id = identifier("resp")
        self.asked = order
        self.over = False
        self.samples = 0  # of audio
        self._wire = wire
        self._conversation = conversation
        self._engines = engines
        self._on_over = on_over
        self._output: list[Item] = []
        self._open: Item | None = None  # the message that is being said
        self._tokens = 0
        self._telephone = ToTelephone(order.telephone) if order.telephone else None
        self._input: dict[str, int] = {"text_tokens": 0, "audio_tokens": 0}
        self._send("created", response=self._shape("in_progress", None))
        self.task = asyncio.create_task(self._run(), name="response")

    def cancel(self, reason: Reason) -> None:
        """Stop it here."""
        self._end("cancelled", {"reason": reason})
        self.task.cancel()

    # ------------------------------------------------------------------------------ its course
    async def _run(self) -> None:
        try:
            async with asyncio.timeout(WORDS_TIMEOUT_S):
                for item in self.asked.items:
                    if item.has_words_to_come:
                        await item.ready.wait()
            messages = as_messages(self.asked.items, self.asked.instructions)
            self._input = {
                "text_tokens": sum(len(str(message.get("content") or "").split()) for message in messages),
                "audio_tokens": sum(
                    audio_tokens(item.samples) for item in self.asked.items if item.fields.get("role") == "user"
                ),
            }  # fmt: skip
            async with aclosing(cast("Any", parts(self._engines, self.asked, messages))) as stream:
                async for part in stream:
                    await self._wire.room()
                    self._take(part)
        except ConnectionDropped:
            self._wire.close(1011)
        except (EngineError, TimeoutError) as error:
            code = error.code if isinstance(error, EngineError) else "engine_failed"
            message = str(error) or "What was said is not understood in time."
            self._end("failed", {"error": {"type": "server_error", "code": code, "message": message}})
        except Exception as error:  # noqa: BLE001 - the response fails, the session goes on
            failure = {"type": "server_error", "code": "engine_failed", "message": type(error).__name__}
            self._end("failed", {"error": failure})
        else:
            self._end("completed")

    def _take(self, part: Part) -> None:
        if isinstance(part, OutOfTokens):
            self._end("incomplete", {"reason": "max_output_tokens"})
        elif isinstance(part, FunctionCall):
            self._close_message("completed")
            self._call(part)
        elif isinstance(part, Words):
            self._tokens += max(1, len(part.text.split()))
            self._say(part.text)
        elif isinstance(part, Ends):
            self._item.words.extend(part.words)
            if self.asked.tells_words:
                ends = [{"end_char": word.end_char, "end_ms": word.end_ms} for word in part.words]
                self._send("output_audio.words", item_id=self._item.item_id, words=ends)
        elif part:
            self._item.samples += len(part) // 2
            self.samples += len(part) // 2
            part = part if self._telephone is None else self._telephone.feed(part)
            self._send("output_audio.delta", **self._place, delta=base64.b64encode(part).decode())

    # ------------------------------------------------------------------------------ events
    def _send(self, kind: str, **fields: Any) -> None:
        base = {} if "response" in fields else {"response_id": self.id}
        self._wire.send({"type": f"response.{kind}", **base, **fields})

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item.item_id, "output_index": len(self._output) - 1, "content_index": 0}

    @property
    def _item(self) -> Item:
        """The message that is being said; it begins here if none has."""
        if self._open is None:
            kind = "output_audio" if self.asked.audio else "output_text"
            part = {"type": kind, "transcript" if self.asked.audio else "text": ""}
            fields = {"type": "message", "role": "assistant", "content": [part]}
            self._open = self._begin(Item(identifier("item"), fields, status="in_progress"))
            self._send("content_part.added", **self._place, part=self._part(""))
        return self._open

    def _begin(self, item: Item) -> Item:
        self._output.append(item)
        shape = item.shape() | ({"content": []} if "content" in item.fields else {})
        self._send("output_item.added", output_index=len(self._output) - 1, item=shape)
        if self.asked.in_band:
            self._conversation.tell("added", item, self._conversation.add(item))
        return item

    def _finish(self, item: Item, status: str) -> None:
        item.status = status
        if self.asked.in_band:
            self._conversation.tell("done", item, self._conversation.previous(item))
        self._send("output_item.done", output_index=len(self._output) - 1, item=item.shape())

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "audio", "transcript": text} if self.asked.audio else {"type": "text", "text": text}

    def _say(self, text: str) -> None:
        part, name = self._item.content[0], "transcript" if self.asked.audio else "text"
        part[name] += text
        self._send(f"output_{'audio_transcript' if self.asked.audio else 'text'}.delta", **self._place, delta=text)

    def _close_message(self, status: str) -> None:
        if self._open is None:
            return
        text = self._open.content[0]["transcript" if self.asked.audio else "text"]
        if self.asked.audio:
            self._send("output_audio.done", **self._place)
            self._send("output_audio_transcript.done", **self._place, transcript=text)
        else:
            self._send("output_text.done", **self._place, text=text)
        self._send("content_part.done", **self._place, part=self._part(text))
        self._finish(self._open, status)
        self._open = None

    def _call(self, call: FunctionCall) -> None:
        fields = {"type": "function_call", "call_id": identifier("call"), "name": call.name, "arguments": ""}
        item = self._begin(Item(identifier("item"), fields, status="in_progress"))
        place = {"item_id": item.item_id, "output_index": len(self._output) - 1, "call_id": fields["call_id"]}
        self._send("function_call_arguments.delta", **place, delta=call.arguments)
        self._send("function_call_arguments.done", **place, name=call.name, arguments=call.arguments)
        fields["arguments"] = call.arguments
        self._tokens += max(1, len(call.arguments.split()))
        self._finish(item, "completed")

    def _end(self, status: str, details: Mapping[str, Any] | None = None) -> None:
        if self.over:
            return
        self.over = True
        self._close_message("completed" if status == "completed" else "incomplete")
        told = None if status == "completed" else {"type": status, **(details or {})}
        self._send("done", response=self._shape(status, told))
        limits = [{"name": name, "limit": limit, "remaining": limit, "reset_seconds": 0.0} for name, limit in _LIMITS]
        self._wire.send({"type": "rate_limits.updated", "rate_limits": limits})
        self._on_over(self)

    def _shape(self, status: str, details: Mapping[str, Any] | None) -> dict[str, Any]:
        return {
            "id": self.id, "object": "realtime.response", "status": status, "status_details": details,
            "output": [item.shape() for item in self._output], **self.asked.fields,
            "usage": None if status == "in_progress" else self._usage(),
        }  # fmt: skip

    def _usage(self) -> dict[str, Any]:
        spoken = self.samples // (RATE_HZ // SPOKEN_TOKENS_PER_S)
        total_in, total_out = sum(self._input.values()), self._tokens + spoken
        cached = {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0}
        return {
            "total_tokens": total_in + total_out, "input_tokens": total_in, "output_tokens": total_out,
            "input_token_details": {
                **self._input, "image_tokens": 0, "cached_tokens": 0, "cached_tokens_details": cached,
            },
            "output_token_details": {"text_tokens": self._tokens, "audio_tokens": spoken},
        }  # fmt: skip


_LIMITS = (("requests", 10_000), ("tokens", 1_000_000))
"""The twin has none; clients expect to be told."""


class Responses:
    """All responses of a session. `on_over` gets each one of the conversation when it has ended."""

    def __init__(
        self, wire: Wire, conversation: Conversation, engines: Engines, config: SessionConfig,
        on_over: Callable[[Response], None],
    ) -> None:  # fmt: skip
        self._wire = wire
        self._conversation = conversation
        self._engines = engines
        self._config = config
        self._told_over = on_over
        self._active: Response | None = None  # in the conversation
        self._all: dict[str, Response] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._spoke = False

    @property
    def voice_locked(self) -> bool:
        """Whether something was said aloud already: the voice stays."""
        return self._spoke or any(response.samples for response in self._all.values())

    def ask(self, raw: Any) -> Asked:
        """Return what a ``response.create`` asks for. Raises `Rejected`."""
        order = asked(raw, self._config, self._conversation, voice_locked=self.voice_locked)
        if order.in_band and self._active is not None:
            text = (
                f"Conversation already has an active response in progress: {self._active.id}. "
                "Wait until the response is finished before creating a new one."
            )
            raise Rejected(text, code="conversation_already_has_active_response")
        if len(self._tasks) >= MAX_RESPONSES:
            raise Rejected("Too many responses are in progress.", code="rate_limit_exceeded")
        return order

    def begin(self, order: Asked) -> None:
        """Begin it."""
        response = Response(self._wire, self._conversation, self._engines, order, self._over)
        self._all[response.id] = response
        if order.in_band:
            self._active = response
        self._tasks.add(response.task)
        response.task.add_done_callback(self._tasks.discard)

    def cancel(self, event: Mapping[str, Any]) -> None:
        """Take in ``response.cancel``."""
        wanted = event.get("response_id")
        found = self._active if wanted is None else self._all.get(str(wanted))
        if found is None:
            raise Rejected("Cancellation failed: no active response found", code="response_cancel_not_active")
        found.cancel("client_cancelled")

    def interrupt(self) -> None:
        """Somebody speaks: the conversation's response stops."""
        if self._active is not None:
            self._active.cancel("turn_detected")

    def _over(self, response: Response) -> None:
        self._spoke = self._spoke or response.samples > 0
        self._all.pop(response.id, None)
        if self._active is response:
            self._active = None
            self._told_over(response)

    async def aclose(self) -> None:
        """End them all without a word."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
