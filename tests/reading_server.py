"""A Realtime server that does as a test says, event by event, and keeps what it was sent."""

import asyncio
import base64
import itertools
import json
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from tests.world import settings_for_tests
from voiceagent.stages.clients import Clients
from voiceagent.stages.tts_realtime import ReadingModel
from voiceagent.stages.voices import VoicePool
from voiceagent.twin import TwinServer


class Line:
    """One connection: what came on it, and what the test sends."""

    def __init__(self, websocket):
        self.websocket = websocket
        self.events = []
        self.gone = asyncio.Event()

    def of(self, kind):
        """The events of one kind."""
        return [event for event in self.events if event["type"] == kind]

    async def send(self, **event):
        """Send an event."""
        await self.websocket.send_text(json.dumps(event))

    async def created(self, response_id, utt):
        """Begin a response to a phrase; `utt` None: without its metadata."""
        metadata = None if utt is None else {"utt": utt}
        await self.send(type="response.created", response={"id": response_id, "metadata": metadata})

    async def audio(self, response_id, pcm):
        """Send a chunk of audio."""
        delta = base64.b64encode(pcm).decode()
        await self.send(type="response.output_audio.delta", response_id=response_id, delta=delta)

    async def done(self, response_id, status="completed", transcript=None, **fields):
        """End a response."""
        if transcript is not None:
            await self.send(
                type="response.output_audio_transcript.done", response_id=response_id, transcript=transcript
            )
        response = {"id": response_id, "status": status, "status_details": None, **fields}
        await self.send(type="response.done", response=response)


class ReadingServer:
    """Accepts sessions; ``on_event(line, event)`` does the rest. Without `confirms` a session is never configured."""

    def __init__(self, on_event, *, confirms=True):
        self.on_event = on_event
        self.confirms = confirms
        self.lines = []
        self.numbers = itertools.count(1)

    async def serve(self, websocket):
        """One connection."""
        await websocket.accept()
        line = Line(websocket)
        self.lines.append(line)
        try:
            while True:
                event = json.loads(await websocket.receive_text())
                line.events.append(event)
                if event["type"] == "session.update":
                    if self.confirms:
                        await line.send(type="session.updated", session={})
                    continue
                await self.on_event(line, event)
        except WebSocketDisconnect:
            pass
        finally:
            line.gone.set()

    async def read(self, line, event):
        """An `on_event` that reads every phrase at once: a frame of audio, and the words as they were asked for."""
        if event["type"] == "response.create":
            response_id = f"resp_{next(self.numbers)}"
            await line.created(response_id, event["event_id"])
            await line.audio(response_id, bytes(960))
            await line.done(response_id, transcript=event["response"]["input"][0]["content"][0]["text"])


@asynccontextmanager
async def reading(server, **settings):
    """Text to speech over such a server, and its pool of sessions."""
    app = Starlette(routes=[WebSocketRoute("/v1/realtime", server.serve)])
    async with TwinServer(app) as there, pool_at(there.base_url, **settings) as made:
        yield made


@asynccontextmanager
async def pool_at(base_url, **settings):
    """Text to speech by Realtime at a URL, and its pool of sessions."""
    chosen = settings_for_tests(tts_base_url=base_url, **settings)
    clients = Clients(chosen, base_url)
    pool = VoicePool(clients, chosen)
    clients.on_close(pool.aclose)
    try:
        yield ReadingModel(pool), pool
    finally:
        await clients.aclose()
        assert len(pool) == 0
        await asyncio.sleep(0.2)  # the server's side of the closed connections


async def heard(tts, text="One."):
    """All parts of a phrase."""
    async with tts.speak(text) as parts:
        return [part async for part in parts]
