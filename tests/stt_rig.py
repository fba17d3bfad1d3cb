"""A transcription on sessions in software: what its client sends is kept, what comes is said by the test."""

import asyncio
import base64
from contextlib import asynccontextmanager

from tests.fake_session import FakeSession, on, settle
from tests.world import settings_for_tests
from voiceagent.events import FinalTranscript, PartialTranscript, SttConnected, SttFailed
from voiceagent.stages import stt as stt_module
from voiceagent.stages.clients import Clients
from voiceagent.stages.pieces import Pieces
from voiceagent.stages.stt import RealtimeTranscriber

FRAME = bytes(range(240)) * 4
"""20 ms, no two samples of it alike."""


class Line(FakeSession):
    """One session."""

    def __init__(self, opened_ms):
        super().__init__()
        self.opened_ms = opened_ms
        self.closed_ms = None

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

    def __init__(self, **settings):
        self.settings = settings_for_tests(**settings)
        self._start_s = asyncio.get_running_loop().time()
        self.lines = []
        self.refusals = []
        self.opens_s = 0
        self.facts = []
        self.stt = Pieces(self.settings, self.facts.append)
        clients = Clients(self.settings, "http://twin/v1")
        self.task = asyncio.create_task(RealtimeTranscriber(clients, self.settings, self.stt).run())

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


def on_rig(**settings):
    """Run a test with a rig of these settings, on a virtual clock."""
    return on(stt_module, Rig, **settings)


def speech(kind, item_id):
    """The server's turn detection: ``started`` or ``stopped``."""
    return {"type": f"input_audio_buffer.speech_{kind}", "item_id": item_id}


def refusal(code, event_id=None):
    """An error."""
    return {"type": "error", "error": {"type": "invalid_request_error", "code": code, "event_id": event_id}}


EMPTY = "input_audio_buffer_commit_empty"
