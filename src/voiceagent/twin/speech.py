"""``POST /v1/audio/speech`` in pcm and wav, as audio or as events."""

import base64
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from voiceagent.twin.catalogue import Catalogue
from voiceagent.twin.errors import error_body, identifier
from voiceagent.twin.http import BadRequest, ClosedStream, EventStream, event, joined, json_body, while_there
from voiceagent.twin.ports import EngineError, Engines, WordEnd

MAX_INPUT_CHARS = 4096
RATE_HZ = 24_000
TOKENS_PER_S = 20  # of audio, roughly


class Speech:
    """The endpoint."""

    def __init__(self, engines: Engines, catalogue: Catalogue) -> None:
        self._engines = engines
        self._catalogue = catalogue

    async def __call__(self, request: Request) -> Response:
        """Answer. An engine that refuses does so before the status line."""
        body = await json_body(request)
        text, form, voice, speed, streamed = _checked(body)
        self._catalogue.check(body.get("model", "tts-1"), "tts")
        words: list[WordEnd] = []
        on_words = words.extend if streamed == "sse" and form == "pcm" else None
        chunks = self._engines.speak(text, voice, speed, on_words)
        first = await while_there(request, anext(chunks, None))
        audio = joined(first, chunks)
        if form == "wav":
            audio = joined(_endless_wav_header(), audio)
        if streamed == "sse":
            return EventStream(_events(text, audio, words))
        return ClosedStream(
            audio, media_type="audio/pcm" if form == "pcm" else "audio/wav",
            headers={"x-request-id": identifier("req")},
        )  # fmt: skip


def _checked(body: dict[str, Any]) -> tuple[str, str, str, float, str]:
    """Text, format, voice, speed and kind of stream of a request. Raises `BadRequest`."""
    text, form = body.get("input"), body.get("response_format", "mp3")
    if not isinstance(text, str) or not text.strip():
        raise BadRequest("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    if len(text) > MAX_INPUT_CHARS:
        raise BadRequest(f"'input' must have at most {MAX_INPUT_CHARS} characters.", "input", "string_too_long")
    if form not in ("pcm", "wav"):
        said = f"Unsupported response_format '{str(form)[:20]}': this server speaks 'pcm' and 'wav'."
        raise BadRequest(said, "response_format", "unsupported_format")
    speed = body.get("speed", 1.0)
    if not isinstance(speed, int | float) or not 0.25 <= speed <= 4:
        raise BadRequest("'speed' must be between 0.25 and 4.", "speed")
    streamed = body.get("stream_format", "audio")
    if streamed not in ("audio", "sse"):
        raise BadRequest("'stream_format' must be 'audio' or 'sse'.", "stream_format")
    voice = body.get("voice", "alloy")
    return text, form, str(voice.get("id", "")) if isinstance(voice, dict) else str(voice), float(speed), streamed


async def _events(text: str, audio: AsyncGenerator[bytes], words: list[WordEnd]) -> AsyncGenerator[bytes]:
    """Stream speech as events; the engine adds to `words` before the audio they end in, and they are told before it."""
    samples = 0
    try:
        async with aclosing(audio):
            async for pcm in audio:
                samples += len(pcm) // 2
                delta = b'data: {"type": "speech.audio.delta", "audio": "%b"}\n\n' % base64.b64encode(pcm)
                yield _word_event(words) + delta
                words.clear()
    except EngineError as error:
        yield event(error_body(error.message, kind="server_error", code=error.code))
        return
    tokens_in, tokens_out = len(text.split()), samples // (RATE_HZ // TOKENS_PER_S)
    usage = {"input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    yield _word_event(words) + event({"type": "speech.audio.done", "usage": usage})


def _word_event(words: list[WordEnd]) -> bytes:
    """An addition to the service's events: another client passes over a type that it does not know."""
    ends = [{"end_char": word.end_char, "end_ms": word.end_ms} for word in words]
    return event({"type": "speech.audio.words", "words": ends}) if ends else b""


def _endless_wav_header() -> bytes:
    """A header whose lengths are unknown, as a streaming server writes it."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    return b"RIFF\xff\xff\xff\xffWAVE" + fmt + b"data\xff\xff\xff\xff"
