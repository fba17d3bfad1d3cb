"""What the stages' clients make one wait: for the first audio, cold and warm, and for a peer to see that they left."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

from voiceagent.bench.client_costs import MESSAGES, PHRASE, SPEECH, TOKENS
from voiceagent.bench.client_rig import AT_ONCE, FRAME, as_in_a_server, running, stages_at
from voiceagent.bench.processes import BenchError, scripted_twin
from voiceagent.bench.reckoning import quantile
from voiceagent.stages.ports import LanguageModel, SpeechToSpeech, TextToSpeech, VoiceFactory

ROUNDS = 20
SHORT = "What time is it?"
ENOUGH_FRAMES = 10  # 200 ms
REST_S = 0.05  # until what a leaving sets off is done
FEW = 3
"""So many pieces are taken before a stream is left."""


# ------------------------------------------------------------------------------------------ the first audio
async def first_speech(url: str, rounds: int = ROUNDS, **settings: Any) -> tuple[list[float], list[float]]:
    """Return the milliseconds to the first audio: cold, of clients just made, and warm, of others once `warm` was done."""
    cold, warm = [], []
    for _ in range(rounds):
        began_s = time.perf_counter()
        async with stages_at(url, **settings) as stages:
            cold.append((await _first_s(stages.tts.speak(SHORT)) - began_s) * 1000)
        async with stages_at(url, **settings) as stages:
            await stages.warm()
            began_s = time.perf_counter()
            warm.append((await _first_s(stages.tts.speak(SHORT)) - began_s) * 1000)
    return cold, warm


async def first_answer(url: str, rounds: int = ROUNDS) -> tuple[list[float], list[float]]:
    """Return the same for a voice model, from the commit; warm is the second answer of its session."""
    cold, warm = [], []
    for _ in range(rounds):
        began_s = time.perf_counter()
        async with stages_at(url, mode="realtime") as stages, running(_voice(stages.voice)) as (voice, _):
            cold.append((await _first_s(_asked(voice, 1)) - began_s) * 1000)
            began_s = time.perf_counter()
            warm.append((await _first_s(_asked(voice, 2)) - began_s) * 1000)
    return cold, warm


def _voice(made: VoiceFactory | None) -> VoiceFactory:
    if made is None:
        raise BenchError("there is no voice model")
    return made


def _asked(voice: SpeechToSpeech, number: int) -> AbstractAsyncContextManager[Any]:
    """Say something at once and ask for an answer."""
    voice.open(number)
    voice.append(FRAME * ENOUGH_FRAMES)
    voice.commit(number)
    return voice.respond(number, MESSAGES, (), "")


async def _first_s(stream: AbstractAsyncContextManager[Any]) -> float:
    """Take a stream to its end, so that its connection is kept, and return when its first audio came."""
    first_s: float | None = None
    async with stream as parts:
        async for part in parts:
            if first_s is None and isinstance(part, bytes):
                first_s = time.perf_counter()
    if first_s is None:
        raise BenchError("no audio came")
    return first_s


# ------------------------------------------------------------------------------------------ leaving
async def left_replies(llm: LanguageModel, rounds: int = ROUNDS) -> list[float]:
    """Leave one answer after the other in the middle; return when, by the machine's monotonic clock."""
    return [await _leave(llm.reply(MESSAGES, ()), lambda delta: bool(delta.text)) for _ in range(rounds)]


async def left_speech(tts: TextToSpeech, rounds: int = ROUNDS) -> list[float]:
    """The same with phrases."""
    return [await _leave(tts.speak(PHRASE), _sounds) for _ in range(rounds)]


async def left_answers(voice: SpeechToSpeech, rounds: int = ROUNDS) -> list[float]:
    """The same with a voice model's answers."""
    return [await _leave(_asked(voice, number), _sounds) for number in range(1, rounds + 1)]


def _sounds(part: Any) -> bool:
    return isinstance(part, bytes)


async def _leave(stream: AbstractAsyncContextManager[Any], counts: Callable[[Any], bool]) -> float:
    taken = 0
    async with stream as parts, aclosing(parts):
        async for part in parts:
            taken += counts(part)
            if taken == FEW:
                break
        left_s = time.monotonic()
    await asyncio.sleep(REST_S)
    return left_s


def seen_ms(left_s: list[float], log: Iterable[Mapping[str, Any]], kind: str) -> list[float]:
    """Return how long after each leaving the twin's log has its engine stopped. Raises `BenchError` where one was not."""
    stopped_s = [entry["at_us"] / 1e6 for entry in log if entry["kind"] == kind]
    if len(stopped_s) != len(left_s):
        raise BenchError(f"of {len(left_s)} streams that were left, {len(stopped_s)} were stopped")
    return [(stopped - left) * 1000 for left, stopped in zip(left_s, stopped_s, strict=True)]


async def _leave_replies(url: str) -> list[float]:
    async with stages_at(url) as stages:
        return await left_replies(stages.llm)


async def _leave_speech(url: str) -> list[float]:
    async with stages_at(url, **SPEECH) as stages:
        return await left_speech(stages.tts)


async def _leave_readings(url: str) -> list[float]:
    async with stages_at(url) as stages:
        return await left_speech(stages.tts)


async def _leave_answers(url: str) -> list[float]:
    async with stages_at(url, mode="realtime") as stages, running(_voice(stages.voice)) as (voice, _):
        return await left_answers(voice)


LEAVING: dict[str, tuple[dict[str, Any], Callable[[str], Coroutine[Any, Any, list[float]]], str]] = {
    "llm": (TOKENS, _leave_replies, "llm_cancelled"),
    "speech": (AT_ONCE, _leave_speech, "tts_cancelled"),
    "realtime": (AT_ONCE, _leave_readings, "tts_cancelled"),
    "voice": (AT_ONCE, _leave_answers, "tts_cancelled"),
}
"""What is left, where, and what the twin's log calls it when the peer has seen it."""


# ------------------------------------------------------------------------------------------ all of it
def _pair(values: list[float]) -> dict[str, float]:
    return {"p50_ms": round(quantile(values, 0.5), 2), "p95_ms": round(quantile(values, 0.95), 2)}


async def _firsts(url: str) -> dict[str, dict[str, Any]]:
    async with stages_at(url) as stages:  # what is loaded once
        await _first_s(stages.tts.speak(SHORT))
    found = {
        "speech": await first_speech(url, **SPEECH),
        "realtime": await first_speech(url),
        "voice": await first_answer(url),
    }
    return {name: {"cold": _pair(cold), "warm": _pair(warm)} for name, (cold, warm) in found.items()}


def first_audio() -> dict[str, Any]:
    """Measure the time to the first audio by each way."""
    with scripted_twin(AT_ONCE) as twin:
        return as_in_a_server(_firsts(twin.url))


def leaving() -> dict[str, Any]:
    """Measure how long after a stream was left its peer has seen that."""
    found = {}
    for name, (script, leave, kind) in LEAVING.items():
        with scripted_twin(script) as twin:
            left_s = as_in_a_server(leave(twin.url))
        found[name] = _pair(seen_ms(left_s, twin.log, kind))
    return found
