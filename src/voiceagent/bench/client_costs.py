"""What the stages' clients cost: processor time of this process alone, for audio sent, speech received and tokens."""

import statistics
import time
from collections.abc import Callable
from typing import Any

from voiceagent.bench.client_rig import AT_ONCE, FRAME_S, as_in_a_server, running, speak_into, stages_at
from voiceagent.bench.processes import scripted_twin
from voiceagent.events import FinalTranscript
from voiceagent.heard import RATE_HZ
from voiceagent.stages.ports import LanguageModel, SpeechToSpeech, SpeechToText, SttFactory, TextToSpeech, Transcribed

ITEMS, FRAMES = 6, 125  # of 2.5 s
PHRASES, REPLIES = 12, 8
PHRASE = "This is a phrase of three seconds, more or less so."
TOKENS: dict[str, Any] = {**AT_ONCE, "replies": [" ".join(["word"] * 200)], "llm_token_ms": 5}
MESSAGES = (
    {"role": "system", "content": "You are a friendly voice assistant."},
    {"role": "user", "content": "what time is it now"},
)
SPEECH: dict[str, Any] = {"tts_api": "speech", "tts_model": "gpt-4o-mini-tts"}
FILES: dict[str, Any] = {"stt_api": "file", "stt_model": "gpt-transcribe"}


class Nobody:
    """`SpeechToText` that does nothing with what it is given: what the frames alone cost."""

    def __init__(self, post: Callable[[Transcribed], None]) -> None:
        self._post = post

    def open(self, item: int) -> None:
        """Begin an item."""

    def append(self, pcm: bytes) -> None:
        """Drop a frame."""

    def commit(self, item: int) -> None:
        """End it."""
        self._post(FinalTranscript(item, ""))

    async def run(self) -> None:
        """Nothing runs."""


async def heard(make: SttFactory, items: int = ITEMS, frames: int = FRAMES) -> list[float]:
    """Return for each item what a second of its audio cost, in milliseconds; the first, which connects, is left out."""
    costs = []
    async with running(make) as (stt, listener):
        for item in range(items + 1):
            began_s = time.process_time()
            await speak_into(stt, item + 1, frames)
            await listener.final(item + 1)
            costs.append(_ms_per(frames * FRAME_S, began_s))
    return costs[1:]


async def conversed(
    make: Callable[[Callable[[Transcribed], None]], SpeechToSpeech], items: int = ITEMS, frames: int = FRAMES
) -> tuple[list[float], list[float]]:
    """Return the same for a voice model, and what a second of its answers cost."""
    costs, answers = [], []
    async with running(make) as (voice, listener):
        await speak_into(voice, 1, frames)
        await _answered(voice, 1)  # only then a new conversation is told anything
        for item in range(2, items + 2):
            began_s = time.process_time()
            await speak_into(voice, item, frames)
            await listener.final(item)
            costs.append(_ms_per(frames * FRAME_S, began_s))
            answers.append(await _answered(voice, item))
    return costs, answers


async def _answered(voice: SpeechToSpeech, epoch: int) -> float:
    began_s, size = time.process_time(), 0
    async with voice.respond(epoch, MESSAGES, (), "") as parts:
        async for part in parts:
            size += len(part) if isinstance(part, bytes) else 0
    return _ms_per(size / 2 / RATE_HZ, began_s)


async def spoken(tts: TextToSpeech, phrases: int = PHRASES) -> list[float]:
    """Return for each phrase what a second of its audio cost; the first, which connects, is left out."""
    costs = []
    for _ in range(phrases + 1):
        began_s, size = time.process_time(), 0
        async with tts.speak(PHRASE) as parts:
            async for part in parts:
                size += len(part) if isinstance(part, bytes) else 0
        costs.append(_ms_per(size / 2 / RATE_HZ, began_s))
    return costs[1:]


async def written(llm: LanguageModel, replies: int = REPLIES) -> list[float]:
    """Return for each reply what a thousand of its tokens cost; the first, which connects, is left out."""
    costs = []
    for _ in range(replies + 1):
        began_s, tokens = time.process_time(), 0
        async with llm.reply(MESSAGES, ()) as deltas:
            async for delta in deltas:
                tokens += bool(delta.text)
        costs.append(_ms_per(tokens / 1_000, began_s))
    return costs[1:]


def _ms_per(amount: float, began_s: float) -> float:
    return (time.process_time() - began_s) * 1_000 / amount


def net(costs: dict[str, list[float]]) -> dict[str, float]:
    """Return each client's median, less that of `frames`: the feeding of frames to nobody."""
    frames = statistics.median(costs["frames"])
    medians = {name: statistics.median(each) for name, each in costs.items()}
    return {name: round(each - frames * (name != "frames"), 3) for name, each in medians.items()}


async def _with_speech(url: str) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    ears: dict[str, list[float]] = {"frames": await heard(_nobody)}
    mouths: dict[str, list[float]] = {}
    async with stages_at(url, **SPEECH) as stages:
        ears["realtime"] = await heard(stages.stt)
        mouths["speech"] = await spoken(stages.tts)
    async with stages_at(url, **FILES) as stages:
        ears["file"] = await heard(stages.stt)
        mouths["realtime"] = await spoken(stages.tts)
    async with stages_at(url, mode="realtime") as stages:
        if stages.voice is not None:
            ears["voice"], mouths["voice"] = await conversed(stages.voice)
    return ears, mouths


def _nobody(post: Callable[[Transcribed], None]) -> SpeechToText:
    return Nobody(post)


async def _with_tokens(url: str) -> list[float]:
    async with stages_at(url) as stages:
        return await written(stages.llm)


def costs() -> dict[str, Any]:
    """Measure all of it; milliseconds of processor time."""
    with scripted_twin(AT_ONCE) as twin:
        ears, mouths = as_in_a_server(_with_speech(twin.url))
    with scripted_twin(TOKENS) as twin:
        tokens = as_in_a_server(_with_tokens(twin.url))
    return {
        "cpu_ms_per_s_heard": net(ears),
        "cpu_ms_per_s_spoken": {name: round(statistics.median(each), 3) for name, each in mouths.items()},
        "cpu_ms_per_1000_tokens": round(statistics.median(tokens), 1),
    }
