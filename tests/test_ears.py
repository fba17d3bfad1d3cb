"""The pure rooms of signal: levels, resampling, the gate over the noise, and where speech begins and ends."""

import random
from pathlib import Path

import numpy as np
import pytest

from voiceagent import audio
from voiceagent.endpointing import Endpoint, EndpointConfig, Endpointer, Pause, Resumed, VoiceOn
from voiceagent.twin.scripted import tone
from voiceagent.vad import EnergyGate, NoiseFloor, Silero

SPEECH = Path(__file__).parents[2] / "shared" / "speech"


def noise(ms, dbfs, seed=0):
    """White noise as PCM16."""
    scale = 32768 * 10 ** (dbfs / 20)
    samples = np.random.default_rng(seed).normal(0, scale, audio.ms_to_samples(ms))
    return np.clip(samples, -32768, 32767).astype("<i2").tobytes()


# ------------------------------------------------------------------------------------------ audio
@pytest.mark.parametrize(
    ("pcm", "dbfs"),
    [(b"", -96.0), (bytes(960), -96.0), (tone(24_000), -20.0), (np.full(480, 32767, "<i2").tobytes(), 0.0)],
)
def test_levels(pcm, dbfs):
    """The level is in dB below full scale; silence has a floor."""
    assert round(audio.level_dbfs(pcm), 1) == dbfs


def test_time_and_samples():
    """24 samples are a millisecond, and part samples do not count."""
    assert audio.samples_to_us(24) == 1000
    assert audio.us_to_samples(1041) == 24
    assert audio.ms_to_samples(20) == 480


def test_first_audible_sample():
    """The first 10 ms that can be heard; none in silence, and nothing in nothing."""
    assert audio.first_audible_sample(bytes(4800) + tone(480)) == 2400
    assert audio.first_audible_sample(bytes(4800)) is None
    assert audio.first_audible_sample(b"") is None
    assert audio.first_audible_sample(b"\x01") is None


@pytest.mark.parametrize("seed", range(5))
def test_odd_bytes(seed):
    """Any cutting of a stream gives the same samples."""
    rng, data, aligner, out = random.Random(seed), noise(50, -20), audio.OddBytes(), b""
    at = 0
    while at < len(data):
        size = rng.randint(1, 7)
        piece = aligner.align(data[at : at + size])
        assert len(piece) % 2 == 0
        out += piece
        at += size
    assert out == data


def test_wav_header_in_a_stream():
    """A header before the samples is dropped; samples without one are left alone."""
    pcm = tone(100)
    assert audio.strip_wav_header(audio.wav_bytes(pcm)) == pcm
    assert audio.strip_wav_header(pcm) == pcm
    assert audio.strip_wav_header(b"RIFF") == b"RIFF"


@pytest.mark.parametrize(("hz", "passes"), [(300, True), (3000, True), (6000, True), (9000, False), (11_000, False)])
def test_decimator(hz, passes):
    """What is below the new Nyquist frequency stays as loud as it was; what is above does not fold back."""
    samples = (10_000 * np.sin(2 * np.pi * hz / 24_000 * np.arange(24_000))).astype(np.int16)
    out = audio.Decimator().feed(samples)
    assert out.size == 16_000
    change = audio.level_dbfs(out) - audio.level_dbfs(samples)
    assert abs(change) < 0.5 if passes else change < -35


@pytest.mark.parametrize("size", [1, 2, 7, 240, 480, 1000])
def test_decimator_in_any_chunks(size):
    """The output does not depend on how the input was cut."""
    samples = np.frombuffer(noise(100, -20), "<i2")
    decimator = audio.Decimator()
    pieces = [decimator.feed(samples[at : at + size]) for at in range(0, samples.size, size)]
    whole = audio.Decimator().feed(samples)
    assert np.concatenate(pieces).tolist() == whole.tolist()


# ------------------------------------------------------------------------------------------ the gate
def test_the_floor_follows_the_room():
    """It comes up to a noise that lasts, goes down with it, and is never dragged down by digital silence."""
    floor = NoiseFloor()
    assert floor.dbfs == -60
    for _ in range(500):
        floor.feed(-40)
    assert floor.dbfs == -40
    for _ in range(500):
        floor.feed(-96)
    assert floor.dbfs == -70


def test_the_gate_stands_over_the_floor():
    """Loud is what stands so far over the room's noise; it takes a little less to stay loud."""
    gate = EnergyGate(9)
    for _ in range(400):
        gate.loud(-40)  # at first it is news
    assert not gate.loud(-40)
    assert not gate.loud(-32)
    assert gate.loud(-30)
    assert gate.loud(-33)
    assert not gate.loud(-35)


# ------------------------------------------------------------------------------------------ endpointing without a judge
def run(pcm, config=None, detector=None, chunk=960):
    """Every proposal for a stream of PCM."""
    endpointer = Endpointer(config or EndpointConfig(), detector)
    return [proposal for at in range(0, len(pcm), chunk) for proposal in endpointer.feed(pcm[at : at + chunk])]


def silence(ms):
    """Digital silence."""
    return bytes(audio.ms_to_samples(ms) * 2)


def voice(ms):
    """A tone, which is speech where nobody judges."""
    return tone(audio.ms_to_samples(ms))


