"""The register of invariants: on which occasion each is checked, and where its rule is written."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any, Any], str | None]


@dataclass(frozen=True, slots=True)
class Invariant:
    """One rule: its name, where it is written, and the check, which returns what is wrong."""

    name: str
    rule: str
    check: Check


CHECKS: defaultdict[str, list[Invariant]] = defaultdict(list)
"""The invariants by the occasion on which they are checked."""


def on(occasion: str, rule: str) -> Callable[[Check], Check]:
    """Put a function among the invariants of an occasion."""

    def put(check: Check) -> Check:
        CHECKS[occasion].append(Invariant(check.__name__, rule, check))
        return check

    return put
