"""`/v1/requests` over real HTTP: submission, batches, lists, retries and cancellations."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import EventSource, JobStatus
from receiver.domain.sending import MAX_RESPONSE_BYTES
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.store.limits import ProviderCapacity
from receiver.store.requests import claim_requests
from tests.support.api_calls import (
    UNKNOWN_ID,
    build_submission,
    create_key,
    create_request,
    is_now,
    send,
    submit,
)
from tests.support.factories import event
from tests.support.http import Json, Server, parse_problem


def with_payload(**overrides: Any) -> Json:
    """Build a submission whose payload has other values."""
    body = build_submission()
    return body | {"payload": body["payload"] | overrides}


def test_submission_is_committed_and_located(api: Server, web_connection: Connection) -> None:
    body = build_submission(metadata={"order": 7, "tags": ["a", {"b": None}]})
    response = submit(api, body)
    assert response.status == 202
    request = response.json
    row = web_connection.execute(
        "SELECT provider, operation, payload, metadata, status FROM requests WHERE id = %s", [UUID(request["id"])]
    ).fetchone()
    assert row == (*body.values(), "queued")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["location"].endswith(f"/v1/requests/{request['id']}")
    assert api.call("GET", f"/v1/requests/{request['id']}").json == request
    assert {name: request[name] for name in body} == body
    assert {name: request[name] for name in ("status", "detail", "finished_at", "attempts", "jobs")} == {
        "status": "queued",
        "detail": None,
        "finished_at": None,
        "attempts": [],
        "jobs": [],
    }
    assert is_now(request["created_at"])
    assert is_now(request["due_at"])
    deadline = datetime.fromisoformat(request["deadline_at"]) - datetime.fromisoformat(request["due_at"])
    assert deadline == timedelta(seconds=600)


def test_submit_key_sees_and_changes_its_own_requests_only(api: Server) -> None:
    other, own = create_request(api)["id"], f"own-{uuid4().hex}"
    key, colleague = (create_key(api, client=own, scopes=["submit"]) for _ in range(2))
    mine = submit(api, build_submission(metadata={"order": own}), key=colleague).json["id"]
    for method, action in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry"), ("POST", "/send-now")):
        response = send(api, method, f"/v1/requests/{other}{action}", key=key)
        assert parse_problem(response)["status"] == 404
    assert send(api, "GET", f"/v1/requests/{other}").json["status"] == "queued"
    for query in ("", "?status=queued", "?provider=sandbox", f"?metadata.order={own}", "?limit=500"):
        assert [item["id"] for item in send(api, "GET", f"/v1/requests{query}", key=key).json["items"]] == [mine]
    assert send(api, "GET", f"/v1/requests/{mine}", key=key).json["id"] == mine
    assert send(api, "POST", f"/v1/requests/{mine}/cancel", key=key).json["status"] == "cancelled"
    assert send(api, "POST", f"/v1/requests/{mine}/retry", key=key).json["status"] == "queued"
    assert (
        send(api, "POST", f"/v1/requests/{mine}/resolve", {"status": "failed", "reason": "so"}, key=key).status == 403
    )


def test_idempotency_key_of_another_client_is_not_shared(api: Server) -> None:
    first, second = (create_key(api, scopes=["submit"]) for _ in range(2))
    ids = {submit(api, build_submission(), key=key, idempotency_key="1").json["id"] for key in (first, second)}
    assert len(ids) == 2


def test_send_after_and_deadline_are_stored(api: Server) -> None:
    request = create_request(api, send_after="2126-01-01T01:00:00+01:00", deadline="2126-01-02T00:00:00Z")
    assert datetime.fromisoformat(request["due_at"]) == datetime(2126, 1, 1, tzinfo=UTC)
    assert datetime.fromisoformat(request["deadline_at"]) == datetime(2126, 1, 2, tzinfo=UTC)


def test_past_send_after_means_now(api: Server) -> None:
    assert is_now(create_request(api, send_after="2020-01-01T00:00:00Z")["due_at"])


def deep(depth: int) -> bytes:
    """Build a submission with nested lists, too deep for our own encoder."""
    nested = f'{{"deep": {"[" * depth}{"]" * depth}}}'
    return json.dumps(build_submission(metadata="here")).replace('"here"', nested).encode()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", ["_body"]),
        (b"{", ["_body"]),
        (b'{"provider": NaN}', ["_body"]),
        (b"\xff\xfe", ["_body"]),
        (b"[" * 100_000, ["_body"]),
        (b"[]", ["_schema"]),
        (b'"text"', ["_schema"]),
        (build_submission(urgency=1), ["urgency"]),
        ({**build_submission(), "provider": None}, ["provider"]),
        ({"operation": "send", "payload": {}}, ["provider"]),
        ({"provider": "sandbox", "payload": {}}, ["operation"]),
        ({"provider": "sandbox", "operation": "send"}, ["payload"]),
        (build_submission(provider=7), ["provider"]),
        (build_submission(provider="nobody"), ["provider"]),
        (build_submission(provider=""), ["provider"]),
        (build_submission(provider="sandbox\0"), ["provider"]),
        (build_submission(operation=["send"]), ["operation"]),
        (build_submission(operation="fax"), ["operation"]),
        (build_submission(operation="se\0nd"), ["operation"]),
        (build_submission(payload=[]), ["payload"]),
        (build_submission(payload="hello"), ["payload"]),
        (build_submission(payload=None), ["payload"]),
        (build_submission(payload={}), ["payload", "client_reference"]),
        (with_payload(text=None), ["payload", "text"]),
        (with_payload(text="nul\0"), ["payload"]),
        (with_payload(text="lone \ud800"), []),
        (with_payload(text="long" * 1_000), ["payload", "text"]),
        (with_payload(to="2348030000000"), ["payload", "to"]),
        (with_payload(to=[]), ["payload", "to"]),
        (with_payload(to=["2348030000000", 5]), ["payload", "to", "1"]),
        (with_payload(callback_url="http://elsewhere.example"), ["payload", "callback_url"]),
        (with_payload(colour="red"), ["payload", "colour"]),
        (build_submission(metadata=[]), ["metadata"]),
        (build_submission(metadata={"a": ["nul\0"]}), ["metadata"]),
        (build_submission(metadata={"nul\0": 1}), ["metadata"]),
        (deep(300), []),
        (deep(950), []),
        (build_submission(metadata={"big": 10**30}), []),
        (build_submission(metadata={"big": 1e20}), []),
        (build_submission(send_after="tomorrow"), ["send_after"]),
        (build_submission(send_after="2126-01-01T00:00:00"), ["send_after"]),
        (build_submission(send_after=5), ["send_after"]),
        (build_submission(deadline="0001-01-01T00:00:00+14:00"), ["deadline"]),
        (build_submission(deadline="9999-12-31T23:59:59-14:00"), ["deadline"]),
    ],
)
def test_invalid_body_is_400_and_names_field(
    api: Server, web_connection: Connection, body: Json | bytes, field: list[str]
) -> None:
    before = web_connection.execute("SELECT count(*) FROM requests").fetchone()
    response = submit(api, body)
    assert response.status == 400, response
    errors = parse_problem(response)["errors"]
    assert errors
    for name in field:
        errors = errors[name]
    assert not field or (isinstance(errors, list) and all(isinstance(message, str) for message in errors))
    assert web_connection.execute("SELECT count(*) FROM requests").fetchone() == before


def test_all_errors_are_reported_at_once(api: Server) -> None:
    errors = parse_problem(submit(api, {"provider": 1, "operation": 2, "surprise": 3}))["errors"]
    assert errors.keys() == {"provider", "operation", "payload", "surprise"}


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_other_media_type_is_415(api: Server, media_type: str) -> None:
    response = submit(api, build_submission(), content_type=media_type)
    assert response.status == 415
    assert "application/json" in parse_problem(response)["detail"]


@pytest.mark.parametrize("chunked", [False, True])
def test_body_over_a_mebibyte_is_413(api: Server, chunked: bool) -> None:
    body = json.dumps(build_submission()).encode().ljust((1 << 20) + 1)
    response = api.call("POST", "/v1/requests", [body] if chunked else body)
    assert response.status == 413
    parse_problem(response)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/v1/requests/{UNKNOWN_ID}"),
        ("GET", f"/v1/jobs/{UNKNOWN_ID}"),
        ("GET", "/v1/requests/not-an-id"),
        ("GET", "/v1/jobs/%00"),
        ("POST", "/v1/providers/nobody/pause"),
        ("POST", "/v1/providers/nobody/resume"),
        ("GET", "/v1/nothing"),
        ("GET", "/"),
    ],
)
def test_unknown_object_or_path_is_404(api: Server, method: str, path: str) -> None:
    response = api.call(method, path)
    assert response.status == 404
    parse_problem(response)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/requests", "POST"),
        ("DELETE", f"/v1/requests/{UNKNOWN_ID}", "GET"),
        ("POST", f"/v1/jobs/{UNKNOWN_ID}", "GET"),
        ("POST", "/v1/providers", "GET"),
        ("GET", "/v1/providers/sandbox/pause", "POST"),
        ("POST", "/healthz", "GET"),
    ],
)
def test_wrong_method_is_405_with_allow(api: Server, method: str, path: str, allowed: str) -> None:
    response = api.call(method, path)
    assert response.status == 405
    assert allowed in response.headers["allow"]
    parse_problem(response)


def test_request_shows_attempts_and_jobs(api: Server, web_connection: Connection) -> None:
    request = UUID(create_request(api, provider="another", priority=9)["id"])  # claimed before those of other tests
    attempts = claim_requests(web_connection, [ProviderCapacity("another", 1)], {"another": 60.0})
    assert [attempt.request_id for attempt in attempts] == [request]
    web_connection.execute(
        "UPDATE attempts SET finished_at = now(), response_status = 202 WHERE id = %s", [attempts[0].id]
    )
    accepted = [
        event(f"{request}-{number}", JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request, at=number)
        for number in range(2)
    ]
    reconcile(web_connection, [*accepted, event(f"{request}-1", JobStatus.FAILED, at=9)])
    detail = api.call("GET", f"/v1/requests/{request}").json
    assert detail["status"] == "sending"
    (attempt,) = detail["attempts"]
    assert (attempt["number"], attempt["response_status"], attempt["error"]) == (1, 202, None)
    assert is_now(attempt["started_at"])
    assert is_now(attempt["finished_at"])
    assert [(job["reference"], job["status"], job["request_id"]) for job in detail["jobs"]] == [
        (f"{request}-0", "accepted", str(request)),
        (f"{request}-1", "failed", str(request)),
    ]


def test_only_admin_sees_responses_of_attempts(api: Server, web_connection: Connection) -> None:
    request = create_request(api, provider="another", priority=9)["id"]  # claimed before those of other tests
    [attempt] = claim_requests(web_connection, [ProviderCapacity("another", 1)], {"another": 60.0})
    body = b'{"id": 1, "odd": "\xff"}'
    web_connection.execute(
        """UPDATE attempts SET finished_at = now(), response_status = 422, response_headers = '{"x-trace": "t-1"}',
            response_body = %s WHERE id = %s""",
        [body, attempt.id],
    )
    path, names = f"/v1/requests/{request}", ("response_headers", "response_body", "response_truncated")

    def show(**key: Any) -> list[object]:
        shown = send(api, "GET", path, key=create_key(api, **key)).json["attempts"][0]
        assert shown["response_status"] == 422
        return [shown[name] for name in names]

    assert show(scopes=["admin", "read"]) == [{"x-trace": "t-1"}, '{"id": 1, "odd": "\\xff"}', False]
    assert show(scopes=["read"]) == [None, None, None]
    web_connection.execute(
        "UPDATE attempts SET response_body = %s WHERE id = %s", [b"x" * MAX_RESPONSE_BYTES, attempt.id]
    )
    assert show(scopes=["admin", "read"])[2] is True


def batch(*submissions: Json) -> Json:
    return {"requests": list(submissions)}


def test_batch_is_queued_and_listed_in_order(api: Server) -> None:
    submissions = [build_submission() for _ in range(1_000)]
    response = send(api, "POST", "/v1/requests/batch", batch(*submissions))
    assert response.status == 202
    assert [item["payload"] for item in response.json["items"]] == [item["payload"] for item in submissions]
    assert {item["status"] for item in response.json["items"]} == {"queued"}
    assert response.json["next_cursor"] is None


def test_batch_with_errors_is_refused_as_a_whole(api: Server, web_connection: Connection) -> None:
    before = web_connection.execute("SELECT count(*) FROM requests").fetchone()
    response = send(
        api,
        "POST",
        "/v1/requests/batch",
        batch(build_submission(), build_submission(operation="fax"), with_payload(to=[]), build_submission()),
    )
    assert response.status == 400
    assert parse_problem(response)["errors"]["requests"].keys() == {"1", "2"}
    assert web_connection.execute("SELECT count(*) FROM requests").fetchone() == before


@pytest.mark.parametrize("size", [0, 1_001])
def test_batch_size_is_limited(api: Server, size: int) -> None:
    small = {"provider": "sandbox", "operation": "send", "payload": {}}
    assert "requests" in parse_problem(send(api, "POST", "/v1/requests/batch", batch(*[small] * size)))["errors"]


def test_requests_are_found_by_metadata(api: Server) -> None:
    marker = uuid4().hex
    expected = create_request(api, metadata={"order": marker, "line": 7, "gift": True})
    create_request(api, metadata={"order": marker, "line": 8})
    page = send(
        api, "GET", f"/v1/requests?metadata.order={marker}&metadata[line]=7&metadata%5Bgift%5D=true&status=queued"
    ).json
    assert [item["id"] for item in page["items"]] == [expected["id"]]
    assert send(api, "GET", f"/v1/requests?metadata.order={marker}x").json == {"items": [], "next_cursor": None}


def test_list_continues_after_cursor(api: Server) -> None:
    marker = uuid4().hex
    ids = [create_request(api, metadata={"page": marker})["id"] for _ in range(5)]
    path, listed_ids = f"/v1/requests?metadata.page={marker}&limit=2", []
    cursor: str | None = ""
    while cursor is not None:
        page = send(api, "GET", f"{path}&cursor={cursor}" if cursor else path).json
        listed_ids += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert listed_ids == ids[::-1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%D9%A5", "limit"),
        (f"limit={'9' * 3_000}", "limit"),
        ("cursor=abc", "cursor"),
        ("status=done", "status"),
        ("provider=%00", "provider"),
        ("operation=%00", "operation"),
        ("created_from=yesterday", "created_from"),
        ("created_from=2026-01-01T00:00:00+01:00", "created_from"),
        ("created_to=2026-01-01", "created_to"),
        ("metadata.=1", "metadata.KEY"),
        ("metadata=1", "metadata"),
        ("metadata[]=1", "metadata.KEY"),
        ("metadata[a=1", "metadata[a"),
        ("metadata[a]=1&metadata.a=2", "metadata.a"),
        ("metadata[a]=1&metadata[a]=1", "metadata[a]"),
        ("metadata.a=%00", "metadata"),
        (f"metadata.a={'x' * 501}", "metadata"),
        ("status=queued&status=failed", "status"),
        ("colour=red", "colour"),
    ],
)
def test_invalid_query_is_400_and_names_parameter(api: Server, query: str, field: str) -> None:
    response = send(api, "GET", f"/v1/requests?{query}")
    assert response.status == 400, response
    assert field in parse_problem(response)["errors"]


def set_status(connection: Connection, request: str, status: str, *, ambiguous: bool = False) -> None:
    """Set a request's status, as after one attempt."""
    finished = "NULL" if status in {"unknown", "accepted", "queued"} else "now()"
    connection.execute(
        f"""UPDATE requests SET status = %(status)s, detail = 'as it was', failures = 1, attempts = 1,
        ambiguous = %(ambiguous)s, due_at = CASE WHEN %(status)s = 'queued' THEN now() END, finished_at = {finished}
        WHERE id = %(id)s""",
        {"status": status, "ambiguous": ambiguous, "id": UUID(request)},
    )


