"""A token bucket that is told the time: so much at once, and so much on the average."""


class Allowance:
    """`burst` at once and `per_s` on the average, from `now_us` on."""

    def __init__(self, burst: float, per_s: float, now_us: int) -> None:
        self._burst, self._per_s = burst, per_s
        self._left, self._at_us = burst, now_us

    def take(self, amount: float, now_us: int) -> bool:
        """Take so much, even where it is not there; False if so."""
        self._refill(now_us)
        self._left -= amount
        return self._left >= 0

    def take_if_there(self, amount: float, now_us: int) -> bool:
        """Take so much if it is there; False, and nothing is taken, if not."""
        self._refill(now_us)
        if self._left < amount:
            return False
        self._left -= amount
        return True

    def _refill(self, now_us: int) -> None:
        self._left = min(self._burst, self._left + (now_us - self._at_us) / 1e6 * self._per_s)
        self._at_us = now_us
