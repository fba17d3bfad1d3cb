"""What metrics and traces cost: a record in the event loop, the load of a hundred sessions, and a server with and without."""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from voiceagent.bench.measures import PEERS
from voiceagent.bench.processes import BenchError, Server, behind, utterance
from voiceagent.bench.records import SESSIONS, STEP, STEPS_PER_TURN, TURN, TURN_S
from voiceagent.caller import Call
from voiceagent.exports.otel import Tracer
from voiceagent.exports.prometheus import Metrics
from voiceagent.observing import Observer, Observers
from voiceagent.timeline import TransitionRecord, TurnRecord

TALKING = 25
"""Sessions of the real server: with a hundred that talk without a rest one core is full, and a ratio says nothing."""
TALKING_S = 8.0
PAIRS = 6
TURNS = 300


def tracing() -> dict[str, Any]:
    """Measure; times in microseconds of one core. Raises `BenchError`."""
    speech = utterance()
    with _collector() as url, Tracer(url) as tracer:
        metrics = Metrics()
        return {
            **_loop_us("metrics", metrics), **_loop_us("traces", tracer), **_paced(metrics, tracer), **_servers(speech, url),
        }  # fmt: skip


@contextmanager
def _collector() -> Iterator[str]:
    command = [sys.executable, "-m", "voiceagent.bench.collector"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603
        try:
            url = process.stdout.readline().strip() if process.stdout is not None else ""
            if not url:
                raise BenchError("the collector of traces does not start")
            yield url
        finally:
            process.terminate()


def _turn(number: int) -> list[TransitionRecord | TurnRecord]:
    """The records of one turn of a session, the turns before it being over: its steps, then itself."""
    later_us = round(number * TURN_S * 1e6)
    step_us = (TURN.ended_us - TURN.started_us) // STEPS_PER_TURN
    records: list[TransitionRecord | TurnRecord] = []
    leaf = TURN.path[0]
    for each in range(STEPS_PER_TURN):
        target = TURN.path[(each + 1) * (len(TURN.path) - 1) // STEPS_PER_TURN]
        at_us, dwell_us = TURN.started_us + later_us + each * step_us, step_us * (each % 3 + 1)
        seq = number * STEPS_PER_TURN + each + 1
        records.append(replace(STEP, seq=seq, at_us=at_us, source=leaf, target=target, dwell_us=dwell_us))
        leaf = target
    marks = {name: at_us + later_us for name, at_us in TURN.marks.items()}
    started_us, ended_us = TURN.started_us + later_us, TURN.ended_us + later_us
    records.append(replace(TURN, turn=number + 1, started_us=started_us, ended_us=ended_us, marks=marks))
    return records


def _loop_us(name: str, observer: Observer) -> dict[str, float]:
    """What a record costs in the event loop's thread."""
    observed = Observers((observer,), _failed)
    spent: dict[type, list[float]] = {TransitionRecord: [], TurnRecord: []}
    for number in range(TURNS):
        *steps, turn = _turn(number)
        for records in (steps, [turn]):
            began_ns = time.thread_time_ns()
            for record in records:
                observed.record("a", record)
            spent[type(records[0])].append((time.thread_time_ns() - began_ns) / len(records) / 1000)
        time.sleep(0.002)  # as it is between turns: the SDK's thread sends what came
    medians = [statistics.median(each) for each in spent.values()]
    return {f"{name}_transition_us": round(medians[0], 2), f"{name}_turn_us": round(medians[1], 1)}


def _load() -> list[tuple[str, TransitionRecord | TurnRecord]]:
    """The records of `SESSIONS` in the time of a turn, in the order in which they come; no two are in step."""
    two_turns = [*_turn(0), *_turn(1)]
    per_turn = STEPS_PER_TURN + 1
    return [
        (f"session {session}", two_turns[number + session * per_turn // SESSIONS])
        for number in range(per_turn)
        for session in range(SESSIONS)
    ]


def _paced(metrics: Metrics, tracer: Tracer) -> dict[str, Any]:
    """What the load costs with each of them: in the event loop, and in their own threads."""
    figures: dict[str, Any] = {"sessions": SESSIONS, "turn_s": TURN_S}
    for name, observer, last in (("metrics", metrics, _nothing), ("traces", tracer, tracer.flush)):
        loop_ns, threads_ns = _spent_ns(observer, last)
        figures[f"{name}_core_percent"] = round((loop_ns + threads_ns) / TURN_S / 1e7, 2)
        figures[f"{name}_loop_percent"] = round(loop_ns / TURN_S / 1e7, 2)
    return figures


def _nothing() -> None:
    """Nothing is left to do."""


def _spent_ns(observer: Observer, last: Callable[[], None]) -> tuple[int, int]:
    """Processor time while the records of `SESSIONS` come, each by itself: of taking them, and of all other threads.

    `last` is done at the end, and counted with the threads. How the load is paced is not counted: on a busy machine the
    many short sleeps cost more than what is measured.
    """
    observed = Observers((observer,), _failed)
    load = _load()
    loop_ns, all_ns, own_ns, began_s = 0, time.process_time_ns(), time.thread_time_ns(), time.perf_counter()
    for number, (session, record) in enumerate(load, 1):
        before_ns = time.thread_time_ns()
        observed.record(session, record)
        loop_ns += time.thread_time_ns() - before_ns
        time.sleep(max(0.0, began_s + number * TURN_S / len(load) - time.perf_counter()))
    own_ns = time.thread_time_ns() - own_ns
    last()
    return loop_ns, time.process_time_ns() - all_ns - own_ns


def _failed(_: Observer, error: Exception) -> None:
    raise BenchError(f"an observer has failed: {error}")


def _servers(speech: bytes, url: str) -> dict[str, Any]:
    """A server with sessions that talk without a rest, without exports and with both, by turns and in turn the first; medians.

    The machine's own moods last longer than a pair, so the ratio is that of the pairs.
    """
    exports = {"metrics_port": 0, "otel_endpoint": url}
    with behind(PEERS, max_sessions=200) as off, behind(PEERS, max_sessions=200, **exports) as on:
        for running in (off, on):
            asyncio.run(_talk(running, speech, 1, 3.0))  # what is loaded once
        pairs: list[tuple[float, float]] = []
        for number in range(PAIRS):
            first, second = (off, on) if number % 2 else (on, off)
            both = [asyncio.run(_talk(running, speech, TALKING, TALKING_S)) for running in (first, second)]
            pairs.append((both[0], both[1]) if number % 2 else (both[1], both[0]))
    ratios = [with_them / without for without, with_them in pairs]
    return {
        "talking": TALKING, "off_core_percent": round(statistics.median(pair[0] for pair in pairs), 1),
        "on_core_percent": round(statistics.median(pair[1] for pair in pairs), 1),
        "on_over_off": round(statistics.median(ratios), 3),
        "on_over_off_range": [round(min(ratios), 3), round(max(ratios), 3)],
    }  # fmt: skip


async def _talk(running: Server, speech: bytes, sessions: int, lasts_s: float) -> float:
    """Let so many talk, and return what the server used of a core, in percent."""
    loop = asyncio.get_running_loop()
    tasks = [asyncio.create_task(Call(running.url, [speech] * 1_000).run()) for _ in range(sessions)]
    await asyncio.sleep(2.0)  # until all are connected
    began_s, cpu_s = loop.time(), running.cpu_s
    await asyncio.sleep(lasts_s)
    percent = (running.cpu_s - cpu_s) / (loop.time() - began_s) * 100
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return percent


def tracing_rows(v: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows of the table."""
    load = f"{v['sessions']} sessions, each a turn every {v['turn_s']:g} s"
    shares = f"{v['metrics_core_percent']:.1f}, {v['traces_core_percent']:.1f} % of a core"
    in_loop = f"{v['metrics_loop_percent']:.1f}, {v['traces_loop_percent']:.1f} %"
    spread = " to ".join(f"{ratio:.2f}" for ratio in v["on_over_off_range"])
    return [
        (
            f"{name}: a transition, a turn in the event loop",
            f"{v[f'{key}_transition_us']:.1f}, {v[f'{key}_turn_us']:.0f} µs", "tracing",
        )
        for name, key in (("metrics", "metrics"), ("traces", "traces"))
    ] + [
        (
            f"metrics, traces of {load}, all of it",
            f"{shares}; in the event loop {in_loop}",
            "tracing",
        ),
        (
            f"a server with {v['talking']} sessions talking without a rest, metrics and traces off / on",
            f"{v['off_core_percent']:.0f} / {v['on_core_percent']:.0f} % of a core; {v['on_over_off']:.2f} times ({spread})",
            "tracing",
        ),
    ]  # fmt: skip
