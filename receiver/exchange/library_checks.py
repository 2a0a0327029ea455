"""A start-time check of geventhttpclient, whose private attributes `client` replaces."""

from contextlib import closing

import geventhttpclient.client
from geventhttpclient import HTTPClient

from receiver.libraries import check_attribute

GEVENTHTTPCLIENT_VERSIONS = ">=2.6,<2.7"
"""The same range as in `pyproject.toml`."""


def check_geventhttpclient() -> None:
    """Check that geventhttpclient has the private attributes that `receiver.exchange` uses. Opens no connection.

    Raises:
        UnsupportedLibrary: an attribute does not exist.
    """
    with closing(HTTPClient("localhost")) as http:
        _check(geventhttpclient.client, "IDEMPOTENT_METHODS")
        _check(http, "_connection_pool")
        for name in ("_create_socket", "_resolve", "connection_timeout"):
            _check(http._connection_pool, name)  # noqa: SLF001  # what is checked


def _check(owner: object, name: str) -> None:
    check_attribute("geventhttpclient", GEVENTHTTPCLIENT_VERSIONS, owner, name)
