"""`voiceagent simulate`: many seeds on all cores, a line for each that failed with its transcript, and the figures."""

import gc
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from voiceagent.simulation.run import Outcome, simulate
from voiceagent.simulation.telling import tell

SEEDS_A_SWEEP = 20
TOLD_LINES = 60
TOLD_SEEDS = 3
"""So many transcripts of failing seeds are printed; the others are named."""


@dataclass(slots=True)
class Report:
    """The figures of a run; `cpu_s` is what the seeds took of their cores, without the interpreter's start."""

    seeds: int = 0
    sessions: int = 0
    simulated_s: float = 0.0
    cpu_s: float = 0.0
    violations: int = 0
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome, cpu_s: float) -> None:
        """Take in one seed."""
        self.seeds += 1
        self.sessions += outcome.sessions
        self.simulated_s += outcome.simulated_us / 1e6
        self.cpu_s += cpu_s
        self.violations += len(outcome.violations)
        if outcome.violations:
            self.failed.append(outcome)

    def as_json(self) -> str:
        """The line of ``--json``."""
        return json.dumps(
            {
                "seeds": self.seeds,
                "sessions": self.sessions,
                "simulated_s": round(self.simulated_s, 1),
                "realtime_factor": round(self.simulated_s / self.cpu_s, 1) if self.cpu_s else 0.0,
                "violations": self.violations,
                "failing_seeds": sorted(outcome.seed for outcome in self.failed),
            }
        )


def timed(seed: int, seconds: float) -> tuple[Outcome, float]:
    """Run one seed and measure what it took of the core; a seed without a violation gives back no transcript."""
    before = time.process_time()
    if gc.isenabled():  # what a seed leaves is collected after some of them, and the modules never
        gc.freeze()
        gc.disable()
    outcome = simulate(seed, seconds)
    if seed % SEEDS_A_SWEEP == 0:
        gc.collect()
    if not outcome.violations:
        outcome.entries = []
    return outcome, time.process_time() - before


def outcomes(seeds: Iterable[int], seconds: float, jobs: int) -> Iterator[tuple[Outcome, float]]:
    """Run all seeds, in their order, on so many cores."""
    one = partial(timed, seconds=seconds)
    if jobs == 1:
        yield from map(one, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(one, seeds, chunksize=8)


def run(first_seed: int, seeds: int, seconds: float, *, jobs: int, as_json: bool, transcript: bool) -> int:
    """Simulate, print what is asked for, and return the exit code: 1 if anything was violated."""
    if transcript:
        return _tell_all(range(first_seed, first_seed + seeds), seconds)
    report = Report()
    for outcome, cpu_s in outcomes(range(first_seed, first_seed + seeds), seconds, jobs or os.cpu_count() or 1):
        report.add(outcome, cpu_s)
        if outcome.violations and len(report.failed) <= TOLD_SEEDS:
            _explain(outcome, seconds)
    if as_json:
        print(report.as_json())
    else:
        factor = report.simulated_s / report.cpu_s if report.cpu_s else 0.0
        print(
            f"{report.sessions} sessions of {report.seeds} seeds, {report.simulated_s:,.0f} s at {factor:,.0f} times real "
            f"time a core: {report.violations} violations in {len(report.failed)} seeds"
        )
    return 1 if report.violations else 0


def _tell_all(seeds: range, seconds: float) -> int:
    violated = False
    for seed in seeds:
        outcome = simulate(seed, seconds, kept=None)
        violated |= bool(outcome.violations)
        print("\n".join([f"seed {seed}", *tell(outcome.entries)]))
    return 1 if violated else 0


def _explain(outcome: Outcome, seconds: float) -> None:
    """Tell on stderr what was violated, what came before it, and how to see it again."""
    first = outcome.violations[0]
    entries = [entry for entry in outcome.entries if entry[0] <= first.at_us]
    lines = tell(entries)[-TOLD_LINES:]
    lines += [
        f"seed {outcome.seed}: {first.name} [{first.rule}]: {first.detail}",
        f"again: {replay(outcome.seed, seconds)}",
    ]
    print("\n".join([*lines, ""]), file=sys.stderr)


def replay(seed: int, seconds: float) -> str:
    """The command that shows a seed again."""
    return f"voiceagent simulate --first-seed {seed} --seeds 1 --seconds-per-session {seconds:g} --transcript"
