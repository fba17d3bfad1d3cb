"""Which exports the settings and the environment ask for: the one place that knows which setting makes which observer."""

import os
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING

from voiceagent.exports.errors import NO_OTEL
from voiceagent.exports.house import House
from voiceagent.observing import Observer
from voiceagent.settings import Settings

if TYPE_CHECKING:  # what is not asked for is not loaded: the port opens first
    from voiceagent.exports.otel import Tracer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def traces_wanted() -> bool:
    """Whether OpenTelemetry's own variables ask for traces."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    return not off and any(os.environ.get(name) for name in _ENDPOINTS)


class Exports:
    """One server's exports: its `observers` take records between `open` and `close`.

    `notes` are sentences for who starts the server: where the metrics are, and what the environment asks for in vain.
    """

    def __init__(self, settings: Settings, house: House | None = None) -> None:
        self.notes: tuple[str, ...] = ()
        self.observers: tuple[Observer, ...] = ()
        self.metrics_port: int | None = None  # the one that was taken
        self._settings = settings
        self._open: ExitStack | None = None
        if settings.metrics_port is not None:
            from voiceagent.exports.prometheus import Metrics

            self._metrics = Metrics(house or House())
            self.observers += (self._metrics,)
        self._tracer = self._traces()
        if self._tracer is not None:
            self.observers += (self._tracer,)

    def _traces(self) -> "Tracer | None":
        endpoint = self._settings.otel_endpoint
        if endpoint is None and not traces_wanted():
            return None
        if endpoint is None and not installed():
            # Such variables are often set for all that runs on a machine: no reason not to start.
            self.notes += (f"Note: OTEL_EXPORTER_OTLP_ENDPOINT is set, but {NO_OTEL}",)
            return None
        from voiceagent.exports.otel import Tracer

        return Tracer(endpoint)

    def open(self) -> None:
        """Begin to export; nothing if that has begun. Raises `ExportError`, and nothing has begun."""
        if self._open is not None:
            return
        with ExitStack() as stack:
            if self._settings.metrics_port is not None:
                from voiceagent.exports.scraping import PATH, MetricsServer

                host, port = self._settings.metrics_host, self._settings.metrics_port
                server = stack.enter_context(MetricsServer(self._metrics.registry, host, port))
                self.metrics_port = server.port
                self.notes += (f"Metrics: http://{f'[{host}]' if ':' in host else host}:{server.port}{PATH}",)
            if self._tracer is not None:
                stack.enter_context(self._tracer)
            self._open = stack.pop_all()

    def close(self) -> None:
        """End it; it may take some seconds, in which the last traces are sent. To be called from a thread."""
        if self._open is not None:
            self._open.close()
            self._open = None


def installed() -> bool:
    """Whether the extra `otel` is there."""
    try:
        return (
            find_spec("opentelemetry.sdk") is not None
            and find_spec("opentelemetry.exporter.otlp.proto.http") is not None
        )
    except ModuleNotFoundError:
        return False
