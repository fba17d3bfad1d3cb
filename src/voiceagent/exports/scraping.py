"""Serves metrics on a port of their own, in a thread: the conversation's loop is never asked."""

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from voiceagent.exports.errors import ExportError

MOST_SCRAPES = 4
"""Scrapes at a time; one more is hung up on."""
SCRAPE_TIMEOUT_S = 5.0
PATH = "/metrics"


class MetricsServer:
    """``with MetricsServer(registry, host, port)``: whoever reaches the port gets the metrics; 404 on any other path.

    Port 0 takes a free one. Raises `ExportError` if the port cannot be had.
    """

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        server_class = _Server6 if ":" in host else _Server
        try:
            self._server = make_server(host, port, _at_its_path(make_wsgi_app(registry)), server_class, _Requests)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise ExportError(
                f"cannot serve metrics on {host}:{port}: {why}. Set another port with metrics_port, or end what uses it."
            ) from error
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def __enter__(self) -> Self:
        """Serve from now on."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Serve no longer; the port is free again."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _at_its_path(metrics: Callable[..., Any]) -> Callable[..., Iterable[bytes]]:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            start_response("404 Not Found", [("content-type", "text/plain; charset=utf-8")])
            return [f"The metrics are at {PATH}.\n".encode()]
        answer: Iterable[bytes] = metrics(environ, start_response)
        return answer

    return application


class _Requests(WSGIRequestHandler):
    timeout = SCRAPE_TIMEOUT_S  # for each read and write; the library sets it on the socket

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing: who scrapes is of no interest."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False  # a scrape that hangs must not hold up the end

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._places = threading.BoundedSemaphore(MOST_SCRAPES)
        super().__init__(*args, **kwargs)

    def server_bind(self) -> None:
        """Bind without asking the name service what this machine is called, as the library would; it may be slow."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """Say nothing: a scraper that hangs up is no defect."""


class _Server6(_Server):
    address_family = socket.AF_INET6
