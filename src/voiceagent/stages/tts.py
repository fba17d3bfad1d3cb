"""Text to speech over streamed ``audio/speech``: bare audio, or events that tell of words and of usage as well."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from voiceagent.heard import RATE_HZ, WordMark
from voiceagent.models import capabilities
from voiceagent.settings import Settings
from voiceagent.stages.clients import Clients
from voiceagent.stages.codes import Verdict, code_of, verdict
from voiceagent.stages.parameters import acquired, counts, silent, voice
from voiceagent.stages.ports import SpeechPart, StageError, Usage


class SpeechModel:
    """`TextToSpeech` on ``/audio/speech`` with ``response_format=pcm``."""

    def __init__(self, clients: Clients, settings: Settings) -> None:
        self._clients = clients
        self._options: dict[str, Any] = {
            "model": settings.tts_model, "voice": voice(settings), "response_format": "pcm",
        }  # fmt: skip
        if settings.tts_instructions and "instructions" in capabilities(settings.tts_model, "tts").takes:
            self._options["instructions"] = settings.tts_instructions
        if settings.tts_speed is not None:
            self._options["speed"] = settings.tts_speed
        if settings.asks_for_words:
            self._options["stream_format"] = "sse"

    @asynccontextmanager
    async def speak(self, text: str) -> AsyncIterator[AsyncIterator[SpeechPart]]:
        """Request the audio of one phrase; leaving the context closes the request at once. Raises `StageError`."""
        try:
            request = self._clients.get("tts").audio.speech.with_streaming_response.create(input=text, **self._options)
            response = await request.__aenter__()
        except Exception as error:
            raise self._clients.explain("tts", error) from error
        try:
            # A service that knows no events answers with audio all the same.
            events = response.headers.get("content-type", "").startswith("text/event-stream")
            parts = self._events(response) if events else response.iter_bytes()
            yield self._told(response, parts, has_words=any(character.isalnum() for character in text))
        finally:
            await request.__aexit__(None, None, None)

    async def _told(
        self, response: Any, parts: AsyncIterator[SpeechPart], *, has_words: bool
    ) -> AsyncIterator[SpeechPart]:
        """The parts, with the connection before the first. Raises `StageError`, also where words make no sound."""
        came, sounds = acquired(response.http_response), False
        try:
            async with aclosing(parts):  # type: ignore[type-var]
                async for part in parts:
                    if not part:  # no bytes
                        continue
                    if came is not None:
                        yield came
                        came = None
                    sounds = sounds or isinstance(part, bytes)
                    yield part
        except Exception as error:
            raise self._clients.explain("tts", error) from error
        if has_words and not sounds:
            raise silent("tts", self._clients.endpoints["tts"].host)

    async def _events(self, response: Any) -> AsyncIterator[SpeechPart]:
        rest = b""
        async with aclosing(response.iter_bytes()) as chunks:  # faster to the first audio than the library's lines
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    for part in self._parts(line):
                        yield part

    def _parts(self, line: bytes) -> list[SpeechPart]:
        """What a line of the event stream brings; nothing if it is not known here."""
        field, _, data = line.partition(b":")
        if field != b"data" or data.strip() == b"[DONE]":
            return []
        event = json.loads(data)
        if "error" in event:
            raise self._broke_off(event["error"])
        match event.get("type"):
            case "speech.audio.delta":
                return [base64.b64decode(event["audio"])]
            case "speech.audio.words":
                return [WordMark(word["end_char"], round(word["end_ms"] * RATE_HZ / 1000)) for word in event["words"]]
            case "speech.audio.done":
                usage = event.get("usage") or {}
                cost = counts(tts_input_tokens=usage.get("input_tokens"), tts_output_tokens=usage.get("output_tokens"))
                return [Usage(cost)] if cost else []
            case _:
                return []

    def _broke_off(self, error: Any) -> StageError:
        code = code_of(error.get("code") if isinstance(error, dict) else None, otherwise="error")
        sentence = f"Text to speech at {self._clients.endpoints['tts'].host} broke off its answer with an error."
        return StageError("tts", code, sentence, retryable=verdict(code) is not Verdict.FATAL)
