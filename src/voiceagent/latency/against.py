"""Whether a log is slower than another one: differences of percentiles, with the interval that chance alone would explain."""

import math
import random
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voiceagent.records import TurnLine
from voiceagent.timeline import SEGMENTS

PERCENTS = (50, 90, 95, 99)
KEPT = 20_000
"""So many turns of a log are drawn, each as likely as any other; up to so many all are kept."""
DRAWS = 4_000
LEAST_TURNS = 10
"""Of fewer turns nothing can be said."""
JUDGED = (50, 95)
"""The gap's percentiles that decide whether a log is slower."""
SEED = 1
GAP = "gap"


class Drawn:
    """A fair sample of a log's turns, the same each time (reservoir sampling)."""

    def __init__(self) -> None:
        self.seen = 0
        self.turns: list[dict[str, float]] = []
        self._draw = random.Random(SEED)  # noqa: S311 - it is to repeat

    def take(self, turn: TurnLine) -> None:
        """Count a turn, and keep it if it is drawn."""
        if turn.gap_ms is None:
            return
        self.seen += 1
        place = len(self.turns) if len(self.turns) < KEPT else self._draw.randrange(self.seen)
        if place >= KEPT:
            return
        lengths = {GAP: turn.gap_ms, **{name: ms for name, ms in turn.segments_ms.items() if name in SEGMENTS}}
        if place == len(self.turns):
            self.turns.append(lengths)
        else:
            self.turns[place] = lengths

    def lengths(self, name: str) -> NDArray[np.float64]:
        """One length of all turns that have it, in ascending order, in milliseconds."""
        return np.sort(np.array([turn[name] for turn in self.turns if name in turn], np.float64))


@dataclass(frozen=True, slots=True)
class Difference:
    """A percentile in both logs, and where the true difference is with 95 % confidence; milliseconds."""

    name: str
    percent: int
    old_ms: float
    new_ms: float
    low_ms: float
    high_ms: float

    @property
    def by_ms(self) -> float:
        """How much longer it has become."""
        return self.new_ms - self.old_ms

    @property
    def verdict(self) -> Literal["slower", "faster", "no difference shown"]:
        """What the interval allows to say."""
        if self.low_ms > 0:
            return "slower"
        return "faster" if self.high_ms < 0 else "no difference shown"


def differences(old: Drawn, new: Drawn) -> list[Difference]:
    """Compare the gap by all percentiles and each segment by its median; what one of the logs lacks is left out."""
    found = []
    for name, percents in ((GAP, PERCENTS), *((name, (50,)) for name in SEGMENTS)):
        before, after = old.lengths(name), new.lengths(name)
        if min(len(before), len(after)) >= LEAST_TURNS and (before[-1] or after[-1]):
            found += [_difference(name, percent, before, after) for percent in percents]
    return found


def _difference(name: str, percent: int, before: NDArray[np.float64], after: NDArray[np.float64]) -> Difference:
    """By the bootstrap, in one step.

    Drawing n of n lengths anew and taking the k-th of them is drawing the place of that one: n times a draw of
    Beta(k, n + 1 - k), rounded up.
    """
    draw = np.random.default_rng([SEED, percent])
    drawn = []
    for lengths in (before, after):
        count = len(lengths)
        rank = _rank(percent, count)
        places = np.ceil(count * draw.beta(rank, count + 1 - rank, DRAWS)).astype(np.int64)
        drawn.append(lengths[np.clip(places, 1, count) - 1])
    low_ms, high_ms = np.quantile(drawn[1] - drawn[0], (0.025, 0.975))
    old_ms, new_ms = (float(lengths[_rank(percent, len(lengths)) - 1]) for lengths in (before, after))
    return Difference(name, percent, old_ms, new_ms, round(float(low_ms), 3), round(float(high_ms), 3))


def _rank(percent: int, count: int) -> int:
    return max(1, math.ceil(round(percent / 100 * count, 9)))


def regressions(found: list[Difference], above_ms: float) -> list[Difference]:
    """The judged percentiles of the gap that have become longer by more than so much, and not by chance."""
    return [
        each for each in found
        if each.name == GAP and each.percent in JUDGED and each.by_ms > above_ms and each.verdict == "slower"
    ]  # fmt: skip


def as_json(found: list[Difference], old: Drawn, new: Drawn) -> dict[str, Any]:
    """The comparison for a program to read."""
    return {
        "old_turns": old.seen, "new_turns": new.seen,
        "differences": [
            {
                "name": each.name, "percentile": each.percent, "old_ms": round(each.old_ms, 3),
                "new_ms": round(each.new_ms, 3), "by_ms": round(each.by_ms, 3), "low_ms": each.low_ms,
                "high_ms": each.high_ms, "verdict": each.verdict,
            }
            for each in found
        ],
    }  # fmt: skip
