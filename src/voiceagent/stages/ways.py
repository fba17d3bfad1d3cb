"""By which way speech becomes text: streamed over Realtime, or a file an item where the server knows no Realtime."""

import asyncio
from collections.abc import Callable

from voiceagent.models import capabilities
from voiceagent.settings import Settings
from voiceagent.stages.clients import Clients
from voiceagent.stages.files import FileTranscriber, takes_files
from voiceagent.stages.pieces import Pieces
from voiceagent.stages.ports import StageError, Transcribed
from voiceagent.stages.stt import RealtimeTranscriber

NO_REALTIME = frozenset({"http_200", "http_403", "http_404", "http_405", "http_426", "http_501"})
"""How a server that knows no Realtime refuses the handshake."""
REMEMBERED_S = 600.0
Fallback = Callable[[StageError], None]
"""Takes why files are sent in place of a stream."""


class TranscriptionWays:
    """What a process knows of the way to its server; one for all sessions. `told` hears of each change to files, once."""

    def __init__(self, settings: Settings, told: Fallback = lambda _: None) -> None:
        self._settings = settings
        self._told = told
        self._files_until_s: float | None = None

    @property
    def by_file(self) -> bool:
        """Whether a session that begins now sends files. What was found out is found out anew after ten minutes."""
        api = self._settings.stt_api
        if api != "auto":
            return api == "file"
        if not capabilities(self._settings.stt_model, "stt").realtime:
            return True
        return self._files_until_s is not None and asyncio.get_running_loop().time() < self._files_until_s

    def refused(self, failure: StageError) -> bool:
        """Take in why there is no stream; return whether files are sent instead."""
        if self._settings.stt_api != "auto" or failure.code not in NO_REALTIME or not takes_files(self._settings):
            return False
        if not self.by_file:
            self._files_until_s = asyncio.get_running_loop().time() + REMEMBERED_S
            self._told(failure)
        return True


class Transcriber:
    """`SpeechToText` by whichever way there is; `post` takes the transcripts, and never blocks."""

    def __init__(
        self, clients: Clients, settings: Settings, ways: TranscriptionWays, post: Callable[[Transcribed], None]
    ) -> None:
        self._ways = ways
        pieces = Pieces(settings, post)
        self._streamed = RealtimeTranscriber(clients, settings, pieces, self._refused)
        self._filed = FileTranscriber(clients, settings, pieces)
        self._falls_back = False
        self.open = pieces.open
        self.append = pieces.append
        self.commit = pieces.commit

    async def run(self) -> None:
        """Move audio and transcripts until cancelled or refused for good."""
        self._falls_back = self._ways.by_file
        if not self._falls_back:
            await self._streamed.run()
        if self._falls_back:
            await self._filed.run()

    def _refused(self, failure: StageError) -> bool:
        self._falls_back = self._ways.refused(failure)
        return self._falls_back
