"""``voiceagent replay``: the triggers of a log are put to the rulebook again; a production log is a regression test.

Of a record only its trigger is believed: what it says of where it led is compared with where the rulebook leads.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from voiceagent.latency.lines import Unreadable
from voiceagent.latency.reading import Located, Reading, printable, read
from voiceagent.latency.tables import left_out
from voiceagent.records import TransitionLine
from voiceagent.states import Leaf, Position, Refused, Rulebook, Trigger, rulebook

SAME, DIFFERS, UNUSABLE = 0, 1, 2
"""Exit codes: all replays; a line says something else; the command or the file is of no use."""
MOST_SESSIONS = 100_000
"""So many sessions may be open in a log at once; beyond, the oldest is taken up again where its next record stands."""
LEAVES = {leaf.value for leaf in Leaf}
TRIGGERS = {trigger.value: trigger for trigger in Trigger}
COLOURS = {
    "listening": "cyan", "transcribing": "blue", "thinking": "yellow", "speaking": "magenta", "barge_in": "red",
    "closed": "bright_black",
}  # fmt: skip


@dataclass(slots=True)
class _Session:
    seq: int
    position: Position


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that are missing: the log dropped them, or begins in the middle."""

    file: str
    line: int
    session: str
    after: int  # the last number before it; 0 at the session's beginning
    before: int

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: session {printable(self.session)}"
        if not self.after:
            return f"{where} begins with seq {self.before}"
        return f"{where}: seq {self.after + 1} to {self.before - 1} are missing"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first line that does not replay."""

    file: str
    line: int
    record: TransitionLine
    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        step = self.record
        return (
            f"{self.file}:{self.line}: session {printable(step.session)}, seq {step.seq}, trigger "
            f"{printable(step.trigger)}: {self.field!r} should be {self.expected}, but is {printable(self.found)}"
        )


@dataclass(slots=True)
class Replayed:
    """What was replayed so far."""

    transitions: int = 0
    sessions: int = 0
    gaps: int = 0


def replay(
    found: Iterable[Located], done: Replayed, book: Rulebook | None = None
) -> Iterator[Located | Gap | Difference]:
    """Put each transition to the rulebook. Yields it once it agrees, each gap, and at last a difference, if there is one."""
    book = book or rulebook()
    open_sessions: dict[str, _Session] = {}
    for each in found:
        step = each.record
        if not isinstance(step, TransitionLine):
            continue
        session = open_sessions.get(step.session)
        if session is None or step.seq == 1:
            session, expected = _Session(0, Position()), 1
            open_sessions.pop(step.session, None)
            if len(open_sessions) >= MOST_SESSIONS:
                del open_sessions[next(iter(open_sessions))]
            open_sessions[step.session] = session
            done.sessions += 1
        else:
            expected = session.seq + 1
        if step.seq != expected:
            if step.seq < expected:
                yield Difference(each.file, each.line, step, "seq", str(expected), str(step.seq))
                return
            done.gaps += 1
            yield Gap(each.file, each.line, step.session, session.seq, step.seq)
            if step.source in LEAVES:  # what was missed is taken from where the log goes on
                session.position = Position(step.source)
        difference = _differs(each, step, session.position, book)
        if difference is not None:
            yield difference
            return
        session.seq = step.seq
        done.transitions += 1
        if session.position.leaf is Leaf.CLOSED:
            del open_sessions[step.session]
        yield each


def _differs(each: Located, step: TransitionLine, position: Position, book: Rulebook) -> Difference | None:
    def told(field: str, expected: str, found: str) -> Difference:
        return Difference(each.file, each.line, step, field, expected, found)

    if step.source != position.state:
        return told("from", position.state, step.source)
    trigger = TRIGGERS.get(step.trigger)
    if trigger is None:
        return told("trigger", "one of the machine's", step.trigger)
    try:
        target = book.fire(position, trigger)
    except Refused as refused:
        return told("trigger", f"one that is allowed in {refused.leaf}", step.trigger)
    return told("to", target.value, step.target) if step.target != target else None


# ------------------------------------------------------------------------------------------ command
def run(logs: tuple[str, ...], *, session: str | None, quiet: bool) -> int:
    """Replay log files and print the transcript; the exit code says whether all replays."""
    errors = Console(stderr=True, highlight=False)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    reading, done, difference = Reading(), Replayed(), None
    try:
        for each in replay(_of(session, read(logs, reading, turns=False)), done):
            if isinstance(each, Difference):
                difference = each
            elif isinstance(each, Gap):
                errors.print(Text(str(each), style="yellow"), soft_wrap=True)
            elif not quiet:
                console.print(_line(each), soft_wrap=True)
    except Unreadable as error:
        sys.stderr.write(f"voiceagent: {error}\n")
        return UNUSABLE
    left_out(reading, errors)
    if difference is not None:
        errors.print(Text(str(difference), style="red"), soft_wrap=True)
        return DIFFERS
    if not done.transitions:
        sys.stderr.write(f"voiceagent: there is no transition to replay in {' '.join(logs)}\n")
        return UNUSABLE
    missing = f"; records are missing in {done.gaps} places" if done.gaps else ""
    sessions = "1 session" if done.sessions == 1 else f"{done.sessions:,} sessions"
    console.print(f"{done.transitions:,} transitions of {sessions} replay{missing}", markup=False)
    return SAME


def _of(session: str | None, found: Iterable[Located]) -> Iterator[Located]:
    return (each for each in found if session is None or each.record.session == session)


def _line(each: Located) -> Text:
    """One step: when, whose, from where, by what, to where, and how long it had been there."""
    step = each.record
    if not isinstance(step, TransitionLine):
        raise TypeError("only transitions are replayed")
    text = Text(f"{step.at_us / 1e6:12.3f} s {printable(step.session)[:12]} {step.seq:4} ", style="dim")
    text.append(f"{step.source:>18} ", style=_colour(step.source))
    text.append(f"--{step.trigger}--> ", style="default")
    if step.target == step.source:
        text.append("stays", style="dim")
    else:
        text.append(step.target, style=_colour(step.target))
        text.append(f" after {step.dwell_us / 1000:,.0f} ms", style="dim")
    if step.reason:
        text.append(f" ({printable(step.reason)})", style="dim")
    return text


def _colour(leaf: str) -> str:
    return COLOURS.get(Leaf(leaf).state, "default")
