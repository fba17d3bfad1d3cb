"""The figures as tables in the terminal, with the slowest turns as waterfalls."""

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from voiceagent.latency import against, what_if
from voiceagent.latency.reading import Reading, printable
from voiceagent.latency.reckoning import PERCENTS, Reckoning, component_of, in_order
from voiceagent.latency.spread import Spread
from voiceagent.records import COMPONENTS, TurnLine

COLOURS = {
    "network": "cyan", "endpointing": "bright_blue", "stt": "blue", "agent": "white", "llm": "yellow", "tts": "magenta",
    "realtime": "green", "browser": "bright_black",
}  # fmt: skip
SHADES = {"clause_wait": "bright_yellow", "leading_silence": "bright_magenta", "playback": "bright_black"}
BAR = 44
"""Columns of a waterfall."""
SHARE_BAR = 16
MOST_ROWS = 30


def everything(taken: Reckoning, effects: Iterable[what_if.Effect] = ()) -> RenderableType:
    """All tables but the comparison with another log."""
    parts: list[RenderableType] = [_headline(taken)]
    if taken.gap.count:
        parts += ["", _segments(taken)]
    if taken.groups:
        parts += ["", _groups(taken)]
    changed = list(effects)
    if changed:
        parts += ["", _what_ifs(changed)]
    if taken.slowest:
        parts += ["", waterfalls(taken.slowest)]
    return Group(*parts)


def _ms(value: float) -> str:
    return f"{value:,.0f}"


def _signed(value: float) -> str:
    return f"{round(value):+,}"  # no -0


def _cells(spread: Spread) -> list[str]:
    return [_ms(spread.percentile(percent)) for percent in PERCENTS]


def _headline(taken: Reckoning) -> Text:
    gap = taken.gap
    text = Text(f"{taken.all.turns} turns", style="bold")
    told = ", ".join(f"{count} {outcome}" for outcome, count in taken.outcomes.most_common())
    text.append(f" ({told}), {taken.first_at[:19]} to {taken.last_at[:19]} UTC\n", style="default")
    if not gap.count:
        return text.append("None of them has a response gap.", style="default")
    bases = " and ".join(f"{count} {basis}" for basis, count in sorted(taken.bases.items()))
    text.append(f"{gap.count} have a response gap ({bases})", style="default")
    if not gap.exact:
        text.append("; percentiles are exact to 0.5 %", style="default")
    done = taken.speculation
    if done.tries:
        text.append(
            f"\n{done.hits} of {done.tries} early replies were used; they saved {done.saved_ms / 1000:,.1f} s of silence"
            f" and wasted {done.wasted_tokens:,} tokens",
            style="default",
        )
    for noticed, sentence in (
        (taken.verdicts, "Sounds over replies: "),
        (taken.faults, "Failures of back-ends: "),
    ):
        if noticed:
            text.append(
                f"\n{sentence}" + ", ".join(f"{count} {name}" for name, count in noticed.most_common(8)),
                style="default",
            )
    if taken.yields.count:
        text.append(
            f"; all silent after {_ms(taken.yields.percentile(50))} ms (p50), {_ms(taken.yields.percentile(95))} ms (p95)",
            style="default",
        )
    if taken.residuals:
        text.append(f"\n{taken.residuals} turns have segments that do not sum to their gap", style="yellow")
    return text


def _table(title: str, *columns: str, left: int = 1) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right", no_wrap=number >= left)
    return table


def _percents() -> list[str]:
    return [f"p{percent}" for percent in PERCENTS]


def _segments(taken: Reckoning) -> Table:
    table = _table("Where the silence goes (ms)", "segment", "due to", *_percents(), "turns", "share", "", left=2)
    table.add_row("response gap", "", *_cells(taken.gap), f"{taken.gap.count:,}", "", style="bold")
    most = max(share for _, _, share in taken.rows()) or 1.0
    for name, spread, share in taken.rows():
        component = COMPONENTS.get(name, "other")
        bar = Text("█" * round(share / most * SHARE_BAR), style=COLOURS.get(component, "white"))
        table.add_row(name, component, *_cells(spread), f"{spread.count:,}", f"{share:.1%}", bar)
    if taken.hidden.total_ms:
        table.add_row(
            "hidden work", "beside the gap", *_cells(taken.hidden), f"{taken.hidden.count:,}", "", style="dim"
        )
    return table


def _groups(taken: Reckoning) -> Table:
    names = list(taken.all.shares)
    table = _table(f"By {taken.by} (gap in ms, share of each component)", taken.by or "", "turns", *_percents(), *names)
    ranked = sorted(taken.groups.items(), key=lambda item: item[0] if taken.by == "hour" else -item[1].turns)
    for name, group in ranked[:MOST_ROWS]:
        cells = _cells(group.gap) if group.gap.count else ["-"] * len(PERCENTS)
        shares = group.shares
        told = [f"{shares[each]:.0%}" if each in shares else "-" for each in names]
        table.add_row(Text(name), f"{group.turns:,}", *cells, *told)
    if len(ranked) > MOST_ROWS:
        table.caption = f"and {len(ranked) - MOST_ROWS} more"
    return table


