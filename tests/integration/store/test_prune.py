"""Finished work is found in pages, and removed only if it is still finished."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from receiver.domain.jobs import JobStatus
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.store.keys import reserve_idempotency_key, save_response
from receiver.store.nonces import UsedNonce, find_reused_nonces
from receiver.store.prune import (
    FinishedWork,
    RemovedCounts,
    compute_cutoff,
    find_ended_jobs,
    find_old_keys,
    find_old_nonces,
    remove_finished_work,
    remove_keys,
    remove_nonces,
)
from tests.support.factories import NOON, event

CUTOFF = NOON + timedelta(days=1)


def list_references(connection: Connection) -> list[str]:
    return [reference for (reference,) in connection.execute("SELECT reference FROM jobs ORDER BY reference")]


def test_removed_counts_add_up() -> None:
    total = RemovedCounts(requests=1, events=3) + RemovedCounts(requests=2, jobs=5, idempotency_keys=1)
    assert total == RemovedCounts(requests=3, jobs=5, events=3, idempotency_keys=1)


def test_cutoff_is_measured_by_the_clock_of_the_database(connection: Connection) -> None:
    expected = datetime.now(UTC) - timedelta(days=90)
    assert compute_cutoff(connection, 90 * 86_400.0) == pytest.approx(expected, abs=timedelta(minutes=1))


def test_ended_jobs_are_found_in_pages(connection: Connection) -> None:
    events = [event(f"ref-{number}", JobStatus.FAILED) for number in range(5)]
    reconcile(connection, [*events, event("open", JobStatus.ACCEPTED), event("recent", at=2 * 86_400.0)])
    pages = list(find_ended_jobs(connection, CUTOFF, 2))
    assert [len(page.jobs) for page in pages] == [2, 2, 1]
    assert {job for page in pages for job in page.jobs} == {item.job_id for item in events}


def test_work_that_is_not_finished_is_not_removed(connection: Connection) -> None:
    final, still_open = event("final", JobStatus.FAILED), event("open", JobStatus.ACCEPTED)
    reconcile(connection, [final, still_open])
    work = FinishedWork([uuid4()], [final.job_id, still_open.job_id])
    with connection.transaction():
        assert remove_finished_work(connection, work, CUTOFF) == RemovedCounts(jobs=1, events=1)
    assert list_references(connection) == ["open"]


def test_job_with_an_event_after_the_cutoff_is_not_removed(connection: Connection) -> None:
    final = event("final", JobStatus.FAILED)
    reconcile(connection, [final, event("final", JobStatus.FAILED, at=2 * 86_400.0)])
    with connection.transaction():
        assert remove_finished_work(connection, FinishedWork([], [final.job_id]), CUTOFF) == RemovedCounts()
    assert list_references(connection) == ["final"]


def test_old_idempotency_keys_are_found_in_pages_and_removed(connection: Connection) -> None:
    for number in range(3):
        reserve_idempotency_key(connection, "shop", f"key-{number}", b"")
        save_response(connection, "shop", f"key-{number}", b"{}", None)
    before = datetime.now(UTC) + timedelta(hours=1)
    pages = list(find_old_keys(connection, before, 2))
    assert [key["key"] for page in pages for key in page] == ["key-0", "key-1", "key-2"]
    assert sum((remove_keys(connection, page, before) for page in pages), RemovedCounts()) == RemovedCounts(
        idempotency_keys=3
    )
    assert list(find_old_keys(connection, before, 2)) == [[]]


def test_old_nonces_are_found_in_pages_and_removed(connection: Connection) -> None:
    times = {"old-1": NOON, "old-2": NOON, "old-3": NOON, "recent": CUTOFF}
    find_reused_nonces(connection, [UsedNonce.build("acme", nonce, [b""], at) for nonce, at in times.items()])
    pages = list(find_old_nonces(connection, CUTOFF, 2))
    nonces = [nonce for page in pages for nonce in page]
    assert len(nonces) == 3
    assert remove_nonces(connection, nonces, CUTOFF) == RemovedCounts(nonces=3)
    assert connection.execute("SELECT used_at FROM nonces").fetchall() == [(CUTOFF,)]
