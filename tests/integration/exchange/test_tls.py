"""TLS of exchanges: which servers are trusted, and what a server that refuses our certificate means."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gevent.server import StreamServer
from gevent.socket import socket as Socket  # noqa: N812  # a class
from gevent.ssl import CERT_REQUIRED, PROTOCOL_TLS_SERVER, SSLContext, TLSVersion

from receiver.domain.egress import Egress, TlsFiles
from receiver.domain.sending import NoResponse, Response
from receiver.exchange.client import HttpClient
from receiver.providers.base import SendPolicy
from receiver.providers.capabilities import OutgoingRequest
from tests.support.tls import write_certificate

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that returns the path of the certificate of a name, with its key."""
    directory = tmp_path_factory.mktemp("tls")
    for name in ("server", "client", "stranger"):
        write_certificate(directory / f"{name}.pem", name)
    return lambda name: directory / f"{name}.pem"


@contextmanager
def running_server(
    certificates: Callable[[str], Path], version: TLSVersion, handle: Callable[[Socket], None]
) -> Iterator[str]:
    """Run a server that requires the certificate of `client`, and yield its origin."""
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates("server"))
    context.load_verify_locations(certificates("client"))
    context.verify_mode = CERT_REQUIRED
    context.minimum_version = context.maximum_version = version
    server = StreamServer(("127.0.0.1", 0), lambda connection, _: handle(connection), ssl_context=context)
    server.start()
    try:
        yield f"https://127.0.0.1:{server.address[1]}"
    finally:
        server.stop(timeout=0.1)


def exchange(origin: str, files: TlsFiles, body: bytes = b"{}") -> Response | NoResponse:
    client = HttpClient(origin, SendPolicy(1, 1.0, 1.0), egress=Egress(tls=files))
    try:
        return client.exchange(OutgoingRequest("POST", "/", {}, body))
    finally:
        client.close()


def answer(connection: Socket) -> None:
    connection.recv(65_536)
    connection.sendall(OK)


@pytest.mark.parametrize("version", [TLSVersion.TLSv1_2, TLSVersion.TLSv1_3])
def test_server_takes_our_certificate(certificates: Callable[[str], Path], version: TLSVersion) -> None:
    with running_server(certificates, version, answer) as origin:
        files = TlsFiles(certificates("server"), certificates("client"))
        assert isinstance(exchange(origin, files), Response)


@pytest.mark.parametrize("size", [2, 4 << 20])
@pytest.mark.parametrize("name", [None, "stranger"])
@pytest.mark.parametrize("version", [TLSVersion.TLSv1_2, TLSVersion.TLSv1_3])
def test_request_with_a_refused_certificate_was_not_sent(
    certificates: Callable[[str], Path], version: TLSVersion, name: str | None, size: int
) -> None:
    served: list[bytes] = []
    with running_server(certificates, version, lambda connection: served.append(connection.recv(1))) as origin:
        files = TlsFiles(certificates("server"), certificates(name) if name else None)
        outcome = exchange(origin, files, b"x" * size)
    assert isinstance(outcome, NoResponse)
    assert not outcome.sent, outcome.error
    assert served == []


def test_server_with_an_unknown_certificate_was_not_sent_to(certificates: Callable[[str], Path]) -> None:
    with running_server(certificates, TLSVersion.TLSv1_3, answer) as origin:
        for files in (TlsFiles(), TlsFiles(certificates("stranger"), certificates("client"))):
            outcome = exchange(origin, files)
            assert isinstance(outcome, NoResponse)
            assert not outcome.sent
            assert "certificate verify failed" in outcome.error
