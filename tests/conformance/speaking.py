"""What the tests of Realtime conversations have in common: a session to open, a user's message, an answer to take in."""

import base64
from typing import Any

from tests.conformance.targets import Target
from tests.conformance.wire import Dialog

CLOCK = {
    "type": "function", "name": "get_time", "description": "Tells the time.",
    "parameters": {"type": "object", "properties": {}},
}  # fmt: skip
STORY = "Tell me a long story."


def session(target: Target, **fields: Any) -> dict[str, Any]:
    """The configuration of a conversation whose turns the client ends."""
    audio = {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24_000}, "turn_detection": None,
            "transcription": {"model": target.models["vad"]},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": target.models["voice"]},
    }  # fmt: skip
    return {
        "type": "realtime", "instructions": "Answer in one short sentence.", "output_modalities": ["audio"], "audio": audio,
        **fields,
    }  # fmt: skip


def message(text: str) -> dict[str, Any]:
    """A user's message."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


async def say(talk: Dialog, text: str) -> str:
    """Add a user's message and return its id once it is in the conversation."""
    await talk.send("conversation.item.create", item=message(text))
    return (await talk.until("conversation.item.done"))["item"]["id"]


async def answer(talk: Dialog, **response: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ask for a response and return it as it ended, with all events of it in order."""
    start = len(talk.events)
    await talk.send("response.create", **({"response": response} if response else {}))
    done = await talk.until("response.done")
    return done["response"], talk.since(start)


def audio(events: list[dict[str, Any]]) -> bytes:
    """The audio of some events, PCM16."""
    deltas = [event["delta"] for event in events if event["type"] == "response.output_audio.delta"]
    return b"".join(base64.b64decode(delta, validate=True) for delta in deltas)


def words(events: list[dict[str, Any]], kind: str = "response.output_audio_transcript.delta") -> str:
    """The words of some events."""
    return "".join(event["delta"] for event in events if event["type"] == kind)
