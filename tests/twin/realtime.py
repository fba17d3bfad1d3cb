"""A Realtime session of the twin as the real SDK has it; every event that comes is checked against the SDK's types."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager

import numpy as np
import openai
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from voiceagent.audio import level_dbfs
from voiceagent.twin import Script, ScriptedEngines, TwinServer, create_twin
from voiceagent.twin.scripted import tone

MODEL = "gpt-realtime-2.1-mini"
EVENTS = TypeAdapter(RealtimeServerEvent)
OWN_EVENTS = {"response.output_audio.words"}
MS = 24 * 2  # bytes
MESSAGE = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]
BESIDE = [kind for kind in MESSAGE if not kind.startswith("conversation")]
"""The types of an answer's events, in the conversation and beside it."""


class Loud:
    """Judges speech by its level: a tone is speech."""

    def probability(self, window):
        return 1.0 if level_dbfs(np.asarray(window)) > -40 else 0.0

    def reset(self):
        pass


def voice(ms):
    """So much of the scripted voice."""
    return tone(24 * ms)


def silence(ms):
    """So much silence."""
    return bytes(MS * ms)


class Talk:
    """One session: what is sent, and the events that come."""

    def __init__(self, connection, engines):
        self.connection = connection
        self.engines = engines

    async def send(self, kind, **fields):
        """Send an event."""
        await self.connection.send({"type": kind, **fields})

    async def update(self, *, kind="realtime", **session):
        """Update the session, and return its new state."""
        await self.send("session.update", session={"type": kind, **session})
        (event,) = await self.take(1)
        assert event["type"] == "session.updated", event
        return event["session"]

    async def hear(self, pcm, chunk_ms=100):
        """Send audio in chunks."""
        for at in range(0, len(pcm), chunk_ms * MS):
            audio = base64.b64encode(pcm[at : at + chunk_ms * MS]).decode()
            await self.send("input_audio_buffer.append", audio=audio)

    async def next(self):
        """The next event."""
        event = json.loads(await self.connection.recv_bytes())
        assert event["event_id"].startswith("event_")
        if event["type"] not in OWN_EVENTS:
            EVENTS.validate_python(event)
        return event

    async def take(self, count):
        """The next events."""
        return [await self.next() for _ in range(count)]

    async def until(self, *kinds):
        """The events up to one of these kinds, and that one."""
        events = [await self.next()]
        while events[-1]["type"] not in kinds:
            events.append(await self.next())
        return events

    async def answered(self):
        """The events up to the end of a response, and that of the rates."""
        events = await self.until("response.done")
        return events + await self.take(1)

    async def refused(self):
        """The error that comes next."""
        event = await self.next()
        assert event["type"] == "error", event
        return event["error"]

    async def say(self, text, **fields):
        """Put a message of the user into the conversation, and return its id."""
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.send("conversation.item.create", item=item, **fields)
        added, done = await self.take(2)
        assert (added["type"], done["type"]) == ("conversation.item.added", "conversation.item.done")
        return done["item"]["id"]


def kinds(events):
    """The types of events; the same one again and again is told once."""
    found = []
    for event in events:
        if not found or found[-1] != event["type"]:
            found.append(event["type"])
    return found


def audio_in(events):
    """The audio that events bring."""
    return b"".join(
        base64.b64decode(event["delta"]) for event in events if event["type"].endswith("output_audio.delta")
    )


@asynccontextmanager
async def serving(engines, api_key=None, **twin):
    """A twin and a client of the SDK."""
    async with TwinServer(create_twin(engines, api_key, **twin)) as server:
        http = openai.DefaultAsyncHttpx2Client(trust_env=False)
        key = api_key or "any"
        async with openai.AsyncOpenAI(api_key=key, base_url=server.base_url, max_retries=0, http_client=http) as client:
            yield client


@asynccontextmanager
async def talking(script=None, *, engines=None, opened=True, detects=False, **connect):
    """A session on a socket; `opened`: its first events are taken, `detects`: it goes on detecting turns."""
    engines = engines or ScriptedEngines(script or Script())
    before = asyncio.all_tasks()
    options = {"proxy": None, "close_timeout": 1}
    connect = connect or {"model": MODEL}
    async with serving(engines) as client:
        async with client.realtime.connect(**connect, websocket_connection_options=options) as connection:
            talk = Talk(connection, engines)
            if opened:
                conversation = "model" in connect
                events = await talk.take(2 if conversation else 1)
                assert events[0]["type"] == "session.created"
                if conversation and not detects:
                    await talk.update(audio={"input": {"turn_detection": None}})
            yield talk
        await asyncio.sleep(0.1)
        left = {task.get_name() for task in asyncio.all_tasks() - before if not task.done()}
        assert not left & {"realtime reader", "realtime writer", "response", "transcript"}, left


def transcribing(model=None):
    """What a transcription session is opened with."""
    query = {"intent": "transcription"} | ({"model": model} if model else {})
    return {"extra_query": query}
