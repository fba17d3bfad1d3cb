"""Frames to proposals: speech began, paused, went on, ended. It counts received samples and owns no clock.

The energy gate finds the moments, in 10 ms steps; Silero says whether what is loud is speech. Silero goes on hearing speech
for 76 to 124 ms after it ended, so silence is counted by energy. A step counts as silence if it is not loud, or if it is
loud but has not been speech for half a second: a fan that starts in mid-turn must not keep the turn open.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from voiceagent.audio import Decimator, Samples, levels_dbfs, ms_to_samples
from voiceagent.vad import DETECTOR_SAMPLES, STEP_MS, EnergyGate, SpeechDetector

STEP = ms_to_samples(STEP_MS)
CONTEXT_WINDOWS = 8  # 256 ms that the judge hears from before the gate opened
AFTER_STEPS = 15  # the judge goes on for 150 ms after the last loud step
UNBROKEN_STEPS = 100  # speech has a gap at least every second; what is loud without one is judged again
ONSET_MS = 150  # speech is loud for at most so long before the judge hears it as speech
NOISE_STEPS = 50  # loud, but no speech for so long: silence


@dataclass(frozen=True, slots=True)
class SoundOn:
    """Something has been loud for `sound_ms`, outside an utterance; it began about `onset_sample` and may become speech."""

    at_sample: int
    onset_sample: int


@dataclass(frozen=True, slots=True)
class SoundOff:
    """The sound of the last `SoundOn` has ended at `sound_end_sample`, and was not speech."""

    at_sample: int
    sound_end_sample: int


@dataclass(frozen=True, slots=True)
class VoiceOn:
    """Speech was noticed at `at_sample`; it began about `onset_sample`."""

    at_sample: int
    onset_sample: int
    level_dbfs: float | None = None  # of its voiced steps so far


@dataclass(frozen=True, slots=True)
class Pause:
    """`pause_ms` of silence follow the last voiced sample (exclusive); so much of the utterance was voiced so far."""

    at_sample: int
    speech_end_sample: int
    voiced_samples: int = 0
    level_dbfs: float | None = None


@dataclass(frozen=True, slots=True)
class Resumed:
    """Speech goes on after a pause and before the endpoint."""

    at_sample: int
    silence_samples: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`endpoint_ms` of silence; `voiced_samples` is how much of the utterance was voiced."""

    at_sample: int
    speech_end_sample: int
    voiced_samples: int
    level_dbfs: float | None = None


Proposal = SoundOn | SoundOff | VoiceOn | Pause | Resumed | Endpoint


class Ears(Protocol):
    """Whoever listens to one microphone: the `Endpointer`, or a script. It counts received samples and owns no clock."""

    @property
    def in_utterance(self) -> bool:
        """Whether somebody is speaking, short pauses included."""

    def feed(self, pcm: bytes, echo_dbfs: Callable[[int], float] | None = None) -> list[Proposal]:
        """Take in PCM16 mono at 24 kHz and return what it shows.

        `echo_dbfs` tells for a received sample how loud the agent's own voice may be in it.
        """

    def end_now(self) -> list[Proposal]:
        """End an open utterance: nothing more will come of it."""

    def reset(self) -> None:
        """Forget an open utterance or sound."""

    def pause_after(self, silence_ms: int) -> None:
        """Propose a pause after so much silence from now on."""

    def endpoint_after(self, silence_ms: int) -> None:
        """End the utterance after so much silence: the present one, or else the next one."""


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """Thresholds; `Settings` says what each means."""

    endpoint_ms: int = 500
    pause_ms: int = 200
    min_speech_ms: int = 64
    energy_margin_db: float = 9.0
    vad_threshold: float = 0.5


