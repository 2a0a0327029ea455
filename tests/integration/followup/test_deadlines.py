"""Deadlines of jobs, applied by calling the worker's step."""

from datetime import UTC, datetime, timedelta

import pytest

from receiver.domain.jobs import EventSource, JobEvent, JobStatus
from receiver.followup import deadlines
from receiver.followup.deadlines import mark_overdue_jobs
from receiver.reconcile import reconcile
from receiver.store.audit import find_audited_events
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.jobs import find_job
from tests.support.factories import event


def create_job(connection: Connection, reference: str, status: JobStatus, deadline: timedelta) -> JobEvent:
    """Create a job whose deadline is that long from now."""
    created = event(reference, status)
    reconcile(connection, [created])
    connection.execute("UPDATE jobs SET deadline_at = %s WHERE id = %s", [datetime.now(UTC) + deadline, created.job_id])
    return created


def find_status(connection: Connection, created: JobEvent) -> JobStatus | None:
    job = find_job(connection, created.job_id)
    return job.status if job else None


def test_only_open_job_past_its_deadline_becomes_unresolved(database: Database, connection: Connection) -> None:
    hour = timedelta(hours=1)
    overdue = create_job(connection, "overdue", JobStatus.IN_PROGRESS, -hour)
    early = create_job(connection, "early", JobStatus.ACCEPTED, hour)
    final = create_job(connection, "final", JobStatus.SUCCEEDED, -hour)
    assert mark_overdue_jobs(database) > 0
    assert find_status(connection, overdue) is JobStatus.UNRESOLVED
    assert find_status(connection, early) is JobStatus.ACCEPTED
    assert find_status(connection, final) is JobStatus.SUCCEEDED


def test_passed_deadline_is_recorded_once(database: Database, connection: Connection) -> None:
    overdue = create_job(connection, "overdue", JobStatus.ACCEPTED, -timedelta(hours=1))
    for _ in range(2):
        mark_overdue_jobs(database)
    *_, last = find_audited_events(connection, [overdue.job_id])[overdue.job_id]
    assert (last.source, last.detail) == (EventSource.DEADLINE, "deadline passed")
    assert len(find_audited_events(connection, [overdue.job_id])[overdue.job_id]) == 2


def test_full_batch_is_followed_by_the_next_at_once(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "_BATCH_SIZE", 2)
    jobs = [create_job(connection, f"ref-{number}", JobStatus.ACCEPTED, -timedelta(hours=1)) for number in range(3)]
    assert mark_overdue_jobs(database) == 0.0
    assert mark_overdue_jobs(database) > 0.0
    assert {find_status(connection, job) for job in jobs} == {JobStatus.UNRESOLVED}
