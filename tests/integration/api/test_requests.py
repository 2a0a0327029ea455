"""`/v1/requests` over real HTTP: submission, batches, lists, retries and cancellations."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import EventSource, JobStatus
from receiver.reconcile import reconcile
from receiver.store.database import Connection
from receiver.store.limits import ProviderCapacity
from receiver.store.requests import claim_requests
from tests.factories import event
from tests.http import Json, Server, problem_of
from tests.integration.api.calls import ANY, is_now, new_key, post, send, submission, submitted


def payload(**overrides: Any) -> Json:
    """Give a submission with another payload."""
    given = submission()
    return given | {"payload": given["payload"] | overrides}


def test_a_request_is_accepted_with_its_place_and_committed_before_the_answer(
    api: Server, connection: Connection
) -> None:
    given = submission(metadata={"order": 7, "tags": ["a", {"b": None}]})
    response = post(api, given)
    assert response.status == 202
    request = response.json
    row = connection.execute(
        "SELECT provider, operation, payload, metadata, status FROM requests WHERE id = %s", [UUID(request["id"])]
    ).fetchone()
    assert row == (*given.values(), "queued")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["location"].endswith(f"/v1/requests/{request['id']}")
    assert api.call("GET", f"/v1/requests/{request['id']}").json == request
    assert {name: request[name] for name in given} == given
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


def test_a_request_may_say_when_to_send_it_and_until_when(api: Server) -> None:
    request = submitted(api, send_after="2126-01-01T01:00:00+01:00", deadline="2126-01-02T00:00:00Z")
    assert datetime.fromisoformat(request["due_at"]) == datetime(2126, 1, 1, tzinfo=UTC)
    assert datetime.fromisoformat(request["deadline_at"]) == datetime(2126, 1, 2, tzinfo=UTC)


def test_a_time_gone_by_means_now(api: Server) -> None:
    assert is_now(submitted(api, send_after="2020-01-01T00:00:00Z")["due_at"])


def deep(depth: int) -> bytes:
    """Give a submission with lists in lists, too deep for our own encoder."""
    nested = f'{{"deep": {"[" * depth}{"]" * depth}}}'
    return json.dumps(submission(metadata="here")).replace('"here"', nested).encode()


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
        (submission(priority=1), ["priority"]),
        ({**submission(), "provider": None}, ["provider"]),
        ({"operation": "send", "payload": {}}, ["provider"]),
        ({"provider": "sandbox", "payload": {}}, ["operation"]),
        ({"provider": "sandbox", "operation": "send"}, ["payload"]),
        (submission(provider=7), ["provider"]),
        (submission(provider="nobody"), ["provider"]),
        (submission(provider=""), ["provider"]),
        (submission(provider="sandbox\0"), ["provider"]),
        (submission(operation=["send"]), ["operation"]),
        (submission(operation="fax"), ["operation"]),
        (submission(operation="se\0nd"), ["operation"]),
        (submission(payload=[]), ["payload"]),
        (submission(payload="hello"), ["payload"]),
        (submission(payload=None), ["payload"]),
        (submission(payload={}), ["payload", "client_reference"]),
        (payload(text=None), ["payload", "text"]),
        (payload(text="nul\0"), ["payload"]),
        (payload(text="lone \ud800"), []),
        (payload(text="long" * 1_000), ["payload", "text"]),
        (payload(to="2348030000000"), ["payload", "to"]),
        (payload(to=[]), ["payload", "to"]),
        (payload(to=["2348030000000", 5]), ["payload", "to", "1"]),
        (payload(callback_url="http://elsewhere.example"), ["payload", "callback_url"]),
        (payload(colour="red"), ["payload", "colour"]),
        (submission(metadata=[]), ["metadata"]),
        (submission(metadata={"a": ["nul\0"]}), ["metadata"]),
        (submission(metadata={"nul\0": 1}), ["metadata"]),
        (deep(300), []),
        (deep(950), []),
        (submission(metadata={"big": 10**30}), []),
        (submission(metadata={"big": 1e20}), []),
        (submission(send_after="tomorrow"), ["send_after"]),
        (submission(send_after="2126-01-01T00:00:00"), ["send_after"]),
        (submission(send_after=5), ["send_after"]),
        (submission(deadline="0001-01-01T00:00:00+14:00"), ["deadline"]),
        (submission(deadline="9999-12-31T23:59:59-14:00"), ["deadline"]),
    ],
)
def test_a_bad_body_is_400_and_names_the_field(
    api: Server, connection: Connection, body: Json | bytes, field: list[str]
) -> None:
    before = connection.execute("SELECT count(*) FROM requests").fetchone()
    response = post(api, body)
    assert response.status == 400, response
    found = problem_of(response)["errors"]
    assert found
    for name in field:
        found = found[name]
    assert not field or (isinstance(found, list) and all(isinstance(message, str) for message in found))
    assert connection.execute("SELECT count(*) FROM requests").fetchone() == before


def test_all_faults_are_told_at_once(api: Server) -> None:
    errors = problem_of(post(api, {"provider": 1, "operation": 2, "surprise": 3}))["errors"]
    assert errors.keys() == {"provider", "operation", "payload", "surprise"}


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_of_another_media_type_is_415(api: Server, media_type: str) -> None:
    response = post(api, submission(), content_type=media_type)
    assert response.status == 415
    assert "application/json" in problem_of(response)["detail"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_a_mebibyte_is_413(api: Server, chunked: bool) -> None:
    body = json.dumps(submission()).encode().ljust((1 << 20) + 1)
    response = api.call("POST", "/v1/requests", [body] if chunked else body)
    assert response.status == 413
    problem_of(response)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/v1/requests/{ANY}"),
        ("GET", f"/v1/jobs/{ANY}"),
        ("GET", "/v1/requests/not-an-id"),
        ("GET", "/v1/jobs/%00"),
        ("POST", "/v1/providers/nobody/pause"),
        ("POST", "/v1/providers/nobody/resume"),
        ("GET", "/v1/nothing"),
        ("GET", "/"),
    ],
)
def test_what_does_not_exist_is_404(api: Server, method: str, path: str) -> None:
    response = api.call(method, path)
    assert response.status == 404
    problem_of(response)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/requests", "POST"),
        ("DELETE", f"/v1/requests/{ANY}", "GET"),
        ("POST", f"/v1/jobs/{ANY}", "GET"),
        ("POST", "/v1/providers", "GET"),
        ("GET", "/v1/providers/sandbox/pause", "POST"),
        ("POST", "/healthz", "GET"),
    ],
)
def test_another_method_is_405_and_names_the_right_one(api: Server, method: str, path: str, allowed: str) -> None:
    response = api.call(method, path)
    assert response.status == 405
    assert allowed in response.headers["allow"]
    problem_of(response)


def test_a_request_shows_its_attempts_and_jobs(api: Server, connection: Connection) -> None:
    request = UUID(submitted(api, provider="another")["id"])
    attempts = claim_requests(connection, [ProviderCapacity("another", 1)], lease=60.0)
    assert [attempt.request_id for attempt in attempts] == [request]
    connection.execute("UPDATE attempts SET finished_at = now(), response_status = 202 WHERE id = %s", [attempts[0].id])
    accepted = [
        event(f"{request}-{number}", JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request, at=number)
        for number in range(2)
    ]
    reconcile(connection, [*accepted, event(f"{request}-1", JobStatus.FAILED, at=9)])
    shown = api.call("GET", f"/v1/requests/{request}").json
    assert shown["status"] == "sending"
    (attempt,) = shown["attempts"]
    assert (attempt["number"], attempt["response_status"], attempt["error"]) == (1, 202, None)
    assert is_now(attempt["started_at"])
    assert is_now(attempt["finished_at"])
    assert [(job["reference"], job["status"], job["request_id"]) for job in shown["jobs"]] == [
        (f"{request}-0", "accepted", str(request)),
        (f"{request}-1", "failed", str(request)),
    ]


def batch(*submissions: Json) -> Json:
    return {"requests": list(submissions)}


def test_a_batch_is_queued_whole_and_answered_in_its_order(api: Server) -> None:
    given = [submission() for _ in range(1_000)]
    response = send(api, "POST", "/v1/requests/batch", batch(*given))
    assert response.status == 202
    assert [item["payload"] for item in response.json["items"]] == [one["payload"] for one in given]
    assert {item["status"] for item in response.json["items"]} == {"queued"}
    assert response.json["next_cursor"] is None


def test_a_batch_with_a_fault_is_refused_whole_with_the_place_of_each(api: Server, connection: Connection) -> None:
    before = connection.execute("SELECT count(*) FROM requests").fetchone()
    response = send(
        api,
        "POST",
        "/v1/requests/batch",
        batch(submission(), submission(operation="fax"), payload(to=[]), submission()),
    )
    assert response.status == 400
    assert problem_of(response)["errors"]["requests"].keys() == {"1", "2"}
    assert connection.execute("SELECT count(*) FROM requests").fetchone() == before


@pytest.mark.parametrize("size", [0, 1_001])
def test_a_batch_has_one_to_a_thousand_requests(api: Server, size: int) -> None:
    small = {"provider": "sandbox", "operation": "send", "payload": {}}
    assert "requests" in problem_of(send(api, "POST", "/v1/requests/batch", batch(*[small] * size)))["errors"]


def test_requests_are_found_by_their_metadata(api: Server) -> None:
    mark = uuid4().hex
    wanted = submitted(api, metadata={"order": mark, "line": 7, "gift": True})
    submitted(api, metadata={"order": mark, "line": 8})
    found = send(
        api, "GET", f"/v1/requests?metadata.order={mark}&metadata.line=7&metadata.gift=true&status=queued"
    ).json
    assert [item["id"] for item in found["items"]] == [wanted["id"]]
    assert send(api, "GET", f"/v1/requests?metadata.order={mark}x").json == {"items": [], "next_cursor": None}


def test_a_list_goes_on_after_its_cursor(api: Server) -> None:
    mark = uuid4().hex
    ids = [submitted(api, metadata={"page": mark})["id"] for _ in range(5)]
    path, found = f"/v1/requests?metadata.page={mark}&limit=2", []
    cursor: str | None = ""
    while cursor is not None:
        page = send(api, "GET", f"{path}&cursor={cursor}" if cursor else path).json
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert found == ids[::-1]


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
        ("metadata.a=%00", "metadata"),
        (f"metadata.a={'x' * 501}", "metadata"),
        ("status=queued&status=failed", "status"),
        ("colour=red", "colour"),
    ],
)
def test_a_bad_query_is_400_and_names_the_parameter(api: Server, query: str, field: str) -> None:
    response = send(api, "GET", f"/v1/requests?{query}")
    assert response.status == 400, response
    assert field in problem_of(response)["errors"]


def end(connection: Connection, request: str, status: str, *, ambiguous: bool = False) -> None:
    """Let a request have ended, one attempt used."""
    finished = "NULL" if status in {"unknown", "accepted", "queued"} else "now()"
    connection.execute(
        f"""UPDATE requests SET status = %(status)s, detail = 'as it was', failures = 1, attempts = 1,
        ambiguous = %(ambiguous)s, due_at = CASE WHEN %(status)s = 'queued' THEN now() END, finished_at = {finished}
        WHERE id = %(id)s""",
        {"status": status, "ambiguous": ambiguous, "id": UUID(request)},
    )


@pytest.mark.parametrize("status", ["rejected", "failed", "unknown", "cancelled"])
def test_a_request_that_was_not_taken_is_sent_again_with_who_and_why(
    api: Server, connection: Connection, status: str
) -> None:
    request = submitted(api)["id"]
    end(connection, request, status)
    connection.execute("UPDATE requests SET deadline_at = now() WHERE id = %s", [UUID(request)])
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
def test_a_request_that_was_taken_or_is_under_way_is_not_sent_again(
    api: Server, connection: Connection, status: str
) -> None:
    request = submitted(api)["id"]
    end(connection, request, status)
    response = send(api, "POST", f"/v1/requests/{request}/retry")
    assert response.status == 409
    assert status in problem_of(response)["detail"]
    assert send(api, "GET", f"/v1/requests/{request}").json["actions"] == []


def test_a_queued_request_is_cancelled_and_never_sent(api: Server, connection: Connection) -> None:
    request = submitted(api, provider="tokened")["id"]
    response = send(api, "POST", f"/v1/requests/{request}/cancel", {"reason": "changed my mind"})
    assert response.status == 200
    assert (response.json["status"], response.json["due_at"]) == ("cancelled", None)
    assert is_now(response.json["finished_at"])
    assert [action["reason"] for action in response.json["actions"]] == ["changed my mind"]
    assert claim_requests(connection, [ProviderCapacity("tokened", 10)], lease=60.0) == []
    assert send(api, "POST", f"/v1/requests/{request}/cancel").status == 409


def test_a_cancelled_request_that_may_have_been_acted_on_is_unknown(api: Server, connection: Connection) -> None:
    request = submitted(api)["id"]
    end(connection, request, "queued", ambiguous=True)
    cancelled = send(api, "POST", f"/v1/requests/{request}/cancel").json
    assert (cancelled["status"], cancelled["finished_at"]) == ("unknown", None)
    assert "may have acted on" in cancelled["detail"]


@pytest.mark.parametrize("status", ["sending", "accepted"])
def test_a_request_that_has_left_cannot_be_cancelled(api: Server, connection: Connection, status: str) -> None:
    request = submitted(api, provider="tokened")["id"]
    if status == "sending":
        assert len(claim_requests(connection, [ProviderCapacity("tokened", 10)], lease=60.0)) == 1
    else:
        end(connection, request, status)
    response = send(api, "POST", f"/v1/requests/{request}/cancel")
    assert response.status == 409
    assert status in problem_of(response)["detail"]


def references_of(shown: Json) -> dict[str, str]:
    return {job["reference"]: job["status"] for job in shown["jobs"]}


def test_an_operator_says_that_an_unknown_request_was_taken_and_its_jobs_are_followed(
    api: Server, connection: Connection
) -> None:
    request = submitted(api)["id"]
    end(connection, request, "unknown", ambiguous=True)
    known = f"ref-{uuid4().hex}"
    reconcile(connection, [event(known, JobStatus.IN_PROGRESS)])
    body = {"status": "accepted", "references": [known, f"{known}-2"], "reason": "seen in their console"}
    response = send(api, "POST", f"/v1/requests/{request}/resolve", body)
    assert response.status == 200, response
    shown = response.json
    assert (shown["status"], shown["finished_at"]) == ("accepted", None)
    assert shown["detail"] == "resolved by bootstrap: seen in their console"
    assert references_of(shown) == {known: "in_progress", f"{known}-2": "accepted"}
    (action,) = shown["actions"]
    assert (action["actor"], action["action"]) == ("bootstrap", "resolve")
    assert action["reason"] == f"accepted as {known}, {known}-2: seen in their console"
    for job in shown["jobs"]:
        said = send(api, "GET", f"/v1/jobs/{job['id']}").json["events"][-1]
        assert (said["source"], said["status"], said["actor"], said["detail"], said["effect"]) == (
            "operator",
            None,
            "bootstrap",
            "seen in their console",
            None,
        )
        due = connection.execute("SELECT poll_at <= now() FROM jobs WHERE id = %s", [UUID(job["id"])]).fetchone()
        assert due == (True,)


@pytest.mark.parametrize("status", ["completed", "rejected", "failed"])
def test_an_operator_says_how_an_unknown_request_ended(api: Server, connection: Connection, status: str) -> None:
    request = submitted(api)["id"]
    end(connection, request, "unknown")
    response = send(api, "POST", f"/v1/requests/{request}/resolve", {"status": status, "reason": "they say so"})
    assert (response.status, response.json["status"], response.json["jobs"]) == (200, status, [])
    assert is_now(response.json["finished_at"])


def test_a_reference_of_another_request_resolves_nothing(api: Server, connection: Connection) -> None:
    request, owner, taken = submitted(api)["id"], uuid4(), f"ref-{uuid4().hex}"
    end(connection, request, "unknown")
    reconcile(connection, [event(taken, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=owner)])
    before = send(api, "GET", f"/v1/requests/{request}").json
    body = {"status": "accepted", "references": [f"{taken}-new", taken], "reason": "a slip"}
    response = send(api, "POST", f"/v1/requests/{request}/resolve", body)
    assert response.status == 409
    assert f"of request {owner} already" in problem_of(response)["detail"]
    assert send(api, "GET", f"/v1/requests/{request}").json == before
    assert send(api, "GET", f"/v1/jobs?reference={taken}-new").json["items"] == []


@pytest.mark.parametrize("status", ["queued", "accepted", "completed", "rejected", "failed", "cancelled"])
def test_only_an_unknown_request_is_resolved(api: Server, connection: Connection, status: str) -> None:
    request = submitted(api)["id"]
    end(connection, request, status)
    response = send(api, "POST", f"/v1/requests/{request}/resolve", {"status": "completed", "reason": "so"})
    assert response.status == 409
    assert status in problem_of(response)["detail"]
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
def test_a_resolution_says_what_and_why(api: Server, body: Json, field: str) -> None:
    response = send(api, "POST", f"/v1/requests/{ANY}/resolve", body)
    assert response.status == 400
    assert field in problem_of(response)["errors"]


def test_only_an_admin_resolves_a_request(api: Server, connection: Connection) -> None:
    request = submitted(api)["id"]
    end(connection, request, "unknown")
    word = {"status": "completed", "reason": "so"}
    for key, status in ((new_key(api), 403), (new_key(api, scopes=["admin"], providers=["another"]), 404)):
        assert send(api, "POST", f"/v1/requests/{request}/resolve", word, key=key).status == status
    assert send(api, "POST", f"/v1/requests/{ANY}/resolve", word).status == 404


@pytest.mark.parametrize("action", ["retry", "cancel"])
def test_there_is_nothing_to_do_about_a_request_that_does_not_exist(api: Server, action: str) -> None:
    assert send(api, "POST", f"/v1/requests/{ANY}/{action}").status == 404


def test_a_reason_is_a_text_that_can_be_kept(api: Server) -> None:
    request = submitted(api)["id"]
    for bad in ({"reason": "nul\0"}, {"reason": 5}, {"why": "so"}, {"reason": ""}):
        response = send(api, "POST", f"/v1/requests/{request}/cancel", bad)
        assert response.status == 400
        assert problem_of(response)["errors"].keys() == bad.keys()


def test_a_key_bound_to_providers_neither_uses_nor_sees_others(api: Server) -> None:
    theirs, ours = submitted(api), submitted(api, provider="another")
    key = new_key(api, providers=["another"])
    assert send(api, "POST", "/v1/requests", submission(), key=key).status == 403
    assert send(api, "POST", "/v1/requests/batch", batch(submission()), key=key).status == 403
    assert send(api, "POST", "/v1/requests", submission(provider="another"), key=key).status == 202
    for path in ("", "/retry", "/cancel"):
        method = "POST" if path else "GET"
        assert send(api, method, f"/v1/requests/{theirs['id']}{path}", key=key).status == 404
    assert send(api, "GET", f"/v1/requests/{ours['id']}", key=key).status == 200
    found = send(api, "GET", "/v1/requests?limit=500", key=key).json["items"]
    assert {item["provider"] for item in found} == {"another"}
    assert send(api, "GET", "/v1/requests?provider=sandbox", key=key).json["items"] == []
