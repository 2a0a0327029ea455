"""The webhook client: where it connects, what it verifies, and that one host does not delay the others."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import gevent
import gevent.socket
import pytest
from gevent.server import StreamServer
from gevent.socket import socket as Socket  # noqa: N812  # a class
from gevent.ssl import PROTOCOL_TLS_SERVER, SSLContext

from receiver.domain.egress import PRODUCT, Egress, TlsFiles
from receiver.domain.sending import NoResponse, Response
from receiver.domain.targets import TargetRules
from receiver.exchange.admission import NotAdmitted
from receiver.exchange.webhook_client import MAX_CONCURRENCY_PER_HOST, WebhookClient
from receiver.providers.capabilities import OutgoingRequest
from receiver.providers.webhook import SEND_POLICY
from tests.support.tls import write_certificate

LOCAL = "127.0.0.0/8"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


@contextmanager
def running_server(handle: Callable[[Socket], None], address: str = "127.0.0.1", **tls: Any) -> Iterator[int]:
    """Run a server and yield its port."""
    server = StreamServer((address, 0), lambda connection, _: handle(connection), **tls)
    server.start()
    try:
        yield int(server.address[1])
    finally:
        server.stop(timeout=0.1)


def respond_with(response: bytes = OK, received: list[bytes] | None = None) -> Callable[[Socket], None]:
    def handle(connection: Socket) -> None:
        data = connection.recv(65_536)
        if received is not None:
            received.append(data)
        connection.sendall(response)
        connection.close()

    return handle


def post(url: str) -> OutgoingRequest:
    return OutgoingRequest("POST", url, {"content-type": "application/json"}, b"{}")


def build_client(*hosts: str, networks: str = LOCAL, timeout: float = 0.0) -> WebhookClient:
    send_policy = replace(SEND_POLICY, connect_timeout=timeout, timeout=timeout) if timeout else SEND_POLICY
    return WebhookClient(build_rules(*hosts, networks=networks), send_policy)


def build_rules(*hosts: str, networks: str) -> TargetRules:
    return TargetRules(hosts or ("shop.example",), [ip_network(network) for network in networks.split()])


def patch_resolver(monkeypatch: pytest.MonkeyPatch, *responses: str) -> list[str]:
    """Resolve every name to the responses in turn, then to the last one; return the list of resolved names."""
    names: list[str] = []
    real = gevent.socket.getaddrinfo

    def resolve(host: str, port: int, *rest: Any) -> object:
        names.append(host)
        response = responses[min(len(names), len(responses)) - 1]
        return [info for address in response.split() for info in real(address, port, *rest)]

    monkeypatch.setattr("receiver.exchange.connections.gevent.socket.getaddrinfo", resolve)
    return names


def test_allowed_host_is_called_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    patch_resolver(monkeypatch, "127.0.0.1")
    received: list[bytes] = []
    with running_server(respond_with(received=received)) as port:
        outcome = build_client("shop.example").exchange(post(f"http://Shop.Example.:{port}/webhook?a=1"))
    assert isinstance(outcome, Response)
    [head] = received
    assert head.startswith(b"POST /webhook?a=1 HTTP/1.1\r\n")
    assert f"host: shop.example:{port}\r\n".encode() in head.lower()
    assert f"user-agent: {PRODUCT}\r\n".encode() in head


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1"])
def test_name_of_non_public_address_is_not_called(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    patch_resolver(monkeypatch, address)
    received: list[bytes] = []
    with running_server(respond_with(received=received)) as port:
        outcome = build_client("shop.example", networks="10.0.0.0/8").exchange(post(f"http://shop.example:{port}/"))
    assert isinstance(outcome, NoResponse)
    assert not outcome.sent
    assert "RECEIVER_NOTIFY_NETWORKS" in outcome.error
    assert received == []


def test_only_checked_addresses_are_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is resolved once, and only to the allowed one of its addresses."""
    received: list[bytes] = []
    names = patch_resolver(monkeypatch, "127.0.0.2 127.0.0.1", "127.0.0.1")
    with running_server(respond_with(received=received), "127.0.0.1") as port:
        outcome = build_client("shop.example", networks="127.0.0.2/32").exchange(post(f"http://shop.example:{port}/"))
    assert isinstance(outcome, NoResponse)
    assert not outcome.sent
    assert (names, received) == (["shop.example"], [])


def test_host_that_is_not_allowed_is_not_called() -> None:
    outcome = build_client("shop.example").exchange(post("http://127.0.0.1:9/"))
    assert isinstance(outcome, NoResponse)
    assert "RECEIVER_NOTIFY_HOSTS" in outcome.error


def test_redirect_is_not_followed() -> None:
    received: list[bytes] = []
    with running_server(respond_with(received=received)) as elsewhere:
        redirect = f"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{elsewhere}/\r\ncontent-length: 0\r\n\r\n"
        with running_server(respond_with(redirect.encode())) as port:
            outcome = build_client("127.0.0.1").exchange(post(f"http://127.0.0.1:{port}/"))
    assert isinstance(outcome, Response)
    assert (outcome.status, received) == (302, [])


def test_broken_connection_is_not_retried_and_body_is_cut() -> None:
    received: list[bytes] = []
    with running_server(respond_with(b"", received)) as port:
        outcome = build_client("127.0.0.1").exchange(post(f"http://127.0.0.1:{port}/"))
    assert isinstance(outcome, NoResponse)
    assert outcome.sent
    assert len(received) == 1
    long_response = b"HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\n" + b"x" * 50_000
    with running_server(respond_with(long_response)) as port:
        outcome = build_client("127.0.0.1").exchange(post(f"http://127.0.0.1:{port}/"))
    assert isinstance(outcome, Response)
    assert len(outcome.body) == 4_096


