"""Text to speech over streamed ``audio/speech``: bare audio, or events that tell of words as well."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from voiceagent.heard import RATE_HZ, WordMark
from voiceagent.settings import Settings
from voiceagent.stages.clients import Clients
from voiceagent.stages.ports import StageError


class SpeechModel:
    """`TextToSpeech` on ``/audio/speech`` with ``response_format=pcm``."""

    def __init__(self, clients: Clients, settings: Settings) -> None:
        self._clients = clients
        self._options: dict[str, Any] = {
            "model": settings.tts_model, "voice": settings.tts_voice, "response_format": "pcm",
        }  # fmt: skip
        if settings.tts_instructions:
            self._options["instructions"] = settings.tts_instructions
        if settings.asks_for_words:
            self._options["stream_format"] = "sse"

    @asynccontextmanager
    async def speak(self, text: str) -> AsyncIterator[AsyncIterator[bytes | WordMark]]:
        """Request the audio of one phrase; leaving the context closes the request at once. Raises `StageError`."""
        request = self._clients.get("tts").audio.speech.with_streaming_response.create(input=text, **self._options)
        try:
            response = await request.__aenter__()
        except Exception as error:
            raise self._clients.explain("tts", error) from error
        try:
            # A service that knows no events answers with audio all the same.
            events = response.headers.get("content-type", "").startswith("text/event-stream")
            yield self._events(response) if events else self._chunks(response)
        finally:
            await request.__aexit__(None, None, None)

    async def _chunks(self, response: Any) -> AsyncIterator[bytes]:
        try:
            async for chunk in response.iter_bytes():
                if chunk:
                    yield chunk
        except Exception as error:
            raise self._clients.explain("tts", error) from error

    async def _events(self, response: Any) -> AsyncIterator[bytes | WordMark]:
        try:
            rest = b""
            async for chunk in response.iter_bytes():  # faster to the first audio than the library's lines
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    for part in self._parts(line):
                        yield part
        except Exception as error:
            raise self._clients.explain("tts", error) from error

    def _parts(self, line: bytes) -> list[bytes | WordMark]:
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
            case _:
                return []

    def _broke_off(self, error: Any) -> StageError:
        code = error.get("code") if isinstance(error, dict) else None
        sentence = f"Text to speech at {self._clients.endpoints['tts'].host} broke off its answer with an error."
        return StageError("tts", code if isinstance(code, str) else "error", sentence, retryable=True)
