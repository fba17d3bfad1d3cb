"""What a scripted ear knows of audio: where voice begins, and how much of it there was."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SILENT = 100  # of 32767
BETWEEN_SAMPLES = 60 * 24
"""So much silence (60 ms at 24 kHz) parts two bursts: more than any word has inside."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of audio: the texts of the bursts that begin in it, its voice, and the silence at its end."""

    texts: list[str]
    voiced_samples: int
    silent_samples: int


class Bursts:
    """The bursts of voice on one connection; each has the next of its texts, and the last text repeats."""

    def __init__(self, texts: Sequence[str] | None) -> None:
        self.follows = texts is not None
        self._texts = texts or ()
        self._begun = 0
        self._samples = 0
        self._last = -BETWEEN_SAMPLES  # the last sample that was not silent

    def feed(self, pcm: bytes) -> Heard:
        """Take in PCM16 mono at 24 kHz."""
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.int32)
        loud = self._samples + np.flatnonzero(np.abs(samples) > SILENT)
        self._samples += samples.size
        if not loud.size:
            return Heard([], 0, samples.size)
        steps = np.diff(loud, prepend=self._last)
        self._last = int(loud[-1])
        begins = steps >= BETWEEN_SAMPLES
        texts = [self._next() for _ in range(int(begins.sum()))] if self._texts else []
        return Heard(texts, int(np.where(begins, 1, steps).sum()), self._samples - 1 - self._last)

    def _next(self) -> str:
        self._begun += 1
        return self._texts[min(self._begun, len(self._texts)) - 1]
