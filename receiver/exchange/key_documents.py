"""A cache of the providers' documents that verification needs, such as a JWKS or a certificate.

A document is fetched when it is first needed, and again when it is too old or marked as stale. Redirects are not
followed. Which URLs may be fetched, and what is read from a document, is in `receiver.signatures`.

Some schemes take a URL from a callback that is not verified yet. Its host is one that the scheme allows, but a stranger
can invent any number of paths. For each provider, the number of documents and the rate of fetches are therefore
limited; documents that have proven a callback are neither removed for others nor limited.
"""

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from receiver.domain.buckets import TokenBucket
from receiver.domain.egress import Egress
from receiver.domain.errors import ReceiverError
from receiver.domain.sending import Response
from receiver.exchange.client import HttpClient
from receiver.providers.base import SendPolicy
from receiver.providers.capabilities import OutgoingRequest

_MAX_AGE_S = 12 * 3_600.0
_MIN_REFRESH_AGE_S = 60.0
_FAILURE_COOLDOWN_S = 5.0
_MAX_DOCUMENTS_PER_PROVIDER = 20
_FETCH_BURST = 20
_FETCHES_PER_S = 1 / _FAILURE_COOLDOWN_S
_MAX_DOCUMENT_BYTES = 256 << 10
_FETCH_POLICY = SendPolicy(max_concurrency=1, connect_timeout=2.5, timeout=2.5, idle_timeout=0.0)
"""A fetch takes at most five seconds, however slowly the server sends."""


class DocumentUnavailable(ReceiverError):
    """A document cannot be fetched now. The caller whose callback needs it is not at fault."""


@dataclass(slots=True)
class _Document:
    """The document of one URL; times are by `time.monotonic`. `body` is None until a fetch succeeded.

    `is_proven` is whether a callback was verified by the document. The lock is held during a fetch, so that requests
    that need the same document wait for one fetch.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    body: bytes | None = None
    fetched_at: float = -math.inf
    failure: str | None = None
    failed_at: float = -math.inf
    is_proven: bool = False

    def get_current_body(self) -> bytes | None:
        """Return the body unless it is too old."""
        return self.body if time.monotonic() - self.fetched_at < _MAX_AGE_S else None


@dataclass(slots=True)
class _ProviderDocuments:
    """The documents of one provider by URL, and the limit of fetches of those that have not proven a callback yet."""

    has_keys: Callable[[bytes], bool]
    documents: dict[str, _Document] = field(default_factory=dict)
    fetches: TokenBucket = field(default_factory=lambda: TokenBucket(_FETCH_BURST, _FETCHES_PER_S))

    def get_body(self, url: str, egress: Egress) -> bytes:
        document = self.documents.get(url) or self._add(url)
        body = document.get_current_body()
        if body is not None:
            return body
        with document.lock:
            # Another request may have fetched the document while this one waited for the lock.
            body = document.get_current_body()
            return body if body is not None else self._refresh(url, document, egress)

    def _add(self, url: str) -> _Document:
        """Add an empty document; if there are too many, remove the oldest one, if possible one that proved nothing."""
        if len(self.documents) >= _MAX_DOCUMENTS_PER_PROVIDER:
            unproven = (other_url for other_url, document in self.documents.items() if not document.is_proven)
            del self.documents[next(unproven, next(iter(self.documents)))]
        return self.documents.setdefault(url, _Document())

    def _refresh(self, url: str, document: _Document, egress: Egress) -> bytes:
        """Fetch a document again and return its body, the previous one if the fetch fails."""
        now = time.monotonic()
        if document.failure and now - document.failed_at < _FAILURE_COOLDOWN_S:
            # A new error each time: an error that is raised again keeps the frames of all callers, with their
            # callbacks.
            raise DocumentUnavailable(document.failure)
        if not document.is_proven and not self.fetches.take(1, now):
            raise DocumentUnavailable(f"{url}: not fetched, as too many other documents were fetched recently")
        try:
            document.body = self._fetch(url, egress)
        except DocumentUnavailable as error:
            if document.body is None:
                document.failure, document.failed_at = str(error), time.monotonic()
                raise
        document.fetched_at = time.monotonic()
        return document.body

    def _fetch(self, url: str, egress: Egress) -> bytes:
        body = fetch_document(url, egress)
        if not self.has_keys(body):  # such as a page that says that the server is being maintained
            raise DocumentUnavailable(f"{url}: neither a JWKS with a public key nor a certificate")
        return body


class KeyDocuments:
    """A cache of documents by provider and URL, shared by all requests of one process.

    Args:
        has_keys: returns whether a document has any public key. One without is as good as none.
    """

    def __init__(self, has_keys: Callable[[bytes], bool] = bool) -> None:
        self._providers: defaultdict[str, _ProviderDocuments] = defaultdict(partial(_ProviderDocuments, has_keys))

    def get(self, provider: str, urls: Sequence[str], egress: Egress | None = None) -> Mapping[str, bytes]:
        """Return documents of a provider by URL.

        None of the documents is older than twelve hours, unless it cannot be fetched again. `egress` is that of the
        provider, see `Egress.for_other_hosts`.

        Raises:
            DocumentUnavailable: a document was never fetched and cannot be fetched now.
        """
        documents = self._providers[provider]
        other_egress = (egress or Egress()).for_other_hosts()
        return {url: documents.get_body(url, other_egress) for url in urls}

    def mark_stale(self, provider: str, urls: Sequence[str]) -> bool:
        """Fetch documents again when they are next needed, as a provider may have added a key.

        A document that was fetched within the last minute is left as it is: a caller who sends forged callbacks must
        not be able to cause a fetch for each of them.

        Returns:
            Whether any document will be fetched again.
        """
        now, documents = time.monotonic(), self._providers[provider].documents
        stale = [
            document
            for url in urls
            if (document := documents.get(url)) and now - document.fetched_at > _MIN_REFRESH_AGE_S
        ]
        for document in stale:
            document.fetched_at -= _MAX_AGE_S
        return bool(stale)

    def mark_proven(self, provider: str, urls: Sequence[str]) -> None:
        """Protect documents by which a callback was verified from being replaced by those that strangers name."""
        documents = self._providers[provider].documents
        for url in urls:
            if document := documents.get(url):
                document.is_proven = True


def fetch_document(url: str, egress: Egress) -> bytes:
    """Fetch a document within five seconds.

    Raises:
        DocumentUnavailable: there was no response in time, its status is not 200, or it cannot be read.
    """
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    origin = f"{parts.scheme}://{parts.netloc}"
    with closing(HttpClient(origin, _FETCH_POLICY, max_body_bytes=_MAX_DOCUMENT_BYTES, egress=egress)) as client:
        outcome = client.exchange(OutgoingRequest("GET", target, {}))
    if not isinstance(outcome, Response):
        raise DocumentUnavailable(f"{url}: {outcome.error}")
    if outcome.status != 200:
        raise DocumentUnavailable(f"{url}: HTTP {outcome.status}")
    if outcome.problem:
        raise DocumentUnavailable(f"{url}: {outcome.problem}")
    return outcome.body
