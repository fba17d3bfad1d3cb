"""Faults of single events and bytes, as the real SDK and bare clients see them."""

import base64
import json

import pytest

from tests.twin.faulty import DONE, MESSAGES, ORDER, UPDATE, faulty, kinds, say, take
from tests.virtual import virtual_time
from voiceagent.twin.fault_events import WAV_HEADER


# ------------------------------------------------------------------------------------------ events
@virtual_time
async def test_missing_and_duplicate():
    """Events of a type are lost or come again, on either way; of completions too."""
    rules = [
        {"fault": "missing", "event": "*.done", "event_nth": 1},
        {"fault": "duplicate", "event": "*.completed", "times": 2},
        {"fault": "missing", "event": "*.commit", "direction": "up", "event_nth": 2},
    ]
    async with faulty(*rules) as twin, twin.session() as ws:
        await say(ws)
        assert kinds(await take(ws, 6)) == [*ORDER[:2], *ORDER[3:], ORDER[4], ORDER[4]]
        await say(ws)
        await say(ws)
        assert kinds(await take(ws, 7)) == [*ORDER, ORDER[4], ORDER[4]]
        assert [done.detail["event"] for done in twin.plan.of("missing")] == [
            "conversation.item.done", "input_audio_buffer.commit",
        ]  # fmt: skip
    async with faulty({"fault": "missing", "event": "[[]DONE]"}, {"fault": "missing", "event_nth": [2]}) as twin:
        assert await twin.chat() == "to you."


@virtual_time
async def test_swapped_completions():
    """The second item completes before the first."""
    async with faulty({"fault": "swap"}) as twin, twin.session() as ws:
        items = []
        for _ in range(2):
            await say(ws)
            items.append((await take(ws, 4))[0]["item_id"])
        completed = await take(ws, 2)
        assert kinds(completed) == [ORDER[4]] * 2
        assert [event["item_id"] for event in completed] == items[::-1]


@virtual_time
async def test_completed_before_committed():
    """Any event can be held behind another."""
    rule = {"fault": "swap", "event": "*.committed", "behind": "*.completed"}
    async with faulty(rule) as twin, twin.session() as ws:
        await say(ws)
        assert kinds(await take(ws, 5)) == [*ORDER[1:], ORDER[0]]
        assert twin.plan.log[0].detail == {"event": ORDER[0], "behind": "conversation.item." + ORDER[4]}


@virtual_time
async def test_a_swap_without_a_second():
    """What waits for an event that does not come is let go after `hold_ms`, and at the end of a stream."""
    async with faulty({"fault": "swap", "hold_ms": 900, "stage": "stt"}) as twin, twin.session() as ws:
        before_ms = twin.now_ms
        await say(ws)
        assert kinds(await take(ws, 5)) == ORDER
        assert twin.now_ms - before_ms == 50 + 900
        assert [done.detail["behind"] for done in twin.plan.of("swap")] == [None]
    async with faulty({"fault": "swap", "event": "*chunk", "event_nth": 2, "behind": "never"}) as twin:
        body = {"model": "m", "messages": MESSAGES, "stream": True}
        text = (await twin.http.post(twin.server.base_url + "/chat/completions", json=body)).text
        assert text.index("[DONE]") < text.index('"Hello "')


@virtual_time
async def test_transcripts():
    """A transcript is empty, something else, or failed."""
    rules = [
        {"fault": "transcript", "event_nth": 1},
        {"fault": "transcript", "event_nth": 2, "text": "Thank you for watching"},
        {"fault": "failed_transcript", "event_nth": 3, "code": "nope"},
    ]
    async with faulty(*rules) as twin, twin.session() as ws:
        last = []
        for _ in range(3):
            await say(ws)
            last.append((await take(ws, 5))[-1])
        assert [event.get("transcript") for event in last] == ["", "Thank you for watching", None]
        assert kinds(last)[2] == DONE + "failed"
        assert last[2]["error"]["code"] == "nope"
        assert last[2]["item_id"]


@virtual_time
async def test_garbage():
    """What is no JSON comes as a frame, as a line of a stream, or as the body."""
    async with faulty({"fault": "garbage", "after_events": 1, "text": "{nonsense"}) as twin:
        async with twin.socket() as ws:
            assert json.loads(await ws.recv())["type"] == "session.created"
            assert await ws.recv() == "{nonsense"
            await ws.send(UPDATE)
            assert json.loads(await ws.recv())["type"] == "session.updated"
        with pytest.raises(ValueError, match="Expecting property name|key must be a string"):
            await twin.chat()
    async with faulty({"fault": "garbage"}) as twin:
        assert (await twin.http.get(twin.server.base_url + "/models")).text == '{"type": "respon'


# ------------------------------------------------------------------------------------------ bytes
@virtual_time
async def test_odd_chunks():
    """A body comes in odd pieces and is the same; a stream of events too."""
    async with faulty({"fault": "odd_chunks", "sizes": [1, 3, 997]}) as twin:
        pieces = [data for _, data in await twin.speech()]
        assert b"".join(pieces) == twin.engines.audio("hello")
        assert [len(data) for data in pieces[:6]] == [1, 3, 997, 1, 3, 997]
        assert await twin.chat() == "Hello to you."


@virtual_time
async def test_wav_header():
    """A header stands before the first sample, in the body and in the first audio event."""
    async with faulty({"fault": "wav_header"}) as twin:
        assert b"".join(data for _, data in await twin.speech()) == WAV_HEADER + twin.engines.audio("hello")
        body = b"".join(data for _, data in await twin.speech(stream_format="sse"))
        events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: ")]
        pcm = b"".join(base64.b64decode(event["audio"]) for event in events if event["type"] == "speech.audio.delta")
        assert pcm == WAV_HEADER + twin.engines.audio("hello")
        assert twin.plan.counts == {"wav_header": 2}
