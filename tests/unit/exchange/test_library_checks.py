"""A version of geventhttpclient without a method that we override is refused."""

import pytest
from geventhttpclient.response import HTTPResponse

from receiver.exchange.library_checks import check_geventhttpclient
from receiver.libraries import UnsupportedLibrary


def test_geventhttpclient_without_a_method_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(HTTPResponse, "_on_body")
    with pytest.raises(UnsupportedLibrary, match=r"no attribute _on_body.*geventhttpclient>=2.6,<2.7"):
        check_geventhttpclient()
