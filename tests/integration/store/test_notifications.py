"""The notification outbox: which statements write it, and concurrent transactions neither lose nor repeat an entry."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import pytest

from receiver.domain.filters import RequestFilter
from receiver.domain.jobs import EventSource, JobStatus
from receiver.domain.paging import PageRequest
from receiver.outbound.notifications import queue_notifications
from receiver.providers.webhook import PROVIDER_NAME
from receiver.reconcile import reconcile
from receiver.schemas.api.notifications import MAX_NOTIFIED_JOBS
from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from receiver.store.notifications import take_outbox
from receiver.store.requests import NewRequest, Request, list_requests, submit_requests
from receiver.store.statements import load_statements
from tests.support.factories import event
from tests.support.processes import find_lock_waiters, wait_for

NOTIFICATIONS = RequestFilter(providers=[PROVIDER_NAME])
NOT_FINISHING = {
    "claim_requests": "begins an attempt",
    "retry_requests": "queues the request again",
    "resend_notification": "queues a notification again",
}


def create_accepted_request(connection: Connection, *references: str, notify: bool = True) -> UUID:
    """Create an accepted request with a job for each reference; its client wants a notification."""
    request = NewRequest(uuid4(), "sandbox", "send", {}, {}, None, None, 60.0, "https://shop.example/webhook")
    submit_requests(connection, [request])
    connection.execute("UPDATE requests SET status = 'accepted', due_at = NULL WHERE id = %s", [request.id])
    response = [
        event(reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request.id, notify=notify)
        for reference in references
    ]
    reconcile(connection, response)
    return request.id


def list_notified_statuses(connection: Connection) -> list[list[str]]:
    """Return the statuses of the jobs in each notification, newest first."""
    requests = list_requests(connection, NOTIFICATIONS).items
    return [[job["status"] for job in get_data(request)["jobs"]] for request in requests]


def get_data(notification: Request) -> Any:
    assert notification.payload is not None
    return notification.payload["body"]["data"]


def list_outbox(connection: Connection) -> list[UUID]:
    return [
        request_id for (request_id,) in connection.execute("SELECT request_id FROM notification_outbox ORDER BY id")
    ]


@contextmanager
def open_connection(dsn: str) -> Iterator[Connection]:
    with closing(connect(dsn)) as opened:
        yield opened


@pytest.mark.parametrize("queued_between", [True, False])
def test_last_of_two_concurrent_jobs_notifies_both(
    connection: Connection, database: Database, dsn: str, *, queued_between: bool
) -> None:
    create_accepted_request(connection, "ref-1", "ref-2")
    with open_connection(dsn) as other:
        with other.transaction():
            reconcile(other, [event("ref-2")])
            reconcile(connection, [event("ref-1")])
            if queued_between:
                queue_notifications(database)
                assert list_notified_statuses(connection) == []
        queue_notifications(database)
    assert list_notified_statuses(connection) == [["succeeded", "succeeded"]]
    assert list_outbox(connection) == []


def test_change_during_notification_is_notified_afterwards(
    connection: Connection, database: Database, dsn: str
) -> None:
    request = create_accepted_request(connection, "ref-1")
    reconcile(connection, [event("ref-1")])
    with open_connection(dsn) as slow:
        with slow.transaction():
            assert take_outbox(slow, 10) == [request]
            reconcile(connection, [event("ref-1", JobStatus.FAILED, at=1, superseding=True)])
            queue_notifications(database)
            assert list_notified_statuses(connection) == []
            assert len(list_outbox(connection)) == 2
        # The slow transaction ended without queueing a notification.
        queue_notifications(database)
    assert list_notified_statuses(connection) == [["failed"]]


def test_locked_request_is_skipped_and_keeps_its_entry(connection: Connection, database: Database, dsn: str) -> None:
    locked, free = create_accepted_request(connection, "ref-1"), create_accepted_request(connection, "ref-2")
    reconcile(connection, [event("ref-1"), event("ref-2")])
    with open_connection(dsn) as other, other.transaction():
        other.execute("SELECT FROM requests WHERE id = %s FOR UPDATE", [locked])
        queue_notifications(database)
        assert list_outbox(connection) == [locked]
    queue_notifications(database)
    assert [request.metadata["request_id"] for request in list_requests(connection, NOTIFICATIONS).items] == [
        str(locked),
        str(free),
    ]


def test_rolled_back_notification_keeps_its_entry(connection: Connection, database: Database) -> None:
    create_accepted_request(connection, "ref-1")
    reconcile(connection, [event("ref-1")])
    connection.execute("ALTER TABLE requests ADD CONSTRAINT broken CHECK (provider <> 'notify')")
    with pytest.raises(Exception, match="broken"):
        queue_notifications(database)
    assert len(list_outbox(connection)) == 1
    connection.execute("ALTER TABLE requests DROP CONSTRAINT broken")
    queue_notifications(database)
    assert list_notified_statuses(connection) == [["succeeded"]]


def test_entry_of_deleted_request_is_dropped(connection: Connection, database: Database) -> None:
    connection.execute("INSERT INTO notification_outbox (request_id) VALUES (gen_random_uuid())")
    queue_notifications(database)
    assert list_outbox(connection) == []


def test_concurrent_workers_notify_each_request_once(connection: Connection, database: Database) -> None:
    requests = [create_accepted_request(connection, f"ref-{number}") for number in range(150)]
    reconcile(connection, [event(f"ref-{number}") for number in range(150)])
    connection.execute("INSERT INTO notification_outbox (request_id) SELECT request_id FROM notification_outbox")

    def queue_until_empty() -> None:
        while has_entries():
            queue_notifications(database)

    def has_entries() -> bool:
        with database.connection() as own_connection:
            return bool(list_outbox(own_connection))

    workers = [Thread(target=queue_until_empty) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    notifications = list_requests(connection, NOTIFICATIONS, PageRequest(limit=500)).items
    assert sorted(notification.metadata["request_id"] for notification in notifications) == sorted(map(str, requests))


def test_notification_contains_first_jobs_and_total(connection: Connection, database: Database) -> None:
    references = [f"ref-{number}" for number in range(MAX_NOTIFIED_JOBS + 1)]
    create_accepted_request(connection, *references)
    reconcile(connection, [event(reference) for reference in references[1:]])
    queue_notifications(database)
    assert list_notified_statuses(connection) == []
    reconcile(connection, [event(references[0])])
    queue_notifications(database)
    [notification] = list_requests(connection, NOTIFICATIONS).items
    data = get_data(notification)
    assert (len(data["jobs"]), data["jobs_total"]) == (MAX_NOTIFIED_JOBS, MAX_NOTIFIED_JOBS + 1)


def test_matched_request_is_notified_and_conflicting_one_is_not(connection: Connection) -> None:
    reconcile(connection, [event("ref-1")])
    assert list_outbox(connection) == []
    owner = create_accepted_request(connection, "ref-1")
    assert list_outbox(connection) == [owner]
    reconcile(
        connection, [event("ref-1", JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=uuid4(), notify=False)]
    )
    reconcile(connection, [event("ref-1", JobStatus.FAILED, at=1, superseding=True)])
    assert set(list_outbox(connection)) == {owner}
    assert len(list_outbox(connection)) > 1


def test_job_without_notify_writes_no_entry(connection: Connection) -> None:
    create_accepted_request(connection, "ref-1", notify=False)
    reconcile(connection, [event("ref-1")])
    assert list_outbox(connection) == []


def test_jobs_of_one_request_finish_without_waiting_for_each_other(connection: Connection, dsn: str) -> None:
    create_accepted_request(connection, "ref-1", "ref-2")
    with open_connection(dsn) as other, other.transaction():
        reconcile(other, [event("ref-1")])
        finishing = Thread(target=lambda: reconcile(connection, [event("ref-2")]))
        finishing.start()
        wait_for(lambda: not finishing.is_alive() or find_lock_waiters(other))
        assert not finishing.is_alive()


def test_every_statement_that_finishes_a_request_writes_an_entry() -> None:
    """A new statement either writes an entry, or is listed in `NOT_FINISHING` with the reason."""
    texts = {name: text.decode() for name, text in load_statements().items()}
    finishing = {
        name for name, text in texts.items() if re.search(r"UPDATE requests SET\s+(\w+ = [^,]+,\s*)*status\b", text)
    }
    assert {"record_outcomes", "expire_requests", "cancel_requests"} <= finishing
    assert {name for name in finishing if "INSERT INTO notification_outbox" not in texts[name]} == set(NOT_FINISHING)
