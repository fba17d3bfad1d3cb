"""Responses beside a Realtime conversation, texts that are read aloud, and where their words end."""

import pytest

from tests.twin.realtime import BESIDE, MESSAGE, audio_in, kinds, talking
from tests.virtual import virtual_time
from voiceagent.twin import Script


def reads(text, **fields):
    """A response that reads a text aloud, outside the conversation."""
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    order = "Read the user's text aloud verbatim. Add nothing."
    return {"conversation": "none", "input": [message], "instructions": order, **fields}


@virtual_time
async def test_responses_beside_the_conversation():
    """They run at once, are told apart by their ids, leave no item behind, and need no active one to end."""
    async with talking(Script(replies=["Hello to you."])) as talk:
        asked = await talk.say("hello")
        for text in ("One.", "Two."):
            await talk.send("response.create", response=reads(text, metadata={"utt": text}))
        await talk.send("response.create")
        events = []
        while len(done := [event["response"] for event in events if event["type"] == "response.done"]) < 3:
            events.append(await talk.next())
        assert {response["conversation_id"] is None for response in done} == {True, False}
        for response in done:
            own = [event for event in events if event.get("response_id") == response["id"]]
            text = response["output"][0]["content"][0]["transcript"]
            assert audio_in(own) == talk.engines.audio(text)
            assert response["metadata"] == ({"utt": text} if response["conversation_id"] is None else None)
        await talk.take(1)
        answer = next(response["output"][0]["id"] for response in done if response["conversation_id"])
        previous = await talk.say("more")
        assert previous
        told = [event for event in events if event["type"] == "conversation.item.added"]
        assert [(event["item"]["id"], event["previous_item_id"]) for event in told] == [(answer, asked)]
        assert len(talk.engines.of("llm_request")) == 1


@virtual_time
async def test_a_response_beside_the_conversation_is_cancelled():
    """By its id; the one in the conversation goes on."""
    async with talking(Script(tts_stall={1})) as talk:
        await talk.send("response.create", response=reads("One."))
        await talk.send("response.create", response=reads("Two."))
        first, second = [event["response"]["id"] for event in await talk.take(8) if "response" in event][:2]
        await talk.send("response.cancel")
        events = await talk.until("error")
        assert events[-1]["error"]["code"] == "response_cancel_not_active"
        await talk.send("response.cancel", response_id=first)
        events += await talk.until("rate_limits.updated")
        while len(done := [event["response"] for event in events if event["type"] == "response.done"]) < 2:
            events.append(await talk.next())
        assert {response["id"]: response["status"] for response in done} == {first: "cancelled", second: "completed"}
        assert [entry.detail for entry in talk.engines.of("tts_cancelled")] == ["One."]


@pytest.mark.parametrize(
    ("response", "spoken"),
    [
        (reads("It is me.  Hello!"), "It is me.  Hello!"),
        (reads("It is me.", instructions="Repeat this VERBATIM, please."), "It is me."),
        ({"instructions": "Say exactly the following:\nI am sorry. Please repeat."}, "I am sorry. Please repeat."),
    ],
)
def test_reading_aloud(response, spoken):
    """The very text is spoken, in one piece, and no model is asked."""

    @virtual_time
    async def run():
        async with talking() as talk:
            await talk.send("response.create", response=response)
            events = await talk.answered()
            assert kinds(events) == (BESIDE if "conversation" in response else MESSAGE)
            assert events[-2]["response"]["output"][0]["content"][0]["transcript"] == spoken
            assert [entry.detail for entry in talk.engines.of("tts_request")] == [spoken]
            assert talk.engines.of("llm_request") == []

    run()


@virtual_time
async def test_a_conversation_is_no_reading():
    """In the conversation an order to be verbatim is the model's to follow."""
    async with talking() as talk:
        await talk.say("one")
        await talk.send("response.create", response={"instructions": "Quote verbatim."})
        await talk.answered()
        assert len(talk.engines.of("llm_request")) == 1


@pytest.mark.parametrize("where", ["session", "response", None])
def test_words_are_told_where_it_is_asked_for(where):
    """An extra event tells where words end in the whole transcript and in all the audio, before that audio."""

    @virtual_time
    async def run():
        script = Script(replies=["This is the first. Two it is."], tts_ms_per_char=50, tts_leading_silence_ms=100)
        async with talking(script) as talk:
            if where == "session":
                await talk.update(metadata={"words": "on"})
            await talk.say("hello")
            metadata = {"metadata": {"words": "on"}} if where == "response" else {}
            await talk.send("response.create", response=metadata)
            events = await talk.answered()
            told = [event for event in events if event["type"] == "response.output_audio.words"]
            if where is None:
                assert told == []
                return
            assert [[(word["end_char"], word["end_ms"]) for word in event["words"]] for event in told] == [
                [(4, 300), (7, 450), (11, 650), (18, 1000)],
                [(22, 1250), (25, 1400), (29, 1600)],
            ]
            assert len(audio_in(events)) == 1600 * 48
            words, audio = "response.output_audio.words", MESSAGE[5]
            assert kinds(events)[4:10] == [MESSAGE[4], words, audio, MESSAGE[4], words, audio]

    run()
