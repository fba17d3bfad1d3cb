"""The commands of docs/latency.md and the logs that they are tried on: dialogs of the suite, played on virtual time."""

import json
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from voiceagent import effects
from voiceagent.cli import main
from voiceagent.dialogs.play import play, shipped
from voiceagent.dialogs.scripts import scripts
from voiceagent.simulation.lines import as_written

FAMILIES, EACH = ("plain", "pausing"), 10
BEGAN = datetime(2026, 11, 29, 9, tzinfo=UTC)
LOGS: dict[str, dict[str, Any]] = {"today.jsonl": {}, "before.jsonl": {"speculate": False}}
"""The logs that the guide speaks of, and the settings of each."""
CHANGED = "changed.jsonl"
"""The first of them with one word changed."""


def write_logs(folder: Path) -> None:
    """Write the logs into a folder."""
    for name, settings in LOGS.items():
        (folder / name).write_text(_dialogs(tuple(settings.items())), encoding="utf-8")
    lines = (folder / next(iter(LOGS))).read_text(encoding="utf-8").splitlines(keepends=True)
    place = next(place for place, line in enumerate(lines) if '"to": "thinking"' in line)
    lines[place] = lines[place].replace('"to": "thinking"', '"to": "listening"')
    (folder / CHANGED).write_text("".join(lines), encoding="utf-8")


@cache
def _dialogs(settings: tuple[tuple[str, Any], ...]) -> str:
    """A log of dialogs, one after the other, as lines."""
    chosen = [each for family in FAMILIES for each in [one for one in scripts() if one.family == family][:EACH]]
    return "".join(line for number, script in enumerate(chosen) for line in _played(script, number, dict(settings)))


def _played(script: Any, number: int, settings: dict[str, Any]) -> Iterator[str]:
    began_us = None
    for at_us, _, what in play(script, 1, shipped(**settings)).entries:
        if isinstance(what, effects.Record):
            began_us = at_us if began_us is None else began_us
            at = BEGAN + timedelta(minutes=5 * number, microseconds=at_us - began_us)
            line = as_written(what.record) | {"session": f"call-{number + 1:02}", "timestamp": at.isoformat()}
            line.pop("content", None)
            yield json.dumps(line) + "\n"


def shown(command: str, folder: Path) -> str:
    """What a command prints, its files being those of the folder."""
    files = {*LOGS, CHANGED}
    words = [str(folder / word) if word in files else word for word in shlex.split(command)[1:]]
    ran = CliRunner().invoke(main, words, env={"COLUMNS": "120"})
    told = (ran.stdout + ran.stderr).replace(f"{folder}/", "")
    return "\n".join(line.rstrip() for line in told.splitlines())
