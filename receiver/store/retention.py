"""Data whose retention has ended, found in batches: requests by a queue, callbacks in order of receipt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from receiver.domain.retention import RetentionKind
from receiver.domain.sending import RequestStatus
from receiver.store.callbacks import Verdict
from receiver.store.connections import Connection
from receiver.store.erase import erase_callbacks, erase_payloads, erase_responses
from receiver.store.statements import load_statement

_COMMIT_MARGIN_S = 60.0
"""Longer than the service takes to commit a request or a callback: rows up to this age may not be visible yet."""


@dataclass(frozen=True, slots=True)
class ProviderRetention:
    """How many seconds a provider's data of one kind is stored."""

    provider: str
    kind: RetentionKind
    seconds: float

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the statements."""
        return {"provider": self.provider, "kind": self.kind, "seconds": self.seconds}


@dataclass(frozen=True, slots=True)
class ExpiredCounts:
    """How many rows a batch examined, and how many it erased."""

    examined: int = 0
    erased: int = 0

    def __add__(self, other: "ExpiredCounts") -> "ExpiredCounts":
        return ExpiredCounts(self.examined + other.examined, self.erased + other.erased)


def erase_expired(connection: Connection, retention: ProviderRetention, limit: int) -> ExpiredCounts:
    """Erase the next data whose retention has ended, out of `limit` rows; call within a transaction.

    Another worker that does the same at this moment leaves nothing to do.
    """
    # No statement of this module is prepared: a plan made while the tables are small would go on to read them whole.
    progress = connection.execute(load_statement("lock_retention_progress"), retention.params, prepare=False).fetchone()
    if progress is None:
        return ExpiredCounts()
    after, after_id = progress
    params = {
        **retention.params,
        "after": after,
        "after_id": after_id,
        "margin": _COMMIT_MARGIN_S,
        "limit": limit,
        "statuses": list(RequestStatus),
        "verdicts": list(Verdict),
    }
    statement = "find_expiring_callbacks" if retention.kind is RetentionKind.BODIES else "find_expiring_requests"
    rows = connection.execute(load_statement(statement), params, prepare=False).fetchall()
    ids = [row_id for _, row_id in rows]
    if rows:
        params |= {"after": rows[-1][0], "after_id": rows[-1][1], "ids": ids}
        connection.execute(load_statement("save_retention_progress"), params, prepare=False)
    if retention.kind is RetentionKind.BODIES:
        return ExpiredCounts(len(ids), erase_callbacks(connection, ids))
    if ids:
        connection.execute(load_statement("queue_expiring_requests"), params, prepare=False)
    examined, expired_ids = _take_expired_requests(connection, params)
    erase = erase_payloads if retention.kind is RetentionKind.PAYLOADS else erase_responses
    return ExpiredCounts(max(len(ids), examined), erase(connection, expired_ids))


def _take_expired_requests(connection: Connection, params: dict[str, Any]) -> tuple[int, Sequence[UUID]]:
    """Return the number of requests that were due in the queue, and the ids of those whose retention has ended."""
    rows = connection.execute(load_statement("take_expired_requests"), params, prepare=False).fetchall()
    return len(rows), [request_id for request_id, is_expired in rows if is_expired]
