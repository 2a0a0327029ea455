"""The outbox of jobs: each new state of a job is notified once, in batches, and concurrent transactions lose none."""

from collections.abc import Sequence
from contextlib import closing
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import pytest

from receiver.domain.filters import NotificationFilter
from receiver.domain.jobs import EventSource, JobEvent, JobStatus, build_unresolved_event, derive_job_id
from receiver.domain.notifications import NotifyEvent
from receiver.domain.paging import PageRequest
from receiver.outbound.notifications import queue_notifications
from receiver.reconcile import reconcile
from receiver.schemas.api.notifications import MAX_CHANGED_JOBS
from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from receiver.store.notifications import (
    find_pending_jobs,
    list_notifications,
    save_notified_jobs,
    take_job_outbox,
)
from receiver.store.requests import NewRequest, find_requests, submit_requests
from tests.support.factories import NOON, event
from tests.support.openapi import DOCUMENT, is_valid

JOB, JOB_CHANGE, REQUEST = NotifyEvent.JOB, NotifyEvent.JOB_CHANGE, NotifyEvent.REQUEST
URL = "https://shop.example/hook"


def create_request(connection: Connection, *references: str, events: Sequence[NotifyEvent] = (JOB,)) -> UUID:
    """Create an accepted request with a job for each reference."""
    request = NewRequest(uuid4(), "sandbox", "send", {}, {"order": 7}, None, None, 60.0, URL, events, "shop")
    submit_requests(connection, [request])
    connection.execute("UPDATE requests SET status = 'accepted', due_at = NULL WHERE id = %s", [request.id])
    reconcile(connection, [build_response(reference, request.id, events) for reference in references])
    return request.id


def build_response(reference: str, request_id: UUID, events: Sequence[NotifyEvent]) -> JobEvent:
    return event(
        reference,
        JobStatus.ACCEPTED,
        source=EventSource.RESPONSE,
        request_id=request_id,
        notify=True,
        notify_events=events,
    )


def list_bodies(connection: Connection) -> list[Any]:
    """Return the bodies of all notifications, oldest first."""
    page = list_notifications(connection, NotificationFilter(), PageRequest(limit=500))
    requests = find_requests(connection, [item.id for item in page.items])
    return [request.payload["body"] for request in requests if request.payload]


def list_states(connection: Connection) -> list[tuple[str, list[str]]]:
    """Return the type of each notification and the statuses of the jobs in it, oldest first."""
    return [(body["type"], [job["status"] for job in body["data"]["jobs"]]) for body in list_bodies(connection)]


def count_outbox(connection: Connection) -> tuple[int, int]:
    """Return the number of entries of requests and of jobs."""
    [row] = connection.execute(
        "SELECT (SELECT count(*) FROM notification_outbox), (SELECT count(*) FROM job_notification_outbox)"
    )
    return row[0], row[1]


def test_final_job_is_notified_while_others_are_open(connection: Connection, database: Database) -> None:
    request = create_request(connection, "ref-1", "ref-2")
    queue_notifications(database)
    assert list_bodies(connection) == []
    reconcile(connection, [event("ref-1")])
    queue_notifications(database)
    [body] = list_bodies(connection)
    [job] = body["data"]["jobs"]
    assert (body["type"], job["reference"], job["status"]) == ("jobs.finished", "ref-1", "succeeded")
    assert {name: body["data"][name] for name in ("request_id", "provider", "operation", "metadata")} == {
        "request_id": str(request),
        "provider": "sandbox",
        "operation": "send",
        "metadata": {"order": 7},
    }
    assert is_valid(DOCUMENT, DOCUMENT["components"]["schemas"]["JobsNotification"], body)
    [notification] = list_notifications(connection, NotificationFilter()).items
    assert (notification.request_id, notification.client, notification.provider) == (request, "shop", "sandbox")
    assert notification.job_ids == [job["id"]]


def test_notification_of_jobs_shows_the_account_apart(connection: Connection, database: Database) -> None:
    request = create_request(connection, "ref-1")
    connection.execute("UPDATE requests SET provider = 'acme/north' WHERE id = %s", [request])
    reconcile(connection, [event("ref-1")])
    queue_notifications(database)
    [body] = list_bodies(connection)
    assert (body["data"]["provider"], body["data"]["account"]) == ("acme", "north")


