"""``voiceagent call``: sound files of any kind, a speaker in software, and what the command says."""

import asyncio
import json
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from tests.running_server import served
from tests.virtual import virtual_time
from voiceagent import protocol
from voiceagent.caller import Call, CallError, websocket_url
from voiceagent.soundfiles import SoundFileError, read_speech
from voiceagent.speaker import Speaker
from voiceagent.twin.scripted import tone

RATE = protocol.RATE_HZ


def sine(seconds, rate_hz, channels=1):
    """A 440 Hz tone as floats."""
    mono = 0.25 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)
    return np.repeat(mono[:, None], channels, axis=1)


# ------------------------------------------------------------------------------------------ sound files
@pytest.mark.parametrize(
    ("suffix", "subtype", "rate_hz", "channels"),
    [
        ("wav", "PCM_16", 24_000, 1),
        ("wav", "PCM_16", 44_100, 2),
        ("wav", "PCM_U8", 8_000, 1),
        ("wav", "PCM_24", 48_000, 6),
        ("wav", "FLOAT", 16_000, 1),
        ("wav", "ULAW", 8_000, 1),
        ("flac", "PCM_16", 96_000, 2),
        ("ogg", "VORBIS", 48_000, 1),
    ],
)
def test_any_sound_file(tmp_path, suffix, subtype, rate_hz, channels):
    """Any rate, width and number of channels becomes the same second of 440 Hz at 24 kHz."""
    path = tmp_path / f"sound.{suffix}"
    soundfile.write(path, sine(1, rate_hz, channels), rate_hz, subtype=subtype)
    samples = np.frombuffer(read_speech(path), "<i2").astype(float)
    assert abs(samples.size - RATE) <= RATE // 100
    spectrum = np.abs(np.fft.rfft(samples[:RATE] * np.hanning(samples[:RATE].size)))
    assert abs(int(spectrum.argmax()) * RATE / samples[:RATE].size - 440) < 2
    assert abs(np.sqrt((samples**2).mean()) / 32768 - 0.25 / np.sqrt(2)) < 0.01


@pytest.mark.parametrize("claimed", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_header_that_lies(tmp_path, claimed):
    """What is there is played, whatever the header says about its length."""
    path = tmp_path / "sound.wav"
    soundfile.write(path, sine(1, RATE), RATE, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"data") + 4, claimed)
    path.write_bytes(data)
    assert len(read_speech(path)) == RATE * 2


def test_a_truncated_file(tmp_path):
    """A file that was cut off is played as far as it goes, whole samples only."""
    path = tmp_path / "sound.wav"
    soundfile.write(path, sine(1, RATE, 2), RATE, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: 44 + 4 * 1000 + 3])
    assert len(read_speech(path)) == 2000


@pytest.mark.parametrize("content", [b"", b"no sound", b"RIFF\x00\x00\x00\x00WAVE", bytes(5000)])
def test_no_sound_file(tmp_path, content):
    """What is no sound file is one sentence with its name."""
    path = tmp_path / "thing.wav"
    path.write_bytes(content)
    with pytest.raises(SoundFileError, match=r"thing\.wav"):
        read_speech(path)
    with pytest.raises(SoundFileError, match="cannot be read"):
        read_speech(tmp_path / "nowhere.wav")


