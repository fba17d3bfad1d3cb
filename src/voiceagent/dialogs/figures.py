"""From events to the figures of the suite: rates, quantiles and the goals that they are held to."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from voiceagent.dialogs.scoring import LONG_SILENCE_MS, Event, eva
from voiceagent.dialogs.scripts import FAMILIES, Family

WAITED_FOR: tuple[Family, ...] = ("plain", "pausing", "dictating")
"""The families whose turns say how often the agent cuts in; those of the others are short and only set the scene."""


@dataclass(slots=True)
class Totals:
    """What is counted by the dialog, not by the event."""

    performances: int = 0
    turns: int = 0
    seconds: float = 0.0
    tries: int = 0
    hits: int = 0
    wasted_tokens: int = 0
    wasted_characters: int = 0
    violations: list[str] = field(default_factory=list)


def quantile(values: Iterable[float | None], share: float) -> float | None:
    """The value below or at which this share lies, by nearest rank; None of nothing."""
    known = sorted(value for value in values if value is not None)
    return known[max(0, math.ceil(share * len(known)) - 1)] if known else None


def rate(values: Iterable[bool | None]) -> float | None:
    """The share that is true of those that are known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _ignored(events: Sequence[Event], label: str) -> float | None:
    return rate(_not(event.stopped) for event in events if event.label == label)


def _holds(events: Sequence[Event], *, noisy: bool) -> list[float | None]:
    return [
        event.hold_ms
        for event in events
        if event.label == "barge-in" and (event.snr_db is not None and event.snr_db < 20) == noisy
    ]


def _echo_holds_per_min(events: Sequence[Event]) -> float | None:
    echoes = [event for event in events if event.label == "echo"]
    minutes = sum(event.playback_ms or 0 for event in echoes) / 60_000
    return sum(event.holds or 0 for event in echoes) / minutes if minutes else None


def _false(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.label in ("backchannel", "tic", "side speech")]


FIGURES: dict[str, Callable[[Sequence[Event]], float | None]] = {
    "yield_rate": lambda events: rate(event.stopped for event in events if event.label == "barge-in"),
    "time_to_yield_p95_ms": lambda events: quantile((event.yield_ms for event in events), 0.95),
    "hold_p50_ms": lambda events: quantile(_holds(events, noisy=False), 0.5),
    "hold_p95_ms": lambda events: quantile(_holds(events, noisy=False), 0.95),
    "hold_10db_p95_ms": lambda events: quantile(_holds(events, noisy=True), 0.95),
    "echo_holds_per_min": _echo_holds_per_min,
    "verdict_p95_ms": lambda events: quantile((event.verdict_ms for event in events), 0.95),
    "pause_per_backchannel_p50_ms": lambda events: quantile(
        (event.pause_ms for event in events if event.label == "backchannel" and not event.stopped), 0.5
    ),
    "backchannels_ignored": lambda events: _ignored(events, "backchannel"),
    "tics_ignored": lambda events: _ignored(events, "tic"),
    "side_speech_ignored": lambda events: _ignored(events, "side speech"),
    "echo_ignored": lambda events: _ignored(events, "echo"),
    "cut_off_rate": lambda events: rate(
        event.cut_off for event in events if event.label == "turn" and event.family in WAITED_FOR
    ),
    "missed_turns": lambda events: sum(bool(event.missed) for event in events),
    "resume_success": lambda events: rate(event.resumed for event in _false(events)),
    "resume_p95_ms": lambda events: quantile((event.resume_ms for event in _false(events)), 0.95),
    "heard_error_words_p99": lambda events: quantile(
        (abs(event.words_off) for event in events if event.words_off is not None), 0.99
    ),
    "gap_p50_ms": lambda events: quantile((event.gap_ms for event in events), 0.5),
    "gap_p95_ms": lambda events: quantile((event.gap_ms for event in events), 0.95),
    "eva": lambda events: _mean(
        0.0 if event.cut_off or event.gap_ms is None else eva(event.gap_ms)
        for event in events
        if event.missed is not None
    ),
    "awkward_silences": lambda events: sum(
        event.gap_ms is not None and event.gap_ms > LONG_SILENCE_MS for event in events
    ),
    "double_replies": lambda events: sum((event.replies or 0) > 1 for event in events),
}
ISSUE = (
    "yield_rate", "time_to_yield_p95_ms", "hold_p50_ms", "hold_p95_ms", "echo_holds_per_min", "verdict_p95_ms",
    "pause_per_backchannel_p50_ms", "backchannels_ignored", "tics_ignored", "side_speech_ignored", "echo_ignored",
    "cut_off_rate", "missed_turns", "resume_success", "resume_p95_ms", "heard_error_words_p99",
)  # fmt: skip
"""The keys that stand at the top; the others stand under each family and in `more`."""
COUNTS = ("missed_turns", "awkward_silences", "double_replies")


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None


def figures(events: Sequence[Event]) -> dict[str, float | None]:
    """Every figure of these events; None where there is nothing to tell."""
    return {name: _round(name, figure(events)) for name, figure in FIGURES.items()}


def _round(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    return round(value, 1) if name.endswith("_ms") else round(value, 4)


def summary(events: Sequence[Event], totals: Totals) -> dict[str, Any]:
    """What `--json` prints."""
    everything = figures(events)
    families = {}
    for family in FAMILIES:
        mine = [event for event in events if event.family == family]
        told = figures(mine)
        families[family] = {"events": len(mine)} | {
            name: value for name, value in told.items() if value is not None and (value or name not in COUNTS)
        }
    real = figures([event for event in events if event.ears == "real"])
    turns = max(1, totals.turns)
    more = {name: everything[name] for name in FIGURES if name not in ISSUE}
    more |= {
        "performances": totals.performances,
        "gate_violations": len(totals.violations),
        "guesses_per_turn": round(totals.tries / turns, 3),
        "guesses_wasted_per_turn": round((totals.tries - totals.hits) / turns, 3),
        "tokens_wasted_per_turn": round(totals.wasted_tokens / turns, 2),
        "characters_wasted_per_turn": round(totals.wasted_characters / turns, 2),
        "simulated_s": round(totals.seconds),
    }
    return {name: everything[name] for name in ISSUE} | {
        "dialogs": len({event.dialog for event in events}),
        "families": families, "real_ears": real, "more": more,
    }  # fmt: skip
