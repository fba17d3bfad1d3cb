"""``voiceagent bench``: figures by scripted back-ends, as JSON or as the table of the README."""

import json
import sys
from pathlib import Path
from typing import Any

from voiceagent.bench.measures import bargein, gap, load, start
from voiceagent.bench.processes import BenchError

README = Path("README.md")
FULL_PERCENT = 90


def run(name: str, *, as_json: bool, readme: bool, endpoint_ms: int) -> int:
    """Measure and print; 1 with a sentence if it cannot be done."""
    measures = {"gap": lambda: gap(endpoint_ms=endpoint_ms), "bargein": bargein, "load": load, "start": start}
    chosen = measures if name == "all" else {name: measures[name]}
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


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Return the figures as a Markdown table."""
    rows = [row for name, values in figures.items() for row in _ROWS[name](values)]
    lines = [f"| {what} | {figure} | `voiceagent bench {name}` |" for what, figure, name in rows]
    return "\n".join(["| What | Figure | Command |", "|---|---|---|", *lines]) + "\n"


def with_table(text: str, rows: str) -> str:
    """Return the README with the table between its markers."""
    head, _, rest = text.partition("<!-- bench -->")
    _, _, tail = rest.partition("<!-- /bench -->")
    return f"{head}<!-- bench -->\n{rows}<!-- /bench -->{tail}"


def _gap_rows(v: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (f"response gap where the script alone takes {v['scripted_ms']} ms, p50 / p95",
         f"{v['gap_p50_ms']:.0f} / {v['gap_p95_ms']:.0f} ms", "gap"),
        ("of it our own, p50 (less one frame of 20 ms)", f"{v['own_p50_ms']:.1f} ms", "gap"),
    ]  # fmt: skip


def _bargein_rows(v: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (
            "speech over a reply: onset to hold, p50 / p95",
            f"{v['hold_p50_ms']:.0f} / {v['hold_p95_ms']:.0f} ms",
            "bargein",
        ),
        (
            "onset to flush (600 ms of voice without a word), p50 / p95",
            f"{v['flush_p50_ms']:.0f} / {v['flush_p95_ms']:.0f} ms",
            "bargein",
        ),
    ]


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


_ROWS: dict[str, Any] = {"gap": _gap_rows, "bargein": _bargein_rows, "load": _load_rows, "start": _start_rows}
