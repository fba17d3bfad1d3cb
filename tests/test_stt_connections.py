"""A transcription's sessions: given up when silent, renewed when old, opened again when lost; and no sample lost."""

import asyncio

import pytest
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close

from tests.fake_session import Lost, settle, taken, words
from tests.stt_rig import FRAME, on_rig, refusal
from tests.test_stages import finals, say, stages
from tests.virtual import virtual_time
from voiceagent.events import SttFailed
from voiceagent.twin import Script


# ------------------------------------------------------------------------------------------ silence
@on_rig(stt_timeout_s=6)
async def test_a_commit_that_is_not_answered(rig):
    """Half the longest wait after it the session is replaced and the item said again: its words are still in time."""
    await rig.say(1)
    asked_ms = rig.now_ms
    await rig.wait(3.1)
    assert [line.opened_ms - asked_ms for line in rig.lines[1:]] == [3_100]
    assert (rig.lines[0].closed_ms - asked_ms, rig.failures) == (3_000, [(0, "timeout")])
    assert rig.line.committed == {1: FRAME * 10}
    await rig.hear(taken("a"), words("a", "one"))
    assert rig.finals == [(1, "one")]


@on_rig(stt_timeout_s=6)
async def test_an_item_whose_words_do_not_come(rig):
    """Each step has the same time, and so has each delta; then the session is replaced."""
    await rig.say(1)
    asked_ms = rig.now_ms
    await rig.wait(2)
    await rig.hear(taken("a"))
    await rig.wait(2)
    await rig.hear(words("a", "on", "delta"))
    await rig.wait(4)
    assert (rig.lines[0].closed_ms - asked_ms, len(rig.lines)) == (7_000, 2)


@on_rig(stt_timeout_s=6, stt_model="some-whisper")
async def test_a_slow_server_of_ones_own(rig):
    """One that has taken the commit is at work: asked again, it would begin anew. One that has not is silent."""
    await rig.say(1)
    await rig.wait(1)
    await rig.hear(taken("a"))
    await rig.wait(5.9)
    await rig.hear(words("a", "one"))
    assert (rig.finals, len(rig.lines), rig.failures) == ([(1, "one")], 1, [])
    await rig.say(2)
    await rig.hear(taken("b", "a"))
    taken_ms = rig.now_ms
    await rig.wait(10)
    assert (rig.lines[0].closed_ms - taken_ms, rig.lines[1].closed_ms - rig.lines[1].opened_ms) == (6_000, 3_000)


@on_rig(stt_timeout_s=6)
async def test_an_item_that_no_session_can_do(rig):
    """After three sessions it has failed, and those after it have their turn."""
    await rig.say(1)
    rig.stt.open(2)
    rig.stt.append(FRAME * 10)
    await rig.wait(9.301)  # three times 3 s, and 0.1 and 0.2 s between
    assert rig.failures == [(0, "timeout"), (1, "timeout")]
    await rig.wait(0.4)
    rig.stt.commit(2)
    await settle()
    await rig.hear(taken("b"), words("b", "two"))
    assert (rig.finals, rig.line.committed) == ([(2, "two")], {2: FRAME * 10})


@on_rig()
async def test_silence_is_not_sent(rig):
    """Between items nothing goes over the wire, and nothing after the last."""
    for item in (1, 2):
        await rig.say(item)
        await rig.hear(taken(f"i{item}"), words(f"i{item}", "x"))
        sent = len(rig.line.sent)
        rig.stt.append(FRAME)  # of no item
        await rig.wait(600)
        assert len(rig.line.sent) == sent
    assert {event["type"] for event in rig.line.sent} == {"input_audio_buffer.append", "input_audio_buffer.commit"}


