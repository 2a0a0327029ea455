"""A cache of the providers' documents that verification needs, such as a JWKS.

A document is fetched when it is first needed, and again when it is too old or marked as stale. The scheme that needs
it, and what is read from it, are in `receiver.signatures`.
"""

import math
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from urllib.parse import urlsplit

from geventhttpclient import HTTPClient

from receiver.domain.errors import ReceiverError

_MAX_AGE_S = 12 * 3_600.0
_MIN_REFRESH_AGE_S = 60.0
_FAILURE_COOLDOWN_S = 5.0
_TIMEOUT_S = 5.0
_MAX_DOCUMENT_BYTES = 1 << 20


class DocumentUnavailable(ReceiverError):
    """A document cannot be fetched now. The caller whose callback needs it is not at fault."""


class KeyDocuments:
    """A cache of documents by URL, shared by all requests of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._documents: dict[str, tuple[float, bytes]] = {}
        self._failures: dict[str, tuple[float, DocumentUnavailable]] = {}

    def get(self, urls: Sequence[str]) -> Mapping[str, bytes]:
        """Return documents by URL.

        None of the documents is older than twelve hours, unless it cannot be fetched again.

        Raises:
            DocumentUnavailable: a document was never fetched and cannot be fetched now.
        """
        return {url: self._get_document(url) for url in urls}

    def mark_stale(self, urls: Sequence[str]) -> None:
        """Fetch documents again when they are next needed, as a provider may have added a key.

        A document that was fetched within the last minute is left as it is: a caller who sends forged callbacks must
        not be able to cause a fetch for each of them.
        """
        for url in urls:
            cached = self._documents.get(url)
            if cached and time.monotonic() - cached[0] > _MIN_REFRESH_AGE_S:
                self._documents[url] = (cached[0] - _MAX_AGE_S, cached[1])

    def _get_document(self, url: str) -> bytes:
        cached = self._documents.get(url)
        if cached and time.monotonic() - cached[0] < _MAX_AGE_S:
            return cached[1]
        with self._lock:
            # Another request may have fetched the document while this one waited for the lock.
            if self._documents.get(url) is not cached:
                return self._documents[url][1]
            failed_at, failure = self._failures.get(url, (-math.inf, None))
            if failure and time.monotonic() - failed_at < _FAILURE_COOLDOWN_S:
                raise failure
            try:
                body = fetch_document(url)
            except DocumentUnavailable as error:
                if cached is None:
                    self._failures[url] = (time.monotonic(), error)
                    raise
                body = cached[1]
            self._documents[url] = (time.monotonic(), body)
            return body


def fetch_document(url: str) -> bytes:
    """Fetch a document, at most `_MAX_DOCUMENT_BYTES` of it.

    Raises:
        DocumentUnavailable: there was no response, or its status is not 200.
    """
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    origin = f"{parts.scheme}://{parts.netloc}"
    with closing(HTTPClient.from_url(origin, connection_timeout=_TIMEOUT_S, network_timeout=_TIMEOUT_S)) as client:
        try:
            response = client.get(target)
            body = bytes(response.read(_MAX_DOCUMENT_BYTES))
        except Exception as error:
            raise DocumentUnavailable(f"{url}: {error}") from error
        if response.status_code != 200:
            raise DocumentUnavailable(f"{url}: HTTP {response.status_code}")
        return body
