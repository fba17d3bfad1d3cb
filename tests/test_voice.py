"""The voice model's client on a session in software: what it sends in which order, and what it makes of any answer."""

import asyncio
import base64
import json
from contextlib import aclosing, asynccontextmanager, suppress

import pytest

from tests.virtual import virtual_time
from tests.world import settings_for_tests
from voiceagent.events import FinalTranscript, PartialTranscript, SttFailed
from voiceagent.heard import WordMark
from voiceagent.stages import voice as voice_module
from voiceagent.stages.clients import Clients
from voiceagent.stages.ports import Acquired, Delta, StageError, ToolCall
from voiceagent.stages.voice import VoiceModel
from voiceagent.twin.scripted import tone

PAST = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "Hi [interrupted by the user here]"},
    {"role": "user", "content": "present words"},
)
NONE = ({"role": "system", "content": ""}, {"role": "user", "content": ""})


class Lost(Exception):  # noqa: N818 - what happened
    """The connection is gone."""


class Server:
    """The other end of the sessions that the client opens."""

    def __init__(self):
        self.sent = []
        self.opened = 0
        self.sessions = []
        self._events = asyncio.Queue()

    @asynccontextmanager
    async def open(self, clients, stage, session, *, query):
        assert stage == "realtime"
        self.opened += 1
        self.sessions.append((session, query))
        self.sent = []
        self._events = asyncio.Queue()
        self.acquire_us = 3_000
        yield self

    async def send(self, event):
        self.sent.append(json.loads(event) if isinstance(event, str) else dict(event))

    async def receive(self):
        event = await self._events.get()
        if isinstance(event, Exception):
            raise event
        return event

    def say(self, *events):
        """Let events come."""
        for event in events:
            self._events.put_nowait(event)

    @property
    def kinds(self):
        """What was sent, by type, without the audio."""
        return [event["type"] for event in self.sent if event["type"] != "input_audio_buffer.append"]

    @property
    def audio(self):
        """All the audio that came on this connection."""
        return b"".join(base64.b64decode(event["audio"]) for event in self.sent if "audio" in event)


class Rig:
    """A client and its server."""

    def __init__(self, **settings):
        self.settings = settings_for_tests(mode="realtime", **settings)
        self.server = Server()
        self.facts = []
        self.voice = VoiceModel(Clients(self.settings, "http://twin/v1"), self.settings, self.facts.append)
        self.task = asyncio.create_task(self.voice.run())

    async def answer(self, epoch=1, messages=NONE, tools=(), canned=""):
        """All parts of an answer."""
        parts = []
        async with self.voice.respond(epoch, messages, tools, canned) as stream:
            async for part in stream:
                parts.append(part)  # noqa: PERF401 - what came before an error counts
        return parts


@pytest.fixture
def rigs(monkeypatch):
    """Make rigs; whatever they run is ended."""

    @asynccontextmanager
    async def make(**settings):
        rig = Rig(**settings)
        monkeypatch.setattr(voice_module, "realtime_session", rig.server.open)
        await settle()
        try:
            yield rig
        finally:
            rig.task.cancel()
            with suppress(asyncio.CancelledError):
                await rig.task

    return make


async def settle():
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def created(epoch, response="r1"):
    """The answer of an epoch has begun."""
    return {"type": "response.created", "response": {"id": response, "metadata": {"epoch": str(epoch)}}}


def item(response="r1", item_id="m1"):
    """It has a message."""
    return {"type": "response.output_item.added", "response_id": response, "item": {"id": item_id, "type": "message"}}


def sound(pcm, response="r1"):
    """A piece of its audio."""
    return {"type": "response.output_audio.delta", "response_id": response, "delta": base64.b64encode(pcm).decode()}


def done(status="completed", response="r1", **more):
    """It is over."""
    return {"type": "response.done", "response": {"id": response, "status": status, **more}}


def committed(item_id):
    """An item stands."""
    return {"type": "input_audio_buffer.committed", "item_id": item_id, "previous_item_id": None}


def words(item_id, text, kind="completed"):
    """Its words."""
    field = {"completed": "transcript", "delta": "delta", "failed": "error"}[kind]
    return {"type": f"conversation.item.input_audio_transcription.{kind}", "item_id": item_id, field: text}


def run(test):
    """Run a test with rigs on a virtual clock."""

    def runs(rigs):
        virtual_time(test)(rigs)

    runs.__doc__, runs.__name__ = test.__doc__, test.__name__
    return runs


