"""The callback endpoint in this process, with a real Postgres, as gunicorn calls it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from receiver.domain.egress import Egress
from receiver.exchange.key_documents import KeyDocuments
from receiver.inbound.authentication import AuthLog, CallbackAuthenticator
from receiver.inbound.receive import CallbackBatcher
from receiver.outbound.submission_batcher import SubmissionBatcher
from receiver.providers.base import Provider
from receiver.store.clock import Clock
from receiver.store.database import Database
from receiver.store.reading import Reader
from receiver.web.auth.api_keys import ApiKeyAuthenticator
from receiver.web.callbacks import CallbackEndpoint
from receiver.web.context import AppContext
from receiver.web.metrics.callback_metrics import CallbackMetrics
from receiver.web.tailing import Followers
from receiver.web.waiting import JobWaiters
from tests.support.factories import settings
from tests.support.signers import PUBLIC_URL


class StaticKeyDocuments(KeyDocuments):
    """Key documents that are not fetched; a document at another URL is empty."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        super().__init__()
        self._documents_by_url = documents

    def get(self, provider: str, urls: Sequence[str], egress: Egress | None = None) -> Mapping[str, bytes]:
        return {url: self._documents_by_url.get(url, b"") for url in urls}

    def mark_stale(self, provider: str, urls: Sequence[str]) -> bool:
        """Return False: the documents never change."""
        return False


@contextmanager
def open_endpoints(
    dsn: str, home: Path, providers: Mapping[str, Provider], documents: Mapping[str, bytes]
) -> Iterator[Mapping[str, CallbackEndpoint]]:
    """Yield an endpoint for each provider, which is called `acme` there."""
    database = Database(dsn)
    clock = Clock(database)
    batcher, submissions = CallbackBatcher(database), SubmissionBatcher(database)
    authenticator = CallbackAuthenticator(AuthLog(database), StaticKeyDocuments(documents))
    waiters, followers = JobWaiters(database), Followers(database)
    reader, api_keys = Reader(database), ApiKeyAuthenticator(database, None, 1)
    metrics = CallbackMetrics(database, reader, ["acme"], batcher=batcher, submissions=submissions, job_waiters=waiters)
    services = (database, clock, batcher, submissions, authenticator, api_keys, waiters, followers, metrics, reader)
    try:
        yield {
            name: CallbackEndpoint(
                AppContext(settings(dsn, home, {"acme": provider}, PUBLIC_URL), *services), _not_found
            )
            for name, provider in providers.items()
        }
    finally:
        waiters.close()
        followers.close()
        batcher.close()
        submissions.close()
        authenticator.close()
        metrics.close()
        clock.close()
        database.close()


def _not_found(_: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [])
    return []
