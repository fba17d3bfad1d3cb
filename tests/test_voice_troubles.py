"""The voice model's client in trouble: lost and old connections, errors, answers that fail."""

import asyncio
from contextlib import aclosing

import pytest

from tests.fake_session import Lost, settle, taken, words
from tests.voice_rig import NONE, PAST, created, done, on_rig, sound
from voiceagent.events import FinalTranscript, SttFailed
from voiceagent.stages.ports import Delta, StageError
from voiceagent.twin.scripted import tone


@on_rig()
async def test_lost_connection(rig):
    """What is not answered is said again on the next connection, to the sample; the answer under way fails."""
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
    server.say(taken("j1"), created(1), done(), words("j1", "hello"))
    await again
    await settle()
    assert rig.facts == [
        SttFailed(0, failed.value.code, failed.value.message), FinalTranscript(1, "hello", retries=1),
    ]  # fmt: skip
    server.say(Lost())
    await asyncio.sleep(1)
    await settle()
    assert server.audio == tone(2_400)  # what was answered is not said again


@on_rig()
async def test_an_append_that_is_refused(rig):
    """The conversation lacks a piece of what was said: the next one hears it from its beginning."""
    rig.voice.open(1)
    rig.voice.append(tone(4_800))
    await settle()
    rig.server.say({"type": "error", "error": {"code": "invalid_value", "event_id": "append_1"}})
    await asyncio.sleep(0.2)
    rig.voice.append(tone(2_400))
    rig.voice.commit(1)
    asking = asyncio.create_task(rig.answer(1, PAST))
    await settle()
    assert (rig.server.opened, rig.server.audio) == (2, tone(4_800) + tone(2_400))
    rig.server.say(taken("i1"), created(1), done(), words("i1", "hello"))
    await asking
    await settle()
    sentence = "The voice model at twin did not take all that was said (invalid_value)."
    assert rig.facts == [SttFailed(0, "append_refused", sentence), FinalTranscript(1, "hello")]


@on_rig()
async def test_an_append_that_the_account_does_not_pay(rig):
    """No other session would do better: it is the end, and said once."""
    rig.voice.open(1)
    rig.voice.append(tone(4_800))
    await settle()
    rig.server.say({"type": "error", "error": {"code": "insufficient_quota", "event_id": "append_1"}})
    await asyncio.sleep(60)
    sentence = "The voice model at twin refused the session (insufficient_quota)."
    assert (rig.server.opened, rig.facts) == (1, [SttFailed(0, "insufficient_quota", sentence)])


@on_rig()
async def test_words_that_never_come(rig):
    """An answered item whose words were not there yet when the connection was lost has those that came."""
    rig.voice.open(1)
    rig.voice.append(tone(4_800))
    rig.voice.commit(1)
    asking = asyncio.create_task(rig.answer())
    await settle()
    rig.server.say(taken("i1"), words("i1", "so far", "delta"), created(1), done())
    await asking
    rig.server.say(Lost())
    await settle()
    assert FinalTranscript(1, "so far") in rig.facts


@on_rig(stt_session_s=100)
async def test_renewed(rig):
    """An old session is renewed when nobody speaks, and told the past; not under an open item."""
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


@on_rig()
async def test_a_long_past(rig):
    """A conversation of any length is told to a new connection whole."""
    past = [{"role": "user", "content": f"line {number}"} for number in range(400)]
    asking = asyncio.create_task(rig.answer(1, (NONE[0], *past, NONE[1])))
    await settle()
    told = [
        event["item"]["content"][0]["text"] for event in rig.server.sent if event["type"] == "conversation.item.create"
    ]
    assert told == [f"line {number}" for number in range(400)]
    assert rig.server.kinds[-1] == "response.create"
    asking.cancel()


@on_rig()
async def test_more_corrections_than_a_peer_takes(rig):
    """None of them is left out in silence: the connection is left, and the next one is told the past as it is."""
    for _ in range(300):
        rig.voice.result("call", "out")
    await asyncio.sleep(0.2)
    assert (rig.server.opened, rig.server.sent) == (2, [])


@on_rig()
async def test_refused_for_good(rig):
    """After a fatal error every request fails with its sentence, and no connection is tried again."""
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


@on_rig()
async def test_answers_that_fail(rig):
    """A failed answer is a failure with its code; a refused request too; a cut one says so in its usage."""
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


@on_rig()
async def test_more_than_anybody_hears(rig):
    """An answer that nobody takes does not stop the socket for ever: it fails."""
    async with rig.voice.respond(1, NONE, (), "") as parts, aclosing(parts):
        await settle()
        rig.server.say(created(1), *[sound(b"\0\0")] * 9_000)
        await settle()
        with pytest.raises(StageError, match="more than anybody can hear"):
            async for _ in parts:
                pass
    rig.server.say(done())
