"""The user's audio: from frames to facts about speech, and to the items of the STT, with no sample lost or sent twice.

Samples are counted from the session's first; the browser's capture clock says when each was spoken.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

from voiceagent.audio import RATE_HZ, SILENCE_DBFS, Decimator, Samples, samples_to_us, us_to_samples
from voiceagent.clockmap import ClockMap
from voiceagent.echo import EchoGate
from voiceagent.endpointing import Ears, Endpoint, Loudness, Pause, Proposal, Resumed, SoundOff, SoundOn, VoiceOn
from voiceagent.events import Fact, VoiceEnded, VoiceLevel, VoicePaused, VoiceResumed
from voiceagent.events import SoundOff as SoundEnded
from voiceagent.events import SoundOn as SoundBegan
from voiceagent.events import VoiceOn as VoiceBegan
from voiceagent.protocol import MicFrame
from voiceagent.stages.ports import SpeechToText
from voiceagent.vad import step_levels_dbfs

KEPT_SAMPLES = RATE_HZ * 8
"""How much audio is kept: to begin an item with (pre-roll, and speech that was noticed late), and for a model of turns."""
LEARN_VOICED_US = 300_000  # shorter utterances do not tell how loud somebody speaks
LOUDER, QUIETER = 0.4, 0.2  # how much the last utterance tells of that: the loudest of those who speak is the caller
KEPT_ITEMS = 128  # whose length is known
PLAYED_TAIL_US = 500_000  # a reply is heard for so long after it was to end


class Microphone:
    """Feeds the endpointer with every frame, and the STT with what belongs to an open item."""

    def __init__(
        self, ears: Ears, stt: SpeechToText, clock: ClockMap,
        *, pre_roll_us: int, now_us: Callable[[], int], echo_gate: bool = True,
    ) -> None:  # fmt: skip
        self._ears = ears
        self._stt = stt
        self._clock = clock
        self._pre_roll = us_to_samples(pre_roll_us)
        self._now_us = now_us
        self._echo = EchoGate() if echo_gate else None
        self._silent_from_us = -PLAYED_TAIL_US  # the last reply audio was to be played until then
        self._held_us = 0  # and so much more of it is held
        self._kept = bytearray()  # the last samples received
        self._received = 0  # samples in all
        self._given = 0  # the STT has had all that it is to have of the samples before this one
        self._open = 0  # the item that the STT gets what comes for
        self._sent: dict[int, int] = {}  # samples that it was given, by item
        # Where each of the last frames began: (sample, spoken at, arrived at), in order.
        self._anchors: deque[tuple[int, int, int]] = deque(maxlen=512)
        self._told = (0, 0)  # the last sample that was told of, and when it was spoken
        self._usual_dbfs: float | None = None  # how loud the caller speaks
        self._over_reply = False  # the utterance began while a reply was played

    @property
    def in_utterance(self) -> bool:
        """Whether somebody is speaking, short pauses included."""
        return self._ears.in_utterance

    def frame(self, frame: MicFrame) -> list[Fact]:
        """Take in one frame and return what it tells about the user's speech."""
        now_us = self._now_us()
        samples = len(frame.pcm) // 2
        spoken_us = self._clock.to_server_us(frame.captured_ms)
        latest_us = now_us - samples_to_us(samples)
        # Nothing can be spoken after it has come; a clock that says so is wrong by that much.
        spoken_us = latest_us if spoken_us is None else min(spoken_us, latest_us)
        if self._anchors:
            spoken_us = max(spoken_us, self._anchors[-1][1])
        self._anchors.append((self._received, spoken_us, now_us))
        self._received += samples
        self._kept += frame.pcm
        if len(self._kept) > 2 * (KEPT_SAMPLES + RATE_HZ):  # bytes; cut once a second, not at every frame
            del self._kept[: -2 * KEPT_SAMPLES]
        if self._open:
            self._append(frame.pcm)
        return [self._fact(proposal) for proposal in self._hear(frame.pcm, spoken_us)]

    def _hear(self, pcm: bytes, spoken_us: int) -> list[Proposal]:
        if self._echo is None or spoken_us >= self._silent_from_us + PLAYED_TAIL_US:
            return self._ears.feed(pcm)
        proposals = self._ears.feed(pcm, self._echo_dbfs)
        self._echo.heard(spoken_us, step_levels_dbfs(np.frombuffer(pcm, dtype="<i2")))
        return proposals

    def _echo_dbfs(self, sample: int) -> float:
        return self._echo.expected_dbfs(self._spoken_us(sample)) if self._echo is not None else SILENCE_DBFS

    def end(self) -> list[Fact]:
        """The microphone is silent from here on (muted, dead, or the talk key is up): end what is being said."""
        return [self._fact(proposal) for proposal in self._ears.end_now()]

    def reset(self) -> None:
        """Forget an utterance that is being said: somebody else decides about the floor."""
        self._ears.reset()

    def pause_after(self, silence_us: int) -> None:
        """Propose a pause after so much silence from now on."""
        self._ears.pause_after(silence_us // 1000)

    def endpoint_after(self, silence_us: int) -> None:
        """End the utterance after so much silence, the present one or the next."""
        self._ears.endpoint_after(silence_us // 1000)

    def playing(self, at_us: int, pcm: bytes) -> None:
        """Note reply audio that is believed to reach the speaker at `at_us`: it may come back through the microphone."""
        self._silent_from_us = max(self._silent_from_us, at_us + samples_to_us(len(pcm) // 2))
        if self._echo is not None:
            self._echo.playing(at_us, pcm)

    def silent(self) -> None:
        """Note that the speaker is silent from now on: what was to be played is held or dropped."""
        self._held_us = max(0, self._silent_from_us - self._now_us())
        self._silent_from_us = min(self._silent_from_us, self._now_us())
        if self._echo is not None:
            self._echo.silent(self._now_us())

    def resumed(self, later_us: int) -> None:
        """Note that what was held is played on, so much later than it was to be."""
        self._silent_from_us = self._now_us() + self._held_us
        if self._echo is not None:
            self._echo.resumed(self._now_us(), later_us)

    def echo_gain(self, gain_db: float) -> None:
        """Take in how much of the playback comes back, as the page's own test has found."""
        if self._echo is not None:
            self._echo.gain_db = gain_db

    @property
    def spoken_us(self) -> int:
        """When the last received sample was spoken."""
        return self._spoken_us(self._received)

    def recent_16k(self) -> Samples:
        """Return the last 8 s at most, at 16 kHz, for a model of turns."""
        return Decimator().feed(np.frombuffer(bytes(self._kept[-2 * KEPT_SAMPLES :]), dtype="<i2"))

    def open_item(self, item: int, from_us: int, *, again: bool = False) -> None:
        """Give the STT what is kept from `from_us`, less the pre-roll, and all that follows until the commit.

        What it has had is not given twice, unless it is to be heard `again`.
        """
        oldest = self._received - len(self._kept) // 2
        start = max(self._sample_at(from_us) - self._pre_roll, oldest if again else max(self._given, oldest))
        self._stt.open(item)
        past = self._kept[len(self._kept) - (self._received - start) * 2 :] if start < self._received else b""
        self._open = item
        self._sent[item] = 0
        if len(self._sent) > KEPT_ITEMS:
            del self._sent[next(iter(self._sent))]
        if past:
            self._append(bytes(past))
        self._given = self._received

    def _append(self, pcm: bytes) -> None:
        self._stt.append(pcm)
        self._given = self._received
        self._sent[self._open] += len(pcm) // 2

    def close_item(self) -> None:
        """Give no more to an item that nobody wants."""
        self._open = 0

    def commit_item(self, item: int) -> None:
        """End the item."""
        self._open = 0
        self._stt.commit(item)

    def sent(self, item: int) -> int:
        """Return how many samples of an item the STT was given, pre-roll included."""
        return self._sent.get(item, 0)

    # ------------------------------------------------------------------------------ samples and time
    def _anchor(self, sample: int) -> tuple[int, int, int]:
        for anchor in reversed(self._anchors):
            if anchor[0] <= sample:
                return anchor
        return self._anchors[0] if self._anchors else (0, self._now_us(), self._now_us())

    def _spoken_us(self, sample: int) -> int:
        first, spoken_us, _ = self._anchor(sample)
        return spoken_us + samples_to_us(sample - first)

    def _told_us(self, sample: int) -> int:
        """When a sample was spoken, as it is told: where frames came in a rush, never before what was told of one before it."""
        at_us, (last, last_us) = self._spoken_us(sample), self._told
        if sample < last:
            return at_us
        self._told = (sample, max(at_us, last_us))
        return self._told[1]

    def _sample_at(self, at_us: int) -> int:
        for first, spoken_us, _ in reversed(self._anchors):
            if spoken_us <= at_us:
                return min(self._received, first + us_to_samples(at_us - spoken_us))
        return 0

    def _fact(self, proposal: Proposal) -> Fact:  # noqa: PLR0911 - one line a proposal
        match proposal:
            case SoundOn(onset_sample=onset):
                return SoundBegan(self._told_us(onset))
            case SoundOff(sound_end_sample=end):
                return SoundEnded(self._told_us(end))
            case Loudness(level_dbfs=level):
                return VoiceLevel(self._level_db(level))
            case VoiceOn(onset_sample=onset):
                onset_us = self._told_us(onset)
                self._over_reply = onset_us < self._silent_from_us + PLAYED_TAIL_US
                return VoiceBegan(onset_us)
            case Pause(speech_end_sample=end, voiced_samples=voiced, level_dbfs=level):
                return VoicePaused(self._told_us(end), samples_to_us(voiced), self._level_db(level))
            case Resumed(silence_samples=silence, onset_sample=onset):
                return VoiceResumed(samples_to_us(silence), self._told_us(onset))
            case Endpoint(speech_end_sample=end, voiced_samples=voiced, level_dbfs=level):
                voiced_us, level_db = samples_to_us(voiced), self._level_db(level)
                if level is not None and voiced_us >= LEARN_VOICED_US and not self._over_reply:
                    self._learn(level)
                return VoiceEnded(self._told_us(end), self._anchor(max(0, end - 1))[2], voiced_us, level_db)

    # ------------------------------------------------------------------------------ how loud the caller speaks
    def _level_db(self, level_dbfs: float | None) -> float | None:
        if level_dbfs is None or self._usual_dbfs is None:
            return None
        return level_dbfs - self._usual_dbfs

    def _learn(self, level_dbfs: float) -> None:
        usual = level_dbfs if self._usual_dbfs is None else self._usual_dbfs
        self._usual_dbfs = usual + (level_dbfs - usual) * (LOUDER if level_dbfs > usual else QUIETER)
