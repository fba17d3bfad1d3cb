"""Who answers: the process's clients, and, where nobody else does, the local twin; made ready after the port is open."""

import asyncio
import importlib
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Literal, Self

from voiceagent.logs import RecordLog
from voiceagent.settings import Settings
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import Clients
from voiceagent.stages.endpoints import used
from voiceagent.stages.ports import Stages
from voiceagent.stages.probing import probe_all
from voiceagent.stages.speech_to_speech import speech_to_speech
from voiceagent.vad import Silero, SpeechDetector

READY_TIMEOUT_S = 20.0
HEAVY = (
    "openai",
    "openai.resources.chat",
    "openai.resources.audio",
    "openai.resources.realtime",
    "websockets.asyncio.client",
)


class Backends:
    """An async context: inside it the back-ends become ready in the background, and after it nothing of them is left."""

    def __init__(self, settings: Settings, log: RecordLog, change: Callable[[Stages], Stages] | None = None) -> None:
        """`change` may put other stages in the place of those that the settings make (`hooks.Hooks.stages`)."""
        self._settings = settings
        self._log = log
        self._change = change or (lambda stages: stages)
        self._stack = AsyncExitStack()
        self._starting: asyncio.Task[str] | None = None
        self._stages: Stages | None = None
        self._voice: Stages | None = None
        self._checking: asyncio.Task[None] | None = None
        self.hints: tuple[str, ...] = ()
        self.troubles: tuple[str, ...] = ()
        """What the servers of the stages said when they were asked at the start, a sentence each; empty if all is well."""

    async def __aenter__(self) -> Self:
        self._starting = asyncio.create_task(self._start(), name="backends")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (self._starting, self._checking):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._starting = self._checking = None
        await self._stack.aclose()

    async def ready(self) -> str:
        """Wait until sessions can be served; return a sentence if they cannot."""
        if self._starting is None:
            return self.trouble
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                return await asyncio.shield(self._starting)
        except TimeoutError:
            return self.trouble

    @property
    def trouble(self) -> str:
        """Why no session can be served at the moment, a sentence; empty if one can."""
        if self._starting is None or self._starting.cancelled():
            return "The agent is not running: whoever mounts it has to enter `app.state.agent` in the lifespan."
        return self._starting.result() if self._starting.done() else "The back-ends are not ready yet."

    def stages(self, mode: Literal["cascade", "realtime"]) -> Stages:
        """Return the streams, or one voice model in their place. Only after `ready`."""
        if self._stages is None or self._voice is None:
            raise AssertionError("the back-ends are not ready")
        return self._voice if mode == "realtime" else self._stages

    def detector(self) -> SpeechDetector:
        """Return a new judge of speech, for one session."""
        return Silero()

    async def _start(self) -> str:
        try:
            for module in HEAVY:  # in a thread: the page is served meanwhile
                await asyncio.to_thread(importlib.import_module, module)
            url = await self._start_twin()
            clients = Clients(self._settings, url)
            self._stack.push_async_callback(clients.aclose)
            streams = cascade(
                clients, self._settings, lambda stage, won: self._log.event("hedge", stage=stage, won=won),
                lambda failure: self._log.event("stt_fallback", code=failure.code, sentence=failure.message),
            )  # fmt: skip
            self._stages = self._change(streams)
            self._voice = self._change(speech_to_speech(clients, self._settings, streams))
            self._checking = asyncio.create_task(self._check(clients), name="backends check")
            if self._settings.mode == "cascade":
                await self._stages.warm()
        except Exception as error:  # noqa: BLE001 - every session is told
            self._log.failure("backends_failed", error)
            return str(error) or "The back-ends could not be started."
        self._log.event("backends_ready", local=self._settings.is_local)
        return ""

    async def _check(self, clients: Clients) -> None:
        """Ask each stage's server once. What is wrong is told; the agent runs all the same, and may be served later."""
        probes = await probe_all(clients, used(self._settings))
        failures = [probed.failure for probed in probes.values() if probed.failure is not None]
        for failure in failures:
            host = clients.endpoints[failure.stage].host
            self._log.warning(
                "backend_trouble", stage=failure.stage, host=host, code=failure.code, sentence=failure.message
            )
        troubles = [failure.message for failure in failures]
        if clients.wire is not None and clients.wire.flaw:
            self._log.warning("wire_log_trouble", sentence=clients.wire.flaw)
            troubles.append(clients.wire.flaw)
        self.troubles = tuple(troubles)
        sys.stderr.write("".join(f"voiceagent: {trouble}\n" for trouble in troubles))
        sys.stderr.flush()

    async def _start_twin(self) -> str | None:
        """Start it for the stages that have no address of their own; None if there are none."""
        settings = self._settings
        cascade_has = all((settings.stt_base_url, settings.llm_base_url, settings.tts_base_url))
        if not settings.is_local or (cascade_has and settings.realtime_base_url):
            return None
        from voiceagent.twin import HINTS, LocalEngines, TwinServer, create_twin

        engines = LocalEngines()
        missing = engines.missing()
        if missing and cascade_has and settings.mode == "cascade":
            return None  # only the page's other mode would want it
        if not cascade_has:
            self.hints = tuple(HINTS)
        if missing:
            raise RuntimeError(
                f"The local engines are missing: pip install 'voiceagent[local]' ({', '.join(missing)})."
            )
        twin = await self._stack.enter_async_context(TwinServer(create_twin(engines)))
        return twin.base_url
