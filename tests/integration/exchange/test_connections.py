"""Connections to servers that close, break or forget them."""

import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gevent
import gevent.socket
import pytest
from gevent.server import StreamServer
from gevent.socket import socket as Socket  # noqa: N812  # a class

from receiver.domain.sending import NoResponse, Response
from receiver.exchange.client import HttpClient
from receiver.exchange.connections import HttpConnection
from receiver.providers.base import SendPolicy
from receiver.providers.capabilities import OutgoingRequest

POST = OutgoingRequest("POST", "/v1/messages", {}, b"{}")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def answer_forever(connection: Socket, response: bytes = OK) -> None:
    while connection.recv(65_536):
        connection.sendall(response)
    connection.close()


@contextmanager
def running_server(handle: Callable[[Socket], None]) -> Iterator[tuple[int, list[Socket]]]:
    """Run a server and yield its port and the connections that it has accepted."""
    accepted: list[Socket] = []

    def serve(connection: Socket, _: Any) -> None:
        accepted.append(connection)
        handle(connection)

    server = StreamServer(("127.0.0.1", 0), serve)
    server.start()
    try:
        yield int(server.address[1]), accepted
    finally:
        server.stop(timeout=0.1)


@contextmanager
def running_client(port: int, idle_timeout: float = 4.0, host: str = "127.0.0.1") -> Iterator[HttpClient]:
    client = HttpClient(f"http://{host}:{port}", SendPolicy(4, 1.0, 1.0, idle_timeout=idle_timeout))
    try:
        yield client
    finally:
        client.close()


def test_connection_is_used_again() -> None:
    with running_server(answer_forever) as (port, accepted), running_client(port) as client:
        assert all(isinstance(client.exchange(POST), Response) for _ in range(3))
        assert len(accepted) == 1


def test_connection_that_idled_too_long_is_not_used_again() -> None:
    with running_server(answer_forever) as (port, accepted), running_client(port, idle_timeout=0.05) as client:
        client.exchange(POST)
        time.sleep(0.06)  # blocks the sweep, too
        assert isinstance(client.exchange(POST), Response)
        assert len(accepted) == 2


def test_idle_connection_is_closed_without_another_exchange() -> None:
    closed: list[bool] = []

    def handle(connection: Socket) -> None:
        answer_forever(connection)
        closed.append(True)

    with running_server(handle) as (port, _), running_client(port, idle_timeout=0.02) as client:
        client.exchange(POST)
        gevent.sleep(0.06)
        assert closed == [True]


def test_announced_idle_time_is_heeded() -> None:
    short = b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n"
    with (
        running_server(lambda connection: answer_forever(connection, short)) as (port, accepted),
        running_client(port) as client,
    ):
        client.exchange(POST)
        client.exchange(POST)
        assert len(accepted) == 2


@pytest.mark.parametrize(("idle_timeout", "connections"), [(0.02, 1), (0.0, 2)])
def test_announced_idle_time_wins_over_the_configured_one(idle_timeout: float, connections: int) -> None:
    long = b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=100\r\ncontent-length: 0\r\n\r\n"
    with (
        running_server(lambda connection: answer_forever(connection, long)) as (port, accepted),
        running_client(port, idle_timeout=idle_timeout) as client,
    ):
        client.exchange(POST)
        gevent.sleep(0.03)
        client.exchange(POST)
        assert len(accepted) == connections


def test_client_without_idle_connections_says_so() -> None:
    received: list[bytes] = []

    def handle(connection: Socket) -> None:
        received.append(connection.recv(65_536))
        connection.sendall(OK)

    with running_server(handle) as (port, accepted), running_client(port, idle_timeout=0.0) as client:
        client.exchange(POST)
        client.exchange(POST)
        assert len(accepted) == 2
    assert b"connection: close\r\n" in received[0]


@pytest.mark.parametrize("reset", [False, True])
def test_connection_that_the_server_closed_is_not_used_again(*, reset: bool) -> None:
    def answer_once(connection: Socket) -> None:
        connection.recv(65_536)
        connection.sendall(OK)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with running_server(answer_once) as (port, accepted), running_client(port) as client:
        for _ in range(3):
            assert isinstance(client.exchange(POST), Response)
            gevent.sleep(0.01)
        assert len(accepted) == 3


