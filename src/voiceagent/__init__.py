"""A voice agent server: an explicit state machine between a browser and streaming STT, LLM and TTS."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voiceagent.hooks import Hooks
    from voiceagent.server import create_app
    from voiceagent.settings import Settings

__all__ = ["Hooks", "Settings", "__version__", "create_app"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # the package itself imports in milliseconds; its rooms open on demand
    if name == "create_app":
        from voiceagent.server import create_app

        return create_app
    if name == "Hooks":
        from voiceagent.hooks import Hooks

        return Hooks
    if name == "Settings":
        from voiceagent.settings import Settings

        return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
