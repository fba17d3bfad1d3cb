"""A whole session for the suite: that of `voiceagent.testing`, without a tool, and with its records as they are made."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from voiceagent.hooks import Hooks
from voiceagent.settings import Settings
from voiceagent.testing.caller import Caller
from voiceagent.testing.session import agent
from voiceagent.timeline import TurnRecord
from voiceagent.tools import Tool
from voiceagent.twin import FaultPlan, Script
from voiceagent.vad import TurnModel


class World:
    """What a test needs of it."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.browser = caller.browser
        self.engines = caller.engines
        self.settings = caller.settings
        self.clients = caller.clients
        self.session = caller.session
        self.ending = caller.ending
        self.records = caller.records

    @property
    def turns(self) -> list[TurnRecord]:
        """The turn records so far."""
        return [record for record in self.records if isinstance(record, TurnRecord)]


def settings_for_tests(**changes: Any) -> Settings:
    """Settings that read no environment."""
    return Settings(_env_file=None, **{"backend": "local", "endpoint_ms": 500, **changes})


@asynccontextmanager
async def world(
    script: Script, *, tools: tuple[Tool, ...] = (), turn_model: TurnModel | None = None,
    faults: FaultPlan | None = None, **settings: Any,
) -> AsyncIterator[World]:  # fmt: skip
    """A running session with its browser; when it is left, everything of it must be gone."""
    hooks = Hooks(tools, None if turn_model is None else lambda: turn_model)
    async with agent(script, None, hooks, faults=faults, **{"endpoint_ms": 500, **settings}) as caller:
        yield World(caller)
