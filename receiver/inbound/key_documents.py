"""Documents of providers that verification needs, such as a JWKS: fetched when first needed and kept for a while."""

import math
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from urllib.parse import urlsplit

from geventhttpclient import HTTPClient

from receiver.domain.errors import ReceiverError

_FRESH = 12 * 3_600.0
_DOUBTED_AFTER = 60.0
_NOT_AGAIN_FOR = 5.0
_TIMEOUT = 5.0
_LARGEST = 1 << 20


class DocumentUnavailable(ReceiverError):
    """A document cannot be fetched now; the fault is not the caller's."""


class KeyDocuments:
    """A cache of documents by URL; `fetch` is how one is fetched, which raises DocumentUnavailable."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, bytes]] = {}
        self._failed: dict[str, tuple[float, DocumentUnavailable]] = {}

    def get(self, urls: Sequence[str]) -> Mapping[str, bytes]:
        """Give documents, none older than twelve hours unless it cannot be fetched anew.

        Raises:
            DocumentUnavailable: one was never fetched, and cannot be now.
        """
        return {url: self._get(url) for url in urls}

    def unknown_request(self, urls: Sequence[str]) -> None:
        """Fetch documents anew when next needed, as a key may be new in them; at most once a minute."""
        for url in urls:
            kept = self._kept.get(url)
            if kept and time.monotonic() - kept[0] > _DOUBTED_AFTER:
                self._kept[url] = (kept[0] - _FRESH, kept[1])

    def _get(self, url: str) -> bytes:
        kept = self._kept.get(url)
        if kept and time.monotonic() - kept[0] < _FRESH:
            return kept[1]
        with self._lock:
            if self._kept.get(url) is not kept:
                return self._kept[url][1]
            failed_at, failure = self._failed.get(url, (-math.inf, None))
            if failure and time.monotonic() - failed_at < _NOT_AGAIN_FOR:
                raise failure
            try:
                body = fetch(url)
            except DocumentUnavailable as error:
                if kept is None:
                    self._failed[url] = (time.monotonic(), error)
                    raise
                body = kept[1]
            self._kept[url] = (time.monotonic(), body)
            return body


def fetch(url: str) -> bytes:
    """Fetch a document.

    Raises:
        DocumentUnavailable: there was no answer, another than 200, or too large a one.
    """
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    origin = f"{parts.scheme}://{parts.netloc}"
    with closing(HTTPClient.from_url(origin, connection_timeout=_TIMEOUT, network_timeout=_TIMEOUT)) as client:
        try:
            response = client.get(target)
            body = bytes(response.read(_LARGEST))
        except Exception as error:
            raise DocumentUnavailable(f"{url}: {error}") from error
        if response.status_code != 200:
            raise DocumentUnavailable(f"{url}: HTTP {response.status_code}")
        return body
