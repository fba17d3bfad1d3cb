"""What the log costs: a record in the event loop and in the thread, each sink's pace, and the share of a core under load."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from voiceagent.bench.processes import BenchError
from voiceagent.bench.reckoning import quantile
from voiceagent.logs import RecordLog
from voiceagent.settings import Settings
from voiceagent.sinks import FileSink, Sink, StreamSink
from voiceagent.timeline import (
    BargeIn,
    Connection,
    Heard,
    LlmWork,
    Network,
    Speculation,
    SttWork,
    TransitionRecord,
    TtsWork,
    TurnRecord,
    response_gap,
)

STEPS_PER_TURN = 14
SESSIONS = 100
TURN_S = 5.0
"""A session's turn, with its reply, in the load of `SESSIONS`: nobody rests."""
PACED_S = 3.0
ROUNDS = 3
RECORDS = 45_000
CHUNK = 4_500  # less than the queue holds
ROTATED_BYTES = 2_000_000

STEP = TransitionRecord(
    seq=1_234, at_us=98_765_432_109, turn=87, epoch=91, source="thinking", trigger="first_frame", target="speaking",
    dwell_us=435_233, deadline_us=98_773_432_109, reason="the gate is open", started=("reply 91",), outbox=3,
    loop_lag_us=412,
)  # fmt: skip
_STARTED_US = 98_760_000_000
_MARKS = {
    name: _STARTED_US + at_ms * 1000
    for name, at_ms in {
        "speech_start": 0, "speech_end": 1_400, "speech_end_arrived": 1_410, "pause_noticed": 1_510, "commit": 1_511,
        "stt_first_partial": 400, "stt_final": 1_700, "llm_request": 1_702, "llm_first_token": 1_900,
        "tts_request": 1_980, "tts_first_byte": 2_100, "endpoint": 2_060, "gate_open": 2_110,
        "first_frame_sent": 2_112, "playback_start": 2_190, "playback_end": 4_900,
    }.items()
}  # fmt: skip
TURN = TurnRecord(
    turn=87, parent=86, origin="user", outcome="completed", started_us=_STARTED_US, ended_us=_STARTED_US + 4_900_000,
    epoch=91, path=("listening", "transcribing_open", "transcribing_ended", "thinking", "speaking", "listening"),
    marks=_MARKS, gap=response_gap(_MARKS, rtt_us=21_000), pauses_ms=(240,), pause_waits_ms=(650,),
    wait_ms=650, wait_reason="neutral",
    speculation=Speculation(tries=1, hit=True, saved_us=310_000), fillers=0, voiced_ms=1_200,
    barge_ins=(BargeIn(_STARTED_US, "speaking", 64_000, "rejected", "backchannel", 610_000, 580_000),),
    heard_samples=64_000, reply_samples=64_000, usage={"llm_input_tokens": 412, "llm_output_tokens": 31},
    rtt_us=21_000, reopened=0, faults=(),
    connections={stage: Connection(0, reused=True) for stage in ("stt", "llm", "tts")}, heard=Heard(120, 22, 120, 22),
    version="0.1.0", trace="0123456789abcdef0123456789abcdef", stt=SttWork("a.example", "s", 2_000_000, 1, 0),
    llm=LlmWork("a.example", "l", 412, 31, 256, "stop", 1), tts=TtsWork("a.example", "t", 120, 2_700_000, 0.4, 0),
    network=Network(21_000, 4_000, -1_000_000), loop_lag_us=900, cost_usd=0.0012,
)  # fmt: skip


def records() -> dict[str, Any]:
    """Measure; times in microseconds of one core, rates in records (fourteen transitions and a turn) a second."""
    with TemporaryDirectory() as folder:
        return {
            "transition_put_us": _put_us(STEP), "turn_put_us": _put_us(TURN),
            "transition_thread_us": _thread_us(STEP), "turn_thread_us": _thread_us(TURN),
            "per_s": {name: _per_s(sink) for name, sink in _sinks(Path(folder))},
            **_paced(Path(folder) / "paced.jsonl"),
        }  # fmt: skip


def _log(sink: Sink) -> RecordLog:
    return RecordLog(Settings(_env_file=None, backend="local"), sinks=[sink])


def _put(log: RecordLog, record: TransitionRecord | TurnRecord, count: int) -> None:
    for _ in range(count):
        log.record("0123456789ab", record)


@contextmanager
def _nowhere() -> Iterator[Sink]:
    with Path(os.devnull).open("w", encoding="utf-8") as stream:
        yield StreamSink(stream, name="null", pretty=False)


def _put_us(record: TransitionRecord | TurnRecord) -> float:
    """What a record costs whoever puts it, while no thread writes."""
    spent = []
    for _ in range(5):
        with _nowhere() as sink:
            log = _log(sink)
            began_ns = time.thread_time_ns()
            _put(log, record, CHUNK)
            spent.append((time.thread_time_ns() - began_ns) / CHUNK / 1000)
            log.start()
            _ended(log)
    return round(statistics.median(spent), 2)


