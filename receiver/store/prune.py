"""Finished work, found and removed in batches. Each removal is a short transaction that waits for no lock."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from receiver.domain.jobs import JobStatus
from receiver.domain.sending import RequestStatus
from receiver.store.callbacks import Verdict
from receiver.store.connections import Connection, as_jsonb, row_factory
from receiver.store.statements import load_statement

_FINISHED_STATUSES = (
    RequestStatus.COMPLETED,
    RequestStatus.REJECTED,
    RequestStatus.FAILED,
    RequestStatus.CANCELLED,
)
_FINAL_STATUSES = [status for status in JobStatus if status.is_final]


@dataclass(frozen=True, slots=True)
class RemovedCounts:
    """How many rows of each kind were removed."""

    requests: int = 0
    jobs: int = 0
    events: int = 0
    callbacks: int = 0
    idempotency_keys: int = 0
    nonces: int = 0

    def __add__(self, other: "RemovedCounts") -> "RemovedCounts":
        names = [field.name for field in fields(self)]
        return RemovedCounts(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True)
class FinishedWork:
    """The ids of requests, and of jobs that have no request."""

    requests: Sequence[UUID]
    jobs: Sequence[UUID]


def compute_cutoff(connection: Connection, seconds: float) -> datetime:
    """Return the time that many seconds ago by the database's clock, UTC."""
    row = connection.execute(load_statement("compute_cutoff"), {"seconds": seconds}).fetchone()
    if row is None:
        raise AssertionError("compute_cutoff returns a row")
    cutoff: datetime = row[0]
    return cutoff


def has_other_activity(connection: Connection) -> bool:
    """Return whether another client of the database is executing a statement now."""
    row = connection.execute(load_statement("has_other_activity")).fetchone()
    return row is not None and bool(row[0])


def find_ended_jobs(connection: Connection, before: datetime, limit: int) -> Iterator[FinishedWork]:
    """Yield final jobs that ended before a time, or their requests, in pages of `limit` jobs."""
    providers = [name for (name,) in connection.execute(load_statement("list_providers_with_jobs")).fetchall()]
    for provider in providers:
        for status in _FINAL_STATUSES:
            params = {"provider": provider, "status": status, "before": before}
            for rows in _iterate_pages(connection, "find_prunable_jobs", params, limit):
                request_ids = dict.fromkeys(request_id for _, _, request_id in rows if request_id)
                yield FinishedWork(list(request_ids), [job_id for _, job_id, request_id in rows if not request_id])


def find_ended_requests(connection: Connection, before: datetime, limit: int) -> Iterator[FinishedWork]:
    """Yield requests that finished before a time without being accepted, out of pages of `limit` requests."""
    for provider, operation in connection.execute(load_statement("list_operations_with_requests")).fetchall():
        for status in _FINISHED_STATUSES:
            params = {"provider": provider, "operation": operation, "status": status, "before": before}
            for rows in _iterate_pages(connection, "find_prunable_requests", params, limit):
                yield FinishedWork([request_id for _, request_id, prunable in rows if prunable], [])


def find_old_callbacks(connection: Connection, before: datetime, limit: int) -> Iterator[list[UUID]]:
    """Yield the ids of callbacks that were received before a time, in pages of `limit` callbacks."""
    providers = [name for (name,) in connection.execute(load_statement("list_providers_with_callbacks")).fetchall()]
    for provider in providers:
        # Duplicates come before the callbacks that hold their bodies.
        for verdict in sorted(Verdict, key=lambda verdict: verdict is not Verdict.DUPLICATE):
            params = {"provider": provider, "verdict": verdict, "before": before}
            for rows in _iterate_pages(connection, "find_prunable_callbacks", params, limit):
                yield [callback_id for _, callback_id in rows]


def find_old_keys(connection: Connection, before: datetime, limit: int) -> Iterator[list[dict[str, Any]]]:
    """Yield idempotency keys that were used before a time, out of pages of `limit` keys."""
    last_client, last_key = "", ""
    while True:
        params = {"client": last_client, "key": last_key, "before": before, "limit": limit}
        rows = connection.execute(load_statement("find_prunable_keys"), params, prepare=False).fetchall()
        yield [{"client": client, "key": key} for client, key, prunable in rows if prunable]
        if len(rows) < limit:
            return
        last_client, last_key, _ = rows[-1]


def find_old_nonces(connection: Connection, before: datetime, limit: int) -> Iterator[list[dict[str, Any]]]:
    """Yield nonces that were last used before a time, out of pages of `limit` nonces."""
    last_provider, last_id = "", UUID(int=0)
    while True:
        params = {"provider": last_provider, "id": last_id, "before": before, "limit": limit}
        rows = connection.execute(load_statement("find_prunable_nonces"), params, prepare=False).fetchall()
        yield [{"provider": provider, "id": nonce_id} for provider, nonce_id, prunable in rows if prunable]
        if len(rows) < limit:
            return
        last_provider, last_id, _ = rows[-1]


def remove_finished_work(connection: Connection, work: FinishedWork, before: datetime) -> RemovedCounts:
    """Remove those of the requests and jobs that are finished, with all related rows; call within a transaction."""
    params = {"requests": list(work.requests), "jobs": list(work.jobs)}
    row = connection.execute(load_statement("lock_finished_work"), params, prepare=False).fetchone()
    if row is None:
        raise AssertionError("lock_finished_work returns a row")
    requests, jobs = row
    return _remove(connection, "remove_finished_work", {"requests": requests, "jobs": jobs, "before": before})


def remove_callbacks(connection: Connection, callback_ids: Sequence[UUID], before: datetime) -> RemovedCounts:
    """Remove those of the callbacks that no other row needs."""
    return _remove(connection, "remove_callbacks", {"ids": list(callback_ids), "before": before})


def remove_keys(connection: Connection, keys: Sequence[dict[str, Any]], before: datetime) -> RemovedCounts:
    """Remove those of the idempotency keys whose requests have all been removed."""
    return _remove(connection, "remove_keys", {"keys": as_jsonb(keys), "before": before})


def remove_nonces(connection: Connection, nonces: Sequence[dict[str, Any]], before: datetime) -> RemovedCounts:
    """Remove those of the nonces that were last used before a time."""
    return _remove(connection, "remove_nonces", {"nonces": as_jsonb(nonces), "before": before})


def _remove(connection: Connection, statement: str, params: dict[str, Any]) -> RemovedCounts:
    # Not prepared: a plan made for few rows would be reused for many.
    counts = (
        connection.cursor(row_factory=row_factory(RemovedCounts))
        .execute(load_statement(statement), params, prepare=False)
        .fetchone()
    )
    if counts is None:
        raise AssertionError(f"{statement} returns a row")
    return counts


def _iterate_pages(
    connection: Connection, statement: str, params: dict[str, Any], limit: int
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield a statement's rows in pages, each of which starts after the time and id of the row before."""
    after: Any = "-infinity"
    after_id = UUID(int=0)
    while True:
        page_params = {"after": after, "after_id": after_id, "limit": limit}
        rows = connection.execute(load_statement(statement), {**params, **page_params}, prepare=False).fetchall()
        if rows:
            yield rows
        if len(rows) < limit:
            return
        after, after_id = rows[-1][:2]
