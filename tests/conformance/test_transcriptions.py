"""Transcription of files: as JSON, as text, and what is refused."""

import io

import openai
import pytest
import soundfile

from voiceagent.twin.scripted import tone


@pytest.fixture
async def transcribe(target):
    """``audio.transcriptions.create`` with the model under test."""
    await target.needs("transcriptions")

    async def transcribe(sound, **fields):
        fields = {"model": target.models["file"], **fields}
        return await target.client.audio.transcriptions.create(file=("speech.wav", sound, "audio/wav"), **fields)

    return transcribe


def wav(pcm, rate_hz=24_000):
    """PCM16 as a file."""
    made = io.BytesIO()
    with soundfile.SoundFile(made, "w", samplerate=rate_hz, channels=1, format="WAV", subtype="PCM_16") as sound:
        sound.buffer_write(pcm, dtype="int16")
    return made.getvalue()


async def test_json(transcribe, spoken):
    """JSON is the default: the words, and what they cost."""
    heard = await transcribe(wav(spoken))
    assert isinstance(heard.text, str)
    if heard.usage is not None:
        assert heard.usage.type in {"tokens", "duration"}
    assert heard == await transcribe(wav(spoken), response_format="json")


async def test_text(transcribe, spoken):
    """As text it is the words alone."""
    heard = await transcribe(wav(spoken), response_format="text")
    assert heard.strip() == (await transcribe(wav(spoken))).text.strip()


async def test_any_rate(transcribe):
    """A file may have another rate than a Realtime session."""
    assert isinstance((await transcribe(wav(tone(16_000), 16_000))).text, str)


async def test_stream(target, transcribe, spoken):
    """Streamed: deltas that add up to the text of the last event; a server that cannot answers in JSON."""
    deltas, last = "", None
    async for event in await transcribe(wav(spoken), stream=True):
        if event.type == "transcript.text.delta":
            deltas += event.delta
        last = event
    if last is None:
        assert not target.is_twin
        pytest.skip("does not stream transcripts")
    assert last.type == "transcript.text.done"
    assert last.text == deltas


@pytest.mark.parametrize("sound", [b"", b"this is no sound"])
async def test_not_audio(transcribe, sound):
    """What is no audio is a bad request."""
    with pytest.raises(openai.BadRequestError) as refused:
        await transcribe(sound)
    assert refused.value.type == "invalid_request_error"


async def test_nothing_sent(target, transcribe):
    """Neither file nor model: a bad request that names one of them."""
    with pytest.raises(openai.BadRequestError) as refused:
        await target.client.post("/audio/transcriptions", cast_to=object, body={})
    assert refused.value.body["message"]