@run
async def test_a_turn(rigs):
    """Audio flows while it is spoken; the commit and the request follow at once, and the words come when they come."""
    async with rigs() as rig:
        voice, server = rig.voice, rig.server
        voice.open(1)
        voice.append(tone(4_800))
        await settle()
        assert server.audio == tone(4_800)
        voice.append(tone(4_800, 4_800))
        voice.commit(1)
        asking = asyncio.create_task(rig.answer())
        await settle()
        assert server.audio == tone(9_600)
        assert server.kinds == ["input_audio_buffer.commit", "response.create"]
        server.say(committed("i1"), created(1), item(), words("i1", "what", "delta"), words("i1", "what time"))
        server.say({"type": "response.output_audio_transcript.delta", "response_id": "r1", "delta": "Nine."})
        server.say(
            {"type": "response.output_audio.words", "response_id": "r1", "words": [{"end_char": 5, "end_ms": 2}]}
        )
        usage = {"input_tokens": 5, "output_tokens": 7, "output_token_details": {"audio_tokens": 6}}
        server.say(sound(tone(48)), done(usage=usage))
        assert await asking == [
            Delta(acquired=Acquired(3_000, reused=False)), Delta("Nine."), WordMark(5, 48), tone(48),
            Delta(usage={"prompt_tokens": 5, "completion_tokens": 7, "audio_output_tokens": 6}),
        ]  # fmt: skip
        assert rig.facts == [PartialTranscript(1, "what"), FinalTranscript(1, "what time")]


@run
async def test_its_session(rigs):
    """The session has no turn detection; its transcriber, language, voice and instructions are the settings'."""
    async with rigs(stt_language="de", tts_voice="cedar", tts_instructions="Softly.", instructions="Be kind.") as rig:
        session, query = rig.server.sessions[0]
        assert query == {"model": "gpt-realtime-2.1-mini"}
        assert session["audio"]["input"]["turn_detection"] is None
        assert session["audio"]["input"]["transcription"] == {"model": "gpt-transcribe", "languages": ["de"]}
        assert session["audio"]["output"]["voice"] == "cedar"
        assert session["instructions"] == "Be kind.\nSoftly."


@run
async def test_past_is_told_first(rigs):
    """A conversation that is new to the server is told what was said and heard, once, before the audio is committed."""
    async with rigs() as rig:
        rig.voice.open(1)
        rig.voice.append(tone(4_800))
        rig.voice.commit(1)
        await settle()
        assert rig.server.kinds == []
        asking = asyncio.create_task(rig.answer(1, PAST))
        await settle()
        assert rig.server.kinds == [
            "conversation.item.create", "conversation.item.create", "input_audio_buffer.commit", "response.create",
        ]  # fmt: skip
        told = [event["item"] for event in rig.server.sent if "item" in event]
        assert [(one["role"], one["content"][0]["type"]) for one in told] == [
            ("user", "input_text"), ("assistant", "output_text"),
        ]  # fmt: skip
        rig.server.say(created(1), done())
        assert await asking == []
        second = asyncio.create_task(rig.answer(3, PAST))
        await settle()
        assert rig.server.kinds[4:] == ["response.create"]
        rig.server.say(created(3, "r2"), done(response="r2"))
        await second


@run
async def test_typed_and_canned(rigs):
    """A typed line is an item; canned words are asked for word for word, without functions."""
    async with rigs() as rig:
        rig.voice.typed("a joke")
        tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
        asking = asyncio.create_task(rig.answer(1, tools=[tool]))
        await settle()
        assert rig.server.kinds == ["conversation.item.create", "response.create"]
        assert rig.server.sent[0]["item"]["content"] == [{"type": "input_text", "text": "a joke"}]
        assert rig.server.sent[1]["response"]["tools"] == [{"type": "function", "name": "f", "parameters": {}}]
        rig.server.say(created(1), done())
        await asking
        saying = asyncio.create_task(rig.answer(3, tools=[tool], canned="Good day."))
        await settle()
        response = rig.server.sent[-1]["response"]
        assert response["instructions"].endswith("\nGood day.")
        assert "tools" not in response
        rig.server.say(created(3, "r2"), done(response="r2"))
        await saying


@run
async def test_a_function(rigs):
    """A function call comes as one, and its result goes before the next request."""
    async with rigs() as rig:
        asking = asyncio.create_task(rig.answer())
        await settle()
        call = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "clock", "arguments": ""}
        rig.server.say(created(1), {"type": "response.output_item.done", "response_id": "r1", "item": call}, done())
        assert await asking == [
            Delta(acquired=Acquired(3_000, reused=False)), Delta(calls=(ToolCall("c1", "clock", "{}"),)),
        ]  # fmt: skip
        rig.voice.result("c1", "noon")
        again = asyncio.create_task(rig.answer())
        await settle()
        assert rig.server.sent[-2]["item"] == {"type": "function_call_output", "call_id": "c1", "output": "noon"}
        rig.server.say(created(1, "r2"), done(response="r2"))
        await again


