"""The pure rooms of signal: levels, resampling, the gate over the noise, and where speech begins and ends."""

import random
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest

from voiceagent import audio
from voiceagent.endpointing import (
    Endpoint,
    EndpointConfig,
    Endpointer,
    Loudness,
    Pause,
    Resumed,
    SoundOff,
    SoundOn,
    VoiceOn,
)
from voiceagent.twin.scripted import tone
from voiceagent.vad import EnergyGate, NoiseFloor, Silero, step_levels_dbfs

SPEECH = Path(__file__).parents[2] / "shared" / "speech"
USUAL = EndpointConfig(endpoint_ms=500, pause_ms=200)


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


@pytest.mark.parametrize(("hz", "least_db", "most_db"), [(10, -90, -30), (50, -90, -17), (120, -9, 0), (300, -2, 0.1)])
def test_rumble_and_hum_are_not_loud(hz, least_db, most_db):
    """What is slower than a voice counts little for the level of a step, and a voice counts in full."""
    wave = (8000 * np.sin(2 * np.pi * hz / 24_000 * np.arange(24_000))).astype(np.int16)
    change = step_levels_dbfs(wave) - audio.level_dbfs(wave)
    assert least_db <= float(change.max()) <= most_db


# ------------------------------------------------------------------------------------------ endpointing without a judge
def run(pcm, config=None, detector=None, chunk=960):
    """Every proposal for a stream of PCM."""
    endpointer = Endpointer(config or USUAL, detector)
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
    """It sounds, begins where it began, pauses after 200 ms of silence and ends after 500, in any chunks."""
    proposals = run(silence(500) + voice(300) + silence(700), chunk=chunk)
    assert proposals == [
        SoundOn(at_sample=560 * MS, onset_sample=500 * MS),
        VoiceOn(at_sample=570 * MS, onset_sample=500 * MS),
        Loudness(at_sample=700 * MS, level_dbfs=pytest.approx(-20, abs=1)),
        Pause(1000 * MS, speech_end_sample=800 * MS, voiced_samples=300 * MS, level_dbfs=pytest.approx(-20, abs=1)),
        Endpoint(1300 * MS, speech_end_sample=800 * MS, voiced_samples=300 * MS, level_dbfs=pytest.approx(-20, abs=1)),
    ]


def test_a_pause_inside():
    """Speech that goes on after a pause resumes it, and the length of the pause is told."""
    proposals = run(silence(500) + voice(300) + silence(400) + voice(300) + silence(600))
    assert [type(proposal) for proposal in proposals] == [SoundOn, VoiceOn, Loudness, Pause, Resumed, Pause, Endpoint]
    assert proposals[4].silence_samples == 400 * MS
    assert proposals[6].voiced_samples == 600 * MS


def test_a_click_in_a_pause_is_no_voice():
    """After a silence, what is shorter than 30 ms neither resumes the speech nor puts off its end."""
    proposals = run(silence(500) + voice(300) + silence(300) + voice(20) + silence(280))
    assert proposals[3:] == [Pause(1000 * MS, 800 * MS, 300 * MS, ANY), Endpoint(1300 * MS, 800 * MS, 300 * MS, ANY)]


def test_a_sound_that_comes_to_nothing():
    """It is over after 100 ms of quiet, and ended where it was last loud; then there may be another one."""
    config = EndpointConfig(endpoint_ms=500, pause_ms=200, min_speech_ms=200)
    assert run(silence(500) + voice(100) + silence(300) + voice(100) + silence(300), config) == [
        SoundOn(560 * MS, 500 * MS), SoundOff(700 * MS, 600 * MS), SoundOn(960 * MS, 900 * MS), SoundOff(1100 * MS, 1000 * MS),
    ]  # fmt: skip


def test_a_sound_with_a_gap_is_one():
    """Two steps of quiet do not break a sound off, three do."""
    config = EndpointConfig(endpoint_ms=500, pause_ms=200, min_speech_ms=200)
    for gap_ms, kinds in ((20, [SoundOn, SoundOff]), (30, [])):
        proposals = run(silence(500) + voice(30) + silence(gap_ms) + voice(30) + silence(300), config)
        assert [type(proposal) for proposal in proposals] == kinds


