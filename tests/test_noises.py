"""What is no speech, after speech and for long: each ends the turn, keeps nothing, and leaves ears that still hear."""

import numpy as np
import pytest

from voiceagent.audio import RATE_HZ
from voiceagent.bench import ears as bench
from voiceagent.ear_delays import DELAYS_MS, MISSED, QUANTILES
from voiceagent.endpointing import LEVEL_STEPS, Endpoint, EndpointConfig, Endpointer, SoundOff, SoundOn, VoiceOn
from voiceagent.twin import LocalEngines
from voiceagent.vad import Silero

pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(bool(LocalEngines.missing()), reason="the local engines are not installed"),
]
FRAME = 480
NOISE_S = 20


@pytest.fixture(scope="module")
def said():
    """What callers say, and the agent."""
    return bench.utterances()


def chords(rng):
    """A piano of sorts, a chord every two seconds."""
    at = np.arange(RATE_HZ * 2) / RATE_HZ
    bars = []
    for _ in range(NOISE_S // 2):
        base = 220 * 2 ** (rng.integers(0, 12) / 12)
        tones = [np.sin(2 * np.pi * base * note * h * at) / h for note in (1, 1.26, 1.498, 2) for h in (1, 2, 3, 4)]
        bars.append(sum(tones) * np.exp(-at * 0.8) / 60)
    return np.concatenate(bars)


def breath(rng):
    """Half a second to a second of breath, a third of a second without."""
    pieces = []
    while sum(map(len, pieces)) < NOISE_S * RATE_HZ:
        count = int(RATE_HZ * rng.uniform(0.5, 1.2))
        pieces += [rng.normal(size=count) * np.hanning(count) * 0.03, np.zeros(int(RATE_HZ * rng.uniform(0.2, 0.45)))]
    return np.concatenate(pieces)


def fan(rng):
    """A fan that starts and runs, louder than most."""
    return bench.pink(NOISE_S * RATE_HZ, -28, rng)


def bursts(every_ms, lasting_ms):
    """A sound of noise every so often."""

    def noise(rng):
        wave = np.zeros(NOISE_S * RATE_HZ)
        count = RATE_HZ * lasting_ms // 1000
        for at in range(0, wave.size - count, RATE_HZ * every_ms // 1000):
            wave[at : at + count] = rng.normal(size=count) * 0.05
        return wave

    return noise


def digital(rng):
    """A microphone that is switched off, but sends."""
    return np.zeros(NOISE_S * RATE_HZ)


def feed(endpointer, wave):
    """Every proposal for a wave, frame by frame."""
    pcm = np.clip(wave * 32767, -32768, 32767).astype("<i2")
    frames = range(0, pcm.size // FRAME * FRAME, FRAME)
    return [proposal for at in frames for proposal in endpointer.feed(pcm[at : at + FRAME].tobytes())]


@pytest.mark.parametrize(
    ("noise", "within_ms"),
    [(chords, 4000), (breath, 4000), (fan, 4000), (bursts(100, 30), 8000), (bursts(200, 50), 10_000), (digital, 600)],
    ids=["chords", "breath", "fan", "ten a second", "five a second", "digital silence"],
)
def test_it_ends_the_turn(said, noise, within_ms):
    """Whatever goes on after somebody spoke, the turn ends, and somebody who speaks into it is heard again."""
    rng, (callers, _) = np.random.default_rng(0), said
    endpointer = Endpointer(EndpointConfig(endpoint_ms=500, pause_ms=100), Silero())
    feed(endpointer, bench.pink(3 * RATE_HZ, -65, rng))
    feed(endpointer, callers[0].wave)
    assert endpointer.in_utterance
    spoken = endpointer.samples
    after = feed(endpointer, noise(rng))
    ends = [proposal.at_sample - spoken for proposal in after if isinstance(proposal, Endpoint)]
    assert ends[0] <= within_ms * RATE_HZ // 1000
    assert not endpointer.in_utterance
    assert len(endpointer._levels) <= LEVEL_STEPS
    opened = [type(proposal) for proposal in after if isinstance(proposal, SoundOn | SoundOff | VoiceOn)]
    assert opened.count(SoundOn) - opened.count(SoundOff) - opened.count(VoiceOn) in {0, 1}
    again = feed(endpointer, noise(rng)[: callers[0].wave.size] + callers[0].wave)
    assert VoiceOn in [type(proposal) for proposal in again]


@pytest.mark.parametrize(("snr_db", "echo_db", "p95_ms"), [(20, None, 120), (10, None, 250), (30, -30, 120)])
def test_how_late_a_sound_is_told(said, snr_db, echo_db, p95_ms):
    """Nine onsets of ten and more are told in time, in noise and over the agent's own voice, and none is missed."""
    callers, agent = said
    heard = bench.listen(callers[::3], agent, snr_db, echo_db)
    table = bench.summary(heard.sound_ms)
    assert table["missed"] == 0
    assert table["p50"] <= 90
    assert table["p90"] <= p95_ms


@pytest.mark.parametrize("echo_db", [-40, -20])
def test_the_echo_holds_nothing(said, echo_db):
    """The agent who speaks to nobody for 30 s is held by its own echo at most once."""
    assert bench.false_holds_per_min(said[1], echo_db, minutes=0.5) <= 2


def test_the_measured_delays_are_delays():
    """What others draw from has the conditions of the benchmark, and its quantiles rise."""
    assert set(DELAYS_MS) == set(MISSED) == {*bench.CONDITIONS, "echo"}
    for delays in DELAYS_MS.values():
        for quantiles in delays.values():
            assert len(quantiles) == len(QUANTILES) == len(bench.QUANTILES)
            assert list(quantiles) == sorted(quantiles)
