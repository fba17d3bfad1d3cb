"""Ears that notice the sounds of a dialog when the real ones would: each sound brings the delays that were drawn for it."""

from collections.abc import Callable

from voiceagent.dialogs.sounds import Sound
from voiceagent.endpointing import (
    LOUDNESS_STEPS,
    QUIET_STEPS,
    RESUME_STEPS,
    Endpoint,
    Loudness,
    Pause,
    Proposal,
    Resumed,
    SoundOff,
    SoundOn,
    VoiceOn,
)
from voiceagent.simulation.script import STEP_MS, STEP_SAMPLES, Timeline

CALLER_DBFS = -28.0
EARLY_STEPS, LATE_STEPS = 2, 30  # a sound may be heard for so much longer than it lasts


class DrawnEars:
    """`voiceagent.endpointing.Ears` over a timeline of `Sound`, whose first sample is the timeline's."""

    def __init__(self, timeline: Timeline, *, pause_ms: int, endpoint_ms: int) -> None:
        self.samples = 0
        self._timeline = timeline
        self._usual_endpoint_ms = self._endpoint_ms = endpoint_ms
        self._pause_ms = pause_ms
        self.reset()

    @property
    def in_utterance(self) -> bool:
        """Whether somebody is speaking, short pauses included."""
        return self._in_utterance

    def reset(self) -> None:
        """Forget an open utterance or sound."""
        self._in_utterance = self._paused = self._sounding = False
        self._loud = self._missed = self._voiced = self._run = 0  # steps
        self._onset = self._last_voiced = 0  # samples
        self._level_db = 0.0
        self._endpoint_ms = self._usual_endpoint_ms

    def pause_after(self, silence_ms: int) -> None:
        """Propose a pause after so much silence from now on."""
        self._pause_ms = silence_ms

    def endpoint_after(self, silence_ms: int) -> None:
        """Wait so long in the present silence or the next one."""
        self._endpoint_ms = silence_ms

    def end_now(self) -> list[Proposal]:
        """End an open utterance or sound."""
        ends: list[Proposal] = []
        if self._in_utterance:
            ends.append(Endpoint(self.samples, self._last_voiced, self._voiced * STEP_SAMPLES, self._dbfs))
        elif self._sounding:
            ends.append(SoundOff(self.samples, self.samples - self._missed * STEP_SAMPLES))
        self.reset()
        return ends

    def feed(self, pcm: bytes, echo_dbfs: Callable[[int], float] | None = None) -> list[Proposal]:
        """Take in whole steps of the simulated microphone and return what they show."""
        del echo_dbfs
        first = self.samples // STEP_SAMPLES
        after = first + len(pcm) // (STEP_SAMPLES * 2)
        near = self._timeline.within(first - LATE_STEPS, after + EARLY_STEPS)
        if not near and not self._in_utterance and not self._loud:
            self.samples = after * STEP_SAMPLES
            return []
        proposals: list[Proposal] = []
        for step in range(first, after):
            self.samples += STEP_SAMPLES
            heard = [each for each in near if isinstance(each, Sound) and each.heard_from <= step < each.heard_to]
            if not self._in_utterance:
                proposals += self._before_speech(step + 1, heard)
            elif heard:
                proposals += self._voiced_step(heard)
            else:
                proposals += self._silent_step()
        return proposals

    def idle(self, step: int) -> bool:
        """Whether nothing sounds, sounded or is waited for at this step."""
        return not (
            self._in_utterance
            or self._loud
            or self._timeline.within(step - LATE_STEPS - EARLY_STEPS, step + EARLY_STEPS)
        )

    # ------------------------------------------------------------------------------ one step
    @property
    def _dbfs(self) -> float:
        return CALLER_DBFS + self._level_db

    def _before_speech(self, now: int, heard: list[Sound]) -> list[Proposal]:
        """`now` is the step after the one that is looked at."""
        if not heard:
            return self._quiet_step() if self._loud else []
        if not self._loud:
            self._onset = self.samples - STEP_SAMPLES
        self._loud += 1
        self._missed = 0
        speech = [sound for sound in heard if sound.voice_at is not None and now >= sound.voice_at]
        loud = any(sound.gate_at is not None and now >= sound.gate_at for sound in heard)
        proposals: list[Proposal] = []
        if not self._sounding and (loud or speech):
            self._sounding = True
            proposals.append(SoundOn(self.samples, self._onset))
        if speech:
            self._in_utterance, self._paused, self._sounding = True, False, False
            self._voiced, self._last_voiced = self._loud, self.samples
            self._level_db = max(sound.level_db for sound in speech)
            proposals.append(VoiceOn(self.samples, self._onset))
        return proposals

    def _quiet_step(self) -> list[Proposal]:
        self._missed += 1
        if self._missed < QUIET_STEPS:
            return []
        sounding, ended = self._sounding, self.samples - self._missed * STEP_SAMPLES
        self.reset()
        return [SoundOff(self.samples, ended)] if sounding else []

    def _voiced_step(self, heard: list[Sound]) -> list[Proposal]:
        self._level_db = max(sound.level_db for sound in heard)
        self._run += 1
        silence = self.samples - self._run * STEP_SAMPLES - self._last_voiced
        if silence >= RESUME_STEPS * STEP_SAMPLES and self._run < RESUME_STEPS:
            return []  # neither voice nor silence yet
        before = self._voiced
        self._voiced += self._run if silence >= RESUME_STEPS * STEP_SAMPLES else 1
        self._last_voiced = self.samples
        told = before < LOUDNESS_STEPS <= self._voiced
        proposals: list[Proposal] = [Loudness(self.samples, self._dbfs)] if told else []
        if not self._paused:
            return proposals
        self._paused = False
        self._endpoint_ms = self._usual_endpoint_ms
        return [Resumed(self.samples, silence, self.samples - STEP_SAMPLES), *proposals]

    def _silent_step(self) -> list[Proposal]:
        self._run = 0
        silence_ms = (self.samples - self._last_voiced) * STEP_MS // STEP_SAMPLES
        proposals: list[Proposal] = []
        if not self._paused and silence_ms >= self._pause_ms:
            self._paused = True
            proposals.append(Pause(self.samples, self._last_voiced, self._voiced * STEP_SAMPLES, self._dbfs))
        if silence_ms >= self._endpoint_ms:
            proposals += self.end_now()
        return proposals