def test_request_is_not_notified_if_only_jobs_are_wanted(connection: Connection, database: Database) -> None:
    create_request(connection, "ref-1")
    reconcile(connection, [event("ref-1")])
    assert count_outbox(connection) == (0, 1)
    queue_notifications(database)
    assert list_states(connection) == [("jobs.finished", ["succeeded"])]


def test_request_and_jobs_are_notified_if_both_are_wanted(connection: Connection, database: Database) -> None:
    create_request(connection, "ref-1", "ref-2", events=(REQUEST, JOB))
    for reference in ("ref-1", "ref-2"):
        reconcile(connection, [event(reference)])
        queue_notifications(database)
    types = sorted(notification_type for notification_type, _ in list_states(connection))
    assert types == ["jobs.finished", "jobs.finished", "request.finished"]


@pytest.mark.parametrize("references", [[], ["of-the-release-before"]])
def test_request_without_notified_jobs_is_notified(
    connection: Connection, database: Database, references: list[str]
) -> None:
    request = create_request(connection, *references)
    connection.execute("UPDATE jobs SET notify_events = NULL")
    connection.execute("UPDATE requests SET status = 'rejected', finished_at = now() WHERE id = %s", [request])
    connection.execute("INSERT INTO notification_outbox (request_id) VALUES (%s)", [request])
    reconcile(connection, [event(reference) for reference in references])
    queue_notifications(database)
    assert [body["type"] for body in list_bodies(connection)] == ["request.finished"]


def test_only_changes_of_the_final_state_are_notified_again(connection: Connection, database: Database) -> None:
    create_request(connection, "ref-1")
    changes = [
        event("ref-1", JobStatus.IN_PROGRESS, at=-1),
        event("ref-1"),
        event("ref-1", at=1),
        event("ref-1", JobStatus.IN_PROGRESS, at=2),
        event("ref-1", JobStatus.FAILED, at=3),
        event("ref-1", JobStatus.FAILED, at=4),
        event("ref-1", JobStatus.FAILED, at=5, superseding=True),
        event("ref-1", JobStatus.FAILED, at=6, superseding=True),
    ]
    for change in changes:
        reconcile(connection, [change])
        queue_notifications(database)
    states = [(job["status"], job["disputed"]) for body in list_bodies(connection) for job in body["data"]["jobs"]]
    assert states == [("succeeded", False), ("succeeded", True), ("failed", False)]


def test_each_change_is_notified_if_wanted(connection: Connection, database: Database) -> None:
    create_request(connection, "ref-1", events=(JOB, JOB_CHANGE))
    queue_notifications(database)
    unresolved = build_unresolved_event(derive_job_id("sandbox", "ref-1"), "sandbox", "ref-1", NOON, "deadline")
    for change in (event("ref-1", JobStatus.IN_PROGRESS, at=1), unresolved, event("ref-1", at=2)):
        reconcile(connection, [change])
        queue_notifications(database)
        queue_notifications(database)
    expected = ["accepted", "in_progress", "unresolved", "succeeded"]
    assert list_states(connection) == [("jobs.changed", [status]) for status in expected]


def test_quick_changes_are_notified_as_the_last_one(connection: Connection, database: Database) -> None:
    create_request(connection, "ref-1", events=(JOB_CHANGE,))
    reconcile(connection, [event("ref-1", JobStatus.IN_PROGRESS, at=1)])
    reconcile(connection, [event("ref-1", at=2)])
    queue_notifications(database)
    assert list_states(connection) == [("jobs.changed", ["succeeded"])]
    assert count_outbox(connection) == (0, 0)


def test_callback_before_response_is_notified(connection: Connection, database: Database) -> None:
    reconcile(connection, [event("ref-1")])
    assert count_outbox(connection) == (0, 0)
    create_request(connection, "ref-1")
    queue_notifications(database)
    assert list_states(connection) == [("jobs.finished", ["succeeded"])]


