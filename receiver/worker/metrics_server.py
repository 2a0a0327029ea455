"""The HTTP server of a worker's metrics, for Prometheus. It requires no key; do not expose its port to the public."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from receiver.ports import build_port_error

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_ADDRESS = "0.0.0.0"  # noqa: S104  # as the web process: Prometheus usually runs on another machine
_MAX_CONNECTIONS = 32
_CONNECTION_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 0.5


@contextmanager
def serve_metrics(port: int, collector: Collector) -> Iterator[None]:
    """Serve metrics at `/metrics` within the context.

    Raises:
        PortUnavailable: the port is in use, or may not be used.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    server = _Server((_ADDRESS, port), _build_app(registry), log=None, error_log=None, spawn=Pool(_MAX_CONNECTIONS))
    try:
        server.start()
    except OSError as error:
        remedy = "Each worker of a machine needs a port of its own: set another one"
        raise build_port_error("RECEIVER_METRICS_PORT", port, error, remedy) from error
    try:
        yield
    finally:
        server.stop(_STOP_TIMEOUT_S)


class _Server(WSGIServer):
    """A server that limits the time of each connection."""

    def handle(self, sock: Any, address: Any) -> None:
        gevent.with_timeout(_CONNECTION_TIMEOUT_S, super().handle, sock, address, timeout_value=None)


def _build_app(registry: CollectorRegistry) -> "WSGIApplication":
    def respond(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/metrics":
            status, content_type, body = "404 Not Found", "text/plain", b"see /metrics\n"
        elif environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            status, content_type, body = "405 Method Not Allowed", "text/plain", b"use GET\n"
        else:
            status, content_type, body = "200 OK", CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry)
        # Without keep-alive, so that the time limit of a connection is that of one scrape.
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Connection", "close")]
        start_response(status, headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return respond
