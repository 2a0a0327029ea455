"""What a client that misbehaves gets, and that callbacks are answered meanwhile, from its own address too."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from uuid import uuid4

import pytest

from receiver.web.problems import ProblemType
from tests.integration.web.server.clients import RawClient, assert_problem, build_request, open_clients, parse_status
from tests.integration.web.server.conftest import (
    MAX_BODY,
    MAX_INCOMPLETE,
    MAX_PER_ADDRESS,
    MAX_UNVERIFIED,
    PROXY,
)
from tests.support.http import build_report, exchange, sign_callback
from tests.support.processes import ADMIN_KEY, Web, wait_for

MAX_DELAY_S = 1.0
STALLED = build_request("POST", "/callbacks/sandbox", "Content-Type: application/json", "Content-Length: 9")
KEY = f"Authorization: Bearer {ADMIN_KEY}"
EXCESS = 5


def read_metric(limited: Web, name: str) -> float:
    """Return the value of a metric."""
    metrics = limited.call("GET", "/metrics").body.decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", metrics, re.MULTILINE)
    assert found, name
    return float(found[1])


def read_refusals(limited: Web, reason: str) -> float:
    """Return how many requests were refused for a reason."""
    return read_metric(limited, f'receiver_requests_refused_total{{reason="{reason}"}}')


def call_back(limited: Web, address: str = "127.0.0.1") -> float:
    """Deliver a callback, which must be accepted; return how many seconds it took."""
    body = build_report(f"ref-{uuid4().hex}")
    started = time.monotonic()
    with closing(HTTPConnection(limited.host, limited.port, timeout=20, source_address=(address, 0))) as connection:
        response = exchange(connection, "POST", "/callbacks/sandbox", body, sign_callback(body))
    assert response.status == 200, response
    return time.monotonic() - started


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HT",
        build_request("GET", "/healthz")[:-2],
        b"POST /callbacks/sandbox HTTP/1.0\r\nContent-Le",
    ],
)
def test_headers_that_do_not_come_are_408(limited: Web, data: bytes) -> None:
    refused = read_refusals(limited, "header_timeout")
    with open_clients(limited, ["127.0.0.1"], data) as (client,):
        assert_problem(client.read_all(), ProblemType.REQUEST_TIMEOUT)
    assert read_refusals(limited, "header_timeout") == refused + 1


def test_trickled_headers_are_408(limited: Web) -> None:
    with (
        open_clients(limited, ["127.0.0.1"], b"GET /healthz HTTP/1.1\r\n") as (client,),
        trickling(client, b"A: b\r\n"),
    ):
        assert_problem(client.read_all(), ProblemType.REQUEST_TIMEOUT)


@pytest.mark.parametrize(
    "data",
    [
        STALLED,
        STALLED + b"{",
        build_request("POST", "/callbacks/sandbox", "Content-Length: 9", version="1.0"),
        build_request("POST", "/callbacks/sandbox", "Transfer-Encoding: chunked"),
        build_request("POST", "/callbacks/sandbox", "Transfer-Encoding: chunked") + b"5;a=b\r\nxx",
        build_request("POST", "/callbacks/sandbox", "Transfer-Encoding: chunked") + b"2\r\nxx\r\n0\r\nTrailer",
        build_request("POST", "/v1/requests", KEY, "Content-Type: application/json", "Content-Length: 9"),
    ],
)
def test_body_that_does_not_come_is_408(limited: Web, data: bytes) -> None:
    refused = read_refusals(limited, "body_timeout")
    with open_clients(limited, ["127.0.0.1"], data) as (client,):
        assert_problem(client.read_all(), ProblemType.REQUEST_TIMEOUT)
    assert read_refusals(limited, "body_timeout") == refused + 1


def test_stalled_body_that_nobody_reads_is_closed(limited: Web) -> None:
    with open_clients(limited, ["127.0.0.1"], build_request("POST", "/nothing", "Content-Length: 9")) as (client,):
        assert parse_status(client.read_all()) == 404


def test_oldest_of_too_many_connections_is_503(limited: Web) -> None:
    addresses = [f"127.0.1.{number}" for number in range(1, MAX_INCOMPLETE + EXCESS + 1)]
    with open_clients(limited, addresses, STALLED) as clients:
        assert call_back(limited) < MAX_DELAY_S
        for client in clients[:EXCESS]:
            assert_problem(client.read_all(), ProblemType.OVERLOADED)
        assert all(client.is_open() for client in clients[EXCESS + 2 :])
        assert call_back(limited, addresses[-1]) < MAX_DELAY_S
    assert read_refusals(limited, "too_many") >= EXCESS


def test_oldest_of_too_many_connections_of_address_is_503(limited: Web) -> None:
    address = "127.0.2.1"
    with (
        open_clients(limited, ["127.0.2.2"], STALLED) as (other,),
        open_clients(limited, [address] * (MAX_PER_ADDRESS + EXCESS), STALLED) as clients,
    ):
        for client in clients[:EXCESS]:
            assert_problem(client.read_all(), ProblemType.OVERLOADED)
        assert all(client.is_open() for client in clients[EXCESS:])
        assert other.is_open()
        assert call_back(limited, address) < MAX_DELAY_S
    assert read_refusals(limited, "too_many_from_address") >= EXCESS


def test_requests_of_trusted_proxy_count_for_forwarded_address(limited: Web) -> None:
    count = MAX_PER_ADDRESS + 1

    def build_stalled(address: str) -> bytes:
        return build_request("POST", "/callbacks/sandbox", f"X-Forwarded-For: {address}", "Content-Length: 9")

    with open_clients(limited, [], b"") as clients:
        for number in range(count):
            client = RawClient(limited, PROXY)
            clients.append(client)
            client.send(build_stalled(f"2001:db8:{number}::1"))
        time.sleep(0.3)
        assert all(client.is_open() for client in clients)
        for client in clients:
            client.socket.close()
    with open_clients(limited, [PROXY] * count, build_stalled("198.51.100.7")) as clients:
        assert_problem(clients[0].read_all(), ProblemType.OVERLOADED)
        assert all(client.is_open() for client in clients[1:])


def test_complete_requests_of_address_are_not_limited(limited: Web) -> None:
    address = "127.0.3.1"
    job = {"provider": "sandbox", "reference": f"ref-{uuid4().hex}"}
    body = build_report(job["reference"], "SENT")
    assert limited.call_back(body).status == 200
    (item,) = limited.call("GET", f"/v1/jobs?reference={job['reference']}", headers=dict([KEY.split(": ")])).json[
        "items"
    ]
    waiting = build_request("GET", f"/v1/jobs/{item['id']}", KEY, "Prefer: wait=2", "Connection: close")
    with open_clients(limited, [address] * (2 * MAX_PER_ADDRESS), waiting) as clients:
        assert {parse_status(client.read_all()) for client in clients} == {200}


def test_bodies_beyond_memory_budget_are_503(limited: Web) -> None:
    size = 50_000
    head = build_request("POST", "/callbacks/sandbox", "Content-Type: application/json", f"Content-Length: {MAX_BODY}")
    count = MAX_UNVERIFIED // size + 1
    assert count <= MAX_INCOMPLETE + EXCESS
    fitting = [f"127.0.4.{number}" for number in range(1, 31)]
    with open_clients(limited, fitting, head + b"x" * size) as clients:
        wait_for(lambda: read_metric(limited, "receiver_requests_held_bytes") > 30 * size)
        assert all(client.is_open() for client in clients)
    wait_for(lambda: read_metric(limited, "receiver_requests_held_bytes") < size)
    chunk = b"%x\r\n%b\r\n" % (size, b"x" * size)
    chunked = build_request("POST", "/callbacks/sandbox", "Transfer-Encoding: chunked") + chunk
    padding = b";" + b"a" * 8_000
    padded = chunked + b"".join(b"1%b\r\nx\r\n" % padding for _ in range(12))  # 96 KB that are no body
    refused = read_refusals(limited, "out_of_memory")
    with open_clients(limited, fitting, padded) as clients:
        assert_problem(clients[0].read_all(), ProblemType.OVERLOADED)
        assert call_back(limited) < MAX_DELAY_S
        assert read_metric(limited, "receiver_requests_held_bytes") <= MAX_UNVERIFIED
    assert read_refusals(limited, "out_of_memory") > refused


def test_unread_responses_are_cut(limited: Web) -> None:
    refused = read_refusals(limited, "response_timeout")
    client = RawClient(limited, receive_buffer=4_096)
    with closing(client.socket):
        client.socket.setblocking(False)
        request = build_request("GET", "/openapi.json")
        try:
            while True:
                client.socket.send(request * 2_000)
                time.sleep(0.01)
        except (BlockingIOError, ConnectionError):
            pass
        wait_for(lambda: read_refusals(limited, "response_timeout") == refused + 1)
        assert call_back(limited) < MAX_DELAY_S


def measure_delays(limited: Web, until: threading.Event | None = None, count: int = 10) -> list[float]:
    """Deliver callbacks one after the other and return how many seconds each took."""
    delays: list[float] = []
    while len(delays) < count and not (until and until.is_set()):
        delays.append(call_back(limited))
        time.sleep(0.05)
    return delays


@contextmanager
def trickling(client: RawClient, data: bytes, interval: float = 0.05) -> Iterator[None]:
    """Send data again and again on a connection in the background until the end of the context."""
    stopped = threading.Event()

    def send() -> None:
        try:
            while not stopped.wait(interval):
                client.send(data)
        except OSError:
            pass

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


@contextmanager
def flooding(limited: Web, head: bytes, data: bytes, connections: int) -> Iterator[None]:
    """Send data without a pause on some connections, and read what comes back, until the end of the context."""
    stopped = threading.Event()

    def flood() -> None:
        while not stopped.is_set():
            client = RawClient(limited)
            with closing(client.socket):
                client.socket.settimeout(0.01)
                try:
                    client.send(head)
                    while not stopped.is_set():
                        try:
                            client.socket.send(data)
                            if not client.socket.recv(1 << 20, socket.MSG_DONTWAIT):
                                break
                        except (BlockingIOError, TimeoutError):
                            client.socket.recv(1 << 20)
                except (OSError, TimeoutError):
                    pass

    threads = [threading.Thread(target=flood) for _ in range(connections)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.2)
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    "request_",
    [
        build_request("GET", "/callbacks/x"),
        build_request("POST", "/callbacks/sandbox", "Content-Type: application/json", "Content-Length: 2") + b"{}",
        build_request("GET", "/healthz", version="1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"),
    ],
)
def test_pipelined_requests_do_not_delay_callbacks(limited: Web, request_: bytes) -> None:
    with flooding(limited, b"", request_ * 200, 1):
        assert max(measure_delays(limited)) < MAX_DELAY_S


def test_tiny_chunks_do_not_delay_callbacks(limited: Web) -> None:
    head = build_request("POST", "/callbacks/sandbox", "Transfer-Encoding: chunked")
    data = head + b"1\r\nx\r\n" * (MAX_BODY - 1)
    finished = threading.Event()
    with open_clients(limited, ["127.0.0.1"] * 10, b"") as clients:

        def send() -> None:
            for client in clients:
                client.send(data)
            finished.set()

        thread = threading.Thread(target=send)
        thread.start()
        assert max(measure_delays(limited, count=20)) < MAX_DELAY_S
        thread.join()
    assert finished.is_set()
