"""The page softens the reply by itself when somebody speaks over it: the meter in levels, the worklets in samples."""

import base64

import numpy as np
import pytest

from tests.browser.fake import RECORDING, FakeServer
from tests.browser.test_page import begin
from tests.browser.test_sound import FADE, heard, reply_pcm
from voiceagent import protocol

pytestmark = pytest.mark.browser
DUCK = 6_000 - FADE
SOFT = 10 ** (-15 / 20)

RENDER = """
async ([base64, steps, seconds]) => {
  // Plays PCM through the worklet, off line: the messages of a step reach it before the step's sample, "duck" by the link.
  const context = new OfflineAudioContext(1, seconds * 24000, 24000);
  await context.audioWorklet.addModule("/web/worklets/playback.js");
  const node = new AudioWorkletNode(context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
  node.connect(context.destination);
  const told = [], levels = [];
  node.port.onmessage = ({ data }) => told.push(data);
  const { port1, port2 } = new MessageChannel();
  port2.onmessage = ({ data }) => levels.push(data);
  node.port.postMessage({ type: "link", port: port1 }, [port1]);
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const pcm = new Int16Array(bytes.buffer);
  const settle = () => new Promise((done) => setTimeout(done, 100)); // the audio thread takes in its messages
  for (const [sample, ...messages] of steps) {
    context.suspend(sample / 24000).then(async () => {
      for (const message of messages) {
        if (message === "duck") port2.postMessage("duck");
        else if (message.type === "frame") node.port.postMessage({ ...message, pcm: pcm.slice() });
        else node.port.postMessage(message);
      }
      await settle();
      context.resume();
    });
  }
  await settle();
  const buffer = await context.startRendering();
  await settle();
  return [Array.from(buffer.getChannelData(0), (v) => v * 32768), told, levels];
}
"""


@pytest.fixture
def fake():
    """A fake server."""
    with FakeServer() as server:
        yield server


@pytest.fixture
def page(fake, open_page):
    """The page, not started."""
    page = open_page(fake.url)
    yield page
    page.leave()


def frame(epoch=1):
    """A frame with all the PCM of a rendering."""
    return {"type": "frame", "turn": 1, "epoch": epoch, "first": 0}


def control(kind, **fields):
    """A message of the server on the first epoch."""
    return {"type": kind, "turn": 1, "epoch": 1, **fields}


def render(page, pcm, steps, seconds=1):
    """Play through the worklet: (samples, what it told, the levels it told)."""
    encoded = base64.b64encode(pcm.tobytes()).decode()
    sound, told, levels = page.page.evaluate(RENDER, [encoded, steps, seconds])
    return np.array(sound), told, levels


def gains(sound, pcm):
    """The gain of each sample."""
    return sound[: pcm.size] / pcm


# ------------------------------------------------------------------------------------------------ the worklet
def test_a_duck(page):
    """The reply is softened by 15 dB within 5 ms, is as loud as before after 250, skips nothing, and does it once."""
    pcm = reply_pcm(0.8)
    sound, told, _ = render(
        page, pcm, [(0, frame(), control("reply_end", samples=pcm.size)), (2_560, "duck"), (3_840, "duck")]
    )
    gain = gains(sound, pcm)
    assert np.all(np.abs(gain[FADE:2_560] - 1) < 1e-4)
    assert np.all(np.abs(gain[2_560 + FADE : 2_560 + DUCK] - SOFT) < 1e-4)
    assert np.all(np.abs(gain[2_560 + 6_000 :] - 1) < 1e-4)
    assert np.abs(np.diff(gain[FADE:])).max() < 1.01 / FADE
    assert [message["samples"] for message in told if message["type"] == "ended"] == [pcm.size]


def test_another_duck(page):
    """After the first is over the next one works as well."""
    pcm = reply_pcm(0.8)
    sound, _, _ = render(page, pcm, [(0, frame()), (2_560, "duck"), (10_240, "duck")])
    gain = gains(sound, pcm)
    assert abs(gain[9_000] - 1) < 1e-4
    assert np.all(np.abs(gain[10_240 + FADE : 10_240 + DUCK] - SOFT) < 1e-4)


def test_a_hold_takes_over(page):
    """A hold silences a softened reply at a sample, and a resume goes on from there at full level."""
    pcm = reply_pcm(0.8)
    steps = [(0, frame()), (2_560, "duck"), (3_840, control("hold")), (12_800, control("resume"))]
    sound, told, _ = render(page, pcm, steps, 2)
    (at,) = [message["samples"] for message in told if message["type"] == "held"]
    assert at == 3_840 + np.ceil(SOFT * FADE)
    assert np.all(sound[at:12_800] == 0)
    gain = sound[12_800 : 12_800 + pcm.size - at] / pcm[at:]
    assert np.all(np.abs(gain[FADE:] - 1) < 1e-4)
    assert gain[0] > 0


