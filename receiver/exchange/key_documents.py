"""A cache of the providers' documents that verification needs, such as a JWKS.

A document is fetched when it is first needed, and again when it is too old or marked as stale. The scheme that needs
it, and what is read from it, are in `receiver.signatures`.
"""

import math
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from receiver.domain.errors import ReceiverError
from receiver.domain.sending import Response
from receiver.exchange.client import HttpClient
from receiver.providers.base import SendPolicy
from receiver.providers.capabilities import OutgoingRequest

_MAX_AGE_S = 12 * 3_600.0
_MIN_REFRESH_AGE_S = 60.0
_FAILURE_COOLDOWN_S = 5.0
_MAX_FAILED_URLS = 1_000
_FETCH_POLICY = SendPolicy(max_concurrency=1, connect_timeout=2.5, timeout=2.5)
"""A fetch takes at most five seconds, however slowly the server sends."""


class DocumentUnavailable(ReceiverError):
    """A document cannot be fetched now. The caller whose callback needs it is not at fault."""


@dataclass(slots=True)
class _Document:
    """The document of one URL; times are by `time.monotonic`. `body` is None until a fetch succeeded.

    The lock is held during a fetch, so that requests that need the same document wait for one fetch.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    body: bytes | None = None
    fetched_at: float = -math.inf
    failure: str | None = None
    failed_at: float = -math.inf

    def get_current_body(self) -> bytes | None:
        """Return the body unless it is too old."""
        return self.body if time.monotonic() - self.fetched_at < _MAX_AGE_S else None


class KeyDocuments:
    """A cache of documents by URL, shared by all requests of one process."""

    def __init__(self) -> None:
        self._documents: dict[str, _Document] = {}

    def get(self, urls: Sequence[str]) -> Mapping[str, bytes]:
        """Return documents by URL.

        None of the documents is older than twelve hours, unless it cannot be fetched again.

        Raises:
            DocumentUnavailable: a document was never fetched and cannot be fetched now.
        """
        return {url: self._get_body(url) for url in urls}

    def mark_stale(self, urls: Sequence[str]) -> None:
        """Fetch documents again when they are next needed, as a provider may have added a key.

        A document that was fetched within the last minute is left as it is: a caller who sends forged callbacks must
        not be able to cause a fetch for each of them.
        """
        for url in urls:
            document = self._documents.get(url)
            if document and time.monotonic() - document.fetched_at > _MIN_REFRESH_AGE_S:
                document.fetched_at -= _MAX_AGE_S

    def _get_body(self, url: str) -> bytes:
        document = self._documents.get(url) or self._add(url)
        body = document.get_current_body()
        if body is not None:
            return body
        with document.lock:
            # Another request may have fetched the document while this one waited for the lock.
            body = document.get_current_body()
            return body if body is not None else _refresh(url, document)

    def _add(self, url: str) -> _Document:
        """Add an empty document; callers choose some URLs, so that failed ones are forgotten when they are many."""
        if len(self._documents) >= _MAX_FAILED_URLS:
            self._documents = {
                other_url: document
                for other_url, document in list(self._documents.items())
                if document.body is not None or document.lock.locked()
            }
        return self._documents.setdefault(url, _Document())


def _refresh(url: str, document: _Document) -> bytes:
    """Fetch a document again and return its body, the previous one if the fetch fails."""
    if document.failure and time.monotonic() - document.failed_at < _FAILURE_COOLDOWN_S:
        # A new error each time: an error that is raised again keeps the frames of all callers, with their callbacks.
        raise DocumentUnavailable(document.failure)
    try:
        document.body = fetch_document(url)
    except DocumentUnavailable as error:
        if document.body is None:
            document.failure, document.failed_at = str(error), time.monotonic()
            raise
    document.fetched_at = time.monotonic()
    return document.body


def fetch_document(url: str) -> bytes:
    """Fetch a document, within five seconds and up to the size limit of the client.

    Raises:
        DocumentUnavailable: there was no response in time, or its status is not 200.
    """
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    with closing(HttpClient(f"{parts.scheme}://{parts.netloc}", _FETCH_POLICY)) as client:
        outcome = client.exchange(OutgoingRequest("GET", target, {}))
    if not isinstance(outcome, Response):
        raise DocumentUnavailable(f"{url}: {outcome.error}")
    if outcome.status != 200:
        raise DocumentUnavailable(f"{url}: HTTP {outcome.status}")
    return outcome.body
