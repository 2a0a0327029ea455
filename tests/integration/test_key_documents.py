"""The cache of key documents: fetched once, refreshed when stale, used while the provider is unavailable."""

from collections.abc import Iterator

import pytest

from receiver.inbound import key_documents
from receiver.inbound.key_documents import DocumentUnavailable, KeyDocuments
from tests.provider import Provider, Reply, listening


@pytest.fixture
def provider() -> Iterator[Provider]:
    with listening() as running:
        yield running


def test_document_is_fetched_once(provider: Provider) -> None:
    provider.script("jwks.json", Reply(200, b"{}"))
    documents, url = KeyDocuments(), f"{provider.url}/jwks.json"
    for _ in range(3):
        assert documents.get([url]) == {url: b"{}"}
    assert len(provider.find_received("jwks.json")) == 1


def test_stale_document_is_fetched_again_at_most_once_a_minute(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.script("jwks.json", Reply(200, b"old"), Reply(200, b"new"))
    documents, url = KeyDocuments(), f"{provider.url}/jwks.json"
    assert documents.get([url])[url] == b"old"
    documents.mark_stale([url])
    assert documents.get([url])[url] == b"old"
    monkeypatch.setattr(key_documents, "_MIN_REFRESH_AGE_S", 0.0)
    documents.mark_stale([url])
    assert documents.get([url])[url] == b"new"


def test_cached_document_is_used_while_the_fetch_fails(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    provider.script("jwks.json", Reply(200, b"cached"), Reply(500))
    documents, url = KeyDocuments(), f"{provider.url}/jwks.json"
    assert documents.get([url])[url] == b"cached"
    monkeypatch.setattr(key_documents, "_MAX_AGE_S", 0.0)
    assert documents.get([url])[url] == b"cached"


@pytest.mark.parametrize("reply", [Reply(404), Reply(raw=())])
def test_failed_fetch_is_raised_and_not_repeated_at_once(provider: Provider, reply: Reply) -> None:
    provider.script("jwks.json", reply)
    documents, url = KeyDocuments(), f"{provider.url}/jwks.json"
    for _ in range(3):
        with pytest.raises(DocumentUnavailable):
            documents.get([url])
    assert 1 <= len(provider.find_received("jwks.json")) <= 4  # geventhttpclient may retry a dropped connection.
