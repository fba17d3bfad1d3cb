"""What a log comes to: turn by turn, in memory that does not grow with it."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from voiceagent.latency.reading import printable
from voiceagent.latency.spread import Spread
from voiceagent.records import COMPONENTS, TurnLine
from voiceagent.states import Leaf
from voiceagent.timeline import SEGMENTS

PERCENTS = (50, 90, 95, 99)
MOST_GROUPS = 100
MOST_NAMES = 60
"""Of segments, components and faults: a log may name what it likes, but not without end."""
LONGEST_NAME = 120
REST = "others"
_LEAVES = {leaf.value: leaf.state for leaf in Leaf}


def model_of(turn: TurnLine) -> str:
    """The models that had a part in it, in the order of the stages."""
    named = [part.model for part in (turn.stt, turn.llm, turn.tts) if part is not None and part.model]
    return " + ".join(dict.fromkeys(named)) or "not recorded"


def path_of(turn: TurnLine) -> str:
    """The states that it went through, by the names that everyone sees."""
    states = (name for name, _ in groupby(_LEAVES.get(leaf, leaf) for leaf in turn.path))
    return " > ".join(states) or "none"


GROUPINGS: dict[str, Callable[[TurnLine], str]] = {
    "model": model_of,
    "path": path_of,
    "outcome": lambda turn: turn.outcome,
    "hour": lambda turn: f"{turn.timestamp[:13].replace('T', ' ')}:00",
    "mode": lambda turn: turn.mode,
    "origin": lambda turn: turn.origin,
}
"""What turns can be grouped by."""


def component_of(turn: TurnLine, segment: str) -> str:
    """Whom a segment is due to: as recorded, or, in older logs, as it usually is."""
    if segment == "leading_silence" and turn.mode == "realtime":
        return turn.due.get(segment, "realtime")
    return turn.due.get(segment) or COMPONENTS.get(segment, "other")


def blame(turn: TurnLine) -> dict[str, float]:
    """How much of its gap is due to each component."""
    components_ms: dict[str, float] = {}
    for segment, ms in turn.segments_ms.items():
        name = component_of(turn, segment)
        components_ms[name] = components_ms.get(name, 0.0) + ms
    return components_ms


def in_order(turn: TurnLine) -> list[tuple[str, float]]:
    """Its segments in causal order, whatever order the line had."""
    known = [(name, turn.segments_ms[name]) for name in SEGMENTS if name in turn.segments_ms]
    return known + [(name, ms) for name, ms in turn.segments_ms.items() if name not in SEGMENTS]


@dataclass(slots=True)
class Group:
    """Turns that have something in common."""

    turns: int = 0
    gap: Spread = field(default_factory=Spread)
    components_ms: Counter[str] = field(default_factory=Counter)

    def take(self, gap_ms: float | None, components_ms: dict[str, float]) -> None:
        """Count a turn in, by its gap and what of it each component is to blame for."""
        self.turns += 1
        if gap_ms is not None:
            self.gap.add(gap_ms)
            for name, ms in components_ms.items():
                _count(self.components_ms, name, ms)

    @property
    def shares(self) -> dict[str, float]:
        """The part of each component in all the silence, the largest first; they sum to 1."""
        total = sum(self.components_ms.values())
        return {name: ms / total for name, ms in self.components_ms.most_common()} if total else {}


@dataclass(slots=True)
class Speculations:
    """What early replies were worth."""

    tries: int = 0
    hits: int = 0
    saved_ms: float = 0.0
    wasted_tokens: int = 0


class Reckoning:
    """Takes turns and knows the figures of them; `by` is a key of `GROUPINGS`, `slowest` how many turns are kept."""

    def __init__(self, *, by: str | None = None, slowest: int = 5, hourly: bool = False) -> None:
        self.by, self._hourly = by, hourly
        self.all = Group()
        self.segments: dict[str, Spread] = {name: Spread() for name in SEGMENTS}
        self.hidden = Spread()
        self.outcomes: Counter[str] = Counter()
        self.origins: Counter[str] = Counter()
        self.bases: Counter[str] = Counter()
        self.groups: dict[str, Group] = {}
        self.hours: dict[str, Group] = {}
        self.speculation = Speculations()
        self.holds, self.yields = Spread(), Spread()
        self.verdicts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.residuals = 0  # turns whose segments do not sum to the gap within a millisecond
        self.cost_usd = 0.0
        self.first_at, self.last_at = "", ""
        self._slowest: list[tuple[float, int, TurnLine]] = []
        self._wanted = slowest

    @property
    def gap(self) -> Spread:
        """The response gap of all turns that have one."""
        return self.all.gap

    @property
    def slowest(self) -> list[TurnLine]:
        """The turns with the longest gaps, the longest first."""
        return [turn for _, _, turn in sorted(self._slowest, key=lambda each: (-each[0], -each[1]))]

    def take(self, turn: TurnLine) -> None:
        """Count one turn."""
        blamed = blame(turn)
        self.all.take(turn.gap_ms, blamed)
        self.first_at = min(self.first_at or turn.timestamp, turn.timestamp)
        self.last_at = max(self.last_at, turn.timestamp)
        self.outcomes[turn.outcome] += 1
        self.origins[turn.origin] += 1
        if self.by is not None:
            _group(self.groups, GROUPINGS[self.by](turn)).take(turn.gap_ms, blamed)
        if self._hourly:
            _group(self.hours, GROUPINGS["hour"](turn)).take(turn.gap_ms, blamed)
        self._take_work(turn)
        if turn.gap_ms is None:
            return
        self.bases[turn.basis or "sent"] += 1
        self.residuals += abs(turn.residual_ms or 0.0) > 1
        for name, ms in turn.segments_ms.items():
            spread = self.segments.get(name)
            if spread is None:
                room = len(self.segments) < MOST_NAMES and len(name) <= LONGEST_NAME
                spread = self.segments.setdefault(name if room else REST, Spread())
            spread.add(ms)
        self.hidden.add(turn.hidden_ms or 0.0)
        entry = (turn.gap_ms, -self.all.turns, turn)
        if len(self._slowest) < self._wanted:
            heapq.heappush(self._slowest, entry)
        elif self._slowest and entry > self._slowest[0]:
            heapq.heapreplace(self._slowest, entry)

    def _take_work(self, turn: TurnLine) -> None:
        self.speculation.tries += turn.speculation.tries
        self.speculation.hits += turn.speculation.hit
        self.speculation.saved_ms += turn.speculation.saved_ms
        self.speculation.wasted_tokens += turn.speculation.wasted_tokens
        self.cost_usd += turn.cost_usd or 0.0
        for barge_in in turn.barge_ins:
            self.verdicts[barge_in.verdict] += 1
            if barge_in.hold_ms is not None:
                self.holds.add(barge_in.hold_ms)
            if barge_in.yield_ms is not None:
                self.yields.add(barge_in.yield_ms)
        for fault in turn.faults:
            _count(self.faults, printable(f"{fault.stage}:{fault.code}"), 1)

    def rows(self) -> Iterator[tuple[str, Spread, float]]:
        """The segments that occurred, in causal order, each with its share in all the silence."""
        total = sum(spread.total_ms for spread in self.segments.values())
        for name, spread in self.segments.items():
            if spread.count and spread.most_ms:
                yield printable(name), spread, spread.total_ms / total if total else 0.0


def _count(counter: Counter[str], name: str, amount: Any) -> None:
    counter[name if name in counter or (len(counter) < MOST_NAMES and len(name) <= LONGEST_NAME) else REST] += amount


def _group(groups: dict[str, Group], name: str) -> Group:
    name = printable(name[:LONGEST_NAME])
    known = groups.get(name)
    if known is None:
        known = groups.setdefault(name if len(groups) < MOST_GROUPS else REST, Group())
    return known


def percentiles(spread: Spread) -> dict[str, float]:
    """A spread's percentiles by name, in milliseconds."""
    return {f"p{percent}_ms": round(spread.percentile(percent), 3) for percent in PERCENTS}