# ------------------------------------------------------------------------------------------ age
@on_rig(stt_session_s=100)
async def test_an_old_session_is_renewed_while_idle(rig):
    """The next one is open before the last is closed, at the very age; nobody is told of anything but a connection."""
    await rig.say(1)
    await rig.hear(taken("a"), words("a", "one"))
    await rig.wait(250)
    first, second, third = rig.lines
    assert [line.opened_ms for line in rig.lines] == [0, 100_000, 200_000]
    assert (first.closed_ms, second.closed_ms, third.closed_ms) == (second.opened_ms, third.opened_ms, None)
    await rig.say(2)
    await rig.hear(taken("a"), words("a", "two"))
    assert (rig.finals, rig.failures, rig.connected) == ([(1, "one"), (2, "two")], [], 3)


@on_rig(stt_session_s=100)
async def test_an_old_session_is_not_left_under_an_item(rig):
    """It goes on until the item has its words."""
    await rig.wait(90)
    rig.stt.open(1)
    rig.stt.append(FRAME * 10)
    await rig.wait(15)
    rig.stt.commit(1)
    await rig.wait(2)
    assert len(rig.lines) == 1
    await rig.hear(taken("a"), words("a", "one"))
    assert (rig.finals, rig.lines[0].closed_ms) == ([(1, "one")], 107_000)
    assert rig.line.opened_ms == 107_000


@on_rig(stt_session_s=100)
async def test_an_item_during_a_renewal(rig):
    """What begins while the next session is being opened is the old one's, which stays until its words are there."""
    rig.opens_s = 2
    await rig.wait(101)
    await rig.say(1)
    await rig.wait(3)
    assert (len(rig.lines), rig.lines[0].closed_ms, rig.line.sent) == (2, None, [])
    rig.lines[0].say(taken("a"), words("a", "one"))
    await settle()
    assert (rig.finals, rig.lines[0].closed_ms) == ([(1, "one")], 104_000)
    await rig.say(2)
    assert rig.line.committed == {2: FRAME * 10}
    assert len(rig.lines) == 2


@on_rig(stt_session_s=100)
async def test_a_renewal_that_fails(rig):
    """The old session is used on, another try is made later, and nobody is told."""
    rig.refusals = [ConnectionRefusedError(), ConnectionRefusedError()]
    await rig.wait(107)
    await rig.say(1)
    await rig.hear(taken("a"), words("a", "one"))
    await rig.wait(10)
    assert [line.opened_ms for line in rig.lines] == [0, 110_000]
    assert (rig.finals, rig.failures) == ([(1, "one")], [])


# ------------------------------------------------------------------------------------------ losses
LOSSES = [Lost(), ConnectionClosedOK(Close(1000, ""), None), ConnectionClosedOK(Close(1001, ""), None)]


@pytest.mark.parametrize("loss", LOSSES, ids=["reset", "1000", "1001"])
def test_a_drop_while_idle(loss, monkeypatch):
    """What is whole again after one try is nobody's concern; a close without a complaint is a loss all the same."""

    @on_rig()
    async def run(rig):
        await rig.wait(30)
        await rig.hear(loss)
        await rig.wait(0.1)
        assert [line.opened_ms for line in rig.lines] == [0, 30_100]
        await rig.say(1)
        await rig.hear(taken("a"), words("a", "one"))
        assert (rig.finals, rig.failures) == ([(1, "one")], [])

    run(monkeypatch)


@on_rig()
async def test_an_outage_while_idle(rig):
    """After the second try in vain it is told, once; when it is over, the next one is told again."""
    for _ in range(2):
        rig.facts.clear()
        rig.refusals = [ConnectionRefusedError()] * 5
        await rig.wait(30)
        await rig.hear(Lost())
        await rig.wait(0.1 + 0.199)
        assert rig.failures == []
        await rig.wait(0.001)
        assert rig.failures == [(0, "connection")]
        await rig.wait(20)
        assert (rig.failures, rig.connected) == ([(0, "connection")], 1)


