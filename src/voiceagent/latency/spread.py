"""Percentiles in bounded memory: exact for a few thousand lengths, then within half a percent of the true one."""

import math
from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

EXACT = 4_096
"""Up to so many lengths nothing is rounded."""
ERROR = 0.005
"""Beyond, a percentile is off by no more than this share of itself."""
SHORTEST_MS, LONGEST_MS = 1e-3, 1e8
_LOG = math.log((1 + ERROR) / (1 - ERROR))
_BUCKETS = math.ceil(math.log(LONGEST_MS / SHORTEST_MS) / _LOG) + 2
_MIDDLES = np.concatenate(([0.0], SHORTEST_MS * np.exp(_LOG * (np.arange(1, _BUCKETS) - 1)) * (1 + ERROR)))
"""Of bucket i, which goes from SHORTEST_MS * g**(i-1) to the next: no point of it is farther away than `ERROR`."""


class Spread:
    """How lengths in milliseconds are spread. None of them is negative."""

    def __init__(self) -> None:
        self.count = 0
        self.total_ms = 0.0
        self.least_ms, self.most_ms = math.inf, 0.0
        self._kept = array("d")
        self._buckets: NDArray[np.int64] | None = None

    def add(self, ms: float) -> None:
        """Take one length in."""
        self.count += 1
        self.total_ms += ms
        if ms < self.least_ms:  # noqa: PLR1730 - min and max take longer, millions of times
            self.least_ms = ms
        if ms > self.most_ms:  # noqa: PLR1730
            self.most_ms = ms
        self._kept.append(ms)
        if len(self._kept) > EXACT:
            self._settle()

    @property
    def exact(self) -> bool:
        """Whether nothing was rounded."""
        return self._buckets is None

    @property
    def mean_ms(self) -> float:
        """The mean; 0 of nothing."""
        return self.total_ms / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """The least length that so many percent of all do not exceed (nearest rank); 0 of nothing."""
        if not self.count:
            return 0.0
        rank = max(1, math.ceil(round(percent / 100 * self.count, 9)))
        if self._buckets is None:
            return sorted(self._kept)[rank - 1]
        if rank in (1, self.count):
            return self.least_ms if rank == 1 else self.most_ms
        self._settle()
        middle = float(_MIDDLES[np.searchsorted(np.cumsum(self._buckets), rank)])
        return min(self.most_ms, max(self.least_ms, middle))

    def bins(self, edges_ms: Sequence[float]) -> list[int]:
        """How many lengths there are from each edge up to the next one; the last bin has its upper edge as well."""
        edges = np.asarray(edges_ms)
        if self._buckets is None:
            counts, _ = np.histogram(np.asarray(self._kept), edges)
        else:
            self._settle()
            counts, _ = np.histogram(np.clip(_MIDDLES, self.least_ms, self.most_ms), edges, weights=self._buckets)
        return [int(count) for count in counts]

    def _settle(self) -> None:
        """Move what is kept into the buckets."""
        if self._buckets is None:
            self._buckets = np.zeros(_BUCKETS, np.int64)
        values = np.asarray(self._kept)
        ratios = np.maximum(values, SHORTEST_MS) / SHORTEST_MS
        places = np.where(values < SHORTEST_MS, 0, 1 + np.floor(np.log(ratios) / _LOG))
        self._buckets += np.bincount(np.minimum(places, _BUCKETS - 1).astype(np.int64), minlength=_BUCKETS)
        self._kept = array("d")
