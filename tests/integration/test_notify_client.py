"""The client that tells clients' hosts: where it connects, what it verifies, and that one host holds up no other."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import gevent
import gevent.socket
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gevent.server import StreamServer
from gevent.socket import socket as Socket  # noqa: N812  # a class
from gevent.ssl import PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER, SSLContext

from receiver.domain.sending import NoResponse, Response
from receiver.exchange.admission import NotAdmitted
from receiver.exchange.webhook_client import MAX_CONCURRENCY_PER_HOST, WebhookClient
from receiver.providers.base import OutgoingRequest
from tests.factories import notifier

LOCAL = "127.0.0.0/8"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


@contextmanager
def served(handle: Callable[[Socket], None], address: str = "127.0.0.1", **tls: Any) -> Iterator[int]:
    """Serve; give the port."""
    server = StreamServer((address, 0), lambda connection, _: handle(connection), **tls)
    server.start()
    try:
        yield int(server.address[1])
    finally:
        server.stop(timeout=0.1)


def answering(response: bytes = OK, received: list[bytes] | None = None) -> Callable[[Socket], None]:
    def handle(connection: Socket) -> None:
        data = connection.recv(65_536)
        if received is not None:
            received.append(data)
        connection.sendall(response)
        connection.close()

    return handle


def post(url: str) -> OutgoingRequest:
    return OutgoingRequest("POST", url, {"content-type": "application/json"}, b"{}")


def client(*hosts: str, networks: str = LOCAL, timeout: float = 0.0) -> WebhookClient:
    made = WebhookClient(notifier(*hosts, networks=networks))
    if timeout:
        limits = made._send_policy
        made._send_policy = type(limits)(limits.max_concurrency, timeout, timeout)
    return made


def resolving(monkeypatch: pytest.MonkeyPatch, *responses: str) -> list[str]:
    """Let every name resolve to the answers in turn, the last one again and again; gives the names asked for."""
    asked: list[str] = []
    real = gevent.socket.getaddrinfo

    def resolve(host: str, port: int, *rest: Any) -> object:
        asked.append(host)
        response = responses[min(len(asked), len(responses)) - 1]
        return [one for each in response.split() for one in real(each, port, *rest)]

    monkeypatch.setattr("geventhttpclient.connectionpool.gevent.socket.getaddrinfo", resolve)
    return asked


def test_a_listed_host_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "127.0.0.1")
    received: list[bytes] = []
    with served(answering(received=received)) as port:
        outcome = client("shop.example").exchange(post(f"http://Shop.Example.:{port}/told?a=1"))
    assert isinstance(outcome, Response)
    [head] = received
    assert head.startswith(b"POST /told?a=1 HTTP/1.1\r\n")
    assert f"host: shop.example:{port}\r\n".encode() in head.lower()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1"])
def test_a_name_that_leads_to_an_address_that_is_not_public_is_not_called(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    resolving(monkeypatch, address)
    received: list[bytes] = []
    with served(answering(received=received)) as port:
        outcome = client("shop.example", networks="10.0.0.0/8").exchange(post(f"http://shop.example:{port}/"))
    assert isinstance(outcome, NoResponse)
    assert not outcome.sent
    assert "RECEIVER_NOTIFY_NETWORKS" in outcome.error
    assert received == []


def test_only_what_was_judged_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that answers otherwise a moment later is not asked again; of several addresses the others are left."""
    received: list[bytes] = []
    asked = resolving(monkeypatch, "127.0.0.2 127.0.0.1", "127.0.0.1")
    with served(answering(received=received), "127.0.0.1") as port:
        outcome = client("shop.example", networks="127.0.0.2/32").exchange(post(f"http://shop.example:{port}/"))
    assert isinstance(outcome, NoResponse)
    assert not outcome.sent
    assert (asked, received) == (["shop.example"], [])


def test_a_host_that_is_not_listed_any_more_is_not_called() -> None:
    outcome = client("shop.example").exchange(post("http://127.0.0.1:9/"))
    assert isinstance(outcome, NoResponse)
    assert "RECEIVER_NOTIFY_HOSTS" in outcome.error


def test_a_redirect_is_not_followed() -> None:
    received: list[bytes] = []
    with served(answering(received=received)) as elsewhere:
        moved = f"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{elsewhere}/\r\ncontent-length: 0\r\n\r\n"
        with served(answering(moved.encode())) as port:
            outcome = client("127.0.0.1").exchange(post(f"http://127.0.0.1:{port}/"))
    assert isinstance(outcome, Response)
    assert (outcome.status, received) == (302, [])


def test_nothing_is_sent_again_when_the_connection_breaks_and_little_of_an_answer_is_kept() -> None:
    received: list[bytes] = []
    with served(answering(b"", received)) as port:
        outcome = client("127.0.0.1").exchange(post(f"http://127.0.0.1:{port}/"))
    assert isinstance(outcome, NoResponse)
    assert outcome.sent
    assert len(received) == 1
    long = b"HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\n" + b"x" * 50_000
    with served(answering(long)) as port:
        outcome = client("127.0.0.1").exchange(post(f"http://127.0.0.1:{port}/"))
    assert isinstance(outcome, Response)
    assert len(outcome.body) == 4_096


