"""How late the ears are: onset to sound and to voice, end to pause, on synthesised speech in noise and over an echo.

`python -m voiceagent.bench.ears` prints what `voiceagent.ear_delays` keeps. The onset is the first 2 ms of the clean
utterance that are within 20 dB of its median voiced level, its end the last ones. Noise is pink, its level relative to that
median; the agent's voice, where there is one, plays without a rest at -20 dBFS and is held and resumed by the proposals.
"""

import asyncio
import json
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiceagent.audio import RATE_HZ, Samples, levels_dbfs, ms_to_samples, samples_to_us
from voiceagent.bench.processes import BenchError
from voiceagent.clockmap import ClockMap
from voiceagent.endpointing import EndpointConfig, Endpointer
from voiceagent.events import SoundOff, SoundOn, VoiceEnded, VoiceOn, VoicePaused
from voiceagent.microphone import Microphone
from voiceagent.protocol import MicFrame
from voiceagent.vad import Silero

Wave = NDArray[np.float32]

FRAME = ms_to_samples(20)
CALLER_DBFS, PLAYBACK_DBFS, ROOM_DBFS = -26.0, -20.0, -75.0
ECHO_LATE_MS = 120
ROOM_S = 5
LOWEST_HZ = 40  # a microphone's
STOP_MS = 60  # from the word to be silent to silence
QUANTILES = (5, 25, 50, 75, 90, 95, 99)
CONDITIONS = {
    "clean": (None, None), "30 dB": (30, None), "20 dB": (20, None), "10 dB": (10, None),
    "echo -40 dB": (30, -40), "echo -30 dB": (30, -30), "echo -20 dB": (30, -20),
}  # fmt: skip
"""The signal-to-noise ratio and the echo's gain, in dB."""
VOICES = ("en-us", "en-us+m3", "en-us+f3", "en-us+f2")
SAYINGS = (
    "what time is it now", "tell me a joke", "stop", "wait a moment please", "no that is not what I meant",
    "yes", "how far is the moon", "could you say that again", "hello", "and what about tomorrow",
    "seven five three two", "I would like to book a table for four",
)  # fmt: skip
AGENT = (
    "The meeting was moved to Thursday afternoon because two of the guests cannot come earlier. "
    "I can read you the list of the others, or I can write to them that the time has changed. "
    "Most people answer within an hour, and I will tell you as soon as everybody has said yes."
)


@dataclass(slots=True)
class _Utterance:
    wave: Wave
    onset: int
    end: int


@dataclass(slots=True)
class _Heard:
    """What came of one condition: milliseconds after the truth, None where nothing came within a second."""

    sound_ms: list[float | None] = field(default_factory=list)
    voice_ms: list[float | None] = field(default_factory=list)
    pause_ms: list[float | None] = field(default_factory=list)


async def _speak(texts: list[tuple[str, str, float]]) -> list[Wave]:
    from voiceagent.twin import LocalEngines

    if LocalEngines.missing():
        raise BenchError("the benchmark speaks with the local engines: pip install 'voiceagent[local]'")
    engines = LocalEngines()
    await engines.start()
    try:
        spoken: list[Wave] = []
        for text, voice, speed in texts:
            pcm = b"".join([chunk async for chunk in engines.speak(text, voice, speed)])
            spoken.append(np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(32768))
        return spoken
    finally:
        await engines.aclose()


def _measured(wave: Wave, level: float) -> _Utterance:
    """Scale speech so that its median voiced level is `level`, and find where it begins and ends."""
    step = ms_to_samples(2)
    levels = levels_dbfs((wave * 32767).astype(np.int16), step)
    median = float(np.median(levels[levels > levels.max() - 30]))
    loud = np.flatnonzero(levels >= median - 20)
    scaled = (wave * 10 ** ((level - median) / 20)).astype(np.float32)
    return _Utterance(scaled, int(loud[0]) * step, (int(loud[-1]) + 1) * step)


