"""The HTTP client against servers that do what no server should."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent
import gevent.socket
import pytest
from gevent.server import StreamServer
from gevent.socket import socket as Socket  # noqa: N812  # a class

from receiver.domain.sending import NoResponse, Response
from receiver.exchange.client import BoundedSocket, ProviderClient
from receiver.providers.base import OutgoingRequest, SendPolicy
from tests.factories import provider

POST = OutgoingRequest("POST", "/v1/messages", {"content-type": "application/json"}, b"{}")


@contextmanager
def client_of(handle: Callable[[Socket], None], *, timeout: float = 10.0) -> Iterator[ProviderClient]:
    """Give a client of a server that does `handle` with every connection; `timeout` is that of each half."""
    server = StreamServer(("127.0.0.1", 0), lambda connection, _: handle(connection))
    server.start()
    limits = SendPolicy(max_concurrency=4, connect_timeout=timeout, timeout=timeout)
    client = ProviderClient(provider(origin=f"http://127.0.0.1:{server.server_port}", send_policy=limits))
    try:
        yield client
    finally:
        client.close()
        server.stop(timeout=0.1)


def for_ever(connection: Socket, start: bytes, piece: bytes) -> None:
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
    ids=["interim answers", "headers", "trailers"],
)
def test_an_endless_answer_is_cut_off(start: bytes, piece: bytes) -> None:
    with client_of(lambda connection: for_ever(connection, start, piece)) as client:
        outcome = client.exchange(POST)
    assert isinstance(outcome, NoResponse)
    assert outcome.sent
    assert "exceeds" in outcome.error


def test_reading_a_large_answer_lets_others_run_though_it_never_has_to_wait() -> None:
    permits = 0

    def take_turns() -> None:
        nonlocal permits
        while True:
            permits += 1
            gevent.sleep(0)

    ours, theirs = gevent.socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"x" * (130 << 10))
        guarded = BoundedSocket(ours)
        guarded.sendall(b"request")
        other = gevent.spawn(take_turns)
        for _ in range(128):
            guarded.recv(1 << 10)
        other.kill()
    assert 50 < permits < 70


def test_a_body_beyond_the_cap_is_cut_and_the_status_still_counts() -> None:
    start = b"HTTP/1.1 202 Accepted\r\ncontent-length: 99999999\r\n\r\n"
    with client_of(lambda connection: for_ever(connection, start, b"x" * 65_536)) as client:
        outcome = client.exchange(POST)
    assert isinstance(outcome, Response)
    assert (outcome.status, len(outcome.body)) == (202, 1 << 20)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "POST"])
def test_no_method_is_sent_again_when_the_connection_breaks(method: str) -> None:
    received: list[bytes] = []

    def answer_once(connection: Socket) -> None:
        while data := connection.recv(65_536):
            received.append(data)
            if len(received) > 1:
                break
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        connection.close()

    with client_of(answer_once) as client:
        assert isinstance(client.exchange(OutgoingRequest(method, "/", {}, b"")), Response)
        assert isinstance(client.exchange(OutgoingRequest(method, "/", {}, b"")), NoResponse)
        gevent.sleep(0.05)
    assert len(received) == 2


def test_a_drip_ends_at_the_time_limit() -> None:
    def drip(connection: Socket) -> None:
        connection.recv(65_536)
        try:
            while True:
                connection.sendall(b"H")
                gevent.sleep(0.05)
        except OSError:
            connection.close()

    with client_of(drip, timeout=0.5) as client:
        began = time.monotonic()
        outcome = client.exchange(POST)
    assert isinstance(outcome, NoResponse)
    assert outcome.sent
    assert time.monotonic() - began < 5


def test_a_name_that_does_not_resolve_was_never_sent() -> None:
    limits = SendPolicy(max_concurrency=1, connect_timeout=0.5, timeout=0.5)
    client = ProviderClient(provider(origin="http://nowhere.invalid", send_policy=limits))
    for _ in range(3):
        outcome = client.exchange(POST)
        assert isinstance(outcome, NoResponse)
        assert not outcome.sent
    client.close()
