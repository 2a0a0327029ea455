"""Operators' actions on jobs: polls that they request, and statuses that they set."""

from datetime import UTC, datetime, timedelta

import pytest

from receiver.domain.access import OperatorAction
from receiver.domain.errors import StateConflict
from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.operations.jobs import poll_now, resolve
from receiver.providers.base import Provider
from receiver.reconcile import reconcile
from receiver.store.audit import find_audited_events
from receiver.store.connections import Connection
from receiver.store.jobs import Job, find_job
from tests.support.factories import NOON, event, provider
from tests.support.kinds import PROVIDERS
from tests.support.plans import record_statements

OPERATOR = OperatorAction("ops", NOON + timedelta(minutes=1), "seen in their console")


def create_job(connection: Connection, status: JobStatus = JobStatus.ACCEPTED) -> Job:
    reconcile(connection, [event("ref-1", status)])
    return find_stored_job(connection)


def find_stored_job(connection: Connection) -> Job:
    job = find_job(connection, derive_job_id("sandbox", "ref-1"))
    assert job
    return job


def test_requested_poll_is_due_now_and_recorded(connection: Connection) -> None:
    job = create_job(connection)
    with connection.transaction():
        poll_now(connection, job, provider(), OPERATOR)
    row = connection.execute("SELECT poll_at FROM jobs").fetchone()
    assert row
    assert row[0] <= datetime.now(UTC)
    *_, last = find_audited_events(connection, [job.id])[job.id]
    assert (last.source, last.actor, last.detail) == (
        EventSource.OPERATOR,
        "ops",
        "poll requested: seen in their console",
    )
    assert find_stored_job(connection).status is JobStatus.ACCEPTED


@pytest.mark.parametrize(
    ("status", "configured", "message"),
    [
        (JobStatus.FAILED, provider(), "already has the final status failed"),
        (JobStatus.ACCEPTED, None, "is not configured"),
        (JobStatus.ACCEPTED, PROVIDERS["acme"], "cannot be polled"),
    ],
)
def test_impossible_poll_is_a_conflict(
    connection: Connection, status: JobStatus, configured: Provider | None, message: str
) -> None:
    job = create_job(connection, status)
    with pytest.raises(StateConflict, match=message):
        poll_now(connection, job, configured, OPERATOR)
    assert len(find_audited_events(connection, [job.id])[job.id]) == 1


def test_resolution_outranks_what_the_provider_reports(connection: Connection) -> None:
    job = create_job(connection, JobStatus.SUCCEEDED)
    resolve(connection, job, JobStatus.FAILED, OPERATOR)
    reconcile(connection, [event("ref-1", JobStatus.SUCCEEDED, at=600.0, superseding=True)])
    assert find_stored_job(connection).status is JobStatus.FAILED


def test_resolution_does_not_read_the_events_of_the_job(connection: Connection) -> None:
    job = create_job(connection)
    resolve(connection, job, JobStatus.FAILED, OPERATOR)
    with record_statements(connection) as statements:
        resolve(connection, job, JobStatus.SUCCEEDED, OPERATOR)
    assert not any(b"FROM events" in statement.query for statement in statements)
    assert find_stored_job(connection).status is JobStatus.SUCCEEDED


def test_later_resolution_stands_even_if_its_clock_is_behind(connection: Connection) -> None:
    job = create_job(connection)
    resolve(connection, job, JobStatus.FAILED, OPERATOR)
    resolve(connection, job, JobStatus.SUCCEEDED, OperatorAction("shop", NOON, "it was delivered"))
    assert find_stored_job(connection).status is JobStatus.SUCCEEDED
    *_, last = find_audited_events(connection, [job.id])[job.id]
    assert (last.actor, last.received_at) == ("shop", OPERATOR.created_at + timedelta(microseconds=1))
