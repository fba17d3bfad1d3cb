"""The log: one JSON line a record, for people to tune by; texts only where a setting allows them, keys never."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import IO, Any, NamedTuple

import structlog

from voiceagent.recordlines import transition_fields, turn_fields
from voiceagent.records import TRANSITION_SCHEMA, TURN_SCHEMA
from voiceagent.settings import Settings
from voiceagent.sinks import FileSink, Gap, Sink, StreamSink, Writer
from voiceagent.timeline import TransitionRecord, TurnRecord

# Where it happened, but not what was in the variables there: among them are keys.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
_ENCODER = json.JSONEncoder(default=repr)  # made once: `json.dumps` makes one for each line
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Entry(NamedTuple):  # made in the event loop, in half the time of a dataclass
    """Something that happened, not yet a line."""

    wall_ns: int
    level: str
    event: str
    fields: Mapping[str, Any] = {}
    session: str = ""
    record: TransitionRecord | TurnRecord | None = None


class RecordLog:
    """Takes records of sessions and the server's own events; between `start` and `close` they become lines.

    Only the time is taken when something happens. The rest is done by the thread of `sinks.Writer`.
    """

    def __init__(
        self, settings: Settings, stream: IO[str] | None = None,
        *, sinks: Sequence[Sink] | None = None, wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:  # fmt: skip
        self._wall_ns = wall_ns
        self._least = _LEVELS[settings.log_level]
        self._console = structlog.dev.ConsoleRenderer()
        self._json = structlog.processors.JSONRenderer(serializer=lambda told, **_: _ENCODER.encode(told))
        self._writer: Writer[Entry] = Writer(chosen_sinks(settings, stream) if sinks is None else sinks, self._render)

    def start(self) -> None:
        """Begin to write; what came before is kept."""
        self._writer.start()

    def flush(self) -> bool:
        """Wait, not for long, until what came so far is written or dropped; return whether it is. Blocks."""
        return self._writer.flush()

    def close(self) -> bool:
        """Write what came so far, if that does not take too long, and end; return whether that was done. Blocks."""
        return self._writer.close()

    @property
    def dropped(self) -> dict[str, int]:
        """How many records are lost so far: in the queue (``queue``), and for each sink (``stdout``, ``file``)."""
        return self._writer.dropped

    def record(self, session: str, record: TransitionRecord | TurnRecord) -> None:
        """Take one record of a session."""
        if self._least <= _LEVELS["info"]:
            event = "transition" if isinstance(record, TransitionRecord) else "turn"
            self._writer.put(Entry(self._wall_ns(), "info", event, {}, session, record))

    def event(self, name: str, **fields: Any) -> None:
        """Take an event of the server itself."""
        self._take("info", name, fields)

    def warning(self, name: str, **fields: Any) -> None:
        """Take something that somebody should look at."""
        self._take("warning", name, fields)

    def failure(self, name: str, error: BaseException, **fields: Any) -> None:
        """Take a defect of this program, with where it happened."""
        self._take("error", name, {**fields, "exc_info": error})

    def _take(self, level: str, name: str, fields: dict[str, Any]) -> None:
        if self._least <= _LEVELS[level]:
            self._writer.put(Entry(self._wall_ns(), level, name, fields))

    # -------------------------------------------------------------------------------- in the thread
    def _render(self, entry: Entry | Gap, pretty: bool) -> str:
        if isinstance(entry, Gap):
            entry = self._told(entry)
        try:
            return self._line(entry, pretty)
        except Exception as error:  # noqa: BLE001 - a record that cannot be told is told to be one
            fields = {"of": entry.event, "session": entry.session, "exc_info": error}
            return self._line(Entry(entry.wall_ns, "error", "record_broken", fields), pretty)

    def _line(self, entry: Entry, pretty: bool) -> str:
        told: dict[str, Any] = {"timestamp": _iso(entry.wall_ns), "level": entry.level, "event": entry.event}
        if entry.record is not None:
            step = isinstance(entry.record, TransitionRecord)
            told["schema"], told["session"] = TRANSITION_SCHEMA if step else TURN_SCHEMA, entry.session
        told.update(entry.fields if entry.record is None else _fields(entry.record))
        if "exc_info" in told:
            told = dict((structlog.processors.format_exc_info if pretty else _TRACEBACKS)(None, entry.level, told))
        return f"{self._console(None, entry.level, told) if pretty else self._json(None, entry.level, told)!s}\n"

    def _told(self, gap: Gap) -> Entry:
        """What a sink is told of records that are missing, its own or another's."""
        fields: dict[str, Any] = {"sink": gap.where, "reason": gap.reason}
        if gap.dropped:
            return Entry(self._wall_ns(), "error", "records_dropped", {**fields, "dropped": gap.dropped})
        return Entry(self._wall_ns(), "error", "log_sink_failed", fields)


def _fields(record: TransitionRecord | TurnRecord) -> dict[str, Any]:
    return transition_fields(record) if isinstance(record, TransitionRecord) else turn_fields(record)


def chosen_sinks(settings: Settings, stream: IO[str] | None = None) -> list[Sink]:
    """Return where the settings want the lines: `stream` or stdout, if there is one, and the file."""
    sinks: list[Sink] = []
    stream = sys.stdout if stream is None else stream
    if stream is not None:  # the process may have been started without
        pretty = settings.log_format == "pretty" or (settings.log_format == "auto" and stream.isatty())
        sinks.append(StreamSink(stream, name="stdout", pretty=pretty))
    if settings.log_file is not None:
        size = round(settings.log_file_mb * 1_000_000)
        sinks.append(FileSink(settings.log_file, max_bytes=size, keep=settings.log_files))
    return sinks


def _iso(wall_ns: int) -> str:
    return f"{_second(wall_ns // 1_000_000_000)}.{wall_ns // 1000 % 1_000_000:06}Z"


@lru_cache(maxsize=4)  # many records of one second come together
def _second(wall_s: int) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