def test_a_resume_ends_the_duck(page):
    """Where the server decides before it has held, its resume restores the level at once."""
    pcm = reply_pcm(0.8)
    sound, _, _ = render(page, pcm, [(0, frame()), (2_560, "duck"), (3_840, control("resume"))])
    assert np.all(np.abs(gains(sound, pcm)[3_840 + FADE :] - 1) < 1e-4)


def test_no_duck_without_playback(page):
    """Softening while nothing plays, or while it is held, has no effect on what is played afterwards."""
    pcm = reply_pcm(0.4)
    sound, _, _ = render(page, pcm, [(0, "duck"), (128, frame())])
    assert np.all(np.abs(gains(sound[128:], pcm)[FADE:] - 1) < 1e-4)
    steps = [(0, frame()), (2_560, control("hold")), (3_840, "duck"), (5_120, control("resume"))]
    sound, told, _ = render(page, pcm, steps)
    (at,) = [message["samples"] for message in told if message["type"] == "held"]
    gain = sound[5_120 : 5_120 + pcm.size - at] / pcm[at:]
    assert np.all(np.abs(gain[FADE:] - 1) < 1e-4)


def test_levels(page):
    """The microphone's side is told how loud the speaker is every 256 samples, and once that it is silent."""
    pcm = np.full(4_800, 3_277, "<i2")
    _, _, levels = render(page, pcm, [(0, frame()), (1_280, control("reply_end", samples=4_800))])
    assert len(levels) == 20
    assert all(abs(level + 20) < 0.01 for level in levels[1:18])
    assert levels[-1] == -96


@pytest.mark.parametrize(("kind", "answer"), [("flush", "flushed"), ("hold", "held")])
def test_an_epoch_that_is_superseded(page, kind, answer):
    """What was asked of it is answered although the next epoch's sound is there, and how much was heard is remembered."""
    pcm = reply_pcm(0.4)
    steps = [(0, frame()), (2_560, control(kind), frame(2)), (3_840, control("flush"))]
    sound, told, _ = render(page, pcm, steps)
    answers = [(m["type"], m["epoch"], m["samples"]) for m in told if m["type"] in {"held", "flushed"}]
    assert answers == [(answer, 1, 2_560), ("flushed", 1, 2_560)]
    assert np.all(np.abs(sound[2_560 + 2 * FADE : 2_560 + pcm.size] / pcm[2 * FADE :] - 1) < 0.02)
    assert np.abs(np.diff(sound[:5_000])).max() < 700  # no click


# ------------------------------------------------------------------------------------------------ the meter
METER = """
async (program) => {
  // Each line of the program is so many steps of [microphone, speaker] in dB; returns the steps at which a sound was noticed.
  const { Meter } = await import("/web/meter.js");
  const meter = new Meter();
  const noticed = [];
  let at = 0;
  for (const [steps, microphone, speaker] of program) {
    for (let i = 0; i < steps; i++, at++) {
      if (speaker !== null) meter.played(speaker);
      if (meter.step(microphone)) noticed.push(at);
    }
  }
  return { noticed, floor: meter.floorDb, echo: meter.echoDb };
}
"""
QUIET, LOUD = -60, -20


def meter(page, *program):
    """Run the meter over stretches of (steps of 10 ms, microphone dB, speaker dB or None)."""
    return page.page.evaluate(METER, [list(line) for line in program])


def test_the_meter_notices(page):
    """A sound over the reply is noticed with its fifth step, once; after 100 ms of quiet the next one is a new one."""
    lines = [(300, QUIET), (40, LOUD), (9, QUIET), (20, LOUD), (10, QUIET), (9, LOUD)]
    assert meter(page, *((steps, level, -20) for steps, level in lines))["noticed"] == [304, 383]


def test_the_meter_waits_for_playback(page):
    """Without playback nothing is noticed; a sound that goes on when the reply begins is."""
    assert meter(page, (100, QUIET, None), (50, LOUD, None), (50, QUIET, None))["noticed"] == []
    assert meter(page, (100, QUIET, None), (50, LOUD, None), (50, LOUD, -20))["noticed"] == [150]


def test_a_knock(page):
    """40 ms are no sound yet."""
    assert (
        meter(page, (100, QUIET, -20), (4, LOUD, -20), (1, QUIET, -20), (4, LOUD, -20), (50, QUIET, -20))["noticed"]
        == []
    )


def test_the_noise_floor(page):
    """What is loud in a still room is none in a loud one, once the room has been heard; the floor comes down again."""
    assert meter(page, (100, -60, -20), (20, -48, -20))["noticed"] == [104]
    found = meter(page, (450, -45, -20), (20, -40, -20), (50, -45, -20), (20, -35, -20))
    assert found["noticed"] == [524]
    assert found["floor"] == -45
    assert meter(page, (450, -45, None), (450, -60, None))["floor"] == -60


