"""What a changed setting or back-end would gain: each recorded turn is run again with other lengths for its parts.

A turn is a chain of moments, each of which waits for those before it (`_again`). What one waited for beyond that is kept
as it was; so with nothing changed every gap comes out as recorded. Which caller would have been cut off is read from the
pauses inside the turn. What is assumed is told in docs/latency.md.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from voiceagent.latency.spread import Spread
from voiceagent.records import TurnLine

STEPS = {
    "stt_tail": "stt_final", "queue": "llm_request", "llm_ttft": "llm_first_token", "clause_wait": "tts_request",
    "tts_ttfb": "tts_first_byte", "model_ttfa": "model_first_audio", "gate_wait": "gate_open", "send": "first_frame_sent",
}  # fmt: skip
"""Each part that can be made longer or shorter, and the moment that ends it."""
ADDED = ("network", "playback", "leading_silence")
"""Parts that nothing goes on beside: they are added up."""
NAMES = ("endpoint", "speculate", *STEPS, *ADDED)
CHAIN = ("llm_request", "llm_first_token", "tts_request", "tts_first_byte", "model_first_audio")
"""The work on a reply: each step begins with the end of the one before."""
LATE_MS = 40.0
"""A turn that ended later than its wait by more than two frames ended when its words came; a fixed wait needs none."""


Pause = tuple[int, int]
"""A silence within a turn, and the one that would have ended it then; milliseconds."""


class BadWhatIf(ValueError):  # noqa: N818 - a sentence for the user, not a mistake
    """It cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """A length made another one: set to, moved by (both milliseconds), or multiplied by `amount`."""

    how: Literal["to", "by", "times"]
    amount: float

    def of(self, ms: float) -> float:
        """The length that it makes of another one; never a negative one."""
        changed = {"to": self.amount, "by": ms + self.amount, "times": ms * self.amount}[self.how]
        return max(0.0, changed)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Changes that are made together."""

    text: str
    changes: Mapping[str, Change]
    speculate: bool | None = None  # None: as recorded


def parse(text: str) -> WhatIf:
    """Read ``name=value[,name=value]``: a value is milliseconds, ``+`` or ``-`` milliseconds, or ``x`` and a factor."""
    changes: dict[str, Change] = {}
    speculate: bool | None = None
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name not in NAMES:
            raise BadWhatIf(f"{part.strip()!r} is none of {', '.join(NAMES)}, with a value after '='")
        if name == "speculate":
            if value not in ("on", "off"):
                raise BadWhatIf("speculate is 'on' or 'off'")
            speculate = value == "on"
            continue
        matched = re.fullmatch(r"([+\-x]?)(\d{1,7}(?:\.\d{1,3})?)(?:ms)?", value)
        if matched is None:
            raise BadWhatIf(
                f"{name}={value} is neither milliseconds (300), more or less of them (-200), nor a factor (x0.5)"
            )
        sign, amount = matched[1], float(matched[2])
        changes[name] = {"x": Change("times", amount), "": Change("to", amount)}.get(
            sign, Change("by", -amount if sign == "-" else amount)
        )
    return WhatIf(text.replace(" ", ""), changes, speculate)


@dataclass(slots=True)
class Effect:
    """What a change would have made of all turns."""

    what: WhatIf
    before: Spread = field(default_factory=Spread)
    after: Spread = field(default_factory=Spread)  # of the same turns: those that would not have been cut off
    waits: Spread = field(default_factory=Spread)  # as recorded, of the turns that ended by a silence
    new_waits: Spread = field(default_factory=Spread)
    judged: int = 0  # turns that ended by a silence, whose pauses are known with their waits
    already: int = 0  # of these were cut off as it was
    cut_off: int = 0  # and these would have been
    spared: int = 0  # were cut off, and would not have been
    left_out: int = 0  # turns without the marks that it takes

    def take(self, turn: TurnLine) -> None:
        """Run one turn again."""
        if turn.gap_ms is None:
            return
        change = self.what.changes.get("endpoint")
        told = len(turn.pause_waits_ms) == len(turn.pauses_ms)  # an older log lacks these waits
        if turn.wait_ms is not None and "endpoint" in turn.marks_ms and told:
            self.judged += 1
            self.waits.add(turn.wait_ms)
            self.new_waits.add(turn.wait_ms if change is None else change.of(turn.wait_ms))
            if change is not None and self._judge(turn, change):
                return  # where its answer had come, nobody knows
        gap_ms = again(turn, self.what)
        if gap_ms is None:
            self.left_out += 1
            return
        self.before.add(turn.gap_ms)
        self.after.add(gap_ms)

    def _judge(self, turn: TurnLine, change: Change) -> bool:
        within, ended = pauses_of(turn)
        cut = cut_off(within, change)
        self.cut_off += cut
        self.already += bool(ended)
        self.spared += bool(ended) and not cut and not cut_off(ended, change)
        return cut


def pauses_of(turn: TurnLine) -> tuple[list[Pause], list[Pause]]:
    """The pauses that the turn went on after, and those that did end it, as the caller was not done; each with its wait.

    No silence ends a turn while a key is held down; such pauses are left out.
    """
    within: list[Pause] = []
    ended: list[Pause] = []
    for pause_ms, wait_ms in zip(turn.pauses_ms, turn.pause_waits_ms, strict=True):
        if wait_ms is not None:
            (within if pause_ms < wait_ms else ended).append((pause_ms, wait_ms))
    return within, ended


def cut_off(pauses: Sequence[Pause], change: Change) -> bool:
    """Whether one of these pauses would have ended their turn."""
    return any(pause_ms >= change.of(wait_ms) for pause_ms, wait_ms in pauses)


def again(turn: TurnLine, what: WhatIf) -> float | None:
    """The turn's gap in milliseconds if its parts had been as `what` says; None without the marks that it takes."""
    old = turn.marks_ms
    if turn.gap_ms is None or "speech_end" not in old or "first_frame_sent" not in old:
        return None
    gap_ms = turn.gap_ms + _Again(turn, what).run()["first_frame_sent"] - old["first_frame_sent"]
    for name in ADDED:
        change = what.changes.get(name)
        if change is not None and name in turn.segments_ms:
            gap_ms += change.of(turn.segments_ms[name]) - turn.segments_ms[name]
    return max(0.0, gap_ms)