@on_rig()
async def test_a_drop_under_an_item(rig):
    """It is told at once, and every byte goes to the next session: none twice, none lost, in no other item."""
    await rig.say(1, frames=33)
    rig.stt.open(2)
    rig.stt.append(FRAME[::-1] * 7)
    await rig.hear(taken("a"), ConnectionClosedError(Close(1011, ""), None))
    rig.stt.append(FRAME * 3)  # meanwhile
    await rig.wait(0.1)
    rig.stt.append(FRAME)
    rig.stt.commit(2)
    await rig.say(3)
    assert rig.line.committed == {1: FRAME * 33, 2: FRAME[::-1] * 7 + FRAME * 4, 3: FRAME * 10}
    assert rig.failures == [(0, "closed_1011")]
    await rig.hear(taken("p"), taken("q", "p"), taken("r", "q"))
    await rig.hear(words("q", "two"), words("r", "three"), words("p", "one"))
    assert rig.finals == [(2, "two"), (3, "three"), (1, "one")]


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "invalid_value", None])
def test_an_append_that_is_refused(code, monkeypatch):
    """The server's buffer lacks a piece of it: another session gets the item from its beginning."""

    @on_rig()
    async def run(rig):
        await rig.say(1)
        await rig.hear(refusal(code, rig.line.sent[0]["event_id"]))
        await rig.wait(0.2)
        assert (len(rig.lines), rig.line.committed) == (2, {1: FRAME * 10})
        await rig.hear(taken("a"), words("a", "one"), refusal(code, rig.line.sent[0]["event_id"]))
        assert (rig.finals, rig.failures, len(rig.lines)) == ([(1, "one")], [(0, "append_refused")], 2)

    run(monkeypatch)


@on_rig()
async def test_appends_that_every_session_refuses(rig):
    """After three sessions the item has failed, in one sentence with the server's code."""
    await rig.say(1)
    for _ in range(3):
        await rig.hear(refusal("rate_limit_exceeded", "append_1"))
        await rig.wait(0.5)
    assert rig.failures == [(0, "append_refused"), (1, "append_refused")]
    assert rig.facts[1].message == "Speech to text at twin did not take all that was said (rate_limit_exceeded)."


@on_rig()
async def test_too_many_items(rig):
    """The oldest of seventeen that wait has failed; the queue is bounded."""
    for item in range(1, 18):
        await rig.say(item)
    assert (rig.failures, len(rig.stt.all)) == ([(1, "overrun")], 16)


@virtual_time
async def test_the_tail():
    """Silence follows what was said, for a model that would lose its last word; also through the SDK."""
    async with stages(Script(transcripts=["one"]), stt_tail_ms=250) as (engines, _, stt, facts):
        await say(stt, 1, frames=50)
        await asyncio.sleep(1)
        assert engines.of("stt_commit")[0].detail == 480 * 50 + 24 * 250
        assert finals(facts) == {1: "one"}


@virtual_time
async def test_a_stalled_transcript_through_the_sdk():
    """A transcript that never comes is found by another connection, with as many samples."""
    async with stages(Script(transcripts=["first", "second"], stt_stall={1}), stt_timeout_s=4) as (
        engines,
        _,
        stt,
        facts,
    ):
        await say(stt, 1, frames=60)
        await asyncio.sleep(2.5)
        first, second = engines.of("stt_commit")
        assert (first.detail, second.detail) == (480 * 60, 480 * 60)
        assert (second.at_us - first.at_us, finals(facts)) == (2_100_000, {1: "second"})
        assert [fact.code for fact in facts if isinstance(fact, SttFailed)] == ["timeout"]


@virtual_time
async def test_renewal_through_the_sdk():
    """A session is renewed at its age, and the next item is heard on the new one."""
    async with stages(Script(transcripts=["one", "two"]), stt_session_s=60) as (engines, _, stt, facts):
        await say(stt, 1)
        await asyncio.sleep(70)
        await say(stt, 2)
        await asyncio.sleep(1)
        assert finals(facts) == {1: "one", 2: "two"}
        assert len(engines.of("stt_commit")) == 2
        assert [type(fact).__name__ for fact in facts].count("SttConnected") == 2
