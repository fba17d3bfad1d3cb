"""What is known of the service's models by name: what each is for, and when it is shut down."""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from voiceagent.settings import Settings

SOON = dt.timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Model:
    """One model, or, by its prefix, one family."""

    role: Literal["stt", "llm", "tts"]
    shutdown: dt.date | None
    successor: str = ""


_SPEECH_END, _TRANSCRIBE_END, _GPT4_END = dt.date(2027, 1, 6), dt.date(2027, 2, 26), dt.date(2027, 1, 14)
_GPT5_END = dt.date(2026, 12, 11)
MODELS: dict[str, Model] = {
    "gpt-live-transcribe": Model("stt", None),
    "gpt-realtime-whisper": Model("stt", None),
    "gpt-transcribe": Model("stt", None),
    "gpt-4o-transcribe": Model("stt", _TRANSCRIBE_END, "gpt-live-transcribe"),
    "gpt-4o-mini-transcribe": Model("stt", _TRANSCRIBE_END, "gpt-live-transcribe"),
    "whisper-1": Model("stt", _TRANSCRIBE_END, "gpt-live-transcribe"),
    "gpt-6-luna": Model("llm", None),
    "gpt-6-sol": Model("llm", None),
    "gpt-5": Model("llm", _GPT5_END, "gpt-6-luna"),
    "gpt-5-mini": Model("llm", _GPT5_END, "gpt-6-luna"),
    "gpt-5-nano": Model("llm", _GPT5_END, "gpt-6-luna"),
    "gpt-4o": Model("llm", _GPT4_END, "gpt-6-luna"),
    "gpt-4o-mini": Model("llm", _GPT4_END, "gpt-6-luna"),
    "gpt-4.1": Model("llm", _GPT4_END, "gpt-6-luna"),
    "gpt-4.1-mini": Model("llm", _GPT4_END, "gpt-6-luna"),
    "gpt-4o-mini-tts": Model("tts", _SPEECH_END, "the Realtime API"),
    "tts-1": Model("tts", _SPEECH_END, "the Realtime API"),
    "tts-1-hd": Model("tts", _SPEECH_END, "the Realtime API"),
}
"""As announced by the service up to 2026-11-22. A name that is not here is used as it is."""


def warnings(settings: Settings, today: dt.date | None = None) -> list[str]:
    """Return a sentence for each chosen model that is shut down, or will be within 90 days."""
    today = today or dt.datetime.now().astimezone().date()
    sentences = []
    for name in (settings.stt_model, settings.llm_model, settings.tts_model):
        model = MODELS.get(name)
        if model is None or model.shutdown is None or model.shutdown - today > SOON:
            continue
        verb = "was" if model.shutdown <= today else "will be"
        sentences.append(f"{name} {verb} shut down on {model.shutdown}; its successor is {model.successor}.")
    return sentences
