"""The HTTP client against misbehaving servers."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

POST = OutgoingRequest("POST", "/v1/messages", {"content-type": "application/json"}, b"{}")


@contextmanager
def running_client(handle: Callable[[Socket], None], *, timeout: float = 10.0) -> Iterator[HttpClient]:
    """Run a server that passes every connection to `handle`, and yield a client of it; `timeout` is in seconds."""
    server = StreamServer(("127.0.0.1", 0), lambda connection, _: handle(connection))
    server.start()
    send_policy = SendPolicy(max_concurrency=4, connect_timeout=timeout, timeout=timeout)
    client = HttpClient(f"http://127.0.0.1:{server.server_port}", send_policy)
    try:
        yield client
    finally:
        client.close()
        server.stop(timeout=0.1)


def send_forever(connection: Socket, start: bytes, piece: bytes) -> None:
    connection.recv(65_536)
    try:
        connection.sendall(start)
        while True:
            connection.sendall(piece)
    except OSError:
        connection.close()


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (b"HTTP/1.1 202 Accepted\r\n", b"x-more: of the same\r\n" * 100),
        (b"HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x-more: of the same\r\n" * 100),
    ],
    ids=["interim responses", "headers", "trailers"],
)
def test_endless_response_is_cut_off(start: bytes, piece: bytes) -> None:
    with running_client(lambda connection: send_forever(connection, start, piece)) as client:
        outcome = client.exchange(POST)
    assert isinstance(outcome, NoResponse)
    assert outcome.sent
    assert "exceeds" in outcome.error


def test_reading_a_large_response_yields_to_other_greenlets() -> None:
    turns = 0

    def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(0)

    client_socket, server_socket = gevent.socket.socketpair()
    with client_socket, server_socket:
        server_socket.sendall(b"x" * (130 << 10))
        bounded = HttpConnection(client_socket)
        bounded.sendall(b"request")
        other = gevent.spawn(take_turns)
        for _ in range(128):
            bounded.recv(1 << 10)
        other.kill()
    assert 50 < turns < 70


def test_body_beyond_limit_is_cut_and_status_counts() -> None:
    start = b"HTTP/1.1 202 Accepted\r\ncontent-length: 99999999\r\n\r\n"
    with running_client(lambda connection: send_forever(connection, start, b"x" * 65_536)) as client:
        outcome = client.exchange(POST)
    assert isinstance(outcome, Response)
    assert (outcome.status, len(outcome.body)) == (202, 1 << 20)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "POST"])
def test_broken_connection_never_resends_any_method(method: str) -> None:
    received: list[bytes] = []

    def respond_once(connection: Socket) -> None:
        while data := connection.recv(65_536):
            received.append(data)
            if len(received) > 1:
                break
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        connection.close()

    with running_client(respond_once) as client:
        assert isinstance(client.exchange(OutgoingRequest(method, "/", {}, b"")), Response)
        assert isinstance(client.exchange(OutgoingRequest(method, "/", {}, b"")), NoResponse)
        gevent.sleep(0.05)
    assert len(received) == 2


def test_slow_response_ends_at_the_timeout() -> None:
    def send_slowly(connection: Socket) -> None:
        connection.recv(65_536)
        try:
            while True:
                connection.sendall(b"H")
                gevent.sleep(0.05)
        except OSError:
            connection.close()

    with running_client(send_slowly, timeout=0.5) as client:
        started_at = time.monotonic()
        outcome = client.exchange(POST)
    assert isinstance(outcome, NoResponse)
    assert outcome.sent
    assert time.monotonic() - started_at < 5


def test_unresolvable_name_counts_as_not_sent() -> None:
    send_policy = SendPolicy(max_concurrency=1, connect_timeout=0.5, timeout=0.5)
    client = HttpClient("http://nowhere.invalid", send_policy)
    for _ in range(3):
        outcome = client.exchange(POST)
        assert isinstance(outcome, NoResponse)
        assert not outcome.sent
        assert outcome.error.startswith("cannot connect to nowhere.invalid:80: ")
    client.close()
