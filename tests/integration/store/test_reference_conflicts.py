"""Reference conflicts: who is flagged, how a conflict ends, and what waits for that."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from receiver.domain.access import OperatorAction
from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.domain.sending import REFERENCE_CONFLICT_DETAIL, RequestStatus
from receiver.operations.requests import RequestResolution, resolve
from receiver.outbound.notifications import queue_notifications
from receiver.reconcile import reconcile_responses
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.notifications import find_pending_notifications
from receiver.store.prune import FinishedWork, compute_cutoff, remove_finished_work
from receiver.store.reference_conflicts import expire_reference_conflicts
from receiver.store.requests import NewRequest, Request, find_requests, submit_requests
from receiver.store.stats import count_attention
from tests.support.factories import NOON, event, provider

OPERATOR = OperatorAction("ops", NOON, "seen in their console")


@dataclass(frozen=True)
class ConflictScene:
    """Accepted requests to the sandbox, and the responses that named their jobs."""

    connection: Connection

    def respond(self, *references: str, status: str = "accepted") -> UUID:
        """Create a request whose response names these references."""
        request = NewRequest(uuid4(), "sandbox", "send", {}, {}, None, None, 60.0, "https://shop.example/webhook")
        submit_requests(self.connection, [request])
        finished = status not in {"accepted", "unknown"}
        self.connection.execute(
            """UPDATE requests SET status = %s, due_at = NULL, finished_at = CASE WHEN %s THEN now() END
            WHERE id = %s""",
            [status, finished, request.id],
        )
        events = [
            event(reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request.id, notify=True)
            for reference in references
        ]
        with self.connection.transaction():
            reconcile_responses(self.connection, events)
        return request.id

    def find(self, request_id: UUID) -> Request:
        [request] = find_requests(self.connection, [request_id])
        return request

    def resolve(self, request_id: UUID, status: RequestStatus, *references: str) -> None:
        resolution = RequestResolution(status, references)
        with self.connection.transaction():
            resolve(self.connection, self.find(request_id), provider(), resolution, OPERATOR)

    def pass_deadlines(self) -> int:
        self.connection.execute("UPDATE requests SET conflict_deadline_at = now() WHERE conflict_deadline_at > now()")
        return expire_reference_conflicts(self.connection, 10)

    def count_conflicts(self) -> int:
        return count_attention(self.connection, ["sandbox"], ["sandbox"])["sandbox"].reference_conflict

    def is_notified(self, database: Database, request_id: UUID) -> bool:
        """Return whether a notification about a request has been queued, after queueing all that are due."""
        queue_notifications(database)
        row = self.connection.execute(
            "SELECT FROM requests WHERE provider = 'notify' AND metadata ->> 'request_id' = %s", [str(request_id)]
        ).fetchone()
        return row is not None

    def is_pruned(self, request_id: UUID) -> bool:
        self.connection.execute("DELETE FROM requests WHERE provider = 'notify'")
        with self.connection.transaction():
            removed = remove_finished_work(
                self.connection, FinishedWork([request_id], []), compute_cutoff(self.connection, -60.0)
            )
        return removed.requests == 1


@pytest.fixture
def conflicts(connection: Connection) -> ConflictScene:
    return ConflictScene(connection)


def test_second_request_of_a_reference_is_flagged(conflicts: ConflictScene) -> None:
    owner, other = conflicts.respond("counter-1"), conflicts.respond("counter-1")
    assert [conflicts.find(request_id).reference_conflict for request_id in (owner, other)] == [False, True]
    assert f"of request {owner}" in (conflicts.find(other).detail or "")
    assert conflicts.count_conflicts() == 1


def test_several_conflicts_of_a_request_are_all_counted_in_its_detail(conflicts: ConflictScene) -> None:
    references = [f"counter-{number}" for number in range(5)]
    owner = conflicts.respond(*references)
    ids = [derive_job_id("sandbox", reference) for reference in references]
    three = "; ".join(f"{REFERENCE_CONFLICT_DETAIL} {job_id} of request {owner}" for job_id in ids[:3])
    assert conflicts.find(conflicts.respond(*references[:3])).detail == three
    five = f"{three}; and with 2 more references of other requests"
    assert conflicts.find(conflicts.respond(*references)).detail == five


@pytest.mark.parametrize("status", ["rejected", "completed", "unknown"])
def test_request_that_does_not_wait_for_its_jobs_is_not_flagged(conflicts: ConflictScene, status: str) -> None:
    conflicts.respond("counter-1")
    other = conflicts.find(conflicts.respond("counter-1", status=status))
    assert (other.status, other.reference_conflict) == (status, False)
    assert "reference of job" in (other.detail or "")


@pytest.mark.parametrize("status", [RequestStatus.COMPLETED, RequestStatus.REJECTED, RequestStatus.FAILED])
def test_resolved_conflict_is_notified_and_pruned(
    conflicts: ConflictScene, database: Database, status: RequestStatus
) -> None:
    conflicts.respond("counter-1")
    other = conflicts.respond("counter-1")
    assert not conflicts.is_notified(database, other)
    assert not conflicts.is_pruned(other)
    conflicts.resolve(other, status)
    assert (conflicts.find(other).status, conflicts.count_conflicts()) == (status, 0)
    assert conflicts.is_notified(database, other)
    assert conflicts.is_pruned(other)


def test_conflict_resolved_with_another_reference_has_a_job(conflicts: ConflictScene) -> None:
    conflicts.respond("counter-1")
    other = conflicts.respond("counter-1")
    conflicts.resolve(other, RequestStatus.ACCEPTED, "console-7")
    stored = conflicts.find(other)
    assert (stored.status, stored.reference_conflict) == (RequestStatus.ACCEPTED, False)
    assert conflicts.connection.execute("SELECT reference FROM jobs WHERE request_id = %s", [other]).fetchall() == [
        ("console-7",)
    ]


def test_unresolved_conflict_fails_at_the_deadline(conflicts: ConflictScene, database: Database) -> None:
    conflicts.respond("counter-1")
    other = conflicts.respond("counter-1")
    assert conflicts.pass_deadlines() == 1
    stored = conflicts.find(other)
    assert stored.status is RequestStatus.FAILED
    assert (stored.detail or "").endswith("its deadline passed before an operator resolved it")
    assert conflicts.count_conflicts() == 0
    assert conflicts.is_notified(database, other)
    assert conflicts.is_pruned(other)


def test_deadline_of_a_conflict_is_that_of_its_job(conflicts: ConflictScene) -> None:
    conflicts.respond("counter-1")
    conflicts.respond("counter-1")
    [row] = conflicts.connection.execute("SELECT conflict_deadline_at FROM requests ORDER BY 1 LIMIT 1").fetchall()
    assert row == (NOON + timedelta(seconds=provider().deadline),)


def end_by_resolution(conflicts: ConflictScene, request_id: UUID) -> None:
    conflicts.resolve(request_id, RequestStatus.ACCEPTED, "console-7")
    finish_jobs(conflicts, "console-7")


def end_by_deadline(conflicts: ConflictScene, request_id: UUID) -> None:
    conflicts.pass_deadlines()
    assert conflicts.find(request_id).status is RequestStatus.ACCEPTED


def finish_jobs(conflicts: ConflictScene, *references: str) -> None:
    with conflicts.connection.transaction():
        reconcile_responses(conflicts.connection, [event(reference, at=60) for reference in references])


@pytest.mark.parametrize("end", [end_by_resolution, end_by_deadline])
def test_final_jobs_of_a_request_are_notified_after_its_conflict(
    conflicts: ConflictScene, database: Database, end: Callable[[ConflictScene, UUID], None]
) -> None:
    conflicts.respond("counter-1")
    other = conflicts.respond("counter-1", "own-1")
    finish_jobs(conflicts, "own-1")
    assert not conflicts.is_notified(database, other)
    assert not conflicts.is_pruned(other)
    end(conflicts, other)
    assert conflicts.is_notified(database, other)
    assert find_pending_notifications(conflicts.connection, [other]) == []
    assert conflicts.is_pruned(other)


def test_conflicts_beyond_the_limit_stay_for_the_next_sweep(conflicts: ConflictScene) -> None:
    for number in range(3):
        conflicts.respond(f"counter-{number}")
        conflicts.respond(f"counter-{number}")
    conflicts.connection.execute("UPDATE requests SET conflict_deadline_at = now() WHERE conflict_deadline_at > now()")
    assert [expire_reference_conflicts(conflicts.connection, 2) for _ in range(3)] == [2, 1, 0]