def test_a_soft_beginning_is_not_a_soft_voice():
    """The level after 200 ms is that of the loudest of them, and at the end that of most of the voice."""
    soft, usual = (np.frombuffer(tone(n * MS), "<i2") // d for n, d in ((150, 5), (450, 1)))
    spoken = np.concatenate([soft, usual]).astype("<i2").tobytes()
    told = [p.level_dbfs for p in run(silence(500) + spoken + silence(600)) if isinstance(p, Loudness | Endpoint)]
    assert told == pytest.approx([-20, -20], abs=1)


def test_clicks_are_nothing():
    """A sound shorter than `min_speech_ms` does not begin a turn."""
    assert run(silence(500) + (voice(20) + silence(200)) * 5) == []


@pytest.mark.parametrize("dbfs", [-56, -36])
def test_the_noise_of_a_room_is_no_sound(dbfs):
    """A room's noise, which is mostly rumble, sounds like nothing in half a minute once it is known."""
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=30 * 24_000))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(spectrum.size))))
    pcm = (pink / pink.std() * 32768 * 10 ** (dbfs / 20)).clip(-32768, 32767).astype("<i2").tobytes()
    assert [proposal for proposal in run(pcm) if proposal.at_sample > 5000 * MS] == []


def test_the_wait_can_be_set_anew():
    """`endpoint_after` holds for this silence, and the next one waits as configured."""
    endpointer = Endpointer(USUAL)
    endpointer.feed(silence(500) + voice(300))
    endpointer.endpoint_after(800)
    assert [type(p) for p in endpointer.feed(silence(700))] == [Pause]
    assert [type(p) for p in endpointer.feed(silence(200))] == [Endpoint]
    endpointer.feed(voice(300))
    assert [type(p) for p in endpointer.feed(silence(510))] == [Pause, Endpoint]


def test_a_wait_that_is_over_already():
    """A shorter wait than the silence so far ends the utterance with the next step, and a resumed one waits as configured."""
    endpointer = Endpointer(USUAL)
    endpointer.feed(silence(500) + voice(300) + silence(300))
    endpointer.endpoint_after(250)
    assert endpointer.feed(silence(10)) == [Endpoint(1110 * MS, 800 * MS, 300 * MS, ANY)]
    endpointer.feed(voice(300) + silence(250))
    endpointer.endpoint_after(900)
    endpointer.feed(voice(50))
    assert [p.at_sample for p in endpointer.feed(silence(600)) if isinstance(p, Endpoint)] == [2210 * MS]


def test_the_pause_can_be_set_anew():
    """`pause_after` holds at once, and for all that follows."""
    endpointer = Endpointer(USUAL)
    endpointer.feed(silence(500) + voice(300) + silence(100))
    endpointer.pause_after(60)
    assert [type(p) for p in endpointer.feed(silence(10))] == [Pause]
    assert [type(p) for p in endpointer.feed(voice(50) + silence(60))] == [Resumed, Pause]
    endpointer.feed(silence(600))
    assert [type(p) for p in endpointer.feed(voice(100) + silence(60))] == [SoundOn, VoiceOn, Pause]


@pytest.mark.parametrize(("snr_db", "pause_ms"), [(25, 100), (12, 200)])
def test_under_much_noise_a_pause_is_longer(snr_db, pause_ms):
    """Below 15 dB over the room's noise a silence shorter than 200 ms is not taken for a pause."""
    room = np.frombuffer(noise(6500, -20 - snr_db), "<i2").astype(int)
    speech = np.frombuffer(silence(5000) + voice(500) + silence(1000), "<i2")
    proposals = run((room + speech).astype("<i2").tobytes(), EndpointConfig(endpoint_ms=500, pause_ms=100))
    pause = next(p for p in proposals if isinstance(p, Pause) and p.speech_end_sample == 5500 * MS)
    assert pause.at_sample == (5500 + pause_ms) * MS


