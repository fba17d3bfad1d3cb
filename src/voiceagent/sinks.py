"""Where the log's lines go: one bounded queue, one thread, and sinks that may be full, slow or closed.

Whoever puts a record only appends an object to the queue. The thread renders it and writes it; what cannot be written is
dropped and counted, and a sink is told of a gap where the gap is, as soon as it takes lines again. A line is written
whole: the rest of one that was cut short goes before the next.
"""

import os
import select
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, Generic, Protocol, TypeVar

QUEUE_RECORDS = 8_192
DRAIN_S = 2.0
STALL_MS = 100
GATHER_S = 0.25
"""A wake-up of the thread costs more than a line: after the first record it waits so long for others."""
QUEUE = "queue"
"""The name under which the queue's own losses are counted."""

T = TypeVar("T")


class Sink(Protocol):
    """Takes lines, each with its line feed. It raises for a line that it did not take, at best an `OSError`."""

    name: str
    pretty: bool  # lines for people, not JSON

    def write(self, line: str) -> None:
        """Write one line."""

    def close(self) -> None:
        """Let go of what it holds; a line after that opens it again."""


# ------------------------------------------------------------------------------------------ sinks
class Descriptor:
    """Writes whole lines to a file descriptor and waits at most `STALL_MS` for a pipe that takes nothing.

    After that it does not wait at all until the pipe takes something again.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = os.fstat(fd).st_size  # of a file: what it had and what was written since
        self._rest = b""
        self._stalled = False
        kind = os.fstat(fd).st_mode
        self._may_stall = stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)

    def settle(self) -> None:
        """Write the rest of the line before. Raises `OSError`."""
        while self._rest:
            piece = self._rest
            if self._may_stall:
                self._wait()
                piece = piece[: select.PIPE_BUF]  # a pipe that is ready takes so much without waiting
            count = os.write(self.fd, piece)
            self.size += count
            self._rest = self._rest[count:]

    def write(self, line: bytes) -> None:
        """Write a line. Raises `OSError` if nothing of it was written; a rest is written before the next line."""
        self.settle()
        self._rest = line
        try:
            self.settle()
        except OSError:
            if len(self._rest) == len(line):
                self._rest = b""
                raise

    def _wait(self) -> None:
        ready = select.poll()
        ready.register(self.fd, select.POLLOUT)
        self._stalled = not ready.poll(0 if self._stalled else STALL_MS)
        if self._stalled:
            raise BlockingIOError("it takes nothing")


class StreamSink:
    """A text stream, by its descriptor where it has one."""

    def __init__(self, stream: IO[str], *, name: str, pretty: bool) -> None:
        self.name = name
        self.pretty = pretty
        self._stream = stream
        self._descriptor: Descriptor | None = None
        self._bare = False  # it has no descriptor

    def write(self, line: str) -> None:
        """Write one line."""
        if self._descriptor is None and not self._bare:
            self._open()
        if self._descriptor is not None:
            self._descriptor.write(line.encode("utf-8", "replace"))
        else:
            self._stream.write(line)
            self._stream.flush()

    def close(self) -> None:
        """Close our descriptor; the stream is somebody else's."""
        if self._descriptor is not None:
            os.close(self._descriptor.fd)
            self._descriptor = None

    def _open(self) -> None:
        try:
            number = self._stream.fileno()
        except (OSError, AttributeError):
            self._bare = True
            return
        # One of our own: if somebody closes the stream's, its number may come to mean another file.
        self._descriptor = Descriptor(os.dup(number))


class _Files(RotatingFileHandler):
    """The standard library's rotation, of a file without a buffer: a buffer tears lines when the disk is full."""

    def _open(self) -> Any:
        return open(self.baseFilename, "a+b", buffering=0)  # noqa: PTH123 - held until the rotation


class FileSink:
    """A file that is put aside when it is full: ``log.jsonl``, then ``log.jsonl.1``, the newest of the old, and so on."""

    name = "file"
    pretty = False

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        self._files = _Files(path, backupCount=keep, delay=True)
        self._max_bytes = max_bytes
        self._descriptor: Descriptor | None = None

    def write(self, line: str) -> None:
        """Write one line, into a new file if the present one has no room for it."""
        data = line.encode("utf-8", "replace")
        descriptor = self._descriptor or self._opened()
        descriptor.settle()
        if descriptor.size and descriptor.size + len(data) > self._max_bytes:
            self._descriptor = None
            self._files.doRollover()
            descriptor = self._opened()
        descriptor.write(data)

    def close(self) -> None:
        """Close the file."""
        self._descriptor = None
        self._files.close()

    def _opened(self) -> Descriptor:
        if self._files.stream is None:
            self._files.stream = self._files._open()  # noqa: SLF001 - of the class above
        descriptor = self._descriptor = Descriptor(self._files.stream.fileno())
        if descriptor.size and os.pread(descriptor.fd, 1, descriptor.size - 1) != b"\n":
            # A process ended in the middle of a line.
            descriptor.write(b"\n")
        return descriptor


