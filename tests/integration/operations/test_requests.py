"""Operators' actions on requests: retry, cancel, and the resolution of an unknown request."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from receiver.domain.access import OperatorAction
from receiver.domain.errors import StateConflict
from receiver.domain.jobs import JobStatus
from receiver.domain.sending import RequestStatus
from receiver.operations.requests import RequestResolution, cancel, resolve, retry, send_now
from receiver.reconcile import reconcile
from receiver.store.actions import find_actions
from receiver.store.connections import Connection
from receiver.store.requests import NewRequest, Request, find_request_details, find_requests, submit_requests
from tests.support.factories import NOON, event, provider

OPERATOR = OperatorAction("ops", NOON, "seen in their console")


def create_request(connection: Connection, status: str = "queued") -> Request:
    request_id = uuid4()
    submit_requests(connection, [NewRequest(request_id, "sandbox", "send", {}, {}, None, None, 3_600.0)])
    if status != "queued":
        finished = status in {"rejected", "failed", "cancelled", "completed"}
        connection.execute(
            "UPDATE requests SET status = %s, due_at = NULL, finished_at = CASE WHEN %s THEN now() END WHERE id = %s",
            [status, finished, request_id],
        )
    return find_stored_request(connection, request_id)


def find_stored_request(connection: Connection, request_id: UUID) -> Request:
    [request] = find_requests(connection, [request_id])
    return request


@pytest.mark.parametrize("status", ["rejected", "failed", "unknown", "cancelled"])
def test_retry_queues_the_request_again(connection: Connection, status: str) -> None:
    request = create_request(connection, status)
    retry(connection, request, provider(), "ops", "they fixed it")
    assert find_stored_request(connection, request.id).status is RequestStatus.QUEUED
    [action] = find_actions(connection, request.id)
    assert (action.action, action.actor, action.reason) == ("retry", "ops", "they fixed it")


def test_queued_request_or_unconfigured_provider_is_not_retried(connection: Connection) -> None:
    with pytest.raises(StateConflict, match="The request is queued"):
        retry(connection, create_request(connection), provider(), "ops", None)
    with pytest.raises(StateConflict, match="not configured"):
        retry(connection, create_request(connection, "failed"), None, "ops", None)


def test_waiting_request_is_sent_now(connection: Connection) -> None:
    request = create_request(connection)
    connection.execute("UPDATE requests SET due_at = now() + interval '1 hour' WHERE id = %s", [request.id])
    send_now(connection, request, provider(), "ops", "they are back")
    due_at = find_stored_request(connection, request.id).due_at
    assert due_at is not None
    assert due_at - request.created_at < timedelta(minutes=1)
    assert [action.action for action in find_actions(connection, request.id)] == ["send-now"]
    with pytest.raises(StateConflict, match="Only a queued request"):
        send_now(connection, create_request(connection, "failed"), provider(), "ops", None)
    with pytest.raises(StateConflict, match="not configured"):
        send_now(connection, create_request(connection), None, "ops", None)


def test_queued_request_is_cancelled(connection: Connection) -> None:
    request = create_request(connection)
    cancel(connection, request, None, "ops", "sent by mistake")
    assert find_stored_request(connection, request.id).status is RequestStatus.CANCELLED
    assert [action.action for action in find_actions(connection, request.id)] == ["cancel"]
    with pytest.raises(StateConflict, match="Only a queued request"):
        cancel(connection, find_stored_request(connection, request.id), None, "ops", None)


def test_resolution_as_accepted_creates_open_jobs(connection: Connection) -> None:
    request = create_request(connection, "unknown")
    with connection.transaction():
        resolve(connection, request, provider(), RequestResolution(RequestStatus.ACCEPTED, ["a", "b"]), OPERATOR)
    stored = find_stored_request(connection, request.id)
    assert (stored.status, stored.detail) == (RequestStatus.ACCEPTED, "resolved by ops: seen in their console")
    [jobs] = [detail.jobs for detail in find_request_details(connection, [request.id])]
    assert {(job.reference, job.status) for job in jobs} == {("a", JobStatus.ACCEPTED), ("b", JobStatus.ACCEPTED)}
    [action] = find_actions(connection, request.id)
    assert (action.action, action.reason) == ("resolve", "accepted as a, b: seen in their console")


def test_queued_request_is_not_resolved(connection: Connection) -> None:
    request = create_request(connection)
    with pytest.raises(StateConflict, match="Only one that is unknown or has a reference conflict"):
        resolve(connection, request, provider(), RequestResolution(RequestStatus.FAILED, []), OPERATOR)


def test_reference_of_another_request_is_a_conflict(connection: Connection) -> None:
    owner = uuid4()
    reconcile(connection, [event("a", JobStatus.ACCEPTED, request_id=owner)])
    request = create_request(connection, "unknown")
    with pytest.raises(StateConflict, match=str(owner)), connection.transaction():
        resolve(connection, request, provider(), RequestResolution(RequestStatus.ACCEPTED, ["a"]), OPERATOR)
    assert find_stored_request(connection, request.id).status is RequestStatus.UNKNOWN