class Endpointer:
    """One microphone's judge. Without a `detector` whatever is loud for `min_speech_ms` is speech."""

    def __init__(self, config: EndpointConfig, detector: SpeechDetector | None = None) -> None:
        self.samples = 0  # received
        self._config = config
        self._judge = _Judge(config.vad_threshold, detector) if detector is not None else None
        self._gate = EnergyGate(config.energy_margin_db)
        self._rest = np.empty(0, dtype=np.int16)  # not yet a whole step
        self._at = 0  # samples looked at
        self._endpoint_ms = config.endpoint_ms
        self._pause_ms = config.pause_ms
        self.reset()

    def reset(self) -> None:
        """Forget an open utterance; the noise floor stays."""
        self._in_utterance = False
        self._paused = False
        self._candidate = 0  # steps of possible speech in a row, while there is no utterance
        self._missed = 0
        self._onset = 0
        self._last_voiced = 0  # end of the last voiced step
        self._voiced_steps = 0
        self._endpoint_ms = self._config.endpoint_ms

    @property
    def in_utterance(self) -> bool:
        """Whether somebody is speaking, short pauses included."""
        return self._in_utterance

    def pause_after(self, silence_ms: int) -> None:
        """Propose a pause after so much silence from now on."""
        self._pause_ms = silence_ms

    def endpoint_after(self, silence_ms: int) -> None:
        """Wait so long, instead of the configured time, in the present silence or the next one."""
        self._endpoint_ms = silence_ms

    def feed(self, pcm: bytes, echo_dbfs: Callable[[int], float] | None = None) -> list[Proposal]:
        """Take in PCM16 mono at 24 kHz, any number of whole samples, and return what it shows."""
        del echo_dbfs
        samples = np.concatenate([self._rest, np.frombuffer(pcm, dtype="<i2")])
        self.samples += len(pcm) // 2
        whole = samples.size // STEP * STEP
        self._rest = samples[whole:]
        proposals: list[Proposal] = []
        for index, level in enumerate(levels_dbfs(samples[:whole], STEP)):
            step = samples[index * STEP : (index + 1) * STEP]
            proposals += self._step(step, float(level))
        return proposals

    def end_now(self) -> list[Proposal]:
        """End an open utterance: nothing more will come of it."""
        if not self.in_utterance:
            self.reset()
            return []
        endpoint = Endpoint(self._at, self._last_voiced, self._voiced_steps * STEP)
        self.reset()
        return [endpoint]

    # ------------------------------------------------------------------------------ one step
    def _step(self, step: Samples, level_dbfs: float) -> list[Proposal]:
        self._at += STEP
        loud = self._gate.loud(level_dbfs)
        speech = self._judge.step(step, loud=loud, engaged=self.in_utterance) if self._judge is not None else loud
        if not self.in_utterance:
            return self._before_speech(loud=loud, speech=speech)
        voiced = loud and (self._judge is None or self._judge.steps_since_speech < NOISE_STEPS)
        return self._voiced_step() if voiced else self._silent_step()

    def _before_speech(self, *, loud: bool, speech: bool) -> list[Proposal]:
        needed = self._config.min_speech_ms // STEP_MS
        if loud and self._candidate == 0:
            self._onset = self._at - STEP
        if loud:
            self._candidate += 1
            self._missed = 0
        elif self._candidate:
            self._missed += 1
            if self._missed > 10:  # a consonant may be silent for so long
                self._candidate = 0
        confirmed = self._judge.speech_ms if self._judge is not None else self._candidate * STEP_MS
        if not speech or self._candidate < needed or confirmed < self._config.min_speech_ms:
            return []
        self._in_utterance = True
        self._paused = False
        self._voiced_steps = self._candidate
        if self._judge is not None:  # noise that was loud before is not how the speech began
            self._onset = max(self._onset, self._at - ms_to_samples(self._judge.speech_ms + ONSET_MS))
        self._last_voiced = self._at if loud else self._at - self._missed * STEP
        return [VoiceOn(self._at, self._onset)]

    def _voiced_step(self) -> list[Proposal]:
        silence = self._at - STEP - self._last_voiced
        self._last_voiced = self._at
        self._voiced_steps += 1
        if not self._paused:
            return []
        self._paused = False
        self._endpoint_ms = self._config.endpoint_ms
        return [Resumed(self._at, silence)]

    def _silent_step(self) -> list[Proposal]:
        silence_ms = (self._at - self._last_voiced) * STEP_MS // STEP
        proposals: list[Proposal] = []
        if not self._paused and silence_ms >= self._pause_ms:
            self._paused = True
            proposals.append(Pause(self._at, self._last_voiced))
        if silence_ms >= self._endpoint_ms:
            proposals += self.end_now()
        return proposals


class _Judge:
    """Runs the detector only while it matters, and lets it hear what came just before."""

    def __init__(self, threshold: float, detector: SpeechDetector) -> None:
        self.steps_since_speech = 0
        self.speech_ms = 0  # windows of speech in a row
        self._threshold = threshold
        self._detector = detector
        self._decimator = Decimator()
        self._buffer = np.empty(0, dtype=np.int16)  # at 16 kHz, not yet a whole window
        self._context: deque[Samples] = deque(maxlen=CONTEXT_WINDOWS)
        self._idle_steps = AFTER_STEPS  # since the judge was last wanted
        self._loud_steps = 0  # in a row
        self._awake = False

    def step(self, step: Samples, *, loud: bool, engaged: bool) -> bool:
        """Take in 10 ms at 24 kHz; return whether the last window that was judged is speech."""
        self._loud_steps = self._loud_steps + 1 if loud else 0
        # Once speech was heard, its end is the energy's to find: the judge is wanted only where that may be noise.
        wanted = loud and (not engaged or self._loud_steps > UNBROKEN_STEPS)
        self._idle_steps = 0 if wanted else self._idle_steps + 1
        self.steps_since_speech = self.steps_since_speech + 1 if wanted else 0
        self._buffer = np.concatenate([self._buffer, self._decimator.feed(step)])
        while self._buffer.size >= DETECTOR_SAMPLES:
            window, self._buffer = self._buffer[:DETECTOR_SAMPLES], self._buffer[DETECTOR_SAMPLES:]
            self._window(window)
        return self.speech_ms > 0

    def _window(self, window: Samples) -> None:
        if self._idle_steps >= AFTER_STEPS:
            self._awake = False
            self.speech_ms = 0
            self._context.append(window)
            return
        if not self._awake:
            self._awake = True
            self._detector.reset()
            for past in self._context:  # a network that begins in mid-word hears it late
                self._detector.probability(past)
            self._context.clear()
        if self._detector.probability(window) >= self._threshold:
            self.speech_ms += 32
            self.steps_since_speech = 0
        else:
            self.speech_ms = 0