def test_request_on_a_connection_that_breaks_is_ambiguous() -> None:
    """The server may have acted on the request, and closes the connection with the response."""
    received: list[bytes] = []

    def answer_once(connection: Socket) -> None:
        received.append(connection.recv(65_536))
        connection.sendall(OK)
        received.append(connection.recv(65_536))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with running_server(answer_once) as (port, _), running_client(port) as client:
        client.exchange(POST)
        outcome = client.exchange(POST)
    assert isinstance(outcome, NoResponse)
    assert outcome.sent
    assert "used before" in outcome.error
    assert len(received) == 2


def test_connection_of_an_interim_response_is_used_by_one_exchange() -> None:
    """The parser of the library ends a message there, while the response is still to come."""

    def answer_late(connection: Socket) -> None:
        name = connection.recv(65_536).split()[1]
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        gevent.sleep(0.02)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
        gevent.sleep(0.01)
        connection.sendall(name)
        connection.close()

    with running_server(answer_late) as (port, accepted), running_client(port) as client:
        targets = ["/1", "/2", "/3"]
        outcomes = []
        for target in targets:
            outcomes.append(gevent.spawn(client.exchange, OutgoingRequest("POST", target, {})))
            gevent.sleep(0.005)
        gevent.joinall(outcomes)
        bodies = [outcome.value.body for outcome in outcomes if isinstance(outcome.value, Response)]
        assert bodies == [b"/1", b"/2", b"/3"]
        assert len(accepted) == 3


def test_response_before_the_end_of_the_request_is_read() -> None:
    def refuse_early(connection: Socket) -> None:
        connection.recv(1_000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        connection.close()

    with running_server(refuse_early) as (port, _), running_client(port) as client:
        outcome = client.exchange(OutgoingRequest("POST", "/", {}, b"x" * (8 << 20)))
    assert isinstance(outcome, Response)
    assert outcome.status == 413
    assert client._pool._idle == []


def test_connections_are_probed_by_the_kernel() -> None:
    with running_server(answer_forever) as (port, _), running_client(port) as client:
        client.exchange(POST)
        [idle] = client._pool._idle
        assert isinstance(idle._socket, Socket)
        assert idle._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert idle._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30


def test_address_that_does_not_answer_leaves_time_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        socket.create_server(("127.0.0.2", 0), backlog=0) as full,
        running_server(answer_forever) as (port, accepted),
        running_client(port, host="acme.example") as client,
    ):
        fillers = fill_backlog(full)
        real = gevent.socket.getaddrinfo

        def resolve(_host: str, port: int, *rest: Any) -> Sequence[Any]:
            return [*real("127.0.0.2", full.getsockname()[1], *rest), *real("127.0.0.1", port, *rest)]

        monkeypatch.setattr("receiver.exchange.connections.gevent.socket.getaddrinfo", resolve)
        assert isinstance(client.exchange(POST), Response)
        assert len(accepted) == 1
        for filler in fillers:
            filler.close()


def fill_backlog(server: socket.socket) -> list[Socket]:
    """Connect to a server until it answers no more."""
    fillers = []
    for _ in range(8):
        filler = Socket()
        fillers.append(filler)
        filler.settimeout(0.05)
        try:
            filler.connect(server.getsockname())
        except OSError:
            return fillers
    raise AssertionError("the server answers still")


def test_connection_knows_whether_it_is_quiet() -> None:
    client_socket, server_socket = gevent.socket.socketpair()
    with client_socket, server_socket:
        connection = HttpConnection(client_socket)
        assert connection.is_quiet
        server_socket.sendall(b"x")
        assert not connection.is_quiet


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://shop.example:443", "shop.example"),
        ("http://shop.example:80", "shop.example"),
        ("https://shop.example:80", "shop.example:80"),
        ("https://[2001:db8::1]:443", "[2001:db8::1]"),
    ],
)
def test_host_is_sent_without_the_default_port(origin: str, host: str) -> None:
    assert HttpClient(origin, SendPolicy(1, 1.0, 1.0))._encoder.host == host
