"""A TCP proxy in front of a Postgres server, whose connections fall silent, stand still or break on demand."""

import socket
import threading
from contextlib import closing, suppress
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Self

import psycopg
from psycopg.conninfo import make_conninfo

_BUFFER_BYTES = 65_536
_CONNECT_TIMEOUT_S = 5.0
_READY_FOR_QUERY = b"Z\x00\x00\x00\x05"
"""Ends the reply to a message, or to a series of messages that ends with Sync."""


class _Link:
    """One connection through the proxy: the client's socket and the server's."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_silent = False
        self.is_cut = False
        self.last_bytes = b""
        self.cut_after_reply: threading.Event | None = None

    def cut(self) -> None:
        """Close the connection; also wakes the thread that waits for data."""
        self.is_cut = True
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Forwards connections from a port of 127.0.0.1 to the server of a DSN, which may listen on a Unix socket.

    Attributes:
        dsn: the DSN with the address of the proxy.
    """

    def __init__(self, dsn: str) -> None:
        with closing(psycopg.connect(dsn)) as connection:
            self._host, self._port = connection.info.host, connection.info.port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.dsn = make_conninfo(dsn, host="127.0.0.1", port=self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._marker = b""
        self._cut_happened = threading.Event()
        self._moving = threading.Event()
        self._moving.set()
        self._closing = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._moving.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def silence(self) -> int:
        """Swallow whatever open connections send, in both directions, and return the number of these connections.

        They stay open on both sides. New connections are forwarded.
        """
        with self._lock:
            links = [link for link in self._links if not link.is_silent]
            for link in links:
                link.is_silent = True
            return len(links)

    def stall(self) -> None:
        """Forward nothing until `go`: neither what open connections send nor new connections, which are accepted."""
        self._moving.clear()

    def go(self) -> None:
        """Forward again, beginning with what has been sent since `stall`."""
        self._moving.set()

    def cut(self) -> int:
        """Close all open connections on both sides, and return their number."""
        with self._lock:
            for link in self._links:
                link.cut()
            return len(self._links)

    def cut_after(self, marker: bytes) -> threading.Event:
        """Cut the next connection whose client sends a message that contains these bytes, once.

        The message is forwarded. The connection is cut once the server has replied, but the client does not receive
        the reply. The result is set when that has happened.
        """
        with self._lock:
            self._marker, self._cut_happened = marker, threading.Event()
            return self._cut_happened

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            self._moving.wait()
            if self._closing:
                return
            try:
                server = self._connect()
            except OSError:
                return
            with server:
                link = _Link(client, server)
                with self._lock:
                    self._links.append(link)
                with suppress(OSError):
                    self._forward(link)
                with self._lock:
                    self._links.remove(link)

    def _connect(self) -> socket.socket:
        if self._host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(Path(self._host, f".s.PGSQL.{self._port}")))
        else:
            server = socket.create_connection((self._host, self._port), _CONNECT_TIMEOUT_S)
            server.settimeout(None)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server

    def _forward(self, link: _Link) -> None:
        """Forward in both directions until either side closes its connection, or until both have if it is silent."""
        link.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with DefaultSelector() as selector:
            selector.register(link.client, EVENT_READ, link.server)
            selector.register(link.server, EVENT_READ, link.client)
            while selector.get_map():
                for key, _ in selector.select():
                    source, target = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    data = source.recv(_BUFFER_BYTES)
                    self._moving.wait()
                    if link.is_cut or not (data or link.is_silent):
                        return
                    if not data:
                        selector.unregister(source)  # a silent connection stays open on the other side
                    elif not (link.is_silent or self._withhold(link, source, data)):
                        target.sendall(data)

    def _withhold(self, link: _Link, source: socket.socket, data: bytes) -> bool:
        """Return whether these bytes are the reply, or a part of it, that the client must not receive."""
        if source is link.client:
            with self._lock:
                seen = link.last_bytes + data
                if self._marker and self._marker in seen:
                    link.cut_after_reply, self._marker = self._cut_happened, b""
                link.last_bytes = seen[-len(self._marker) + 1 :] if len(self._marker) > 1 else b""
            return False
        if link.cut_after_reply is None:
            return False
        link.last_bytes += data
        if _READY_FOR_QUERY in link.last_bytes:
            link.cut_after_reply.set()
            link.cut()
        return True
