"""What a transcription is asked with: only what the user set, and of it what the model's class takes."""

from typing import Any

from voiceagent.audio import RATE_HZ
from voiceagent.models import Capabilities, capabilities
from voiceagent.settings import Settings

# Every field: the service's own silence has been 200 ms and 500 ms.
DETECTIONS: dict[str, dict[str, Any]] = {
    "server_vad": {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500},
    "semantic_vad": {"type": "semantic_vad", "eagerness": "auto"},
}


def transcription_session(settings: Settings) -> dict[str, Any]:
    """Return the ``session`` of a transcription. Turn detection is always told: left out, a server may have its own."""
    row = capabilities(settings.stt_model, "stt")
    transcription = {"model": settings.stt_model, **words(settings, row)}
    if settings.stt_delay and "delay" in row.takes:
        transcription["delay"] = settings.stt_delay
    audio_input: dict[str, Any] = {
        "format": {"type": "audio/pcm", "rate": RATE_HZ},
        "transcription": transcription,
        "turn_detection": turn_detection(settings),
    }
    if settings.stt_noise_reduction and "noise_reduction" in row.takes:
        audio_input["noise_reduction"] = {"type": settings.stt_noise_reduction}
    return {"type": "transcription", "audio": {"input": audio_input}}


def turn_detection(settings: Settings) -> dict[str, Any] | None:
    """Return how the server is to cut turns; None if it is not asked to, or its model cannot."""
    wish = settings.stt_turn_detection
    if wish == "none" or wish not in capabilities(settings.stt_model, "stt").detects:
        return None
    return dict(DETECTIONS[wish])


def file_parameters(settings: Settings) -> dict[str, Any]:
    """Return what a request of a file carries beside it."""
    row = capabilities(settings.stt_model, "stt")
    return {"model": settings.stt_model, "response_format": "json", **words(settings, row)}


def words(settings: Settings, row: Capabilities) -> dict[str, Any]:
    """Return what helps a model of this class to find the words, as far as the user said it."""
    found: dict[str, Any] = {}
    if settings.stt_language and "languages" in row.takes:
        found["languages"] = [settings.stt_language]
    elif settings.stt_language and "language" in row.takes:
        found["language"] = settings.stt_language
    if settings.stt_prompt and "prompt" in row.takes:
        found["prompt"] = settings.stt_prompt
    if settings.stt_keywords and "keywords" in row.takes:
        found["keywords"] = list(settings.stt_keywords)
    return found


def notes(settings: Settings) -> list[str]:
    """Return a sentence for each setting of the transcription that has no effect with its model."""
    model, row = settings.stt_model, capabilities(settings.stt_model, "stt")
    wished = {
        "stt_prompt": ("prompt", settings.stt_prompt),
        "stt_keywords": ("keywords", settings.stt_keywords),
        "stt_delay": ("delay", settings.stt_delay),
        "stt_noise_reduction": ("noise_reduction", settings.stt_noise_reduction),
    }
    unknown = "" if row.known else "is not known to take"
    sentences = [
        f"{name} has no effect: {model} {unknown or 'does not take'} it."
        for name, (parameter, value) in wished.items()
        if value and parameter not in row.takes
    ]
    if settings.stt_turn_detection not in {"none", *row.detects}:
        kind = settings.stt_turn_detection
        sentences.append(
            f"stt_turn_detection has no effect: {model} {'is not known to do' if unknown else 'has no'} {kind}."
        )
    if settings.stt_api == "file":
        live = {
            "stt_delay": settings.stt_delay and "delay" in row.takes,
            "stt_noise_reduction": settings.stt_noise_reduction and "noise_reduction" in row.takes,
            "stt_turn_detection": turn_detection(settings),
        }
        sentences += [f"{name} has no effect: stt_api=file sends files." for name, value in live.items() if value]
    return sentences
