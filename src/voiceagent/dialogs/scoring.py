"""From a dialog as it went to one event for each thing that the caller, the room or the echo did, by METRICS.md's definitions."""

import csv
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from itertools import pairwise
from typing import TextIO

from voiceagent.dialogs.caller import Said
from voiceagent.dialogs.play import Take
from voiceagent.dialogs.room import Heard

MISSED_US = 4_000_000
YIELD_US = 2_000_000  # a barge-in must be confirmed within
AFTER_US = 3_000_000  # so long after its end a sound may still stop the agent
RESUME_MS = 400
LONG_SILENCE_MS = 2_000
EVA_CURVE = ((0, 0.5), (200, 0.7), (500, 1.0), (2_000, 1.0), (3_500, 0.0))


@dataclass(slots=True)
class Event:
    """One row of the CSV; what does not apply is None. Times are milliseconds, `onset_ms` from the dialog's beginning."""

    family: str
    dialog: str
    seed: int
    snr_db: int | None
    echo_db: int | None
    ears: str  # drawn, or real
    network_ms: int  # both ways, without jitter
    label: str
    text: str
    onset_ms: int
    length_ms: int
    level_db: float | None = None
    gap_ms: float | None = None  # end of the turn to the first sample of the reply
    cut_off: bool | None = None
    missed: bool | None = None
    replies: int | None = None  # to this one turn
    hold_ms: float | None = None  # onset to the hold sent, less the way up
    verdict_ms: float | None = None  # likewise
    verdict: str = ""
    stopped: bool | None = None  # the agent was stopped by it
    yield_ms: float | None = None  # onset to the last sample heard
    pause_ms: float | None = None  # for so long the agent was silent
    resume_ms: float | None = None  # the sound's end to the agent going on
    resumed: bool | None = None  # in time, from the exact sample
    words_off: int | None = None  # remembered less heard
    holds: int | None = None  # by the echo of one reply
    playback_ms: float | None = None


def eva(gap_ms: float) -> float:
    """The turn-taking curve of EVA-Bench; a reply before the end scores nothing."""
    if gap_ms < 0:
        return 0.0
    for (low, low_score), (high, high_score) in pairwise(EVA_CURVE):
        if gap_ms <= high:
            return low_score + (high_score - low_score) * (gap_ms - low) / (high - low)
    return 0.0


