"""``voiceagent trace``: from logs to one file that Perfetto shows."""

import json
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from voiceagent.exports.chrome import Chrome, Event
from voiceagent.latency.lines import Unreadable
from voiceagent.latency.reading import Reading, printable, read

STDOUT = "-"


def run(logs: Collection[str], sessions: Collection[str], output: str) -> int:
    """Write the trace of these sessions (all, if none is named) and say what it holds; 1 with a sentence if it cannot."""
    reading, chrome = Reading(), Chrome()
    counts = {"turns": 0, "transitions": 0}
    try:
        with _opened(output) as stream:
            _write(stream, _events(logs, sessions, reading, chrome, counts))
    except Unreadable as error:
        return _sorry(str(error))
    except BrokenPipeError:
        return 1
    except OSError as error:
        return _sorry(f"cannot write {output}: {error.strerror}")
    for wrong in reading.first_wrong:
        sys.stderr.write(f"{wrong}\n")
    if reading.summary():
        sys.stderr.write(f"{reading.summary()}\n")
    if not chrome.sessions:
        what = (
            f"no record of {' or '.join(printable(name) for name in sessions)}"
            if sessions
            else "no record of a session"
        )
        return _sorry(f"{what} in these logs: the trace is empty")
    told = f"{chrome.sessions} sessions, {counts['turns']} turns, {counts['transitions']} transitions"
    sys.stderr.write(f"{told}: open it in ui.perfetto.dev, which reads it in the browser, or in chrome://tracing\n")
    return 0


def _events(
    logs: Collection[str], sessions: Collection[str], reading: Reading, chrome: Chrome, counts: dict[str, int]
) -> Iterator[Event]:
    for located in read(logs, reading):
        if not sessions or located.record.session in sessions:
            counts["turns" if located.record.event == "turn" else "transitions"] += 1
            yield from chrome.record(located.record)
    yield from chrome.end()


def _write(stream: IO[str], events: Iterator[Event]) -> None:
    """Write the events one a line, as they come."""
    stream.write('{"displayTimeUnit": "ms", "traceEvents": [')
    for number, event in enumerate(events):
        stream.write(",\n" if number else "\n")
        stream.write(json.dumps(event, ensure_ascii=True, separators=(",", ":")))
    stream.write("\n]}\n")
    stream.flush()


@contextmanager
def _opened(output: str) -> Iterator[IO[str]]:
    """Open what is written to; a file gets its name only once it is whole."""
    if output == STDOUT:
        yield sys.stdout
        return
    path = Path(output)
    part = path if path.exists() and not path.is_file() else path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as stream:
            yield stream
        if part != path:
            part.replace(path)
    except BaseException:
        if part != path:
            part.unlink(missing_ok=True)
        raise


def _sorry(sentence: str) -> int:
    sys.stderr.write(f"voiceagent: {sentence}\n")
    return 1
