"""Which exports the settings and the environment ask for: the one place that knows which setting makes which observer."""

from contextlib import ExitStack
from importlib.util import find_spec

from voiceagent.exports.house import House
from voiceagent.exports.otel import MISSING, Tracer, wanted_by_environment
from voiceagent.observing import Observer
from voiceagent.settings import Settings


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
            from voiceagent.exports.prometheus import Metrics  # costs the start 20 ms

            self._metrics = Metrics(house or House())
            self.observers += (self._metrics,)
        self._tracer = self._traces()
        if self._tracer is not None:
            self.observers += (self._tracer,)

    def _traces(self) -> Tracer | None:
        if self._settings.otel_endpoint is not None:
            return Tracer(self._settings.otel_endpoint)
        if not wanted_by_environment():
            return None
        if not installed():  # such variables are often set for all that runs on a machine: no reason not to start
            self.notes += (f"Note: OTEL_EXPORTER_OTLP_ENDPOINT is set, but {MISSING}",)
            return None
        return Tracer(None)

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
