"""Realtime conversations in GA shape: the session, an answer to text and to audio, and the order of their events."""

import base64
import json

import pytest

from tests.conformance.speaking import CLOCK, answer, audio, message, say, session, words
from tests.conformance.wire import dialog, order

ANSWER = [
    "response.created", "response.output_item.added", "conversation.item.added", "response.content_part.added", "delta",
    "response.output_audio.done", "response.output_audio_transcript.done", "response.content_part.done",
    "conversation.item.done", "response.output_item.done", "response.done",
]  # fmt: skip
TEXT_ANSWER = [*ANSWER[:5], "response.output_text.done", *ANSWER[7:]]
CALL = [
    "response.created", "response.output_item.added", "conversation.item.added", "delta",
    "response.function_call_arguments.done", "conversation.item.done", "response.output_item.done", "response.done",
]  # fmt: skip
COMMITTED = ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
TRANSCRIPT = "conversation.item.input_audio_transcription."


@pytest.fixture
async def opened(target):
    """Open a conversation whose turns the client ends."""
    await target.needs("realtime_conversation")
    made = dialog(target, model=target.models["realtime"])
    talk = await made.__aenter__()
    await talk.until("session.created")
    await talk.update(session(target))
    yield talk
    await made.__aexit__(None, None, None)


# ------------------------------------------------------------------------------------------ the session
async def test_created(target, opened):
    """The first event shows a conversation with its model, and with turn detection until the client says otherwise."""
    first = opened.events[0]
    assert first["type"] == "session.created"
    made = first["session"]
    assert (made["type"], made["object"], made["model"]) == ("realtime", "realtime.session", target.models["realtime"])
    assert made["id"].startswith("sess_")
    assert made["output_modalities"] == ["audio"]
    assert made["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert made["audio"]["input"]["turn_detection"]["type"] in {"server_vad", "semantic_vad"}
    assert made["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert made["audio"]["output"]["voice"]


async def test_updated(target, opened):
    """An update is answered with the whole session as it now is: what was left out stays, null clears."""
    now = await opened.update({"type": "realtime", "tools": [CLOCK], "tool_choice": "auto", "max_output_tokens": 500})
    assert now["id"] == opened.events[0]["session"]["id"]
    assert now["instructions"] == "Answer in one short sentence."
    assert now["audio"]["input"]["turn_detection"] is None
    assert now["audio"]["input"]["transcription"]["model"] == target.models["vad"]
    assert now["audio"]["output"]["voice"] == target.models["voice"]
    assert [tool["name"] for tool in now["tools"]] == ["get_time"]
    assert now["max_output_tokens"] == 500
    vad = {"type": "server_vad", "threshold": 0.6, "silence_duration_ms": 700, "create_response": False}
    now = await opened.update({"type": "realtime", "audio": {"input": {"turn_detection": vad, "transcription": None}}})
    assert vad.items() <= now["audio"]["input"]["turn_detection"].items()
    assert now["audio"]["input"]["transcription"] is None


async def test_the_type_must_be_said(opened):
    """An update without the session's type, or with another one, changes nothing."""
    for wrong in ({"instructions": "Shout."}, {"type": "transcription"}):
        assert (await opened.refused("session.update", session=wrong))["type"] == "invalid_request_error"
    assert (await opened.update({"type": "realtime"}))["instructions"] == "Answer in one short sentence."


async def test_the_model_stays(target, opened):
    """Another model is refused or ignored: it is that of the URL."""
    await opened.send("session.update", session={"type": "realtime", "model": "another-model"})
    await opened.settled(errors=True)
    assert (await opened.update({"type": "realtime"}))["model"] == target.models["realtime"]


async def test_the_voice_stays(opened):
    """A voice that was heard is not changed any more, and the error says which rule that is."""
    await say(opened, "Say hello.")
    await answer(opened)
    wanted = {"type": "realtime", "audio": {"output": {"voice": "cedar"}}}
    assert (await opened.refused("session.update", session=wanted))["code"] == "cannot_update_voice"


# ------------------------------------------------------------------------------------------ text in
async def test_text_in_audio_out(opened):
    """A message is added and done, then the response runs in the service's order, under one id each for it and its item."""
    asked = await say(opened, "Say hello.")
    assert order(opened.events)[-2:] == ["conversation.item.added", "conversation.item.done"]
    response, events = await answer(opened)
    assert order(events) == ANSWER
    assert (response["object"], response["status"]) == ("realtime.response", "completed")
    (item,) = response["output"]
    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", "completed")
    (part,) = item["content"]
    assert part["type"] == "output_audio"
    assert part["transcript"] == words(events)
    assert words(events).strip()
    pcm = audio(events)
    assert len(pcm) % 2 == 0
    assert len(pcm) > 24_000 * 2 * 0.2
    spoken = [event for event in events if event["type"].startswith("response.")]
    assert {event.get("response_id") or event["response"]["id"] for event in spoken} == {response["id"]}
    assert {event["item_id"] for event in spoken if "item_id" in event} == {item["id"]}
    assert {event["output_index"] for event in spoken if "output_index" in event} == {0}
    assert {event["content_index"] for event in spoken if "content_index" in event} == {0}
    added, done = (event for event in events if event["type"].startswith("conversation.item."))
    assert added["previous_item_id"] == done["previous_item_id"] == asked
    assert (added["item"]["id"], added["item"]["status"], added["item"]["content"]) == (item["id"], "in_progress", [])


async def test_the_end_of_a_response(opened):
    """The last event holds the conversation's id, what was used, and the way it was said."""
    await say(opened, "Say hello.")
    response, events = await answer(opened)
    created = events[0]["response"]
    assert (created["status"], created["output"], created["id"]) == ("in_progress", [], response["id"])
    assert response["conversation_id"].startswith("conv_")
    assert response["output_modalities"] == ["audio"]
    usage = response["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert {"text_tokens", "audio_tokens"} <= set(usage["input_token_details"])
    assert {"text_tokens", "audio_tokens"} <= set(usage["output_token_details"])
    (part,) = (event["part"] for event in events if event["type"] == "response.content_part.added")
    assert part["type"] == "audio"
    (transcript,) = (event for event in events if event["type"] == "response.output_audio_transcript.done")
    assert transcript["transcript"] == words(events)


async def test_text_out(opened):
    """A response may be in text alone, whatever the session is."""
    await say(opened, "Say hello.")
    response, events = await answer(opened, output_modalities=["text"])
    assert order(events) == TEXT_ANSWER
    assert response["output_modalities"] == ["text"]
    (part,) = response["output"][0]["content"]
    assert part["type"] == "output_text"
    assert part["text"] == words(events, "response.output_text.delta")
    assert part["text"].strip()


async def test_token_limit(opened):
    """A response that reaches its limit is incomplete and says why; its message is closed all the same."""
    await say(opened, "Tell me a long story.")
    response, events = await answer(opened, output_modalities=["text"], max_output_tokens=2)
    assert order(events) == TEXT_ANSWER
    assert response["status"] == "incomplete"
    assert response["status_details"]["reason"] == "max_output_tokens"
    assert response["output"][0]["status"] == "incomplete"
    assert response["max_output_tokens"] == 2


async def test_the_conversation_goes_on(opened):
    """Each item hangs on the one before, answers too."""
    chain = [await say(opened, "Say hello."), (await answer(opened))[0]["output"][0]["id"], await say(opened, "Again.")]
    chain.append((await answer(opened))[0]["output"][0]["id"])
    added = [event for event in opened.events if event["type"] == "conversation.item.added"]
    assert [event["item"]["id"] for event in added] == chain
    assert [event.get("previous_item_id") for event in added] == [None, *chain[:-1]]


async def test_the_telephones_format(target, opened):
    """Audio may be that of a telephone: a byte a sample, 8,000 samples a second, in both directions."""
    await say(opened, "Say hello.")
    _, events = await answer(opened)
    pcm = audio(events)
    telephone = {"format": {"type": "audio/pcmu"}}
    now = await opened.update({"type": "realtime", "audio": {"input": telephone, "output": telephone}})
    assert now["audio"]["input"]["format"]["type"] == now["audio"]["output"]["format"]["type"] == "audio/pcmu"
    await opened.send("input_audio_buffer.append", audio=base64.b64encode(b"\xff" * 8_000).decode())
    await opened.send("input_audio_buffer.commit")
    await opened.until("conversation.item.done")
    await say(opened, "Say hello.")
    _, events = await answer(opened)
    assert audio(events)
    if target.is_twin:
        assert len(audio(events)) * 6 == pytest.approx(len(pcm), rel=0.02)


async def test_a_response_of_its_own_input(opened):
    """A response may be given instructions and input of its own; the conversation's items are then not its prompt."""
    response, _ = await answer(opened, input=[message("Say hello.")], instructions="Be brief.")
    assert response["status"] == "completed"


# ------------------------------------------------------------------------------------------ audio in
async def test_audio_in(opened, spoken):
    """A commit makes an item and no answer; the answer is the client's to ask for, and the item's words come with it."""
    start = len(opened.events)
    await opened.append(spoken)
    await opened.send("input_audio_buffer.commit")
    item = (await opened.until("conversation.item.done"))["item"]
    events = [event for event in opened.since(start) if not event["type"].startswith(TRANSCRIPT)]
    assert order(events) == COMMITTED
    assert (item["role"], item["content"][0]["type"]) == ("user", "input_audio")
    await opened.send("response.create")
    await opened.until("response.done")
    names = {event["type"] for event in opened.since(start)}
    if TRANSCRIPT + "completed" not in names:
        await opened.until(TRANSCRIPT + "completed", item_id=item["id"])
    answered = [event for event in opened.since(start + 3) if not event["type"].startswith(TRANSCRIPT)]
    assert order(answered) == ANSWER
    await opened.send("conversation.item.retrieve", item_id=item["id"])
    kept = (await opened.until("conversation.item.retrieved"))["item"]["content"][0]
    assert isinstance(kept["transcript"], str)


async def test_a_message_of_audio(opened, spoken):
    """A client may also bring what was said as an item, and have it answered."""
    part = {"type": "input_audio", "audio": base64.b64encode(spoken).decode()}
    await opened.send("conversation.item.create", item={"type": "message", "role": "user", "content": [part]})
    item = (await opened.until("conversation.item.done"))["item"]
    assert (item["role"], item["content"][0]["type"]) == ("user", "input_audio")
    response, _ = await answer(opened)
    assert response["status"] == "completed"


async def test_without_transcription(target, opened, spoken):
    """Where no transcription is configured, none is told; the answer comes all the same."""
    await opened.update({"type": "realtime", "audio": {"input": {"transcription": None}}})
    await opened.append(spoken)
    await opened.send("input_audio_buffer.commit")
    await opened.send("response.create")
    assert (await opened.until("response.done"))["response"]["status"] == "completed"
    await opened.settled()
    assert not [event for event in opened.events if event["type"].startswith(TRANSCRIPT)]


async def test_nothing_to_commit(opened):
    """The rule of 100 ms holds here too."""
    assert (await opened.refused("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"


@pytest.mark.parametrize("kind", ["server_vad", "semantic_vad"])
async def test_the_server_ends_the_turn(target, opened, spoken, kind):
    """With turn detection the server commits and answers by itself."""
    await opened.update({"type": "realtime", "audio": {"input": {"turn_detection": {"type": kind}}}})
    start = len(opened.events)
    await opened.append(spoken + bytes(2 * 24_000 * (0 if kind == "server_vad" else 8)))
    done = await opened.until("response.done")
    assert done["response"]["status"] == "completed"
    events = [event for event in opened.since(start) if not event["type"].startswith(TRANSCRIPT)]
    assert order(events) == [
        "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", *COMMITTED, *ANSWER,
    ]  # fmt: skip
    user = {event.get("item_id") or event["item"]["id"] for event in events[:5]}
    assert len(user) == 1


async def test_a_turn_without_an_answer(target, opened, spoken):
    """With `create_response` off the server ends the turn and says no more."""
    vad = {"type": "server_vad", "create_response": False}
    await opened.update({"type": "realtime", "audio": {"input": {"turn_detection": vad}}})
    await opened.append(spoken)
    await opened.until("conversation.item.done")
    await opened.until(TRANSCRIPT + "completed")
    await opened.settled()
    assert not [event for event in opened.events if event["type"].startswith("response.")]


# ------------------------------------------------------------------------------------------ functions
async def test_function_round_trip(target, opened):
    """The response ends at the call; its output is an item, and the next response is an answer."""
    await opened.update({"type": "realtime", "tools": [CLOCK], "tool_choice": "required"})
    await say(opened, "What time is it?")
    response, events = await answer(opened)
    assert order(events) == CALL
    (call,) = response["output"]
    assert (call["type"], call["name"], call["status"]) == ("function_call", "get_time", "completed")
    assert json.loads(call["arguments"]) == {}
    (done,) = (event for event in events if event["type"] == "response.function_call_arguments.done")
    assert (done["call_id"], done["arguments"], done["item_id"]) == (call["call_id"], call["arguments"], call["id"])
    assert words(events, "response.function_call_arguments.delta") == call["arguments"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "twelve o'clock"}
    await opened.send("conversation.item.create", item=result)
    added = await opened.until("conversation.item.added")
    assert added["item"]["type"] == "function_call_output"
    assert added["previous_item_id"] == call["id"]
    response, events = await answer(opened, tool_choice="none")
    assert response["status"] == "completed"
    assert response["output"][0]["type"] == "message"
    assert words(events).strip()
