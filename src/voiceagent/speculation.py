"""When a reply may be prepared before its turn has ended: the states of such a guess, its budget, and the pause it waits for.

A guess is a bet on the caller having finished. A short pause bets early and loses more often; so each lost bet of a turn
lengthens the pause for the rest of it, and no pause needs to be shorter than what the back-ends need to be ready in time.
"""

from collections import deque
from enum import StrEnum

from voiceagent.allowance import Allowance

BACKOFF_US = 40_000
"""What a lost guess adds to the pause for the rest of its turn: it halves the waste, and every turn is still guessed at."""
LONGEST_PAUSE_US = 300_000
LONGEST_EASY_PAUSE_US = 200_000
"""With back-ends so fast that even later would do, no later than this: they are not always so fast."""
MAKINGS_KEPT = 20
PARTIALS_TRUST = 3
SLOW_SHARE = 0.9
"""Of the last makings, so many must have been ready in time."""


class Guess(StrEnum):
    """Where the early reply of a turn stands."""

    NONE = "none"
    RUNNING = "running"  # being made behind the gate
    READY = "ready"  # its first audio waits
    PROMOTED = "promoted"  # the turn ended as expected: it is the reply
    DROPPED = "dropped"  # the turn went on, or its words changed


class Step(StrEnum):
    """What may happen to a guess."""

    START = "start"
    AUDIO = "audio"
    HIT = "hit"
    MISS = "miss"


GUESS_TABLE: dict[tuple[Guess, Step], Guess] = {
    (Guess.NONE, Step.START): Guess.RUNNING,
    (Guess.RUNNING, Step.AUDIO): Guess.READY,
    (Guess.RUNNING, Step.HIT): Guess.PROMOTED,
    (Guess.RUNNING, Step.MISS): Guess.DROPPED,
    (Guess.READY, Step.HIT): Guess.PROMOTED,
    (Guess.READY, Step.MISS): Guess.DROPPED,
    (Guess.DROPPED, Step.START): Guess.RUNNING,
    (Guess.PROMOTED, Step.START): Guess.RUNNING,  # the turn was reopened, and pauses again
}
"""All that a guess can do; any other pair is a mistake of ours."""


class Budget:
    """One session's allowance of guesses, and the pause after which they are made."""

    def __init__(self, *, enabled: bool, pause_us: int, wait_us: int, per_turn: int, per_min: int, now_us: int) -> None:
        self.wait_us = wait_us  # the silence that usually ends a turn
        self._enabled = enabled
        self._pause_us = pause_us
        self._per_turn = per_turn
        self._allowance = Allowance(max(1.0, per_min / 4), per_min / 60, now_us)
        self._misses = 0  # of this turn
        self._partials = 0  # how often they were right of late
        self._makings: deque[int] = deque(maxlen=MAKINGS_KEPT)

    def take(self, tries: int, now_us: int) -> bool:
        """Take one guess out of the budget for a turn that had `tries` so far; False if there is none left."""
        return self._enabled and tries < self._per_turn and self._allowance.take_if_there(1, now_us)

    @property
    def pause_us(self) -> int:
        """The silence that is to propose the next guess."""
        easy_us = self._pause_us
        if self._makings:
            ordered = sorted(self._makings)
            slow_us = ordered[min(len(ordered) - 1, round(SLOW_SHARE * (len(ordered) - 1)))]
            latest_us = max(self._pause_us, LONGEST_EASY_PAUSE_US)
            easy_us = min(latest_us, max(self._pause_us, self.wait_us - slow_us))
        longest_us = max(LONGEST_PAUSE_US, self._pause_us)
        return min(longest_us, easy_us + self._misses * BACKOFF_US)

    def made(self, took_us: int) -> None:
        """Note how long it took from a commit to the first audio of the reply."""
        self._makings.append(took_us)

    def missed(self) -> None:
        """A guess of this turn was lost."""
        self._misses += 1

    def partials_were(self, *, right: bool) -> None:
        """Note whether the words that were there at a pause turned out to be all of them."""
        self._partials = min(PARTIALS_TRUST, self._partials + 1) if right else max(-PARTIALS_TRUST, self._partials - 2)

    @property
    def trusts_partials(self) -> bool:
        """Whether words that are not final yet are worth a guess: some models' last word comes only with the final."""
        return self._partials >= 0

    def next_turn(self) -> None:
        """Another turn begins."""
        self._misses = 0
