"""Every sample that goes in and out of the page, against a server that does as the test says."""

import base64

import numpy as np
import pytest

from tests.browser.fake import RECORDING, FakeServer
from voiceagent import protocol

pytestmark = pytest.mark.browser
FADE = 120
EPOCH = {"turn": 1, "epoch": 1}


@pytest.fixture
def fake():
    """A fake server."""
    with FakeServer() as server:
        yield server


@pytest.fixture
def listening(fake, open_page):
    """A page whose every sample is recorded and whose session stands: (page, peer)."""
    page = open_page(fake.url, scripts=[RECORDING])
    page.page.click("#start")
    page.until("window.voiceagent.state === 'listening'")
    page.until("document.getElementById('level').hidden === false")
    yield page, fake.peers[0]
    page.leave()


def reply_pcm(seconds):
    """Sound without a single zero, in which every place looks different."""
    t = np.arange(round(seconds * 24_000))
    return (9_000 + 5_000 * np.sin(t / 37) + 2_000 * np.sin(t / 11.3)).astype("<i2")


def heard(page):
    """What the page played, from its first sound to its last."""
    samples = np.array(page.page.evaluate("window.recording()"))
    (loud,) = np.nonzero(samples)
    return samples[loud[0] : loud[-1] + 1] if loud.size else samples[:0]


def deviation(sound, pcm):
    """By how much the two differ where they differ most, in steps of 16 bits."""
    return np.abs(sound.astype(int) - pcm).max()


def last(peer, kind):
    """The last message of a type that came, or None."""
    return (peer.said(kind) or [None])[-1]


def test_a_reply_is_played_to_the_last_sample(listening):
    """Every sample is played once and in order after a fade of 5 ms; started, played and ended tell of it."""
    page, peer = listening
    pcm = reply_pcm(0.6)
    peer.reply(1, 1, pcm.tobytes())
    peer.send(protocol.ReplyEnd(**EPOCH, samples=pcm.size))
    ended = page.wait(lambda: last(peer, "ended"))
    assert ended.samples == pcm.size
    assert [message.epoch for message in peer.said("started")] == [1]
    assert len(peer.said("played")) in (5, 6)
    sound = heard(page)
    assert sound.size == pcm.size
    assert deviation(sound[FADE:], pcm[FADE:]) <= 1


def test_hold_and_resume(listening):
    """Playback stops within the fade, tells its sample, and goes on from exactly there."""
    page, peer = listening
    pcm = reply_pcm(0.8)
    peer.reply(1, 1, pcm.tobytes())
    page.wait(lambda: peer.said("played"))
    peer.send(protocol.Hold(**EPOCH))
    at = page.wait(lambda: last(peer, "held")).samples
    assert FADE < at < pcm.size
    page.until("window.loudness() === 0")
    peer.send(protocol.Resume(**EPOCH), protocol.ReplyEnd(**EPOCH, samples=pcm.size))
    page.wait(lambda: last(peer, "ended"))
    sound = heard(page)
    (silent,) = np.nonzero(sound == 0)
    before, after = sound[: silent[0]], sound[silent[-1] + 1 :]
    assert at - before.size in (0, 1, 2)  # the fade ends in zeros
    assert after.size == pcm.size - at
    assert deviation(before[FADE : at - FADE - 2], pcm[FADE : at - FADE - 2]) <= 1
    assert deviation(after[FADE:], pcm[at + FADE :]) <= 1


def test_flush(listening):
    """The sound fades, the answer says how much was heard, later frames of the epoch are dropped, the next one plays."""
    page, peer = listening
    pcm = reply_pcm(0.8)
    peer.reply(1, 1, pcm.tobytes())
    page.wait(lambda: peer.said("played"))
    peer.send(protocol.Flush(**EPOCH))
    flushed = page.wait(lambda: last(peer, "flushed")).samples
    assert FADE < flushed < pcm.size
    assert abs(heard(page).size - flushed) <= 2
    peer.reply(1, 1, pcm.tobytes(), first=pcm.size)
    peer.reply(2, 3, pcm[:4800].tobytes())
    peer.send(protocol.ReplyEnd(turn=2, epoch=3, samples=4800))
    ended = page.wait(lambda: last(peer, "ended"))
    assert (ended.epoch, ended.samples) == (3, 4800)
    assert [message.epoch for message in peer.said("started")] == [1, 3]


