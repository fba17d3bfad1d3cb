"""Wire logs: what goes between us and the models, a file of JSON lines for each connection and request.

A line is ``{"at_ms", "way", "type", "event"}``: milliseconds since the file's first line; ``out``, ``in``, or ``note`` for what
we add. The loop only puts things into a queue; one thread redacts and writes them. When the disk is too slow, lines
are left out, and the file says how many: nobody waits for a log.
"""

import asyncio
import datetime as dt
import itertools
import json
import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from voiceagent.stages.ports import Acquired
from voiceagent.stages.redaction import Redaction

MAX_FILE_BYTES = 10_000_000
MAX_WAITING = 2_048
MAX_BODY_BYTES = 1_000_000
JOIN_TIMEOUT_S = 5.0
QUERY = frozenset({"intent", "model", "deployment", "api-version", "call_id"})
"""The parts of an address's query that are kept; others may be keys."""

Write = Callable[["_File"], None]


@dataclass(slots=True, eq=False)
class _File:
    """One log on its way to the disk; only the writing thread touches what stands below `dropped`."""

    path: Path
    began_s: float
    dropped: int = 0  # lines for which there was no room in the queue
    stream: IO[str] | None = None
    written: int = 0
    over: bool = False
    rest: bytes = b""  # of an event stream, or of a body
    content_type: str = ""


class WireLog:
    """The logs of one process in `folder`, which is made; `content` keeps texts, and `keys` are never written."""

    def __init__(self, folder: Path, *, content: bool = False, keys: Iterable[str] = ()) -> None:
        self._folder = folder
        self._redaction = Redaction(keys, content=content)
        self._queue: queue.Queue[tuple[_File, Write] | None] = queue.Queue(MAX_WAITING)
        self._numbers = itertools.count(1)
        self._thread: threading.Thread | None = None
        self._closed = False
        self.flaw = ""
        """Why nothing can be written, as a sentence."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            self.flaw = f"The wire log cannot be written to {folder}: {error.strerror}."

    def session(self, stage: str, host: str, query: Mapping[str, str]) -> "SocketLog":
        """Begin the log of a WebSocket."""
        shown = {name: value for name, value in query.items() if name in QUERY}
        return SocketLog(*self._begin(f"{stage}-realtime", {"kind": "realtime", "stage": stage, "host": host, **shown}))

    def request(self, method: str, url: Any, headers: Mapping[str, str]) -> "HttpLog":
        """Begin the log of an HTTP request."""
        path: str = url.path
        kind = "-".join(part for part in path.split("/")[-2:] if part) or "root"
        shown = {name: value for name, value in url.params.items() if name in QUERY}
        head = {
            "kind": "http", "method": method, "host": url.host, "path": path, "query": shown,
            "content_type": headers.get("content-type", ""),
        }  # fmt: skip
        return HttpLog(*self._begin(f"{method.lower()}-{kind}", head))

    async def aclose(self) -> None:
        """Write what waits, and end the thread."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(self._end, thread)

    def _end(self, thread: threading.Thread) -> None:
        self._queue.put(None)
        thread.join(JOIN_TIMEOUT_S)

    def _begin(self, kind: str, head: Mapping[str, Any]) -> tuple[_File, "WireLog"]:
        now = dt.datetime.now(dt.UTC)
        safe = "".join(letter for letter in kind if letter.isalnum() or letter in "-_.")[:60]
        name = f"{now:%Y%m%dT%H%M%S}-{os.getpid()}-{next(self._numbers):05d}-{safe}.jsonl"
        file = _File(self._folder / name, asyncio.get_running_loop().time())
        self.add(file, "note", "open", {"schema": "voice.wire/1", "began": f"{now:%Y-%m-%dT%H:%M:%SZ}", **head})
        return file, self

    # ------------------------------------------------------------------------------ in the loop
    def add(self, file: _File, way: str, kind: str, event: Any) -> None:
        """Add a line."""
        at_ms = self._at_ms(file)
        self._put(file, lambda to: self._line(to, at_ms, way, kind, event))

    def add_raw(self, file: _File, way: str, raw: str | bytes) -> None:
        """Add a WebSocket's message."""
        at_ms = self._at_ms(file)
        self._put(file, lambda to: self._event(to, at_ms, way, raw))

    def add_chunk(self, file: _File, chunk: bytes) -> None:
        """Add a piece of an HTTP answer."""
        at_ms = self._at_ms(file)
        self._put(file, lambda to: self._chunk(to, at_ms, chunk))

    def end(self, file: _File, how: str) -> None:
        """Add the last line."""
        at_ms = self._at_ms(file)
        self._put(file, lambda to: self._close(to, at_ms, how))

    def _at_ms(self, file: _File) -> float:
        return round((asyncio.get_running_loop().time() - file.began_s) * 1000, 3)

    def _put(self, file: _File, write: Write) -> None:
        if self._closed or self.flaw:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wire log", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait((file, write))
        except queue.Full:
            file.dropped += 1

    # ------------------------------------------------------------------------------ in the thread
    def _run(self) -> None:
        files: set[_File] = set()
        while (item := self._queue.get()) is not None:
            file, write = item
            try:
                write(file)
                if file.stream is not None:
                    files.add(file)
                    if self._queue.empty():  # somebody may be looking
                        file.stream.flush()
            except OSError:  # a full disk ends this file, and nothing else
                file.over = True
            if file.over and file.stream is not None:
                file.stream.close()
                file.stream = None
                files.discard(file)
        for file in files:
            if file.stream is not None:
                file.stream.close()

    def _line(self, file: _File, at_ms: float, way: str, kind: str, event: Any) -> None:
        if file.over:
            return
        if file.stream is None:
            handle = os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            file.stream = os.fdopen(handle, "w", encoding="utf-8")
        line: dict[str, Any] = {"at_ms": at_ms, "way": way, "type": self._redaction.text(kind)}
        if file.dropped:
            line["left_out"], file.dropped = file.dropped, 0
        line["event"] = self._redaction.event(event)
        text = json.dumps(line, ensure_ascii=False) + "\n"
        file.written += len(text.encode("utf-8", "replace"))
        if file.written > MAX_FILE_BYTES:
            text = json.dumps({"at_ms": at_ms, "way": "note", "type": "full", "event": {}}) + "\n"
            file.over = True
        file.stream.write(text)

    def _event(self, file: _File, at_ms: float, way: str, raw: str | bytes) -> None:
        try:
            event = json.loads(raw)
        except (ValueError, RecursionError):
            self._line(file, at_ms, way, "unreadable", {"bytes": len(raw)})
            return
        kind = str(event.get("type", "")) if isinstance(event, dict) else "data"
        self._line(file, at_ms, way, kind, event)

    def _chunk(self, file: _File, at_ms: float, chunk: bytes) -> None:
        if file.content_type == "text/event-stream":
            *lines, file.rest = (file.rest + chunk)[-MAX_FILE_BYTES:].split(b"\n")
            for line in lines:
                self._server_sent(file, at_ms, line)
        elif file.content_type == "application/json" and len(file.rest) < MAX_BODY_BYTES:
            file.rest += chunk
        else:
            self._line(file, at_ms, "in", "bytes", {"bytes": len(chunk)})

    def _server_sent(self, file: _File, at_ms: float, line: bytes) -> None:
        field_name, _, data = line.partition(b":")
        if field_name != b"data":
            return
        if data.strip() == b"[DONE]":
            self._line(file, at_ms, "in", "done", {})
        else:
            self._event(file, at_ms, "in", data)

    def _close(self, file: _File, at_ms: float, how: str) -> None:
        if file.content_type == "application/json" and file.rest:
            self._event(file, at_ms, "in", file.rest)
        self._line(file, at_ms, "note", "end", {"how": how})
        file.over = True


