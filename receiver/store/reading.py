"""Reads that may be a little out of date: from a replica where there is one, else from the primary."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.errors import FailureKind, StoreConflict, StoreUnavailable

T = TypeVar("T")

_LIMIT_S = 5.0
_RETRY_INTERVAL_S = 5.0
_REMEDY = "none if the replica recovers: the primary is read meanwhile; else see the server of DATABASE_READ_URL"

_log = structlog.get_logger(__name__)


class Replica(Database):
    """A pool of connections to a replica, on which a statement may take 5 seconds, so that there is time for another.

    Its health is not probed, because it takes no commits; see `Reader`.
    """

    def __init__(self, dsn: str, *, size: int = 10, limit_s: float = _LIMIT_S, prepare: str = "auto") -> None:
        super().__init__(dsn, size=size, limit_s=limit_s, prepare=prepare)

    def _probe(self, failure: FailureKind | None) -> None:
        """Do nothing."""


class Reader:
    """Runs queries on the replica, and on the primary if there is no replica or while the replica fails.

    After a failure of the replica, of any kind, only one query in some seconds tries the replica again.

    Args:
        primary: the database.
        replica: a replica of it.
        retry_interval_s: the seconds until a replica that failed is tried again.
    """

    def __init__(
        self, primary: Database, replica: Replica | None = None, *, retry_interval_s: float = _RETRY_INTERVAL_S
    ) -> None:
        self._primary = primary
        self._replica = replica
        self._retry_interval_s = retry_interval_s
        self._failed_at: float | None = None
        self._retry_at = float("-inf")

    def read(self, query: Callable[[Connection], T], primary_connection: Connection | None = None) -> T:
        """Return the result of a query, which only reads, and is called again on the primary if the replica fails.

        Args:
            query: reads on a connection in autocommit mode.
            primary_connection: the connection to the primary to use if necessary; by default one of the pool.

        Raises:
            StoreError: the query failed on the primary; see `Database.connection`.
        """
        if self._replica is not None and self._may_try():
            try:
                with self._replica.connection() as connection:
                    result = query(connection)
            except (StoreUnavailable, StoreConflict) as error:  # Postgres ends a query that conflicts with recovery
                self._record_failure(error)
            else:
                self._record_success()
                return result
        if primary_connection is not None:
            return query(primary_connection)
        with self._primary.connection() as connection:
            return query(connection)

    def close(self) -> None:
        """Close the connections to the replica."""
        if self._replica is not None:
            self._replica.close()

    def _may_try(self) -> bool:
        """Return whether this query may try the replica; if it failed, the next ones may not."""
        if self._failed_at is None:
            return True
        now = time.monotonic()
        if now < self._retry_at:
            return False
        self._retry_at = now + self._retry_interval_s
        return True

    def _record_failure(self, error: StoreUnavailable | StoreConflict) -> None:
        now = time.monotonic()
        self._retry_at = now + self._retry_interval_s
        if self._failed_at is None:
            self._failed_at = now
            _log.warning("replica.failed", kind=error.kind, error=str(error), remedy=_REMEDY)

    def _record_success(self) -> None:
        failed_at, self._failed_at = self._failed_at, None
        if failed_at is not None:
            _log.warning("replica.recovered", seconds=round(time.monotonic() - failed_at, 1))
