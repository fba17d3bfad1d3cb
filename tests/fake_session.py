"""A Realtime session in software: what its client sends is kept, what comes is said by the test; and tests on one."""

import asyncio
import json
from contextlib import suppress

from tests.virtual import virtual_time


class Lost(ConnectionResetError):  # noqa: N818 - what happened
    """The connection is gone."""


class FakeSession:
    """The server's end of one session."""

    acquire_us = 3_000

    def __init__(self):
        self.begin()

    def begin(self):
        """Forget everything: the session is a new one."""
        self.sent = []
        self._events = asyncio.Queue()

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


async def settle():
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def on(module, make, **settings):
    """Run a test with a rig of these settings, on a virtual clock; `module` opens its sessions, and its task is ended."""

    def decorate(test):
        @virtual_time
        async def run(monkeypatch):
            rig = make(**settings)
            monkeypatch.setattr(module, "realtime_session", rig.open_session)
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


def words(item_id, text, kind="completed"):
    """An item's words."""
    field = {"completed": "transcript", "delta": "delta", "failed": "error"}[kind]
    return {"type": f"conversation.item.input_audio_transcription.{kind}", "item_id": item_id, field: text}
