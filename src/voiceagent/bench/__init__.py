"""``voiceagent bench``: figures by scripted back-ends, as JSON or as the table of the README."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from voiceagent.bench.clients import client_rows, clients
from voiceagent.bench.latency_log import latency_log, latency_rows
from voiceagent.bench.measures import bargein, load, start
from voiceagent.bench.processes import BenchError
from voiceagent.bench.profiles import PROFILES
from voiceagent.bench.records import record_rows, records
from voiceagent.bench.response_gap import gap
from voiceagent.bench.stragglers import stragglers
from voiceagent.bench.tracing import tracing, tracing_rows

README = Path("README.md")
FULL_PERCENT = 90
GAPS: tuple[tuple[str, int], ...] = (
    ("peers", 200), ("peers", 500), ("mid", 500), ("seed", 500), ("seed-streaming", 500), ("openai26", 500), ("zero", 200),
)  # fmt: skip
"""The rows of the gap: profile and endpoint wait."""
PEERS = """
With the delays of `peers` and the same 200 ms of silence, LiveKit Agents 1.8.9, tuned by hand, takes 594 ms, Pipecat 1.14.0, \
tuned by hand, 710, and a bare server without a framework 547. We start at a pause of 100 ms and the peers at 200.
"""


def run(name: str, *, as_json: bool, readme: bool, profile: str, endpoint_ms: int | None) -> int:
    """Measure and print; 1 with a sentence if it cannot be done."""
    others: dict[str, Callable[[], dict[str, Any]]] = {
        "bargein": bargein, "load": load, "start": start, "clients": clients, "records": records, "stragglers": stragglers,
        "latency": latency_log, "tracing": tracing,
    }  # fmt: skip
    if name == "all":
        chosen = {_command(*each): _gap(*each) for each in GAPS} | others
        del chosen["stragglers"]  # it measures no server; docs/tuning.md has its table
    else:
        chosen = {"gap": _gap(profile, endpoint_ms)} if name == "gap" else {name: others[name]}
    figures: dict[str, dict[str, Any]] = {}
    try:
        for each, measure in chosen.items():
            sys.stderr.write(f"measuring {each}\n")
            figures[each] = measure()
    except BenchError as error:
        sys.stderr.write(f"voiceagent: {error}\n")
        return 1
    if as_json:
        sys.stdout.write(json.dumps(figures if name == "all" else figures[name]) + "\n")
    else:
        sys.stdout.write(table(figures))
    if readme:
        README.write_text(with_table(README.read_text(encoding="utf-8"), table(figures)), encoding="utf-8")
    return 0


def _gap(profile: str, endpoint_ms: int | None) -> Callable[[], dict[str, Any]]:
    return lambda: gap(profile, endpoint_ms=endpoint_ms)


def _command(profile: str, endpoint_ms: int) -> str:
    """The words after ``voiceagent bench`` that measure it."""
    words = "gap" if profile == "peers" else f"gap --profile {profile}"
    return words if endpoint_ms == PROFILES[profile].endpoint_ms else f"{words} --endpoint-ms {endpoint_ms}"


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Return the figures as a Markdown table, and beneath it what its gaps are to be compared with."""
    rows = [row for name, values in figures.items() for row in _ROWS[name.partition(" ")[0]](values)]
    lines = [f"| {what} | {figure} | `voiceagent bench {name}` |" for what, figure, name in rows]
    compared = PEERS if any(values.get("profile") == "peers" for values in figures.values()) else ""
    return "\n".join(["| What | Figure | Command |", "|---|---|---|", *lines]) + "\n" + compared


def with_table(text: str, rows: str) -> str:
    """Return the README with the table between its markers."""
    head, _, rest = text.partition("<!-- bench -->")
    _, _, tail = rest.partition("<!-- /bench -->")
    return f"{head}<!-- bench -->\n{rows}<!-- /bench -->{tail}"


def _gap_rows(v: dict[str, Any]) -> list[tuple[str, str, str]]:
    command = _command(v["profile"], v["endpoint_ms"])
    what = f"response gap, `{v['profile']}`, endpoint wait {v['endpoint_ms']} ms, p50 / p95 (the script alone)"
    gaps = f"{v['gap_p50_ms']:.0f} / {v['gap_p95_ms']:.0f} ms ({v['scripted_ms']:.0f})"
    waste = f"{v['llm_calls_wasted_per_turn']:.2f} LLM and {v['tts_calls_wasted_per_turn']:.2f} TTS calls wasted a turn"
    rows = [(what, f"{gaps}; {waste}", command)]
    if "long_gap_p50_ms" in v:
        ratio = f"{v['long_gap_p50_ms']:.0f} ms, {v['long_over_short']:.2f} times the short turn's"
        rows.append(("the same after a dictation of 40 s, p50", ratio, command))
    if v["profile"] == "zero":
        above = f"{v['above_script_p50_ms']:.1f} / {v['above_script_p95_ms']:.1f} ms"
        rows.append(("of it our own (no frame deducted), p50 / p95", above, command))
    return rows


def _bargein_rows(v: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = [
        ("speech over a reply: onset to hold, p50 / p95", "hold"),
        ("onset of a stop word to the flush (its words decide)", "stop"),
        ("onset of 900 ms of voice without a word to the flush", "voice"),
    ]
    return [(what, f"{v[f'{key}_p50_ms']:.0f} / {v[f'{key}_p95_ms']:.0f} ms", "bargein") for what, key in rows]


def _load_rows(v: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for sessions, each in v.items():
        percent = each["cpu_percent_of_a_core_per_session"]
        full = "; the core is full" if percent * int(sessions) > FULL_PERCENT else ""
        figure = f"{percent:.1f} % of a core, {each['rss_mb_per_session']:.1f} MB{full}"
        rows.append((f"cost of a session, {sessions} at a time, talking without a rest", figure, "load"))
    return rows


def _start_rows(v: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        ("command to page, second start", f"{v['ready_ms']} ms", "start"),
        ("import of the package", f"{v['import_ms']} ms", "start"),
    ]


def _straggler_rows(v: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for run in v["runs"]:
        waits = f"second requests after {run['hedge_llm_ms']} / {run['hedge_tts_ms']} ms (LLM / TTS)"
        what = [waits] * bool(run["hedge_llm_ms"]) + ["the first phrase known"] * run["phrase_cache"]
        gaps = " / ".join(f"{run[f'gap_{each}_ms']:.0f}" for each in ("p50", "p95", "p99"))
        calls = f"{run['llm_calls_per_turn']:.2f} LLM and {run['tts_calls_per_turn']:.2f} TTS calls a turn"
        name = f"gap with the delays of `{v['profile']}` on virtual time, p50 / p95 / p99, "
        rows.append((name + (" and ".join(what) or "nothing done"), f"{gaps} ms; {calls}", "stragglers"))
    return rows


_ROWS: dict[str, Any] = {
    "gap": _gap_rows, "bargein": _bargein_rows, "load": _load_rows, "start": _start_rows,
    "clients": client_rows, "records": record_rows, "stragglers": _straggler_rows,
    "latency": latency_rows, "tracing": tracing_rows,
}  # fmt: skip
