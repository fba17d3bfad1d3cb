"""The items of a Realtime conversation: a chain that the client adds to, looks at, cuts and deletes from."""

import base64

import pytest

from tests.twin.realtime import kinds, talking, transcribing, voice
from tests.virtual import virtual_time
from voiceagent.twin import Script, ScriptedEngines
from voiceagent.twin.items import Item
from voiceagent.twin.ports import WordEnd


def message(role, kind, text, **fields):
    """A message with one part."""
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}], **fields}


async def chain(talk):
    """What the model sees of the conversation."""
    await talk.send(
        "response.create", response={"instructions": "", "conversation": "none", "output_modalities": ["text"]}
    )
    await talk.answered()
    return [entry["content"] for entry in talk.engines.of("llm_request")[-1].detail]


@virtual_time
async def test_items_make_a_chain():
    """An item goes to the end, to the beginning, or behind another; the events tell what is before it."""
    async with talking() as talk:
        first = await talk.say("one")
        await talk.send("conversation.item.create", item=message("assistant", "output_text", "three"))
        added, done = await talk.take(2)
        assert added["previous_item_id"] == done["previous_item_id"] == first
        await talk.send(
            "conversation.item.create", item=message("user", "input_text", "two", id="mine"), previous_item_id=first
        )
        assert [(event["item"]["id"], event["previous_item_id"]) for event in await talk.take(2)] == [
            ("mine", first)
        ] * 2
        await talk.send(
            "conversation.item.create", item=message("system", "input_text", "zero"), previous_item_id="root"
        )
        assert [event["previous_item_id"] for event in await talk.take(2)] == [None, None]
        assert await chain(talk) == ["zero", "one", "two", "three"]
        await talk.send("conversation.item.delete", item_id="mine")
        (deleted,) = await talk.take(1)
        assert (deleted["type"], deleted["item_id"]) == ("conversation.item.deleted", "mine")
        assert await chain(talk) == ["zero", "one", "three"]
        await talk.send("conversation.item.retrieve", item_id=first)
        (found,) = await talk.take(1)
        assert found["item"] == {
            "id": first, "object": "realtime.item", "type": "message", "role": "user", "status": "completed",
            "content": [{"type": "input_text", "text": "one"}],
        }  # fmt: skip


CREATE, USER = "conversation.item.create", message("user", "input_text", "x")


@pytest.mark.parametrize(
    ("kind", "fields", "code", "param"),
    [
        (CREATE, {}, "missing_required_parameter", "item"),
        (CREATE, {"item": {"type": "song"}}, "invalid_value", "item.type"),
        (CREATE, {"item": {**USER, "role": "nobody"}}, "invalid_value", "item.role"),
        (CREATE, {"item": message("user", "output_text", "x")}, "invalid_value", "item.content[0].type"),
        (CREATE, {"item": message("user", "input_text", 5)}, "invalid_value", "item.content[0].text"),
        (CREATE, {"item": {"type": "message", "role": "user"}}, "missing_required_parameter", "item.content"),
        (
            CREATE,
            {"item": {"type": "function_call_output", "call_id": "c"}},
            "missing_required_parameter",
            "item.output",
        ),
        (CREATE, {"item": {**USER, "id": "known"}}, "invalid_value", "item.id"),
        (CREATE, {"item": {**USER, "id": "x" * 300}}, "invalid_value", "item.id"),
        (CREATE, {"item": USER, "previous_item_id": "no"}, "item_not_found", "previous_item_id"),
        ("conversation.item.delete", {"item_id": "no"}, "item_not_found", "item_id"),
        ("conversation.item.delete", {"item_id": ["no"]}, "item_not_found", "item_id"),
        ("conversation.item.retrieve", {}, "item_not_found", "item_id"),
        ("conversation.item.truncate", {"item_id": "known", "audio_end_ms": 0}, "invalid_value", "item_id"),
    ],
)
def test_what_is_no_item(kind, fields, code, param):
    """It is refused with the parameter that is wrong, and the chain stays."""

    @virtual_time
    async def run():
        async with talking() as talk:
            await talk.send("conversation.item.create", item=message("user", "input_text", "here", id="known"))
            await talk.take(2)
            await talk.send(kind, event_id="mine", **fields)
            error = await talk.refused()
            assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
            assert error["event_id"] == "mine"
            assert await chain(talk) == ["here"]

    run()


async def spoken(talk, text):
    """Let a text be said, and return its item's id."""
    await talk.send("response.create", response={"instructions": f"Say exactly the following:\n{text}"})
    return (await talk.answered())[-2]["response"]["output"][0]["id"]