@run
async def test_interrupted(rigs):
    """Leaving cancels; the message is cut at what was heard; the next request waits for the end of the first answer."""
    async with rigs() as rig:
        server = rig.server
        async with rig.voice.respond(1, NONE, (), "") as parts, aclosing(parts):
            await settle()
            server.say(created(1), item(), sound(tone(2_400)))
            assert isinstance(await anext(parts), Delta)
            assert await anext(parts) == tone(2_400)
        rig.voice.heard(1, 1_000)
        asking = asyncio.create_task(rig.answer(3))
        await settle()
        assert server.sent[1:] == [
            {"type": "response.cancel", "response_id": "r1"},
            {"type": "conversation.item.truncate", "item_id": "m1", "content_index": 0, "audio_end_ms": 41},
        ]
        server.say(sound(tone(2_400)), done("cancelled"))
        await settle()
        assert server.kinds[3:] == ["response.create"]
        server.say(created(3, "r2"), sound(tone(2_400)), sound(tone(48), "r2"), done(response="r2"))
        assert await asking == [Delta(acquired=Acquired(0, reused=True)), tone(48)]


@run
async def test_heard_to_its_end(rigs):
    """What was heard whole is not cut."""
    async with rigs() as rig:
        asking = asyncio.create_task(rig.answer())
        await settle()
        rig.server.say(created(1), item(), sound(tone(2_400)), done())
        await asking
        rig.voice.heard(1, 2_400)
        await settle()
        assert rig.server.kinds == ["response.create"]


@run
async def test_unheard(rigs):
    """Of an answer that nobody heard nothing stays, whether its message was there already or comes only now."""
    async with rigs() as rig:
        server = rig.server
        async with rig.voice.respond(1, NONE, (), ""):
            await settle()
            server.say(created(1), item())
            await settle()
            rig.voice.heard(1, 0)
        await settle()
        assert server.kinds[1:] == ["response.cancel", "conversation.item.delete"]
        server.say(done("cancelled"))
        async with rig.voice.respond(3, NONE, (), ""):
            await settle()
        rig.voice.heard(3, 0)
        server.say(created(3, "r2"), item("r2", "m2"), done("cancelled", "r2"))
        await settle()
        assert server.kinds[3:] == ["response.create", "response.cancel", "conversation.item.delete"]
        assert server.sent[-1]["item_id"] == "m2"


@run
async def test_not_asked_yet(rigs):
    """A request that waits for the answer before it, and is left, is never made."""
    async with rigs() as rig:
        first = asyncio.create_task(rig.answer(1))
        await settle()
        async with rig.voice.respond(3, NONE, (), ""):
            await settle()
        rig.server.say(created(1), done())
        await first
        await settle()
        assert rig.server.kinds == ["response.create"]


@run
async def test_discarded(rigs):
    """What nobody was to hear is cleared from the buffer, or deleted where it was committed already."""
    async with rigs() as rig:
        voice, server = rig.voice, rig.server
        voice.open(1)
        voice.append(tone(4_800))
        await settle()
        voice.discard(1)
        voice.open(2)
        voice.append(tone(4_800))
        voice.commit(2)
        asking = asyncio.create_task(rig.answer())
        await settle()
        assert server.kinds == ["input_audio_buffer.clear", "input_audio_buffer.commit", "response.create"]
        voice.discard(2)
        server.say(committed("i2"), created(1), done())
        await asking
        await settle()
        assert server.sent[-1] == {"type": "conversation.item.delete", "item_id": "i2"}
        voice.discard(9)
        voice.open(3)
        voice.discard(3)
        await settle()
        assert server.kinds[-1] == "conversation.item.delete"


@run
async def test_short_and_empty(rigs):
    """A commit is never too short; one that is refused as empty is an item without words."""
    async with rigs() as rig:
        rig.voice.open(1)
        rig.voice.append(tone(24))
        rig.voice.commit(1)
        asking = asyncio.create_task(rig.answer())
        await settle()
        assert len(rig.server.audio) == 5_760
        error = {"code": "input_audio_buffer_commit_empty", "event_id": "commit_1"}
        rig.server.say({"type": "error", "error": error}, created(1), done())
        await asking
        assert FinalTranscript(1, "") in rig.facts


@run
async def test_words_out_of_order(rigs):
    """Words that come before their commit is confirmed find their item; those that cannot be written down are none."""
    async with rigs() as rig:
        for key in (1, 2):
            rig.voice.open(key)
            rig.voice.append(tone(4_800))
            rig.voice.commit(key)
        asking = asyncio.create_task(rig.answer())
        await settle()
        rig.server.say(words("i2", "second"), committed("i1"), committed("i2"), words("i1", {"code": "x"}, "failed"))
        rig.server.say(words("i1", "again"), words("unknown", "whose"), created(1), done())
        await asking
        await settle()
        assert rig.facts == [FinalTranscript(2, "second"), FinalTranscript(1, "")]


