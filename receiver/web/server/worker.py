"""The gunicorn worker: one greenlet per connection, which reads requests and has the app answer them."""

import os
import resource
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.workers.ggevent import GeventWorker

from receiver.domain.connections import ConnectionLimits
from receiver.logs import get_request_id, set_request_id
from receiver.web.server.connection import Connection
from receiver.web.server.connections import MALFORMED, STOP_TIMEOUT_S, Connections
from receiver.web.server.errors import CutReason, RequestCut
from receiver.web.server.messages import HttpRequest, HttpResponse, join_headers
from receiver.web.server.request_ids import REQUEST_ID, begin_request

MAX_HEADER_BYTES = 64 * 1024
"""The bytes of all headers of a request together, or of the trailers of a chunked body."""

_SWEEP_INTERVAL_S = 0.25
_HANDLING_TIMEOUT_S = 3.0
"""Seconds for which a stopping worker waits for the app, after it has waited for clients."""
_RECV_BYTES = 2_048
"""How much is read without knowing how much there is. Chunks are parsed until it is used up, without a pause."""
_MIN_ACCEPT, _ACCEPT_SHARE = 4, 50
"""How many connections are accepted in an iteration of the event loop, at least, and for how many that wait one more.

Few at once are shared evenly by the processes; many at once keep a queue of strangers in the kernel short.
"""
_DISCARD_STEP_BYTES = 16 * 1024
_MAX_DISCARDED_BYTES = 8 << 20
_MAX_LINGER_BYTES = 256 * 1024
_OTHER_FILES = 200
"""Open files that are no connections of clients."""


class DirectEndpoint(Protocol):
    """Answers requests without the app, see `CallbackEndpoint` and `SubmissionEndpoint` of `receiver.web`."""

    def handles(self, method: str, target: str, /) -> bool:
        """Return whether the endpoint answers a request; `target` is that of the request line."""

    def respond(self, request: HttpRequest, /) -> HttpResponse:
        """Return the response to a request; never raises an Exception."""


class LimitedRequest(Request):
    """A request whose headers are limited together, not only each of them."""

    def parse(self, unreader: Any) -> Any:
        self.max_buffer_headers = MAX_HEADER_BYTES
        return super().parse(unreader)

    def _peer_is_trusted_proxy(self) -> bool:
        """Return False: no header of a proxy is used that gunicorn knows, see `gunicorn_conf`."""
        return False


class LimitedParser(RequestParser):
    """The requests that arrive on a connection."""

    mesg_class = LimitedRequest

    def __init__(self, cfg: Any, connection: Any, peer: Any) -> None:
        super().__init__(cfg, connection, peer)
        unreader: Any = self.unreader
        unreader.mxchunk = _RECV_BYTES


class BodyReader:
    """Reads the body of a request, and notes when the connection waits for it no longer."""

    def __init__(self, request: Any, connection: Connection) -> None:
        self._reader = request.body.reader
        self._request = request
        self._connection = connection

    def read(self, size: int) -> bytes:
        """Return `size` bytes of the body, or fewer at its end."""
        try:
            data: bytes = self._reader.read(size)
        except Exception:
            self._request.force_close()  # nobody knows where the next request would begin
            raise
        finally:
            self._connection.end_body()
        return data


