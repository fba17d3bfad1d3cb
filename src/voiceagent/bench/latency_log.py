"""What it costs to read a large log: ``voiceagent latency`` and ``replay`` on a written one, as processes of their own.

The log is made of drawn turns, which are repeated under other sessions until it is as large as is wanted; it is deleted
afterwards. Each of its transitions replays.
"""

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from voiceagent.bench.processes import BenchError
from voiceagent.records import COMPONENTS, TransitionLine, TurnLine
from voiceagent.states import Leaf, Trigger
from voiceagent.timeline import response_gap

SIZE_MB = 1_000
SESSIONS, TURNS = 200, 5
"""Of the part that is repeated: sessions, and turns of each."""
ROUND = "@@@@@@"
"""Stands in the names of sessions for the number of the repetition."""
STEPS: tuple[tuple[Leaf, Trigger, Leaf, str], ...] = (
    (Leaf.LISTENING, Trigger.VOICE_ON, Leaf.TRANSCRIBING_OPEN, "speech_start"),
    (Leaf.TRANSCRIBING_OPEN, Trigger.PAUSE, Leaf.TRANSCRIBING_OPEN, "commit"),
    (Leaf.TRANSCRIBING_OPEN, Trigger.ITEM_FINAL, Leaf.TRANSCRIBING_OPEN, "stt_final"),
    (Leaf.TRANSCRIBING_OPEN, Trigger.ENDPOINT, Leaf.TRANSCRIBING_ENDED, "endpoint"),
    (Leaf.TRANSCRIBING_ENDED, Trigger.TEXT_READY, Leaf.THINKING, "endpoint"),
    (Leaf.THINKING, Trigger.FIRST_FRAME, Leaf.SPEAKING, "gate_open"),
    (Leaf.SPEAKING, Trigger.PLAYBACK_ENDED, Leaf.LISTENING, "playback_end"),
)
"""The steps of a plain turn, each with the mark at which it is made."""
COMMANDS: dict[str, tuple[str, ...]] = {
    "latency": ("latency", "--json"),
    "page": ("latency", "--json", "--html", os.devnull),
    "replay": ("replay", "--quiet"),
}

PROGRAM = """
import sys
from voiceagent.cli import main
try:
    main()
finally:
    import time
    print(open("/proc/self/status").read(), "cpu_s:", time.process_time(), file=sys.stderr)
"""
"""The command, which tells its memory and processor time at the end; from outside its memory is that of who forked it."""


def latency_log(*, size_mb: int = SIZE_MB) -> dict[str, Any]:
    """Write a log of so many megabytes, read it by each command, and return seconds and peak memory of each."""
    with tempfile.TemporaryDirectory(prefix="voiceagent-bench-") as folder:
        path = Path(folder) / "log.jsonl"
        figures: dict[str, Any] = {"size_mb": size_mb, **write(path, size_mb * 1_000_000)}
        for name, words in COMMANDS.items():
            seconds, cpu_s, peak_mb = _measured([words[0], str(path), *words[1:]])
            figures |= {
                f"{name}_s": round(seconds, 2),
                f"{name}_cpu_s": round(cpu_s, 2),
                f"{name}_peak_mb": round(peak_mb, 1),
            }
    return figures


def _measured(words: list[str]) -> tuple[float, float, float]:
    """Run a command; return how long it took, its processor time, and its largest resident size in megabytes."""
    began_s = time.perf_counter()
    ran = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False)  # noqa: S603
    took_s = time.perf_counter() - began_s
    peak, cpu = re.search(r"VmHWM:\s*(\d+) kB", ran.stderr), re.search(r"cpu_s: ([\d.]+)", ran.stderr)
    if ran.returncode or peak is None or cpu is None:
        raise BenchError(f"voiceagent {words[0]} ended with {ran.returncode}")
    return took_s, float(cpu[1]), int(peak[1]) / 1024


def write(path: Path, size: int) -> dict[str, int]:
    """Write at least so many bytes of log; return how many lines and turns they are."""
    part = part_of_log()
    lines, turns, written, rounds = part.count(b"\n"), SESSIONS * TURNS, 0, 0
    with path.open("wb") as log:
        while written < size:
            written += log.write(part.replace(ROUND.encode(), f"{rounds:06x}".encode()))
            rounds += 1
    return {"lines": lines * rounds, "turns": turns * rounds}


def part_of_log() -> bytes:
    """The part that is repeated: whole sessions, one after the other."""
    draw = random.Random(1)  # noqa: S311 - it is to repeat
    out: list[str] = []
    for session in range(SESSIONS):
        name, at_us, seq = f"{ROUND}{session:06x}", session * 60_000_000, 0
        for turn in range(1, TURNS + 1):
            marks = _marks(draw, at_us)
            entered_us = at_us
            for source, trigger, target, mark in STEPS:
                seq += 1
                out.append(_json(_transition(name, (seq, turn), (source, trigger, target), marks[mark], entered_us)))
                entered_us = marks[mark] if target is not source else entered_us
            out.append(_json(_turn(name, turn, marks)))
            at_us = marks["playback_end"] + 500_000
        gone = (Leaf.LISTENING, Trigger.LEAVE, Leaf.CLOSED)
        out.append(_json(_transition(name, (seq + 1, TURNS), gone, at_us, entered_us)))
    return "".join(out).encode()


def _json(line: TransitionLine | TurnLine) -> str:
    return line.model_dump_json(by_alias=True, exclude_none=False) + "\n"


