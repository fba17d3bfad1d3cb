"""The figures as one HTML page that loads nothing: numbers as tables, pictures as inline SVG, no script."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

from voiceagent import __version__
from voiceagent.latency import charts
from voiceagent.latency.charts import ms
from voiceagent.latency.reading import printable
from voiceagent.latency.reckoning import PERCENTS, Reckoning, component_of, in_order
from voiceagent.latency.tables import sentence
from voiceagent.latency.timelines import Session, Timelines
from voiceagent.latency.what_if import Effect
from voiceagent.records import COMPONENTS, TurnLine
from voiceagent.timeline import SEGMENTS

STATES = ("listening", "transcribing", "thinking", "speaking", "barge_in")
MOST_ROWS = 60


def page(
    taken: Reckoning, told: dict[str, Any], timelines: Timelines, effects: Sequence[Effect], logs: Sequence[str]
) -> str:
    """Return the page; `told` are the figures as JSON has them."""
    gap = taken.gap
    template = Template(resources.files("voiceagent.latency").joinpath("page.html").read_text(encoding="utf-8"))
    cards = [
        _numbers(taken), _card("Where it goes", _where(taken)), _distributions(taken),
        _card(f"By {taken.by}", _groups(taken)) if taken.groups else "",
        _card("What if", "".join(f'<p class="sentence">{escape(sentence(each))}</p>' for each in effects)) if effects else "",
        _card("Against the other log", _against(told["against"])) if "against" in told else "",
        _card("Slowest turns", "".join(map(_turn, taken.slowest))) if taken.slowest else "",
        _card("Sessions with the longest gaps", _sessions(timelines)) if timelines.worth_a_look() else "",
        _card("Left out", _left_out(told["reading"])) if told["reading"]["first_wrong"] else "",
    ]  # fmt: skip
    return template.substitute(
        p50=ms(gap.percentile(50)), p95=ms(gap.percentile(95)), colours=_colours(), about=_about(taken, logs),
        body="\n".join(filter(None, cards)), version=escape(__version__),
    )  # fmt: skip


def _card(title: str, inside: str) -> str:
    return f'<section class="card"><h2>{escape(title)}</h2>{inside}</section>'


def _colours() -> str:
    """One class for each segment and each state."""
    segments = (f"rect.s{place} {{ fill: var(--s{place}); }}" for place in range(len(SEGMENTS) + 1))
    states = (f"rect.{state} {{ fill: var(--{state}); }}" for state in (*STATES, "idle"))
    return "\n".join((" ".join(segments), " ".join(states)))


def _about(taken: Reckoning, logs: Sequence[str]) -> str:
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in taken.outcomes.most_common())
    span = f"{taken.first_at[:16].replace('T', ' ')} to {taken.last_at[:16].replace('T', ' ')} UTC"
    named = ", ".join(f"<code>{escape(printable(log))}</code>" for log in logs[:4])
    more = f" and {len(logs) - 4} more" if len(logs) > 4 else ""
    return f"{taken.all.turns:,} turns ({escape(outcomes)}) · {escape(printable(span))} · {named}{more}"


def _numbers(taken: Reckoning) -> str:
    gap, done = taken.gap, taken.speculation
    cards = [(f"p{percent} gap", ms(gap.percentile(percent)), "ms") for percent in PERCENTS]
    cards.append(("with a gap", f"{gap.count:,}", "turns"))
    if done.tries:
        cards.append(("early replies", f"{done.hits / done.tries:.0%}", "used"))
    shown = (
        f'<div class="card"><h2>{name}</h2><div class="number">{value}<small>{unit}</small></div></div>'
        for name, value, unit in cards
    )
    return f'<div class="numbers">{"".join(shown)}</div>'


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]], *, kind: str = "") -> str:
    """Cells are HTML already."""
    head = "".join(f"<th>{column}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _dot(name: str, kind: str) -> str:
    return f'<i class="dot" style="--c: var(--{kind})"></i>{escape(name)}'


def _percents() -> list[str]:
    return [f"p{percent}" for percent in PERCENTS]


def _where(taken: Reckoning) -> str:
    """The mean gap as one bar, and its segments as a table."""
    gap = taken.gap
    if not gap.count:
        return "<p>None of the turns has a response gap.</p>"
    means = [(name, spread.total_ms / gap.count) for name, spread, _ in taken.rows()]
    bar = charts.stacked(means, sum(length for _, length in means), height=34)
    most = max((share for _, _, share in taken.rows()), default=0.0) or 1.0
    rows = [
        [
            _dot(name, charts.colour(name)), escape(COMPONENTS.get(name, "other")),
            *(ms(spread.percentile(percent)) for percent in PERCENTS), f"{spread.count:,}", f"{share:.1%}",
            _share(share, most, charts.colour(name)),
        ]
        for name, spread, share in taken.rows()
    ]  # fmt: skip
    if taken.hidden.total_ms:
        hidden = [ms(taken.hidden.percentile(percent)) for percent in PERCENTS]
        rows.append(["hidden work", "beside the gap", *hidden, f"{taken.hidden.count:,}", "", ""])
    note = f'<p class="quiet">The mean gap is {ms(gap.mean_ms)} ms.' + (
        "" if gap.exact else " Percentiles of so many turns are exact to half a per cent."
    )
    table = _table(["segment", "due to", *_percents(), "turns", "share", ""], rows, kind="where")
    return f"{bar}{note}</p>{table}"


def _share(share: float, most: float, kind: str) -> str:
    told = f"{share:.1%}"
    return charts.svg(10, [charts.rect((0, 100 * share / most), (0, 10), kind, told)], told)


def _distributions(taken: Reckoning) -> str:
    if not taken.gap.count:
        return ""
    shown = _card("Gaps (ms)", charts.histogram(taken.gap, (50, 95, 99)))
    timed = sorted((hour, group) for hour, group in taken.hours.items() if group.gap.count)
    if len(timed) < 2:
        return shown
    return f'<div class="pair">{shown}{_card("Hour by hour: p50, and p95 above it", charts.hours(timed))}</div>'


def _groups(taken: Reckoning) -> str:
    names = list(taken.all.shares)
    ranked = sorted(taken.groups.items(), key=lambda item: item[0] if taken.by == "hour" else -item[1].turns)
    rows = []
    for name, group in ranked[:MOST_ROWS]:
        gaps = [ms(group.gap.percentile(percent)) if group.gap.count else "–" for percent in PERCENTS]
        shares = group.shares
        rows.append(
            [
                escape(name),
                f"{group.turns:,}",
                *gaps,
                *(f"{shares[each]:.0%}" if each in shares else "–" for each in names),
            ]
        )
    more = f'<p class="quiet">and {len(ranked) - MOST_ROWS} more</p>' if len(ranked) > MOST_ROWS else ""
    return _table([escape(taken.by or ""), "turns", *_percents(), *map(escape, names)], rows) + more


def _against(told: dict[str, Any]) -> str:
    rows = [
        [
            f"{escape(each['name'])} p{each['percentile']}", ms(each["old_ms"]), ms(each["new_ms"]), f"{round(each['by_ms']):+,}",
            f"{round(each['low_ms']):+,} to {round(each['high_ms']):+,}",
            f'<span class="{each["verdict"].split()[0]}">{each["verdict"]}</span>',
        ]
        for each in told["differences"]
    ]  # fmt: skip
    note = f'<p class="quiet">{told["old_turns"]:,} turns there, {told["new_turns"]:,} here.</p>'
    return note + _table(["what", "there", "here", "difference", "95 % interval", ""], rows, kind="against")


def _turn(turn: TurnLine) -> str:
    """One turn: the silence as its segments, and beneath it what went on at the same time."""
    facts = [turn.outcome, f"{turn.timestamp[:19].replace('T', ' ')} UTC"]
    facts += [f"wait {turn.wait_ms} ms ({turn.wait_reason})"] if turn.wait_ms is not None else []
    facts += [f"{ms(turn.hidden_ms)} ms of work hidden"] if turn.hidden_ms else []
    facts += [f"{fault.stage} failed: {fault.code}" for fault in turn.faults[:3]]
    heading = (
        f"<h3>{ms(turn.gap_ms or 0.0)} ms <span>{escape(printable(turn.session))} turn {turn.turn}</span>"
        f"<span>{escape(printable(' · '.join(facts)))}</span></h3>"
    )
    rows = "".join(f'<div class="lane"><span>{escape(name)}</span>{drawn}</div>' for name, drawn in charts.lanes(turn))
    named = "".join(
        f"<li>{_dot(f'{printable(name)} {ms(length)} ms ({component_of(turn, name)})', charts.colour(name))}</li>"
        for name, length in in_order(turn)
        if length >= 0.5
    )
    return f'<div class="turn">{heading}<ul class="legend">{named}</ul>{rows}</div>'


def _sessions(timelines: Timelines) -> str:
    shown = timelines.worth_a_look()
    whole_ms = max((session.moves[-1][0] - session.first_us) / 1000 for session in shown) or 1.0
    legend = "".join(f"<li>{_dot(state.replace('_', '-'), state)}</li>" for state in STATES)
    rows = "".join(_session(session, whole_ms) for session in shown)
    more = f" of {timelines.seen:,}" if timelines.seen > len(shown) else ""
    return (
        f'<p class="quiet">{len(shown)}{more} sessions, each from its first record; the widest is {whole_ms / 1000:,.0f} s.</p>'
        f'<ul class="legend">{legend}</ul>{rows}'
    )


def _session(session: Session, whole_ms: float) -> str:
    turns = "1 turn" if session.turns == 1 else f"{session.turns:,} turns"
    facts = f"{session.first_at[:19].replace('T', ' ')} UTC · {turns} · longest gap {ms(session.longest_gap_ms)} ms"
    cut = " · and more" if session.cut else ""
    heading = f"<h3>{escape(printable(session.name))} <span>{escape(printable(facts + cut))}</span></h3>"
    return f'<div class="session">{heading}{charts.states(session, whole_ms)}</div>'


def _left_out(reading: dict[str, Any]) -> str:
    rows = [[escape(each["file"]), str(each["line"]), escape(each["reason"])] for each in reading["first_wrong"]]
    bad, foreign, lines = (reading[kind] for kind in ("bad", "foreign", "lines"))
    told = f'<p class="quiet">{bad:,} bad lines and {foreign:,} of another version, of {lines:,}.</p>'
    return told + _table(["file", "line", "why"], rows)