def utterances() -> tuple[list[_Utterance], Wave]:
    """Return what callers say, and what the agent says. Raises `BenchError` without the local synthesiser."""
    said = [
        (text, voice, speed) for speed, voice in zip((0.9, 1.0, 1.1, 1.25), VOICES, strict=True) for text in SAYINGS
    ]
    *callers, agent = asyncio.run(_speak([*said, (AGENT, "en-us+f3", 1.0)]))
    return [_measured(wave, CALLER_DBFS) for wave in callers], _measured(agent, PLAYBACK_DBFS).wave


def pink(samples: int, dbfs: float, rng: np.random.Generator) -> Wave:
    """Return noise with as much power in each octave, as far down as a microphone takes it."""
    spectrum = np.fft.rfft(rng.normal(size=samples))
    hz = np.arange(spectrum.size) * RATE_HZ / samples
    spectrum *= (hz > LOWEST_HZ) / np.sqrt(np.maximum(LOWEST_HZ, hz))
    noise = np.fft.irfft(spectrum, samples)
    scaled: Wave = (noise * 10 ** (dbfs / 20) / np.sqrt(np.mean(noise**2))).astype(np.float32)
    return scaled


class _NoStt:
    def open(self, item: int) -> None: ...
    def append(self, pcm: bytes) -> None: ...
    def commit(self, item: int) -> None: ...
    async def run(self) -> None: ...


class Room:
    """A microphone in a room, with a loudspeaker whose sound comes back; time is counted in samples."""

    TAPS_MS = ((0, 1.0), (11, 0.5), (23, 0.35), (41, 0.25), (67, 0.16), (97, 0.1), (140, 0.05), (200, 0.025))

    def __init__(self, agent: Wave | None, gain_db: float | None) -> None:
        self.now = 0
        self.holds = 0
        self.ears = Endpointer(EndpointConfig(endpoint_ms=500, pause_ms=100), Silero())
        self.mic = Microphone(
            self.ears, _NoStt(), ClockMap(), pre_roll_us=0, now_us=lambda: samples_to_us(self.now), echo_gate=True
        )
        self._agent = agent if gain_db is not None else None
        self._gain = 10 ** ((gain_db or 0) / 20) / np.sqrt(sum(tap**2 for _, tap in self.TAPS_MS))
        self._played: Wave = np.zeros(ms_to_samples(500), dtype=np.float32)  # the last half second and one frame
        self._next = 0
        self._held_at: int | None = None

    def frame(self, wave: Wave) -> list[Any]:
        """Let 20 ms pass, and return the facts."""
        out = np.zeros(FRAME, dtype=np.float32)
        if self._agent is not None and (self._held_at is None or self.now < self._held_at + ms_to_samples(STOP_MS)):
            out = np.take(self._agent, np.arange(self._next, self._next + FRAME), mode="wrap")
            self._next += FRAME
            if self._held_at is None:
                self.mic.playing(samples_to_us(self.now), _pcm(out).tobytes())
        self._played = np.concatenate([self._played[FRAME:], out])
        echo = np.zeros(FRAME, dtype=np.float32)
        for late_ms, tap in self.TAPS_MS:
            start = self._played.size - FRAME - ms_to_samples(ECHO_LATE_MS + late_ms)
            echo += tap * self._played[start : start + FRAME]
        self.now += FRAME
        facts = self.mic.frame(MicFrame(0, 0.0, _pcm(wave + echo * self._gain).tobytes()))
        for fact in facts:
            self._react(fact)
        return facts

    def _react(self, fact: Any) -> None:
        if isinstance(fact, SoundOn) and self._held_at is None:
            self.holds += 1
            self._held_at = self.now
            self.mic.silent()
        elif isinstance(fact, SoundOff | VoiceEnded) and self._held_at is not None:
            if isinstance(fact, SoundOff):
                self.mic.resumed(samples_to_us(self.now - self._held_at))
            self._held_at = None