@pytest.mark.parametrize("status", ["rejected", "failed", "unknown", "cancelled"])
def test_retry_queues_request_and_records_action(api: Server, web_connection: Connection, status: str) -> None:
    request = create_request(api)["id"]
    set_status(web_connection, request, status)
    web_connection.execute("UPDATE requests SET deadline_at = now() WHERE id = %s", [UUID(request)])
    response = send(api, "POST", f"/v1/requests/{request}/retry", {"reason": "they mended it"})
    assert response.status == 202
    assert response.headers["location"].endswith(f"/v1/requests/{request}")
    again = response.json
    assert (again["status"], again["detail"], again["finished_at"]) == ("queued", None, None)
    assert is_now(again["due_at"])
    deadline = datetime.fromisoformat(again["deadline_at"]) - datetime.fromisoformat(again["due_at"])
    assert deadline == timedelta(seconds=600)
    (action,) = again["actions"]
    assert (action["actor"], action["action"], action["reason"]) == ("bootstrap", "retry", "they mended it")
    assert is_now(action["at"])


@pytest.mark.parametrize("status", ["queued", "accepted", "completed"])
def test_retry_is_409_for_queued_or_accepted_request(api: Server, web_connection: Connection, status: str) -> None:
    request = create_request(api)["id"]
    set_status(web_connection, request, status)
    response = send(api, "POST", f"/v1/requests/{request}/retry")
    assert response.status == 409
    detail = parse_problem(response)["detail"]
    assert status in detail
    assert ("send-now" in detail) == (status == "queued")
    assert send(api, "GET", f"/v1/requests/{request}").json["actions"] == []