def _what_ifs(effects: list[what_if.Effect]) -> Text:
    text = Text("What if", style="bold")
    for effect in effects:
        text.append(f"\n{sentence(effect)}", style="default")
    return text


def sentence(effect: what_if.Effect) -> str:
    """What a change would have done, in one sentence."""
    named = [name for name in effect.what.text.split(",") if not name.startswith("endpoint=")]
    if "endpoint" in effect.what.changes and effect.judged:
        waits = f"{_ms(effect.waits.percentile(50))} -> {_ms(effect.new_waits.percentile(50))} ms"
        named.insert(0, f"endpoint wait {waits} (median)")
    gaps = [
        f"p{percent} {_signed(effect.after.percentile(percent) - effect.before.percentile(percent))} ms"
        f" ({_ms(effect.before.percentile(percent))} -> {_ms(effect.after.percentile(percent))})"
        for percent in (50, 95)
    ]
    parts = [", ".join(gaps)] if effect.before.count else []
    if "endpoint" in effect.what.changes and effect.judged:
        told = f"{effect.cut_off} of {effect.judged} turns would have been cut off"
        if effect.already:
            spared = f", {effect.spared} of which would not have been" if effect.spared else ""
            told += f" ({effect.already} {'was' if effect.already == 1 else 'were'} already{spared})"
        parts.append(told)
    if effect.left_out:
        parts.append(f"{effect.left_out} turns have not the marks for it")
    return f"{', '.join(named)}: {'; '.join(parts) or 'no turn to judge by'}"


def waterfalls(turns: list[TurnLine]) -> Table:
    """The turns as bars of their segments on one scale."""
    table = _table("Slowest turns", "turn", "ms", "", left=1)
    table.columns[2].justify = "left"
    table.columns[2].no_wrap = False
    longest_ms = max(turn.gap_ms or 0.0 for turn in turns)
    for turn in turns:
        told = Text()
        told.append_text(_bar(turn, longest_ms))
        named = sorted(in_order(turn), key=lambda item: -item[1])[:4]
        told.append("\n" + " · ".join(f"{printable(name)} {_ms(ms)}" for name, ms in named if ms >= 0.5), style="dim")
        if turn.hidden_ms:
            told.append(f" · hidden {_ms(turn.hidden_ms)}", style="dim")
        table.add_row(
            Text(f"{printable(turn.session)[:16]} #{turn.turn}\n{turn.outcome}"), _ms(turn.gap_ms or 0.0), told
        )
    return table


def _bar(turn: TurnLine, longest_ms: float) -> Text:
    """Each segment as so many columns; rounded by where it ends, so that the bar's length is right."""
    bar, end_ms, drawn = Text(), 0.0, 0
    for name, ms in in_order(turn):
        end_ms += ms
        columns = round(end_ms / longest_ms * BAR) - drawn if longest_ms else 0
        colour = SHADES.get(name) or COLOURS.get(component_of(turn, name), "white")
        bar.append("█" * columns, style=colour)
        drawn += columns
    return bar


def one_turn(turn: TurnLine) -> Text:
    """A turn in one line, for a log that is followed."""
    gap = "no gap" if turn.gap_ms is None else f"{_ms(turn.gap_ms)} ms"
    named = sorted(in_order(turn), key=lambda item: -item[1])[:3]
    text = Text(f"{turn.timestamp[11:19]} {printable(turn.session)[:12]} #{turn.turn} ", style="dim")
    text.append(f"{gap:>10} ", style="bold")
    text.append(turn.outcome + "  " if turn.outcome != "completed" else "", style="default")
    text.append(" · ".join(f"{printable(name)} {_ms(ms)}" for name, ms in named if ms >= 0.5), style="default")
    return text


def compared(found: list[against.Difference], old: against.Drawn, new: against.Drawn) -> Table:
    """The comparison with another log."""
    title = f"Against the other log ({old.seen:,} turns there, {new.seen:,} here; ms)"
    table = _table(title, "what", "", "there", "here", "difference", "95 % interval", "", left=1)
    table.columns[6].justify = "left"
    for each in found:
        style = {"slower": "red", "faster": "green"}.get(each.verdict, "dim")
        interval = f"{_signed(each.low_ms)} to {_signed(each.high_ms)}"
        table.add_row(
            each.name, f"p{each.percent}", _ms(each.old_ms), _ms(each.new_ms), _signed(each.by_ms), interval,
            Text(each.verdict, style=style),
        )  # fmt: skip
    if not found:
        table.caption = f"too few turns to compare: {against.LEAST_TURNS} are needed in each"
    return table


def left_out(reading: Reading, console: Console) -> None:
    """Tell what could not be used."""
    if summary := reading.summary():
        console.print(Text(f"voiceagent: {summary}", style="yellow"))
        for wrong in reading.first_wrong:
            console.print(Text(f"  {wrong}", style="yellow"), soft_wrap=True)
        if (more := reading.bad + reading.foreign - len(reading.first_wrong)) > 0:
            console.print(Text(f"  and {more} more", style="yellow"))
