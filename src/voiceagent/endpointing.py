"""Frames to proposals: something sounds, speech began, paused, went on, ended. It counts received samples and owns no clock.

The energy gate finds the moments, in 10 ms steps; Silero says whether what is loud is speech. Silero goes on hearing speech
for 76 to 124 ms after it ended, so silence is counted by energy. A step counts as silence if it is not loud, or if it is
loud but nothing has been speech for long: a fan that starts in mid-turn must not keep the turn open.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from voiceagent.audio import SILENCE_DBFS, Decimator, Samples, ms_to_samples
from voiceagent.settings import Settings
from voiceagent.vad import DETECTOR_SAMPLES, STEP, STEP_MS, EnergyGate, SpeechDetector, step_levels_dbfs

DETECTOR_STEP = DETECTOR_SAMPLES * STEP_MS // 32  # a step at the judge's rate
GAP_STEPS = 2  # a sound may break off for so long and still be one
QUIET_STEPS = 10  # a consonant may be silent for so long; then the sound is over
RESUME_STEPS = 3  # after a silence, what is shorter is a click and not a voice
ONSET_MS = 400  # speech is loud for at most so long before the judge hears it as speech
LOW_SNR_DB = 15.0
LOW_SNR_PAUSE_MS = 200  # under so much noise a shorter silence is rarely one
LOUDNESS_STEPS = 20  # after so much voice its level is told
FLOOR_TO_NOISE_DB = 2.0  # the floor is the room's quiet steps; its noise is on the average so much louder
MOST_NOISE_DB = 6.0  # a voice is not said to be quieter by more than that because of the noise around it
LEVEL_STEPS = 300  # the level of an utterance is that of its last 3 s of voice
LEVEL_PERCENTILE = 75
YOUNG_STEPS, YOUNG_PERCENTILE = 30, 90  # words often begin softly: of so little voice the loudest counts
CONTEXT_WINDOWS = 8  # 256 ms that the judge hears from before the gate opened
AFTER_STEPS = 15  # the judge goes on for 150 ms after the last loud step
UNJUDGED_STEPS = 150  # after so much more sound in an utterance the judge is asked again
NOISE_STEPS = 50  # and if so much more of it is no speech, all of it is silence


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


@dataclass(frozen=True, slots=True)
class Loudness:
    """The speech has lasted long enough to say how loud it is: words often begin softly."""

    at_sample: int
    level_dbfs: float | None


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
    onset_sample: int  # where it goes on


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`endpoint_ms` of silence; `voiced_samples` is how much of the utterance was voiced."""

    at_sample: int
    speech_end_sample: int
    voiced_samples: int
    level_dbfs: float | None = None


Proposal = SoundOn | SoundOff | VoiceOn | Loudness | Pause | Resumed | Endpoint


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

    endpoint_ms: int = 650
    pause_ms: int = 100
    sound_ms: int = 60
    min_speech_ms: int = 64
    energy_margin_db: float = 9.0
    vad_threshold: float = 0.5

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return what the endpointer needs of a server's settings."""
        return cls(
            endpoint_ms=settings.endpoint_ms,
            pause_ms=settings.pause_ms,
            sound_ms=settings.sound_ms,
            min_speech_ms=settings.min_speech_ms,
            energy_margin_db=settings.energy_margin_db,
            vad_threshold=settings.vad_threshold,
        )


