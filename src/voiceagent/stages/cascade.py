"""The three streams as they are used: Realtime transcription, chat completions, streamed speech."""

from voiceagent.settings import Settings
from voiceagent.stages.clients import Clients
from voiceagent.stages.llm import ChatModel
from voiceagent.stages.ports import Stages
from voiceagent.stages.stt import RealtimeTranscriber
from voiceagent.stages.tts import SpeechModel


def cascade(clients: Clients, settings: Settings) -> Stages:
    """Return the stages that all sessions of a server use; each session makes its own transcriber."""
    return Stages(
        stt=lambda post: RealtimeTranscriber(clients, settings, post),
        llm=ChatModel(clients, settings),
        tts=SpeechModel(clients, settings),
        warm=clients.warm,
    )