def test_a_flush_of_what_nobody_heard(listening):
    """A reply that never came is answered with none heard; one that has just ended, with all of it."""
    page, peer = listening
    peer.send(protocol.Flush(**EPOCH))
    assert page.wait(lambda: last(peer, "flushed")).samples == 0
    peer.reply(2, 2, reply_pcm(0.1).tobytes())
    peer.send(protocol.ReplyEnd(turn=2, epoch=2, samples=2400))
    page.wait(lambda: last(peer, "ended"))
    peer.send(protocol.Flush(turn=2, epoch=2))
    page.wait(lambda: len(peer.said("flushed")) == 2)
    assert last(peer, "flushed").samples == 2400


def test_a_hold_that_overtakes_the_audio(listening):
    """What comes before the first frame of its epoch holds for it: nothing sounds until it is resumed."""
    page, peer = listening
    peer.send(protocol.Hold(**EPOCH))
    peer.reply(1, 1, reply_pcm(0.2).tobytes())
    assert page.wait(lambda: last(peer, "held")).samples == 0
    page.page.wait_for_timeout(200)
    assert heard(page).size == 0
    peer.send(protocol.Resume(**EPOCH), protocol.ReplyEnd(**EPOCH, samples=4800))
    assert page.wait(lambda: last(peer, "ended")).samples == 4800


def test_starving_is_not_the_end(listening):
    """When no frames come the page waits; the reply goes on where it stood, and ends once all of it was told."""
    page, peer = listening
    pcm = reply_pcm(0.4)
    peer.reply(1, 1, pcm[:4800].tobytes())
    page.until("window.loudness() > 0")
    page.until("window.loudness() === 0")
    assert peer.said("ended") == []
    peer.reply(1, 1, pcm[4800:].tobytes(), first=4800)
    peer.send(protocol.ReplyEnd(**EPOCH, samples=pcm.size))
    assert page.wait(lambda: last(peer, "ended")).samples == pcm.size
    assert len(peer.said("started")) == 1


def test_a_newer_epoch_replaces(listening):
    """A newer epoch takes the speaker; frames of the older one are dropped."""
    page, peer = listening
    peer.reply(1, 1, reply_pcm(0.8).tobytes())
    page.wait(lambda: peer.said("played"))
    peer.reply(2, 2, reply_pcm(0.1).tobytes())
    peer.reply(1, 1, reply_pcm(0.1).tobytes(), first=19_200)
    peer.send(protocol.ReplyEnd(turn=2, epoch=2, samples=2400))
    ended = page.wait(lambda: last(peer, "ended"))
    assert (ended.turn, ended.epoch, ended.samples) == (2, 2, 2400)


def test_a_filler(listening):
    """It is played, held, flushed and told of like a reply, without a word in the page; the reply follows as its next epoch."""
    page, peer = listening
    peer.send(protocol.State(state="thinking", leaf="thinking", trigger="t", turn=1, epoch=1, at_ms=1))
    pcm = reply_pcm(0.8)
    peer.reply(1, 1, pcm.tobytes(), filler=True)
    peer.send(protocol.ReplyText(turn=1, epoch=1, text="One moment.", first_sample=0))
    page.wait(lambda: peer.said("played"))
    peer.send(protocol.Hold(**EPOCH))
    page.wait(lambda: peer.said("held"))
    assert page.page.inner_text("#state") == "thinking"
    assert page.page.locator(".said").count() == 0
    peer.send(protocol.Resume(**EPOCH), protocol.Flush(**EPOCH))
    peer.reply(1, 2, pcm[:4800].tobytes())
    peer.send(
        protocol.State(state="speaking", leaf="speaking", trigger="t", turn=1, epoch=2, at_ms=1),
        protocol.ReplyText(turn=1, epoch=2, text="Here it is.", first_sample=0),
        protocol.ReplyEnd(turn=1, epoch=2, samples=4800),
    )
    page.wait(lambda: last(peer, "ended"))
    assert [(message.epoch, message.samples) for message in peer.said("ended")] == [(2, 4800)]
    assert [message.epoch for message in peer.said("started")] == [1, 2]
    assert [(message.epoch, message.samples > 0) for message in peer.said("flushed")] == [(1, True)]
    assert page.page.locator(".said").all_inner_texts() == ["Agent\nHere it is."]
    assert page.page.inner_text("#state") == "speaking"