class Endpointer:
    """One microphone's ears. Without a `detector` whatever is loud for `min_speech_ms` is speech."""

    def __init__(self, config: EndpointConfig, detector: SpeechDetector | None = None) -> None:
        self.samples = 0  # received
        self._config = config
        self._judge = _Judge(config.vad_threshold, detector) if detector is not None else None
        self._gate = EnergyGate(config.energy_margin_db)
        self._rest = np.empty(0, dtype=np.int16)  # not yet a whole step
        self._at = 0  # samples looked at
        self._pause_ms = config.pause_ms
        self._levels: deque[float] = deque(maxlen=LEVEL_STEPS)  # of the loud steps of the sound or utterance
        self.reset()

    def reset(self) -> None:
        """Forget an open utterance or sound; the noise floor stays."""
        self._in_utterance = False
        self._paused = False
        self._sounding = False  # a `SoundOn` is open
        self._run = 0  # loud steps in a row
        self._run_onset = 0
        self._candidate = 0  # loud steps since all was quiet, while there is no utterance
        self._missed = 0  # steps since the last loud one
        self._onset = 0  # of the sound
        self._last_voiced = 0  # end of the last voiced step
        self._voiced_steps = 0
        self._levels.clear()
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
        samples = np.concatenate([self._rest, np.frombuffer(pcm, dtype="<i2")])
        self.samples += len(pcm) // 2
        whole = samples.size // STEP * STEP
        self._rest = samples[whole:]
        if self._judge is not None:
            self._judge.take(samples[:whole])
        proposals: list[Proposal] = []
        for level in step_levels_dbfs(samples[:whole]).tolist():
            expected = SILENCE_DBFS
            if echo_dbfs is not None and level >= self._gate.threshold_dbfs:  # else it does not matter
                expected = echo_dbfs(self._at)
            proposals += self._step(level, loud=self._gate.loud(level, expected))
        return proposals

    def end_now(self) -> list[Proposal]:
        """End an open utterance or sound: nothing more will come of it."""
        ends: list[Proposal] = []
        if self._in_utterance:
            ends.append(Endpoint(self._at, self._last_voiced, self._voiced_steps * STEP, self._level_dbfs()))
        elif self._sounding:
            ends.append(SoundOff(self._at, self._at - self._missed * STEP))
        self.reset()
        return ends

    # ------------------------------------------------------------------------------ one step
    def _step(self, level_dbfs: float, *, loud: bool) -> list[Proposal]:
        self._at += STEP
        speech = self._judge.step(loud=loud, engaged=self._in_utterance) if self._judge is not None else loud
        if self._in_utterance:
            voiced = loud and not (self._judge is not None and self._judge.noise)
            return self._voiced_step(level_dbfs) if voiced else self._silent_step()
        if loud:
            return self._loud_step(level_dbfs, speech=speech)
        return self._quiet_step() if self._candidate else []

    def _loud_step(self, level_dbfs: float, *, speech: bool) -> list[Proposal]:
        """It sounds, outside an utterance."""
        if self._run == 0:
            self._run_onset = self._at - STEP
        self._run += 1
        self._candidate += 1
        self._missed = 0
        self._levels.append(level_dbfs)
        proposals: list[Proposal] = []
        if not self._sounding and self._run * STEP_MS >= self._config.sound_ms:
            proposals += self._sound_on(self._run_onset)
        return proposals + self._confirmed(speech=speech)

    def _quiet_step(self) -> list[Proposal]:
        """A sound that is no utterance has a gap, or is over."""
        self._missed += 1
        if self._missed > GAP_STEPS:
            self._run = 0
        if self._missed < QUIET_STEPS:
            return self._confirmed(speech=self._judge is not None and self._judge.speech_ms > 0)
        off: list[Proposal] = [SoundOff(self._at, self._at - self._missed * STEP)] if self._sounding else []
        self._sounding = False
        self._candidate = 0
        self._levels.clear()
        return off

    def _sound_on(self, onset: int) -> list[Proposal]:
        self._sounding = True
        self._onset = onset
        return [SoundOn(self._at, onset)]

    def _confirmed(self, *, speech: bool) -> list[Proposal]:
        """The sound is speech, if so: an utterance begins, with the onset of its sound."""
        heard_ms = self._judge.speech_ms if self._judge is not None else self._candidate * STEP_MS
        least_ms = self._config.min_speech_ms
        if not speech or heard_ms < least_ms or self._candidate < least_ms // STEP_MS:
            return []
        proposals: list[Proposal] = []
        earliest = self._at - ms_to_samples(heard_ms + ONSET_MS)
        if self._judge is not None and self._sounding and self._onset < earliest:
            # Noise that was loud before is not how the speech began.
            proposals.append(SoundOff(self._at, earliest))
            self._sounding = False
            self._run_onset = earliest
        if not self._sounding:
            proposals += self._sound_on(self._run_onset)
        self._in_utterance = True
        self._sounding = self._paused = False
        self._voiced_steps = min(self._candidate, (self._at - self._onset) // STEP)
        while len(self._levels) > self._voiced_steps:
            self._levels.popleft()
        self._last_voiced = self._at - self._missed * STEP
        proposals.append(VoiceOn(self._at, self._onset))
        if self._voiced_steps >= LOUDNESS_STEPS:
            proposals.append(Loudness(self._at, self._level_dbfs()))
        return proposals

    def _voiced_step(self, level_dbfs: float) -> list[Proposal]:
        self._run += 1
        self._levels.append(level_dbfs)
        begun = self._at - self._run * STEP
        silence = begun - self._last_voiced
        if silence >= RESUME_STEPS * STEP and self._run < RESUME_STEPS:
            return []  # neither voice nor silence yet
        before = self._voiced_steps
        self._voiced_steps += (self._at - max(begun, self._last_voiced)) // STEP
        self._last_voiced = self._at
        known = before < LOUDNESS_STEPS <= self._voiced_steps
        proposals: list[Proposal] = [Loudness(self._at, self._level_dbfs())] if known else []
        if not self._paused:
            return proposals
        self._paused = False
        self._endpoint_ms = self._config.endpoint_ms
        return [Resumed(self._at, silence, begun), *proposals]

    def _silent_step(self) -> list[Proposal]:
        self._run = 0
        silence_ms = (self._at - self._last_voiced) * STEP_MS // STEP
        proposals: list[Proposal] = []
        if not self._paused and silence_ms >= self._pause_ms and (silence_ms >= LOW_SNR_PAUSE_MS or not self._noisy):
            self._paused = True
            proposals.append(Pause(self._at, self._last_voiced, self._voiced_steps * STEP, self._level_dbfs()))
        if silence_ms >= self._endpoint_ms:
            proposals += self.end_now()
        return proposals

    # ------------------------------------------------------------------------------ levels
    def _level_dbfs(self) -> float | None:
        """The level of the voice, without the noise that it stands in."""
        if not self._levels:
            return None
        percentile = LEVEL_PERCENTILE if len(self._levels) > YOUNG_STEPS else YOUNG_PERCENTILE
        level_dbfs = sorted(self._levels)[len(self._levels) * percentile // 100]
        noise = 10 ** ((self._gate.floor.dbfs + FLOOR_TO_NOISE_DB) / 10)
        return max(level_dbfs - MOST_NOISE_DB, 10 * math.log10(max(1e-10, 10 ** (level_dbfs / 10) - noise)))

    @property
    def _noisy(self) -> bool:
        level_dbfs = self._level_dbfs()
        return level_dbfs is not None and level_dbfs - self._gate.floor.dbfs < LOW_SNR_DB


class _Judge:
    """Runs the detector only while it matters, and lets it hear what came just before."""

    def __init__(self, threshold: float, detector: SpeechDetector) -> None:
        self.speech_ms = 0  # windows of speech in a row
        self._threshold = threshold
        self._detector = detector
        self._decimator = Decimator()
        self._taken = np.empty(0, dtype=np.int16)  # at 16 kHz, its steps still to come
        self._buffer = np.empty(DETECTOR_SAMPLES + DETECTOR_STEP, dtype=np.int16)  # not yet a whole window
        self._filled = 0
        self._context: deque[Samples] = deque(maxlen=CONTEXT_WINDOWS)
        self._idle_steps = AFTER_STEPS  # since the judge was last wanted
        self._unheard_steps = 0  # loud ones since it last heard speech
        self._awake = False

    @property
    def noise(self) -> bool:
        """Whether what is loud in an utterance has not been speech for long."""
        return self._unheard_steps > UNJUDGED_STEPS + NOISE_STEPS

    def take(self, samples: Samples) -> None:
        """Take in whole steps at 24 kHz; `step` is then called for each of them."""
        self._taken = self._decimator.feed(samples)

    def step(self, *, loud: bool, engaged: bool) -> bool:
        """Look at the next step of those taken; return whether the last window that was judged is speech.

        Once speech was heard (`engaged`) its end is the energy's to find: the judge is asked only now and then.
        """
        if loud:
            self._unheard_steps += 1
        wanted = loud and (not engaged or self._unheard_steps > UNJUDGED_STEPS)
        self._idle_steps = 0 if wanted else self._idle_steps + 1
        self._buffer[self._filled : self._filled + DETECTOR_STEP] = self._taken[:DETECTOR_STEP]
        self._taken = self._taken[DETECTOR_STEP:]
        self._filled += DETECTOR_STEP
        if self._filled >= DETECTOR_SAMPLES:
            window = self._buffer[:DETECTOR_SAMPLES].copy()
            self._filled -= DETECTOR_SAMPLES
            self._buffer[: self._filled] = self._buffer[DETECTOR_SAMPLES : DETECTOR_SAMPLES + self._filled]
            self._window(window, engaged=engaged)
        return self.speech_ms > 0

    def _window(self, window: Samples, *, engaged: bool) -> None:
        if self._idle_steps >= AFTER_STEPS or (engaged and self._unheard_steps <= UNJUDGED_STEPS):
            self._awake = False
            self.speech_ms = 0
            self._context.append(window)
            return
        if not self._awake:
            self._awake = True
            self._detector.reset()
            for past in () if engaged else self._context:  # a network that begins in mid-word hears it late
                self._detector.probability(past)
            self._context.clear()
        if self._detector.probability(window) >= self._threshold:
            self.speech_ms += 32
            self._unheard_steps = 0
        else:
            self.speech_ms = 0
