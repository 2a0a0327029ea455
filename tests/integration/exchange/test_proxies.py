"""Exchanges through a forward proxy."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest

from receiver.domain.egress import Egress, Proxy, TlsFiles
from receiver.domain.sending import NoResponse, Response
from receiver.domain.targets import TargetRules
from receiver.exchange.client import HttpClient
from receiver.exchange.confirmations import ConfirmationFailed, confirm
from receiver.exchange.key_documents import DocumentUnavailable, KeyDocuments
from receiver.exchange.webhook_client import WebhookClient
from receiver.providers.base import SendPolicy
from receiver.providers.capabilities import OutgoingRequest
from receiver.providers.webhook import SEND_POLICY
from tests.support.forward_proxy import ForwardProxy, running_forward_proxy
from tests.support.ports import find_free_port
from tests.support.provider import Provider, Reply, listening
from tests.support.tls import HttpsServer, running_https_server, write_certificate

HOST = "api.acme.example"
CREDENTIALS = "me:hunter2"
POLICY = SendPolicy(4, 1.0, 1.0)


@pytest.fixture(scope="module")
def https_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsServer]:
    """An HTTPS server for a name that only a proxy resolves."""
    certificate = write_certificate(tmp_path_factory.mktemp("tls") / "server.pem", HOST)
    with running_https_server(certificate) as server:
        yield server


@pytest.fixture
def http_server() -> Iterator[Provider]:
    with listening() as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    with running_forward_proxy() as running:
        yield running


def build_egress(proxy: ForwardProxy, credentials: str = CREDENTIALS, *, ca_file: Path | None = None) -> Egress:
    return Egress("me", Proxy("127.0.0.1", proxy.port, credentials), tls=TlsFiles(ca_file))


@contextmanager
def running_client(origin: str, egress: Egress) -> Iterator[HttpClient]:
    client = HttpClient(origin, POLICY, egress=egress)
    try:
        yield client
    finally:
        client.close()


def exchange(origin: str, egress: Egress, target: str = "/200") -> Response | NoResponse:
    with running_client(origin, egress) as client:
        return client.exchange(OutgoingRequest("GET", target, {"authorization": "Bearer sk"}))


def test_https_is_sent_through_a_tunnel(https_server: HttpsServer, proxy: ForwardProxy) -> None:
    https_server.received.clear()
    egress, port = build_egress(proxy, ca_file=https_server.certificate), https_server.port
    outcome = exchange(f"https://{HOST}:{port}", egress)
    assert isinstance(outcome, Response)
    assert outcome.status == 200
    [head] = proxy.received
    assert head.splitlines() == [
        f"CONNECT {HOST}:{port} HTTP/1.1",
        f"Host: {HOST}:{port}",
        f"Proxy-Authorization: Basic {b64encode(CREDENTIALS.encode()).decode()}",
    ]
    [request] = https_server.received
    assert request.startswith("GET /200 HTTP/1.1\n")
    assert "proxy-authorization" not in request.lower()


def test_tunnel_is_used_again(https_server: HttpsServer, proxy: ForwardProxy) -> None:
    egress = build_egress(proxy, ca_file=https_server.certificate)
    with running_client(f"https://{HOST}:{https_server.port}", egress) as client:
        for _ in range(2):
            assert isinstance(client.exchange(OutgoingRequest("GET", "/200", {"connection": "keep-alive"})), Response)


def test_http_is_forwarded_by_the_proxy(http_server: Provider, proxy: ForwardProxy) -> None:
    http_server.script("17?a=1", Reply(200))
    port = http_server.server_address[1]
    outcome = exchange(f"http://{HOST}:{port}", build_egress(proxy), "/jobs/17?a=1")
    assert isinstance(outcome, Response)
    [head] = proxy.received
    assert head.startswith(f"GET http://{HOST}:{port}/jobs/17?a=1 HTTP/1.1\r\nHost: {HOST}:{port}\r\n")
    assert f"\r\nproxy-authorization: Basic {b64encode(CREDENTIALS.encode()).decode()}" in head
    [request] = http_server.find_received("17?a=1")
    assert request.path == "/jobs/17?a=1"


@pytest.mark.parametrize(
    "status_line", ["407 Proxy Authentication Required", "403 Forbidden", "502 Bad Gateway", "504 Timeout"]
)
def test_tunnel_that_is_refused_was_not_sent(proxy: ForwardProxy, status_line: str) -> None:
    proxy.refusal = f"HTTP/1.1 {status_line}\r\ncontent-length: 0\r\n\r\n".encode()
    outcome = exchange(f"https://{HOST}", build_egress(proxy))
    assert outcome == NoResponse(
        f"cannot connect to {HOST}:443 through the proxy http://127.0.0.1:{proxy.port}: the proxy refused to connect: "
        f"HTTP/1.1 {status_line}",
        sent=False,
    )


@pytest.mark.parametrize("refusal", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"x" * 70_000])
def test_server_that_is_no_proxy_was_not_sent_to(proxy: ForwardProxy, refusal: bytes) -> None:
    proxy.refusal = refusal
    outcome = exchange(f"https://{HOST}", build_egress(proxy))
    assert isinstance(outcome, NoResponse)
    assert not outcome.sent


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_that_cannot_be_reached_was_not_sent_to(scheme: str) -> None:
    egress = Egress("me", Proxy("127.0.0.1", port := find_free_port(), CREDENTIALS))
    outcome = exchange(f"{scheme}://{HOST}", egress)
    assert isinstance(outcome, NoResponse)
    assert not outcome.sent
    server = f"{HOST}:{443 if scheme == 'https' else 80}"
    assert outcome.error.startswith(f"cannot connect to {server} through the proxy http://127.0.0.1:{port}: ")
    assert "hunter2" not in outcome.error


def test_proxy_without_credentials_forwards_nothing(proxy: ForwardProxy) -> None:
    proxy.refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    outcome = exchange(f"http://{HOST}", build_egress(proxy, ""))
    assert outcome == NoResponse(f"the proxy http://127.0.0.1:{proxy.port} requires credentials", sent=False)
    assert "proxy-authorization" not in proxy.received[0].lower()


def test_proxy_that_does_not_answer_ends_at_the_timeout(proxy: ForwardProxy) -> None:
    egress = build_egress(proxy)
    client = HttpClient(f"https://{HOST}", SendPolicy(1, 0.05, 1.0), egress=egress)
    proxy.delay_s = 1.0
    outcome = client.exchange(OutgoingRequest("GET", "/", {}))
    assert isinstance(outcome, NoResponse)
    assert not outcome.sent
    assert "timed out" in outcome.error


def test_certificate_is_verified_behind_a_proxy(https_server: HttpsServer, proxy: ForwardProxy) -> None:
    outcome = exchange(
        f"https://other.example:{https_server.port}", build_egress(proxy, ca_file=https_server.certificate)
    )
    assert isinstance(outcome, NoResponse)
    assert not outcome.sent
    assert "certificate" in outcome.error


def test_notification_goes_through_its_proxy(http_server: Provider, proxy: ForwardProxy) -> None:
    http_server.script("hook", Reply(200))
    port = http_server.server_address[1]
    rules = TargetRules(["shop.example", "127.0.0.1"], [ip_network("10.0.0.0/8")])
    client = WebhookClient(rules, SEND_POLICY, build_egress(proxy))
    assert isinstance(client.exchange(OutgoingRequest("GET", f"http://shop.example:{port}/hook", {})), Response)
    # The proxy resolves names, but an address in the URL is still checked.
    refused = client.exchange(OutgoingRequest("GET", f"http://127.0.0.1:{port}/hook", {}))
    assert isinstance(refused, NoResponse)
    assert len(proxy.received) == 1


@pytest.mark.parametrize("own", [True, False])
def test_other_hosts_are_reached_through_an_own_proxy_only(*, proxy: ForwardProxy, own: bool) -> None:
    proxy.refusal = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"
    egress = Egress("me", Proxy("127.0.0.1", proxy.port), proxy_from_environment=not own)
    with pytest.raises(DocumentUnavailable):
        KeyDocuments().get("acme", ["https://keys.invalid/jwks.json"], egress)
    with pytest.raises(ConfirmationFailed):
        confirm("acme", "https://confirm.invalid/", (), egress)
    authorities = [head.split()[1] for head in proxy.received]
    assert authorities == (["keys.invalid:443", "confirm.invalid:443"] if own else [])
