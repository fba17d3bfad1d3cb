"""The port for an acoustic model of the end of a turn: asked at each pause, off the loop, and never waited for long."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from voiceagent.audio import Samples
from voiceagent.events import EndOfTurn, Fact
from voiceagent.vad import TurnModel

DEADLINE_S = 0.1
"""An answer that comes later than this is about a silence that has decided by itself."""


class AcousticEnd:
    """Asks a `TurnModel` about pauses. At most one question is open; `post` takes the answers as facts."""

    def __init__(
        self,
        model: TurnModel | None,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        post: Callable[[Fact], None],
    ) -> None:
        self._model = model
        self._spawn = spawn
        self._post = post
        self._asked: asyncio.Future[float] | None = None
        self.failures = 0  # it raised, or was too slow

    def ask(self, speech_end_us: int, audio: Callable[[], Samples]) -> None:
        """Ask about the pause that began at `speech_end_us`; `audio` gives the last seconds, at 16 kHz."""
        if self._model is not None and (self._asked is None or self._asked.done()):
            self._asked = asyncio.get_running_loop().run_in_executor(None, self._model.probability, audio())
            self._spawn(self._answer(speech_end_us, self._asked))

    async def _answer(self, speech_end_us: int, asked: asyncio.Future[float]) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                probability = float(await asyncio.shield(asked))
        except Exception:  # noqa: BLE001 - whatever a model does, the silence decides without it
            self.failures += 1
            asked.add_done_callback(lambda late: late.cancelled() or late.exception())
        else:
            self._post(EndOfTurn(speech_end_us, min(1.0, max(0.0, probability))))