def test_cancelled_request_is_never_sent(api: Server, web_connection: Connection) -> None:
    request = create_request(api, provider="tokened")["id"]
    response = send(api, "POST", f"/v1/requests/{request}/cancel", {"reason": "changed my mind"})
    assert response.status == 200
    assert (response.json["status"], response.json["due_at"]) == ("cancelled", None)
    assert is_now(response.json["finished_at"])
    assert [action["reason"] for action in response.json["actions"]] == ["changed my mind"]
    assert claim_requests(web_connection, [ProviderCapacity("tokened", 10)], {"tokened": 60.0}) == []
    assert send(api, "POST", f"/v1/requests/{request}/cancel").status == 409


def test_cancel_of_ambiguous_request_makes_it_unknown(api: Server, web_connection: Connection) -> None:
    request = create_request(api)["id"]
    set_status(web_connection, request, "queued", ambiguous=True)
    cancelled = send(api, "POST", f"/v1/requests/{request}/cancel").json
    assert (cancelled["status"], cancelled["finished_at"]) == ("unknown", None)
    assert "may have acted on" in cancelled["detail"]


@pytest.mark.parametrize("status", ["sending", "accepted"])
def test_cancel_is_409_for_sent_request(api: Server, web_connection: Connection, status: str) -> None:
    request = create_request(api, provider="tokened")["id"]
    if status == "sending":
        assert len(claim_requests(web_connection, [ProviderCapacity("tokened", 10)], {"tokened": 60.0})) == 1
    else:
        set_status(web_connection, request, status)
    response = send(api, "POST", f"/v1/requests/{request}/cancel")
    assert response.status == 409
    assert status in parse_problem(response)["detail"]