def test_nothing_is_sent_that_is_not_admitted() -> None:
    @contextmanager
    def refusing() -> Iterator[None]:
        raise NotAdmitted("not now")
        yield

    with pytest.raises(NotAdmitted):
        client("127.0.0.1").exchange(post("http://127.0.0.1:9/"), refusing())


def test_a_host_that_hangs_has_a_few_slots_and_is_left_alone_while_others_are_told() -> None:
    hanging: list[bytes] = []

    def keep(connection: Socket) -> None:
        hanging.append(connection.recv(65_536))
        gevent.sleep(30)

    with served(keep) as port, served(answering()) as other:
        telling = client("127.0.0.1", timeout=0.3)
        stuck = [gevent.spawn(telling.exchange, post(f"http://127.0.0.1:{port}/")) for _ in range(40)]
        gevent.sleep(0.1)
        assert len(hanging) == MAX_CONCURRENCY_PER_HOST
        began = time.monotonic()
        assert isinstance(telling.exchange(post(f"http://127.0.0.1:{other}/")), Response)
        assert time.monotonic() - began < 0.2
        gevent.joinall(stuck)
        assert time.monotonic() - began < 2
        assert len(hanging) < 2 * MAX_CONCURRENCY_PER_HOST
        outcomes = [one.value for one in stuck if isinstance(one.value, NoResponse)]
        assert len(outcomes) == 40
        assert sum("did not respond recently" in one.error and not one.sent for one in outcomes) == 40 - len(hanging)
        began = time.monotonic()
        assert isinstance(telling.exchange(post(f"http://127.0.0.1:{port}/")), NoResponse)
        assert time.monotonic() - began < 0.1


def test_a_host_that_answers_again_is_told_again() -> None:
    silent = True

    def handle(connection: Socket) -> None:
        connection.recv(65_536)
        if not silent:
            connection.sendall(OK)
        connection.close()

    with served(handle) as port:
        telling, url = client("127.0.0.1"), f"http://127.0.0.1:{port}/"
        for _ in range(MAX_CONCURRENCY_PER_HOST):
            telling.exchange(post(url))
        silent = False
        assert isinstance(telling.exchange(post(url)), NoResponse)
        next(iter(telling._hosts.values())).suspended_until = 0.0
        assert isinstance(telling.exchange(post(url)), Response)
        assert telling._hosts == {}


def test_what_is_public_is_not_called_by_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "93.184.216.34")
    outcome = client("shop.example").exchange(post("http://shop.example/"))
    assert isinstance(outcome, NoResponse)
    assert "93.184.216.34: not allowed by plain http" in outcome.error


def test_few_wait_for_a_host_that_takes_its_time() -> None:
    def answer_slowly(connection: Socket) -> None:
        gevent.sleep(0.2)
        answering()(connection)

    with served(answer_slowly) as port:
        telling, url = client("127.0.0.1"), f"http://127.0.0.1:{port}/"
        first = [gevent.spawn(telling.exchange, post(url)) for _ in range(2 * MAX_CONCURRENCY_PER_HOST)]
        gevent.sleep(0.25)
        next(iter(telling._hosts.values())).response_time = 20.0
        began = time.monotonic()
        outcome = telling.exchange(post(url))
        assert isinstance(outcome, NoResponse)
        assert time.monotonic() - began < 0.1
        gevent.joinall(first)
    assert all(isinstance(one.value, Response) for one in first)


def test_many_are_told_at_one_host_that_answers() -> None:
    with served(answering()) as port:
        telling = client("127.0.0.1")
        sent = [gevent.spawn(telling.exchange, post(f"http://127.0.0.1:{port}/")) for _ in range(100)]
        gevent.joinall(sent)
    assert all(isinstance(one.value, Response) for one in sent)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for shop.example and 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.example")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("shop.example"), x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


def test_tls_is_verified_against_the_name(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    resolving(monkeypatch, "127.0.0.1")
    rules = notifier("shop.example", "other.example", "127.0.0.1", networks=LOCAL)

    trusting_context, other_context = SSLContext(PROTOCOL_TLS_CLIENT), SSLContext(PROTOCOL_TLS_CLIENT)
    trusting_context.load_verify_locations(str(certificate))
    trusting, others = (
        WebhookClient(rules, lambda **_: trusting_context),
        WebhookClient(rules, lambda **_: other_context),
    )
    theirs = SSLContext(PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(str(certificate))
    with served(answering(), ssl_context=theirs) as port:
        for host in ("shop.example", "127.0.0.1"):
            assert isinstance(trusting.exchange(post(f"https://{host}:{port}/")), Response), host
        for told, host in ((trusting, "other.example"), (others, "shop.example")):
            outcome = told.exchange(post(f"https://{host}:{port}/"))
            assert isinstance(outcome, NoResponse)
            assert not outcome.sent
            assert "certificate" in outcome.error.lower()
