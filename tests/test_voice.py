"""The voice model's client: what it sends in which order, and what it makes of the answers."""

import asyncio
from contextlib import aclosing

from tests.fake_session import settle, taken, words
from tests.voice_rig import NONE, PAST, created, done, item, on_rig, sound
from voiceagent.events import FinalTranscript, PartialTranscript
from voiceagent.heard import WordMark
from voiceagent.stages.ports import Acquired, Delta, ToolCall
from voiceagent.twin.scripted import tone


@on_rig()
async def test_a_turn(rig):
    """Audio flows while it is spoken; the commit and the request follow at once, and the words come when they come."""
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
    server.say(taken("i1"), created(1), item(), words("i1", "what", "delta"), words("i1", "what time"))
    server.say({"type": "response.output_audio_transcript.delta", "response_id": "r1", "delta": "Nine."})
    server.say({"type": "response.output_audio.words", "response_id": "r1", "words": [{"end_char": 5, "end_ms": 2}]})
    usage = {"input_tokens": 5, "output_tokens": 7, "output_token_details": {"audio_tokens": 6}}
    server.say(sound(tone(48)), done(usage=usage))
    assert await asking == [
        Delta(acquired=Acquired(3_000, reused=False)), Delta("Nine."), WordMark(5, 48), tone(48),
        Delta(usage={"prompt_tokens": 5, "completion_tokens": 7, "audio_output_tokens": 6}),
    ]  # fmt: skip
    assert rig.facts == [PartialTranscript(1, "what"), FinalTranscript(1, "what time")]


@on_rig(stt_language="de", tts_voice="cedar", tts_instructions="Softly.", instructions="Be kind.")
async def test_its_session(rig):
    """The session has no turn detection; its transcriber, language, voice and instructions are the settings'."""
    session, query = rig.server.sessions[0]
    assert query == {"model": "gpt-realtime-2.1-mini"}
    assert session["audio"]["input"]["turn_detection"] is None
    assert session["audio"]["input"]["transcription"] == {"model": "gpt-transcribe", "languages": ["de"]}
    assert session["audio"]["output"]["voice"] == "cedar"
    assert session["instructions"] == "Be kind.\nSoftly."


@on_rig()
async def test_past_is_told_first(rig):
    """A conversation that is new to the server is told what was said and heard, once, before the audio is committed."""
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


@on_rig()
async def test_typed_and_canned(rig):
    """A typed line is an item; canned words are asked for word for word, without functions."""
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


@on_rig()
async def test_a_function(rig):
    """A function call comes as one, and its result goes before the next request."""
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


@on_rig()
async def test_interrupted(rig):
    """Leaving cancels; the message is cut at what was heard; the next request waits for the end of the first answer."""
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


@on_rig()
async def test_heard_to_its_end(rig):
    """What was heard whole is not cut."""
    asking = asyncio.create_task(rig.answer())
    await settle()
    rig.server.say(created(1), item(), sound(tone(2_400)), done())
    await asking
    rig.voice.heard(1, 2_400)
    await settle()
    assert rig.server.kinds == ["response.create"]


@on_rig()
async def test_unheard(rig):
    """Of an answer that nobody heard nothing stays, whether its message was there already or comes only now."""
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


@on_rig()
async def test_not_asked_yet(rig):
    """A request that waits for the answer before it, and is left, is never made."""
    first = asyncio.create_task(rig.answer(1))
    await settle()
    async with rig.voice.respond(3, NONE, (), ""):
        await settle()
    rig.server.say(created(1), done())
    await first
    await settle()
    assert rig.server.kinds == ["response.create"]


@on_rig()
async def test_discarded(rig):
    """What nobody was to hear is cleared from the buffer, or deleted where it was committed already."""
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
    server.say(taken("i2"), created(1), done())
    await asking
    await settle()
    assert server.sent[-1] == {"type": "conversation.item.delete", "item_id": "i2"}
    voice.discard(9)
    voice.open(3)
    voice.discard(3)
    await settle()
    assert server.kinds[-1] == "conversation.item.delete"


@on_rig()
async def test_short_and_empty(rig):
    """A commit is never too short; one that is refused as empty is an item without words."""
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


@on_rig()
async def test_words_out_of_order(rig):
    """Words that come before their commit is confirmed find their item; those that cannot be written down are none."""
    for key in (1, 2):
        rig.voice.open(key)
        rig.voice.append(tone(4_800))
        rig.voice.commit(key)
    asking = asyncio.create_task(rig.answer())
    await settle()
    rig.server.say(words("i2", "second"), taken("i1"), taken("i2"), words("i1", {"code": "x"}, "failed"))
    rig.server.say(words("i1", "again"), words("unknown", "whose"), created(1), done())
    await asking
    await settle()
    assert rig.facts == [FinalTranscript(2, "second"), FinalTranscript(1, "")]
