"""``voiceagent latency``: reads the logs once, prints what they come to, and compares."""

import json
import sys
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live

from voiceagent.latency import tables
from voiceagent.latency.against import Drawn, as_json, differences, regressions
from voiceagent.latency.lines import STDIN, Unreadable, blocks, grown, rest
from voiceagent.latency.reading import Located, Reading, read, records
from voiceagent.latency.reckoning import Reckoning, figures, percentiles
from voiceagent.latency.timelines import Timelines
from voiceagent.latency.what_if import BadWhatIf, Effect, parse
from voiceagent.records import TurnLine

DONE, SLOWER, UNUSABLE = 0, 1, 2
"""Exit codes: the figures are there; they are worse than allowed; the command or the file is of no use."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for."""

    logs: tuple[str, ...]
    by: str | None = None
    slowest: int = 5
    what_if: tuple[str, ...] = ()
    against: Path | None = None
    fail_above_ms: float | None = None
    follow: bool = False
    as_json: bool = False
    html: Path | None = None


class BadWish(ValueError):  # noqa: N818 - a sentence for the user, not a mistake
    """The options do not go together; the message says which."""


def run(wish: Wish) -> int:
    """Read, print, and return the exit code; what is wrong with a line or a file is told on standard error."""
    errors = Console(stderr=True, highlight=False)
    try:
        return _Reading(wish, errors).run()
    except (Unreadable, BadWish, BadWhatIf) as error:
        sys.stderr.write(f"voiceagent: {error}\n")
        return UNUSABLE


class _Reading:
    """One run of the command."""

    def __init__(self, wish: Wish, errors: Console) -> None:
        _check(wish)
        self.wish, self.errors = wish, errors
        self.effects = [Effect(parse(text)) for text in wish.what_if]
        self.taken = Reckoning(by=wish.by, slowest=wish.slowest, hourly=wish.html is not None)
        self.reading = Reading()
        self.drawn = Drawn() if wish.against is not None else None
        self.timelines = Timelines() if wish.html is not None else None
        # A terminal tells its width; what is read by something else is not to be folded.
        _never_mind_letters(sys.stdout)
        self.console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)

    def run(self) -> int:
        """Take everything in and tell it."""
        if self.wish.follow:
            self._follow()
        else:
            for found in read(self.wish.logs, self.reading, transitions=self.timelines is not None):
                self._take(found)
        tables.left_out(self.reading, self.errors)
        if not self.taken.all.turns:
            raise BadWish(f"there is no turn in {' '.join(self.wish.logs)}")
        told = figures(self.taken) | {"reading": _reading(self.reading)}
        if self.effects:
            told["what_if"] = [_effect(effect) for effect in self.effects]
        code, found_differences = DONE, None
        if self.wish.against is not None and self.drawn is not None:
            old = self._old(self.wish.against)
            found_differences = differences(old, self.drawn)
            told["against"] = as_json(found_differences, old, self.drawn)
            worse = regressions(found_differences, self.wish.fail_above_ms or 0.0)
            code = SLOWER if worse and self.wish.fail_above_ms is not None else DONE
        if self.wish.as_json:
            sys.stdout.write(json.dumps(told) + "\n")
        else:
            self.console.print(tables.everything(self.taken, self.effects))
            if found_differences is not None and self.drawn is not None:
                self.console.print("", tables.compared(found_differences, old, self.drawn))
        if self.wish.html is not None and self.timelines is not None:
            self._write(self.wish.html, told, self.timelines)
        return code

    def _take(self, found: Located) -> None:
        record = found.record
        if self.timelines is not None:
            self.timelines.take(record)
        if isinstance(record, TurnLine):
            self.taken.take(record)
            for effect in self.effects:
                effect.take(record)
            if self.drawn is not None:
                self.drawn.take(record)

    def _follow(self) -> None:
        """Print turn after turn as it is written, until interrupted; then the tables.

        What the file has at the beginning is counted, but not told turn by turn.
        """
        path = self.wish.logs[0]
        live = (
            Live(console=self.console, auto_refresh=False)
            if self.console.is_terminal and not self.wish.as_json
            else None
        )
        caught_up = path == STDIN
        shown = -1  # turns that are in the tables on the screen

        def wait() -> bool:
            nonlocal caught_up, shown
            caught_up = True
            if live is not None and shown != self.taken.all.turns:
                shown = self.taken.all.turns
                live.update(tables.everything(self.taken, self.effects), refresh=True)
            return rest()

        wanted = self.timelines is not None
        stream = blocks(path) if path == STDIN else grown(path, wait)
        try:
            if live is not None:
                live.start()
            for found in records(path, stream, self.reading, transitions=wanted):
                self._take(found)
                if caught_up and isinstance(found.record, TurnLine):
                    self._tell(found.record)
        except KeyboardInterrupt:
            pass
        finally:
            if live is not None:
                live.update("", refresh=True)
                live.stop()

    def _tell(self, turn: TurnLine) -> None:
        if self.wish.as_json:
            sys.stdout.write(turn.model_dump_json(by_alias=True, exclude={"content"}) + "\n")
            sys.stdout.flush()
        else:
            self.console.print(tables.one_turn(turn), soft_wrap=True)

    def _old(self, path: Path) -> Drawn:
        drawn, reading = Drawn(), Reading()
        for found in read([str(path)], reading, transitions=False):
            if isinstance(found.record, TurnLine):
                drawn.take(found.record)
        tables.left_out(reading, self.errors)
        if not drawn.seen:
            raise BadWish(f"there is no turn with a response gap in {path}")
        return drawn

    def _write(self, path: Path, told: dict[str, Any], timelines: Timelines) -> None:
        from voiceagent.latency.page import page

        text = page(self.taken, told, timelines, self.effects, self.wish.logs)
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Unreadable(f"cannot write {path}: {error.strerror}") from None
        self.errors.print(f"{path} is written", soft_wrap=True, markup=False)


