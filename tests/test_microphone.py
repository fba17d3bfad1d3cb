"""The microphone between the ears and the STT: levels against the caller's own, echo, and what is kept."""

import numpy as np
import pytest

from voiceagent.audio import RATE_HZ, samples_to_us
from voiceagent.clockmap import ClockMap
from voiceagent.endpointing import Endpoint, EndpointConfig, Endpointer, Loudness, Pause, VoiceOn
from voiceagent.events import SoundOff, SoundOn, VoiceEnded, VoiceLevel, VoicePaused
from voiceagent.events import VoiceOn as VoiceBegan
from voiceagent.microphone import KEPT_SAMPLES, Microphone
from voiceagent.protocol import MicFrame
from voiceagent.twin.scripted import tone

FRAME = 480
START_US = 1_000_000


class Stt:
    """A speech to text that takes no notice."""

    def open(self, item):
        pass

    def append(self, pcm):
        pass

    def commit(self, item):
        pass


class Scripted:
    """Ears that propose what they are told to."""

    def __init__(self):
        self.next, self.echo, self.in_utterance = [], [], False

    def feed(self, pcm, echo_dbfs=None):
        self.echo.append(echo_dbfs)
        proposals, self.next = self.next, []
        return proposals


class Room:
    """A microphone whose time is that of the samples that it took."""

    def __init__(self, ears=None, **options):
        self.samples = 0
        self.ears = ears or Endpointer(EndpointConfig(endpoint_ms=500, pause_ms=200))
        self.mic = Microphone(self.ears, Stt(), ClockMap(), pre_roll_us=0, now_us=lambda: self.now_us, **options)

    @property
    def now_us(self):
        return START_US + samples_to_us(self.samples)

    def take(self, ms, dbfs=None):
        """Take in silence, or a tone as loud as that; return the facts."""
        facts = []
        for _ in range(0, ms, 20):
            pcm = bytes(2 * FRAME)
            if dbfs is not None:
                wave = np.frombuffer(tone(FRAME, self.samples), "<i2") * 10 ** ((dbfs + 20) / 20)
                pcm = wave.astype("<i2").tobytes()
            self.samples += FRAME
            facts += self.mic.frame(MicFrame(0, 0.0, pcm))
        return facts

    def say(self, ears, level_dbfs, voiced_ms=400):
        """Have the scripted ears hear an utterance of this level; return what is made of it."""
        at, voiced = self.samples, voiced_ms * 24
        ears.next = [
            VoiceOn(at, at), Loudness(at, level_dbfs),
            Pause(at, at, voiced, level_dbfs), Endpoint(at, at, voiced, level_dbfs),
        ]  # fmt: skip
        return [fact.level_db for fact in self.take(20) if isinstance(fact, VoiceLevel | VoicePaused | VoiceEnded)]

    def reply(self, ms):
        """Send so much of a reply to the speaker."""
        self.mic.playing(self.now_us, tone(ms * 24))


def test_the_level_is_told_against_the_usual_one():
    """Nothing is known before the first utterance; then the same level is 0, and somebody farther off is below it."""
    room = Room()
    room.take(500)
    first = [*room.take(500, dbfs=-20), *room.take(600)]
    assert [f.level_db for f in first if isinstance(f, VoiceLevel | VoicePaused | VoiceEnded)] == [None] * 3
    again = [*room.take(500, dbfs=-20), *room.take(600)]
    assert [f.level_db for f in again if isinstance(f, VoiceLevel | VoicePaused | VoiceEnded)] == pytest.approx(
        [0] * 3, abs=0.5
    )
    aside = [*room.take(500, dbfs=-32), *room.take(600)]
    assert [f.level_db for f in aside if isinstance(f, VoiceLevel | VoicePaused | VoiceEnded)] == pytest.approx(
        [-12] * 3, abs=0.5
    )


def test_voiced_time_is_told():
    """A pause and an end say how long the voice has lasted."""
    room = Room()
    room.take(500)
    facts = [*room.take(300, dbfs=-20), *room.take(600)]
    assert [fact.voiced_us for fact in facts if isinstance(fact, VoicePaused | VoiceEnded)] == [300_000, 300_000]


def test_the_usual_level_is_learnt_from_what_tells_it():
    """Neither short utterances nor those over a reply change it; the louder ones count for more, as the caller is near."""
    ears = Scripted()
    room = Room(ears)
    assert room.say(ears, -20, voiced_ms=299) == [None] * 3
    assert room.say(ears, -20) == [None] * 3
    room.reply(100)
    assert room.say(ears, -10) == [10] * 3
    room.take(1000)
    assert room.say(ears, -30) == [-10] * 3
    assert room.say(ears, -22) == [0] * 3
    assert room.say(ears, -12) == [10] * 3
    assert room.say(ears, -18) == [0] * 3


