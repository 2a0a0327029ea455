"""`POST /v1/jobs`: tracking a job that the client obtained from the provider itself."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from marshmallow import ValidationError

from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.outbound.track import OPERATION
from receiver.providers.registry import build_provider
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.web.problems import ProblemType
from tests.support.api_calls import create_key, send
from tests.support.factories import event
from tests.support.http import Json, Response, Server, build_report, parse_problem
from tests.support.processes import Web

NOTIFY_URL = "https://shop.example/notifications"


def track(api: Server, reference: str, *, key: str | None = None, **fields: object) -> Response:
    """Track a reference of the sandbox unless `fields` name another provider."""
    return send(api, "POST", "/v1/jobs", {"provider": "sandbox", "reference": reference} | fields, key=key)


def show_request(api: Server, job: Json) -> Json:
    return send(api, "GET", f"/v1/requests/{job['request_id']}").json


def list_events(job: Json) -> list[tuple[str, str | None, str | None]]:
    return [(item["source"], item["status"], item["effect"]) for item in job["events"]]


def test_tracked_job_belongs_to_accepted_request(api: Server, reference: str) -> None:
    key = create_key(api, name=f"shop-{reference}")
    response = track(api, reference, key=key, metadata={"order": 7})
    job = response.json
    assert (response.status, response.headers["location"]) == (201, f"/v1/jobs/{job['id']}")
    assert (job["id"], job["status"]) == (str(derive_job_id("sandbox", reference)), "accepted")
    assert list_events(job) == [("response", "accepted", "applied")]
    assert job["events"][0]["actor"] == f"shop-{reference}"
    request = show_request(api, job)
    assert (request["status"], request["operation"], request["attempts"]) == ("accepted", OPERATION, [])
    assert (request["metadata"], request["payload"]) == ({"order": 7}, {"reference": reference})
    assert [item["id"] for item in request["jobs"]] == [job["id"]]


def test_trace_of_tracked_job_is_stored(api: Server, web_connection: Connection, reference: str) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    body = {"provider": "sandbox", "reference": reference}
    job = send(api, "POST", "/v1/jobs", body, traceparent=traceparent).json
    row = web_connection.execute("SELECT traceparent FROM requests WHERE id = %s", [job["request_id"]]).fetchone()
    assert row == (traceparent,)


def test_tracked_job_is_finished_by_its_callback(api: Server, web: Web, reference: str) -> None:
    job = track(api, reference).json
    assert web.call_back(build_report(reference), "sandbox").status == 200
    assert send(api, "GET", f"/v1/jobs/{job['id']}").json["status"] == "succeeded"


def test_callback_that_came_first_counts(api: Server, web: Web, web_connection: Connection, reference: str) -> None:
    assert web.call_back(build_report(reference), "sandbox").status == 200
    job = track(api, reference, notify_url=NOTIFY_URL).json
    assert (job["status"], job["unmatched"]) == ("succeeded", False)
    assert list_events(job) == [("callback", "succeeded", "applied"), ("response", "accepted", "stale")]
    find_entry = "SELECT FROM notification_outbox WHERE request_id = %s"
    assert web_connection.execute(find_entry, [UUID(job["request_id"])]).fetchone() is not None


def test_tracked_job_is_notified_by_its_events(api: Server, web_connection: Connection, reference: str) -> None:
    job = track(api, reference, notify_url=NOTIFY_URL, notify_events=["job_change"]).json
    find_entry = "SELECT request_id FROM job_notification_outbox WHERE job_id = %s"
    assert web_connection.execute(find_entry, [job["id"]]).fetchall() == [(UUID(job["request_id"]),)]


def test_deadline_of_tracked_job(api: Server, web_connection: Connection, reference: str) -> None:
    deadline = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    job = track(api, reference, deadline=deadline.isoformat()).json
    assert datetime.fromisoformat(job["deadline_at"]) == deadline
    reconcile(web_connection, [event(f"{reference}-early", JobStatus.IN_PROGRESS)])
    job = track(api, f"{reference}-early", deadline=deadline.isoformat()).json
    assert datetime.fromisoformat(job["deadline_at"]) == deadline
    before = datetime.now(UTC)
    by_default = datetime.fromisoformat(track(api, f"{reference}-default").json["deadline_at"])
    assert timedelta(seconds=0) <= by_default - before - timedelta(seconds=600) < timedelta(seconds=10)


def test_tracked_job_of_polled_provider_is_polled(api: Server, web_connection: Connection, reference: str) -> None:
    job = track(api, reference).json
    row = web_connection.execute("SELECT poll_at > accepted_at FROM jobs WHERE id = %s", [job["id"]]).fetchone()
    assert row == (True,)


def test_reference_tracked_again_is_the_same_job(api: Server, web_connection: Connection, reference: str) -> None:
    first = track(api, reference, metadata={"order": 7})
    again = track(api, reference, metadata={"order": 8})
    assert (again.status, again.json, again.headers["location"]) == (200, first.json, first.headers["location"])
    count = "SELECT count(*) FROM requests WHERE payload ->> 'reference' = %s"
    assert web_connection.execute(count, [reference]).fetchone() == (1,)


def test_reference_of_another_request_is_a_conflict(api: Server, web_connection: Connection, reference: str) -> None:
    job = track(api, reference, key=create_key(api)).json
    refused = track(api, reference, key=create_key(api, scopes=["submit"]))
    detail = parse_problem(refused, ProblemType.STATE_CONFLICT)["detail"]
    assert detail == "The job with this reference belongs to another request. Check the reference."
    assert send(api, "GET", f"/v1/jobs/{job['id']}").json == job
    response_event = event(f"{reference}-sent", JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=uuid4())
    reconcile(web_connection, [response_event])
    parse_problem(track(api, f"{reference}-sent"), ProblemType.STATE_CONFLICT)
    count = "SELECT count(*) FROM requests WHERE payload ->> 'reference' LIKE %s"
    assert web_connection.execute(count, [f"{reference}%"]).fetchone() == (1,)


def test_concurrent_calls_track_one_job(api: Server, web_connection: Connection, reference: str) -> None:
    own, other = create_key(api), create_key(api)
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda number: track(api, reference, key=(own, other)[number % 2]), range(16)))
    statuses = [response.status for response in responses]
    assert (statuses.count(201), statuses.count(200), statuses.count(409)) == (1, 7, 8)
    assert len({response.json["request_id"] for response in responses if response.status < 300}) == 1
    count = "SELECT count(*) FROM requests WHERE payload ->> 'reference' = %s"
    assert web_connection.execute(count, [reference]).fetchone() == (1,)


def test_callback_during_tracking_is_not_lost(api: Server, web_connection: Connection, reference: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        with web_connection.transaction():
            reconcile(web_connection, [event(reference)])
            tracking = pool.submit(track, api, reference)
            assert not tracking.done()
        job = tracking.result().json
    assert (job["status"], job["unmatched"]) == ("succeeded", False)


@pytest.mark.parametrize("repetition", [201, 200])
def test_idempotency_key_repeats_first_response(api: Server, reference: str, repetition: int) -> None:
    if repetition == 200:
        track(api, reference)
    body, key = {"provider": "sandbox", "reference": reference}, uuid4().hex
    first, again = (send(api, "POST", "/v1/jobs", body, idempotency_key=key) for _ in range(2))
    assert (first.status, again.status) == (repetition, repetition)
    assert again.body == first.body
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" in again.headers
    other = send(api, "POST", "/v1/jobs", body | {"reference": "other"}, idempotency_key=key)
    parse_problem(other, ProblemType.IDEMPOTENCY_KEY_REUSED)


def test_tracked_job_is_its_clients_own(api: Server, reference: str) -> None:
    own, other = create_key(api, scopes=["submit"]), create_key(api, scopes=["submit"])
    job = track(api, reference, key=own).json
    assert send(api, "GET", f"/v1/jobs/{job['id']}", key=own).status == 200
    assert send(api, "GET", f"/v1/jobs/{job['id']}", key=other).status == 404
    parse_problem(track(api, reference, key=create_key(api, scopes=["read"])), ProblemType.INSUFFICIENT_SCOPE)
    parse_problem(track(api, reference, key=create_key(api, providers=["another"])), ProblemType.PROVIDER_NOT_ALLOWED)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"provider": "nobody"}, "is not configured"),
        ({"reference": ""}, "Length must be"),
        ({"reference": 7}, "Not a valid string."),
        ({"notify_url": "https://evil.example/"}, "RECEIVER_NOTIFY_HOSTS"),
        ({"deadline": "tomorrow"}, "Not a valid datetime."),
        ({"location": "/jobs/7"}, "Unknown field."),
    ],
)
def test_invalid_tracking_is_refused(api: Server, reference: str, fields: Json, error: str) -> None:
    [[message]] = parse_problem(track(api, **{"reference": reference} | fields))["errors"].values()
    assert error in message


def test_operation_of_tracked_requests_cannot_be_configured() -> None:
    table = {"kind": "declared", "base_url": "https://api.acme.example", "operations": {OPERATION: {"path": "/v1"}}}
    with pytest.raises(ValidationError) as error:
        build_provider("acme", table)
    assert OPERATION in str(error.value)