def test_a_filler_to_its_end(listening):
    """Where nothing comes behind it, it ends like a reply; a session that calls it speaking is shown as thinking."""
    page, peer = listening
    peer.reply(1, 1, reply_pcm(0.2).tobytes(), filler=True)
    peer.send(
        protocol.State(state="speaking", leaf="speaking", trigger="t", turn=1, epoch=1, at_ms=1),
        protocol.ReplyEnd(**EPOCH, samples=4800),
    )
    assert page.wait(lambda: last(peer, "ended")).samples == 4800
    assert page.page.inner_text("#state") == "thinking"
    assert page.page.locator(".said").count() == 0


@pytest.mark.parametrize("rate", [48_000, 44_100])
def test_the_microphone(fake, open_page, rate):
    """A tone arrives as the same tone in frames of 20 ms, numbered without a gap, with the times of their capture."""
    page = open_page(fake.url, rate=rate)
    page.page.click("#start")
    peer = page.wait(lambda: fake.peers and fake.peers[0])
    page.wait(lambda: len(peer.frames) > 10)
    tone = (8_000 * np.sin(2 * np.pi * 1_000 * np.arange(36_000) / 24_000)).astype("<i2")
    page.page.evaluate("(audio) => window.say(audio)", base64.b64encode(tone.tobytes()).decode())
    count = len(peer.frames)
    page.wait(lambda: len(peer.frames) > count + 90)
    frames = list(peer.frames)
    page.leave()
    assert [frame.seq for frame in frames] == list(range(len(frames)))
    assert {len(frame.pcm) for frame in frames} == {960}
    times = np.array([frame.captured_ms for frame in frames])
    assert abs(np.median(np.diff(times)) - 20) < 2
    sound = np.frombuffer(b"".join(frame.pcm for frame in frames), "<i2").astype(float)
    assert best_fit(sound, 1_000) < 0.01


def best_fit(sound, hz, window=9_600):
    """How much of the sound is something else than the tone, in the 400 ms where it is purest: 0 to 1."""
    best = 1.0
    for at in range(0, sound.size - window, 480):
        part = sound[at : at + window]
        if np.abs(part).max() < 4_000:
            continue
        phase = 2 * np.pi * hz * np.arange(window) / 24_000
        basis = np.stack([np.sin(phase), np.cos(phase)], axis=1)
        weights, *_ = np.linalg.lstsq(basis, part, rcond=None)
        best = min(best, float(np.linalg.norm(part - basis @ weights) / np.linalg.norm(part)))
    return best


RESAMPLE = """
async ([from, to, hz]) => {
  const { Resampler } = await import("/web/resampler.js");
  const resampler = new Resampler(from, to);
  const out = [];
  for (let at = 0; at < from; at += 128) {
    const block = Float32Array.from({ length: 128 }, (_, i) => 0.5 * Math.sin(2 * Math.PI * hz * (at + i) / from));
    resampler.push(block, (sample) => out.push(sample));
  }
  const middle = out.slice(1000, -1000);
  return [out.length, Math.sqrt(2 * middle.reduce((sum, v) => sum + v * v, 0) / middle.length) / 0.5];
}
"""


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000, 96_000])
def test_the_resampler(fake, open_page, rate):
    """What is below both Nyquist frequencies passes at its level; what is above the lower one is gone, not folded."""
    page = open_page(fake.url)
    for hz in (300, 3_000, 6_000):
        count, gain = page.page.evaluate(RESAMPLE, [rate, 24_000, hz])
        assert abs(count - 24_000) < 100
        assert abs(gain - 1) < 0.02
    if rate > 24_000:
        _, gain = page.page.evaluate(RESAMPLE, [rate, 24_000, 15_000])
        assert gain < 0.001
