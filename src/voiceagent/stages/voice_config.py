"""What is written to a Realtime conversation: its configuration, its past, and the requests for answers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from voiceagent.audio import RATE_HZ
from voiceagent.models import capabilities, conversation_transcriber
from voiceagent.settings import Settings
from voiceagent.stages.transcription import words

MOST_OUTPUT_TOKENS = 4_096


def voice_config(settings: Settings) -> dict[str, Any]:
    """Return the ``session`` of a conversation: its turns are ours, its transcripts are for the record."""
    model = conversation_transcriber(settings)
    transcription = {"model": model, **words(settings, capabilities(model, "stt"))}
    audio_input: dict[str, Any] = {
        "format": {"type": "audio/pcm", "rate": RATE_HZ}, "transcription": transcription, "turn_detection": None,
    }  # fmt: skip
    if settings.stt_noise_reduction and "noise_reduction" in capabilities(settings.realtime_model, "realtime").takes:
        audio_input["noise_reduction"] = {"type": settings.stt_noise_reduction}
    audio_output: dict[str, Any] = {"format": {"type": "audio/pcm", "rate": RATE_HZ}, "voice": settings.tts_voice}
    if settings.tts_speed is not None:
        audio_output["speed"] = settings.tts_speed
    session: dict[str, Any] = {
        "type": "realtime", "output_modalities": ["audio"], "instructions": instructions(settings),
        "max_output_tokens": min(settings.max_reply_tokens, MOST_OUTPUT_TOKENS),
        "audio": {"input": audio_input, "output": audio_output},
    }  # fmt: skip
    if settings.realtime_reasoning_effort:
        session["reasoning"] = {"effort": settings.realtime_reasoning_effort}
    return session


def instructions(settings: Settings) -> str:
    """Return what the model is to do, and how it is to speak."""
    return "\n".join(filter(None, (settings.prompt, settings.tts_instructions)))


def seeds(past: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the events that tell a new conversation what was said and heard in the one before, as text."""
    for message in past:
        kind = "output_text" if message["role"] == "assistant" else "input_text"
        yield create_item(
            {
                "type": "message",
                "role": message["role"],
                "content": [{"type": kind, "text": message["content"]}],
            }
        )


def typed_item(text: str) -> dict[str, Any]:
    """Return the event for a line that was typed."""
    return create_item({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})


def result_item(call_id: str, output: str) -> dict[str, Any]:
    """Return the event that answers a function call."""
    return create_item({"type": "function_call_output", "call_id": call_id, "output": output})


def create_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event that puts an item at the end of the conversation."""
    return {"type": "conversation.item.create", "item": dict(item)}


def deletion(item_id: str) -> dict[str, Any]:
    """Return the event that takes an item out of the conversation."""
    return {"type": "conversation.item.delete", "item_id": item_id}


def truncation(item_id: str, end_ms: int) -> dict[str, Any]:
    """Return the event that cuts a spoken item at so many milliseconds of its audio."""
    return {"type": "conversation.item.truncate", "item_id": item_id, "content_index": 0, "audio_end_ms": end_ms}


def response_create(
    epoch: int, tools: Sequence[Mapping[str, Any]], canned: str, *, words: bool
) -> tuple[str, dict[str, Any]]:
    """Return the event's id and the request for an answer, or for the very words of `canned`.

    `words` asks for the moments of the words, which other servers than our own know nothing of.
    """
    event_id = f"respond_{epoch}"
    response: dict[str, Any] = {"metadata": {"epoch": str(epoch), **({"words": "on"} if words else {})}}
    if canned:
        response["instructions"] = f"Say exactly the following, word for word, and nothing else:\n{canned}"
        response["tool_choice"] = "none"
    elif tools:
        response["tools"] = [_flat(tool) for tool in tools]
    return event_id, {"type": "response.create", "event_id": event_id, "response": response}


def _flat(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A function as Realtime knows it: without the envelope of chat completions."""
    return {"type": "function", **tool["function"]}
