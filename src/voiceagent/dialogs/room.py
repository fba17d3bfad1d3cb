"""The page and the back-ends of a dialog: frames of 20 ms, what was truly heard and when, and words by the script."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from voiceagent import protocol
from voiceagent.dialogs.ears import DrawnEars
from voiceagent.dialogs.sounds import FRAME_STEPS, Sound
from voiceagent.endpointing import Ears
from voiceagent.events import FinalTranscript
from voiceagent.settings import Settings
from voiceagent.simulation.books import Books
from voiceagent.simulation.browser import Browser, Network
from voiceagent.simulation.loop import VirtualLoop
from voiceagent.simulation.playback import Playback, Track
from voiceagent.simulation.script import STEP_MS, Timeline, audio, steps_in
from voiceagent.simulation.speech import Voice
from voiceagent.simulation.stages import Backends, ScriptedVoice, Seen
from voiceagent.stages.ports import Delta, TextToSpeech, Transcribed

TOKEN_S = 0.01
TTS_MS = (80, 300)
PACES = (0.9, 1.0, 1.1)
MOST_UNSENT_STEPS = 10


@dataclass(slots=True)
class Heard:
    """A stretch of an epoch that could be heard, from sample to before sample; times in microseconds."""

    epoch: int
    first: int
    after: int
    start_us: int
    end_us: int


class HeardPlayback(Playback):
    """Notes every stretch that is played."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.heard: list[Heard] = []
        self.on_played: Callable[[Heard], None] = lambda _: None

    def up_to_now(self) -> None:
        """Note what has been played until this moment."""
        self._advance()

    def _advance(self) -> None:
        track = self.now
        before, base_us = (0, None) if track is None else (track.position, track.base_us)
        super()._advance()
        if track is None or base_us is None or track.position == before:
            return
        start_us, end_us = base_us + before * 1000 // 24, base_us + track.position * 1000 // 24
        self.on_played(Heard(track.epoch, before, track.position, start_us, end_us))
        last = self.heard[-1] if self.heard else None
        if last is not None and last.epoch == track.epoch and last.after == before and start_us - last.end_us < 1_000:
            last.after, last.end_us = track.position, end_us
        else:
            self.heard.append(Heard(track.epoch, before, track.position, start_us, end_us))


class Around(Protocol):
    """A room around the page: what the microphone picks up, who listens to it, and how the agent speaks."""

    dips: bool
    """Whether speech has to be given its short dips of level; waves have them."""
    timeline: Timeline

    @property
    def ears(self) -> Ears:
        """Who listens."""

    @property
    def voice(self) -> Voice:
        """How long the agent's words are."""

    def put(self, sounds: list[Sound]) -> list[Sound]:
        """Make sounds; return them as they are then."""

    def hear(self, step: int, steps: int) -> bytes:
        """The microphone's samples of these steps."""

    def idle(self, step: int) -> bool:
        """Whether nothing is to be heard about this step, and nothing is waited for."""

    def ranges(self, pcm: bytes, near: int) -> list[tuple[int, int]]:
        """The steps that a piece of the microphone's audio is from, which is not far from `near`."""

    def speech(self, draw: random.Random, seen: Seen) -> TextToSpeech:
        """The agent's text to speech."""

    def watch(self, page: "Page") -> None:
        """The page in this room."""


class DrawnRoom:
    """A room without waves: sounds bring what the ears notice of them."""

    dips = True

    def __init__(self, draw: random.Random, settings: Settings) -> None:
        self.timeline = Timeline()
        self.voice = Voice(draw.randrange(1 << 30), pace=draw.choice(PACES))
        self.ears = DrawnEars(self.timeline, pause_ms=settings.pause_ms, endpoint_ms=settings.endpoint_ms)
        self.idle = self.ears.idle
        self.hear, self.ranges = audio, steps_in

    def put(self, sounds: list[Sound]) -> list[Sound]:
        """Make sounds."""
        for sound in sounds:
            self.timeline.add(sound)
        return sounds

    def speech(self, draw: random.Random, seen: Seen) -> TextToSpeech:
        """Silent samples, as many as words need."""
        return ScriptedVoice(Backends(tts_first_ms=tuple(range(*TTS_MS))), self.voice, draw, seen)

    def watch(self, page: "Page") -> None:
        """Nothing of the page is heard here."""


