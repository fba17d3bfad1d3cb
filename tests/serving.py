"""A small server on a real socket that keeps what it was asked and answers as a test says."""

import asyncio
import json
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

REASONS = {200: "OK", 404: "Not Found"}


@dataclass
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Answer:
    """What is answered. `stays`: after the body the answer goes on without an end; `cut`: less is sent than was announced."""

    body: bytes | dict = b"{}"
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    stays: bool = False
    cut: bool = False


class Recorder:
    """``async with Recorder(answer) as server``; `answer` is an `Answer`, or makes one of an `Asked`."""

    def __init__(self, answer, ssl=None):
        self.answer = answer
        self.asked: list[Asked] = []
        self.accepted = 0
        self._ssl = ssl
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task] = set()
        self.came = asyncio.Event()

    @property
    def base_url(self):
        return f"{'https' if self._ssl else 'http'}://127.0.0.1:{self.port}/v1"

    def of(self, path):
        """The requests for a path."""
        return [asked for asked in self.asked if asked.target.partition("?")[0].endswith(path)]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._ssl)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader, writer):
        self.accepted += 1
        self._writers.append(writer)
        self._tasks.add(asyncio.current_task())
        number = self.accepted
        try:
            while await self._one(reader, writer, number):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _one(self, reader, writer, number):
        first = await reader.readexactly(1)
        if first == b"\x16":  # TLS
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return False
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        asked = Asked(method, target, headers, body, number)
        self.asked.append(asked)
        self.came.set()
        answer = self.answer(asked) if callable(self.answer) else self.answer
        if answer is None:
            return False
        data = json.dumps(answer.body).encode() if isinstance(answer.body, dict) else answer.body
        lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'So')}", f"content-type: {answer.content_type}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        length = len(data) + (100 if answer.cut else 0)
        lines.append("transfer-encoding: chunked" if answer.stays else f"content-length: {length}")
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        if method != "HEAD":
            writer.write(b"%x\r\n%b\r\n" % (len(data), data) if answer.stays and data else data)
        await writer.drain()
        if answer.stays and method != "HEAD":
            await reader.read()
            return False
        return not answer.cut
