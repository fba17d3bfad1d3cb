"""Text to speech: which back-end speaks, what the one over HTTP asks and tells, and what counts as drift."""

import json
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from tests.virtual import virtual_time
from tests.world import settings_for_tests
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import Clients
from voiceagent.stages.drift import drift
from voiceagent.stages.endpoints import over_http
from voiceagent.stages.ports import Acquired, StageError, Usage
from voiceagent.stages.tts_realtime import reads_aloud
from voiceagent.twin import TwinServer

FRAME = bytes(960)


@pytest.mark.parametrize(
    ("settings", "realtime"),
    [
        ({}, False),  # the twin speaks over HTTP
        ({"tts_api": "realtime"}, True),
        ({"tts_base_url": "http://tts/v1"}, True),
        ({"tts_base_url": "http://tts/v1", "tts_model": "kokoro"}, False),
        ({"tts_base_url": "http://tts/v1", "tts_model": "kokoro", "tts_api": "realtime"}, True),
        ({"openai_api_key": "sk", "backend": "auto"}, True),
        ({"openai_api_key": "sk", "backend": "auto", "tts_model": "gpt-realtime-2"}, True),
        ({"openai_api_key": "sk", "backend": "auto", "tts_model": "gpt-4o-mini-tts"}, False),
        ({"openai_api_key": "sk", "backend": "auto", "tts_api": "speech"}, False),
    ],
)
def test_which_back_end_speaks(settings, realtime):
    """What is set decides; else a voice model reads aloud, except at the twin, and anything else is asked over HTTP."""
    chosen = settings_for_tests(**settings)
    assert reads_aloud(chosen) is realtime
    assert ("tts" in over_http(chosen)) is not realtime  # or connections would be kept ready that nobody takes


@asynccontextmanager
async def speech(body, content_type="text/event-stream", **settings):
    """Text to speech over HTTP of a service that always answers the same, and what it was asked."""
    asked = []

    async def answer(request):
        asked.append(await request.json())
        return Response(body, media_type=content_type)

    async with TwinServer(Starlette(routes=[Route("/v1/audio/speech", answer, methods=["POST"])])) as service:
        chosen = settings_for_tests(tts_base_url=service.base_url, tts_api="speech", **settings)
        clients = Clients(chosen, service.base_url)
        try:
            yield cascade(clients, chosen).tts, asked
        finally:
            await clients.aclose()


async def spoken(tts, text="One."):
    """All parts of a phrase."""
    async with tts.speak(text) as parts:
        return [part async for part in parts]


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, {}),
        ({"tts_speed": 1.2}, {"speed": 1.2}),
        ({"tts_model": "tts-1", "tts_instructions": "Whisper."}, {}),
        ({"tts_model": "gpt-4o-mini-tts", "tts_instructions": "Whisper."}, {"instructions": "Whisper."}),
        ({"tts_model": "kokoro", "tts_instructions": "Whisper."}, {"instructions": "Whisper."}),
        ({"tts_words": "on"}, {"stream_format": "sse"}),
        ({"tts_voice": "voice_1234"}, {"voice": {"id": "voice_1234"}}),
        ({"tts_model": "kokoro", "tts_voice": "voice_1234"}, {"voice": "voice_1234"}),
    ],
)
def test_what_is_asked_over_http(settings, sent):
    """Only what was set is sent, and instructions only to a model that is not known to refuse them."""

    @virtual_time
    async def run():
        async with speech(FRAME, "audio/pcm", **settings) as (tts, asked):
            await spoken(tts)
            model = settings.get("tts_model", "gpt-realtime-2.1-mini")
            assert asked == [{"model": model, "voice": "marin", "response_format": "pcm", "input": "One.", **sent}]

    run()


@virtual_time
async def test_the_connection_stands_before_the_sound():
    """The first part of a phrase is how its request came by its connection; the second phrase has the first one's."""
    async with speech(FRAME, "audio/pcm") as (tts, _):
        (first, *audio), (second, *_) = await spoken(tts), await spoken(tts)
        assert b"".join(audio) == FRAME
        assert (first.reused, second) == (False, Acquired(0, reused=True))


@virtual_time
async def test_usage_over_http():
    """What a phrase has cost is told behind its sound, where the service says it."""
    events = [
        {"type": "speech.audio.delta", "audio": "AAAA"},
        {"type": "speech.audio.done", "usage": {"input_tokens": 3, "output_tokens": 40, "total_tokens": 43}},
    ]
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    async with speech(body, tts_words="on") as (tts, _):
        assert (await spoken(tts))[1:] == [bytes(3), Usage({"tts_input_tokens": 3, "tts_output_tokens": 40})]


@virtual_time
async def test_words_without_a_sound():
    """An answer without audio is a failure that may be tried again; only where there is nothing to say it is none."""
    for body, kind in ((b"", "audio/pcm"), (b'data: {"type": "speech.audio.done"}\n\n', "text/event-stream")):
        async with speech(body, kind) as (tts, _):
            with pytest.raises(StageError, match=r"^Text to speech at 127\.0\.0\.1:\d+ gave no sound") as error:
                await spoken(tts)
            assert error.value.retryable
            assert await spoken(tts, "...") == []


@virtual_time
async def test_an_error_that_would_come_again():
    """An error in mid-stream is worth another try, unless its code says that it is for good."""
    for code, retryable in (("server_error", True), ("insufficient_quota", False)):
        async with speech(b'data: {"error": {"code": "%b"}}\n\n' % code.encode()) as (tts, _):
            with pytest.raises(StageError) as error:
                await spoken(tts)
            assert (error.value.code, error.value.retryable) == (code, retryable)


@pytest.mark.parametrize(
    ("asked", "said", "words"),
    [
        ("It's nine o'clock.", "it is nine o'clock", 0),
        ("I’m sure: we can't.", "I am sure, we cannot!", 0),
        ("They won't; let's go.", "They will not. Let us go.", 0),
        ("Do it every day - now.", "Do it everyday now", 0),
        ("Ann's dog", "Ann's dog", 0),
        ("It is 21 degrees.", "It is twenty one degrees.", 0),
        ("Call 555-0199 now.", "Call five five five, zero one nine nine now.", 0),
        ("In 1984 he left.", "In nineteen eighty-four he left.", 0),
        ("Twenty to the 3rd.", "20 to the third.", 0),
        ("Straße, café", "STRASSE, cafe\u0301", 0),
        ("It is nine.", "It is ten.", 1),
        ("It is nine.", "It is nine, sir.", 1),
        ("It is nine now.", "It is now.", 1),
        ("I will go home.", "I shall walk home.", 2),
        ("What time is it?", "It is a quarter past nine.", 6),
        ("It is 9.", "It is a nice and rather quiet day today.", 7),
        ("It is 9 now.", "It is now.", 1),
        ("", "Hello there.", 2),
        ("Hello there.", "", 2),
    ],
)
def test_drift(asked, said, words):
    """Words are counted that were changed, added or left out; how a number, a contraction or a space is said is not."""
    assert drift(asked, said) == words