class Page(Browser):
    """The simulator's browser with the page's own frames.

    While nothing sounds (`idle`) five frames go as one: their moments do not matter, and each costs time.
    """

    def __init__(
        self, loop: VirtualLoop, network: Network, draw: random.Random, books: Books, room: Around
    ) -> None:  # fmt: skip
        super().__init__(loop, network, draw, books)
        self._timers["mic"].cancel()
        self.playback: HeardPlayback = HeardPlayback(loop, self.send_up, self.clock_ms, self._audible)
        self.fillers: set[int] = set()
        self.audio: dict[int, bytearray] = {}  # of each epoch, as it came
        self._hear, self._idle = room.hear, room.idle
        self._unsent = 0  # steps
        self._timers["mic"] = loop.after_us(FRAME_STEPS * STEP_MS * 1000, self._capture, 0)

    def _take(self, message: Any) -> None:
        if isinstance(message, protocol.ReplyFrame):
            self.audio.setdefault(message.epoch, bytearray()).extend(message.pcm)
            if message.filler:
                self.fillers.add(message.epoch)
        super()._take(message)

    def _capture(self, first: int) -> None:
        after = first + FRAME_STEPS
        self._timers["mic"] = self.loop.after_us(FRAME_STEPS * STEP_MS * 1000, self._capture, after)
        self._unsent += FRAME_STEPS
        if self._unsent < MOST_UNSENT_STEPS and self._idle(after):
            return
        steps, self._unsent = self._unsent, 0
        captured_ms = max(0.0, self.clock_ms() - steps * STEP_MS)
        self.send_up(protocol.MicFrame(self._seq, captured_ms, self._hear(after - steps, steps)))
        self._seq += 1

    @property
    def replying(self) -> Track | None:
        """The reply, no filler, that can be heard or is held."""
        track = self.playback.now
        if track is None or track.base_us is None or track.ended or track.epoch in self.fillers:
            return None
        return track


class ScriptedWords:
    """`SpeechToText`: an item's words are those whose middle is in its audio; they come 50 to 150 ms after the commit."""

    def __init__(
        self, room: Around, draw: random.Random, loop: VirtualLoop, post: Callable[[Transcribed], None]
    ) -> None:  # fmt: skip
        self._room, self._draw, self._loop, self._post = room, draw, loop, post
        self._items: dict[int, list[tuple[int, int]]] = {}
        self._open = 0
        self._near = 0
        self._timers: list[Any] = []

    def open(self, item: int) -> None:
        """Begin an item."""
        self._items[item] = []
        self._open = item

    def append(self, pcm: bytes) -> None:
        """Add audio to the open item."""
        item, ranges = self._items[self._open], self._room.ranges(pcm, self._near)
        self._near = ranges[-1][1]
        if item and item[-1][1] in (ranges[0][0], ranges[0][0] + 1):
            item[-1] = (item[-1][0], ranges[0][1])
            ranges = ranges[1:]
        item += ranges

    def commit(self, item: int) -> None:
        """The item is complete."""
        words = self._room.timeline.words(self._items[item])
        delay_us = self._draw.randrange(50_000, 150_001, 1_000)
        text = written([word.text for word in words])
        self._timers.append(self._loop.after_us(delay_us, self._post, FinalTranscript(item, text)))

    async def run(self) -> None:
        """Stay until cancelled."""
        try:
            await asyncio.Event().wait()
        finally:
            for timer in self._timers:
                timer.cancel()


def written(words: list[str]) -> str:
    """Join words as an STT does: single digits are one number."""
    return re.sub(r"(?<=\d) (?=\d)", "", " ".join(words))


class ScriptedAnswers:
    """`LanguageModel`: says what the caller expects next, a word every 10 ms."""

    def __init__(self, draw: random.Random, first_ms: tuple[int, int]) -> None:
        self.next = "Yes."
        self._draw, self._first_ms = draw, first_ms

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        """Answer after a drawn delay."""
        del messages, tools
        yield self._deltas(self.next)

    async def _deltas(self, text: str) -> AsyncIterator[Delta]:
        await asyncio.sleep(self._draw.randint(*self._first_ms) / 1000)
        words = text.split()
        for number, word in enumerate(words):
            if number:
                await asyncio.sleep(TOKEN_S)
            yield Delta(word + " ")
        yield Delta(usage={"prompt_tokens": 100, "completion_tokens": len(words)})
