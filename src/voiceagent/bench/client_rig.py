"""The stages' own clients outside a server, on the server's loop, against a twin in a process of its own."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import uvicorn
from pydantic_settings import PydanticBaseSettingsSource

from voiceagent.bench.processes import BenchError
from voiceagent.events import FinalTranscript, SttConnected, SttFailed
from voiceagent.settings import Settings
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import Clients
from voiceagent.stages.ports import SpeechToText, Stages, Transcribed
from voiceagent.stages.speech_to_speech import speech_to_speech
from voiceagent.twin.scripted import tone

T = TypeVar("T")
Stt = TypeVar("Stt", bound=SpeechToText)

FRAME_SAMPLES = 480  # 20 ms
FRAME_S = 0.02
FRAME = tone(FRAME_SAMPLES)
WAIT_S = 10.0
"""The longest wait for anything that a client tells."""
AT_ONCE: dict[str, Any] = {
    "transcripts": ["what time is it now"], "replies": ["It is ten past four and the sun is still quite high."],
    "stt_delay_ms": 0, "llm_first_token_ms": 0, "llm_token_ms": 0, "tts_first_byte_ms": 0, "tts_realtime_factor": 0.2,
}  # fmt: skip
"""Back-ends without a delay of their own, whose speech comes five times as fast as it is played."""


class _Given(Settings):
    """Settings that read no environment and no file."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: Any, init_settings: PydanticBaseSettingsSource, *others: Any, **named: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given, and nothing else."""
        del settings_cls, others, named
        return (init_settings,)


@asynccontextmanager
async def stages_at(url: str, **changes: Any) -> AsyncIterator[Stages]:
    """Yield the stages of a server whose service is at `url`, with nothing connected yet."""
    values = {"backend": "openai", "openai_base_url": url, "openai_api_key": "any", "phrase_cache_mb": 0, **changes}
    settings = _Given(**values)
    clients = Clients(settings)
    streams = cascade(clients, settings)
    try:
        yield speech_to_speech(clients, settings, streams) if settings.mode == "realtime" else streams
    finally:
        await clients.aclose()


def as_in_a_server(work: Coroutine[Any, Any, T]) -> T:
    """Run it on a loop as the server has it."""
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        return runner.run(work)


class Listener:
    """Notes what a transcription tells, and when, by the machine's monotonic clock."""

    def __init__(self) -> None:
        self.connected_s: list[float] = []
        self._final: dict[int, FinalTranscript | SttFailed] = {}
        self._news = asyncio.Event()

    def take(self, fact: Transcribed) -> None:
        """Take in a fact; it never blocks."""
        if isinstance(fact, SttConnected):
            self.connected_s.append(time.monotonic())
        elif isinstance(fact, FinalTranscript) or (isinstance(fact, SttFailed) and fact.item):
            self._final[fact.item] = fact
        self._news.set()

    async def connected(self, times: int = 1) -> None:
        """Wait until so many connections were told. Raises `BenchError`."""
        await self._until(lambda: len(self.connected_s) >= times, "the transcription does not connect")

    async def final(self, item: int) -> str:
        """Wait for the words of an item. Raises `BenchError`."""
        await self._until(lambda: item in self._final, f"item {item} was not transcribed")
        fact = self._final[item]
        if isinstance(fact, SttFailed):
            raise BenchError(f"item {item} was not transcribed: {fact.message}")
        return fact.text

    async def _until(self, so: Callable[[], bool], else_said: str) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                while not so():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise BenchError(else_said) from None


@asynccontextmanager
async def running(make: Callable[[Callable[[Transcribed], None]], Stt]) -> AsyncIterator[tuple[Stt, Listener]]:
    """Yield a transcription at work, and who listens to it."""
    listener = Listener()
    stt = make(listener.take)
    task = asyncio.create_task(stt.run(), name="transcription")
    try:
        yield stt, listener
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def speak_into(stt: SpeechToText, item: int, frames: int) -> None:
    """Say an item and commit it: so many frames, each when it would be over."""
    clock = asyncio.get_running_loop().time
    stt.open(item)
    began_s = clock()
    for number in range(1, frames + 1):
        await asyncio.sleep(max(0.0, began_s + number * FRAME_S - clock()))
        stt.append(FRAME)
    stt.commit(item)
