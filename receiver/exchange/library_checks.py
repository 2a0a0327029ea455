"""A start-time check of geventhttpclient, whose private attributes `messages` overrides."""

from geventhttpclient.response import HTTPResponse

from receiver.libraries import check_attribute

GEVENTHTTPCLIENT_VERSIONS = ">=2.6,<2.7"
"""The same range as in `pyproject.toml`."""


def check_geventhttpclient() -> None:
    """Check that geventhttpclient's parser has the methods that `receiver.exchange` overrides.

    Raises:
        UnsupportedLibrary: a method does not exist.
    """
    for name in ("_on_message_begin", "_on_body"):
        check_attribute("geventhttpclient", GEVENTHTTPCLIENT_VERSIONS, HTTPResponse, name)
