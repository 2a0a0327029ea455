"""The cache of key documents: fetched once, refreshed when stale, used while the provider is unavailable."""

import gc
import gzip
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from receiver.domain.egress import PRODUCT
from receiver.exchange import key_documents
from receiver.exchange.key_documents import DocumentUnavailable, KeyDocuments
from receiver.signatures.public_keys import parse_key_document
from tests.support.processes import wait_for
from tests.support.provider import Provider, Reply, listening
from tests.support.signing_keys import build_jwks, export_jwk, get_rsa_key

NAME = "acme"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with listening() as running:
        yield running


def test_document_is_fetched_once(provider: Provider) -> None:
    provider.script("jwks.json", Reply(200, b"{}"))
    documents, url = KeyDocuments(), f"{provider.url}/jwks.json"
    for _ in range(3):
        assert documents.get(NAME, [url]) == {url: b"{}"}
    assert len(provider.find_received("jwks.json")) == 1


def test_stale_document_is_fetched_again_at_most_once_a_minute(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.script("jwks.json", Reply(200, b"old"), Reply(200, b"new"))
    documents, url = KeyDocuments(), f"{provider.url}/jwks.json"
    assert documents.get(NAME, [url])[url] == b"old"
    documents.mark_stale(NAME, [url])
    assert documents.get(NAME, [url])[url] == b"old"
    monkeypatch.setattr(key_documents, "_MIN_REFRESH_AGE_S", 0.0)
    documents.mark_stale(NAME, [url])
    assert documents.get(NAME, [url])[url] == b"new"


def test_cached_document_is_used_while_the_fetch_fails(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    provider.script("jwks.json", Reply(200, b"cached"), Reply(500))
    documents, url = KeyDocuments(), f"{provider.url}/jwks.json"
    assert documents.get(NAME, [url])[url] == b"cached"
    monkeypatch.setattr(key_documents, "_MAX_AGE_S", 0.0)
    assert documents.get(NAME, [url])[url] == b"cached"


def test_document_without_keys_counts_as_a_failed_fetch(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    page, jwks = b"<html>Maintenance</html>", build_jwks(export_jwk(get_rsa_key()))
    provider.script("jwks.json", Reply(200, page), Reply(200, jwks), Reply(200, page))
    documents, url = KeyDocuments(lambda body: bool(parse_key_document(body))), f"{provider.url}/jwks.json"
    with pytest.raises(DocumentUnavailable, match="neither a JWKS"):
        documents.get(NAME, [url])
    monkeypatch.setattr(key_documents, "_FAILURE_COOLDOWN_S", 0.0)
    monkeypatch.setattr(key_documents, "_MIN_REFRESH_AGE_S", 0.0)
    assert documents.get(NAME, [url])[url] == jwks
    assert documents.mark_stale(NAME, [url])
    assert documents.get(NAME, [url])[url] == jwks
    assert len(provider.find_received("jwks.json")) == 3


@pytest.mark.parametrize("reply", [Reply(404), Reply(raw=())])
def test_failed_fetch_is_raised_and_not_repeated_at_once(provider: Provider, reply: Reply) -> None:
    provider.script("jwks.json", reply)
    documents, url = KeyDocuments(), f"{provider.url}/jwks.json"
    for _ in range(3):
        with pytest.raises(DocumentUnavailable):
            documents.get(NAME, [url])
    assert len(provider.find_received("jwks.json")) == 1


class Body(bytearray):
    """Bytes that can be referenced weakly."""


def test_callers_of_a_failed_document_are_not_kept_in_memory(provider: Provider) -> None:
    """Strangers can cause any number of such calls, each with a body of its own."""
    url = f"{provider.url}/jwks.json"
    provider.script("jwks.json", Reply(503))
    documents = KeyDocuments()
    with pytest.raises(DocumentUnavailable):
        documents.get(NAME, [url])

    def call_with_body() -> "weakref.ref[Body]":
        body = Body()
        with suppress(DocumentUnavailable):
            documents.get(NAME, [url])
        return weakref.ref(body)

    references = [call_with_body() for _ in range(10)]
    gc.collect()
    assert all(reference() is None for reference in references)


def drip() -> Iterator[bytes]:
    """Yield a response that never ends, byte by byte."""
    yield b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
    while True:
        time.sleep(0.1)
        yield b" "


@pytest.mark.slow
def test_dripping_server_is_cut_off_and_delays_no_other_document(provider: Provider) -> None:
    provider.script("slow.json", Reply(raw=drip()))
    provider.script("jwks.json", Reply(200, b"{}"))
    documents, url, slow_url = KeyDocuments(), f"{provider.url}/jwks.json", f"{provider.url}/slow.json"
    started_at = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(documents.get, NAME, [slow_url]) for _ in range(2)]
        wait_for(lambda: provider.find_received("slow.json"))
        requested_at = time.monotonic()
        assert documents.get(NAME, [url]) == {url: b"{}"}
        assert time.monotonic() - requested_at < 1.0
        for future in slow:
            with pytest.raises(DocumentUnavailable, match=r"timed out after 2\.5 s"):
                future.result()
    assert 2.0 < time.monotonic() - started_at < 4.5
    assert len(provider.find_received("slow.json")) == 1


def test_redirect_is_not_followed(provider: Provider) -> None:
    provider.script("jwks.json", Reply(302, headers={"location": f"{provider.url}/other.json"}))
    provider.script("other.json", Reply(200, b"{}"))
    with pytest.raises(DocumentUnavailable, match="HTTP 302"):
        KeyDocuments().get(NAME, [f"{provider.url}/jwks.json"])
    assert not provider.find_received("other.json")


def test_compressed_document_is_read(provider: Provider) -> None:
    for encoding in ("gzip", "br"):
        provider.script(f"{encoding}.json", Reply(200, gzip.compress(b"{}"), {"Content-Encoding": encoding}))
    url, unread_url = f"{provider.url}/gzip.json", f"{provider.url}/br.json"
    assert KeyDocuments().get(NAME, [url]) == {url: b"{}"}
    [request] = provider.find_received("gzip.json")
    assert (request.headers["accept-encoding"], request.headers["user-agent"]) == ("gzip, deflate", PRODUCT)
    with pytest.raises(DocumentUnavailable, match="is encoded in br, which is not read"):
        KeyDocuments().get(NAME, [unread_url])


def test_document_that_is_too_large_is_refused(provider: Provider) -> None:
    size = key_documents._MAX_DOCUMENT_BYTES
    provider.script("large.json", Reply(200, b" " * size))
    provider.script("larger.json", Reply(200, b" " * (size + 1)))
    documents = KeyDocuments()
    assert len(documents.get(NAME, [f"{provider.url}/large.json"])[f"{provider.url}/large.json"]) == size
    with pytest.raises(DocumentUnavailable, match=f"exceeds {size} bytes"):
        documents.get(NAME, [f"{provider.url}/larger.json"])


def test_invented_urls_cause_limited_fetches_and_replace_no_proven_document(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger can name any path of an allowed host."""
    documents, url = KeyDocuments(), f"{provider.url}/certificate.pem"
    provider.script("certificate.pem", Reply(200, b"genuine"))
    documents.get(NAME, [url])
    documents.mark_proven(NAME, [url])
    invented = [f"invented-{number}.pem" for number in range(key_documents._FETCH_BURST + 20)]
    for name in invented:
        provider.script(name, Reply(200, b"other"))
        with suppress(DocumentUnavailable):
            documents.get(NAME, [f"{provider.url}/{name}"])
    assert sum(len(provider.find_received(name)) for name in invented) == key_documents._FETCH_BURST - 1
    assert len(documents._providers[NAME].documents) == key_documents._MAX_DOCUMENTS_PER_PROVIDER
    assert documents.get(NAME, [url])[url] == b"genuine"
    assert len(provider.find_received("certificate.pem")) == 1
    monkeypatch.setattr(key_documents, "_MAX_AGE_S", 0.0)
    assert documents.get(NAME, [url])[url] == b"genuine"
    assert len(provider.find_received("certificate.pem")) == 2
    assert documents.get("other", [url])[url] == b"genuine"
