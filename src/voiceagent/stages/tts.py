"""Text to speech over streamed ``audio/speech``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from voiceagent.settings import Settings
from voiceagent.stages.clients import Clients


class SpeechModel:
    """`TextToSpeech` on ``/audio/speech`` with ``response_format=pcm``."""

    def __init__(self, clients: Clients, settings: Settings) -> None:
        self._clients = clients
        self._options: dict[str, Any] = {
            "model": settings.tts_model, "voice": settings.tts_voice, "response_format": "pcm",
        }  # fmt: skip
        if settings.tts_instructions:
            self._options["instructions"] = settings.tts_instructions

    @asynccontextmanager
    async def speak(self, text: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Request the audio of one phrase; leaving the context closes the request at once. Raises `StageError`."""
        request = self._clients.get("tts").audio.speech.with_streaming_response.create(input=text, **self._options)
        try:
            response = await request.__aenter__()
        except Exception as error:
            raise self._clients.explain("tts", error) from error
        try:
            yield self._chunks(response)
        finally:
            await request.__aexit__(None, None, None)

    async def _chunks(self, response: Any) -> AsyncIterator[bytes]:
        try:
            async for chunk in response.iter_bytes():
                if chunk:
                    yield chunk
        except Exception as error:
            raise self._clients.explain("tts", error) from error
