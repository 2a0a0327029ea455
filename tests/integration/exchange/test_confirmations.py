"""Confirmations of callback URLs: what is called, and what counts as confirmed."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from gevent.ssl import create_default_context

from receiver.exchange import tls
from receiver.exchange.confirmations import ConfirmationFailed, confirm
from tests.support.ports import find_free_port
from tests.support.tls import HttpsServer, running_https_server, write_certificate

LOCAL = [ip_network("127.0.0.0/8")]


@pytest.fixture(scope="module")
def https_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsServer]:
    """An HTTPS server whose certificate this process trusts."""
    certificate = write_certificate(tmp_path_factory.mktemp("tls") / "server.pem", "localhost")
    trusting = create_default_context(cafile=str(certificate))

    with pytest.MonkeyPatch.context() as patch, running_https_server(certificate) as server:
        patch.setattr(tls, "_get_shared_context", lambda: trusting)
        yield server


@pytest.mark.parametrize("status", [200, 204])
def test_confirmation_is_one_plain_get(https_server: HttpsServer, status: int) -> None:
    https_server.received.clear()
    confirm("sns", https_server.url(f"/{status}?Token=a%2Fb"), LOCAL)
    [request] = https_server.received
    assert request.startswith(f"GET /{status}?Token=a%2Fb HTTP/1.1\n")
    assert "authorization" not in request.lower()


@pytest.mark.parametrize("status", [301, 403, 404, 500])
def test_other_status_confirms_nothing(https_server: HttpsServer, status: int) -> None:
    https_server.received.clear()
    with pytest.raises(ConfirmationFailed, match=f"HTTP {status}"):
        confirm("sns", https_server.url(f"/{status}"), LOCAL)
    assert len(https_server.received) == 1


def test_only_https_and_allowed_addresses_are_called(https_server: HttpsServer) -> None:
    https_server.received.clear()
    for url in (https_server.url("/200"), https_server.url("/200", "127.0.0.1")):
        with pytest.raises(ConfirmationFailed, match="not a public address"):
            confirm("sns", url)
    for url in (f"http://127.0.0.1:{https_server.port}/200", https_server.url("/200", "user@127.0.0.1"), "https://"):
        with pytest.raises(ConfirmationFailed):
            confirm("sns", url, LOCAL)
    assert https_server.received == []


def test_unreachable_host_confirms_nothing() -> None:
    with pytest.raises(ConfirmationFailed, match="cannot connect"):
        confirm("sns", f"https://127.0.0.1:{find_free_port()}/", LOCAL)


def test_untrusted_certificate_confirms_nothing(tmp_path: Path) -> None:
    with running_https_server(write_certificate(tmp_path / "other.pem", "localhost")) as server:
        with pytest.raises(ConfirmationFailed):
            confirm("sns", server.url("/200"), LOCAL)
        assert server.received == []
