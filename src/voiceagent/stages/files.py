"""Speech to text a file an item, over ``/audio/transcriptions``: for servers and models without Realtime."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from voiceagent.audio import wav_bytes
from voiceagent.events import SttConnected, SttFailed
from voiceagent.models import capabilities
from voiceagent.settings import Settings
from voiceagent.stages.clients import NAMES, Clients
from voiceagent.stages.codes import ACCOUNT
from voiceagent.stages.parameters import acquired
from voiceagent.stages.pieces import Piece, Pieces
from voiceagent.stages.ports import StageError
from voiceagent.stages.transcription import file_parameters

AT_ONCE = 4
TRIES = 2
BACKOFF_S, LONGEST_WAIT_S = 0.1, 1.0


class FileTranscriber:
    """Sends each of `pieces` once it is committed."""

    def __init__(self, clients: Clients, settings: Settings, pieces: Pieces) -> None:
        self._clients = clients
        self._settings = settings
        self._pieces = pieces
        self._free = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Send files until cancelled or refused for good."""
        model, host = self._settings.stt_model, self._clients.endpoints["stt"].host
        failure: StageError | None = None
        if not takes_files(self._settings):
            sentence = (
                f"{NAMES['stt']} at {host} cannot be sent files: {model} only streams, gpt-transcribe takes them."
            )
            failure = StageError("stt", "settings", sentence, retryable=False)
        try:
            if failure is None:
                async with asyncio.TaskGroup() as group:
                    await self._hand_out(group)
        except* StageError as refusals:
            failure = self._clients.explain("stt", refusals)
        if failure is not None:
            self._pieces.post(SttFailed(0, failure.code, failure.message))
            self._pieces.give_up(failure)

    async def _hand_out(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._pieces.work.clear()
            for piece in self._pieces.all:
                if piece.committed and not piece.asked:
                    piece.asked = True
                    group.create_task(self._send(piece), name=f"file of item {piece.key}")
            await self._pieces.work.wait()

    async def _send(self, piece: Piece) -> None:
        """Find the words of one piece. Raises `StageError` where all that follow would end the same way."""
        try:
            async with asyncio.timeout(self._settings.stt_timeout_s), self._free:
                words = await self._tried(piece, wav_bytes(bytes(piece.audio)))
        except Exception as error:
            failure = self._clients.explain("stt", error)
            if failure.code in ACCOUNT:
                raise failure from error
            self._pieces.fail(piece, failure.code, failure.message)
        else:
            self._pieces.finish(piece, words)

    async def _tried(self, piece: Piece, file: bytes) -> str:
        for _ in range(TRIES - 1):
            try:
                return await self._words(file)
            except Exception as error:
                failure = self._clients.explain("stt", error)
                wait_s = failure.retry_after_s or BACKOFF_S
                if not failure.retryable or wait_s > LONGEST_WAIT_S:
                    raise failure from error
            piece.tries += 1
            await asyncio.sleep(wait_s)
        return await self._words(file)

    async def _words(self, file: bytes) -> str:
        client = self._clients.get("stt")
        asked: dict[str, Any] = file_parameters(self._settings)
        async with AsyncExitStack() as stack:
            request = client.audio.transcriptions.with_streaming_response.create(
                file=("speech.wav", file, "audio/wav"), **asked
            )
            response = await stack.enter_async_context(request)
            how = acquired(response.http_response)
            if how is not None and not how.reused:
                self._pieces.post(SttConnected(how.acquire_us))
            answer: Any = await response.json()
        return str(answer["text"])


def takes_files(settings: Settings) -> bool:
    """Return whether the model can be sent files, as far as it is known."""
    return capabilities(settings.stt_model, "stt").http
