"""Finished work, found and removed in batches; each removal is a short transaction that waits for nobody."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from receiver.domain.jobs import JobStatus
from receiver.domain.sending import RequestStatus
from receiver.store.callbacks import Verdict
from receiver.store.database import Connection
from receiver.store.jsonb import as_jsonb
from receiver.store.rows import row_factory
from receiver.store.statements import load_statement

_OVER = (RequestStatus.COMPLETED, RequestStatus.REJECTED, RequestStatus.FAILED, RequestStatus.CANCELLED)
_FINAL = [status for status in JobStatus if status.is_final]


@dataclass(frozen=True, slots=True)
class RemovedCounts:
    """How many of each were removed."""

    requests: int = 0
    jobs: int = 0
    events: int = 0
    callbacks: int = 0
    idempotency_keys: int = 0

    def __add__(self, other: "RemovedCounts") -> "RemovedCounts":
        names = [field.name for field in fields(self)]
        return RemovedCounts(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True)
class FinishedWork:
    """Requests, and jobs that have none."""

    requests: Sequence[UUID]
    jobs: Sequence[UUID]


def compute_cutoff(connection: Connection, seconds: float) -> datetime:
    """Give the time so many seconds ago, by the database's clock."""
    row = connection.execute(load_statement("compute_cutoff"), {"seconds": seconds}).fetchone()
    if row is None:
        raise AssertionError("moment_before gives a row")
    moment: datetime = row[0]
    return moment


def find_ended_jobs(connection: Connection, before: datetime, limit: int) -> Iterator[FinishedWork]:
    """Give the stories of final jobs that ended before a time, in pages of `limit` jobs."""
    providers = [name for (name,) in connection.execute(load_statement("list_providers_with_jobs")).fetchall()]
    for provider in providers:
        for status in _FINAL:
            given = {"provider": provider, "status": status, "before": before}
            for rows in _pages(connection, "find_prunable_jobs", given, limit):
                owned = dict.fromkeys(request_id for _, _, request_id in rows if request_id)
                yield FinishedWork(list(owned), [job_id for _, job_id, request_id in rows if not request_id])


def find_ended_requests(connection: Connection, before: datetime, limit: int) -> Iterator[FinishedWork]:
    """Give requests that were over before a time without the provider's having taken them, in pages of `limit`."""
    for provider, operation in connection.execute(load_statement("list_operations_with_requests")).fetchall():
        for status in _OVER:
            given = {"provider": provider, "operation": operation, "status": status, "before": before}
            for rows in _pages(connection, "find_prunable_requests", given, limit):
                yield FinishedWork([request_id for _, request_id, over in rows if over], [])


def find_old_callbacks(connection: Connection, before: datetime, limit: int) -> Iterator[list[UUID]]:
    """Give callbacks that came before a time, in pages of `limit`."""
    providers = [name for (name,) in connection.execute(load_statement("list_providers_with_callbacks")).fetchall()]
    for provider in providers:
        # The repetitions before what they repeat.
        for verdict in sorted(Verdict, key=lambda verdict: verdict is not Verdict.DUPLICATE):
            given = {"provider": provider, "verdict": verdict, "before": before}
            for rows in _pages(connection, "find_prunable_callbacks", given, limit):
                yield [callback_id for _, callback_id in rows]


def find_old_keys(connection: Connection, before: datetime, limit: int) -> Iterator[list[dict[str, Any]]]:
    """Give idempotency keys that were used before a time, out of pages of `limit`."""
    client, key = "", ""
    while True:
        given = {"client": client, "key": key, "before": before, "limit": limit}
        rows = connection.execute(load_statement("find_prunable_keys"), given, prepare=False).fetchall()
        yield [{"client": owner, "key": name} for owner, name, old in rows if old]
        if len(rows) < limit:
            return
        client, key, _ = rows[-1]


def remove_finished_work(connection: Connection, stories: FinishedWork, before: datetime) -> RemovedCounts:
    """Remove of requests and jobs those that are over, with all that belongs to them; call within a transaction."""
    wanted = {"requests": list(stories.requests), "jobs": list(stories.jobs)}
    locked = connection.execute(load_statement("lock_finished_work"), wanted, prepare=False).fetchone()
    if locked is None:
        raise AssertionError("lock_stories gives a row")
    requests, jobs = locked
    return _removed(connection, "remove_finished_work", {"requests": requests, "jobs": jobs, "before": before})


def remove_callbacks(connection: Connection, callback_ids: Sequence[UUID], before: datetime) -> RemovedCounts:
    """Remove of callbacks those that nothing needs any more."""
    return _removed(connection, "remove_callbacks", {"ids": list(callback_ids), "before": before})


def remove_keys(connection: Connection, keys: Sequence[dict[str, Any]], before: datetime) -> RemovedCounts:
    """Remove of idempotency keys those of whose requests none is kept."""
    return _removed(connection, "remove_keys", {"keys": as_jsonb(keys), "before": before})


def _removed(connection: Connection, name: str, given: dict[str, Any]) -> RemovedCounts:
    # Not prepared: a plan for few rows would be kept for many.
    removed = (
        connection.cursor(row_factory=row_factory(RemovedCounts))
        .execute(load_statement(name), given, prepare=False)
        .fetchone()
    )
    if removed is None:
        raise AssertionError(f"{name} gives a row")
    return removed


def _pages(connection: Connection, name: str, given: dict[str, Any], limit: int) -> Iterator[list[tuple[Any, ...]]]:
    """Give a statement's rows in pages that go on after the time and id of the last row."""
    after: Any = "-infinity"
    after_id = UUID(int=0)
    while True:
        place = {"after": after, "after_id": after_id, "limit": limit}
        rows = connection.execute(load_statement(name), {**given, **place}, prepare=False).fetchall()
        if rows:
            yield rows
        if len(rows) < limit:
            return
        after, after_id = rows[-1][:2]
