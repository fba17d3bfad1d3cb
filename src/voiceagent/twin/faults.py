"""A fault plan: rules from a file or a header, which request each one strikes, and a log of all that was done."""

import asyncio
import json
import random
from collections import Counter, OrderedDict, deque
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from voiceagent.twin.fault_rules import RULES, AnyRule, Rule, name_of

MAX_RULES = 200
MAX_HEADERS = 200  # different ones whose counts are kept
MAX_LOG = 10_000
MAX_TEXT_CHARS = 256 * 1024
_RULES: TypeAdapter[list[Any]] = TypeAdapter(list[AnyRule])


class BadFaults(Exception):  # noqa: N818 - what the plan is
    """The plan cannot be used; the message names the rule and the field."""


@dataclass(frozen=True, slots=True)
class FaultDone:
    """Something a rule did: when (microseconds of the loop's clock), which rule, to which request, and what."""

    at_us: int
    rule: str
    fault: str
    stage: str | None
    path: str
    number: int  # of the request, as the rule counts
    detail: Any = None


@dataclass(slots=True)
class Armed:
    """A rule that strikes one request or connection, and what it has seen of it."""

    rule: Any  # one of the rules' models
    label: str
    number: int
    stage: str | None
    path: str
    plan: "FaultPlan"
    dice: random.Random
    events: int = 0
    done: bool = False
    held: Any = None

    def done_to(self, detail: Any = None) -> None:
        """Put into the log what was done."""
        at_us = round(asyncio.get_running_loop().time() * 1e6)
        rule = self.rule
        self.plan.note(FaultDone(at_us, self.label, rule.fault, self.stage, self.path, self.number, detail))

    def of_type(self, kind: str) -> bool:
        """Whether an event of this type is of those that the rule names."""
        wanted = getattr(self.rule, "event", None)
        return wanted is None or fnmatchcase(kind, wanted)

    def picks(self, kind: str) -> bool:
        """Whether the rule changes this event; it is counted."""
        if not self.of_type(kind):
            return False
        self.events += 1
        numbers = getattr(self.rule, "event_nth", None)
        return numbers is None or self.events in numbers


@dataclass(slots=True)
class _Counted:
    """Rules and how many requests each one has counted."""

    rules: tuple[Rule, ...]
    source: str
    numbers: dict[int, int] = field(default_factory=dict)


class FaultPlan:
    """The rules in force. `log` tells what was done, `counts` how often each fault was.

    A header's rules are kept and counted by its very text, so that the same default header of many requests makes one
    plan. The plan can be replaced while it is used: what is under way goes on as it began.
    """

    def __init__(self, rules: Any = ()) -> None:
        """Take rules or what JSON gives for them, one or several. Raises `BadFaults`."""
        self._own = _Counted(parse_rules(list(rules) if isinstance(rules, tuple) else rules), "rule")
        self._headers: OrderedDict[str, _Counted] = OrderedDict()
        self.log: deque[FaultDone] = deque(maxlen=MAX_LOG)
        self.counts: Counter[str] = Counter()

    @classmethod
    def load(cls, path: Path) -> "FaultPlan":
        """Read a plan from a JSON file. Raises `BadFaults`."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise BadFaults(f"the fault plan {path} cannot be read: {error}") from None
        try:
            return cls(_json(text))
        except BadFaults as error:
            raise BadFaults(f"the fault plan {path} cannot be used: {error}") from None

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that are not a header's."""
        return self._own.rules

    def replace(self, rules: Any) -> None:
        """Put other rules in place of all and begin to count anew; the log is emptied. Raises `BadFaults`."""
        self._own = _Counted(parse_rules(rules), "rule")
        self._headers.clear()
        self.log.clear()
        self.counts.clear()

    def strikes(self, stage: str | None, path: str, header: str | None = None) -> list[Armed]:
        """Count a request, and return the rules that strike it, in order. Raises `BadFaults` for a bad header."""
        armed = self._of(self._own, stage, path)
        if header is not None:
            armed += self._of(self._header(header), stage, path)
        return armed

    def _header(self, text: str) -> _Counted:
        counted = self._headers.get(text)
        if counted is None:
            counted = self._headers[text] = _Counted(parse_rules(_json(text)), "header rule")
            if len(self._headers) > MAX_HEADERS:
                self._headers.popitem(last=False)
        self._headers.move_to_end(text)
        return counted

    def _of(self, counted: _Counted, stage: str | None, path: str) -> list[Armed]:
        armed = []
        for at, rule in enumerate(counted.rules, 1):
            if not rule.matches(stage, path):
                continue
            number = counted.numbers[at] = counted.numbers.get(at, 0) + 1
            dice = random.Random(f"{rule.seed} {at} {number}")  # noqa: S311 - to be repeated, not to be secret
            drawn = dice.random() < rule.probability
            if drawn and (rule.nth is None or number in rule.nth):
                armed.append(Armed(rule, f"{counted.source} {at}", number, stage, path, self, dice))
        return armed

    def note(self, done: FaultDone) -> None:
        """Add to the log."""
        self.log.append(done)
        self.counts[done.fault] += 1

    def of(self, fault: str) -> list[FaultDone]:
        """Return the log's entries of one fault."""
        return [done for done in self.log if done.fault == fault]

    def shown(self) -> dict[str, Any]:
        """Return the plan, its counts and the end of its log as JSON has it."""
        return {
            "rules": [rule.model_dump(exclude_defaults=True) for rule in self.rules],
            "counts": dict(self.counts),
            "log": [asdict(done) for done in list(self.log)[-100:]],
        }


def _json(text: str) -> Any:
    if len(text) > MAX_TEXT_CHARS:
        raise BadFaults("it is too long")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFaults(f"it is no JSON: {error}") from None


def parse_rules(given: Any) -> tuple[Rule, ...]:
    """Make rules of what JSON gives: one or a list. Raises `BadFaults` with each rule's number and field."""
    if isinstance(given, dict | Rule):
        given = [given]
    if not isinstance(given, list):
        raise BadFaults("it must be a rule or a list of rules")
    if len(given) > MAX_RULES:
        raise BadFaults(f"it has more than {MAX_RULES} rules")
    try:
        return tuple(_RULES.validate_python(given))
    except ValidationError as error:
        raise BadFaults("; ".join(map(_sentence, error.errors(include_input=False, include_url=False)))) from None


def _sentence(wrong: Any) -> str:
    number, *rest = wrong["loc"]
    if wrong["type"] in {"union_tag_not_found", "union_tag_invalid"}:
        names = ", ".join(name_of(rule) for rule in RULES)
        return f"rule {number + 1}, field 'fault': it must be one of {names}"
    fault, *where = rest or [""]
    place = f", field '{'.'.join(str(part) for part in where)}'" if where else ""
    named = f" ({fault})" if fault else ""
    return f"rule {number + 1}{named}{place}: {wrong['msg'].removeprefix('Value error, ')}"
