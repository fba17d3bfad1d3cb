"""What a transcription is asked with: only what was set, and of it what the model takes; and what has no effect is said."""

import pytest

from tests.world import settings_for_tests
from voiceagent.stages.codes import ACCOUNT, CODES, Verdict, verdict
from voiceagent.stages.transcription import file_parameters, notes, transcription_session

ALL = {
    "stt_language": "de", "stt_prompt": "Fog", "stt_keywords": ("Kiel",), "stt_delay": "low",
    "stt_noise_reduction": "near_field", "stt_turn_detection": "semantic_vad",
}  # fmt: skip
LANGUAGE, LANGUAGES = {"language": "de"}, {"languages": ["de"]}
PROMPT, KEYWORDS, DELAY = {"prompt": "Fog"}, {"keywords": ["Kiel"]}, {"delay": "low"}
NEAR = {"type": "near_field"}
SEMANTIC = {"type": "semantic_vad", "eagerness": "auto"}
SERVER = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
FORMAT = {"type": "audio/pcm", "rate": 24_000}


def audio_input(**settings):
    """The session's side of the microphone."""
    session = transcription_session(settings_for_tests(**settings))
    assert session.pop("type") == "transcription"
    return session["audio"]["input"]


@pytest.mark.parametrize(
    ("model", "sent", "noise", "detection"),
    [
        ("gpt-live-transcribe", LANGUAGES | PROMPT | KEYWORDS | DELAY, NEAR, None),
        ("gpt-realtime-whisper", LANGUAGE | DELAY, NEAR, None),
        ("gpt-transcribe", LANGUAGES | PROMPT | KEYWORDS, NEAR, SEMANTIC),
        ("gpt-4o-transcribe", LANGUAGE | PROMPT, NEAR, SEMANTIC),
        ("gpt-4o-mini-transcribe-2025-12-15", LANGUAGE | PROMPT, NEAR, SEMANTIC),
        ("whisper-1", LANGUAGE | PROMPT, None, None),
        ("my-own", LANGUAGE | PROMPT, None, None),
    ],
)
def test_what_a_model_takes(model, sent, noise, detection):
    """Of what is set the model is sent what its class takes; turn detection is told in any case, with every field."""
    found = audio_input(stt_model=model, **ALL)
    assert found.pop("transcription") == {"model": model, **sent}
    assert found.pop("turn_detection", "missing") == detection
    assert found == {"format": FORMAT, **({"noise_reduction": noise} if noise else {})}


def test_nothing_is_sent_that_was_not_set():
    """By default there is the model alone, and no turn detection."""
    for model in ("gpt-live-transcribe", "gpt-transcribe", "my-own"):
        assert audio_input(stt_model=model) == {
            "format": FORMAT, "transcription": {"model": model}, "turn_detection": None,
        }  # fmt: skip


def test_server_vad():
    """The server's own detection is asked for in full, where the model has it."""
    assert audio_input(stt_model="whisper-1", stt_turn_detection="server_vad")["turn_detection"] == SERVER


def test_files():
    """A request of a file has what helps to find its words, and nothing of streams."""
    asked = file_parameters(settings_for_tests(stt_model="gpt-transcribe", **ALL))
    assert asked == {"model": "gpt-transcribe", "response_format": "json", **LANGUAGES, **PROMPT, **KEYWORDS}
    assert file_parameters(settings_for_tests(stt_model="m")) == {"model": "m", "response_format": "json"}


@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        ({"stt_model": "gpt-transcribe"}, []),
        ({"stt_model": "gpt-transcribe", **ALL}, ["stt_delay has no effect: gpt-transcribe does not take it."]),
        (
            {"stt_model": "my-own", "stt_keywords": ("x",), "stt_turn_detection": "server_vad"},
            [
                "stt_keywords has no effect: my-own is not known to take it.",
                "stt_turn_detection has no effect: my-own is not known to do server_vad.",
            ],
        ),
        (
            {"stt_turn_detection": "server_vad"},
            ["stt_turn_detection has no effect: gpt-live-transcribe has no server_vad."],
        ),
        (
            {"stt_model": "gpt-transcribe", "stt_api": "file", "stt_turn_detection": "server_vad"},
            ["stt_turn_detection has no effect: stt_api=file sends files."],
        ),
    ],
)
def test_what_has_no_effect_is_said(settings, sentences):
    """A setting that a model does not take is named, with the model."""
    assert notes(settings_for_tests(**settings)) == sentences


def test_the_codes():
    """A code stands in one row; what speaks of the account is fatal; an unknown one may be over the next time."""
    assert {verdict(code) for code in ACCOUNT} == {Verdict.FATAL}
    assert verdict("input_audio_buffer_commit_empty") is Verdict.BENIGN
    assert verdict("session_expired") is verdict("never_seen") is Verdict.RETRY
    assert "never_seen" not in CODES