# ------------------------------------------------------------------------------------------ queue and thread
@dataclass(slots=True)
class Gap:
    """Records that are missing from here on: how many, and why."""

    where: str
    dropped: int
    reason: str


@dataclass(slots=True)
class _Outlet:
    sink: Sink
    dropped: int = 0
    untold: int = 0  # of them, since its last line
    reason: str = ""


class Writer(Generic[T]):
    """Brings what is put to each sink, in order, by a thread of its own between `start` and `close`.

    `render` makes a line of an entry, ``render(entry, pretty)``; of a `Gap` too. It must not raise.
    """

    def __init__(
        self, sinks: Sequence[Sink], render: Callable[[T | Gap, bool], str], *, limit: int = QUEUE_RECORDS
    ) -> None:
        self._outlets = [_Outlet(sink) for sink in sinks]
        self._render = render
        self._limit = limit
        self._queue: SimpleQueue[T | Gap | threading.Event | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._hurry = threading.Event()
        self._given_up = threading.Event()
        self._dropped = 0
        self._untold = 0  # of them, since the last that was put

    def put(self, entry: T) -> None:
        """Append an entry; while the queue is full, and until half of it is written, what comes is dropped and counted."""
        waiting = self._queue.qsize()
        if waiting >= (self._limit // 2 if self._untold else self._limit):
            self._dropped += 1
            self._untold += 1
            return
        if self._untold:
            self._tell()
        self._queue.put(entry)

    @property
    def dropped(self) -> dict[str, int]:
        """How many entries were dropped so far, by the queue and by each sink."""
        return {QUEUE: self._dropped} | {outlet.sink.name: outlet.dropped for outlet in self._outlets}

    def start(self) -> None:
        """Begin to write."""
        if self._thread is None:
            self._hurry, self._given_up = threading.Event(), threading.Event()
            arguments = (self._queue, self._hurry, self._given_up)
            self._thread = threading.Thread(target=self._run, args=arguments, name="log", daemon=True)
            self._thread.start()

    def flush(self, timeout_s: float = DRAIN_S) -> bool:
        """Wait until what was put is written or dropped; return whether it is. Blocks: not for the event loop."""
        written = threading.Event()
        self._hurry.set()
        self._queue.put(written)
        return self._thread is not None and written.wait(timeout_s)

    def close(self, timeout_s: float = DRAIN_S) -> bool:
        """Write what was put, for so long at most, and end the thread; return whether all was written or dropped. Blocks."""
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        if self._untold:
            self._tell()
        queue, self._queue = self._queue, SimpleQueue()
        self._hurry.set()
        queue.put(None)
        thread.join(timeout_s)
        if not thread.is_alive():
            return True
        self._given_up.set()  # it ends with the line at which it is
        self._dropped += max(0, queue.qsize() - 1)
        return False

    def _tell(self) -> None:
        self._queue.put(Gap(QUEUE, self._untold, "the queue was full"))
        self._untold = 0

    # -------------------------------------------------------------------------------- in the thread
    def _run(
        self, queue: "SimpleQueue[T | Gap | threading.Event | None]", hurry: threading.Event, given_up: threading.Event
    ) -> None:
        while self._batch(queue, queue.get(), hurry, given_up):
            pass
        for outlet in self._outlets:
            with suppress(Exception):
                self._tell_gap(outlet)
            with suppress(Exception):
                outlet.sink.close()

    def _batch(
        self, queue: "SimpleQueue[T | Gap | threading.Event | None]", entry: T | Gap | threading.Event | None,
        hurry: threading.Event, given_up: threading.Event,
    ) -> bool:  # fmt: skip
        """Write what there is, a little after the first of it came; return whether to go on."""
        hurry.wait(GATHER_S)
        while entry is not None and not given_up.is_set():
            if isinstance(entry, threading.Event):
                hurry.clear()
                entry.set()
            else:
                self._deliver(entry)
            try:
                entry = queue.get_nowait()
            except Empty:
                return True
        return False

    def _deliver(self, entry: T | Gap) -> None:
        lines: dict[bool, str] = {}
        for outlet in self._outlets:
            pretty = outlet.sink.pretty
            try:
                self._tell_gap(outlet)
                if pretty not in lines:
                    lines[pretty] = self._render(entry, pretty)
                outlet.sink.write(lines[pretty])
            except Exception as error:  # noqa: BLE001 - a sink's defect must not end the others
                self._lose(outlet, error)

    def _tell_gap(self, outlet: _Outlet) -> None:
        if outlet.untold:
            gap = Gap(outlet.sink.name, outlet.untold, outlet.reason)
            outlet.sink.write(self._render(gap, outlet.sink.pretty))
            outlet.untold = 0

    def _lose(self, outlet: _Outlet, error: Exception) -> None:
        """Count a line that a sink did not take; the first time the other sinks are told."""
        outlet.dropped += 1
        outlet.untold += 1
        if outlet.untold > 1:
            return
        outlet.reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        trouble = Gap(outlet.sink.name, 0, outlet.reason)
        for other in self._outlets:
            if other is not outlet and not other.untold:
                with suppress(Exception):
                    other.sink.write(self._render(trouble, other.sink.pretty))
