"""The user's audio: from frames to facts about speech, and to the items of the STT, with no sample lost or sent twice.

Samples are counted from the session's first; the browser's capture clock says when each was spoken.
"""

from collections import deque
from collections.abc import Callable

from voiceagent.audio import RATE_HZ, samples_to_us, us_to_samples
from voiceagent.clockmap import ClockMap
from voiceagent.endpointing import Ears, Endpoint, Pause, Proposal, Resumed, SoundOff, SoundOn, VoiceOn
from voiceagent.events import Fact, VoiceEnded, VoicePaused, VoiceResumed
from voiceagent.events import SoundOff as SoundEnded
from voiceagent.events import SoundOn as SoundBegan
from voiceagent.events import VoiceOn as VoiceBegan
from voiceagent.protocol import MicFrame
from voiceagent.stages.ports import SpeechToText

KEPT_SAMPLES = RATE_HZ * 4
"""How much audio is kept to begin an item with: pre-roll, and speech that was noticed late."""


class Microphone:
    """Feeds the endpointer with every frame, and the STT with what belongs to an open item."""

    def __init__(
        self, ears: Ears, stt: SpeechToText, clock: ClockMap,
        *, pre_roll_us: int, now_us: Callable[[], int],
    ) -> None:  # fmt: skip
        self._ears = ears
        self._stt = stt
        self._clock = clock
        self._pre_roll = us_to_samples(pre_roll_us)
        self._now_us = now_us
        self._kept = bytearray()  # the last samples received
        self._received = 0  # samples in all
        self._given = 0  # the STT has had all that it is to have of the samples before this one
        self._open = False  # an item is open: the STT gets what comes
        # Where each of the last frames began: (sample, spoken at, arrived at), in order.
        self._anchors: deque[tuple[int, int, int]] = deque(maxlen=512)

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
        if len(self._kept) > 4 * KEPT_SAMPLES:  # cut rarely, not at every frame
            del self._kept[: -2 * KEPT_SAMPLES]
        if self._open:
            self._stt.append(frame.pcm)
            self._given = self._received
        return [self._fact(proposal) for proposal in self._ears.feed(frame.pcm)]

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

    def silent(self) -> None:
        """Note that the speaker is silent from now on: what was to be played is held or dropped."""

    def open_item(self, item: int, from_us: int) -> None:
        """Give the STT what is kept from `from_us`, less the pre-roll, and all that follows until the commit."""
        start = max(self._sample_at(from_us) - self._pre_roll, self._given, self._received - len(self._kept) // 2)
        self._stt.open(item)
        past = self._kept[len(self._kept) - (self._received - start) * 2 :] if start < self._received else b""
        if past:
            self._stt.append(bytes(past))
        self._given = self._received
        self._open = True

    def commit_item(self, item: int) -> None:
        """End the item."""
        self._open = False
        self._stt.commit(item)

    # ------------------------------------------------------------------------------ samples and time
    def _anchor(self, sample: int) -> tuple[int, int, int]:
        for anchor in reversed(self._anchors):
            if anchor[0] <= sample:
                return anchor
        return self._anchors[0] if self._anchors else (0, self._now_us(), self._now_us())

    def _spoken_us(self, sample: int) -> int:
        first, spoken_us, _ = self._anchor(sample)
        return spoken_us + samples_to_us(sample - first)

    def _sample_at(self, at_us: int) -> int:
        for first, spoken_us, _ in reversed(self._anchors):
            if spoken_us <= at_us:
                return min(self._received, first + us_to_samples(at_us - spoken_us))
        return 0

    def _fact(self, proposal: Proposal) -> Fact:
        match proposal:
            case SoundOn(onset_sample=onset):
                return SoundBegan(self._spoken_us(onset))
            case SoundOff(sound_end_sample=end):
                return SoundEnded(self._spoken_us(end))
            case VoiceOn(onset_sample=onset):
                return VoiceBegan(self._spoken_us(onset))
            case Pause(speech_end_sample=end, voiced_samples=voiced):
                return VoicePaused(self._spoken_us(end), samples_to_us(voiced))
            case Resumed(silence_samples=silence):
                return VoiceResumed(samples_to_us(silence))
            case Endpoint(speech_end_sample=end, voiced_samples=voiced):
                return VoiceEnded(self._spoken_us(end), self._anchor(max(0, end - 1))[2], samples_to_us(voiced))