FAR_FUTURE = "2126-01-01T00:00:00Z"


def test_send_now_makes_waiting_request_due(api: Server, web_connection: Connection) -> None:
    request = create_request(api, send_after=FAR_FUTURE)
    web_connection.execute(
        "UPDATE requests SET attempts = 3, failures = 2 WHERE id = %s",
        [UUID(request["id"])],
    )
    response = send(api, "POST", f"/v1/requests/{request['id']}/send-now", {"reason": "the customer called"})
    assert response.status == 200
    assert is_now(response.json["due_at"])
    assert response.json["deadline_at"] == request["deadline_at"]
    [action] = response.json["actions"]
    assert (action["actor"], action["action"], action["reason"]) == ("bootstrap", "send-now", "the customer called")
    [failures] = web_connection.execute("SELECT failures FROM requests WHERE id = %s", [UUID(request["id"])])
    assert failures == (2,)


def test_send_now_leaves_due_request_in_its_place(api: Server) -> None:
    request = create_request(api)
    response = send(api, "POST", f"/v1/requests/{request['id']}/send-now")
    assert (response.status, response.json["due_at"]) == (200, request["due_at"])


@pytest.mark.parametrize("status", ["accepted", "unknown", "failed", "cancelled"])
def test_send_now_is_409_unless_queued(api: Server, web_connection: Connection, status: str) -> None:
    request = create_request(api)["id"]
    set_status(web_connection, request, status)
    response = send(api, "POST", f"/v1/requests/{request}/send-now")
    assert response.status == 409
    assert status in parse_problem(response)["detail"]
    assert send(api, "GET", f"/v1/requests/{request}").json["actions"] == []


