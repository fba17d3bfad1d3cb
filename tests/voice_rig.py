"""A voice model's client on a session in software: what it sends is kept, what comes is said by the test."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager, suppress

from tests.virtual import virtual_time
from tests.world import settings_for_tests
from voiceagent.stages import voice as voice_module
from voiceagent.stages.clients import Clients
from voiceagent.stages.voice import VoiceModel

PAST = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "Hi [interrupted by the user here]"},
    {"role": "user", "content": "present words"},
)
NONE = ({"role": "system", "content": ""}, {"role": "user", "content": ""})


class Lost(Exception):  # noqa: N818 - what happened
    """The connection is gone."""


class Server:
    """The other end of the sessions that the client opens."""

    def __init__(self):
        self.sent = []
        self.opened = 0
        self.sessions = []
        self._events = asyncio.Queue()

    @asynccontextmanager
    async def open(self, clients, stage, session, *, query):
        assert stage == "realtime"
        self.opened += 1
        self.sessions.append((session, query))
        self.sent = []
        self._events = asyncio.Queue()
        self.acquire_us = 3_000
        yield self

    async def send(self, event):
        self.sent.append(json.loads(event) if isinstance(event, str) else dict(event))

    async def receive(self):
        event = await self._events.get()
        if isinstance(event, Exception):
            raise event
        return event

    def say(self, *events):
        """Let events come."""
        for event in events:
            self._events.put_nowait(event)

    @property
    def kinds(self):
        """What was sent, by type, without the audio."""
        return [event["type"] for event in self.sent if event["type"] != "input_audio_buffer.append"]

    @property
    def audio(self):
        """All the audio that came on this connection."""
        return b"".join(base64.b64decode(event["audio"]) for event in self.sent if "audio" in event)


class Rig:
    """A client and its server."""

    def __init__(self, **settings):
        self.settings = settings_for_tests(mode="realtime", **settings)
        self.server = Server()
        self.facts = []
        self.voice = VoiceModel(Clients(self.settings, "http://twin/v1"), self.settings, self.facts.append)
        self.task = asyncio.create_task(self.voice.run())

    async def answer(self, epoch=1, messages=NONE, tools=(), canned=""):
        """All parts of an answer."""
        parts = []
        async with self.voice.respond(epoch, messages, tools, canned) as stream:
            async for part in stream:
                parts.append(part)  # noqa: PERF401 - what came before an error counts
        return parts


@asynccontextmanager
async def rigged(monkeypatch, **settings):
    """A running rig; what it runs is ended."""
    rig = Rig(**settings)
    monkeypatch.setattr(voice_module, "realtime_session", rig.server.open)
    await settle()
    try:
        yield rig
    finally:
        rig.task.cancel()
        with suppress(asyncio.CancelledError):
            await rig.task


async def settle():
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def created(epoch, response="r1"):
    """The answer of an epoch has begun."""
    return {"type": "response.created", "response": {"id": response, "metadata": {"epoch": str(epoch)}}}


def item(response="r1", item_id="m1"):
    """It has a message."""
    return {"type": "response.output_item.added", "response_id": response, "item": {"id": item_id, "type": "message"}}


def sound(pcm, response="r1"):
    """A piece of its audio."""
    return {"type": "response.output_audio.delta", "response_id": response, "delta": base64.b64encode(pcm).decode()}


def done(status="completed", response="r1", **more):
    """It is over."""
    return {"type": "response.done", "response": {"id": response, "status": status, **more}}


def committed(item_id):
    """An item stands."""
    return {"type": "input_audio_buffer.committed", "item_id": item_id, "previous_item_id": None}


def words(item_id, text, kind="completed"):
    """Its words."""
    field = {"completed": "transcript", "delta": "delta", "failed": "error"}[kind]
    return {"type": f"conversation.item.input_audio_transcription.{kind}", "item_id": item_id, field: text}


def on_rig(**settings):
    """Run a test with a rig of these settings, on a virtual clock."""

    def decorated(test):
        def runs(monkeypatch):
            async def inside():
                async with rigged(monkeypatch, **settings) as rig:
                    await test(rig)

            virtual_time(inside)()

        runs.__doc__, runs.__name__ = test.__doc__, test.__name__
        return runs

    return decorated
