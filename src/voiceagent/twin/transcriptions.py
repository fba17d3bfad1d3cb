"""``POST /v1/audio/transcriptions``: a sound file to its words, at once or as events."""

import asyncio
import io
import re
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import soundfile
import soxr
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from voiceagent.twin.catalogue import Catalogue
from voiceagent.twin.errors import identifier
from voiceagent.twin.http import BadRequest, EventStream, event, in_time, while_there
from voiceagent.twin.ports import ConnectionDropped, EngineError, Engines

RATE_HZ = 24_000
LONGEST_S = 60
MAX_FILE_BYTES = 25 * 1024 * 1024
TOKENS_PER_S = 10  # of audio
MISSING = "missing_required_parameter"


class Transcriptions:
    """The endpoint. Language and prompt are accepted and do nothing."""

    def __init__(self, engines: Engines, catalogue: Catalogue) -> None:
        self._engines = engines
        self._catalogue = catalogue

    async def __call__(self, request: Request) -> Response:
        """Answer. The whole file is heard first: what fails does so before the status line."""
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > MAX_FILE_BYTES + 65_536:
            raise BadRequest("Maximum content size limit (26214400 bytes) exceeded.", "file", status=413)
        try:
            async with in_time(request).form(max_files=1, max_fields=40) as form:
                model, answer_format, data = await self._read(form)
                streamed = str(form.get("stream", "")).lower() == "true"
        except HTTPException as error:  # the parser's, for a body that is no form
            raise BadRequest(str(error.detail), None) from None
        pcm = await asyncio.to_thread(_pcm, data)
        words = await while_there(request, self._heard(pcm))
        usage = _usage(model, len(pcm) / 2 / RATE_HZ, words)
        if streamed and model != "whisper-1":  # which takes no notice of it at the service either
            return EventStream(_events(words, usage))
        headers = {"x-request-id": identifier("req")}
        if answer_format == "text":
            return PlainTextResponse(words + "\n", headers=headers)
        return JSONResponse({"text": words, "usage": usage}, headers=headers)

    async def _read(self, form: FormData) -> tuple[str, str, bytes]:
        """Model, format of the answer and the file. Raises `BadRequest`."""
        sent, answer_format = form.get("file"), form.get("response_format", "json")
        if not isinstance(sent, UploadFile):
            raise BadRequest("Missing required parameter: 'file'.", "file", MISSING)
        model = self._catalogue.check(form.get("model"), "stt")
        if answer_format not in ("json", "text"):
            said = f"response_format '{str(answer_format)[:20]}' is not supported: use 'json' or 'text'."
            raise BadRequest(said, "response_format", "unsupported_value")
        data = await sent.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise BadRequest("Maximum content size limit (26214400 bytes) exceeded.", "file", status=413)
        return model, str(answer_format), data

    async def _heard(self, pcm: bytes) -> str:
        utterance = self._engines.transcribe(lambda _: None, identifier("req"))
        try:
            utterance.append(pcm)
            return await utterance.final()
        except ConnectionDropped:
            raise EngineError(500, "server_error", "The connection to the engine was lost.") from None
        finally:
            utterance.cancel()


def _pcm(data: bytes) -> bytes:
    """A sound file as PCM16 mono at 24 kHz. Raises `BadRequest`."""
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            rate_hz = sound.samplerate
            samples = sound.read(rate_hz * (LONGEST_S + 1), dtype="float32", always_2d=True).mean(axis=1)
    except (soundfile.LibsndfileError, RuntimeError, ValueError, OverflowError, MemoryError):
        text = "Audio file might be corrupted or unsupported: this server reads wav, flac and ogg."
        raise BadRequest(text, "file", "invalid_value") from None
    if len(samples) > rate_hz * LONGEST_S:
        raise BadRequest(f"The audio is longer than {LONGEST_S} seconds.", "file", "audio_too_long")
    if len(samples) * 10 < rate_hz:
        raise BadRequest("Audio file is too short. Minimum audio length is 0.1 seconds.", "file", "audio_too_short")
    if rate_hz != RATE_HZ:
        samples = soxr.resample(samples, rate_hz, RATE_HZ)
    scaled = np.clip(np.rint(np.nan_to_num(samples) * 32767), -32768, 32767)
    return bytes(scaled.astype("<i2").tobytes())


def _usage(model: str, seconds: float, words: str) -> dict[str, Any]:
    if model == "whisper-1":
        return {"type": "duration", "seconds": round(seconds)}
    heard, said = round(seconds * TOKENS_PER_S), len(words.split())
    return {
        "type": "tokens", "input_tokens": heard, "output_tokens": said, "total_tokens": heard + said,
        "input_token_details": {"audio_tokens": heard, "text_tokens": 0},
    }  # fmt: skip


async def _events(words: str, usage: dict[str, Any]) -> AsyncGenerator[bytes]:
    for delta in re.findall(r"\s*\S+", words):
        yield event({"type": "transcript.text.delta", "delta": delta})
    yield event({"type": "transcript.text.done", "text": words, "usage": usage})