def test_priority_is_stored_and_shown(api: Server) -> None:
    assert create_request(api)["priority"] == 5
    urgent = create_request(api, priority=9)
    assert send(api, "GET", f"/v1/requests/{urgent['id']}").json["priority"] == 9
    low = send(api, "POST", "/v1/requests/batch", batch(build_submission(priority=0.0))).json["items"][0]
    assert low["priority"] == 0


@pytest.mark.parametrize("priority", [-1, 10, 1.5, "high", True, None])
def test_invalid_priority_is_400(api: Server, priority: object) -> None:
    assert parse_problem(submit(api, build_submission(priority=priority)))["errors"].keys() == {"priority"}


def get_job_statuses(request: Json) -> dict[str, str]:
    return {job["reference"]: job["status"] for job in request["jobs"]}


def test_resolving_as_accepted_tracks_its_jobs(api: Server, web_connection: Connection) -> None:
    request = create_request(api)["id"]
    set_status(web_connection, request, "unknown", ambiguous=True)
    reference = f"ref-{uuid4().hex}"
    reconcile(web_connection, [event(reference, JobStatus.IN_PROGRESS)])
    body = {"status": "accepted", "references": [reference, f"{reference}-2"], "reason": "seen in their console"}
    response = send(api, "POST", f"/v1/requests/{request}/resolve", body)
    assert response.status == 200, response
    detail = response.json
    assert (detail["status"], detail["finished_at"]) == ("accepted", None)
    assert detail["detail"] == "resolved by bootstrap: seen in their console"
    assert get_job_statuses(detail) == {reference: "in_progress", f"{reference}-2": "accepted"}
    (action,) = detail["actions"]
    assert (action["actor"], action["action"]) == ("bootstrap", "resolve")
    assert action["reason"] == f"accepted as {reference}, {reference}-2: seen in their console"
    for job in detail["jobs"]:
        last_event = send(api, "GET", f"/v1/jobs/{job['id']}").json["events"][-1]
        assert (
            last_event["source"],
            last_event["status"],
            last_event["actor"],
            last_event["detail"],
            last_event["effect"],
        ) == (
            "operator",
            None,
            "bootstrap",
            "seen in their console",
            None,
        )
        due = web_connection.execute("SELECT poll_at <= now() FROM jobs WHERE id = %s", [UUID(job["id"])]).fetchone()
        assert due == (True,)


