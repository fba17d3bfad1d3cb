"""A voice model's client on a session in software: what it sends is kept, what comes is said by the test."""

import asyncio
import base64
from contextlib import asynccontextmanager

from tests.fake_session import FakeSession, on
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


class Server(FakeSession):
    """The other end of the sessions that the client opens, one after the other."""

    def __init__(self):
        super().__init__()
        self.opened = 0
        self.sessions = []

    @asynccontextmanager
    async def open(self, clients, stage, session, *, query):
        assert stage == "realtime"
        self.opened += 1
        self.sessions.append((session, query))
        self.begin()
        yield self

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
        self.open_session = self.server.open
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


def on_rig(**settings):
    """Run a test with a rig of these settings, on a virtual clock."""
    return on(voice_module, Rig, **settings)
