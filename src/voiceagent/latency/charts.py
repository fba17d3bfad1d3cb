"""Pictures of the figures as inline SVG: places are per cent, so that they fit any width and their words stay readable."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from voiceagent.latency.reading import printable
from voiceagent.latency.reckoning import Group, in_order
from voiceagent.latency.spread import Spread
from voiceagent.latency.timelines import Session
from voiceagent.records import TurnLine
from voiceagent.timeline import SEGMENTS

BINS = 40
STEPS_MS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1_000, 2_000, 5_000, 10_000, 60_000, 600_000)
LANES: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("end of turn", (("uplink", "speech_end", "speech_end_arrived"), ("endpoint_wait", "speech_end_arrived", "endpoint"))),
    ("words", (("stt_tail", "commit", "stt_final"),)),
    ("model", (
        ("llm_ttft", "llm_request", "llm_first_token"), ("clause_wait", "llm_first_token", "tts_request"),
        ("model_ttfa", "llm_request", "model_first_audio"),
    )),
    ("voice", (("tts_ttfb", "tts_request", "tts_first_byte"),)),
    ("way out", (("send", "gate_open", "first_frame_sent"), ("playback", "first_frame_sent", "playback_start"))),
)  # fmt: skip
"""What went on at the same time: lanes of parts, each from one mark to another."""
LABEL_PERCENT = 9
"""A narrower part has no room for its name."""


def colour(segment: str) -> str:
    """The class that paints a segment."""
    return f"s{SEGMENTS.index(segment)}" if segment in SEGMENTS else "s13"


def rect(across: tuple[float, float], down: tuple[float, float], kind: str, title: str) -> str:
    """A bar: where it begins and how long it is, across in per cent, down in pixels."""
    (x, width), (y, height) = across, down
    return (
        f'<rect x="{x:.3f}%" width="{max(0.0, width):.3f}%" y="{y:g}" height="{height:g}" class="{kind}">'
        f"<title>{escape(title)}</title></rect>"
    )


def text(x: float, y: float, said: str, *, anchor: str = "start", kind: str = "") -> str:
    """Words at a place."""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.3f}%" y="{y:g}" text-anchor="{anchor}"{named}>{escape(said)}</text>'


def svg(height: float, parts: Iterable[str], label: str) -> str:
    """A picture as wide as there is room."""
    return f'<svg width="100%" height="{height:g}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def ms(value: float) -> str:
    """Milliseconds as people read them."""
    return f"{value:,.0f}"


def stacked(lengths: Sequence[tuple[str, float]], whole: float, *, height: float = 26) -> str:
    """Segments one after the other, as parts of `whole`."""
    parts, at = [], 0.0
    for name, length in lengths:
        width = 100 * length / whole if whole else 0.0
        parts.append(rect((at, width), (0, height), colour(name), f"{name} {ms(length)} ms"))
        if width > LABEL_PERCENT:
            parts.append(text(at + width / 2, height / 2 + 4, ms(length), anchor="middle", kind="inside"))
        at += width
    told = ", ".join(f"{name} {ms(length)} ms" for name, length in lengths if length >= 0.5)
    return svg(height, parts, told)


def histogram(spread: Spread, marks: Sequence[int]) -> str:
    """How often which gap: bars, with percentiles as lines."""
    top_ms = max(spread.percentile(99) * 1.1, 1.0)
    step_ms = next((step for step in STEPS_MS if top_ms / step <= BINS), top_ms / BINS)
    bins = math.ceil(top_ms / step_ms)
    edges = [step_ms * place for place in range(bins + 1)]
    counts = spread.bins([*edges, max(spread.most_ms, edges[-1]) + 1])
    rest, counts = counts[-1], counts[:-1]
    highest, base, tall = max(*counts, 1), 190.0, 150.0
    parts = []
    for place, count in enumerate(counts):
        height = tall * count / highest
        title = f"{ms(edges[place])} to {ms(edges[place + 1])} ms: {count:,} turns"
        parts.append(rect((100 * place / bins + 0.1, 100 / bins - 0.2), (base - height, height), "bar", title))
    parts.append(f'<line x1="0" x2="100%" y1="{base}" y2="{base}" class="axis"/>')
    parts += [
        text(100 * place / bins, base + 16, ms(edges[place]), anchor="middle" if place else "start")
        for place in range(0, bins, max(1, bins // 8))
    ]
    for row, percent in enumerate(marks):
        value = spread.percentile(percent)
        x = min(100.0, 100 * value / (bins * step_ms))
        parts.append(f'<line x1="{x:.3f}%" x2="{x:.3f}%" y1="{12 + 14 * row}" y2="{base}" class="mark"/>')
        anchor = "end" if x > 85 else "start"
        parts.append(
            text(
                x + (-0.4 if x > 85 else 0.4), 11 + 14 * row, f"p{percent} {ms(value)} ms", anchor=anchor, kind="strong"
            )
        )
    if rest:
        parts.append(text(100, base + 16, f"{rest:,} more beyond", anchor="end"))
    return svg(base + 22, parts, f"{spread.count} gaps, half of them within {ms(spread.percentile(50))} ms")


def hours(groups: Sequence[tuple[str, Group]]) -> str:
    """The gap hour by hour: from p50 to p95."""
    highest = max((group.gap.percentile(95) for _, group in groups), default=0.0) or 1.0
    base, tall, wide = 190.0, 165.0, 100 / max(1, len(groups))
    parts = [f'<line x1="0" x2="100%" y1="{base}" y2="{base}" class="axis"/>']
    for place, (hour, group) in enumerate(groups):
        low, high = (group.gap.percentile(percent) for percent in (50, 95))
        title = f"{hour} UTC: p50 {ms(low)} ms, p95 {ms(high)} ms, {group.gap.count:,} turns"
        x, width = wide * place + wide * 0.15, wide * 0.7
        parts.append(rect((x, width), (base - tall * high / highest, tall * (high - low) / highest), "faint", title))
        parts.append(rect((x, width), (base - tall * low / highest, tall * low / highest), "bar", title))
        if place % max(1, len(groups) // 6) == 0:
            parts.append(text(wide * place + wide / 2, base + 16, hour[5:], anchor="middle"))
    parts.append(text(0, 12, f"p95 {ms(highest)} ms at most", kind="strong"))
    return svg(base + 22, parts, f"the gap in {len(groups)} hours")


def lanes(turn: TurnLine) -> list[tuple[str, str]]:
    """What went on at the same time in a turn, from its speech's end to the first sound: a name and a picture each."""
    start, whole = turn.marks_ms.get("speech_end"), turn.gap_ms
    rows = [("silence", stacked(in_order(turn), whole or 1.0))]
    if start is None or not whole:
        return rows
    marks = {"speech_end_arrived": start} | turn.marks_ms  # a typed turn's needs no way
    for name, pieces in LANES:
        parts, told = [], []
        for segment, first, last in pieces:
            if first not in marks or last not in marks or marks[last] <= marks[first]:
                continue
            x, end = (min(100.0, max(0.0, 100 * (marks[mark] - start) / whole)) for mark in (first, last))
            said = f"{segment} {ms(marks[last] - marks[first])} ms"
            parts.append(rect((x, end - x), (1, 12), colour(segment), said))
            told.append(said)
        if parts:
            rows.append((name, svg(14, parts, ", ".join(told))))
    return rows


def states(session: Session, whole_ms: float) -> str:
    """The states of a session over its time, on a scale that `whole_ms` fills."""
    parts = []
    for stay in session.stays():
        x, width = 100 * stay.from_ms / whole_ms, 100 * (stay.to_ms - stay.from_ms) / whole_ms
        title = f"{printable(stay.state)}: {ms(stay.to_ms - stay.from_ms)} ms, from {stay.from_ms / 1000:,.1f} s"
        parts.append(rect((x, max(width, 0.12)), (0, 24), _class(stay.state), title))
    names = [name for name, _ in groupby(stay.state for stay in session.stays())]
    return svg(
        24, parts, f"{len(names)} states, from {printable(names[0])} to {printable(names[-1])}" if names else "nothing"
    )


def _class(state: str) -> str:
    return state if state in ("listening", "transcribing", "thinking", "speaking", "barge_in") else "idle"
