"""Notices: who writes them, and that no end is lost or told wrongly when several transactions work at once."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from threading import Thread
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import EventSource, JobStatus
from receiver.outbound.notifications import queue_notifications
from receiver.providers.webhook import NAME
from receiver.reconcile import reconcile
from receiver.schemas.api.requests import MOST_JOBS_TOLD
from receiver.store.database import Connection, Database, connect
from receiver.store.notifications import take_outbox
from receiver.store.requests import NewRequest, list_requests, submit_requests
from tests.factories import event
from tests.processes import wait_for, waiting_for_locks

NOTHING_ENDS = {
    "claim_requests": "begins an attempt",
    "retry_request": "begins anew",
}


def accepted(connection: Connection, *references: str, notify: bool = True) -> UUID:
    """Make a request that was taken, with a job for each reference; its client wants to be told."""
    request = NewRequest(uuid4(), "sandbox", "send", {}, {}, None, None, 60.0, "https://shop.example/webhook")
    submit_requests(connection, [request])
    connection.execute("UPDATE requests SET status = 'accepted', due_at = NULL WHERE id = %s", [request.id])
    response = [
        event(reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request.id, notify=notify)
        for reference in references
    ]
    reconcile(connection, response)
    return request.id


def told(connection: Connection) -> list[list[str]]:
    """Give the statuses of the jobs in each notification, the newest first."""
    found = list_requests(connection, providers=[NAME]).items
    return [[job["status"] for job in one.payload["body"]["data"]["jobs"]] for one in found]


def notices(connection: Connection) -> list[UUID]:
    return [
        request_id for (request_id,) in connection.execute("SELECT request_id FROM notification_outbox ORDER BY id")
    ]


@contextmanager
def another(dsn: str) -> Iterator[Connection]:
    with closing(connect(dsn)) as opened:
        yield opened


@pytest.mark.parametrize("looked_between", [True, False])
def test_of_two_jobs_that_end_at_once_whoever_commits_last_has_both_told(
    connection: Connection, database: Database, dsn: str, *, looked_between: bool
) -> None:
    accepted(connection, "ref-1", "ref-2")
    with another(dsn) as other:
        with other.transaction():
            reconcile(other, [event("ref-2")])
            reconcile(connection, [event("ref-1")])
            if looked_between:
                queue_notifications(database)
                assert told(connection) == []
        queue_notifications(database)
    assert told(connection) == [["succeeded", "succeeded"]]
    assert notices(connection) == []


def test_what_ends_while_it_is_being_told_is_told_afterwards_and_not_before(
    connection: Connection, database: Database, dsn: str
) -> None:
    request = accepted(connection, "ref-1")
    reconcile(connection, [event("ref-1")])
    with another(dsn) as slow:
        with slow.transaction():
            assert take_outbox(slow, 10) == [request]
            reconcile(connection, [event("ref-1", JobStatus.FAILED, at=1, superseding=True)])
            queue_notifications(database)
            assert told(connection) == []
            assert len(notices(connection)) == 2
        # As if the slow one had found nothing to tell.
        queue_notifications(database)
    assert told(connection) == [["failed"]]


def test_nothing_waits_for_a_request_that_is_locked_and_its_notice_stays(
    connection: Connection, database: Database, dsn: str
) -> None:
    locked, free = accepted(connection, "ref-1"), accepted(connection, "ref-2")
    reconcile(connection, [event("ref-1"), event("ref-2")])
    with another(dsn) as other, other.transaction():
        other.execute("SELECT FROM requests WHERE id = %s FOR UPDATE", [locked])
        queue_notifications(database)
        assert notices(connection) == [locked]
    queue_notifications(database)
    assert [one.metadata["request_id"] for one in list_requests(connection, providers=[NAME]).items] == [
        str(locked),
        str(free),
    ]


def test_what_is_rolled_back_is_neither_told_nor_forgotten(connection: Connection, database: Database) -> None:
    accepted(connection, "ref-1")
    reconcile(connection, [event("ref-1")])
    connection.execute("ALTER TABLE requests ADD CONSTRAINT broken CHECK (provider <> 'notify')")
    with pytest.raises(Exception, match="broken"):
        queue_notifications(database)
    assert len(notices(connection)) == 1
    connection.execute("ALTER TABLE requests DROP CONSTRAINT broken")
    queue_notifications(database)
    assert told(connection) == [["succeeded"]]


def test_the_notice_of_a_request_that_is_gone_is_dropped(connection: Connection, database: Database) -> None:
    connection.execute("INSERT INTO notification_outbox (request_id) VALUES (gen_random_uuid())")
    queue_notifications(database)
    assert notices(connection) == []


def test_many_workers_tell_each_end_once(connection: Connection, database: Database) -> None:
    requests = [accepted(connection, f"ref-{number}") for number in range(150)]
    reconcile(connection, [event(f"ref-{number}") for number in range(150)])
    connection.execute("INSERT INTO notification_outbox (request_id) SELECT request_id FROM notification_outbox")

    def work() -> None:
        while notices_left():
            queue_notifications(database)

    def notices_left() -> bool:
        with database.connection() as own:
            return bool(notices(own))

    workers = [Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = list_requests(connection, providers=[NAME], limit=500).items
    assert sorted(one.metadata["request_id"] for one in found) == sorted(map(str, requests))


def test_of_very_many_jobs_the_first_are_told_and_how_many_there_are(
    connection: Connection, database: Database
) -> None:
    references = [f"ref-{number}" for number in range(MOST_JOBS_TOLD + 1)]
    accepted(connection, *references)
    reconcile(connection, [event(reference) for reference in references[1:]])
    queue_notifications(database)
    assert told(connection) == []
    reconcile(connection, [event(references[0])])
    queue_notifications(database)
    [notification] = list_requests(connection, providers=[NAME]).items
    data = notification.payload["body"]["data"]
    assert (len(data["jobs"]), data["jobs_total"]) == (MOST_JOBS_TOLD, MOST_JOBS_TOLD + 1)


def test_a_tie_brings_the_wish_to_be_told_along_and_another_claimant_does_not(connection: Connection) -> None:
    reconcile(connection, [event("ref-1")])
    assert notices(connection) == []
    owner = accepted(connection, "ref-1")
    assert notices(connection) == [owner]
    reconcile(
        connection, [event("ref-1", JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=uuid4(), notify=False)]
    )
    reconcile(connection, [event("ref-1", JobStatus.FAILED, at=1, superseding=True)])
    assert set(notices(connection)) == {owner}
    assert len(notices(connection)) > 1


def test_no_notice_is_written_for_jobs_that_nobody_wants_to_be_told_of(connection: Connection) -> None:
    accepted(connection, "ref-1", notify=False)
    reconcile(connection, [event("ref-1")])
    assert notices(connection) == []


def test_two_who_end_jobs_of_one_request_do_not_wait_for_each_other(connection: Connection, dsn: str) -> None:
    accepted(connection, "ref-1", "ref-2")
    with another(dsn) as other, other.transaction():
        reconcile(other, [event("ref-1")])
        ending = Thread(target=lambda: reconcile(connection, [event("ref-2")]))
        ending.start()
        wait_for(lambda: not ending.is_alive() or waiting_for_locks(other))
        assert not ending.is_alive()


def test_every_statement_that_ends_a_request_leaves_a_notice() -> None:
    """Who writes another has to decide: leave one, or say above why nothing ends by it."""
    sql = files("receiver.store").joinpath("sql")
    texts = {one.name.removesuffix(".sql"): one.read_text() for one in sql.iterdir() if one.name.endswith(".sql")}
    ending = {
        name for name, text in texts.items() if re.search(r"UPDATE requests SET\s+(\w+ = [^,]+,\s*)*status\b", text)
    }
    assert {"record_outcomes", "expire_requests", "cancel_request"} <= ending
    assert {name for name in ending if "INSERT INTO notification_outbox" not in texts[name]} == set(NOTHING_ENDS)