@virtual_time
async def test_cut_at_what_was_heard():
    """What lies behind the last word that was heard is forgotten, by the item and by the model."""
    async with talking(Script(tts_ms_per_char=50)) as talk:
        item_id = await spoken(talk, "one two three")  # 650 ms; the words end at 150, 350 and 650
        cut = {"item_id": item_id, "content_index": 0}
        await talk.send("conversation.item.truncate", **cut, audio_end_ms=651)
        error = await talk.refused()
        assert (error["code"], error["message"]) == (
            "invalid_value", "Audio content of 650ms is already shorter than 651ms",
        )  # fmt: skip
        for end_ms, heard in ((650, "one two three"), (400, "one two"), (349, "one"), (0, "")):
            await talk.send("conversation.item.truncate", **cut, audio_end_ms=end_ms)
            (ack,) = await talk.take(1)
            assert {key: ack[key] for key in ("type", "item_id", "content_index", "audio_end_ms")} == {
                "type": "conversation.item.truncated", **cut, "audio_end_ms": end_ms,
            }  # fmt: skip
            await talk.send("conversation.item.retrieve", item_id=item_id)
            (found,) = await talk.take(1)
            assert found["item"]["content"] == [{"type": "output_audio", "transcript": heard}]
            assert await chain(talk) == ([heard] if heard else [])


@pytest.mark.parametrize(
    "wrong", [{"content_index": 1}, {"audio_end_ms": -1}, {"audio_end_ms": "1"}, {"audio_end_ms": None}]
)
def test_a_cut_that_is_none(wrong):
    """An index or a time that cannot be is refused."""

    @virtual_time
    async def run():
        async with talking() as talk:
            cut = {"item_id": await spoken(talk, "one"), "content_index": 0, "audio_end_ms": 0, **wrong}
            await talk.send("conversation.item.truncate", **cut)
            assert (await talk.refused())["param"] == next(iter(wrong))

    run()


@pytest.mark.parametrize(
    ("words", "end_ms", "left"),
    [
        ([], 540, "one two"),
        ([], 500, "one"),
        ([], 0, ""),
        ([], 1000, "one two three"),
        ([WordEnd(3, 100), WordEnd(7, 900), WordEnd(13, 950)], 899, "one"),
    ],
)
def test_a_cut_between_words(words, end_ms, left):
    """An engine that knows its words is believed; else all characters take equally long, and no word is cut in two."""
    part = {"type": "output_audio", "transcript": "one two three"}
    item = Item("x", {"type": "message", "role": "assistant", "content": [part]}, samples=24_000, words=words)
    item.cut(end_ms)
    assert (item.text, item.samples) == (left, end_ms * 24)


@virtual_time
async def test_an_item_with_audio():
    """What a message of the user brings as audio is heard before the model answers; with a transcript it is believed."""
    engines = ScriptedEngines(Script(transcripts=["from the audio"]))
    async with talking(engines=engines) as talk:
        audio = base64.b64encode(voice(500)).decode()
        for part in ({"audio": audio}, {"audio": audio, "transcript": "as told"}):
            item = {"type": "message", "role": "user", "content": [{"type": "input_audio", **part}]}
            await talk.send("conversation.item.create", item=item)
            assert "audio" not in (await talk.take(2))[1]["item"]["content"][0]
        assert await chain(talk) == ["from the audio", "as told"]
        assert [entry.detail for entry in engines.of("stt_commit")] == [12_000]
        item["content"] = [{"type": "input_audio", "audio": "!"}]
        await talk.send("conversation.item.create", item=item)
        assert (await talk.refused())["param"] == "audio"
        item["content"] = [{"type": "input_audio", "audio": audio}]
        order = {"conversation": "none", "input": [item], "instructions": ""}
        await talk.send("response.create", response=order)
        assert kinds(await talk.answered())[0] == "response.created"
        assert engines.of("llm_request")[-1].detail == [{"role": "user", "content": "from the audio"}]


@virtual_time
async def test_items_of_a_transcription_session():
    """They can be looked at and deleted there too; there is nothing to answer."""
    async with talking(**transcribing()) as talk:
        await talk.send("conversation.item.create", item=message("user", "input_text", "x", id="mine"))
        await talk.take(2)
        await talk.send("conversation.item.retrieve", item_id="mine")
        await talk.send("conversation.item.delete", item_id="mine")
        assert [event["type"] for event in await talk.take(2)] == [
            "conversation.item.retrieved", "conversation.item.deleted",
        ]  # fmt: skip
        await talk.send("response.create")
        assert (await talk.refused())["param"] == "type"
