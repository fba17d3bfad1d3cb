"""Logs as records: each line by its contract; what is no record, is broken, or of another version is counted by its number."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from voiceagent.latency.lines import Damaged, Unreadable, blocks, lines
from voiceagent.records import TRANSITION_SCHEMA, TURN_SCHEMA, TransitionLine, TurnLine

TURN = TURN_SCHEMA.partition("/")[0].encode() + b"/"
TRANSITION = TRANSITION_SCHEMA.partition("/")[0].encode() + b"/"
EXPORT = re.compile(rb'[\s\xef\xbb\xbf]*\{?\s*"schema":\s*"voice\.page/')
"""How a file of the page's *Export as JSON* begins, in its first or second line."""
TOLD = 5
"""So many wrong lines are named; the others are counted."""
LONGEST_REASON = 120

AnyLine = TypeVar("AnyLine", TurnLine, TransitionLine)


@dataclass(frozen=True, slots=True)
class Wrong:
    """A line that could not be used, and why."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(slots=True)
class Reading:
    """What was met in all files together."""

    lines: int = 0
    turns: int = 0
    transitions: int = 0
    others: int = 0  # events of the server itself
    bad: int = 0
    foreign: int = 0  # of a version that is not ours
    first_wrong: list[Wrong] = field(default_factory=list)

    def wrong(self, file: str, line: int, reason: str, *, foreign: bool = False) -> None:
        """Count a line that cannot be used, and name it if it is among the first."""
        if foreign:
            self.foreign += 1
        else:
            self.bad += 1
        if len(self.first_wrong) < TOLD:
            self.first_wrong.append(Wrong(printable(file), line, printable(reason)[:LONGEST_REASON]))

    def summary(self) -> str:
        """One sentence of what could not be used; empty if all could."""
        parts = [f"{self.bad} bad"] if self.bad else []
        parts += [f"{self.foreign} of another version"] if self.foreign else []
        return f"{' and '.join(parts)} of {self.lines} lines were left out" if parts else ""


def printable(text: str) -> str:
    """The text without what a terminal would obey."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


@dataclass(frozen=True, slots=True)
class Located:
    """A record and where it stands."""

    file: str
    line: int
    record: TurnLine | TransitionLine


def read(paths: Iterable[str], reading: Reading, *, turns: bool = True, transitions: bool = True) -> Iterator[Located]:
    """Yield the records of log files in their order; kinds that are not wanted are counted unread."""
    for path in paths:
        file = "standard input" if path == "-" else path
        yield from records(file, blocks(path), reading, turns=turns, transitions=transitions)


def records(
    file: str, read_blocks: Iterable[bytes], reading: Reading, *, turns: bool = True, transitions: bool = True
) -> Iterator[Located]:
    """Yield the records of one file, given as blocks of bytes. Raises `Unreadable` where it is no log but the page's."""
    number = 0
    try:
        for number, line in enumerate(lines(read_blocks), 1):
            reading.lines += 1
            if line is None:
                reading.wrong(file, number, "longer than a record may be")
                continue
            if number <= 2 and EXPORT.match(line):
                raise Unreadable(
                    f"{printable(file)} is what the page exported, which has less than is reckoned with here: "
                    "give the server's log of these sessions (log_file)"
                )
            is_turn, is_transition = TURN in line, TRANSITION in line
            if not (is_turn or is_transition):
                _other(file, number, line, reading)
            elif turns if is_turn else transitions:
                record = _record(file, number, line, reading)
                if record is not None:
                    yield Located(file, number, record)
            else:
                _unread(file, number, line, reading)
    except Damaged as damaged:
        reading.lines += 1
        reading.wrong(file, number + 1, str(damaged))


def _other(file: str, number: int, line: bytes, reading: Reading) -> None:
    """A line without a schema of ours: nothing, an event of the server, or what cannot be used."""
    line = line.strip()
    if line.endswith(b"}") and b"{" in line:
        reading.others += 1
    elif line:
        reading.wrong(file, number, "no JSON object")


def _unread(file: str, number: int, line: bytes, reading: Reading) -> None:
    """A record of a kind that is not wanted is only looked at from outside."""
    if not line.rstrip().endswith(b"}"):
        reading.wrong(file, number, "broken off")
    elif TURN in line:
        reading.turns += 1
    else:
        reading.transitions += 1


def _record(file: str, number: int, line: bytes, reading: Reading) -> TurnLine | TransitionLine | None:
    if TURN in line:
        turn = _parsed(TurnLine, file, number, line, reading)
        reading.turns += turn is not None
        return turn
    step = _parsed(TransitionLine, file, number, line, reading)
    reading.transitions += step is not None
    return step


def _parsed(model: type[AnyLine], file: str, number: int, line: bytes, reading: Reading) -> AnyLine | None:
    """The record of a line, after what a collector may have put before it; None, and counted, if there is none."""
    try:
        return model.model_validate_json(line if line.startswith(b"{") else line[line.find(b"{") :])
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
    problems = {str(each["loc"][0]) if each["loc"] else "": each for each in found}
    if "" in problems:
        reading.wrong(file, number, _reason(found[0]))
    elif "event" in problems or ("schema" in problems and problems["schema"]["type"] == "missing"):
        reading.others += 1  # it only mentions the schema
    elif "schema" in problems:
        reading.wrong(file, number, f"schema {str(problems['schema']['input'])[:40]!r} is not known", foreign=True)
    else:
        reading.wrong(file, number, _reason(found[0]))
    return None


def _reason(problem: Any) -> str:
    """What was wrong, without any of the line's content."""
    where, said = ".".join(str(part) for part in problem["loc"]), str(problem["msg"])
    return f"{where}: {said}" if where else said.replace(" at line 1 column ", " at column ")
