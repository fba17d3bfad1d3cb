"""The stages' clients through the real SDK against the twin: the audio's way to its words, and failures in words."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from tests.virtual import virtual_time
from tests.world import settings_for_tests
from voiceagent.events import FinalTranscript, PartialTranscript, SttFailed
from voiceagent.heard import WordMark
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import Clients, Endpoint
from voiceagent.stages.ports import StageError
from voiceagent.twin import Script, ScriptedEngines, TwinServer, create_twin

FRAME = bytes(960)


@asynccontextmanager
async def stages(script, *, api_key=None, **settings):
    """The stages of a session over a twin, with the facts that the STT posts."""
    engines = ScriptedEngines(script)
    async with TwinServer(create_twin(engines, api_key)) as twin:
        chosen = settings_for_tests(connect_timeout_s=2, **settings)
        clients = Clients(chosen, twin.base_url)
        facts = []
        made = cascade(clients, chosen)
        stt = made.stt(facts.append)
        running = asyncio.create_task(stt.run())
        try:
            yield engines, made, stt, facts
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await clients.aclose()


async def say(stt, item, frames=50):
    """Speak so many frames of 20 ms into an item and commit it."""
    stt.open(item)
    for _ in range(frames):
        stt.append(FRAME)
        await asyncio.sleep(0.02)
    stt.commit(item)


def finals(facts):
    """The final transcripts by item."""
    return {fact.item: fact.text for fact in facts if isinstance(fact, FinalTranscript)}


@virtual_time
async def test_items_are_matched():
    """Each item gets its own words, also when it is committed before the one in front of it is answered."""
    async with stages(Script(transcripts=["one", "two", "three"], stt_delay_ms=1500)) as (_, _, stt, facts):
        for item in (1, 2, 3):
            await say(stt, item)
        await asyncio.sleep(2)
        assert finals(facts) == {1: "one", 2: "two", 3: "three"}


@virtual_time
async def test_partials_grow():
    """Partial transcripts replace each other and only grow."""
    async with stages(Script(transcripts=["what time is it now"])) as (_, _, stt, facts):
        await say(stt, 1)
        await asyncio.sleep(0.2)
        partials = [fact.text for fact in facts if isinstance(fact, PartialTranscript)]
        assert partials == ["what", "what time", "what time is", "what time is it", "what time is it now"]


@virtual_time
async def test_audio_before_the_connection_is_not_lost():
    """What is said before the session is configured is sent once it is."""
    async with stages(Script(transcripts=["hello"])) as (engines, _, stt, facts):
        stt.open(1)
        stt.append(FRAME * 40)
        stt.commit(1)
        await asyncio.sleep(0.5)
        assert finals(facts) == {1: "hello"}
        assert engines.of("stt_commit")[0].detail == 480 * 40


@virtual_time
async def test_a_dropped_connection_loses_no_sample():
    """A connection that dies at the commit is opened anew, and the whole item is sent again: every sample of it."""
    async with stages(Script(transcripts=["first", "second"], stt_drop={1})) as (engines, _, stt, facts):
        await say(stt, 1, frames=60)
        await asyncio.sleep(1)
        assert [entry.detail for entry in engines.of("stt_commit")] == [480 * 60, 480 * 60]
        assert finals(facts) == {1: "second"}
        assert [fact.item for fact in facts if isinstance(fact, SttFailed)] == [0]


@virtual_time
async def test_a_short_word_is_padded():
    """An item of less than 100 ms is made long enough to be committed."""
    async with stages(Script(transcripts=["a"])) as (engines, _, stt, facts):
        await say(stt, 1, frames=3)
        await asyncio.sleep(0.2)
        assert engines.of("stt_commit")[0].detail == 480 * 6
        assert finals(facts) == {1: "a"}


@virtual_time
async def test_an_item_without_audio_is_empty():
    """Nothing appended is an empty transcript, not a request."""
    async with stages(Script()) as (engines, _, stt, facts):
        stt.open(1)
        stt.commit(1)
        assert facts == [FinalTranscript(1, "")]
        assert engines.of("stt_commit") == []


@virtual_time
async def test_a_wrong_key_is_fatal_and_said():
    """A refused key is said once, and every later item fails at once instead of waiting."""
    async with stages(Script(), api_key="right") as (_, made, stt, facts):
        await asyncio.sleep(1)
        (failure,) = facts
        assert (failure.item, failure.code) == (0, "http_401")
        assert failure.message.startswith("Speech to text at 127.0.0.1:")
        assert failure.message.endswith("refused the key (401).")
        await say(stt, 1, frames=10)
        assert facts[1:] == [SttFailed(1, failure.code, failure.message)]
        with pytest.raises(StageError, match="refused the key") as error:
            async with made.llm.reply([{"role": "user", "content": "x"}], []):
                pass
        assert (error.value.code, error.value.retryable) == ("invalid_api_key", False)


@pytest.mark.parametrize(
    ("status", "retryable", "words"),
    [
        (500, True, "failed"),
        (503, True, "failed"),
        (429, True, "asks for fewer requests"),
        (400, False, "refused the request"),
    ],
)
def test_http_errors(status, retryable, words):
    """A status says whether another try may help."""

    @virtual_time
    async def run():
        async with stages(Script(llm_error={1: status}, tts_error={1: status})) as (_, made, _, _):
            for request in (made.llm.reply([{"role": "user", "content": "x"}], []), made.tts.speak("x")):
                with pytest.raises(StageError, match=words) as error:
                    async with request as stream:
                        async for _ in stream:
                            pass
                assert error.value.retryable is retryable

    run()


async def spoken(made, text):
    """What a stream of speech holds: marks and audio."""
    async with made.tts.speak(text) as parts:
        held = [part async for part in parts]
    return [part for part in held if isinstance(part, WordMark)], b"".join(
        part for part in held if isinstance(part, bytes)
    )


@pytest.mark.parametrize(("asked", "told"), [("auto", True), ("on", True), ("off", False)])
def test_words_of_speech(asked, told):
    """Where it is asked for, the twin tells the ends of its words; the audio is the same either way."""

    @virtual_time
    async def run():
        async with stages(Script(tts_ms_per_char=50), tts_words=asked) as (engines, made, _, _):
            marks, audio = await spoken(made, "one two")
            assert audio == engines.audio("one two")
            assert marks == ([WordMark(3, 3_600), WordMark(7, 8_400)] if told else [])

    run()


def test_words_are_asked_of_the_twin_alone():
    """Another service is asked for events only where it is set."""
    assert settings_for_tests().asks_for_words
    assert not settings_for_tests(tts_base_url="http://tts/v1").asks_for_words
    assert not settings_for_tests(openai_api_key="sk", backend="auto").asks_for_words
    assert settings_for_tests(openai_api_key="sk", backend="auto", tts_words="on").asks_for_words


@asynccontextmanager
async def foreign_speech(body, content_type):
    """Text to speech of a service that always answers the same."""

    async def answer(_):
        return Response(body, media_type=content_type)

    async with TwinServer(Starlette(routes=[Route("/v1/audio/speech", answer, methods=["POST"])])) as service:
        settings = settings_for_tests(tts_base_url=service.base_url, tts_api="speech", tts_words="on")
        clients = Clients(settings, service.base_url)
        yield cascade(clients, settings)
        await clients.aclose()


@virtual_time
async def test_a_service_without_events():
    """Audio that comes where events were asked for is audio; events that are not known are passed over."""
    async with foreign_speech(FRAME, "audio/pcm") as made:
        assert await spoken(made, "x") == ([], FRAME)
    body = b': hello\r\nevent: x\r\ndata: {"type": "new"}\r\n\r\n'
    body += b'data:{"type":"speech.audio.delta","audio":"AAAA"}\n\ndata: [DONE]\n\n'
    async with foreign_speech(body, "text/event-stream; charset=utf-8") as made:
        assert await spoken(made, "x") == ([], bytes(3))


@pytest.mark.parametrize("body", [b'data: {"error": {"code": "engine_failed"}}\n\n', b'data: {"error": "oh"}\n\n'])
def test_speech_that_breaks_off(body):
    """An error among the events is a failure of the stage."""

    @virtual_time
    async def run():
        async with foreign_speech(body, "text/event-stream") as made:
            with pytest.raises(StageError, match=r"Text to speech at .* broke off its answer with an error"):
                await spoken(made, "x")

    run()


@virtual_time
async def test_nobody_there():
    """A host that does not answer is named."""
    settings = settings_for_tests(llm_base_url="http://127.0.0.1:1/v1", connect_timeout_s=1)
    clients = Clients(settings, "http://127.0.0.1:1/v1")
    made = cascade(clients, settings)
    with pytest.raises(StageError, match=r"The language model at 127\.0\.0\.1:1 cannot be reached: nothing"):
        async with made.llm.reply([{"role": "user", "content": "x"}], []):
            pass
    await clients.aclose()


def test_endpoints():
    """A stage's own URL and key win over the common ones; without a key the twin answers what has no URL of its own."""
    settings = settings_for_tests(
        openai_api_key="sk-common", tts_base_url="http://tts/v1", tts_api_key="sk-tts", backend="auto"
    )
    assert Endpoint.of("llm", settings, None) == Endpoint("llm", "https://api.openai.com/v1", "sk-common")
    assert Endpoint.of("tts", settings, None) == Endpoint("tts", "http://tts/v1", "sk-tts")
    local = settings_for_tests(tts_base_url="http://tts/v1")
    assert Endpoint.of("stt", local, "http://127.0.0.1:9/v1") == Endpoint("stt", "http://127.0.0.1:9/v1", "local")
    assert Endpoint.of("tts", local, "http://127.0.0.1:9/v1") == Endpoint("tts", "http://tts/v1", "none")
