"""The log's way out: what a full disk, a closed pipe or a slow reader costs is records, counted, and nothing else."""

import errno
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.world import settings_for_tests
from voiceagent.logs import RecordLog, chosen_sinks
from voiceagent.sinks import FileSink, Gap, StreamSink, Writer
from voiceagent.timeline import TransitionRecord

FULL = OSError(errno.ENOSPC, "No space left on device")


class Kept:
    """A sink that keeps its lines, and fails while a test says so."""

    def __init__(self, name="kept", pretty=False):
        self.name, self.pretty = name, pretty
        self.lines, self.error, self.closed = [], None, 0
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()

    def write(self, line):
        self.reached.set()
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        self.lines.append(line)

    def close(self):
        self.closed += 1


def told(entry, _):
    """A line of an entry: gaps in words."""
    return f"{entry.where} lost {entry.dropped}: {entry.reason}" if isinstance(entry, Gap) else entry


def written(*sinks, limit=100):
    """A running writer of these sinks."""
    writer = Writer(sinks, told, limit=limit)
    writer.start()
    return writer


def step(seq):
    """A record."""
    return TransitionRecord(
        seq=seq, at_us=seq, turn=1, epoch=1, source="thinking", trigger="first_frame", target="speaking", dwell_us=5,
        deadline_us=None, reason="",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------ queue and thread
def test_all_sinks_get_all_in_order():
    """What was put before the start is kept; each sink has every entry once, in order, and is closed at the end."""
    one, two = Kept("one"), Kept("two")
    writer = Writer([one, two], told)
    writer.put("a")
    writer.start()
    writer.put("b")
    assert writer.flush()
    assert one.lines == two.lines == ["a", "b"]
    writer.put("c")
    assert writer.close()
    assert one.lines == two.lines == ["a", "b", "c"]
    assert (one.closed, two.closed) == (1, 1)
    assert writer.dropped == {"queue": 0, "one": 0, "two": 0}
    assert writer.close()


def test_a_writer_may_begin_again():
    """After its end entries are kept for the next start."""
    sink = Kept()
    writer = written(sink)
    assert writer.close()
    writer.put("a")
    assert not writer.flush(0.01)
    writer.start()
    assert writer.close()
    assert sink.lines == ["a"]


def test_a_slow_sink_fills_the_queue():
    """What finds the queue full is dropped until half of it is written; the gap is told where it is, and order is kept."""
    sink = Kept()
    sink.gate.clear()
    writer = written(sink, limit=4)
    writer.put("held")
    assert sink.reached.wait(10)
    for name in "abcdefg":  # e, f and g find four before them
        writer.put(name)
    assert writer.dropped == {"queue": 3, "kept": 0}
    sink.gate.set()
    assert writer.flush()
    writer.put("h")
    assert writer.close()
    assert sink.lines == ["held", "a", "b", "c", "d", "queue lost 3: the queue was full", "h"]


def test_a_gap_at_the_end_is_told():
    """Where nothing comes after what was dropped, the end tells of it."""
    sink = Kept()
    sink.gate.clear()
    writer = written(sink, limit=1)
    writer.put("held")
    assert sink.reached.wait(10)
    writer.put("a")
    writer.put("b")
    sink.gate.set()
    assert writer.close()
    assert sink.lines == ["held", "a", "queue lost 1: the queue was full"]


def test_a_full_disk_is_one_sinks_trouble():
    """A sink that raises loses and counts, and hears of it before its next line; the other one has all, and a word of it."""
    bad, good = Kept("bad"), Kept("good")
    writer = written(bad, good)
    bad.error = FULL
    writer.put("a")
    writer.put("b")
    assert writer.flush()
    bad.error = None
    writer.put("c")
    assert writer.close()
    assert bad.lines == ["bad lost 2: No space left on device", "c"]
    assert good.lines == ["bad lost 0: No space left on device", "a", "b", "c"]
    assert writer.dropped == {"queue": 0, "bad": 2, "good": 0}


def test_any_defect_of_a_sink_is_survived():
    """What is no `OSError` is counted like one."""
    bad, good = Kept("bad"), Kept("good")
    bad.error = ZeroDivisionError("division by zero")
    writer = written(bad, good)
    writer.put("a")
    assert writer.close()
    assert good.lines == ["bad lost 0: division by zero", "a"]
    assert writer.dropped["bad"] == 1


def test_a_stuck_sink_does_not_hold_the_end():
    """The end waits for a bounded time; what is left then is counted."""
    sink = Kept()
    sink.gate.clear()
    writer = written(sink)
    for name in "abc":
        writer.put(name)
    assert sink.reached.wait(10)
    assert not writer.close(0.01)
    assert writer.dropped == {"queue": 2, "kept": 0}
    sink.gate.set()


# ------------------------------------------------------------------------------------------ descriptors
def piped():
    """A pipe's read end, and a stream of its write end."""
    read, write = os.pipe()
    return read, os.fdopen(write, "w")


def drain(read):
    """All that is in a pipe now."""
    os.set_blocking(read, False)
    data = b""
    try:
        while piece := os.read(read, 1 << 16):
            data += piece
    except BlockingIOError:
        pass
    return data


def test_a_pipe_that_nobody_reads():
    """Lines are refused while it is full; one that was cut short is finished before the next."""
    read, stream = piped()
    with stream:
        sink = StreamSink(stream, name="stdout", pretty=False)
        lines, refused = [f"{number:05} {'x' * 9_000}\n" for number in range(100)], []
        for number, line in enumerate(lines):
            try:
                sink.write(line)
            except BlockingIOError:
                refused.append(number)
        assert refused == list(range(refused[0], 100))
        first = drain(read)
        sink.write("after\n")
        whole = (first + drain(read)).decode().splitlines(keepends=True)
        assert whole == [*lines[: refused[0]], "after\n"]
        assert not first.endswith(b"\n")  # it was the middle of a line that was full
        sink.close()
    os.close(read)


def test_a_closed_pipe():
    """A reader that has gone is an `OSError` for each line, and no signal."""
    read, stream = piped()
    with stream:
        sink = StreamSink(stream, name="stdout", pretty=False)
        os.close(read)
        for _ in range(2):
            with pytest.raises(BrokenPipeError):
                sink.write("a\n")
        sink.close()


def test_a_closed_stream_and_its_number():
    """The sink holds a number of its own: a file that gets the stream's old one gets no lines."""
    read, stream = piped()
    sink = StreamSink(stream, name="stdout", pretty=False)
    sink.write("a\n")
    stream.close()
    sink.write("b\n")
    sink.close()
    assert drain(read) == b"a\nb\n"
    os.close(read)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_a_full_device():
    """The standard output on a full disk, and a log file there: every record is lost, counted, and told to the other."""
    with Path("/dev/full").open("w") as full:
        log = RecordLog(settings_for_tests(log_format="json", log_file="/dev/full"), full)
        log.start()
        log.record("s", step(1))
        log.record("s", step(2))
        assert log.close()
        assert log.dropped == {"queue": 0, "stdout": 2, "file": 2}


# ------------------------------------------------------------------------------------------ files
def test_rotation(tmp_path):
    """A file that has no room for a line is put aside whole; so many old ones are kept, no line is in two or torn."""
    sink = FileSink(tmp_path / "log.jsonl", max_bytes=20, keep=2)
    for number in range(9):
        sink.write(f"line {number}\n")  # seven bytes: two to a file
    sink.write("a line longer than a whole file\n")
    sink.close()
    files = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert files == {
        "log.jsonl": "a line longer than a whole file\n", "log.jsonl.1": "line 8\n", "log.jsonl.2": "line 6\nline 7\n",
    }  # fmt: skip


def test_a_file_goes_on(tmp_path):
    """A new process appends; half a line that another left is ended first."""
    path = tmp_path / "log.jsonl"
    path.write_text("whole\nha")
    for line in ("one\n", "two\n"):
        sink = FileSink(path, max_bytes=100, keep=1)
        sink.write(line)
        sink.close()
    assert path.read_text() == "whole\nha\none\ntwo\n"


def test_a_short_write_is_finished_before_the_rotation(tmp_path, monkeypatch):
    """A disk that is full in the middle of a line: its rest is written first of all, into the same file."""
    room, write = [10], os.write

    def small(fd, data):
        if not room[0]:
            raise FULL
        count = min(room[0], len(data))
        room[0] -= count
        return write(fd, data[:count])

    monkeypatch.setattr(os, "write", small)
    path = tmp_path / "log.jsonl"
    sink = FileSink(path, max_bytes=16, keep=1)
    sink.write("first\n")
    sink.write("second\n")  # four bytes of it
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            sink.write("lost\n")
    room[0] = 100
    sink.write("third\n")
    sink.close()
    assert (path.with_suffix(".jsonl.1").read_text(), path.read_text()) == ("first\nsecond\n", "third\n")


def test_a_folder_that_goes_away(tmp_path):
    """Without its folder a rotation fails and lines are lost; when it is back, they are written again."""
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = FileSink(folder / "log.jsonl", max_bytes=5, keep=1)
    sink.write("one\n")
    (folder / "log.jsonl").unlink()
    folder.rmdir()
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            sink.write("two\n")
    folder.mkdir()
    sink.write("three\n")
    sink.close()
    assert (folder / "log.jsonl").read_text() == "three\n"


# ------------------------------------------------------------------------------------------ the log
def test_the_log_in_a_file_and_on_a_terminal(tmp_path):
    """Pretty on a terminal, JSON in the file, with the time at which it happened."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    times = iter([1_700_000_000_123_456_789, 1_700_000_001_000_000_000])
    settings = settings_for_tests(log_file=tmp_path / "log.jsonl")
    log = RecordLog(settings, terminal, wall_ns=lambda: next(times))
    log.record("abc", step(1))
    log.event("began", odd={1}.__class__)
    log.start()
    assert log.close()
    one, two = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert (one["timestamp"], one["schema"], one["session"], one["seq"]) == (
        "2023-11-14T22:13:20.123456Z", "voice.transition/1", "abc", 1,
    )  # fmt: skip
    assert two == {
        "timestamp": "2023-11-14T22:13:21.000000Z", "level": "info", "event": "began", "odd": "<class 'set'>",
    }  # fmt: skip
    assert "\x1b[" in terminal.getvalue()
    assert "2023-11-14T22:13:20.123456Z" in terminal.getvalue()


def test_a_record_that_cannot_be_told():
    """It is a line of its own kind, and what follows is told."""
    stream = io.StringIO()
    log = RecordLog(settings_for_tests(log_format="json"), stream)
    log.start()
    log.record("s", object())
    log.record("s", step(2))
    assert log.close()
    broken, whole = map(json.loads, stream.getvalue().splitlines())
    assert (broken["event"], broken["of"], broken["session"], broken["level"]) == (
        "record_broken",
        "turn",
        "s",
        "error",
    )
    assert whole["seq"] == 2


def test_losses_are_told_in_the_log():
    """How many are missing, where and why, as an error."""
    sink = Kept("file")
    log = RecordLog(settings_for_tests(), sinks=[sink])
    log.start()
    sink.error = FULL
    log.record("s", step(1))
    assert log.flush()
    sink.error = None
    log.record("s", step(2))
    assert log.close()
    lost, whole = map(json.loads, sink.lines)
    del lost["timestamp"]
    assert lost == {
        "level": "error", "event": "records_dropped", "sink": "file", "dropped": 1, "reason": "No space left on device",
    }  # fmt: skip
    assert whole["seq"] == 2
    assert log.dropped == {"queue": 0, "file": 1}


def test_no_stdout(monkeypatch):
    """A process that was started without one has no such sink."""
    monkeypatch.setattr(sys, "stdout", None)
    assert chosen_sinks(settings_for_tests()) == []


def test_a_process_without_stdout():
    """With the descriptor closed the log is silent, and nothing else is written to what has its number."""
    program = (
        "import os, sys\n"
        "from voiceagent.logs import RecordLog\n"
        "from voiceagent.settings import Settings\n"
        "log = RecordLog(Settings(_env_file=None))\n"
        "log.start()\n"
        "log.event('x')\n"
        "assert log.close()\n"
        "assert log.dropped == {'queue': 0}\n"
    )
    command = ["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, program]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stderr == ""


@pytest.mark.parametrize("name", ["no/such/folder/log.jsonl", "."])
def test_a_file_that_cannot_be(name, tmp_path):
    """A log file in no folder, or that is one, is refused at the start."""
    with pytest.raises(ValueError, match="is not a file in a folder that exists"):
        settings_for_tests(log_file=tmp_path / name)
