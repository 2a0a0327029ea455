"""`/v1` as clients and operators meet it, over real HTTP."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import JobStatus, Source, job_id
from receiver.reconcile import reconcile
from receiver.signatures.base import fingerprint
from receiver.store.database import Connection, connect
from receiver.store.requests import Lane, claim_requests
from receiver.store.scratch import scratch_database
from tests.factories import SECRET, event
from tests.http import Answer, Json, Server, problem_of
from tests.processes import ADMIN_KEY, Web, assert_ends_well, declared, running_web

CLIENT = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
ANY = "018f0000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def dsn(server: str, template: str) -> Iterator[str]:
    with scratch_database(server, template=template) as own:
        yield own


@pytest.fixture(scope="module")
def web(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    config = declared("sandbox", more="deadline = 600") + declared("another")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path_factory.mktemp("web"), dsn, config, listener) as running,
    ):
        yield running
        assert_ends_well(running)


@pytest.fixture(scope="module", autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Web, Future[Answer]]]:
    """A web process without a database, and its readiness, asked for at the beginning because that takes a while."""
    directory = tmp_path_factory.mktemp("alone")
    with (
        ThreadPoolExecutor(1) as pool,
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(directory, f"postgresql:///nothing?host={directory}", declared(), listener) as running,
    ):
        yield running, pool.submit(running.call, "GET", "/readyz")
        assert_ends_well(running)


@pytest.fixture
def api(web: Web) -> Server:
    """The web process, called with the key."""
    return Server(web.host, web.port, headers=CLIENT)


@pytest.fixture
def connection(dsn: str) -> Iterator[Connection]:
    with closing(connect(dsn)) as opened:
        yield opened


def submission(**overrides: Any) -> Json:
    payload = {"client_reference": f"c-{uuid4().hex}", "to": ["2348030000000"], "text": "hello"}
    return {"provider": "sandbox", "operation": "send", "payload": payload} | overrides


def payload(**overrides: Any) -> Json:
    """Give a submission with another payload."""
    given = submission()
    return given | {"payload": given["payload"] | overrides}


def post(api: Server, body: Json | bytes, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.call("POST", "/v1/requests", content, {name.replace("_", "-"): value for name, value in headers.items()})


def submitted(api: Server, **overrides: Any) -> Json:
    answer = post(api, submission(**overrides))
    assert answer.status == 202, answer
    return answer.json


def is_now(text: str) -> bool:
    moment = datetime.fromisoformat(text)
    return moment.utcoffset() == timedelta(0) and abs(datetime.now(UTC) - moment) < timedelta(minutes=1)


def test_a_request_is_accepted_with_its_place_and_committed_before_the_answer(
    api: Server, connection: Connection
) -> None:
    given = submission(metadata={"order": 7, "tags": ["a", {"b": None}]})
    answer = post(api, given)
    assert answer.status == 202
    request = answer.json
    row = connection.execute(
        "SELECT provider, operation, payload, metadata, status FROM requests WHERE id = %s", [UUID(request["id"])]
    ).fetchone()
    assert row == (*given.values(), "queued")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["location"].endswith(f"/v1/requests/{request['id']}")
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


def nested(depth: int) -> Json:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return {"deep": value}


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
        (submission(metadata=nested(300)), []),
        (submission(metadata=nested(950)), []),
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
    answer = post(api, body)
    assert answer.status == 400, answer
    found = problem_of(answer)["errors"]
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
    answer = post(api, submission(), content_type=media_type)
    assert answer.status == 415
    assert "application/json" in problem_of(answer)["detail"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_a_mebibyte_is_413(api: Server, chunked: bool) -> None:
    body = json.dumps(submission()).encode().ljust((1 << 20) + 1)
    answer = api.call("POST", "/v1/requests", [body] if chunked else body)
    assert answer.status == 413
    problem_of(answer)


ROUTES = [
    ("POST", "/v1/requests"),
    ("GET", f"/v1/requests/{ANY}"),
    ("GET", f"/v1/jobs/{ANY}"),
    ("GET", "/v1/providers"),
    ("POST", "/v1/providers/sandbox/pause"),
    ("POST", "/v1/providers/sandbox/resume"),
]
STRANGERS = {
    "no key": {},
    "a wrong key": {"authorization": f"Bearer {ADMIN_KEY}x"},
    "an empty key": {"authorization": "Bearer "},
    "another scheme": {"authorization": f"Basic {ADMIN_KEY}"},
    "a broken scheme": {"authorization": "Basic \xff\xfe"},
    "a key that is not ASCII": {"authorization": "Bearer \xff"},
}


@pytest.mark.parametrize("headers", STRANGERS.values(), ids=STRANGERS)
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_the_key_everything_is_401(web: Web, method: str, path: str, headers: dict[str, str]) -> None:
    answer = web.call(method, path, b"{}", {"content-type": "application/json", **headers})
    assert answer.status == 401
    assert answer.headers["www-authenticate"].lower().startswith("bearer")
    problem_of(answer)


def test_the_scheme_may_be_written_in_any_case(web: Web) -> None:
    assert web.call("GET", "/v1/providers", b"", {"authorization": f"bearer {ADMIN_KEY}"}).status == 200


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
    answer = api.call(method, path)
    assert answer.status == 404
    problem_of(answer)


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
    answer = api.call(method, path)
    assert answer.status == 405
    assert allowed in answer.headers["allow"]
    problem_of(answer)


def test_a_request_shows_its_attempts_and_jobs(api: Server, connection: Connection) -> None:
    request = UUID(submitted(api, provider="another")["id"])
    attempts = claim_requests(connection, [Lane("another", 1)], lease=60.0)
    assert [attempt.request_id for attempt in attempts] == [request]
    connection.execute("UPDATE attempts SET finished_at = now(), answer_status = 202 WHERE id = %s", [attempts[0].id])
    accepted = [
        event(f"{request}-{number}", JobStatus.ACCEPTED, source=Source.ANSWER, request_id=request, at=number)
        for number in range(2)
    ]
    reconcile(connection, [*accepted, event(f"{request}-1", JobStatus.FAILED, at=9)])
    shown = api.call("GET", f"/v1/requests/{request}").json
    assert shown["status"] == "sending"
    (attempt,) = shown["attempts"]
    assert (attempt["number"], attempt["answer_status"], attempt["error"]) == (1, 202, None)
    assert is_now(attempt["started_at"])
    assert is_now(attempt["finished_at"])
    assert [(job["reference"], job["status"], job["request_id"]) for job in shown["jobs"]] == [
        (f"{request}-0", "accepted", str(request)),
        (f"{request}-1", "failed", str(request)),
    ]


def test_a_job_shows_its_events_in_the_order_of_receipt_with_their_effects(api: Server, connection: Connection) -> None:
    reference, request, origin = f"ref-{uuid4().hex}", uuid4(), uuid4()
    events = [
        event(reference, JobStatus.ACCEPTED, source=Source.ANSWER, request_id=request, at=0),
        event(reference, JobStatus.IN_PROGRESS, at=1),
        event(reference, JobStatus.SUCCEEDED, at=2, origin=origin, callback_id=origin),
        event(reference, JobStatus.SUCCEEDED, source=Source.POLL, at=3),
        event(reference, None, at=4),
        event(reference, JobStatus.IN_PROGRESS, at=5),
        event(reference, JobStatus.FAILED, at=6),
        event(reference, JobStatus.FAILED, at=7, superseding=True),
    ]
    for one in reversed(events):
        reconcile(connection, [one])
    job = api.call("GET", f"/v1/jobs/{job_id('sandbox', reference)}").json
    assert [(told["source"], told["status"], told["effect"]) for told in job["events"]] == [
        ("answer", "accepted", "applied"),
        ("callback", "in_progress", "applied"),
        ("callback", "succeeded", "applied"),
        ("poll", "succeeded", "duplicate"),
        ("callback", None, None),
        ("callback", "in_progress", "stale"),
        ("callback", "failed", "disputed"),
        ("callback", "failed", "applied"),
    ]
    times = [told["received_at"] for told in job["events"]]
    assert times == sorted(times)
    assert all(datetime.fromisoformat(time).utcoffset() == timedelta(0) for time in times)
    assert job["events"][2]["callback_id"] == str(origin)
    assert {"provider_status", "code", "detail", "occurred_at"} <= job["events"][0].keys()
    assert {name: job[name] for name in ("provider", "reference", "request_id", "status", "disputed", "unmatched")} == {
        "provider": "sandbox",
        "reference": reference,
        "request_id": str(request),
        "status": "failed",
        "disputed": False,
        "unmatched": False,
    }
    assert job["finished_at"] == times[7]
    assert job["accepted_at"] == times[0]


def test_a_job_without_a_request_is_unmatched_and_one_with_two_final_words_disputed(
    api: Server, connection: Connection
) -> None:
    reference = f"ref-{uuid4().hex}"
    reconcile(connection, [event(reference, JobStatus.SUCCEEDED, at=0), event(reference, JobStatus.FAILED, at=1)])
    job = api.call("GET", f"/v1/jobs/{job_id('sandbox', reference)}").json
    assert (job["request_id"], job["unmatched"], job["disputed"], job["status"]) == (None, True, True, "succeeded")


def provider_called(api: Server, name: str) -> Json:
    listed = api.call("GET", "/v1/providers").json
    assert listed["next"] is None
    found: Json = next(item for item in listed["items"] if item["name"] == name)
    return found


def test_providers_are_listed_with_where_they_call_back(api: Server) -> None:
    listed = api.call("GET", "/v1/providers").json
    assert [item["name"] for item in listed["items"]] == ["another", "sandbox"]
    assert provider_called(api, "another") == {
        "name": "another",
        "paused": False,
        "pause_reason": None,
        "callback_url": "https://receiver.example/callbacks/another",
        "secrets": [{"fingerprint": fingerprint(SECRET), "last_used_at": None}],
    }


def test_an_operator_pauses_a_provider_and_resumes_it_however_often(api: Server) -> None:
    for _ in range(2):
        answer = api.call("POST", "/v1/providers/sandbox/pause")
        assert (answer.status, answer.json) == (200, {"name": "sandbox", "paused": True})
        assert provider_called(api, "sandbox")["paused"] is True
        assert provider_called(api, "sandbox")["pause_reason"] == "paused by an operator"
    assert provider_called(api, "another")["paused"] is False
    for _ in range(2):
        answer = api.call("POST", "/v1/providers/sandbox/resume")
        assert (answer.status, answer.json) == (200, {"name": "sandbox", "paused": False})
        assert provider_called(api, "sandbox")["paused"] is False


def test_a_pause_stops_sending_but_not_submitting(api: Server, connection: Connection) -> None:
    api.call("POST", "/v1/providers/another/pause")
    request = submitted(api, provider="another")
    assert claim_requests(connection, [Lane("another", 10)], lease=60.0) == []
    api.call("POST", "/v1/providers/another/resume")
    (attempt,) = claim_requests(connection, [Lane("another", 10)], lease=60.0)
    assert str(attempt.request_id) == request["id"]


def test_ready_with_a_database(web: Web) -> None:
    for path in ("/healthz", "/readyz"):
        assert web.call("GET", path).status == 200


def test_alive_but_not_ready_without_a_database(alone: tuple[Web, Future[Answer]]) -> None:
    web, readiness = alone
    assert web.call("GET", "/healthz").status == 200
    answer = readiness.result()
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    problem_of(answer)