def test_exchange_without_admission_sends_nothing() -> None:
    @contextmanager
    def refusing() -> Iterator[None]:
        raise NotAdmitted("not now")
        yield

    with pytest.raises(NotAdmitted):
        build_client("127.0.0.1").exchange(post("http://127.0.0.1:9/"), refusing())


def test_hanging_host_is_suspended_and_others_are_not_delayed() -> None:
    hanging: list[bytes] = []

    def hang(connection: Socket) -> None:
        hanging.append(connection.recv(65_536))
        gevent.sleep(30)

    with running_server(hang) as port, running_server(respond_with()) as other:
        webhook_client = build_client("127.0.0.1", timeout=0.3)
        greenlets = [gevent.spawn(webhook_client.exchange, post(f"http://127.0.0.1:{port}/")) for _ in range(40)]
        gevent.sleep(0.1)
        assert len(hanging) == MAX_CONCURRENCY_PER_HOST
        started_at = time.monotonic()
        assert isinstance(webhook_client.exchange(post(f"http://127.0.0.1:{other}/")), Response)
        assert time.monotonic() - started_at < 0.2
        gevent.joinall(greenlets)
        assert time.monotonic() - started_at < 2
        assert len(hanging) < 2 * MAX_CONCURRENCY_PER_HOST
        outcomes = [greenlet.value for greenlet in greenlets if isinstance(greenlet.value, NoResponse)]
        assert len(outcomes) == 40
        assert sum(
            "did not respond recently" in outcome.error and not outcome.sent for outcome in outcomes
        ) == 40 - len(hanging)
        started_at = time.monotonic()
        assert isinstance(webhook_client.exchange(post(f"http://127.0.0.1:{port}/")), NoResponse)
        assert time.monotonic() - started_at < 0.1


def test_recovered_host_is_called_again() -> None:
    silent = True

    def handle(connection: Socket) -> None:
        connection.recv(65_536)
        if not silent:
            connection.sendall(OK)
        connection.close()

    with running_server(handle) as port:
        webhook_client, url = build_client("127.0.0.1"), f"http://127.0.0.1:{port}/"
        for _ in range(MAX_CONCURRENCY_PER_HOST):
            webhook_client.exchange(post(url))
        silent = False
        assert isinstance(webhook_client.exchange(post(url)), NoResponse)
        next(iter(webhook_client._hosts.values())).suspended_until = 0.0
        assert isinstance(webhook_client.exchange(post(url)), Response)
        assert webhook_client._hosts == {}


def test_public_address_is_not_called_by_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    patch_resolver(monkeypatch, "93.184.216.34")
    outcome = build_client("shop.example").exchange(post("http://shop.example/"))
    assert isinstance(outcome, NoResponse)
    assert "93.184.216.34: not allowed by plain http" in outcome.error


def test_few_exchanges_wait_for_a_slow_host() -> None:
    def answer_slowly(connection: Socket) -> None:
        gevent.sleep(0.2)
        respond_with()(connection)

    with running_server(answer_slowly) as port:
        webhook_client, url = build_client("127.0.0.1"), f"http://127.0.0.1:{port}/"
        first = [gevent.spawn(webhook_client.exchange, post(url)) for _ in range(2 * MAX_CONCURRENCY_PER_HOST)]
        gevent.sleep(0.25)
        next(iter(webhook_client._hosts.values())).response_time = 20.0
        started_at = time.monotonic()
        outcome = webhook_client.exchange(post(url))
        assert isinstance(outcome, NoResponse)
        assert time.monotonic() - started_at < 0.1
        gevent.joinall(first)
    assert all(isinstance(greenlet.value, Response) for greenlet in first)


def test_responsive_host_gets_many_exchanges() -> None:
    with running_server(respond_with()) as port:
        webhook_client = build_client("127.0.0.1")
        sent = [gevent.spawn(webhook_client.exchange, post(f"http://127.0.0.1:{port}/")) for _ in range(100)]
        gevent.joinall(sent)
    assert all(isinstance(greenlet.value, Response) for greenlet in sent)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for shop.example and 127.0.0.1, with its key."""
    return write_certificate(tmp_path_factory.mktemp("tls") / "server.pem", "shop.example")


def test_tls_is_verified_against_the_name(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    patch_resolver(monkeypatch, "127.0.0.1")
    rules = build_rules("shop.example", "other.example", "127.0.0.1", networks=LOCAL)

    trusting = WebhookClient(rules, SEND_POLICY, Egress(tls=TlsFiles(ca_file=certificate)))
    others = WebhookClient(rules, SEND_POLICY)
    server_context = SSLContext(PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(str(certificate))
    with running_server(respond_with(), ssl_context=server_context) as port:
        for host in ("shop.example", "127.0.0.1"):
            assert isinstance(trusting.exchange(post(f"https://{host}:{port}/")), Response), host
        for client, host in ((trusting, "other.example"), (others, "shop.example")):
            outcome = client.exchange(post(f"https://{host}:{port}/"))
            assert isinstance(outcome, NoResponse)
            assert not outcome.sent
            assert "certificate" in outcome.error.lower()