def test_ending_and_forgetting():
    """`end_now` ends an open utterance with an endpoint, `reset` without one; without one open there is nothing."""
    endpointer = Endpointer(USUAL)
    assert endpointer.end_now() == []
    endpointer.feed(silence(500) + voice(300))
    assert endpointer.in_utterance is True
    assert endpointer.end_now() == [Endpoint(800 * MS, 800 * MS, 300 * MS, ANY)]
    assert endpointer.in_utterance is False
    endpointer.feed(voice(300))
    endpointer.reset()
    assert endpointer.feed(silence(700)) == []
    assert endpointer.samples == 1800 * MS


def test_a_sound_ends_with_the_microphone():
    """`end_now` ends a sound too: nobody will tell its end later."""
    endpointer = Endpointer(EndpointConfig(endpoint_ms=500, pause_ms=200, min_speech_ms=200))
    endpointer.feed(silence(500) + voice(100) + silence(20))
    assert endpointer.end_now() == [SoundOff(620 * MS, 600 * MS)]
    assert endpointer.end_now() == []


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
    """What is loud but no speech does not begin a turn: it was a sound."""
    proposals = run(silence(500) + voice(2000) + silence(600), detector=Never())
    assert proposals == [SoundOn(560 * MS, 500 * MS), SoundOff(2600 * MS, 2500 * MS)]


class From(Never):
    """A judge that hears speech after so many windows."""

    def __init__(self, windows):
        self.left = windows

    def probability(self, window):
        """Say no for a while."""
        self.left -= 1
        return 0.9 if self.left < 0 else 0.1


def test_speech_in_a_noise_begins_with_itself():
    """Where noise was loud long before the speech, its sound ends and another one begins, which becomes the voice."""
    proposals = run(silence(500) + voice(2000), detector=From(40))
    assert [type(proposal) for proposal in proposals] == [SoundOn, SoundOff, SoundOn, VoiceOn, Loudness]
    on, off, again, begun, _ = proposals
    assert on.onset_sample == 500 * MS
    assert begun.at_sample - 500 * MS < begun.onset_sample == again.onset_sample == off.sound_end_sample


def test_a_fan_that_starts_ends_the_turn():
    """Loud noise after speech counts as silence once so much of it was no speech."""
    proposals = run(silence(500) + voice(5000), detector=Until(10))
    assert [type(proposal) for proposal in proposals[:5]] == [SoundOn, VoiceOn, Loudness, Pause, Endpoint]
    assert proposals[4].at_sample < 4500 * MS


@pytest.mark.parametrize(("loud_ms", "quiet_ms"), [(400, 300), (50, 50), (700, 90)])
def test_bursts_of_noise_end_the_turn(loud_ms, quiet_ms):
    """Breathing, knocking and the like after speech do not hold a turn open, although each burst is short."""
    bursts = (voice(loud_ms) + silence(quiet_ms)) * (15_000 // (loud_ms + quiet_ms))
    proposals = run(silence(500) + voice(500) + bursts, detector=Until(10))
    ends = [proposal.at_sample for proposal in proposals if isinstance(proposal, Endpoint)]
    assert len(ends) == 1
    assert ends[0] < 7000 * MS


# ------------------------------------------------------------------------------------------ with Silero
def sounds(proposals):
    """Whether there is nothing but sounds, each of them ended or the last one."""
    kinds = [type(proposal) for proposal in proposals]
    return kinds in ([SoundOn, SoundOff] * (len(kinds) // 2), [SoundOn, SoundOff] * (len(kinds) // 2) + [SoundOn])


@pytest.mark.parametrize("dbfs", [-60, -40, -25])
def test_noise_is_no_speech(dbfs):
    """Five seconds of noise at any level, from the first moment on, begin no turn."""
    assert sounds(run(noise(5000, dbfs), detector=Silero()))


def test_tones_and_clicks_are_no_speech():
    """A steady tone, hum and clicks begin no turn."""
    hum = (3000 * np.sin(2 * np.pi * 50 / 24_000 * np.arange(72_000))).astype("<i2").tobytes()
    clicks = (noise(5, -6) + silence(295)) * 8
    for sound in (tone(72_000), hum, clicks):
        assert sounds(run(silence(500) + sound, detector=Silero()))


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
    began = next(proposal for proposal in proposals if isinstance(proposal, VoiceOn))
    assert began.at_sample - 500 * MS < 150 * MS