@run
async def test_lost_connection(rigs):
    """What is not answered is said again on the next connection, to the sample; the answer under way fails."""
    async with rigs() as rig:
        voice, server = rig.voice, rig.server
        voice.open(1)
        voice.append(tone(4_800))
        voice.commit(1)
        asking = asyncio.create_task(rig.answer())
        await settle()
        server.say(created(1), Lost())
        with pytest.raises(StageError, match="The voice model at twin") as failed:
            await asking
        assert failed.value.retryable
        again = asyncio.create_task(rig.answer(1, PAST))
        voice.open(2)
        voice.append(tone(2_400))
        await asyncio.sleep(0.1)
        await settle()
        assert server.opened == 2
        assert server.audio == tone(4_800) + tone(2_400)
        assert server.kinds == [
            "conversation.item.create", "conversation.item.create", "input_audio_buffer.commit", "response.create",
        ]  # fmt: skip
        server.say(committed("j1"), created(1), done(), words("j1", "hello"))
        await again
        await settle()
        assert rig.facts == [
            SttFailed(0, failed.value.code, failed.value.message), FinalTranscript(1, "hello"),
        ]  # fmt: skip
        server.say(Lost())
        await asyncio.sleep(1)
        await settle()
        assert server.audio == tone(2_400)  # what was answered is not said again


@run
async def test_words_that_never_come(rigs):
    """An answered item whose words were not there yet when the connection was lost has those that came."""
    async with rigs() as rig:
        rig.voice.open(1)
        rig.voice.append(tone(4_800))
        rig.voice.commit(1)
        asking = asyncio.create_task(rig.answer())
        await settle()
        rig.server.say(committed("i1"), words("i1", "so far", "delta"), created(1), done())
        await asking
        rig.server.say(Lost())
        await settle()
        assert FinalTranscript(1, "so far") in rig.facts


@run
async def test_renewed(rigs):
    """An old session is renewed when nobody speaks, and told the past; not under an open item."""
    async with rigs(stt_session_s=100) as rig:
        rig.voice.open(1)
        rig.voice.append(tone(4_800))
        await asyncio.sleep(101)
        assert rig.server.opened == 1
        rig.voice.commit(1)
        asking = asyncio.create_task(rig.answer())
        await settle()
        rig.server.say(created(1), done())
        await asking
        await settle()
        assert rig.server.opened == 2
        assert [fact for fact in rig.facts if isinstance(fact, SttFailed)] == []
        await asyncio.sleep(101)
        await settle()
        assert rig.server.opened == 3


@run
async def test_refused_for_good(rigs):
    """After a fatal error every request fails with its sentence, and no connection is tried again."""
    async with rigs() as rig:
        error = {"code": "insufficient_quota", "type": "invalid_request_error"}
        rig.voice.open(1)
        rig.voice.append(tone(4_800))
        rig.voice.commit(1)
        rig.server.say({"type": "error", "error": error})
        await settle()
        with pytest.raises(StageError, match="insufficient_quota"):
            await rig.answer()
        rig.voice.open(2)
        rig.voice.commit(2)
        await asyncio.sleep(60)
        assert rig.server.opened == 1
        assert [fact.item for fact in rig.facts if isinstance(fact, SttFailed)] == [0, 1, 2]


@run
async def test_answers_that_fail(rigs):
    """A failed answer is a failure with its code; a refused request too; a cut one says so in its usage."""
    async with rigs() as rig:
        for epoch, event, code in (
            (1, done("failed", status_details={"error": {"code": "rate_limit_exceeded"}}), "rate_limit_exceeded"),
            (3, {"type": "error", "error": {"code": "server_error", "event_id": "respond_3"}}, "server_error"),
        ):
            asking = asyncio.create_task(rig.answer(epoch))
            await settle()
            rig.server.say(created(epoch), event)
            with pytest.raises(StageError) as failed:
                await asking
            assert (failed.value.code, failed.value.retryable) == (code, True)
        asking = asyncio.create_task(rig.answer(5))
        await settle()
        rig.server.say(created(5), done("incomplete", status_details={"reason": "content_filter"}))
        assert Delta(usage={"llm_filtered": 1}) in await asking
        rig.server.say(
            {"type": "error", "error": {"code": "response_cancel_not_active"}}, {}, {"type": "rate_limits.updated"}
        )
        await settle()
        assert rig.server.opened == 1


@run
async def test_more_than_anybody_hears(rigs):
    """An answer that nobody takes does not stop the socket for ever: it fails."""
    async with rigs() as rig:
        async with rig.voice.respond(1, NONE, (), "") as parts, aclosing(parts):
            await settle()
            rig.server.say(created(1), *[sound(b"\0\0")] * 9_000)
            await settle()
            with pytest.raises(StageError, match="more than anybody can hear"):
                async for _ in parts:
                    pass
        rig.server.say(done())
