"""`voiceagent dialogs`: every dialog with every seed on all cores, the events as CSV, the figures as JSON or as a table."""

import json
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voiceagent.dialogs.figures import WAITED_FOR, Totals, figures, summary
from voiceagent.dialogs.play import play, shipped
from voiceagent.dialogs.scoring import Event, Judge, write_csv
from voiceagent.dialogs.scripts import FAMILIES, Family, scripts
from voiceagent.dialogs.table import curve, table, with_table
from voiceagent.dialogs.waves import hush
from voiceagent.simulation.loop import START_US
from voiceagent.simulation.telling import tell

SWEEP_MS = (200, 300, 400, 500, 600, 700, 900)
SWEEP_PATIENCE = (0.0, 0.25, 0.5, 0.75, 1.0)
REAL_EVERY, REAL, REAL_SEEDS = 17, (0, 5, 11), 2
"""So every sixth dialog is played with the real ears as well, with so many seeds."""
README = Path("README.md")


@dataclass(frozen=True, slots=True)
class Job:
    """One dialog with one seed. `changes` are the settings that are not as shipped."""

    name: str
    seed: int
    ears: str = "drawn"
    changes: tuple[tuple[str, Any], ...] = ()


@dataclass(slots=True)
class Result:
    """What is known of it."""

    events: list[Event]
    totals: Totals
    transcript: list[str] = field(default_factory=list)


def perform(job: Job, *, transcript: bool = False) -> Result:
    """Play and judge one dialog."""
    by_name = {script.name: script for script in scripts()}
    take = play(by_name[job.name], job.seed, shipped(**dict(job.changes)), real=job.ears == "real")
    hush()  # the synthesiser's voice wavers on from where it was: each dialog has its own
    events = Judge(take, START_US, job.ears).events()
    turns = sum(event.label in ("turn", "barge-in") for event in events)
    totals = Totals(
        1, turns, take.seconds, take.tries, take.hits, take.wasted_tokens, take.wasted_characters,
        [f"{job.name} seed {job.seed}: {violation}" for violation in take.violations],
    )  # fmt: skip
    return Result(events, totals, tell(take.entries) if transcript else [])


def performances(jobs: Iterable[Job], processes: int) -> Iterator[Result]:
    """Perform all of them, in their order, on so many cores."""
    if processes == 1:
        yield from map(perform, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(perform, list(jobs), chunksize=4)


def gather(results: Iterable[Result]) -> tuple[list[Event], Totals]:
    """Join the results."""
    events, totals = [], Totals()
    for result in results:
        events += result.events
        one = result.totals
        totals.performances += one.performances
        totals.turns += one.turns
        totals.seconds += one.seconds
        totals.tries += one.tries
        totals.hits += one.hits
        totals.wasted_tokens += one.wasted_tokens
        totals.wasted_characters += one.wasted_characters
        totals.violations += one.violations
    return events, totals


def jobs_of(wish: "Wish", families: Sequence[Family] = FAMILIES, **changes: Any) -> list[Job]:
    """All that is to be played: every dialog with drawn ears, and some with the real ones."""
    settings = tuple(sorted((name, value) for name, value in changes.items() if value is not None))
    jobs: list[Job] = []
    for number, script in enumerate(scripts()):
        if script.family not in families or wish.dialog not in (None, script.name):
            continue
        if wish.ears != "real":
            jobs += [Job(script.name, seed, "drawn", settings) for seed in range(1, wish.seeds + 1)]
        if wish.ears != "drawn" and number % REAL_EVERY in REAL:
            jobs += [Job(script.name, seed, "real", settings) for seed in range(1, min(REAL_SEEDS, wish.seeds) + 1)]
    return jobs


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of the command."""

    seeds: int
    family: Family | None
    dialog: str | None
    ears: str
    jobs: int
    as_json: bool
    csv: Path | None
    readme: bool
    transcript: bool
    sweep: bool
    endpoint_ms: int | None
    patience: float | None


def run(wish: Wish) -> int:
    """Play all that is asked for and print it; 1 if an invariant was violated."""
    processes = wish.jobs or os.cpu_count() or 1
    if wish.sweep:
        sys.stdout.write(_sweep(wish, processes))
        return 0
    families = FAMILIES if wish.family is None else (wish.family,)
    jobs = jobs_of(wish, families, endpoint_ms=wish.endpoint_ms, patience=wish.patience)
    if wish.transcript:
        for job in jobs:
            print("\n".join([f"{job.name} seed {job.seed}", *perform(job, transcript=True).transcript]))
        return 0
    events, totals = gather(performances(jobs, processes))
    told = summary(events, totals)
    if wish.csv is not None:
        with wish.csv.open("w", encoding="utf-8", newline="") as out:
            write_csv(events, out)
    sys.stdout.write(json.dumps(told) + "\n" if wish.as_json else table(told))
    if wish.readme:
        README.write_text(with_table(README.read_text(encoding="utf-8"), table(told)), encoding="utf-8")
    for violation in totals.violations[:20]:
        sys.stderr.write(f"{violation}\n")
    return 1 if totals.violations else 0


def _sweep(wish: Wish, processes: int) -> str:
    """Play the families in which callers pause with one wait after the other."""
    points: list[tuple[str, dict[str, Any]]] = []
    steps: list[tuple[str, dict[str, Any]]] = [(f"endpoint_ms {wait}", {"endpoint_ms": wait}) for wait in SWEEP_MS]
    steps += [(f"patience {dial:g}", {"patience": dial}) for dial in SWEEP_PATIENCE]
    for name, changes in steps:
        events, _ = gather(performances(jobs_of(wish, WAITED_FOR, **changes), processes))
        told: dict[str, Any] = figures(events)
        for family in WAITED_FOR:
            told[family] = figures([event for event in events if event.family == family])["cut_off_rate"]
        points.append((name, told))
    return curve(points)
