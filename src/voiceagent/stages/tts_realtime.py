"""Text to speech by a voice model: phrases read aloud out of band on persistent Realtime sessions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from voiceagent.models import capabilities
from voiceagent.settings import Settings
from voiceagent.stages.ports import SpeechPart
from voiceagent.stages.voices import VoicePool


class ReadingModel:
    """`TextToSpeech` over the sessions of a pool. Leaving a phrase cancels it, and its session stays."""

    def __init__(self, pool: VoicePool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def speak(self, text: str) -> AsyncIterator[AsyncIterator[SpeechPart]]:
        """Request the audio of one phrase; leaving the context cancels it. Raises `StageError`."""
        reading = self._pool.reading(text)
        session = self._pool.session()
        session.reserve(reading)
        try:
            await session.ask(reading)
            yield reading.parts()
        finally:
            session.leave(reading)


def reads_aloud(settings: Settings) -> bool:
    """Whether speech comes from a Realtime session: as it is set, or where the model is a voice and not the twin's own."""
    if settings.tts_api != "auto":
        return settings.tts_api == "realtime"
    by_the_twin = settings.is_local and settings.tts_base_url is None
    return capabilities(settings.tts_model, "tts").realtime and not by_the_twin