def test_the_echo_is_learnt(page):
    """A reply that comes back at -10 dB is no sound over it, louder than that is; in the first half second almost nothing is."""
    talk = [line for _ in range(10) for line in ((20, -30, -20), (10, -50, -96))]
    found = meter(page, *talk, (20, -22, -20))
    assert found["echo"] == -10
    assert found["noticed"] == [304]
    assert meter(page, (20, -22, -20))["noticed"] == []


def test_the_echo_comes_late(page):
    """What comes back 250 ms after the reply has ended is still its echo; what comes later is a sound over nothing."""
    learn = (200, -30, -20)
    assert meter(page, learn, (25, -30, None), (50, -60, None))["noticed"] == []
    assert meter(page, (100, -60, -20), (40, -60, None), (50, -30, None))["noticed"] == []


ECHO = """
async ([gains, steps]) => {
  // Speech-like levels come back 120 ms late, for so many steps by each gain; at which steps is a sound noticed?
  const { Meter } = await import("/web/meter.js");
  const meter = new Meter();
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const played = [];
  let level = -30;
  const noticed = [];
  for (let i = 0; i < steps * gains.length; i++) {
    level = random() < 0.05 ? -60 + 45 * random() : Math.max(-60, Math.min(-12, level + 6 * (random() - 0.5)));
    played.push(level);
    meter.played(level);
    const echo = i < 12 ? -96 : played[i - 12] + gains[Math.floor(i / steps)];
    const room = -62 + 4 * random();
    const power = 10 ** (echo / 10) + 10 ** (room / 10);
    if (meter.step(10 * Math.log10(power))) noticed.push(i);
  }
  return noticed;
}
"""


def test_a_person_is_no_echo(page):
    """However long somebody speaks over the reply, it is not learnt as its echo: the next sound is noticed as well."""
    found = meter(page, (200, QUIET, -20), (300, LOUD, -20), (10, QUIET, -20), (300, LOUD, -20))
    assert found["noticed"] == [204, 514]


@pytest.mark.parametrize("gain_db", [-40, -20, -10, 0])
def test_the_reply_does_not_soften_itself(page, gain_db):
    """Speech that comes back as an echo for a minute is noticed at most once, in its first second included."""
    assert len(page.page.evaluate(ECHO, [[gain_db], 6_000])) <= 1


def test_the_volume_is_turned_up(page):
    """A much louder echo than was learnt is taken for a person at first, and for an echo after a few seconds."""
    noticed = page.page.evaluate(ECHO, [[-30, -10], 3_000])
    assert [at for at in noticed if at < 3_000 or at > 4_000] == []
    assert noticed


# ------------------------------------------------------------------------------------------------ the whole page
def speak_over(page, peer, pcm):
    """Play a reply and speak over it; return what was heard once it has ended."""
    tone = (8_000 * np.sin(2 * np.pi * 440 * np.arange(7_200) / 24_000)).astype("<i2")
    peer.reply(1, 1, pcm.tobytes())
    peer.send(protocol.ReplyEnd(turn=1, epoch=1, samples=pcm.size))
    page.wait(lambda: len(peer.said("played")) >= 8)
    count = len(peer.frames)
    page.page.evaluate("(audio) => window.say(audio)", base64.b64encode(tone.tobytes()).decode())
    ended = page.wait(lambda: peer.said("ended"))
    assert ended[0].samples == pcm.size
    assert any(np.abs(np.frombuffer(frame.pcm, "<i2")).max() > 4_000 for frame in peer.frames[count:]) or page.muted
    sound = heard(page)
    assert sound.size == pcm.size
    return sound / pcm


def test_speaking_over_the_reply(fake, open_page):
    """Sound in the microphone softens the reply for at most 250 ms; every sample of it is played, and the server hears all."""
    page = open_page(fake.url, scripts=[RECORDING])
    page.muted = False
    gain = speak_over(page, begin(page, fake), reply_pcm(2.4))
    (soft,) = np.nonzero(gain[FADE:] < 0.9)
    assert 0 < soft.size <= 6_000
    assert soft[-1] - soft[0] + 1 == soft.size
    assert abs(gain[FADE + soft[soft.size // 2]] - SOFT) < 0.01
    page.leave()


@pytest.mark.parametrize("why", ["muted", "half-duplex"])
def test_when_nothing_is_softened(fake, open_page, why):
    """A muted microphone softens nothing, and none does where the server lets nobody interrupt."""
    fake.welcome = {"barge_in": why != "half-duplex"}
    page = open_page(fake.url, scripts=[RECORDING])
    page.muted = why == "muted"
    peer = begin(page, fake)
    if page.muted:
        page.page.click("#mute")
    gain = speak_over(page, peer, reply_pcm(2.4))
    assert np.all(gain[FADE:] > 0.99)
    page.leave()
