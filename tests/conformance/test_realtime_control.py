"""What a client may do to a Realtime conversation: cancel, truncate, delete, ask beside it, and ask for too much."""

import asyncio

import pytest

from tests.conformance.speaking import STORY, answer, audio, message, say, session, words
from tests.conformance.wire import dialog, order


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


@pytest.fixture
def slowly(target):
    """Scripted engines speak a long text as fast as one listens, so that there is something to interrupt."""
    if target.engines is not None:
        target.engines.script.replies = ("word " * 40,)
        target.engines.script.tts_realtime_factor = 1.0


# ------------------------------------------------------------------------------------------ cancel
async def test_cancel(opened, slowly):
    """A cancelled response is done as cancelled by the client, and the next one answers as if nothing had been."""
    await say(opened, STORY)
    await opened.send("response.create")
    begun = (await opened.until("response.created"))["response"]["id"]
    await opened.send("response.cancel")
    response = (await opened.until("response.done"))["response"]
    assert (response["id"], response["status"]) == (begun, "cancelled")
    assert response["status_details"]["reason"] == "client_cancelled"
    await say(opened, "Say hello.")
    await opened.send("response.create", response={"output_modalities": ["text"]})
    assert (await opened.until("response.done"))["response"]["status"] == "completed"


async def test_cancel_by_id(opened, slowly):
    """A response is cancelled by its id; its events end with it."""
    await say(opened, STORY)
    await opened.send("response.create")
    begun = (await opened.until("response.created"))["response"]["id"]
    await opened.until("response.output_audio.delta")
    await opened.send("response.cancel", response_id=begun)
    assert (await opened.until("response.done"))["response"]["id"] == begun
    count = len(opened.events)
    await opened.settled()
    assert order(opened.since(count)) == ["input_audio_buffer.cleared"]


async def test_nothing_to_cancel(opened):
    """To cancel when nothing runs is an error with a code of its own, and harmless."""
    assert (await opened.refused("response.cancel"))["code"] == "response_cancel_not_active"
    await opened.settled()


@pytest.mark.parametrize("interrupts", [True, False])
async def test_speech_over_an_answer(target, opened, slowly, spoken, interrupts):
    """The server that hears speech cancels the answer and answers anew; told not to interrupt, it lets it be."""
    if target.name == "local":
        pytest.skip("local: an answer has been sent before anybody could speak over it")
    vad = {"type": "server_vad", "interrupt_response": interrupts, "create_response": interrupts}
    await opened.update({"type": "realtime", "audio": {"input": {"turn_detection": vad}}})
    await say(opened, STORY)
    await opened.send("response.create")
    first = (await opened.until("response.created"))["response"]["id"]
    await opened.until("response.output_audio.delta")
    await opened.append(spoken)
    await opened.until("input_audio_buffer.speech_started")
    if interrupts:
        cut = (await opened.until("response.done"))["response"]
        assert (cut["id"], cut["status"], cut["status_details"]["reason"]) == (first, "cancelled", "turn_detected")
        assert (await opened.until("response.created"))["response"]["id"] != first
    else:
        await opened.until("input_audio_buffer.committed")
        assert not [event for event in opened.events if event["type"] == "response.done"]
    await opened.send("response.cancel")
    await opened.until("response.done")


# ------------------------------------------------------------------------------------------ truncate, delete, retrieve
async def test_truncate(opened):
    """An answer is cut at what was heard; the words that were not heard are gone from the item."""
    await say(opened, "Say hello.")
    response, events = await answer(opened)
    item = response["output"][0]["id"]
    await opened.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=100)
    cut = await opened.until("conversation.item.truncated")
    assert (cut["item_id"], cut["content_index"], cut["audio_end_ms"]) == (item, 0, 100)
    await opened.send("conversation.item.retrieve", item_id=item)
    kept = (await opened.until("conversation.item.retrieved"))["item"]
    assert kept["id"] == item
    assert len((kept["content"] or [{}])[0].get("transcript") or "") < len(words(events))


async def test_truncate_beyond_the_end(opened):
    """More than there is cannot have been heard."""
    await say(opened, "Say hello.")
    response, events = await answer(opened)
    end_ms = len(audio(events)) // 48
    item = response["output"][0]["id"]
    error = await opened.refused(
        "conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=end_ms + 60_000
    )
    assert error["type"] == "invalid_request_error"
    await opened.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=end_ms // 2)
    await opened.until("conversation.item.truncated")


async def test_a_users_message_cannot_be_truncated(opened):
    """Only what the agent said is cut."""
    asked = await say(opened, "Say hello.")
    error = await opened.refused("conversation.item.truncate", item_id=asked, content_index=0, audio_end_ms=0)
    assert error["type"] == "invalid_request_error"


async def test_delete(opened):
    """A deleted item is gone; what comes next hangs on the one before it."""
    first, second = await say(opened, "Say hello."), await say(opened, "Say goodbye.")
    await opened.send("conversation.item.delete", item_id=second)
    assert (await opened.until("conversation.item.deleted"))["item_id"] == second
    assert (await opened.refused("conversation.item.retrieve", item_id=second))["type"] == "invalid_request_error"
    await say(opened, "Say nothing.")
    assert opened.events[-1]["previous_item_id"] == first


