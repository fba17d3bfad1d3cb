"""An observer: it counts how turns end, and tells of each slow one how slow it was and because of whom.

Run it with ``python examples/watching.py``, talk at http://127.0.0.1:8000, and end it with Ctrl-C. A number after it says
from how many milliseconds on a turn is slow.
"""

import sys
from collections import Counter

from voiceagent.hooks import Hooks
from voiceagent.records import COMPONENTS
from voiceagent.server import run
from voiceagent.settings import Settings
from voiceagent.timeline import TransitionRecord, TurnRecord

SLOW_MS = 1_500.0


class Watch:
    """A `voiceagent.observing.Observer`. It is called in the event loop: a line now and then is all it may take."""

    def __init__(self, slow_ms: float = SLOW_MS) -> None:
        self.slow_ms = slow_ms
        self.outcomes: Counter[str] = Counter()

    def transition(self, session: str, record: TransitionRecord) -> None:
        """Steps of the state machine: not wanted here."""

    def turn(self, session: str, record: TurnRecord) -> None:
        """Count it, and look at its gap: from the last sound of the caller to the first of the agent."""
        self.outcomes[record.outcome] += 1
        gap = record.gap
        if gap is None or gap.gap_us < self.slow_ms * 1000:
            return
        name, longest_us = max(gap.segments_us.items(), key=lambda segment: segment[1])
        print(
            f"slow: turn {record.turn} of {session} took {gap.gap_us / 1000:.0f} ms, "
            f"{longest_us / 1000:.0f} of them {name} ({COMPONENTS[name]})",
            file=sys.stderr,
        )


def main() -> int:
    """Serve until Ctrl-C, then tell the count."""
    watch = Watch(*(float(argument) for argument in sys.argv[1:]))
    code = run(Settings(), Hooks(observers=[watch]))
    print("turns:", ", ".join(f"{count} {outcome}" for outcome, count in watch.outcomes.most_common()), file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