def _never_mind_letters(stream: TextIO) -> None:
    """Where the output has no letter for a bar, a question mark stands instead of a traceback."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="replace")


def _check(wish: Wish) -> None:
    if wish.follow and len(wish.logs) != 1:
        raise BadWish("one log can be followed at a time")
    if wish.follow and wish.against is not None:
        raise BadWish("a log that is followed cannot be compared: it has no end")
    if wish.fail_above_ms is not None and wish.against is None:
        raise BadWish("--fail-above-ms says how much slower than the log of --against is too much")
    if (*wish.logs, str(wish.against)).count(STDIN) > 1:
        raise BadWish("standard input can be read once")
    if wish.html is not None and (str(wish.html) == STDIN or (wish.html.exists() and _read_too(wish.html, wish))):
        raise BadWish(f"--html needs a file of its own, and {wish.html} is none")


def _read_too(html: Path, wish: Wish) -> bool:
    """Tell whether the page would be written over a log that is read."""
    logs = [Path(log) for log in wish.logs if log != STDIN] + ([wish.against] if wish.against is not None else [])
    return any(log.exists() and html.samefile(log) for log in logs)


def _reading(reading: Reading) -> dict[str, Any]:
    return {
        "lines": reading.lines, "turns": reading.turns, "transitions": reading.transitions, "others": reading.others,
        "bad": reading.bad, "foreign": reading.foreign,
        "first_wrong": [{"file": each.file, "line": each.line, "reason": each.reason} for each in reading.first_wrong],
    }  # fmt: skip


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "what": effect.what.text, "sentence": tables.sentence(effect), "turns": effect.before.count,
        "before": percentiles(effect.before), "after": percentiles(effect.after), "judged": effect.judged,
        "cut_off": effect.cut_off, "already_cut_off": effect.already, "spared": effect.spared,
        "left_out": effect.left_out,
    }  # fmt: skip
