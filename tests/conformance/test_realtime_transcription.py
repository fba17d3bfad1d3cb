"""Realtime transcription in GA shape: configuration, commits, the order of events, items, turns that the server ends."""

import pytest

from tests.conformance.wire import dialog, order
from voiceagent.twin.scripted import tone

COMMITTED = ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"
SECOND = tone(24_000)


def session(model, **fields):
    """A transcription session's configuration."""
    audio_input = {
        "format": {"type": "audio/pcm", "rate": 24_000}, "transcription": {"model": model}, "turn_detection": None, **fields,
    }  # fmt: skip
    return {"type": "transcription", "audio": {"input": audio_input}}


@pytest.fixture
async def opened(target):
    """Open a session and take its first event."""
    await target.needs("realtime_transcription")
    made = dialog(target, intent="transcription")
    talk = await made.__aenter__()
    await talk.until("session.created")
    yield talk
    await made.__aexit__(None, None, None)


async def test_created(opened):
    """The first event shows a transcription session with an id and the state of its input."""
    first = opened.events[0]
    assert first["type"] == "session.created"
    made = first["session"]
    assert made["type"] == "transcription"
    assert made["object"] == "realtime.transcription_session"
    assert made["id"].startswith("sess_")
    assert made["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}


async def test_updated(target, opened):
    """An update is answered with the whole session as it now is: what was left out stays, null clears."""
    noise = {"type": "near_field"}
    now = await opened.update(session(target.models["stt"], noise_reduction=noise))
    assert now["type"] == "transcription"
    assert now["id"] == opened.events[0]["session"]["id"]
    assert now["audio"]["input"]["transcription"]["model"] == target.models["stt"]
    assert now["audio"]["input"]["turn_detection"] is None
    partly = {"type": "transcription", "audio": {"input": {"transcription": {"model": target.models["vad"]}}}}
    now = await opened.update(partly)
    assert now["audio"]["input"]["noise_reduction"]["type"] == "near_field"
    assert now["audio"]["input"]["transcription"]["model"] == target.models["vad"]
    now = await opened.update({"type": "transcription", "audio": {"input": {"noise_reduction": None}}})
    assert now["audio"]["input"]["noise_reduction"] is None


async def test_commits(target, opened, spoken):
    """Committed, added, done, words, completed; items hang in a chain, and words add up to the transcript."""
    await opened.update(session(target.models["stt"]))
    previous = None
    for _ in range(2):
        start = len(opened.events)
        await opened.append(spoken)
        await opened.send("input_audio_buffer.commit")
        completed = await opened.until(COMPLETED)
        events = opened.since(start)
        after = [event for event in events if event["type"] != DELTA]
        assert order(after) == [*COMMITTED, COMPLETED]
        item_id = after[0]["item_id"]
        assert {event.get("item_id") or event["item"]["id"] for event in events} == {item_id}
        assert after[0].get("previous_item_id") == previous
        assert after[1].get("previous_item_id") == previous
        if target.is_twin:
            assert "".join(event["delta"] for event in events if event["type"] == DELTA) == completed["transcript"]
        assert completed["content_index"] == 0
        assert completed["usage"]["type"] in {"duration", "tokens"}
        previous = item_id


async def test_items_of_a_commit(target, opened):
    """The item of a commit is a user's message of audio, whose transcript is not there yet."""
    await opened.update(session(target.models["stt"]))
    await opened.append(SECOND)
    await opened.send("input_audio_buffer.commit")
    added = (await opened.until("conversation.item.added"))["item"]
    assert (added["object"], added["type"], added["role"]) == ("realtime.item", "message", "user")
    (part,) = added["content"]
    assert part["type"] == "input_audio"
    assert not part.get("transcript")
    completed = await opened.until(COMPLETED)
    await opened.send("conversation.item.retrieve", item_id=added["id"])
    item = (await opened.until("conversation.item.retrieved"))["item"]
    assert item["id"] == added["id"]
    assert item["content"][0]["transcript"] == completed["transcript"]


async def test_models_with_words_after_the_commit(target, opened, spoken):
    """A model that listens to the end sends no word before the commit, and counts tokens."""
    await opened.update(session(target.models["vad"]))
    await opened.append(spoken)
    await opened.settled()
    assert DELTA not in order(opened.events)
    start = len(opened.events)
    await opened.append(spoken)
    await opened.send("input_audio_buffer.commit")
    completed = await opened.until(COMPLETED)
    assert order(opened.since(start))[:3] == COMMITTED
    usage = completed["usage"]
    if usage["type"] == "tokens":
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert {"audio_tokens", "text_tokens"} <= set(usage["input_token_details"])


async def test_nothing_to_commit(target, opened):
    """Less than 100 ms is an error with the service's code and sentence, and the session goes on."""
    await opened.update(session(target.models["stt"]))
    for pcm, has in ((b"", "0.00ms"), (tone(960), "40.00ms")):
        await opened.append(pcm)
        error = await opened.refused("input_audio_buffer.commit")
        assert error["code"] == "input_audio_buffer_commit_empty"
        assert error["type"] == "invalid_request_error"
        assert "at least 100ms" in error["message"]
        assert has in error["message"]
        await opened.settled()
    await opened.append(SECOND)
    await opened.send("input_audio_buffer.commit")
    await opened.until(COMPLETED)


async def test_clear(target, opened):
    """A cleared buffer is empty; clearing an empty one is no error."""
    await opened.update(session(target.models["stt"]))
    await opened.append(SECOND)
    await opened.settled()
    await opened.settled()
    assert (await opened.refused("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"


async def test_streaming_models_refuse_turn_detection(target, opened):
    """A streaming model takes no turn detection of any kind, and the session stays as it was."""
    await opened.update(session(target.models["stt"]))
    for kind in ("server_vad", "semantic_vad"):
        error = await opened.refused(
            "session.update", session=session(target.models["stt"], turn_detection={"type": kind})
        )
        assert error["param"] == "session.audio.input.turn_detection"
    partly = {"type": "transcription", "audio": {"input": {"noise_reduction": None}}}
    assert (await opened.update(partly))["audio"]["input"]["turn_detection"] is None


async def test_a_change_to_a_streaming_model(target, opened):
    """Where the model changes to one that takes no turn detection, there is none any more, or the change is refused."""
    await opened.update(session(target.models["vad"], turn_detection={"type": "server_vad"}))
    changed = {"type": "transcription", "audio": {"input": {"transcription": {"model": target.models["stt"]}}}}
    await opened.send("session.update", session=changed)
    await opened.settled(errors=not target.is_twin)
    now = (await opened.update({"type": "transcription"}))["audio"]["input"]
    assert now["transcription"]["model"] == target.models["vad"] or now["turn_detection"] is None


async def test_server_vad(target, opened, spoken):
    """Where the model allows it the server ends turns: started, stopped, committed, and the item has the id it began with."""
    vad = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
    now = await opened.update(session(target.models["vad"], turn_detection=vad))
    assert vad.items() <= now["audio"]["input"]["turn_detection"].items()
    start = len(opened.events)
    await opened.append(spoken)
    completed = await opened.until(COMPLETED)
    events = [event for event in opened.since(start) if event["type"] != DELTA]
    assert order(events) == [
        "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", *COMMITTED, COMPLETED,
    ]  # fmt: skip
    assert {event.get("item_id") or event["item"]["id"] for event in events} == {completed["item_id"]}
    assert 0 <= events[0]["audio_start_ms"] < events[1]["audio_end_ms"] <= len(spoken) / 48


async def test_another_kind_of_session_is_refused(target, opened):
    """A transcription session does not become a conversation."""
    error = await opened.refused("session.update", session={"type": "realtime"})
    assert error["type"] == "invalid_request_error"
    await opened.update(session(target.models["stt"]))


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"type": "no.such.event"}, "type"),
        ({"type": "input_audio_buffer.append", "audio": "!!"}, "audio"),
        ({"type": "conversation.item.retrieve", "item_id": "item_nobody"}, "item_id"),
    ],
)
async def test_wrong_events(target, opened, sent, param):
    """What is wrong is an error event that names the event and the field; the session stays open."""
    fields = {name: value for name, value in sent.items() if name != "type"}
    error = await opened.refused(sent["type"], **fields)
    assert error["type"] == "invalid_request_error"
    if target.is_twin:
        assert error["param"] == param
    await opened.settled()


async def test_no_json(opened):
    """Not even what is no JSON closes it."""
    await opened.connection.send_raw("{")
    assert (await opened.until("error"))["error"]["type"] == "invalid_request_error"
    await opened.settled()