MS = 24


@pytest.mark.parametrize("chunk", [2, 322, 960, 4800])
def test_one_utterance(chunk):
    """It begins where it began, pauses after 200 ms of silence and ends after 500, in any chunks."""
    proposals = run(silence(500) + voice(300) + silence(700), chunk=chunk)
    assert proposals == [
        VoiceOn(at_sample=570 * MS, onset_sample=500 * MS),
        Pause(at_sample=1000 * MS, speech_end_sample=800 * MS),
        Endpoint(at_sample=1300 * MS, speech_end_sample=800 * MS, voiced_samples=300 * MS),
    ]


def test_a_pause_inside():
    """Speech that goes on after a pause resumes it, and the length of the pause is told."""
    proposals = run(silence(500) + voice(300) + silence(400) + voice(300) + silence(600))
    assert [type(proposal) for proposal in proposals] == [VoiceOn, Pause, Resumed, Pause, Endpoint]
    assert proposals[2].silence_samples == 400 * MS
    assert proposals[4].voiced_samples == 600 * MS


def test_clicks_are_nothing():
    """A sound shorter than `min_speech_ms` does not begin a turn."""
    assert run(silence(500) + (voice(20) + silence(200)) * 5) == []


def test_the_wait_can_be_set_anew():
    """`endpoint_after` holds for this silence, and the next one waits as configured."""
    endpointer = Endpointer(EndpointConfig())
    endpointer.feed(silence(500) + voice(300))
    endpointer.endpoint_after(800)
    assert [type(p) for p in endpointer.feed(silence(700))] == [Pause]
    assert [type(p) for p in endpointer.feed(silence(200))] == [Endpoint]
    endpointer.feed(voice(300))
    assert [type(p) for p in endpointer.feed(silence(510))] == [Pause, Endpoint]


def test_ending_and_forgetting():
    """`end_now` ends an open utterance with an endpoint, `reset` without one; without one open there is nothing."""
    endpointer = Endpointer(EndpointConfig())
    assert endpointer.end_now() == []
    endpointer.feed(silence(500) + voice(300))
    assert (endpointer.in_utterance, endpointer.voiced) == (True, True)
    assert endpointer.end_now() == [Endpoint(800 * MS, 800 * MS, 300 * MS)]
    assert endpointer.in_utterance is False
    endpointer.feed(voice(300))
    endpointer.reset()
    assert endpointer.feed(silence(700)) == []
    assert endpointer.samples == 1800 * MS


class Never:
    """A judge that hears no speech in anything."""

    def probability(self, window):
        """Say no."""
        assert window.size == 512
        return 0.0

    def reset(self):
        """Nothing is remembered."""


class Until(Never):
    """A judge that hears speech in the first so many windows."""

    def __init__(self, windows):
        self.left = windows

    def probability(self, window):
        """Say yes for a while."""
        self.left -= 1
        return 0.9 if self.left >= 0 else 0.1


def test_the_judge_has_the_last_word():
    """What is loud but no speech does not begin a turn."""
    assert run(silence(500) + voice(2000) + silence(600), detector=Never()) == []


def test_a_fan_that_starts_ends_the_turn():
    """Loud noise after speech counts as silence once it has not been speech for half a second."""
    proposals = run(silence(500) + voice(5000), detector=Until(16 + 20))
    assert [type(proposal) for proposal in proposals] == [VoiceOn, Pause, Endpoint]


# ------------------------------------------------------------------------------------------ with Silero
@pytest.mark.parametrize("dbfs", [-60, -40, -25])
def test_noise_is_no_speech(dbfs):
    """Five seconds of noise at any level, from the first moment on, begin no turn."""
    assert run(noise(5000, dbfs), detector=Silero()) == []


def test_tones_and_clicks_are_no_speech():
    """A steady tone, hum and clicks begin no turn."""
    hum = (3000 * np.sin(2 * np.pi * 50 / 24_000 * np.arange(72_000))).astype("<i2").tobytes()
    clicks = (noise(5, -6) + silence(295)) * 8
    for sound in (tone(72_000), hum, clicks):
        assert run(silence(500) + sound, detector=Silero()) == []


@pytest.mark.skipif(not (SPEECH / "speech.wav").exists(), reason="the recordings are not beside this checkout")
@pytest.mark.parametrize("snr_db", [None, 20])
def test_a_recording(snr_db):
    """A recorded sentence is one turn that begins within 150 ms of its first sound, also in noise."""
    from voiceagent.soundfiles import read_speech

    pcm = silence(500) + read_speech(SPEECH / "speech.wav") + silence(1000)
    if snr_db is not None:
        hiss = np.frombuffer(noise(len(pcm) // 48, audio.level_dbfs(pcm) - snr_db), "<i2")
        samples = np.frombuffer(pcm, "<i2")[: hiss.size].astype(int) + hiss
        pcm = np.clip(samples, -32768, 32767).astype("<i2").tobytes()
    proposals = run(pcm, detector=Silero())
    kinds = [type(proposal) for proposal in proposals]
    assert kinds.count(VoiceOn) == kinds.count(Endpoint) == 1
    assert proposals[0].at_sample - 500 * MS < 150 * MS
