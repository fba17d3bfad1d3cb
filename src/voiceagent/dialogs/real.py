"""A room with waves in it: callers and the agent speak with the local synthesiser, and the product's own ears listen."""

import asyncio
import random
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache

import numpy as np

from voiceagent.audio import RATE_HZ, ms_to_samples, us_to_samples
from voiceagent.dialogs.room import TTS_MS, Heard, Page
from voiceagent.dialogs.scripts import Script
from voiceagent.dialogs.sounds import Sound
from voiceagent.dialogs.waves import Wave, measured, noise_wave, pink, synthesis
from voiceagent.endpointing import EndpointConfig, Endpointer
from voiceagent.settings import Settings
from voiceagent.simulation.script import STEP_SAMPLES, Timeline, Word
from voiceagent.simulation.speech import Voice
from voiceagent.simulation.stages import EPOCH, Seen
from voiceagent.stages.ports import TextToSpeech
from voiceagent.vad import Silero

CALLERS = ("en-us", "en-us+m3", "en-us+f3", "en-us+f2", "en-gb+m5", "en-us+m7", "en-gb+f4")
AGENT = "en-us+f1"
SPEEDS = (1.0, 1.1, 1.2)
CALLER_DBFS, AGENT_DBFS, ROOM_DBFS = -26.0, -20.0, -75.0
NOISE_S = 11
LONGEST_S = 240
AHEAD_STEPS = 8  # a sound begins softly before its onset
ECHO_LATE_MS = 40  # from the speaker to the microphone, with the device's buffers
ECHO_TAPS_MS = ((0, 1.0), (11, 0.5), (23, 0.35), (41, 0.25), (67, 0.16), (97, 0.1), (140, 0.05), (200, 0.025))
KEPT_SAMPLES = RATE_HZ * 10
TTS_CHUNK_MS, TTS_SPEED = 200, 8


@cache
def silero() -> Silero:
    """The one detector of this process; each dialog begins it anew."""
    return Silero()


class SpokenVoice(Voice):
    """The agent's voice: how long its words truly are is told by the synthesiser."""

    def word_ends(self, text: str) -> list[int]:
        """The samples at which each word of a phrase ends."""
        spoken = synthesis().speak(text, AGENT, 1.0)
        ends, at = [], 0
        known = dict(spoken.ends)
        for word in text.split():
            at = text.index(word, at) + len(word)
            later = [sample for said, sample in known.items() if said >= at]
            ends.append(min(later, default=spoken.wave.size))
        return ends

    def samples(self, text: str) -> int:
        """How long a phrase is."""
        return synthesis().speak(text, AGENT, 1.0).wave.size


