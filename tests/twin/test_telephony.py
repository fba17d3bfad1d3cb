"""The telephone's formats: by themselves, and in a session whose audio goes both ways in them."""

import base64

import numpy as np
import pytest

from tests.twin.realtime import audio_in, silence, talking, voice
from tests.virtual import virtual_time
from voiceagent.twin import Script
from voiceagent.twin.telephony import FromTelephone, ToTelephone

FORMS = ("audio/pcmu", "audio/pcma")


def encoded(pcm, form, chunk=960):
    """PCM in a telephone's format, encoded in chunks."""
    coder = ToTelephone(form)
    return b"".join(coder.feed(pcm[at : at + chunk]) for at in range(0, len(pcm), chunk))


@pytest.mark.parametrize("form", FORMS)
def test_there_and_back(form):
    """A third of a byte a sample, the same whatever the chunks, and the tone comes back within 4 % of its level."""
    pcm = voice(500)
    there = encoded(pcm, form)
    assert len(there) == 500 * 8
    assert there == encoded(pcm, form, chunk=1001)
    coder = FromTelephone(form)
    back = b"".join(coder.feed(there[at : at + 7]) for at in range(0, len(there), 7))
    assert back == FromTelephone(form).feed(there)
    assert len(back) == len(pcm)
    sent, got = (np.frombuffer(data, dtype="<i2").astype(float) for data in (pcm, back))
    errors = [np.sqrt(np.mean((got[lag + 100 : lag + 10_000] - sent[100:10_000]) ** 2)) for lag in range(40)]
    assert min(errors) < 0.04 * np.sqrt(np.mean(sent**2))


@pytest.mark.parametrize(
    ("form", "levels"),
    [
        ("audio/pcmu", {0x00: -32124, 0x80: 32124, 0xFF: 0, 0x7F: 0, 0xFE: 8, 0x8F: 16764}),
        ("audio/pcma", {0xD5: 8, 0x55: -8, 0xAA: 32256, 0x2A: -32256, 0xD4: 24}),
    ],
)
def test_known_levels(form, levels):
    """The bytes stand for the levels of the standard."""
    for code, level in levels.items():
        pcm = np.frombuffer(FromTelephone(form).feed(bytes([code])), dtype="<i2")
        assert pcm[-1] == level


@pytest.mark.parametrize("form", FORMS)
def test_high_tones_do_not_fold_back(form):
    """What a telephone cannot carry is gone."""
    hiss = (9_000 * np.sin(2 * np.pi * 7_000 / 24_000 * np.arange(24_000))).astype("<i2").tobytes()
    back = np.frombuffer(FromTelephone(form).feed(encoded(hiss, form)), dtype="<i2")
    assert np.abs(back[200:]).max() < 100


@pytest.mark.parametrize("form", FORMS)
def test_a_session_by_telephone(form):
    """What is heard is as long as it was, what is said is a sixth of the bytes, and back in PCM all is as before."""

    @virtual_time
    async def run():
        async with talking(Script(replies=["Hello to you."])) as talk:
            formats = {"input": {"format": {"type": form}}, "output": {"format": {"type": form}}}
            session = await talk.update(audio=formats)
            assert session["audio"]["input"]["format"] == session["audio"]["output"]["format"] == {"type": form}
            await talk.send("input_audio_buffer.append", audio=base64.b64encode(bytes(400 * 8)).decode())
            await talk.send("input_audio_buffer.commit")
            await talk.take(3)
            await talk.send("response.create")
            events = await talk.answered()
            assert talk.engines.of("stt_commit")[0].detail == 400 * 24
            assert len(audio_in(events)) == len(talk.engines.audio("Hello to you.")) // 6
            assert events[-2]["response"]["audio"]["output"]["format"] == {"type": form}
            session = await talk.update(audio={"input": {"format": {"type": "audio/pcm"}}})
            assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
            await talk.hear(silence(100))
            await talk.send("input_audio_buffer.commit")
            assert (await talk.take(1))[0]["type"] == "input_audio_buffer.committed"

    run()
