"""What an audit reads: pages of jobs, requests and callbacks, on a connection that sees one snapshot."""

from uuid import uuid4

import pytest

from receiver.domain.jobs import JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.audit import (
    FIRST_ID,
    find_audited_events,
    find_audited_jobs,
    find_audited_requests,
    find_stored_events,
    open_snapshot_connection,
    repair_events,
    stop_polls,
)
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.errors import StoreUnavailable
from receiver.store.requests import NewRequest, submit_requests
from tests.support.factories import event, provider


def test_snapshot_connection_sees_no_later_change(database: Database, connection: Connection) -> None:
    with open_snapshot_connection(database) as snapshot, snapshot.transaction():
        assert find_audited_jobs(snapshot, FIRST_ID, None, 10) == []
        reconcile(connection, [event()])
        assert find_audited_jobs(snapshot, FIRST_ID, None, 10) == []
    assert len(find_audited_jobs(connection, FIRST_ID, None, 10)) == 1


def test_snapshot_connection_cannot_write(database: Database) -> None:
    with (
        pytest.raises(StoreUnavailable, match="read-only"),
        open_snapshot_connection(database) as snapshot,
        snapshot.transaction(),
    ):
        reconcile(snapshot, [event()])


def test_jobs_are_found_in_pages(connection: Connection) -> None:
    reconcile(connection, [event(f"ref-{number}") for number in range(5)])
    first = find_audited_jobs(connection, FIRST_ID, None, 3)
    rest = find_audited_jobs(connection, first[-1].id, None, 3)
    assert (len(first), len(rest)) == (3, 2)
    assert {job.id for job in [*first, *rest]} == {derive_job_id("sandbox", f"ref-{number}") for number in range(5)}


def test_jobs_and_requests_are_found_by_provider(connection: Connection) -> None:
    other = provider(name="other")
    reconcile(connection, [event(), event(actor=other)])
    requests = [NewRequest(uuid4(), name, "send", {}, {}, None, None, 60.0) for name in ("sandbox", "other")]
    submit_requests(connection, requests)
    assert [job.id for job in find_audited_jobs(connection, FIRST_ID, "other", 9)] == [derive_job_id("other", "ref-1")]
    found = find_audited_requests(connection, limit=9, after=FIRST_ID, provider="other")
    assert [request.id for request in found] == [requests[1].id]
    found = find_audited_requests(connection, limit=9, ids=[requests[0].id])
    assert [request.id for request in found] == [requests[0].id]


def test_impossible_precedence_is_found_and_repaired(connection: Connection) -> None:
    stored = event(status=JobStatus.FAILED)
    reconcile(connection, [stored])
    connection.execute("UPDATE events SET precedence = 41")
    [damaged] = find_audited_events(connection, [stored.job_id])[stored.job_id]
    assert damaged.precedence == 41
    repair_events(connection, [stored])
    [repaired] = find_audited_events(connection, [stored.job_id])[stored.job_id]
    assert repaired.precedence == stored.precedence


def test_events_of_unknown_job_are_empty(connection: Connection) -> None:
    job = uuid4()
    assert find_audited_events(connection, [job]) == {job: []}


def test_only_stored_events_are_found(connection: Connection) -> None:
    stored, other = event(), event()
    reconcile(connection, [stored])
    assert find_stored_events(connection, [stored, other]) == {(stored.job_id, stored.key)}


def test_only_final_jobs_are_not_polled_any_more(connection: Connection) -> None:
    final, still_open = event("final", JobStatus.FAILED), event("open", JobStatus.ACCEPTED)
    reconcile(connection, [final, still_open])
    connection.execute("ALTER TABLE jobs DROP CONSTRAINT jobs_poll_at_check")
    connection.execute("UPDATE jobs SET poll_at = now()")
    stop_polls(connection, [final.job_id, still_open.job_id])
    polled = connection.execute("SELECT id FROM jobs WHERE poll_at IS NOT NULL").fetchall()
    assert polled == [(still_open.job_id,)]
