"""Ears that know the script: they count samples and propose as the endpointer does, from the sounds that the audio is from."""

from collections import deque
from collections.abc import Callable

from voiceagent.endpointing import (
    LOUDNESS_STEPS,
    Endpoint,
    Loudness,
    Pause,
    Proposal,
    Resumed,
    SoundOff,
    SoundOn,
    VoiceOn,
)
from voiceagent.simulation.script import STEP_MS, STEP_SAMPLES, Segment, Timeline, step_of

GAP_STEPS = 10
"""A sound may be silent for so long and is still one."""
USUAL_DBFS = -28.0


class ScriptedEars:
    """`voiceagent.endpointing.Ears` over a timeline."""

    def __init__(self, timeline: Timeline, *, pause_ms: int, endpoint_ms: int, sound_ms: int) -> None:
        self.samples = 0
        self.utterance = (0, 0)  # the steps of the last one, from its sound's beginning on
        self.ended: deque[tuple[int, int, bool]] = deque()  # those whose end was proposed, and whether it was torn
        self.torn = False  # a part of it never came: the microphone was off
        self._onset_step = 0
        self._timeline = timeline
        self._usual_endpoint_ms = endpoint_ms
        self._endpoint_ms = endpoint_ms
        self._pause_ms = pause_ms
        self._sound_steps = max(1, sound_ms // STEP_MS)
        self._step = 0  # of the script, last heard
        self.reset()

    @property
    def in_utterance(self) -> bool:
        """Whether somebody is speaking, short pauses included."""
        return self._in_utterance

    def reset(self) -> None:
        """Forget an open utterance or sound."""
        self._in_utterance = False
        self._paused = False
        self._sounding = False  # a `SoundOn` waits for its end
        self._loud = 0  # steps of a sound in a row
        self._missed = 0
        self._onset = 0
        self._last_voiced = 0
        self._voiced = 0  # steps
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
            self.ended.append((*self.utterance, self.torn))
            ends.append(Endpoint(self.samples, self._last_voiced, self._voiced * STEP_SAMPLES, self._dbfs))
        elif self._sounding:
            ends.append(SoundOff(self.samples, self.samples - self._missed * STEP_SAMPLES))
        self.reset()
        return ends

    def feed(self, pcm: bytes, echo_dbfs: Callable[[int], float] | None = None) -> list[Proposal]:
        """Take in whole steps of the simulated microphone and return what they show."""
        del echo_dbfs
        count = len(pcm) // (STEP_SAMPLES * 2)
        first = step_of(pcm, 0, self._step)
        self.torn |= first != self._step
        self._step = first + count
        sounds = self._timeline.within(first, first + count)
        if not sounds and not self._in_utterance and not self._loud:
            self.samples += len(pcm) // 2
            return []
        proposals: list[Proposal] = []
        for step in range(first, first + count):
            self.samples += STEP_SAMPLES
            heard = [sound for sound in sounds if sound.start <= step < sound.end]
            if self._in_utterance:
                if heard:
                    self.utterance = (self.utterance[0], step + 1)
                    proposals += self._voiced_step(heard)
                else:
                    proposals += self._silent_step()
            else:
                proposals += self._before_speech(step, heard)
        return proposals

    # ------------------------------------------------------------------------------ one step
    @property
    def _dbfs(self) -> float:
        return USUAL_DBFS + self._level_db

    def speech(self, first: int, last: int) -> list[Segment]:
        """The sounds of these steps that can be heard as speech."""
        return [sound for sound in self._timeline.within(first, last) if sound.notice is not None]

    def _before_speech(self, step: int, heard: list[Segment]) -> list[Proposal]:
        if not heard:
            if not self._loud:
                return []
            self._missed += 1
            if self._missed <= GAP_STEPS:
                return []
            ended, sounding = self.samples - self._missed * STEP_SAMPLES, self._sounding
            self.reset()
            return [SoundOff(self.samples, ended)] if sounding else []
        if not self._loud:
            self._onset, self._onset_step = self.samples - STEP_SAMPLES, step
            self.torn = False
        self._loud += 1
        self._missed = 0
        proposals: list[Proposal] = []
        speech = next(
            (sound for sound in heard if sound.notice is not None and step - sound.start >= sound.notice), None
        )
        if not self._sounding and (speech is not None or self._loud >= self._sound_steps):
            self._sounding = True
            proposals.append(SoundOn(self.samples, self._onset))
        if speech is not None:
            self._in_utterance, self._paused, self._sounding = True, False, False
            self._voiced, self._last_voiced, self._level_db = self._loud, self.samples, speech.level_db
            self.utterance = (self._onset_step, step + 1)
            # The onset is found late, by less than the pre-roll.
            late = min(speech.late * STEP_SAMPLES, self.samples - self._onset)
            proposals.append(VoiceOn(self.samples, self._onset + late))
        return proposals

    def _voiced_step(self, heard: list[Segment]) -> list[Proposal]:
        self._level_db = max(sound.level_db for sound in heard)
        silence = self.samples - STEP_SAMPLES - self._last_voiced
        self._last_voiced = self.samples
        self._voiced += 1
        known = self._voiced == LOUDNESS_STEPS
        proposals: list[Proposal] = [Loudness(self.samples, self._dbfs)] if known else []
        if not self._paused:
            return proposals
        self._paused = False
        self._endpoint_ms = self._usual_endpoint_ms
        return [Resumed(self.samples, silence, self.samples - STEP_SAMPLES), *proposals]

    def _silent_step(self) -> list[Proposal]:
        silence_ms = (self.samples - self._last_voiced) * STEP_MS // STEP_SAMPLES
        proposals: list[Proposal] = []
        if not self._paused and silence_ms >= self._pause_ms:
            self._paused = True
            proposals.append(Pause(self.samples, self._last_voiced, self._voiced * STEP_SAMPLES, self._dbfs))
        if silence_ms >= self._endpoint_ms:
            proposals += self.end_now()
        return proposals