def _marks(draw: random.Random, at_us: int) -> dict[str, int]:
    """Moments of a turn with an early reply, in microseconds."""

    def later(us: int, low_ms: int, high_ms: int) -> int:
        return us + draw.randint(low_ms * 1000, high_ms * 1000)

    end = later(at_us, 800, 4_000)
    marks = {"speech_start": at_us, "speech_end": end, "speech_end_arrived": later(end, 10, 40)}
    marks["endpoint"] = later(marks["speech_end_arrived"], 450, 1_100)
    before = "commit"
    marks[before] = later(marks["speech_end_arrived"], 100, 120)
    for name, low_ms, high_ms in (
        ("stt_final", 60, 250), ("llm_request", 0, 1), ("llm_first_token", 150, 700), ("tts_request", 10, 60),
        ("tts_first_byte", 80, 400),
    ):  # fmt: skip
        marks[name] = later(marks[before], low_ms, high_ms)
        before = name
    marks["stt_final"] = min(marks["stt_final"], marks["endpoint"])
    marks["gate_open"] = max(marks["tts_first_byte"], marks["endpoint"])
    marks["first_frame_sent"] = later(marks["gate_open"], 0, 3)
    marks["playback_start"] = later(marks["first_frame_sent"], 50, 90)
    marks["playback_end"] = later(marks["playback_start"], 1_000, 9_000)
    return marks


def _transition(
    session: str, numbers: tuple[int, int], step: tuple[Leaf, Trigger, Leaf], at_us: int, entered_us: int
) -> TransitionLine:
    """`numbers` are the record's and the turn's."""
    (seq, turn), (source, trigger, target) = numbers, step
    return TransitionLine.model_validate(
        {
            "schema": "voice.transition/1", "timestamp": "2026-01-01T00:00:00.000000Z", "session": session, "turn": turn,
            "epoch": 2 * turn, "seq": seq, "at_us": at_us, "from": source.value, "trigger": trigger.value,
            "to": target.value, "dwell_us": at_us - entered_us, "deadline_us": at_us + 10_000_000, "reason": "",
            "started": (f"reply {turn}",), "cancelled": (), "ended": (),
        }
    )  # fmt: skip


def _turn(session: str, turn: int, marks: dict[str, int]) -> TurnLine:
    start, gap = marks["speech_start"], response_gap(marks, rtt_us=30_000)
    if gap is None:
        raise AssertionError("the turn has both ends")
    return TurnLine.model_validate(
        {
            "schema": "voice.turn/1", "timestamp": f"2026-01-01T{turn:02}:00:00.000000Z", "session": session, "turn": turn,
            "epoch": 2 * turn, "version": "0", "trace": "0" * 32, "parent": None, "origin": "user", "outcome": "completed",
            "started_us": start, "duration_ms": (marks["playback_end"] - start) / 1000,
            "path": ("transcribing_open", "transcribing_ended", "thinking", "speaking", "listening"),
            "marks_ms": {name: (at_us - start) / 1000 for name, at_us in marks.items()},
            "gap_ms": gap.gap_us / 1000, "basis": gap.basis,
            "segments_ms": {name: us / 1000 for name, us in gap.segments_us.items()},
            "due": {name: COMPONENTS[name] for name in gap.segments_us}, "hidden_ms": gap.hidden_us / 1000,
            "residual_ms": gap.residual_us / 1000, "pauses_ms": (240,), "pause_waits_ms": (650,),
            "wait_ms": 650, "wait_reason": "question",
            "speculation": {"tries": 1, "hit": True, "saved_ms": 200, "wasted_tokens": 0, "wasted_characters": 0},
            "fillers": 0, "voiced_ms": 1_500, "barge_ins": (), "reopened": 0, "heard_ms": 2_000, "reply_ms": 2_000,
            "heard": {"characters": 60, "words": 12, "of_characters": 60, "of_words": 12},
            "stt": {"host": "stt.example", "model": "some-stt", "audio_ms": 2_100, "items": 1, "retries": 0},
            "llm": {
                "host": "llm.example", "model": "some-llm", "tokens_in": 310, "tokens_out": 40, "tokens_cached": 0,
                "finish": "stop", "attempts": 1,
            },
            "tts": {
                "host": "tts.example", "model": "some-tts", "characters": 60, "audio_ms": 2_000, "real_time_factor": 0.2,
                "underruns": 0,
            },
            "network": {"rtt_ms": 30, "jitter_ms": 4, "offset_ms": 5},
            "usage": {"prompt_tokens": 310, "completion_tokens": 40}, "rtt_ms": 30, "faults": (),
            "connections": {"llm": {"acquire_ms": 0, "reused": True}, "tts": {"acquire_ms": 0, "reused": True}},
        }
    )  # fmt: skip


def latency_rows(v: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The rows of the table: what, figure, and the words after ``voiceagent bench``."""
    log = f"a log of {v['size_mb']:,} MB ({v['turns']:,} turns in {v['lines']:,} lines)"
    named = {"latency": "`voiceagent latency`", "page": "the same with `--html`", "replay": "`voiceagent replay`"}
    return [
        (
            f"{what} on {log}",
            f"{v[f'{name}_s']:.1f} s ({v[f'{name}_cpu_s']:.1f} s of processor time), {v[f'{name}_peak_mb']:.0f} MB at most",
            "latency",
        )
        for name, what in named.items()
    ]