def _pcm(wave: Wave) -> Samples:
    return np.clip(np.rint(wave * 32767), -32768, 32767).astype("<i2")


def listen(
    callers: list[_Utterance], agent: Wave, snr_db: float | None, echo_db: float | None, seed: int = 1
) -> _Heard:
    """Let the callers speak one after another, two seconds and a bit between them."""
    rng, heard = np.random.default_rng(seed), _Heard()
    room = Room(agent, echo_db)
    noise_dbfs = ROOM_DBFS if snr_db is None else CALLER_DBFS - snr_db
    quiet = pink(ROOM_S * RATE_HZ, noise_dbfs, rng)
    for at in range(0, ROOM_S * RATE_HZ, FRAME):  # the ears get to know the room
        room.frame(quiet[at : at + FRAME])
    for utterance in callers:
        before = ms_to_samples(2000) + int(rng.integers(0, ms_to_samples(500)))
        size = -(-(before + utterance.wave.size + ms_to_samples(1200)) // FRAME) * FRAME
        wave = pink(size, noise_dbfs, rng)
        wave[before : before + utterance.wave.size] += utterance.wave
        onset, end = room.now + before + utterance.onset, room.now + before + utterance.end
        came: list[tuple[int, Any]] = []
        for at in range(0, size, FRAME):
            came += [(room.now, fact) for fact in room.frame(wave[at : at + FRAME])]
        early = ms_to_samples(150)  # a fricative before the onset as we define it
        heard.sound_ms.append(_first(came, SoundOn, onset, early))
        heard.voice_ms.append(_first(came, VoiceOn, onset, early))
        heard.pause_ms.append(_first(came, VoicePaused, end, early))
    return heard


def _first(came: list[tuple[int, Any]], kind: type[Any], truth: int, early: int) -> float | None:
    for at, fact in came:
        if isinstance(fact, kind) and truth - early <= at <= truth + RATE_HZ:
            return round((at - truth) * 1000 / RATE_HZ, 1)
    return None


def false_holds_per_min(agent: Wave, echo_db: float, snr_db: float = 30, minutes: float = 2) -> float:
    """Let the agent speak to nobody, and return how often a minute its own echo holds it."""
    room, rng = Room(agent, echo_db), np.random.default_rng(2)
    noise = pink(int(minutes * 60 * RATE_HZ) // FRAME * FRAME, CALLER_DBFS - snr_db, rng)
    for at in range(0, noise.size, FRAME):
        room.frame(noise[at : at + FRAME])
    return room.holds / minutes


def summary(delays_ms: list[float | None]) -> dict[str, float]:
    """Return the quantiles of what came within a second, and the share that did not."""
    came = [delay for delay in delays_ms if delay is not None]
    table = {f"p{q}": round(float(np.percentile(came, q)), 1) for q in QUANTILES} if came else {}
    return table | {"missed": round(1 - len(came) / len(delays_ms), 3)}


def measure() -> dict[str, dict[str, dict[str, float]]]:
    """Return the delays of every condition, and of the echoes together."""
    callers, agent = utterances()
    table: dict[str, dict[str, dict[str, float]]] = {}
    echoes = _Heard()
    for name, (snr_db, echo_db) in CONDITIONS.items():
        heard = listen(callers, agent, snr_db, echo_db)
        table[name] = _table(heard)
        if echo_db is not None:
            echoes.sound_ms += heard.sound_ms
            echoes.voice_ms += heard.voice_ms
            echoes.pause_ms += heard.pause_ms
            table[name]["holds"] = {"per_min": false_holds_per_min(agent, echo_db)}
    return table | {"echo": _table(echoes)}


def _table(heard: _Heard) -> dict[str, dict[str, float]]:
    return {"sound": summary(heard.sound_ms), "voice": summary(heard.voice_ms), "pause": summary(heard.pause_ms)}


if __name__ == "__main__":
    json.dump(measure(), sys.stdout, indent=1)
    sys.stdout.write("\n")
