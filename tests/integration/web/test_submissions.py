"""Submissions in front of Flask and through its views: the same responses, and the same refusals."""

from uuid import UUID, uuid4

import pytest

from receiver.store.connections import Connection
from receiver.web.problems import ProblemType
from tests.support.api_calls import build_submission, create_key, send
from tests.support.http import Json, Server, parse_problem

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HEADERS = {"ratelimit", "ratelimit-policy", "cache-control", "x-content-type-options", "content-length"}


def get_bodies() -> list[tuple[str, Json]]:
    return [("/v1/requests", build_submission()), ("/v1/requests/batch", {"requests": [build_submission()] * 2})]


@pytest.mark.parametrize("index", [0, 1])
def test_views_of_flask_answer_like_the_endpoint(api: Server, index: int) -> None:
    path, body = get_bodies()[index]
    url = f"http://{api.host}:{api.port}{path}"  # which only Flask answers

    in_front, view = (send(api, "POST", target, body, idempotency_key=uuid4().hex) for target in (path, url))
    key = uuid4().hex
    repeated = [send(api, "POST", target, body, idempotency_key=key) for target in (path, url)]

    assert (in_front.status, view.status) == (202, 202)
    assert in_front.headers.keys() == view.headers.keys() >= HEADERS
    assert in_front.json.keys() == view.json.keys()
    assert repeated[0].body == repeated[1].body
    assert repeated[1].headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("index", [0, 1])
def test_refusals_have_the_same_headers_as_responses(api: Server, index: int) -> None:
    path, body = get_bodies()[index]
    reader = create_key(api, scopes=["read"])

    missing_scope = send(api, "POST", path, body, key=reader)
    invalid = send(api, "POST", path, {})
    without_key = Server(api.host, api.port).call("POST", path)

    parse_problem(missing_scope, ProblemType.INSUFFICIENT_SCOPE)
    parse_problem(invalid, ProblemType.INVALID_REQUEST)
    parse_problem(without_key, ProblemType.MISSING_API_KEY)
    assert missing_scope.headers.keys() >= HEADERS
    assert invalid.headers.keys() >= HEADERS
    assert without_key.headers.keys() >= HEADERS - {"ratelimit", "ratelimit-policy"}


def test_submission_with_query_is_refused(api: Server) -> None:
    problem = parse_problem(send(api, "POST", "/v1/requests?dry_run=true", build_submission()))

    assert problem["errors"] == {"dry_run": ["Unknown field."]}


def test_rate_limit_of_submissions_is_counted_and_shown(api: Server) -> None:
    key = create_key(api, scopes=["submit"], per_minute=1)
    responses = [send(api, "POST", "/v1/requests", build_submission(), key=key) for _ in range(2)]

    if responses[1].status == 202:  # a new minute has begun
        responses.append(send(api, "POST", "/v1/requests", build_submission(), key=key))
    assert responses[0].status == 202
    parse_problem(responses[-1], ProblemType.RATE_LIMIT_EXCEEDED)
    assert responses[-1].headers["ratelimit"].startswith('"key";r=0')


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(("value", "expected"), [(TRACEPARENT, TRACEPARENT), ("00-0-0-00", None)])
def test_trace_is_stored(api: Server, web_connection: Connection, index: int, value: str, expected: str | None) -> None:
    path, body = get_bodies()[index]
    ids = []
    for target in (path, f"http://{api.host}:{api.port}{path}"):
        document = send(api, "POST", target, body, traceparent=value).json
        ids += [UUID(request["id"]) for request in document.get("items", [document])]
    rows = web_connection.execute("SELECT traceparent FROM requests WHERE id = ANY(%s)", [ids]).fetchall()
    assert rows == [(expected,)] * len(ids)