@pytest.mark.parametrize("quieter_db", [8, 14, 20])
def test_somebody_else_stays_somebody_else(quieter_db):
    """Side speech is 6 dB or more below the usual level, and the caller above that, in spite of a spread of 3 dB."""
    rng, ears = np.random.default_rng(1), Scripted()
    room = Room(ears)
    room.say(ears, -25 + rng.uniform(-3, 3))
    for _ in range(40):
        assert room.say(ears, -25 + rng.uniform(-3, 3))[0] > -6
        room.reply(100)  # what is said over a reply is judged, and not learnt
        assert room.say(ears, -27 - quieter_db + rng.uniform(-1, 1))[0] < -6
        room.take(1000)


def test_the_echo_is_asked_for_while_something_is_played():
    """The ears get a gate from the first reply on until half a second after it; never if it is switched off."""
    ears = Scripted()
    room = Room(ears)
    room.take(20)
    room.reply(100)
    room.take(700)
    gates = [gate is not None for gate in ears.echo]
    assert gates == [False] + [True] * 30 + [False] * 5
    off = Room(Scripted(), echo_gate=False)
    off.reply(1000)
    off.mic.silent()
    off.mic.resumed(0)
    off.mic.echo_gain(-10)
    off.take(500)
    assert set(off.ears.echo) == {None}


def test_the_agents_own_voice_is_no_sound():
    """A reply that comes back 20 dB quieter is passed over; the caller, who is louder, is heard."""
    room = Room()
    room.take(1000)
    facts = []
    for _ in range(25):
        room.reply(20)
        facts += room.take(20, dbfs=-40)
    assert facts == []
    room.reply(200)
    assert [type(fact) for fact in room.take(100, dbfs=-22)] == [SoundOn, VoiceBegan]


def test_without_the_gate_the_agent_is_heard():
    """The same echo is a sound where the gate is off."""
    room = Room(echo_gate=False)
    room.take(1000)
    room.reply(500)
    assert [type(fact) for fact in room.take(200, dbfs=-40)][:1] == [SoundOn]


def test_after_a_hold_quieter_voices_are_heard():
    """What is held does not come back: half a second later nothing hides behind it; and after the resume it does again."""
    room = Room(Endpointer(EndpointConfig(endpoint_ms=500, pause_ms=200, min_speech_ms=600)))
    room.take(1000)
    room.reply(3000)
    room.take(100)
    room.mic.silent()
    held = room.take(600, dbfs=-45) + room.take(200)
    assert [type(fact) for fact in held] == [SoundOn, SoundOff]
    room.mic.resumed(800_000)
    assert room.take(600, dbfs=-45) == []


def test_the_pages_own_test_is_believed():
    """An echo that the page has measured is expected from the first word on."""
    for gain_db, kinds in ((-12, []), (-50, [SoundOn])):
        room = Room()
        room.mic.echo_gain(gain_db)
        room.take(1000)
        room.reply(200)
        assert [type(fact) for fact in room.take(60, dbfs=-35)] == kinds


def test_what_is_kept_for_a_model_of_turns():
    """It gets the last 8 s at 16 kHz, or what there is; an hour of frames is not kept."""
    room = Room(Scripted())
    room.take(1000, dbfs=-20)
    assert room.mic.recent_16k().size == 16_000
    room.take(20_000, dbfs=-20)
    assert room.mic.recent_16k().size == 8 * 16_000
    assert len(room.mic._kept) <= 2 * (KEPT_SAMPLES + RATE_HZ)


def test_no_voice_ends_before_it_began():
    """What comes in a rush after a stall was spoken in order: an end is never told to lie before its beginning."""
    room = Room(Scripted())
    room.take(200)
    late_us = room.now_us
    frames = [MicFrame(10 + number, 0.0, bytes(2 * FRAME)) for number in range(10)]
    ends = []
    for number, frame in enumerate(frames):  # all of it in one moment
        first = room.samples + number * FRAME
        room.ears.next = [VoiceOn(first + 10, first + FRAME - 1), Pause(first + 10, first + FRAME)]
        ends.append(
            [fact.onset_us if isinstance(fact, VoiceBegan) else fact.speech_end_us for fact in room.mic.frame(frame)]
        )
    told = [at_us for pair in ends for at_us in pair]
    assert told == sorted(told)
    assert max(told) <= late_us