@dataclass(frozen=True, slots=True)
class SocketLog:
    """The log of one WebSocket."""

    _file: _File = field(repr=False)
    _wire: WireLog = field(repr=False)

    def sent(self, event: str) -> None:
        """Add an event of ours."""
        self._wire.add_raw(self._file, "out", event)

    def received(self, event: bytes) -> None:
        """Add an event of the server's."""
        self._wire.add_raw(self._file, "in", event)

    def ended(self, how: str) -> None:
        """Close the log: with what it ended, or nothing."""
        self._wire.end(self._file, how)


@dataclass(frozen=True, slots=True)
class HttpLog:
    """The log of one HTTP request."""

    _file: _File = field(repr=False)
    _wire: WireLog = field(repr=False)

    def sent(self, body: bytes) -> None:
        """Add the request's body; one that is no JSON (a file) by its length."""
        if body:
            self._wire.add_raw(self._file, "out", body)

    def answered(self, status: int, headers: Mapping[str, str], acquired: Acquired) -> None:
        """Add how the server answers, and how long its connection took."""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        # What is compressed is told by its length.
        self._file.content_type = "" if headers.get("content-encoding") else kind
        event = {
            "status": status, "content_type": kind, "request_id": headers.get("x-request-id", ""),
            "acquire_us": acquired.acquire_us, "reused": acquired.reused,
        }  # fmt: skip
        self._wire.add(self._file, "in", "response", event)

    def received(self, chunk: bytes) -> None:
        """Add a piece of the answer."""
        self._wire.add_chunk(self._file, chunk)

    def ended(self, how: str) -> None:
        """Close the log: with what it ended, or nothing."""
        self._wire.end(self._file, how)
