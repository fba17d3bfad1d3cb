"""The twin: a local server that speaks OpenAI's protocols, with real local engines or with scripted ones behind it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voiceagent.twin.app import create_twin
    from voiceagent.twin.faults import FaultPlan
    from voiceagent.twin.local import LocalEngines
    from voiceagent.twin.ports import Engines
    from voiceagent.twin.scripted import LogEntry, Script, ScriptedEngines
    from voiceagent.twin.server import TwinServer

HINTS = (
    "what time is it",
    "tell me a joke",
    "what is seventeen plus twenty five",
    "tell me a long story",
    "how many kilometers are ten miles",
    "spell banana",
    "what can you do",
)
"""A few things to say to the local engines."""

_ROOMS = {
    "create_twin": "app", "TwinServer": "server", "LocalEngines": "local", "Engines": "ports",
    "FaultPlan": "faults",
    "Script": "scripted", "ScriptedEngines": "scripted", "LogEntry": "scripted",
}  # fmt: skip

__all__ = [
    "HINTS",
    "Engines",
    "FaultPlan",
    "LocalEngines",
    "LogEntry",
    "Script",
    "ScriptedEngines",
    "TwinServer",
    "create_twin",
]


def __getattr__(name: str) -> Any:
    """Load a room when it is asked for: the workers and the banner need none of the server."""
    if name in _ROOMS:
        return getattr(import_module(f"voiceagent.twin.{_ROOMS[name]}"), name)
    raise AttributeError(name)
