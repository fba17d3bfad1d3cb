"""The twin with scripted engines on a loopback socket: models whose every word and delay a test has written down."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from voiceagent.twin import FaultPlan, Script, ScriptedEngines, TwinServer, create_twin


@dataclass(frozen=True, slots=True)
class ScriptedTwin:
    """A running twin. `engines.log` tells what was asked of it, and when."""

    base_url: str
    """What OpenAI's clients take as ``base_url``; any key will do."""
    engines: ScriptedEngines


@asynccontextmanager
async def scripted_twin(
    script: Script | None = None, *, faults: FaultPlan | None = None
) -> AsyncIterator[ScriptedTwin]:
    """Serve a script, and the faults of a plan before it, until the context is left."""
    engines = ScriptedEngines(script)
    async with TwinServer(create_twin(engines, faults=faults)) as server:
        yield ScriptedTwin(server.base_url, engines)
