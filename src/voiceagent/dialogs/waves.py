"""Sounds as waves: what the local synthesiser says, coughs and knocks made of noise, and the noise of a room."""

import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from voiceagent.audio import RATE_HZ, levels_dbfs, ms_to_samples
from voiceagent.twin import pipes

Wave = NDArray[np.float32]

LOWEST_HZ = 40  # a microphone's
ONSET_DB = 20.0
LEVEL_STEP_MS = 2
COUGH_HZ = (300, 5_000)


@dataclass(frozen=True, slots=True)
class Spoken:
    """Synthesised speech at 24 kHz, and the ends of its words: (characters, sample)."""

    wave: Wave
    ends: tuple[tuple[int, int], ...]


class Synthesis:
    """The synthesiser in its own process, asked and waited for: virtual time stands still meanwhile."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "voiceagent.twin.tts_worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._known: dict[tuple[str, str, float], Spoken] = {}
        self._count = 0
        pipes.read(_pipe(self._process.stdout))  # it is ready

    def speak(self, text: str, voice: str, speed: float) -> Spoken:
        """Say a text; the same one is said once a dialog."""
        key = (text, voice, speed)
        if key not in self._known:
            self._known[key] = self._ask(text, voice, speed)
        return self._known[key]

    def _ask(self, text: str, voice: str, speed: float) -> Spoken:
        self._count += 1
        pipes.write(_pipe(self._process.stdin), {"id": self._count, "text": text, "voice": voice, "speed": speed})
        chunks: list[bytes] = []
        ends: list[tuple[int, int]] = []
        while (message := pipes.read(_pipe(self._process.stdout))) is not None:
            head, pcm = message
            chunks.append(pcm)
            ends += [(said, ms_to_samples(at_ms)) for said, at_ms in head.get("words", ())]
            if head.get("end"):
                break
        wave = np.frombuffer(b"".join(chunks), dtype="<i2").astype(np.float32) / np.float32(32768)
        return Spoken(wave, tuple(ends))

    def close(self) -> None:
        """End the process: it ends when there is nothing more to read."""
        _pipe(self._process.stdin).close()
        _pipe(self._process.stdout).close()
        self._process.wait(timeout=5)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise AssertionError("the synthesiser was started without pipes")
    return pipe


@cache
def synthesis() -> Synthesis:
    """The one synthesiser of this dialog: how it says a text depends a little on what it said before."""
    return Synthesis()


def hush() -> None:
    """End the synthesiser, if there is one; the next dialog begins another."""
    if synthesis.cache_info().currsize:
        synthesis().close()
        synthesis.cache_clear()


def measured(wave: Wave, level_dbfs: float) -> tuple[Wave, int, int]:
    """Scale a sound so that its median loud level is `level_dbfs`; return it with its first and last loud samples."""
    step = ms_to_samples(LEVEL_STEP_MS)
    padded = np.pad(wave, (0, -wave.size % step)).astype(np.float32)
    levels = levels_dbfs((padded * 32767).astype(np.int16), step)
    median = float(np.median(levels[levels > levels.max() - 30]))
    loud = np.flatnonzero(levels >= median - ONSET_DB)
    scaled = (padded * 10 ** ((level_dbfs - median) / 20)).astype(np.float32)
    return scaled, int(loud[0]) * step, (int(loud[-1]) + 1) * step


def pink(samples: int, dbfs: float, rng: np.random.Generator) -> Wave:
    """Noise with as much power in each octave, as far down as a microphone takes it."""
    spectrum = np.fft.rfft(rng.normal(size=samples))
    hz = np.arange(spectrum.size) * RATE_HZ / samples
    spectrum *= (hz > LOWEST_HZ) / np.sqrt(np.maximum(LOWEST_HZ, hz))
    noise = np.fft.irfft(spectrum, samples)
    scaled: Wave = (noise * 10 ** (dbfs / 20) / np.sqrt(np.mean(noise**2))).astype(np.float32)
    return scaled


# ------------------------------------------------------------------------------------------ bodies and rooms
def _band(samples: int, low_hz: float, high_hz: float, rng: np.random.Generator) -> Wave:
    spectrum = np.fft.rfft(rng.normal(size=samples))
    hz = np.arange(spectrum.size) * RATE_HZ / samples
    soft = 1 / (1 + (low_hz / np.maximum(1, hz)) ** 4) / (1 + (hz / high_hz) ** 4)
    return _wave(np.fft.irfft(spectrum * soft, samples))


def _wave(values: NDArray[np.floating[Any]]) -> Wave:
    return values.astype(np.float32)


def _fall(samples: int, share: float, rise: float = 0.02) -> Wave:
    """An envelope that rises within a share of the sound, and falls to a third within another."""
    at = np.linspace(0, 1, samples, dtype=np.float32)
    return _wave(np.minimum(1, at / rise) * np.exp(-np.maximum(0, at - rise) / share))


def noise_wave(name: str, samples: int, rng: np.random.Generator) -> Wave:
    """A cough, a tic or a sound of the room, by its name in the material."""
    at = np.arange(samples, dtype=np.float32) / RATE_HZ
    match name:
        case "cough" | "cough cough" | "sneeze":
            count = 2 if name == "cough cough" else 1
            one = samples // count
            bursts = [_band(one, *COUGH_HZ, rng) * _fall(one, 0.25) for _ in range(count)]
            return np.concatenate([*bursts, np.zeros(samples - one * count, dtype=np.float32)])
        case "throat clearing":
            buzz = np.sign(np.sin(2 * np.pi * (70 + 25 * at) * at)).astype(np.float32)
            rough = _band(samples, 200, 2_000, rng) * 6 + buzz * 0.2
            return _wave(rough * _fall(samples, 0.6, 0.1) * (0.7 + 0.3 * np.sin(2 * np.pi * 23 * at)))
        case "sigh" | "sniff":
            low_hz = 1_500 if name == "sniff" else 400
            return _wave(_band(samples, low_hz, 6_000, rng) * np.sin(np.pi * np.linspace(0, 1, samples)) ** 2)
        case "keyboard":
            wave = np.zeros(samples, dtype=np.float32)
            for first in range(0, max(1, samples - ms_to_samples(12)), ms_to_samples(110)):
                size = min(ms_to_samples(12), samples - first)
                wave[first : first + size] += _band(size, 800, 8_000, rng) * _fall(size, 0.3)
            return wave
        case "lip smack" | "click":
            return _band(samples, 1_000, 8_000, rng) * _fall(samples, 0.3)
        case _:  # a chair, a door
            return _band(samples, 60, 900, rng) * _fall(samples, 0.3)