class Worker(GeventWorker):
    """A worker whose connections are limited; see `Connections`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections = Connections(ConnectionLimits())
        self.endpoints: Sequence[DirectEndpoint] = ()

    def limit_connections(self, limits: ConnectionLimits) -> None:
        """Use these limits; the number of connections is also limited by that of open files."""
        max_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_FILES
        self.worker_connections = max(min(self.worker_connections, max_files), 2)
        max_incomplete = min(limits.max_incomplete, self.worker_connections // 2)
        self.connections = Connections(replace(limits, max_incomplete=max_incomplete))

    def notify(self) -> None:
        """Show the master that the worker is alive; stop if the master is gone.

        gunicorn's own method ends the worker at once if the master was killed, with the requests that are in flight.
        """
        self.tmp.notify()
        if self.alive and self.ppid != os.getppid():
            self.log.warning("The master process is gone. Worker %s stops.", self.pid)
            self.alive = False

    def run(self) -> None:
        """Serve until the worker is told to stop or its master is gone, then answer the requests that have arrived.

        Connections that the kernel has completed are accepted first; then the listening socket is closed, so that a new
        master can bind its port.
        """
        pools = [Pool(self.worker_connections) for _ in self.sockets]
        servers = [self._start_server(listener, pool) for listener, pool in zip(self.sockets, pools, strict=True)]
        while self.alive:
            for server in servers:
                server.max_accept = _MIN_ACCEPT + self.connections.waiting // _ACCEPT_SHARE
            self._watch()
        for server in servers:
            _close_listener(server)
        self.connections.stop()
        stop_by = time.monotonic() + STOP_TIMEOUT_S + _HANDLING_TIMEOUT_S
        while time.monotonic() < stop_by and any(pools):
            self._watch()
        for server in servers:
            server.stop(timeout=1)

    def _start_server(self, listener: Any, pool: Pool) -> StreamServer:
        listener.setblocking(1)
        serve = partial(self._serve, listener.getsockname())
        server = StreamServer(listener, handle=serve, spawn=pool)
        server.start()
        return server

    def _watch(self) -> None:
        self.notify()
        self.connections.sweep()
        gevent.sleep(_SWEEP_INTERVAL_S)

    def _serve(self, listener_name: Any, client: Any, peer: Any) -> None:
        """Serve the requests of a connection one after the other."""
        client.setblocking(1)
        connection = self.connections.open(client, peer[0] if isinstance(peer, tuple) else "")
        try:
            parser = LimitedParser(self.cfg, connection, peer)
            while self._serve_request(listener_name, parser, connection, peer):
                pass
        except (StopIteration, NoMoreData):
            self.log.debug("Connection closed by the client.")
        except RequestCut as error:
            if error.reason is not CutReason.IDLE and connection.transferred:
                self._refuse(connection, error)
        except OSError as error:
            self.log.debug("Connection broken: %s", error)
        except Exception as error:
            self._refuse(connection, error)
        finally:
            connection.close()

    def _serve_request(self, listener_name: Any, parser: LimitedParser, connection: Any, peer: Any) -> bool:
        """Serve one request.

        Returns:
            Whether the connection can take another request.
        """
        connection.begin_request()
        set_request_id("")
        request: Any = next(parser)
        connection.begin_handling(self._find_forwarded(connection, request))
        if not connection.has_received:  # a pipelined request, which arrived with an earlier one
            connection.time_slice.check()
        has_body = isinstance(request.body.reader, ChunkedReader) or request.body.reader.length > 0
        if has_body:
            request.body.reader = BodyReader(request, connection)
        is_kept = True
        try:
            try:
                endpoint = self._find_endpoint(request)
                if endpoint is None:
                    self.handle_request(listener_name, request, connection, peer)
                else:
                    is_kept = self._serve_directly(endpoint, request, connection)
            except StopIteration:
                is_kept = False
            return (not has_body or _discard_body(connection, request.body)) and is_kept
        finally:
            # Request and body refer to each other: without this a body stays in memory until the garbage is collected.
            request.body = parser.mesg = None

    def _find_endpoint(self, request: Any) -> DirectEndpoint | None:
        for endpoint in self.endpoints:
            if endpoint.handles(request.method, request.uri):
                return endpoint
        return None

    def _serve_directly(self, endpoint: DirectEndpoint, request: Any, connection: Connection) -> bool:
        """Serve a request as `handle_request` serves any other one, without the app.

        Returns:
            Whether the connection can take another request.
        """
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
        if request._expected_100_continue:  # noqa: SLF001  # gunicorn itself answers it where it calls the app
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        headers = join_headers(request.headers)
        request_id = begin_request(headers.get("x-request-id"))
        response = endpoint.respond(
            HttpRequest(request.method, request.uri, request.path, headers, request.body, connection.peer)
        )
        is_kept = self.alive and not request.should_close()
        connection.sendall(
            response.encode(request.version, request_id, is_kept=is_kept, has_body=request.method != "HEAD"),
        )
        return is_kept

    def _find_forwarded(self, connection: Connection, request: Request) -> str | None:
        """Return `X-Forwarded-For` of a request through a trusted proxy."""
        if not self.connections.is_proxied(connection):
            return None
        return ",".join(value for name, value in request.headers if name == "X-FORWARDED-FOR")

    def _refuse(self, connection: Connection, error: Exception) -> None:
        """Answer a request that the app cannot answer, and close the connection."""
        # Imported late: the module imports psycopg, which must not be imported before gevent has patched the process.
        from receiver.web.problems import build_problem_response  # noqa: PLC0415  # see above

        if isinstance(error, ParseException):
            self.connections.refusals[MALFORMED] += 1
        request_id = get_request_id() or begin_request(None)
        response = build_problem_response(error)
        response.headers[REQUEST_ID] = request_id
        headers = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
        head = f"HTTP/1.1 {response.status}\r\n{headers}Connection: close\r\n\r\n"
        connection.send_if_possible(head.encode("latin-1") + response.get_data())
        if connection.cut_reason is None:
            _linger(connection)


def _close_listener(server: StreamServer) -> None:
    """Close a listening socket once nothing lies in its queue.

    When the last process closes the socket, the kernel resets the connections that lie in the queue, although their
    clients may have sent requests already.
    """
    server.stop_accepting()
    with suppress(OSError):
        while not server.full() and (accepted := server.do_read()):
            server.do_handle(*accepted)
    server.close()


def _discard_body(connection: Connection, body: Any) -> bool:
    """Read what the app has not read of a body, so that the client reads the response, and the next request follows.

    Returns:
        Whether the whole body was read.
    """
    connection.is_discarding = True
    discarded = 0
    try:
        while not body.failed and discarded < _MAX_DISCARDED_BYTES:
            data = body.read(_DISCARD_STEP_BYTES)
            if not data:
                return not body.failed
            discarded += len(data)
    except (RequestCut, OSError, ParseException):
        return False
    return False


def _linger(connection: Connection) -> None:
    """Read what the client still sends: closing earlier may destroy the response on its way (RFC 9112 section 9.6)."""
    connection.is_discarding = True
    discarded = 0
    with suppress(OSError, RequestCut):
        connection.shutdown(socket.SHUT_WR)
        while discarded < _MAX_LINGER_BYTES and (data := connection.recv(_DISCARD_STEP_BYTES)):
            discarded += len(data)
