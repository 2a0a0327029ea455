"""Documents of providers: fetched once, kept when they cannot be had, and never the caller's fault."""

from collections.abc import Iterator

import pytest

from receiver.inbound import key_documents as module
from receiver.inbound.key_documents import DocumentUnavailable, KeyDocuments
from tests.provider import Provider, Reply, listening


@pytest.fixture
def provider() -> Iterator[Provider]:
    with listening() as listens:
        yield listens


def test_a_document_is_fetched_once(provider: Provider) -> None:
    provider.script("jwks.json", Reply(200, b"{}"))
    documents, url = KeyDocuments(), f"{provider.url}/jwks.json"
    for _ in range(3):
        assert documents.get([url]) == {url: b"{}"}
    assert len(provider.of("jwks.json")) == 1


def test_a_document_in_doubt_is_fetched_anew_but_not_at_every_forgery(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.script("jwks.json", Reply(200, b"old"), Reply(200, b"new"))
    documents, url = KeyDocuments(), f"{provider.url}/jwks.json"
    assert documents.get([url])[url] == b"old"
    documents.mark_stale([url])
    assert documents.get([url])[url] == b"old"
    monkeypatch.setattr(module, "_MIN_REFRESH_AGE_S", 0.0)
    documents.mark_stale([url])
    assert documents.get([url])[url] == b"new"


def test_what_was_fetched_is_kept_while_it_cannot_be_had(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    provider.script("jwks.json", Reply(200, b"kept"), Reply(500))
    documents, url = KeyDocuments(), f"{provider.url}/jwks.json"
    assert documents.get([url])[url] == b"kept"
    monkeypatch.setattr(module, "_MAX_AGE_S", 0.0)
    assert documents.get([url])[url] == b"kept"


@pytest.mark.parametrize("reply", [Reply(404), Reply(raw=())])
def test_one_that_was_never_had_is_told_and_not_asked_for_again_at_once(provider: Provider, reply: Reply) -> None:
    provider.script("jwks.json", reply)
    documents, url = KeyDocuments(), f"{provider.url}/jwks.json"
    for _ in range(3):
        with pytest.raises(DocumentUnavailable):
            documents.get([url])
    assert 1 <= len(provider.of("jwks.json")) <= 4  # the library may try a dropped connection again, within one call
