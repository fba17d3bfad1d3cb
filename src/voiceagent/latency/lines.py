"""Log files as lines of bounded length: plain or gzipped, from standard input, or from a file that grows and is rotated."""

import gzip
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, cast

STDIN = "-"
BLOCK = 256 * 1024
LONGEST_LINE = 1024 * 1024
"""No record is longer; of a longer line nothing is kept."""
GZIP = b"\x1f\x8b"
PATIENCE_S = 0.25
"""A growing file is looked at so often."""


class Unreadable(Exception):  # noqa: N818 - a sentence for the user, not a mistake
    """The file cannot be read at all; the message is one sentence."""


class Damaged(Exception):  # noqa: N818 - as above
    """The file ends, or is broken, in its middle; what came before it stands."""


def blocks(path: str) -> Iterator[bytes]:
    """Yield a file's bytes, unpacked if it is gzipped (its name does not matter); ``-`` is standard input.

    Raises `Unreadable`, or `Damaged` where a gzipped file breaks off.
    """
    try:
        opened = cast("BinaryIO", sys.stdin.buffer) if path == STDIN else Path(path).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from None
    with nullcontext(opened) if path == STDIN else opened as stream:
        try:
            first = stream.read(len(GZIP))
            if first == GZIP:
                yield from _unpacked(_Rejoined(first, stream))
                return
            yield first
            while block := stream.read1(BLOCK):  # type: ignore[attr-defined]  # both kinds are buffered
                yield block
        except OSError as error:
            raise Unreadable(f"cannot read {path}: {error.strerror or error}") from None


def _unpacked(stream: "_Rejoined") -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=cast("BinaryIO", stream), mode="rb") as unpacked:
            while block := unpacked.read1(BLOCK):
                yield block
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        why = "ends in the middle" if isinstance(error, EOFError) else "is broken here"
        raise Damaged(f"the gzipped file {why}") from None


class _Rejoined:
    """A stream whose first bytes were looked at already; all that gzip asks of it."""

    def __init__(self, first: bytes, stream: BinaryIO) -> None:
        self._first, self._stream = first, stream

    def read(self, size: int = -1) -> bytes:
        """Read up to so many bytes."""
        first, self._first = self._first[:size], self._first[size:]
        return first or self._stream.read(size)


def rest() -> bool:
    """Wait a little; the wait of `grown` for more."""
    time.sleep(PATIENCE_S)
    return True


def grown(path: str, wait: Callable[[], bool] = rest) -> Iterator[bytes]:
    """Yield what a file has and then what is written to it, while `wait` returns True at its end.

    A new file of that name (rotation) and a file that has become shorter (truncation) are read from their beginning; a
    line that was not finished before ends there. Raises `Unreadable` if there is no file at the start.
    """
    try:
        stream: BinaryIO = Path(path).open("rb")  # noqa: SIM115 - it changes while it is followed
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from None
    finished = True
    try:
        while True:
            if block := stream.read(BLOCK):
                finished = block.endswith(b"\n")
                yield block
                continue
            newer = _newer(path, stream)
            if newer is None:
                if not wait():
                    return
                continue
            if newer is not stream:
                if block := stream.read():  # written between the last look and the rotation
                    finished = block.endswith(b"\n")
                    yield block
                stream.close()
                stream = newer
            if not finished:
                finished = True
                yield b"\n"
    finally:
        stream.close()


def _newer(path: str, stream: BinaryIO) -> BinaryIO | None:
    """The file that now has this name, the same one set back to its beginning, or None: nothing has happened."""
    try:
        there, ours = os.stat(path), os.fstat(stream.fileno())  # noqa: PTH116 - beside fstat
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            return Path(path).open("rb")
    except OSError:
        return None  # between two files: it will be there again
    if ours.st_size < stream.tell():
        stream.seek(0)
        return stream
    return None


def lines(read: Iterable[bytes]) -> Iterator[bytes | None]:
    """Split blocks of at most `BLOCK` bytes at their newlines; None stands for a line longer than `LONGEST_LINE`."""
    kept, skipping = b"", False
    for block in read:
        head, newline, tail = block.partition(b"\n")
        if not newline:
            if not skipping:
                kept += block
            if len(kept) > LONGEST_LINE:
                kept, skipping = b"", True
            continue
        yield None if skipping else kept + head
        skipping = False
        *whole, kept = tail.split(b"\n")
        yield from whole
    if skipping:
        yield None
    elif kept:
        yield kept