async def test_items_in_the_middle(opened):
    """An item may be put at the beginning, or after another one, and may bring its own id."""
    first = await say(opened, "One.")
    await say(opened, "Three.")
    for before, wanted in ((first, first), ("root", None)):
        item = message("Between.") | {"id": f"item_of_mine_{before[:4]}"}
        await opened.send("conversation.item.create", item=item, previous_item_id=before)
        added = await opened.until("conversation.item.added")
        assert (added["item"]["id"], added.get("previous_item_id")) == (item["id"], wanted)
    error = await opened.refused("conversation.item.create", item=message("Lost."), previous_item_id="item_nobody")
    assert error["type"] == "invalid_request_error"


async def test_a_history_can_be_written(opened):
    """A client may tell what was said before, answers too, and instructions in between."""
    await say(opened, "My name is Ada.")
    spoken = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello, Ada."}]}
    rule = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]}
    for item in (spoken, rule):
        await opened.send("conversation.item.create", item=item)
        done = (await opened.until("conversation.item.done"))["item"]
        assert (done["role"], done["content"][0]["text"]) == (item["role"], item["content"][0]["text"])
    await say(opened, "What is my name?")
    assert (await answer(opened))[0]["status"] == "completed"


# ------------------------------------------------------------------------------------------ beside the conversation
async def test_out_of_band_in_parallel(opened):
    """Responses outside the conversation run at once, are told apart by their metadata, and leave no item behind."""
    texts = ("Read this aloud: one.", "Read this aloud: two.")
    for text in texts:
        await opened.send(
            "response.create",
            response={
                "conversation": "none", "input": [message(text)], "metadata": {"phrase": text[-4:-1]},
                "output_modalities": ["audio"], "instructions": "Read the text.",
            },
        )  # fmt: skip
    done = [(await opened.until("response.done"))["response"] for _ in texts]
    assert {response["status"] for response in done} == {"completed"}
    assert {response["metadata"]["phrase"] for response in done} == {"one", "two"}
    assert {response["conversation_id"] for response in done} == {None}
    for response in done:
        mine = [event for event in opened.events if event.get("response_id") == response["id"]]
        assert audio(mine)
        assert words(mine) == response["output"][0]["content"][0]["transcript"]
    assert not [event for event in opened.events if event["type"].startswith("conversation.item.")]
    await say(opened, "Say hello.")
    assert opened.events[-1].get("previous_item_id") is None


async def test_out_of_band_beside_a_response(opened, slowly):
    """A response outside the conversation does not wait for the one inside, and cancelling it by id leaves that one be."""
    await say(opened, STORY)
    await opened.send("response.create")
    inside = (await opened.until("response.created"))["response"]["id"]
    await opened.send(
        "response.create",
        response={"conversation": "none", "input": [message(STORY)], "output_modalities": ["text"]},
    )
    beside = (await opened.until("response.created"))["response"]["id"]
    assert beside != inside
    await opened.send("response.cancel", response_id=inside)
    done = {}
    while len(done) < 2:
        response = (await opened.until("response.done"))["response"]
        done[response["id"]] = response["status"]
    assert done == {inside: "cancelled", beside: "completed"}


async def test_an_item_by_reference(opened):
    """A response outside may refer to an item inside."""
    asked = await say(opened, "Say hello.")
    response, _ = await answer(
        opened, conversation="none", input=[{"type": "item_reference", "id": asked}], output_modalities=["text"]
    )
    assert response["status"] == "completed"


# ------------------------------------------------------------------------------------------ too much
async def test_one_response_at_a_time(opened, slowly):
    """A second response in the conversation is refused by its code, and the first one goes on."""
    await say(opened, STORY)
    await opened.send("response.create")
    first = (await opened.until("response.created"))["response"]["id"]
    error = await opened.refused("response.create")
    assert error["code"] == "conversation_already_has_active_response"
    await opened.send("response.cancel")
    assert (await opened.until("response.done"))["response"]["id"] == first


async def test_wrong_events(opened):
    """What is wrong is an error event that names the event it is about; the session stays open."""
    for kind, fields in (
        ("no.such.event", {}),
        ("conversation.item.create", {"item": {"type": "nonsense"}}),
        ("conversation.item.retrieve", {"item_id": "item_nobody"}),
        ("response.create", {"response": {"output_modalities": ["smell"]}}),
    ):
        assert (await opened.refused(kind, **fields))["type"] == "invalid_request_error"
    await opened.settled()


async def test_through_the_sdks_own_loop(opened):
    """The SDK's iterator gives typed events, and `asyncio` can leave it at any time."""
    await say(opened, "Say hello.")
    await opened.connection.response.create()
    seen = []
    async with asyncio.timeout(60):
        async for event in opened.connection:
            seen.append(event.type)
            if event.type == "response.done":
                assert event.response.output[0].content[0].transcript.strip()
                break
    assert seen[0] == "response.created"