@pytest.mark.parametrize("status", ["completed", "rejected", "failed"])
def test_unknown_request_is_resolved(api: Server, web_connection: Connection, status: str) -> None:
    request = create_request(api)["id"]
    set_status(web_connection, request, "unknown")
    response = send(api, "POST", f"/v1/requests/{request}/resolve", {"status": status, "reason": "they say so"})
    assert (response.status, response.json["status"], response.json["jobs"]) == (200, status, [])
    assert is_now(response.json["finished_at"])


def test_resolving_with_foreign_reference_is_409(api: Server, web_connection: Connection) -> None:
    request, owner, reference = create_request(api)["id"], uuid4(), f"ref-{uuid4().hex}"
    set_status(web_connection, request, "unknown")
    reconcile(web_connection, [event(reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=owner)])
    before = send(api, "GET", f"/v1/requests/{request}").json
    body = {"status": "accepted", "references": [f"{reference}-new", reference], "reason": "a slip"}
    response = send(api, "POST", f"/v1/requests/{request}/resolve", body)
    assert response.status == 409
    assert f"belongs to request {owner}" in parse_problem(response)["detail"]
    assert send(api, "GET", f"/v1/requests/{request}").json == before
    assert send(api, "GET", f"/v1/jobs?reference={reference}-new").json["items"] == []


