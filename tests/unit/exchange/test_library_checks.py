"""A version of geventhttpclient without a method that we override is refused."""

import pytest
from geventhttpclient.response import HTTPResponse

from receiver.exchange.library_checks import check_geventhttpclient
from receiver.libraries import UnsupportedLibrary


@pytest.mark.parametrize("name", ["_on_message_begin", "_on_body"])
def test_geventhttpclient_without_a_method_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delattr(HTTPResponse, name)
    with pytest.raises(UnsupportedLibrary, match=rf"no attribute {name}.*geventhttpclient>=2.6,<2.7"):
        check_geventhttpclient()
