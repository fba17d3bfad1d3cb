"""Speech over HTTP: what bytes come, in which shape, and what is refused."""

import asyncio
import base64
import json

import numpy as np
import openai
import pytest


@pytest.fixture
async def speak(target):
    """Ask for speech and return the headers and the chunks as they came."""
    await target.needs("speech")

    async def speak(text="Hello to you.", **fields):
        fields = {"model": target.models["speech"], "voice": target.models["voice"], **fields}
        async with target.client.audio.speech.with_streaming_response.create(input=text, **fields) as response:
            return response.headers, [chunk async for chunk in response.iter_bytes()]

    return speak


async def test_pcm(speak):
    """PCM is headerless 16-bit samples at 24 kHz, sounding, and as long as the words take."""
    headers, chunks = await speak(response_format="pcm")
    pcm = b"".join(chunks)
    assert headers["content-type"].startswith("audio/pcm")
    assert "content-encoding" not in headers
    assert not pcm.startswith(b"RIFF")
    assert len(pcm) % 2 == 0
    samples = np.frombuffer(pcm, dtype="<i2").astype(int)
    assert 0.3 < samples.size / 24_000 < 10
    assert np.abs(samples).max() > 500


async def test_wav(speak):
    """WAV is PCM16 mono at 24 kHz after a header, whatever lengths the header claims."""
    headers, chunks = await speak(response_format="wav")
    wav = b"".join(chunks)
    assert headers["content-type"].startswith("audio/")
    assert (wav[:4], wav[8:16]) == (b"RIFF", b"WAVEfmt ")
    assert wav[20:24] == b"\x01\x00\x01\x00"  # PCM, one channel
    assert int.from_bytes(wav[24:28], "little") == 24_000
    data = wav.index(b"data")
    assert len(wav) - data - 8 > 24_000 * 2 * 0.3


async def test_speed(speak):
    """Half the speed lasts longer."""
    lengths = [len(b"".join((await speak(response_format="pcm", speed=speed))[1])) for speed in (1.0, 0.5)]
    assert lengths[1] > lengths[0] * 1.2 or lengths[1] == lengths[0]  # a scripted voice has one speed


async def test_events(speak):
    """As events: deltas of base64 audio, and usage at the end."""
    headers, chunks = await speak(response_format="pcm", stream_format="sse")
    assert headers["content-type"].startswith("text/event-stream")
    lines = [line for line in b"".join(chunks).decode().splitlines() if line.startswith("data: ")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line != "data: [DONE]"]
    known = [event for event in events if event["type"] in {"speech.audio.delta", "speech.audio.done"}]
    assert {event["type"] for event in known[:-1]} == {"speech.audio.delta"}
    pcm = b"".join(base64.b64decode(event["audio"], validate=True) for event in known[:-1])
    assert len(pcm) > 24_000 * 2 * 0.3
    assert known[-1]["type"] == "speech.audio.done"
    usage = known[-1]["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


async def test_requests_at_once(speak):
    """Several sentences may be asked for at the same time."""
    made = await asyncio.gather(*(speak(text, response_format="pcm") for text in ("One.", "Two and a half.", "Three.")))
    assert all(len(b"".join(chunks)) > 4_800 for _, chunks in made)


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"text": ""}, "input"), ({"speed": 9.0}, "speed"), ({"response_format": "nonsense"}, "response_format")],
)
async def test_bad_requests(speak, fields, param):
    """What is wrong is a bad request before any audio, and names its parameter."""
    with pytest.raises(openai.BadRequestError) as refused:
        await speak(**{"response_format": "pcm", **fields})
    assert refused.value.type == "invalid_request_error"
    assert param in str(refused.value.param) + refused.value.message