class _Again:
    """One turn that is run again: its moments as they were, and as they would have been."""

    def __init__(self, turn: TurnLine, what: WhatIf) -> None:
        self._turn, self._what = turn, what
        self._old, self._new = turn.marks_ms, dict(turn.marks_ms)

    def run(self) -> dict[str, float]:
        """Move every moment, in causal order."""
        old, new = self._old, self._new
        self._move_end()
        if "commit" in old and "endpoint" in old:
            late = old["commit"] >= old["endpoint"]
            new["commit"] = new["endpoint"] if late else min(old["commit"], new["endpoint"])
        self._step("stt_tail", ("speech_end", "commit"))
        before = ""
        for name, mark in STEPS.items():
            if mark in CHAIN and mark in old:
                if before:
                    self._step(name, (before,))
                else:
                    self._begin(name)
                before = mark
        self._step("gate_wait", ("speech_end", "endpoint", "stt_final", *CHAIN))
        self._step("send", ("gate_open",) if "gate_open" in old else ("speech_end", "endpoint", "stt_final", *CHAIN))
        return new

    def _step(self, name: str, causes: tuple[str, ...], others: tuple[str, ...] = ()) -> None:
        """Move one moment with what it waited for: those of `causes` that came before it, or, if given, `others`."""
        old, new, mark = self._old, self._new, STEPS[name]
        waited = [each for each in causes if each in old and mark in old and old[each] <= old[mark]]
        if not waited:
            return
        took_ms = old[mark] - max(old[each] for each in waited)
        change = self._what.changes.get(name)
        waits = [each for each in others if each in old] or waited
        new[mark] = max(new[each] for each in waits) + (took_ms if change is None else change.of(took_ms))

    def _begin(self, name: str) -> None:
        """Move the moment at which the reply's making began: after the words, and, if not early, the turn's end."""
        old, words = self._old, ("speech_end", "commit", "stt_final")
        wanted = self._what.speculate
        if wanted is None or "endpoint" not in old:
            self._step(name, (*words, "endpoint"))
        else:
            self._step(name, (*words, "endpoint"), words if wanted else (*words, "endpoint"))

    def _move_end(self) -> None:
        """Move the end of the turn, where a silence ended it."""
        old, change, wait_ms = self._old, self._what.changes.get("endpoint"), self._turn.wait_ms
        if change is None or wait_ms is None or "endpoint" not in old:
            return
        since = old.get("speech_end_arrived", old["speech_end"])
        beyond_ms = old["endpoint"] - since - wait_ms  # a frame; or words that came late
        if change.how == "to":
            beyond_ms = min(beyond_ms, LATE_MS)
        self._new["endpoint"] = max(since, since + change.of(wait_ms) + beyond_ms)
