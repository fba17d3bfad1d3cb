"""The suite's table, in markdown: each figure with its goal, over all dialogs and family by family."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from voiceagent.dialogs.scripts import FAMILIES

BEGIN, END = "<!-- dialogs -->", "<!-- /dialogs -->"


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, what it is called, how it is written, and the goal: at least, or at most."""

    name: str
    what: str
    form: str
    least: float | None = None
    most: float | None = None

    def reached(self, value: float | None) -> bool:
        """Whether a value is as good as it should be; what has no goal is."""
        if value is None:
            return self.least is None and self.most is None
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def cell(self, value: float | None) -> str:
        """A value as the table shows it."""
        shown = _form(value, self.form)
        return shown if value is None or self.reached(value) else f"**{shown}**"

    @property
    def told(self) -> str:
        """The goal in words."""
        if self.least is not None:
            return f"≥ {_form(self.least, self.form)}" if self.least < 1 else _form(self.least, self.form)
        return "" if self.most is None else f"≤ {_form(self.most, self.form)}" if self.most else "0"


GOALS = (
    Goal("yield_rate", "barge-ins that stop the agent within 2 s", "%", least=1.0),
    Goal("time_to_yield_p95_ms", "onset to the last sample heard, p95", "ms", most=300),
    Goal("hold_p50_ms", "onset to hold at 20 dB and better, p50", "ms", most=70),
    Goal("hold_p95_ms", "the same, p95", "ms", most=120),
    Goal("hold_10db_p95_ms", "the same at 10 dB, p95", "ms", most=250),
    Goal("echo_holds_per_min", "false holds by echo, a minute of playback", "n", most=1),
    Goal("verdict_p95_ms", "onset to verdict, p95", "ms"),
    Goal("backchannels_ignored", "backchannels ignored", "%", least=0.95),
    Goal("pause_per_backchannel_p50_ms", "pause that one causes, p50", "ms"),
    Goal("tics_ignored", "coughs and tics ignored", "%", least=0.9),
    Goal("side_speech_ignored", "side speech ignored", "%", least=0.8),
    Goal("echo_ignored", "replies not stopped by their echo", "%", least=0.99),
    Goal("resume_success", "false sounds after which it goes on, in time and exactly", "%", least=0.99),
    Goal("resume_p95_ms", "end of a false sound to going on, p95", "ms", most=400),
    Goal("cut_off_rate", "turns that the agent cuts off", "%", most=0.03),
    Goal("missed_turns", "turns without an answer within 4 s", "n", most=0),
    Goal("heard_error_words_p99", "words remembered less words heard, p99", "n", most=2),
    Goal("gap_p50_ms", "end of the turn to the first sample, p50", "ms"),
    Goal("gap_p95_ms", "the same, p95", "ms"),
    Goal("eva", "EVA-Bench's turn-taking curve, mean", "n"),
    Goal("awkward_silences", "silences of more than 2 s", "n"),
    Goal("double_replies", "second replies to one turn", "n"),
)
"""With the goals of all in one configuration: the shipped one."""


def _form(value: float | None, form: str) -> str:
    if value is None:
        return ""
    if form == "%":
        return f"{100 * value:.1f} %".replace(".0 %", " %")
    return f"{value:.0f} ms" if form == "ms" else f"{value:g}" if value == round(value, 2) else f"{value:.2f}"


def table(told: dict[str, Any]) -> str:
    """The figures of `figures.summary`. One that misses its goal is bold."""
    head = ["", "goal", "all", "real ears", *FAMILIES]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    values = {**told, **told["more"]}
    for goal in GOALS:
        columns = [values, told["real_ears"], *(told["families"][family] for family in FAMILIES)]
        cells = [goal.what, goal.told, *(goal.cell(column.get(goal.name)) for column in columns)]
        lines.append("| " + " | ".join(cells) + " |")
    more = told["more"]
    lines.append("")
    lines.append(
        f"{told['dialogs']} dialogs, {more['performances']} performances, {more['simulated_s'] / 3600:.1f} h of talk; "
        f"{more['gate_violations']} invariants violated; early replies: {more['guesses_per_turn']:.2f} a turn, "
        f"{more['guesses_wasted_per_turn']:.2f} in vain ({more['tokens_wasted_per_turn']:.1f} tokens, "
        f"{more['characters_wasted_per_turn']:.0f} characters of speech)."
    )
    return "\n".join(lines) + "\n"


def with_table(text: str, rows: str) -> str:
    """The README with the table between its markers."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    return f"{head}{begin}\n{rows}{end}{tail}" if end else text


def curve(points: list[tuple[str, dict[str, float | None]]], form: Callable[[float | None, str], str] = _form) -> str:
    """The sweep: how often the agent cuts in, and how soon it answers, by the wait."""
    lines = ["| wait | cut off | pausing | dictating | gap p50 | gap p95 |", "|---|---|---|---|---|---|"]
    for name, told in points:
        cells = [
            form(told["cut_off_rate"], "%"), form(told["pausing"], "%"), form(told["dictating"], "%"),
            form(told["gap_p50_ms"], "ms"), form(told["gap_p95_ms"], "ms"),
        ]  # fmt: skip
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines) + "\n"