class SpokenReplies:
    """`TextToSpeech` by the synthesiser, with drawn delays."""

    def __init__(self, draw: random.Random, first_ms: tuple[int, int], seen: Seen) -> None:
        self._draw, self._first_ms, self._seen = draw, first_ms, seen

    @asynccontextmanager
    async def speak(self, text: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Speak one phrase."""
        self._seen.tts_request(EPOCH.get(), text)
        yield self._chunks(text)

    async def _chunks(self, text: str) -> AsyncIterator[bytes]:
        wave = synthesis().speak(text, AGENT, 1.0).wave
        gain = 10 ** (AGENT_DBFS / 20) / max(1e-3, float(np.sqrt(np.mean(wave**2))))
        pcm = _pcm(wave * gain)
        await asyncio.sleep(self._draw.randint(*self._first_ms) / 1000)
        size = ms_to_samples(TTS_CHUNK_MS) * 2
        for at in range(0, len(pcm), size):
            if at:
                await asyncio.sleep(TTS_CHUNK_MS / TTS_SPEED / 1000)
            yield pcm[at : at + size]


class RealRoom:
    """What the microphone picks up: the caller, the others, noise, and the agent's voice if there is an echo."""

    dips = False

    def __init__(self, script: Script, seed: int, settings: Settings) -> None:
        draw = random.Random(f"{script.name} {seed} room")
        self._rng = np.random.default_rng(zlib.crc32(f"{script.name} {seed}".encode()))
        self.timeline = Timeline()
        self._voice, self._other = draw.sample(CALLERS, 2)
        self._speed = draw.choice(SPEEDS)
        self._scene = np.zeros(LONGEST_S * RATE_HZ, dtype=np.float32)
        noise_dbfs = ROOM_DBFS if script.snr_db is None else CALLER_DBFS - script.snr_db
        self._noise = pink(NOISE_S * RATE_HZ, noise_dbfs, self._rng)
        self._echo_db = script.echo_db
        self._speaker = np.zeros(LONGEST_S * RATE_HZ if script.echo_db is not None else 0, dtype=np.float32)
        self._sent = bytearray()  # all that the microphone has sent
        silero().reset()
        self.ears = Endpointer(EndpointConfig.from_settings(settings), silero())
        self.voice = SpokenVoice(0)
        self._page: Page | None = None  # whose sound comes back

    # ------------------------------------------------------------------------------ making sounds
    def put(self, sounds: list[Sound]) -> list[Sound]:
        """Make sounds, with the silences between them as they are; return them as long as they truly are."""
        at, before, made = sounds[0].start + AHEAD_STEPS, sounds[0].start, []
        for sound in sounds:
            at += sound.start - before
            before = sound.end
            wave, onset, end = self._wave(sound)
            first = at * STEP_SAMPLES - onset
            self._scene[first : first + wave.size] += wave
            steps = max(1, round((end - onset) / STEP_SAMPLES))
            made.append(_moved(sound, at, steps))
            self.timeline.add(made[-1])
            at += steps
        return made

    def _wave(self, sound: Sound) -> tuple[Wave, int, int]:
        level_dbfs = CALLER_DBFS + sound.level_db
        if sound.label in ("cough", "tic") and sound.text != "laugh":
            wave = noise_wave(sound.text, (sound.end - sound.start) * STEP_SAMPLES, self._rng)
            return measured(wave, level_dbfs)
        text = "ha ha ha" if sound.text == "laugh" else " ".join(word.text for word in sound.words) or sound.text
        voice = self._other if sound.label == "side" else self._voice
        spoken = measured(synthesis().speak(text, voice, self._speed).wave, level_dbfs)
        if sound.label != "backchannel":
            return spoken
        speed = self._speed * (spoken[2] - spoken[1]) / ((sound.end - sound.start) * STEP_SAMPLES)
        return measured(synthesis().speak(text, voice, round(min(2.2, max(0.6, speed)), 2)).wave, level_dbfs)

    # ------------------------------------------------------------------------------ hearing
    def hear(self, step: int, steps: int) -> bytes:
        """The microphone's samples of these steps."""
        first, after = step * STEP_SAMPLES, (step + steps) * STEP_SAMPLES
        wave = self._scene[first:after] + np.take(self._noise, np.arange(first, after), mode="wrap")
        if self._echo_db is not None:
            wave = wave + self._echo(first, after)
        pcm = _pcm(wave)
        self._sent += pcm
        return pcm

    def _echo(self, first: int, after: int) -> Wave:
        if self._page is not None:
            self._page.playback.up_to_now()
        gain = 10 ** ((self._echo_db or 0) / 20) / np.sqrt(sum(tap**2 for _, tap in ECHO_TAPS_MS))
        echo = np.zeros(after - first, dtype=np.float32)
        for late_ms, tap in ECHO_TAPS_MS:
            late = ms_to_samples(ECHO_LATE_MS + late_ms)
            if first >= late:
                echo += np.float32(tap * gain) * self._speaker[first - late : after - late]
        return echo

    def watch(self, page: Page) -> None:
        """The agent's voice comes out of this page's speaker."""
        if self._echo_db is not None:
            self._page = page
            page.playback.on_played = self._played

    def _played(self, heard: Heard) -> None:
        if self._page is None:
            return
        pcm = bytes(self._page.audio[heard.epoch][heard.first * 2 : heard.after * 2])
        first = us_to_samples(heard.start_us - self._page.start_us)
        self._speaker[first : first + len(pcm) // 2] = np.frombuffer(pcm, dtype="<i2") / np.float32(32768)

    def idle(self, step: int) -> bool:
        """Never: the room's noise is to be heard."""
        del step
        return False

    def speech(self, draw: random.Random, seen: Seen) -> TextToSpeech:
        """The synthesiser."""
        return SpokenReplies(draw, TTS_MS, seen)

    def ranges(self, pcm: bytes, near: int) -> list[tuple[int, int]]:
        """The steps that a piece of the microphone's audio is from."""
        expected = near * STEP_SAMPLES * 2
        at = expected if self._sent.startswith(pcm[:480], expected) else -1
        if at < 0:
            at = self._sent.find(pcm[:480], max(0, len(self._sent) - KEPT_SAMPLES * 2))
        if at < 0:
            raise AssertionError("this was never sent")
        return [(at // (STEP_SAMPLES * 2), max(1, round((at + len(pcm)) / (STEP_SAMPLES * 2))))]


def _moved(sound: Sound, start: int, steps: int) -> Sound:
    """The sound at its place, its words as long as their share."""
    factor = steps / max(1, sound.end - sound.start)

    def at(step: int) -> int:
        return start + round((step - sound.start) * factor)

    words = tuple(Word(word.text, at(word.start), at(word.end)) for word in sound.words)
    return replace(sound, start=start, end=start + steps, words=words)


def _pcm(wave: Wave) -> bytes:
    return bytes(np.clip(np.rint(wave * 32767), -32768, 32767).astype("<i2").tobytes())
