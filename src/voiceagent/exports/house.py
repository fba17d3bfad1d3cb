"""What only the server knows and the metrics ask it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class House:
    """Each is asked at each scrape, from the scrape's thread."""

    sessions: Callable[[], int] = lambda: 0
    capacity: Callable[[], int] = lambda: 0
    rejected: Callable[[], Mapping[str, int]] = dict  # by reason
    dropped: Callable[[], Mapping[str, int]] = dict  # records, by where the log lost them