# ------------------------------------------------------------------------------------------ the speaker
def frames(pcm, epoch=1):
    """The reply frames of an epoch."""
    return [protocol.ReplyFrame(1, epoch, at // 2, pcm[at : at + 1920]) for at in range(0, len(pcm), 1920)]


def test_the_speaker_plays_by_the_clock():
    """It starts after 40 ms, tells every 100 ms what was heard, and says when all of it was."""
    told = []
    speaker = Speaker(told.append)
    for frame in frames(tone(RATE // 4)):
        speaker.frame(frame, 0.0)
    speaker.control(protocol.ReplyEnd(turn=1, epoch=1, samples=RATE // 4), 0.0)
    for tick in range(1, 40):
        speaker.advance(tick / 100)
    assert [(message.type, getattr(message, "samples", None)) for message in told] == [
        ("started", None), ("played", 2400), ("played", 4800), ("ended", 6000),
    ]  # fmt: skip
    assert bytes(speaker.heard) == tone(RATE // 4)


def test_hold_resume_and_flush():
    """A hold stands still at a sample, a resume goes on from it, and a flush drops the rest and what comes late."""
    told = []
    speaker = Speaker(told.append)
    for frame in frames(tone(RATE)):
        speaker.frame(frame, 0.0)
    speaker.advance(0.04)
    speaker.control(protocol.Hold(turn=1, epoch=1), 0.14)
    speaker.advance(0.5)
    speaker.control(protocol.Resume(turn=1, epoch=1), 1.0)
    speaker.control(protocol.Flush(turn=1, epoch=1), 1.1)
    speaker.frame(frames(tone(RATE))[0], 1.1)
    speaker.advance(2.0)
    kinds = [(message.type, message.samples) for message in told if message.type in {"held", "flushed"}]
    assert kinds == [("held", 2400), ("flushed", 4800)]
    assert bytes(speaker.heard) == tone(4800)
    assert speaker.playing is None


def test_starving_is_not_the_end():
    """When the audio is late the speaker waits, and goes on from where it was."""
    told = []
    speaker = Speaker(told.append)
    first, second = frames(tone(1920))
    speaker.frame(first, 0.0)
    speaker.advance(0.04)
    speaker.advance(0.5)
    speaker.frame(second, 0.5)
    speaker.advance(0.54)
    assert bytes(speaker.heard) == tone(1920)
    assert "ended" not in {message.type for message in told}


# ------------------------------------------------------------------------------------------ addresses, and the command
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/ws"),
        ("https://host/", "wss://host/ws"),
        ("wss://host/agent/ws", "wss://host/agent/ws"),
        ("localhost:8000", "ws://localhost:8000/ws"),
    ],
)
def test_addresses(url, expected):
    """A server's address in any form leads to its WebSocket."""
    assert websocket_url(url) == expected


def test_no_address():
    """Anything else is one sentence."""
    with pytest.raises(CallError, match="is not the address"):
        websocket_url("gopher://host")


def call(*arguments):
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "voiceagent.cli", "call", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("kind", ["stereo", "8bit", "truncated"])
async def test_the_command(tmp_path, kind, monkeypatch):
    """A stereo 44.1 kHz file, an 8-bit one and a truncated one each play through `call`; the JSON has its keys."""
    import asyncio

    path = tmp_path / "q.wav"
    rate_hz, subtype, channels = {"stereo": (44_100, "PCM_16", 2), "8bit": (8_000, "PCM_U8", 1)}.get(
        kind, (24_000, "PCM_16", 1)
    )
    soundfile.write(path, sine(1, rate_hz, channels), rate_hz, subtype=subtype)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:30_001])
    # A tone is no speech to Silero; here the energy gate alone decides.
    monkeypatch.setattr("voiceagent.backends.Silero", lambda: None)
    async with served() as s:
        saved = tmp_path / "reply.wav"
        ran = await asyncio.to_thread(call, "--json", "--url", s.url, "--save", str(saved), str(path))
        assert ran.returncode == 0, ran.stderr
        report = json.loads(ran.stdout)
        assert report["errors"] == []
        (turn,) = report["turns"]
        assert turn["transcript"] == "hello"
        assert turn["reply"] == turn["heard"] == "It is nine in the morning."
        assert turn["interrupted"] is False
        assert turn["response_gap_ms"] > 0
        assert turn["reply_audio_s"] == 0.125
        assert len(read_speech(saved)) == 0.125 * RATE * 2


def test_the_command_says_what_is_wrong(tmp_path):
    """No server, no file, no sound: one sentence, and a code."""
    nowhere = call("--url", "http://127.0.0.1:1", "--text", "x")
    assert (nowhere.returncode, nowhere.stdout.count("\n") > 0) == (1, True)
    assert nowhere.stderr == "voiceagent: No voiceagent server answers at 127.0.0.1:1: start one with `make run`.\n"
    bad = tmp_path / "bad.wav"
    bad.write_text("x")
    ran = call("--json", str(bad))
    assert ran.returncode == 1
    assert json.loads(ran.stdout)["turns"] == []
    assert "is not a sound file" in json.loads(ran.stdout)["errors"][0]
    assert call().returncode == 2


def test_here_is_a_worked_example():
    """The client's file is short enough to be read as one."""
    path = Path(__file__).parents[1] / "src" / "voiceagent" / "caller.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


# ------------------------------------------------------------------------------------------ waiting
@virtual_time
async def test_a_long_answer_is_heard_out():
    """The limit is on silence: of an answer that goes on everything is waited for; of one that stands still not."""
    call = Call("ws://127.0.0.1:9/ws", [], timeout_s=30)
    loop, began_s = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    call.speaker = SimpleNamespace(playing=1, heard_ms=lambda _: min(loop.time() - began_s, 100) * 1000)

    async def play():
        while True:
            await asyncio.sleep(1)
            call._happened.set()

    playing = asyncio.create_task(play())
    assert await call._until(lambda: loop.time() >= began_s + 90, 30)
    assert not await call._until(lambda: False, 30)
    assert loop.time() == began_s + 130
    playing.cancel()
