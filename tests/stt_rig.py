"""A transcription on sessions in software: what its client sends is kept, what comes is said by the test."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager, suppress

from tests.virtual import virtual_time
from tests.world import settings_for_tests
from voiceagent.events import FinalTranscript, PartialTranscript, SttConnected, SttFailed
from voiceagent.stages import stt as stt_module
from voiceagent.stages.clients import Clients
from voiceagent.stages.pieces import Pieces
from voiceagent.stages.stt import RealtimeTranscriber

FRAME = bytes(range(240)) * 4
"""20 ms, no two samples of it alike."""


class Lost(ConnectionResetError):  # noqa: N818 - what happened
    """The connection is gone."""


class Line:
    """The server's end of one session."""

    acquire_us = 3_000

    def __init__(self, opened_ms):
        self.sent = []
        self.opened_ms = opened_ms
        self.closed_ms = None
        self._events = asyncio.Queue()

    async def send(self, event):
        self.sent.append(json.loads(event))

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
    def committed(self):
        """The audio of each commit, by the commit's number; of what is not committed, by 0."""
        audio, done = b"", {}
        for event in self.sent:
            if event["type"] == "input_audio_buffer.append":
                audio += base64.b64decode(event["audio"])
            else:
                done[int(event["event_id"].removeprefix("commit_"))], audio = audio, b""
        return done | ({0: audio} if audio else {})


class Rig:
    """A client and its sessions. `refusals`: what opening the next ones fails with; `opens_s`: how long it takes."""

    def __init__(self, settings):
        self.settings = settings
        self._start_s = asyncio.get_running_loop().time()
        self.lines = []
        self.refusals = []
        self.opens_s = 0
        self.facts = []
        self.stt = Pieces(settings, self.facts.append)
        clients = Clients(settings, "http://twin/v1")
        self.task = asyncio.create_task(RealtimeTranscriber(clients, settings, self.stt).run())

    @asynccontextmanager
    async def open_session(self, _clients, stage, session, *, query):
        assert (stage, query, session["type"]) == ("stt", {"intent": "transcription"}, "transcription")
        if self.refusals:
            raise self.refusals.pop(0)
        if self.opens_s:
            await asyncio.sleep(self.opens_s)
        line = Line(self.now_ms)
        self.lines.append(line)
        try:
            yield line
        finally:
            line.closed_ms = self.now_ms

    @property
    def now_ms(self):
        """Milliseconds since the rig was made, to the microsecond."""
        return round((asyncio.get_running_loop().time() - self._start_s) * 1000, 3)

    @property
    def line(self):
        """The newest session."""
        return self.lines[-1]

    async def say(self, item, frames=10):
        """Speak an item and commit it."""
        self.stt.open(item)
        for _ in range(frames):
            self.stt.append(FRAME)
        self.stt.commit(item)
        await settle()

    async def wait(self, seconds):
        """Let time pass, and all happen that is due at its end."""
        await asyncio.sleep(seconds)
        await settle()

    async def hear(self, *events):
        """Let events come, and everything happen that they bring about."""
        self.line.say(*events)
        await settle()

    @property
    def finals(self):
        """The transcripts, in the order in which they came."""
        return [(fact.item, fact.text) for fact in self.facts if isinstance(fact, FinalTranscript)]

    @property
    def partials(self):
        return [(fact.item, fact.text) for fact in self.facts if isinstance(fact, PartialTranscript)]

    @property
    def failures(self):
        return [(fact.item, fact.code) for fact in self.facts if isinstance(fact, SttFailed)]

    @property
    def connected(self):
        return sum(isinstance(fact, SttConnected) for fact in self.facts)


async def settle():
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def on_rig(**settings):
    """Run a test with a rig of these settings, on a virtual clock."""

    def decorate(test):
        @virtual_time
        async def run(monkeypatch):
            rig = Rig(settings_for_tests(**settings))
            monkeypatch.setattr(stt_module, "realtime_session", rig.open_session)
            await settle()
            try:
                await test(rig)
            finally:
                rig.task.cancel()
                with suppress(asyncio.CancelledError):
                    await rig.task

        def with_patch(monkeypatch):
            run(monkeypatch)

        with_patch.__name__, with_patch.__doc__ = test.__name__, test.__doc__
        return with_patch

    return decorate


def taken(item_id, previous=None):
    """A commit was taken."""
    return {"type": "input_audio_buffer.committed", "item_id": item_id, "previous_item_id": previous}


def speech(kind, item_id):
    """The server's turn detection: ``started`` or ``stopped``."""
    return {"type": f"input_audio_buffer.speech_{kind}", "item_id": item_id}


def words(item_id, text, kind="completed"):
    """An item's words."""
    field = {"completed": "transcript", "delta": "delta", "failed": "error"}[kind]
    return {"type": f"conversation.item.input_audio_transcription.{kind}", "item_id": item_id, field: text}


def refusal(code, event_id=None):
    """An error."""
    return {"type": "error", "error": {"type": "invalid_request_error", "code": code, "event_id": event_id}}


EMPTY = "input_audio_buffer_commit_empty"