class Judge:
    """Looks at one take."""

    def __init__(self, take: Take, began_us: int, ears: str) -> None:
        self._take, self._began_us, self._ears = take, began_us, ears
        self._said = sorted(take.said, key=lambda said: said.start_us)
        self._spans: dict[int, list[Heard]] = {}
        for span in take.heard:
            if span.epoch not in take.fillers:
                self._spans.setdefault(span.epoch, []).append(span)
        self._blamed: set[tuple[int, int]] = set()  # holds that something else than an echo caused

    def events(self) -> list[Event]:
        """All events, in their order; the echo's last."""
        found: list[Event] = []
        for number, said in enumerate(self._said):
            after = self._said[number + 1].start_us if number + 1 < len(self._said) else 1 << 62
            event = self._event(said.label, said.text, said.start_us, said.end_us)
            event.level_db = said.level_db
            if said.over:
                self._over(event, said, after)
            if said.label in ("turn", "barge-in"):
                self._turn(event, said, after)
                found += self._pauses(said)
            found.append(event)
        if self._take.script.echo_db is not None:
            found += self._echoes()
        return found

    def _event(self, label: str, text: str, start_us: int, end_us: int) -> Event:
        take, script = self._take, self._take.script
        return Event(
            script.family, script.name, take.seed, script.snr_db, script.echo_db, self._ears, take.up_ms + take.down_ms,
            label, text, round((start_us - self._began_us) / 1000), round((end_us - start_us) / 1000),
        )  # fmt: skip

    # ------------------------------------------------------------------------------ turns
    def _begun(self, from_us: int, to_us: int, not_epoch: int = 0) -> list[Heard]:
        """The replies whose first sample was heard in this time."""
        firsts = [spans[0] for epoch, spans in self._spans.items() if epoch != not_epoch]
        return sorted((span for span in firsts if from_us <= span.start_us < to_us), key=lambda span: span.start_us)

    def _turn(self, event: Event, said: Said, after_us: int) -> None:
        event.cut_off = bool(self._begun(said.start_us, said.end_us, said.over))
        if not said.answered or (said.over and not event.stopped):
            return
        replies = self._begun(said.end_us, after_us)
        event.replies = len(replies)
        event.missed = not replies or replies[0].start_us - said.end_us > MISSED_US
        if replies:
            event.gap_ms = (replies[0].start_us - said.end_us) / 1000

    def _pauses(self, said: Said) -> list[Event]:
        found = []
        for start_us, end_us, kind, words in said.pauses:
            event = self._event("mid-turn pause", f"{kind}: {words}", start_us, end_us)
            begun = self._begun(start_us, said.end_us, said.over)
            # A reply that begins after this pause, and before the next one, was asked for in this one.
            later = [pause[0] for pause in said.pauses if pause[0] > start_us]
            event.cut_off = any(span.start_us < min(later, default=said.end_us) for span in begun)
            found.append(event)
        return found

    # ------------------------------------------------------------------------------ over a reply
    def _over(self, event: Event, said: Said, after_us: int) -> None:
        take, spans = self._take, self._spans[said.over]
        until_us = min(after_us, said.end_us + AFTER_US)
        holds = [hold for hold in take.holds if hold[1] == said.over and said.start_us <= hold[0] < until_us]
        self._blamed |= set(holds)
        way_up_us = take.up_ms * 1000
        if holds:
            event.hold_ms = (holds[0][0] - said.start_us - way_up_us) / 1000
        verdicts = [each for each in take.verdicts if said.start_us <= each[0] < until_us]
        if verdicts and holds:
            event.verdict_ms, event.verdict = (verdicts[-1][0] - said.start_us - way_up_us) / 1000, verdicts[-1][1]
        flushes = [at_us for at_us, epoch in take.flushes if epoch == said.over and said.start_us <= at_us < until_us]
        if said.label == "barge-in":
            event.stopped = bool(flushes) and flushes[0] - said.start_us <= YIELD_US
            if event.stopped:
                event.yield_ms = max(0.0, (spans[-1].end_us - said.start_us) / 1000)
                event.words_off = take.words_off.get(said.over)
            return
        # A reply to a false sound after the agent's last word is a stop as well: the caller has lost the floor to a cough.
        event.stopped = bool(flushes) or bool(self._begun(said.start_us, until_us, said.over))
        if flushes:
            event.words_off = take.words_off.get(said.over)
        self._resume(event, said, until_us)

    def _resume(self, event: Event, said: Said, until_us: int) -> None:
        spans = self._spans[said.over]
        breaks = [(before, after) for before, after in pairwise(spans) if said.start_us <= before.end_us < until_us]
        event.pause_ms = sum((after.start_us - before.end_us) / 1000 for before, after in breaks)
        if event.stopped or not breaks:
            return
        event.resume_ms = max(0.0, (breaks[-1][1].start_us - said.end_us) / 1000)
        exact = all(before.after == after.first for before, after in breaks)
        whole = spans[-1].after >= self._take.made.get(said.over, 0) or self._cut_later(said)
        event.resumed = exact and whole and event.resume_ms <= RESUME_MS

    def _cut_later(self, said: Said) -> bool:
        return any(epoch == said.over for _, epoch in self._take.flushes)

    # ------------------------------------------------------------------------------ the echo
    def _echoes(self) -> Iterable[Event]:
        for epoch, spans in self._spans.items():
            event = self._event("echo", "", spans[0].start_us, spans[-1].end_us)
            holds = {hold for hold in self._take.holds if hold[1] == epoch} - self._blamed
            event.holds = len(holds)
            event.playback_ms = sum((span.end_us - span.start_us) / 1000 for span in spans)
            cut = any(flushed == epoch for _, flushed in self._take.flushes)
            asked = any(said.over == epoch and said.label == "barge-in" for said in self._said)
            event.stopped = cut and not asked
            yield event


def write_csv(events: Iterable[Event], out: TextIO) -> None:
    """Write one row an event."""
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow([field.name for field in fields(Event)])
    for event in events:
        rows.writerow([_cell(value) for value in astuple(event)])


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    return round(value, 1) if isinstance(value, float) else value
