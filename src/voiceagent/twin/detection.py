"""Turns as a server detects them: the agent's judge of speech over windows of 32 ms, a threshold, and a silence."""

from collections.abc import Mapping
from typing import Any, Literal

from voiceagent.audio import RATE_HZ, Decimator, Samples, level_dbfs
from voiceagent.vad import DETECTOR_RATE_HZ, DETECTOR_SAMPLES, Silero, SpeechDetector

WINDOW = DETECTOR_SAMPLES * RATE_HZ // DETECTOR_RATE_HZ
"""What is judged at once: 768 samples, 32 ms."""
WINDOW_MS = WINDOW * 1000 // RATE_HZ
ONSET_WINDOWS = 2  # one alone may be a click
HYSTERESIS = 0.15
QUIET_DBFS = -60.0
SEMANTIC_SILENCE_MS = {"high": 600, "medium": 1000, "auto": 1000, "low": 2000}
"""The service judges what was said and waits 2, 4 or 8 s at most; without such a model the wait is fixed, and shorter."""


class TurnDetector:
    """Says when speech begins and when it has ended."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._judge: SpeechDetector | None = None
        self._narrow = Decimator()
        self._before: Samples | None = None
        self._skipped = True
        self.speaking = False
        self._loud = 0  # windows in a row
        self._silent = 0
        self.settle(settings)

    def settle(self, settings: Mapping[str, Any]) -> None:
        """Go on by other settings: the session's ``turn_detection``."""
        self._threshold = float(settings.get("threshold", 0.5))
        self._silence_ms = int(settings.get("silence_duration_ms", 500))
        if settings["type"] == "semantic_vad":
            self._silence_ms = SEMANTIC_SILENCE_MS[str(settings.get("eagerness") or "auto")]

    def reset(self) -> None:
        """Forget the turn that may have begun."""
        self.speaking, self._loud, self._silent = False, 0, 0

    def window(self, samples: Samples) -> Literal["started", "stopped"] | None:
        """Judge the next `WINDOW` samples.

        ``started``: speech began `ONSET_WINDOWS` windows ago. ``stopped``: it is over, and so is the silence after it.
        """
        probability = self._probability(samples)
        if not self.speaking:
            self._loud = self._loud + 1 if probability >= self._threshold else 0
            if self._loud < ONSET_WINDOWS:
                return None
            self.speaking, self._loud, self._silent = True, 0, 0
            return "started"
        self._silent = self._silent + 1 if probability < self._threshold - HYSTERESIS else 0
        if self._silent * WINDOW_MS < self._silence_ms or not self._silent:
            return None
        self.reset()
        return "stopped"

    def _probability(self, samples: Samples) -> float:
        """Nobody speaks in a quiet window; the judge is spared it, and then hears what came just before."""
        narrow = self._narrow.feed(samples)
        before, self._before = self._before, narrow
        if not self.speaking and level_dbfs(samples) < QUIET_DBFS:
            self._skipped = True
            return 0.0
        if self._judge is None:
            self._judge = Silero()
        if self._skipped:
            self._skipped = False
            self._judge.reset()
            if before is not None:
                self._judge.probability(before)
        return self._judge.probability(narrow)
