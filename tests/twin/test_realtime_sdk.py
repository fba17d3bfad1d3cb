"""A dialog through the SDK's own methods and events, and sessions side by side."""

import asyncio
import base64

from tests.twin.realtime import MODEL, serving, voice
from tests.virtual import virtual_time
from voiceagent.twin import Script, ScriptedEngines

OPTIONS = {"proxy": None, "close_timeout": 1}


async def ending(connection, kind):
    """The event of this type, as the SDK gives it."""
    async for event in connection:
        if event.type == kind:
            return event
    raise AssertionError(kind)


@virtual_time
async def test_a_dialog_by_the_sdks_own_methods():
    """Settings, audio, an answer, an interruption at what was heard, and the answer to what came after it."""
    engines = ScriptedEngines(Script(transcripts=["tell me"], replies=["One two three four.", "Five."]))
    async with (
        serving(engines) as client,
        client.realtime.connect(model=MODEL, websocket_connection_options=OPTIONS) as connection,
    ):
        audio_input = {"turn_detection": None, "transcription": {"model": "gpt-live-transcribe"}}
        await connection.session.update(session={"type": "realtime", "audio": {"input": audio_input}})
        updated = await ending(connection, "session.updated")
        assert updated.session.audio.input.transcription.model == "gpt-live-transcribe"
        await connection.input_audio_buffer.append(audio=base64.b64encode(voice(500)).decode())
        await connection.input_audio_buffer.commit()
        heard = await ending(connection, "conversation.item.input_audio_transcription.completed")
        assert heard.transcript == "tell me"
        await connection.response.create()
        response = (await ending(connection, "response.done")).response
        (item,) = response.output
        assert (response.status, item.content[0].transcript) == ("completed", "One two three four.")
        assert response.usage.output_tokens == response.usage.total_tokens - response.usage.input_tokens
        await connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=500)
        assert (await ending(connection, "conversation.item.truncated")).audio_end_ms == 500
        await connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go on"}]}
        )
        await connection.response.create(response={"instructions": "Be brief."})
        assert (await ending(connection, "response.done")).response.output[0].content[0].transcript == "Five."
        assert engines.of("llm_request")[1].detail == [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "tell me"},
            {"role": "assistant", "content": "One two"}, {"role": "user", "content": "go on"},
        ]  # fmt: skip
        await connection.conversation.item.delete(item_id=item.id)
        assert (await ending(connection, "conversation.item.deleted")).item_id == item.id


@virtual_time
async def test_sessions_side_by_side():
    """Each hears its own caller and answers its own conversation."""
    script = Script(transcripts_by_burst=[["one"], ["two"]], replies=lambda messages: messages[-1]["content"] * 2)
    async with serving(ScriptedEngines(script)) as client:

        async def dialog():
            async with client.realtime.connect(model=MODEL, websocket_connection_options=OPTIONS) as connection:
                await connection.session.update(
                    session={"type": "realtime", "audio": {"input": {"turn_detection": None}}}
                )
                await ending(connection, "session.updated")
                await connection.input_audio_buffer.append(audio=base64.b64encode(voice(500)).decode())
                await connection.input_audio_buffer.commit()
                await connection.response.create()
                return (await ending(connection, "response.done")).response.output[0].content[0].transcript

        assert sorted(await asyncio.gather(dialog(), dialog())) == ["oneone", "twotwo"]
