"""Requests of a restored database that may have been sent after its backup was taken, recovered in batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from receiver.domain.sending import RequestStatus
from receiver.store.connections import Connection, as_jsonb, row_factory
from receiver.store.statements import load_statement

_OPEN_STATUSES = (RequestStatus.QUEUED, RequestStatus.SENDING)


@dataclass(frozen=True, slots=True)
class RecoveredCounts:
    """How many requests became `unknown`, and how many became `accepted` because a job of them is known."""

    unknown: int = 0
    accepted: int = 0

    def __add__(self, other: "RecoveredCounts") -> "RecoveredCounts":
        return RecoveredCounts(self.unknown + other.unknown, self.accepted + other.accepted)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What is recorded for recovered requests.

    Args:
        before: when the lost database was last in use, UTC.
        detail: why the requests are unknown.
        actor: who recovers them.
        reason: the reason of the recorded actions.
        lookup_delays: for each provider that supports lookups, the seconds until the first lookup.
    """

    before: datetime
    detail: str
    actor: str
    reason: str
    lookup_delays: Mapping[str, float]


def find_recoverable_requests(
    connection: Connection, before: datetime, limit: int, *, ignored_provider: str
) -> Iterator[list[UUID]]:
    """Yield the ids of requests that may have been sent before a time without a record, in pages of `limit`.

    Args:
        connection: any connection in autocommit mode.
        before: when the lost database was last in use, UTC.
        limit: the largest number of requests of a page.
        ignored_provider: a provider whose requests are left out.
    """
    for provider, operation in connection.execute(load_statement("list_operations_with_requests")).fetchall():
        for status in _OPEN_STATUSES:
            params = {"provider": provider, "operation": operation, "status": status, "before": before, "limit": limit}
            if provider != ignored_provider:
                yield from _find_pages(connection, params)


def _find_pages(connection: Connection, params: Mapping[str, Any]) -> Iterator[list[UUID]]:
    """Yield the ids of one operation's requests with one status in pages, in order of creation."""
    after: Any = "-infinity"
    after_id = UUID(int=0)
    while True:
        page_params = {**params, "after": after, "after_id": after_id}
        rows = connection.execute(load_statement("find_recoverable_requests"), page_params, prepare=False).fetchall()
        if not rows:
            return
        yield [request_id for _, request_id in rows]
        after, after_id = rows[-1]


def recover_requests(connection: Connection, request_ids: Sequence[UUID], recovery: Recovery) -> RecoveredCounts:
    """Recover those of the requests whose state still is from before `recovery.before`."""
    params = {
        "ids": list(request_ids),
        "before": recovery.before,
        "detail": recovery.detail,
        "actor": recovery.actor,
        "reason": recovery.reason,
        "lookup_delays": as_jsonb(recovery.lookup_delays),
    }
    # Not prepared: a plan made for few rows would be reused for many.
    counts = (
        connection.cursor(row_factory=row_factory(RecoveredCounts))
        .execute(load_statement("recover_requests"), params, prepare=False)
        .fetchone()
    )
    if counts is None:
        raise AssertionError("recover_requests returns a row")
    return counts
