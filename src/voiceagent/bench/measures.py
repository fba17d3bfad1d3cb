"""What else is measured: how fast a barge-in is noticed and obeyed, what sessions cost, and the start."""

import asyncio
import statistics
import subprocess
import sys
from typing import Any

from voiceagent.bench.processes import BenchError, Server, behind, server, utterance
from voiceagent.bench.reckoning import quantile
from voiceagent.caller import Call

SENTENCE = "this is a sentence of twelve words that has no comma in it"
PEERS: dict[str, Any] = {
    "transcripts": ["what time is it now"], "partials": False, "replies": [f"{SENTENCE}. {SENTENCE}."],
    "stt_delay_ms": 50, "llm_first_token_ms": 100, "llm_token_ms": 10, "tts_first_byte_ms": 80, "tts_ms_per_char": 10,
}  # fmt: skip
"""The back-ends by which the peers were measured."""
LOADS = (1, 10, 50)
LOAD_S = 12.0


async def _call(url: str, utterances: list[bytes | str], **options: Any) -> Call:
    call = Call(url, utterances, **options)
    await call.run()
    return call


def bargein(*, rounds: int = 8) -> dict[str, Any]:
    """Measure from the onset of speech over a reply to the hold, and to the flush, as they come to the caller.

    A stop word cuts by its words; what nobody transcribes in time cuts by its length.
    """
    story = {**PEERS, "tts_ms_per_char": 60}
    holds, words = _interruptions("stop", {**story, "transcripts": ["a story", "stop"]}, rounds)
    more, voice = _interruptions("where were you all a year ago", {**story, "stt_delay_ms": 3_000}, rounds)
    holds += more
    return {
        "hold_p50_ms": round(statistics.median(holds), 1), "hold_p95_ms": round(quantile(holds, 0.95), 1),
        "stop_p50_ms": round(statistics.median(words), 1), "stop_p95_ms": round(quantile(words, 0.95), 1),
        "voice_p50_ms": round(statistics.median(voice), 1), "voice_p95_ms": round(quantile(voice, 0.95), 1),
        "rounds": len(words) + len(voice),
    }  # fmt: skip


def _interruptions(said: str, script: dict[str, Any], rounds: int) -> tuple[list[float], list[float]]:
    """Say it over one reply after the other; return the milliseconds from its onset to each hold and to each flush."""
    question, speech = utterance(), utterance(said)
    with behind(script, filler="none") as running:
        call = asyncio.run(_call(running.url, [question, *[speech] * rounds], barge_in_ms=700))
    holds, flushes = [], []
    onset_s: float | None = None
    for at_s, kind in call.log:
        if kind == "speech begins":
            onset_s = at_s
        elif onset_s is not None and kind == "hold":
            holds.append((at_s - onset_s) * 1000)
        elif onset_s is not None and kind == "flush":
            flushes.append((at_s - onset_s) * 1000)
            onset_s = None
    if len(flushes) < rounds:
        raise BenchError(f"only {len(flushes)} of {rounds} barge-ins were obeyed: {'; '.join(call.errors)}")
    return holds, flushes


def load() -> dict[str, Any]:
    """Measure what sessions cost the server: processor time per second of conversation, and memory."""
    speech = utterance()
    with behind(PEERS, max_sessions=200) as running:
        asyncio.run(_call(running.url, [speech]))  # what is loaded once
        empty_mb = running.rss_mb
        return {str(sessions): _loaded(running, speech, sessions, empty_mb) for sessions in LOADS}


def _loaded(running: Server, speech: bytes, sessions: int, empty_mb: float) -> dict[str, float]:
    async def calls() -> tuple[float, float, float]:
        loop = asyncio.get_running_loop()
        began_s, cpu_s = loop.time(), running.cpu_s
        made = [Call(running.url, [speech] * 1_000) for _ in range(sessions)]
        tasks = [asyncio.create_task(call.run()) for call in made]
        await asyncio.sleep(LOAD_S)
        rss_mb, spent_s, lasted_s = running.rss_mb, running.cpu_s - cpu_s, loop.time() - began_s
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return spent_s, lasted_s, rss_mb

    spent_s, lasted_s, rss_mb = asyncio.run(calls())
    return {
        "cpu_percent_of_a_core_per_session": round(100 * spent_s / lasted_s / sessions, 2),
        "rss_mb_per_session": round(max(0.0, rss_mb - empty_mb) / sessions, 2),
        "rss_mb": round(rss_mb, 1),
    }


def start(*, times: int = 3) -> dict[str, Any]:
    """Measure the start of the server with the local twin until its page answers, and the import of the package."""
    ready = []
    for _ in range(times):
        with server(backend="local") as running:
            ready.append(running.ready_ms)
    program = "import time; t = time.perf_counter(); import voiceagent; print(time.perf_counter() - t)"
    imports = [
        float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)  # noqa: S603
        for _ in range(times)
    ]
    return {"ready_ms": round(statistics.median(ready)), "import_ms": round(statistics.median(imports) * 1000, 1)}
