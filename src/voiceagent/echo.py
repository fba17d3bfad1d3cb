"""How loud the agent's own voice may be in the microphone: what was played and when, and how much of it comes back.

A level gate, no canceller. It keeps the playback's level in 10 ms bins on the server's clock, and learns from the
microphone how much quieter than that the echo is. All times are microseconds that others read from their clocks.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from voiceagent.audio import SILENCE_DBFS
from voiceagent.vad import STEP_MS, step_levels_dbfs

Levels = NDArray[np.float32]

BIN_US = STEP_MS * 1000
KEPT_BINS = 600  # 6 s
EARLY_BINS, LATE_BINS = 2, 25
"""What is meant for a moment may be heard from 20 ms before it, by an error of the clocks, to 250 ms after it: the network,
the page's buffer, the device."""
TAIL_BINS, TAIL_DB_PER_BIN = 80, 0.6  # the room's reverberation: 60 dB a second
STOP_BINS = 6  # the word that the speaker is to be silent takes so long to get there
HELD_BINS = 30  # the speaker may have been so far behind where it was believed to be when it was held

START_GAIN_DB, LEAST_GAIN_DB, MOST_GAIN_DB = -20.0, -60.0, 6.0
MARGIN_DB = 3.0  # the echo's peaks stand so far above what was learnt
LEARN_BINS = 200  # the gain is that of the last 2 s of loud playback
LOUD_DB, QUIETEST_DBFS = 12.0, -50.0  # playback is loud if it is not so far below its loudest, nor below this
GAIN_PERCENTILE = 90
SUSPECT_BINS = 10  # what was heard so shortly before a hold may have been the caller
FALL_BINS = 100  # the gain falls after so much playback: the first echo comes late
RISE_DB_PER_BIN = (
    0.04  # and rises slowly after the first 2 s: who speaks over the reply is not to be learnt as its echo
)


class EchoGate:
    """One speaker and one microphone in a room. `gain_db` is the echo's level less the playback's."""

    def __init__(self, gain_db: float = START_GAIN_DB) -> None:
        self.gain_db = gain_db
        self._bins: Levels = np.full(KEPT_BINS, SILENCE_DBFS, dtype=np.float32)  # bin n is at n % KEPT_BINS
        self._end = 0  # the bin after the last one that was played into
        self._held: tuple[int, Levels] = (0, self._bins[:0])  # from which bin on, levels
        ages = np.arange(-EARLY_BINS, LATE_BINS + TAIL_BINS + 1)  # of the bins that matter
        self._ages = ages
        self._faded = (np.maximum(0, ages - LATE_BINS) * TAIL_DB_PER_BIN).astype(np.float32)
        self._differences: deque[float] = deque(maxlen=LEARN_BINS)
        self._fresh: deque[float] = deque()  # the last ones, not learnt yet
        self._suspect: tuple[float, ...] = ()  # those before the hold
        self._learnt = 0  # bins
        self._attentive = False  # something is played, as far as is known

    # ------------------------------------------------------------------------------ what is played
    def playing(self, at_us: int, pcm: bytes) -> None:
        """Take in reply audio that reaches the speaker at `at_us`."""
        self._put(at_us // BIN_US, step_levels_dbfs(np.frombuffer(pcm, dtype="<i2")))
        self._attentive = True

    def silent(self, at_us: int) -> None:
        """From `at_us` on nothing is played of what was to be: it is dropped, or held until `resumed`."""
        now = at_us // BIN_US
        start = max(now - HELD_BINS, self._end - KEPT_BINS)
        self._held = (start, self._bins[np.arange(start, self._end) % KEPT_BINS])
        self._end = min(self._end, now + STOP_BINS)
        self._suspect = tuple(self._fresh)
        self._fresh.clear()
        self._attentive = False

    def resumed(self, at_us: int, later_us: int) -> None:
        """What was held is played from `at_us` on, so much later than it was to be; what held it was not the caller."""
        start, levels = self._held
        first = start + later_us // BIN_US
        past = max(0, at_us // BIN_US - first)
        self._put(first + past, levels[past:])
        self._held = (0, levels[:0])
        self._differences.extend(self._suspect)
        self._suspect = ()
        self._attentive = True

    def _put(self, first: int, levels: Levels) -> None:
        end = first + levels.size
        if levels.size == 0 or end <= self._end - KEPT_BINS:
            return
        if end > self._end:  # what lies between was silence
            self._bins[np.arange(max(self._end, end - KEPT_BINS), end) % KEPT_BINS] = SILENCE_DBFS
            self._end = end
        at = np.arange(max(first, self._end - KEPT_BINS), end)
        places = at % KEPT_BINS
        self._bins[places] = np.maximum(self._bins[places], levels[-at.size :])

    # ------------------------------------------------------------------------------ what comes back
    def expected_dbfs(self, at_us: int) -> float:
        """Return how loud an echo may be in what the microphone takes at `at_us`."""
        return max(SILENCE_DBFS, self._playback_dbfs(at_us) + self.gain_db + MARGIN_DB)

    def heard(self, at_us: int, levels: Levels) -> None:
        """Learn from the levels of 10 ms steps that the microphone took from `at_us` on."""
        if not self._attentive:
            return
        loud_dbfs = max(QUIETEST_DBFS, float(self._bins.max()) - LOUD_DB)
        for index, level in enumerate(levels.tolist()):
            played = self._playback_dbfs(at_us + index * BIN_US)
            if played >= loud_dbfs:
                self._fresh.append(level - played)
        learnt = len(self._fresh) - SUSPECT_BINS
        if learnt <= 0:
            return
        for _ in range(learnt):
            self._differences.append(self._fresh.popleft())
        self._learnt += learnt
        self._learn(learnt)

    def _learn(self, bins: int) -> None:
        ordered = sorted(self._differences)
        target = min(MOST_GAIN_DB, max(LEAST_GAIN_DB, ordered[len(ordered) * GAIN_PERCENTILE // 100]))
        if target > self.gain_db:
            slowly = self._learnt > LEARN_BINS
            self.gain_db = min(target, self.gain_db + bins * RISE_DB_PER_BIN) if slowly else target
        elif self._learnt >= FALL_BINS:
            self.gain_db = target

    def _playback_dbfs(self, at_us: int) -> float:
        """The loudest that may be heard then, each bin faded by its age."""
        now = at_us // BIN_US
        if now - LATE_BINS - TAIL_BINS >= self._end or now + EARLY_BINS < self._end - KEPT_BINS:
            return SILENCE_DBFS
        at = now - self._ages
        levels = self._bins[at % KEPT_BINS] - self._faded
        known = levels[at < self._end]
        return float(known.max()) if known.size else SILENCE_DBFS
