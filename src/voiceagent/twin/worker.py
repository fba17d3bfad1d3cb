"""One worker process and the requests that wait for it: started on demand, ended with its owner, restarted if it dies."""

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from voiceagent.twin import pipes
from voiceagent.twin.ports import EngineError

START_TIMEOUT_S = 20.0
REQUEST_TIMEOUT_S = 30.0
END_TIMEOUT_S = 1.0
MAX_WAITING = 64


class Worker:
    """A process that runs ``python -m module`` and answers messages with one or more messages of the same id."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Queue[tuple[dict[str, Any], bytes]]] = {}

    @property
    def waiting(self) -> int:
        """How many requests are not answered yet."""
        return len(self._answers)

    async def start(self) -> None:
        """Start the process if it does not run, and wait until it is ready. Raises `EngineError`."""
        async with self._starting:
            if self._process is not None and self._process.returncode is None:
                return
            await self._end()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
            )  # fmt: skip
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    await self._read()
            except (TimeoutError, asyncio.IncompleteReadError):
                await self._end()
                raise EngineError(500, "engine_failed", f"The local engine {self._module} does not start.") from None
            self._reader = asyncio.create_task(self._deliver(), name=self._module)

    async def request(self, head: dict[str, Any], body: bytes = b"") -> AsyncGenerator[tuple[dict[str, Any], bytes]]:
        """Send a request and yield its answers up to the last one. Raises `EngineError`."""
        if len(self._answers) >= MAX_WAITING:
            raise EngineError(503, "engine_overloaded", "The local engine is overloaded.")
        await self.start()
        process, key = self._process, next(self._ids)
        if process is None or process.stdin is None:
            raise EngineError(500, "engine_failed", "The local engine has ended.")
        answers = self._answers[key] = asyncio.Queue()
        try:
            process.stdin.write(pipes.pack({**head, "id": key}, body))
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await process.stdin.drain()
                while True:
                    answer, data = await answers.get()
                    if "error" in answer:
                        raise EngineError(500, "engine_failed", f"The local engine failed ({answer['error']}).")
                    yield answer, data
                    if answer.get("end"):
                        return
        except (ConnectionError, TimeoutError):
            raise EngineError(500, "engine_failed", "The local engine does not answer.") from None
        finally:
            del self._answers[key]

    async def aclose(self) -> None:
        """End the process."""
        async with self._starting:
            await self._end()

    async def _end(self) -> None:
        process, self._process = self._process, None
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # the worker ends when its input does
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.stdin is not None:
            with suppress(ConnectionError):
                await process.stdin.wait_closed()
        self._fail_all()

    async def _read(self) -> tuple[dict[str, Any], bytes]:
        stream = self._process.stdout if self._process is not None else None
        if stream is None:
            raise asyncio.IncompleteReadError(b"", None)
        text, body = pipes.HEAD.unpack(await stream.readexactly(pipes.HEAD.size))
        import json

        head: dict[str, Any] = json.loads(await stream.readexactly(text))
        return head, await stream.readexactly(body) if body else b""

    async def _deliver(self) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                head, body = await self._read()
                waiting = self._answers.get(head["id"])
                if waiting is not None:  # else nobody wants it any more
                    waiting.put_nowait((head, body))
        if self._process is not None:
            await self._process.wait()
        self._fail_all()

    def _fail_all(self) -> None:
        for waiting in self._answers.values():
            waiting.put_nowait(({"error": "it ended", "end": True}, b""))
