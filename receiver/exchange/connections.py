"""Connections to one origin: opening them, and those that are idle until the next exchanges use them again."""

import re
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import gevent
import gevent.socket
from gevent.monkey import get_original
from gevent.ssl import SSLContext

from receiver.domain.egress import Proxy, format_authority
from receiver.domain.targets import TargetNotAllowed, TargetRules, explain_refused_addresses

MAX_RECEIVED_BYTES = (1 << 20) + (256 << 10)
"""The most bytes that a connection receives after each request, headers included."""
_MAX_BYTES_WITHOUT_YIELD = 64 << 10

_poll = get_original("select", "poll")
"""gevent's replacement would run the event loop for a question that the kernel answers at once."""
_MIN_TIMEOUT_S = 0.001
_MAX_PROXY_HEAD_BYTES = 16 << 10
_MAX_STATUS_CHARS = 100
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SOCKET_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # A connection that a router on the way has forgotten is found to be dead after a minute without an answer.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
)


class NotConnected(Exception):
    """No connection could be made, so that nothing was sent; the message gives the reason."""


class ProxyRefused(Exception):
    """A proxy does not open a tunnel to a server; the message gives the status line of its response."""


class Socket(Protocol):
    """What a connection uses of a socket of gevent, with or without TLS."""

    def fileno(self) -> int: ...
    def send(self, data: bytes, /) -> int: ...
    def sendall(self, data: bytes | memoryview, /) -> None: ...
    def recv(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class HttpConnection:
    """A connected socket that a server cannot use to starve other greenlets.

    After each request it receives at most `MAX_RECEIVED_BYTES` bytes. After `_MAX_BYTES_WITHOUT_YIELD` bytes every read
    yields: gevent switches only when it has to wait, so that an endless response would block everything.

    Attributes:
        is_fresh: whether it was opened for the current exchange.
        idle_until: until when it can be used again, by `time.monotonic`.
    """

    __slots__ = ("_poller", "_received", "_socket", "idle_until", "is_fresh")

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._poller = _poll()
        self._poller.register(socket.fileno(), select.POLLIN)
        self._received = 0
        self.is_fresh = True
        self.idle_until = 0.0

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to receive: a server that closes or breaks an idle connection makes it readable."""
        return not self._poller.poll(0)

    def sendall(self, data: bytes) -> None:
        """Send a request, or a part of it."""
        self._received = 0
        # Mostly the kernel takes everything at once, which gevent's `sendall` does not try first.
        sent = self._socket.send(data)
        if sent < len(data):
            self._socket.sendall(memoryview(data)[sent:])

    def recv(self, size: int) -> bytes:
        """Receive at most `size` bytes; b"" at the end of the connection.

        Raises:
            ConnectionError: the server has sent too much since the last request.
        """
        if self._received > MAX_RECEIVED_BYTES:
            raise ConnectionError(f"the response exceeds {MAX_RECEIVED_BYTES} bytes")
        if self._received > _MAX_BYTES_WITHOUT_YIELD:
            gevent.sleep(0)
        data = self._socket.recv(size)
        self._received += len(data)
        return data

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class ConnectionPool:
    """The idle connections to one origin.

    How many connections there are is not limited here, but by the number of exchanges that run at once.

    Args:
        connect: opens a connection.
        idle_timeout: for how many seconds a connection idles and is used again if its server does not say; 0 for never,
            whatever the server says.
    """

    def __init__(self, connect: Callable[[], HttpConnection], idle_timeout: float) -> None:
        self._connect = connect
        self._idle_timeout = idle_timeout
        self._idle: list[HttpConnection] = []
        self._sweeper: gevent.Greenlet[[], None] | None = None
        self._is_closed = False

    def acquire(self) -> HttpConnection:
        """Return the connection that was released last if it can be used again, else a new one."""
        while self._idle:
            connection = self._idle.pop()
            if time.monotonic() < connection.idle_until and connection.is_quiet:
                return connection
            connection.close()
        return self._connect()

    def release(self, connection: HttpConnection, idle_timeout: float | None = None) -> None:
        """Take a connection back after a response; close it if it cannot be used again.

        Args:
            connection: it has no response in flight.
            idle_timeout: for how many seconds the server lets it idle; None if that is not known.
        """
        seconds = self._idle_timeout if idle_timeout is None else idle_timeout
        if seconds <= 0 or not self._idle_timeout or self._is_closed:
            connection.close()
            return
        connection.is_fresh = False
        connection.idle_until = time.monotonic() + seconds
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = gevent.spawn_later(self._idle_timeout, self._sweep)

    def close(self) -> None:
        """Close the idle connections, and those in use as soon as they are released."""
        self._is_closed = True
        if self._sweeper:
            self._sweeper.kill(block=False)
        while self._idle:
            self._idle.pop().close()

    def _sweep(self) -> None:
        """Close the connections that are not used again, so that none stays half open while nothing is sent."""
        now = time.monotonic()
        for connection in self._idle:
            if connection.idle_until <= now:
                connection.close()
        self._idle = [connection for connection in self._idle if now < connection.idle_until]
        self._sweeper = gevent.spawn_later(self._idle_timeout, self._sweep) if self._idle else None


class Connector:
    """Opens connections to one origin.

    Args:
        origin: scheme, host and port.
        connect_timeout: the longest time in seconds until a connection is open, name resolution and TLS included. An
            open connection has no time limit of its own.
        tls: the TLS context of https; None for http.
        rules: the addresses that may be connected to; None for any address. A proxy resolves names by itself.
        proxy: the proxy to connect through; None for none.
    """

    def __init__(
        self,
        origin: str,
        connect_timeout: float,
        *,
        tls: SSLContext | None = None,
        rules: TargetRules | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        url = urlsplit(origin)
        self._scheme, self._host = url.scheme, url.hostname or ""
        self._port = url.port or _DEFAULT_PORTS[url.scheme]
        self._connect_timeout = connect_timeout
        self._tls = tls
        self._rules = rules
        self._proxy = proxy

    def connect(self) -> HttpConnection:
        """Open a connection.

        Raises:
            NotConnected: it cannot be opened in time.
        """
        try:
            with gevent.Timeout(self._connect_timeout, TimeoutError("timed out")):
                connected = self._open(time.monotonic() + self._connect_timeout)
        except Exception as error:  # of any kind, such as those of name resolution and TLS
            way = f" through the proxy {self._proxy}" if self._proxy else ""
            server = format_authority(self._host, self._port)
            raise NotConnected(f"cannot connect to {server}{way}: {error}") from error
        connected.settimeout(None)
        return HttpConnection(connected)

    def _open(self, open_by: float) -> gevent.socket.socket:
        """Connect at the first address at which it is possible."""
        infos = self._resolve()
        first_error: OSError | None = None
        for index, info in enumerate(infos):
            # An address that does not answer must leave time for the others.
            seconds = (open_by - time.monotonic()) / (len(infos) - index)
            try:
                return self._open_at(info, seconds)
            except OSError as error:
                first_error = first_error or error
        raise first_error or OSError("the name has no address")

    def _open_at(self, info: Any, seconds: float) -> gevent.socket.socket:
        family, kind, protocol, _, address = info
        connected = gevent.socket.socket(family, kind, protocol)
        try:
            connected.settimeout(max(seconds, _MIN_TIMEOUT_S))
            for option in _SOCKET_OPTIONS:
                connected.setsockopt(*option)
            connected.connect(address)
            if self._tls is None:
                return connected
            if self._proxy:
                _open_tunnel(connected, self._proxy, format_authority(self._host, self._port))
            return self._tls.wrap_socket(connected, server_hostname=self._host)
        except BaseException:
            connected.close()
            raise

    def _resolve(self) -> Sequence[Any]:
        """Return the addresses to connect to, as `getaddrinfo` returns them.

        Raises:
            TargetNotAllowed: the rules allow none of them.
        """
        host, port = (self._proxy.host, self._proxy.port) if self._proxy else (self._host, self._port)
        infos = gevent.socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, socket.SOL_TCP)
        if self._rules is None or self._proxy:
            return infos
        allowed = [info for info in infos if self._rules.allows_address(self._scheme, str(info[4][0]))]
        if not allowed:
            addresses = dict.fromkeys(str(info[4][0]) for info in infos)
            raise TargetNotAllowed(explain_refused_addresses(self._scheme, *addresses))
        return allowed


def _open_tunnel(connected: gevent.socket.socket, proxy: Proxy, authority: str) -> None:
    """Open a tunnel through a proxy to a server.

    Raises:
        ProxyRefused: the proxy does not open it.
    """
    authorization = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    connected.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        # The server behind the proxy sends nothing before our first message, so that nothing after the head is lost.
        data = connected.recv(_MAX_PROXY_HEAD_BYTES)
        head += data
        if not data or len(head) > _MAX_PROXY_HEAD_BYTES:
            raise ProxyRefused("the proxy's response is not one to CONNECT")
    status = _STATUS_LINE.match(head)
    if status is None or not status[1].startswith(b"2"):
        line = head.partition(b"\r\n")[0][:_MAX_STATUS_CHARS].decode("ascii", "replace")
        raise ProxyRefused(f"the proxy refused to connect: {line}")