def _thread_us(record: TransitionRecord | TurnRecord) -> float:
    """What the thread spends on it."""
    spent = []
    for _ in range(5):
        with _nowhere() as sink:
            log = _log(sink)
            _put(log, record, CHUNK)
            began_ns, own_ns = time.process_time_ns(), time.thread_time_ns()
            log.start()
            _ended(log)
            spent.append((time.process_time_ns() - began_ns - time.thread_time_ns() + own_ns) / CHUNK / 1000)
    return round(statistics.median(spent), 1)


def _sinks(folder: Path) -> Iterator[tuple[str, Sink]]:
    with _nowhere() as sink:
        yield "stdout to nowhere", sink
    reader = ["cat"]
    with subprocess.Popen(  # noqa: S603 - the reader of a pipe
        reader, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        if process.stdin is None:
            raise BenchError("there is no pipe")
        yield "stdout to a pipe", StreamSink(process.stdin, name="pipe", pretty=False)
    yield "a file", FileSink(folder / "one.jsonl", max_bytes=1_000_000_000, keep=1)
    yield "a file, rotated every 2 MB", FileSink(folder / "many.jsonl", max_bytes=ROTATED_BYTES, keep=3)


def _per_s(sink: Sink) -> int:
    """How many records a second come through to a sink, none dropped."""
    log = _log(sink)
    log.start()
    began_s = time.perf_counter()
    for _ in range(RECORDS // CHUNK):
        for _ in range(CHUNK // (STEPS_PER_TURN + 1)):
            _put(log, STEP, STEPS_PER_TURN)
            _put(log, TURN, 1)
        if not log.flush():
            raise BenchError("the log's thread does not keep up")
    per_s = RECORDS / (time.perf_counter() - began_s)
    _ended(log)
    return round(per_s)


def _ended(log: RecordLog) -> None:
    if not log.close() or any(log.dropped.values()):
        raise BenchError(f"the log has lost records: {log.dropped}")


def _paced(path: Path) -> dict[str, Any]:
    """The load of a hundred sessions: how long each put takes, and what all of it costs less the same loop without it."""
    log = _log(FileSink(path, max_bytes=1_000_000_000, keep=1))
    log.start()
    spent_ns, waits_us = [], []
    for _ in range(ROUNDS):
        idle_ns, _ = _driven(lambda _: None)
        busy_ns, waited_us = _driven(lambda record: log.record("0123456789ab", record))
        spent_ns.append(busy_ns - idle_ns)
        waits_us += waited_us
    _ended(log)
    return {
        "paced_put_p50_us": round(statistics.median(waits_us), 1), "paced_put_p99_us": round(quantile(waits_us, 0.99), 1),
        "records_per_s": round(len(waits_us) / PACED_S / ROUNDS), "sessions": SESSIONS,
        "core_percent": round(statistics.median(spent_ns) / PACED_S / 1e9 * 100, 2),
    }  # fmt: skip


def _driven(take: Callable[[TransitionRecord | TurnRecord], None]) -> tuple[int, list[float]]:
    """Have a hundred sessions' records come, each by itself; return the process's time, and how long each was taken."""
    per_turn, waits_us = STEPS_PER_TURN + 1, []
    count = round(PACED_S / TURN_S * SESSIONS * per_turn)
    spent_ns, began_s = time.process_time_ns(), time.perf_counter()
    for number in range(count):
        record = TURN if number % per_turn == STEPS_PER_TURN else replace(STEP, seq=number + 1)
        began_ns = time.perf_counter_ns()
        take(record)
        waits_us.append((time.perf_counter_ns() - began_ns) / 1000)
        time.sleep(max(0.0, began_s + (number + 1) * PACED_S / count - time.perf_counter()))
    return time.process_time_ns() - spent_ns, waits_us


def record_rows(v: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows of the table."""
    paced = f"{v['paced_put_p50_us']:.0f} / {v['paced_put_p99_us']:.0f} µs"
    load = f"{v['sessions']} sessions, each a turn every {TURN_S:g} s ({v['records_per_s']} records a second)"
    return [
        (
            "a transition, a turn of the log: cost in the event loop",
            f"{v['transition_put_us']:.1f}, {v['turn_put_us']:.1f} µs", "records",
        ),
        (
            "the same in the log's thread",
            f"{v['transition_thread_us']:.0f}, {v['turn_thread_us']:.0f} µs", "records",
        ),
        *((f"records through {name}", f"{rate:,} a second", "records") for name, rate in v["per_s"].items()),
        (f"the log of {load}, all of it", f"{v['core_percent']:.1f} % of a core", "records"),
        ("a record in the event loop under that load, p50 / p99", paced, "records"),
    ]  # fmt: skip