def figures(reckoning: Reckoning) -> dict[str, Any]:
    """All of it for a program to read."""
    done = reckoning.speculation
    return {
        "turns": reckoning.all.turns, "answered": reckoning.gap.count,
        "from": reckoning.first_at, "to": reckoning.last_at,
        "outcomes": dict(reckoning.outcomes), "origins": dict(reckoning.origins), "bases": dict(reckoning.bases),
        "gap": {**_spread(reckoning.gap), "exact": reckoning.gap.exact},
        "hidden": _spread(reckoning.hidden),
        "segments": {name: {**_spread(spread), "share": round(share, 4)} for name, spread, share in reckoning.rows()},
        "components": {name: round(share, 4) for name, share in reckoning.all.shares.items()},
        "by": reckoning.by,
        "groups": {
            name: {"turns": group.turns, **_spread(group.gap), "shares": _rounded(group.shares)}
            for name, group in reckoning.groups.items()
        },
        "slowest": [
            turn.model_dump(
                mode="json", by_alias=True,
                include={"session", "turn", "timestamp", "outcome", "gap_ms", "basis", "segments_ms", "hidden_ms", "path"},
            )
            for turn in reckoning.slowest
        ],
        "speculation": {
            "tries": done.tries, "hits": done.hits, "saved_ms": round(done.saved_ms, 3),
            "wasted_tokens": done.wasted_tokens,
        },
        "barge_ins": {
            "verdicts": dict(reckoning.verdicts), "hold": _spread(reckoning.holds), "yield": _spread(reckoning.yields),
        },
        "faults": dict(reckoning.faults), "residuals": reckoning.residuals, "cost_usd": round(reckoning.cost_usd, 6),
    }  # fmt: skip


def _spread(spread: Spread) -> dict[str, Any]:
    return {"count": spread.count, "mean_ms": round(spread.mean_ms, 3), **percentiles(spread)}


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}
