"""The echo gate: what was played, moved by holds, and what of it comes back."""

import numpy as np
import pytest

from voiceagent.audio import RATE_HZ, SILENCE_DBFS
from voiceagent.echo import KEPT_BINS, MARGIN_DB, START_GAIN_DB, EchoGate
from voiceagent.endpointing import EndpointConfig, Endpointer, SoundOn

S = 1_000_000
MS = 1_000


def reply(ms):
    """A tone of 1 kHz at -20 dBFS."""
    at = np.arange(ms * RATE_HZ // 1000) / RATE_HZ
    return (32768 * 0.1 * 2**0.5 * np.sin(2000 * np.pi * at)).astype("<i2").tobytes()


def play(gate, from_us, ms, mic_dbfs=None, frame_ms=40):
    """Play for so long, frame by frame, while the microphone takes in what it says."""
    for at_ms in range(0, ms, frame_ms):
        at_us = from_us + at_ms * MS
        gate.playing(at_us, reply(frame_ms))
        if mic_dbfs is not None:
            gate.heard(at_us, np.full(frame_ms // 10, mic_dbfs, dtype=np.float32))


def expects(gate, at_us):
    """How loud the playback is believed to be in the microphone, without gain and margin."""
    expected = gate.expected_dbfs(at_us)
    return None if expected == SILENCE_DBFS else round(expected - gate.gain_db - MARGIN_DB, 0)


def test_nothing_is_expected_of_silence():
    """Before anything was played, and long after it, no echo is expected."""
    gate = EchoGate()
    assert gate.expected_dbfs(10 * S) == SILENCE_DBFS
    gate.playing(10 * S, reply(40))
    assert gate.expected_dbfs(9 * S) == SILENCE_DBFS
    assert gate.expected_dbfs(20 * S) == SILENCE_DBFS


def test_the_window_and_the_tail():
    """It is expected from 20 ms before to 250 ms after its moment, and then fades by 60 dB a second."""
    gate = EchoGate()
    gate.playing(10 * S, reply(40))
    assert expects(gate, 10 * S - 30 * MS) is None
    assert expects(gate, 10 * S - 20 * MS) == -20
    assert expects(gate, 10 * S + 280 * MS) == -20
    assert expects(gate, 10 * S + 380 * MS) == -26
    assert expects(gate, 10 * S + 30 * MS + 250 * MS + 800 * MS) == -68
    assert expects(gate, 10 * S + 1100 * MS) is None


def test_what_is_dropped_is_not_expected():
    """After a flush the rest never comes: only what was on its way, and its tail."""
    gate = EchoGate()
    play(gate, 10 * S, 4000)
    gate.silent(11 * S)
    assert expects(gate, 11 * S + 300 * MS) == -20
    assert expects(gate, 12 * S) < -50
    assert expects(gate, 13 * S) is None


def test_what_is_held_is_played_later():
    """After a hold nothing is expected; after the resume it is, so much later as it was held."""
    gate = EchoGate()
    play(gate, 10 * S, 2000)
    gate.silent(11 * S)
    assert expects(gate, 13 * S) is None
    gate.resumed(14 * S, 3 * S)
    assert expects(gate, 14 * S - 100 * MS) is None
    assert expects(gate, 14 * S) == -20
    assert expects(gate, 15 * S - 10 * MS) == -20
    assert expects(gate, 15 * S + 850 * MS) < -50
    assert expects(gate, 16 * S + 100 * MS) is None


def test_a_held_position_that_was_corrected():
    """If the speaker was found to be 100 ms behind, the resume begins that much earlier in what was played."""
    gate = EchoGate()
    play(gate, 10 * S, 1000)
    gate.silent(11 * S)
    gate.resumed(14 * S, 3 * S + 100 * MS)  # 100 ms were not heard before the hold
    assert expects(gate, 14 * S) == -20
    assert expects(gate, 14 * S + 90 * MS + 250 * MS) == -20
    assert expects(gate, 14 * S + 90 * MS + 350 * MS) == -26


def test_the_ring_is_bounded_and_survives_gaps():
    """An hour of replies leaves nothing behind, and what is too old is dropped."""
    gate = EchoGate()
    for minute in range(60):
        play(gate, minute * 60 * S, 200)
    assert gate._bins.size == KEPT_BINS
    assert (gate._bins > SILENCE_DBFS).sum() == 20
    gate.playing(0, reply(40))
    assert expects(gate, 0) is None


@pytest.mark.parametrize("echo_db", [-45, -30, -22])
def test_the_gain_is_learnt(echo_db):
    """After two seconds of playback the gain is that of the echo."""
    gate = EchoGate()
    play(gate, 10 * S, 2500, mic_dbfs=-20 + echo_db)
    assert gate.gain_db == pytest.approx(echo_db, abs=0.5)


def test_a_loud_echo_is_learnt_fast():
    """An echo far above what was assumed raises the gain within 200 ms of playback."""
    gate = EchoGate()
    play(gate, 10 * S, 200, mic_dbfs=-26)
    assert gate.gain_db == pytest.approx(-6, abs=0.5)


def test_no_echo_makes_the_ears_keen():
    """A microphone that shows nothing while a reply is played is believed: the gain falls to its least."""
    gate = EchoGate()
    play(gate, 10 * S, 900, mic_dbfs=-90)
    assert gate.gain_db == START_GAIN_DB
    play(gate, 11 * S, 1000, mic_dbfs=-90)
    assert gate.gain_db == -60


def test_the_caller_is_not_learnt_as_echo():
    """Somebody who speaks over a reply raises the gain slowly, and not at all by what came just before a hold."""
    gate = EchoGate()
    play(gate, 10 * S, 4000, mic_dbfs=-60)
    assert gate.gain_db == pytest.approx(-40, abs=0.5)
    play(gate, 14 * S, 80, mic_dbfs=-20)
    gate.silent(14 * S + 80 * MS)
    play(gate, 20 * S, 400, mic_dbfs=-60)
    assert gate.gain_db == pytest.approx(-40, abs=0.5)
    play(gate, 21 * S, 600, mic_dbfs=-20)
    assert -40 < gate.gain_db < -37


def test_what_held_falsely_is_learnt():
    """A hold that was let go again was no caller: what made it counts as echo, and the next one is not so easy."""
    gate = EchoGate()
    play(gate, 10 * S, 80, mic_dbfs=-26)
    gate.silent(10 * S + 80 * MS)
    assert gate.gain_db == START_GAIN_DB
    gate.resumed(10 * S + 400 * MS, 320 * MS)
    gate.playing(10 * S + 400 * MS, reply(200))
    gate.heard(10 * S + 400 * MS, np.full(12, -26, dtype=np.float32))
    assert gate.gain_db == pytest.approx(-6, abs=0.5)


def test_what_may_be_echo_is_no_sound():
    """For the ears, what does not stand above the expected echo is not loud; they ask by the sample, where it matters."""
    asked = []

    def echo(sample):
        asked.append(sample // 24)
        return -15.0 if sample < 800 * 24 else -25.0

    pcm = bytes(500 * 48) + reply(500)
    assert Endpointer(EndpointConfig(endpoint_ms=500, pause_ms=200)).feed(pcm, echo)[0] == SoundOn(860 * 24, 800 * 24)
    assert asked == list(range(500, 1000, 10))
