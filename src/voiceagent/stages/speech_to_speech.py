"""One voice model in place of the three streams: it hears, thinks and speaks in one Realtime conversation."""

from dataclasses import replace

from voiceagent.settings import Settings
from voiceagent.stages.clients import Clients
from voiceagent.stages.ports import Stages
from voiceagent.stages.voice import VoiceModel


def speech_to_speech(clients: Clients, settings: Settings, streams: Stages) -> Stages:
    """Return stages whose sessions talk to a voice model; the streams stand by, unused."""
    return replace(streams, voice=lambda post: VoiceModel(clients, settings, post), warm=_nothing)


async def _nothing() -> None:
    """A session opens its own connection to the model at once."""