@pytest.mark.parametrize("status", ["queued", "accepted", "completed", "rejected", "failed", "cancelled"])
def test_resolving_is_409_unless_unknown(api: Server, web_connection: Connection, status: str) -> None:
    request = create_request(api)["id"]
    set_status(web_connection, request, status)
    response = send(api, "POST", f"/v1/requests/{request}/resolve", {"status": "completed", "reason": "so"})
    assert response.status == 409
    assert status in parse_problem(response)["detail"]
    assert send(api, "GET", f"/v1/requests/{request}").json["actions"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"status": "accepted", "reason": "so"}, "references"),
        ({"status": "accepted", "references": [], "reason": "so"}, "references"),
        ({"status": "accepted", "references": ["nul\0"], "reason": "so"}, "references"),
        ({"status": "accepted", "references": "r", "reason": "so"}, "references"),
        ({"status": "failed", "references": ["r"], "reason": "so"}, "references"),
        ({"status": "unknown", "reason": "so"}, "status"),
        ({"status": "completed"}, "reason"),
        ({"status": "completed", "reason": "so", "why": "so"}, "why"),
    ],
)
def test_invalid_resolution_is_400_and_names_field(api: Server, body: Json, field: str) -> None:
    response = send(api, "POST", f"/v1/requests/{UNKNOWN_ID}/resolve", body)
    assert response.status == 400
    assert field in parse_problem(response)["errors"]


def test_resolving_requires_admin(api: Server, web_connection: Connection) -> None:
    request = create_request(api)["id"]
    set_status(web_connection, request, "unknown")
    resolution = {"status": "completed", "reason": "so"}
    for key, status in ((create_key(api), 403), (create_key(api, scopes=["admin"], providers=["another"]), 404)):
        assert send(api, "POST", f"/v1/requests/{request}/resolve", resolution, key=key).status == status
    assert send(api, "POST", f"/v1/requests/{UNKNOWN_ID}/resolve", resolution).status == 404


@pytest.mark.parametrize("action", ["retry", "cancel"])
def test_actions_on_unknown_request_are_404(api: Server, action: str) -> None:
    assert send(api, "POST", f"/v1/requests/{UNKNOWN_ID}/{action}").status == 404


def test_invalid_reason_is_400_and_named(api: Server) -> None:
    request = create_request(api)["id"]
    for body in ({"reason": "nul\0"}, {"reason": 5}, {"why": "so"}, {"reason": ""}):
        response = send(api, "POST", f"/v1/requests/{request}/cancel", body)
        assert response.status == 400
        assert parse_problem(response)["errors"].keys() == body.keys()


def test_restricted_key_neither_uses_nor_sees_other_providers(api: Server) -> None:
    hidden, visible = create_request(api), create_request(api, provider="another")
    key = create_key(api, providers=["another"])
    assert send(api, "POST", "/v1/requests", build_submission(), key=key).status == 403
    assert send(api, "POST", "/v1/requests/batch", batch(build_submission()), key=key).status == 403
    assert send(api, "POST", "/v1/requests", build_submission(provider="another"), key=key).status == 202
    for path in ("", "/retry", "/cancel", "/send-now"):
        method = "POST" if path else "GET"
        assert send(api, method, f"/v1/requests/{hidden['id']}{path}", key=key).status == 404
    assert send(api, "GET", f"/v1/requests/{visible['id']}", key=key).status == 200
    items = send(api, "GET", "/v1/requests?limit=500", key=key).json["items"]
    assert {item["provider"] for item in items} == {"another"}
    assert send(api, "GET", "/v1/requests?provider=sandbox", key=key).json["items"] == []
