"""Sends one trace a turn to an OpenTelemetry collector, over HTTP, from a thread of the SDK's; needs the extra `otel`."""

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from voiceagent import __version__
from voiceagent.exports.errors import NO_OTEL, ExportError
from voiceagent.exports.genai import SCHEMA_URL
from voiceagent.exports.memory import Memory
from voiceagent.exports.spans import trace
from voiceagent.timeline import TransitionRecord, TurnRecord

TRACES = "/v1/traces"
SERVICE = "voiceagent"
LAST_WORD_S = 3.0
"""How long the end of the server waits for what is still to be sent."""


def wall_offset_ns() -> int:
    """Return the wall clock less the monotonic one, now: the wall clock may have been set meanwhile."""
    return time.time_ns() - time.monotonic_ns()


class Tracer:
    """An observer that makes a trace of each turn, inside its own context: ``with tracer``.

    `endpoint` is the collector's base URL, such as ``http://127.0.0.1:4318``; with None the variables of OpenTelemetry
    (``OTEL_EXPORTER_OTLP_ENDPOINT`` …) say it. Its other variables (headers, sampler, batch, resource) hold in any case.
    `offset_ns` is what must be added to the records' clock for wall time. What does not fit into the SDK's queue is
    dropped.
    """

    def __init__(self, endpoint: str | None, offset_ns: Callable[[], int] = wall_offset_ns) -> None:
        self._url = None if endpoint is None else endpoint.rstrip("/").removesuffix(TRACES) + TRACES
        self._memory = Memory()
        self._offset_ns = offset_ns

    def __enter__(self) -> Self:
        """Send from now on. Raises `ExportError` without the extra."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            from voiceagent.exports.otel_spans import Translator
        except ImportError as error:
            raise ExportError(NO_OTEL) from error
        named = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or SERVICE})
        resource = named.merge(Resource({"service.version": __version__}))
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # for its sampler: spans are made here
        self._exporter = OTLPSpanExporter(endpoint=self._url)
        self._processor = BatchSpanProcessor(self._exporter)
        self._translator = Translator(provider, SERVICE, __version__, SCHEMA_URL)
        return self

    def transition(self, session: str, record: TransitionRecord) -> None:
        """Remember the step until its turn is over."""
        self._memory.step(session, record)

    def turn(self, session: str, record: TurnRecord) -> None:
        """Hand the turn's spans to the SDK."""
        stays = self._memory.stays(session, record.started_us, record.ended_us)
        for span in self._translator.spans(trace(session, record, stays), self._offset_ns()):
            self._processor.on_end(span)

    def flush(self) -> None:
        """Send what has come so far; not for the event loop, since it waits for the collector."""
        self._processor.force_flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what is left, for a while: the SDK alone would wait for half a minute."""
        ending = threading.Thread(target=self._end, name="last traces", daemon=True)
        ending.start()
        ending.join(LAST_WORD_S)
        if ending.is_alive():
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # ends its wait before another try

    def _end(self) -> None:
        self._processor.shutdown()  # type: ignore[no-untyped-call]
