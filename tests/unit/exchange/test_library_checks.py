"""A version of geventhttpclient without an attribute that we use is refused."""

from types import SimpleNamespace

import geventhttpclient.client
import pytest
from geventhttpclient.connectionpool import ConnectionPool

from receiver.exchange.library_checks import check_geventhttpclient
from receiver.libraries import UnsupportedLibrary


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (geventhttpclient.client, "IDEMPOTENT_METHODS"),
        (ConnectionPool, "_create_socket"),
        (ConnectionPool, "_resolve"),
    ],
)
def test_geventhttpclient_without_an_attribute_is_refused(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    monkeypatch.delattr(owner, name)
    with pytest.raises(UnsupportedLibrary, match=f"no attribute {name}.*geventhttpclient>=2.6,<2.7"):
        check_geventhttpclient()


def test_geventhttpclient_without_a_pool_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = SimpleNamespace(close=lambda: None)
    monkeypatch.setattr("receiver.exchange.library_checks.HTTPClient", lambda _: stub)
    with pytest.raises(UnsupportedLibrary, match="no attribute _connection_pool"):
        check_geventhttpclient()
