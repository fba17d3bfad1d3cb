"""The log: one JSON line a record, for people to tune by; texts only where a setting allows them, keys never."""

import sys
from typing import IO, Any, TextIO, cast

import structlog

from voiceagent.recordlines import transition_fields, turn_fields
from voiceagent.records import TRANSITION_SCHEMA, TURN_SCHEMA
from voiceagent.settings import Settings
from voiceagent.timeline import TransitionRecord, TurnRecord

# Where it happened, but not what was in the variables there: among them are keys.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class RecordLog:
    """Writes records of sessions and the server's own events as lines to `stream`."""

    def __init__(self, settings: Settings, stream: IO[str] | None = None) -> None:
        stream = sys.stdout if stream is None else stream
        pretty = settings.log_format == "pretty" or (settings.log_format == "auto" and stream.isatty())
        renderer: Any = structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
        self._log = cast(
            "structlog.typing.FilteringBoundLogger",
            structlog.wrap_logger(
                structlog.PrintLogger(cast("TextIO", stream)),
                processors=[
                    structlog.processors.add_log_level,
                    structlog.processors.TimeStamper(fmt="iso", utc=True),
                    structlog.processors.format_exc_info if pretty else _TRACEBACKS,
                    renderer,
                ],
                wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.log_level]),
                cache_logger_on_first_use=True,
            ),
        )

    def record(self, session: str, record: TransitionRecord | TurnRecord) -> None:
        """Write one record of a session."""
        if isinstance(record, TransitionRecord):
            self._log.info("transition", schema=TRANSITION_SCHEMA, session=session, **transition_fields(record))
        else:
            self._log.info("turn", schema=TURN_SCHEMA, session=session, **turn_fields(record))

    def event(self, name: str, **fields: Any) -> None:
        """Write an event of the server itself."""
        self._log.info(name, **fields)

    def warning(self, name: str, **fields: Any) -> None:
        """Write something that somebody should look at."""
        self._log.warning(name, **fields)

    def failure(self, name: str, error: BaseException, **fields: Any) -> None:
        """Write a defect of this program, with where it happened."""
        self._log.error(name, exc_info=error, **fields)