def test_jobs_of_one_request_share_notifications(connection: Connection, database: Database) -> None:
    references = [f"ref-{number}" for number in range(2 * MAX_CHANGED_JOBS + 50)]
    create_request(connection, *references)
    create_request(connection, "other")
    for batch in (references[:120], [*references[120:], "other"]):
        reconcile(connection, [event(reference) for reference in batch])
    queue_notifications(database)
    bodies = list_bodies(connection)
    assert sorted(len(body["data"]["jobs"]) for body in bodies) == [1, 50, MAX_CHANGED_JOBS, MAX_CHANGED_JOBS]
    assert all(len({job["request_id"] for job in body["data"]["jobs"]}) == 1 for body in bodies)
    notified = [job["reference"] for body in bodies for job in body["data"]["jobs"]]
    assert sorted(notified) == sorted([*references, "other"])


def test_change_during_a_notification_is_not_lost(connection: Connection, database: Database, dsn: str) -> None:
    create_request(connection, "ref-1", "ref-2")
    reconcile(connection, [event("ref-1")])
    with closing(connect(dsn)) as worker, worker.transaction():
        pending = find_pending_jobs(worker, take_job_outbox(worker, 100))
        assert [job.status for job in pending] == [JobStatus.SUCCEEDED]
        reconcile(connection, [event("ref-1", JobStatus.FAILED, at=1, superseding=True), event("ref-2")])
        queue_notifications(database)  # skips the request, which the other worker has locked
        assert list_bodies(connection) == []
        save_notified_jobs(worker, pending)
    queue_notifications(database)
    [(_, statuses)] = list_states(connection)
    assert sorted(statuses) == ["failed", "succeeded"]


def test_transaction_that_commits_last_leaves_an_entry(connection: Connection, database: Database, dsn: str) -> None:
    create_request(connection, "ref-1", "ref-2")
    with closing(connect(dsn)) as other, other.transaction():
        reconcile(other, [event("ref-1")])
        reconcile(connection, [event("ref-2")])
        queue_notifications(database)
    queue_notifications(database)
    assert [len(statuses) for _, statuses in list_states(connection)] == [1, 1]


def test_concurrent_workers_notify_each_change_once(connection: Connection, database: Database, dsn: str) -> None:
    references = [f"ref-{number}" for number in range(300)]
    for start in range(0, 300, 30):
        create_request(connection, *references[start : start + 30])
    writing = Thread(target=reconcile_one_by_one, args=(dsn, references))
    writing.start()
    workers = [Thread(target=queue_until, args=(database, writing)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for thread in (writing, *workers):
        thread.join()
    notified = [job["reference"] for body in list_bodies(connection) for job in body["data"]["jobs"]]
    assert sorted(notified) == sorted(references)
    assert count_outbox(connection) == (0, 0)


def reconcile_one_by_one(dsn: str, references: Sequence[str]) -> None:
    with closing(connect(dsn)) as connection:
        for start in range(0, len(references), 7):
            reconcile(connection, [event(reference) for reference in references[start : start + 7]])


def queue_until(database: Database, writing: Thread) -> None:
    """Queue notifications until the writer has ended and the outbox is empty."""
    while True:
        has_ended = not writing.is_alive()
        queue_notifications(database)
        with database.connection() as connection:
            if has_ended and count_outbox(connection) == (0, 0):
                return


def test_rolled_back_notification_keeps_its_entry(connection: Connection, database: Database) -> None:
    create_request(connection, "ref-1")
    reconcile(connection, [event("ref-1")])
    connection.execute("ALTER TABLE requests ADD CONSTRAINT broken CHECK (provider <> 'notify')")
    with pytest.raises(Exception, match="broken"):
        queue_notifications(database)
    connection.execute("ALTER TABLE requests DROP CONSTRAINT broken")
    queue_notifications(database)
    assert list_states(connection) == [("jobs.finished", ["succeeded"])]


def test_entry_of_deleted_job_is_dropped(connection: Connection, database: Database) -> None:
    request = create_request(connection, "ref-1")
    reconcile(connection, [event("ref-1")])
    connection.execute("INSERT INTO notified_jobs SELECT id, status, disputed FROM jobs")
    connection.execute("DELETE FROM jobs")
    connection.execute("DELETE FROM requests WHERE id = %s", [request])
    queue_notifications(database)
    assert (count_outbox(connection), list_bodies(connection)) == ((0, 0), [])
    assert connection.execute("SELECT FROM notified_jobs").fetchone() is None
