"""The register of invariants: on which occasion each is checked, and where its rule is written."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Check = Callable[[Any, Any], str | None]


@dataclass(frozen=True, slots=True)
class Invariant:
    """One rule: its name, where it is written, and the check, which returns what is wrong."""

    name: str
    rule: str
    check: Check


CHECKS: defaultdict[str, list[Invariant]] = defaultdict(list)
"""The invariants by the occasion on which they are checked."""


def on(occasion: str, rule: str, *, mode: Literal["cascade", "realtime"] | None = None) -> Callable[[Check], Check]:
    """Put a function among the invariants of an occasion; `mode`: it holds only there."""

    def put(check: Check) -> Check:
        def in_its_mode(books: Any, what: Any) -> str | None:
            return check(books, what) if books.settings.mode == mode else None

        CHECKS[occasion].append(Invariant(check.__name__, rule, check if mode is None else in_its_mode))
        return check

    return put
