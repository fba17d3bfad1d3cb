"""For tests of users' own agents: a whole session on a clock that jumps, with scripted models and a caller in software."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voiceagent.testing.browser import Browser
    from voiceagent.testing.caller import Caller
    from voiceagent.testing.clock import VirtualLoop, VirtualTime, on_virtual_time, run_virtual
    from voiceagent.testing.session import VoiceAgent, agent, settings_for_test
    from voiceagent.testing.twin import ScriptedTwin, scripted_twin
    from voiceagent.twin.ports import FunctionCall
    from voiceagent.twin.scripted import Script

_ROOMS = {
    "agent": "testing.session", "settings_for_test": "testing.session", "Browser": "testing.browser",
    "Caller": "testing.caller", "VirtualLoop": "testing.clock", "VirtualTime": "testing.clock",
    "on_virtual_time": "testing.clock", "run_virtual": "testing.clock", "ScriptedTwin": "testing.twin",
    "scripted_twin": "testing.twin", "VoiceAgent": "testing.session", "FunctionCall": "twin.ports", "Script": "twin.scripted",
}  # fmt: skip

__all__ = [
    "Browser",
    "Caller",
    "FunctionCall",
    "Script",
    "ScriptedTwin",
    "VirtualLoop",
    "VirtualTime",
    "VoiceAgent",
    "agent",
    "on_virtual_time",
    "run_virtual",
    "scripted_twin",
    "settings_for_test",
]


def __getattr__(name: str) -> Any:  # pytest loads the plugin in every run: it costs nothing until somebody asks for it
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"voiceagent.{room}"), name)
