"""The problem types of all operations and of the callback endpoint, over real HTTP."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from receiver.domain.access import Scope
from receiver.web.operations import ApiOperation
from receiver.web.problems import ProblemType
from receiver.web.v1 import api as api_v1
from tests.support.api_calls import UNKNOWN_ID, build_submission, create_key, create_request, send, submit
from tests.support.http import Server, build_report, build_reports, parse_problem, sign_callback
from tests.support.processes import ADMIN_KEY, Web

OPERATIONS = {operation.name: operation for operation in api_v1.operations}
WITH_BODY = [operation.name for operation in api_v1.operations if operation.body is not None]
WITH_ID = [operation.name for operation in api_v1.operations if "<" in operation.path]
JSON = {"content-type": "application/json"}
BROWSER_TEXT = ("The requested URL", "browser", "check your spelling")


def get_path(operation: ApiOperation) -> str:
    """Return the path of an operation with an unknown id."""
    path = operation.path.replace("<name>", "sandbox")
    for name in ("request_id", "job_id", "callback_id", "notification_id", "key_id"):
        path = path.replace(f"<uuid:{name}>", UNKNOWN_ID)
    return path


def assert_problem(api: Server, operation: ApiOperation, expected: ProblemType, **call: Any) -> None:
    """Check the problem type of a call."""
    path = get_path(operation) + call.pop("query", "")
    response = api.call(call.pop("method", operation.method), path, **call)
    document = parse_problem(response, expected)
    assert not any(text in document["detail"] for text in BROWSER_TEXT), document


@pytest.mark.parametrize("name", OPERATIONS)
def test_authentication_problems_of_every_operation(web: Web, name: str) -> None:
    assert_problem(web, OPERATIONS[name], ProblemType.MISSING_API_KEY)
    for key in (f"{ADMIN_KEY}x", "rcv_guess"):
        headers = {"authorization": f"Bearer {key}"}
        assert_problem(web, OPERATIONS[name], ProblemType.INVALID_API_KEY, headers=headers)


@pytest.fixture(scope="module")
def keys(web: Web) -> Mapping[Scope, str]:
    """An API key of each scope."""
    api = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
    return {scope: create_key(api, scopes=[scope.value]) for scope in Scope}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_without_its_scope_is_insufficient_scope(
    web: Web, name: str, keys: Mapping[Scope, str]
) -> None:
    for scope in {Scope.SUBMIT, Scope.READ} - {OPERATIONS[name].scope, OPERATIONS[name].own_scope}:
        headers = {"authorization": f"Bearer {keys[scope]}"}
        assert_problem(web, OPERATIONS[name], ProblemType.INSUFFICIENT_SCOPE, headers=headers)


@pytest.mark.parametrize("name", OPERATIONS)
def test_invalid_query_of_every_operation_is_invalid_request(api: Server, name: str) -> None:
    assert_problem(api, OPERATIONS[name], ProblemType.INVALID_REQUEST, query="?colour=red", headers=JSON, body=b"{}")


@pytest.mark.parametrize("name", OPERATIONS)
def test_other_method_of_every_path_is_method_not_allowed(api: Server, name: str) -> None:
    methods = {item.method for item in api_v1.operations if item.path == OPERATIONS[name].path}
    response = api.call("DELETE", get_path(OPERATIONS[name]))
    document = parse_problem(response, ProblemType.METHOD_NOT_ALLOWED)
    assert document["detail"] == f"Method not allowed; use {' or '.join(sorted(methods))}."
    assert methods <= set(response.headers["allow"].split(", "))


@pytest.mark.parametrize("name", WITH_BODY)
def test_body_problems_of_every_operation(api: Server, name: str) -> None:
    operation = OPERATIONS[name]
    assert_problem(api, operation, ProblemType.INVALID_REQUEST, body=b"{", headers=JSON)
    assert_problem(api, operation, ProblemType.UNSUPPORTED_MEDIA_TYPE, body=b"{}", headers={"content-type": "text/csv"})
    too_large = b" " * ((operation.body_size_factor << 20) + 1)
    assert_problem(api, operation, ProblemType.PAYLOAD_TOO_LARGE, body=too_large, headers=JSON)


@pytest.mark.parametrize("name", WITH_ID)
def test_unknown_id_of_every_operation_is_not_found(api: Server, name: str) -> None:
    operation = OPERATIONS[name]
    path = get_path(operation).replace("sandbox", "nobody")
    body = {"status": "failed", "reason": "a test"} if path.endswith("/resolve") else None
    document = parse_problem(send(api, operation.method, path, body), ProblemType.NOT_FOUND)
    assert document["detail"] == operation.problems[ProblemType.NOT_FOUND]


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v1//jobs", "/nothing/at/all", "/v1/jobs/not-an-id"])
def test_unknown_path_is_not_found(api: Server, path: str) -> None:
    assert parse_problem(api.call("GET", path), ProblemType.NOT_FOUND)["detail"] == "No such resource."


def test_cut_off_body_is_unreadable_body(api: Server) -> None:
    headers = JSON | {"transfer-encoding": "chunked"}
    connection = api.connect()
    connection.putrequest("POST", "/v1/requests")
    for name, value in {**api.headers, **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(b"no chunk\r\n\r\n")
    response = connection.getresponse()
    document = json.loads(response.read())
    connection.close()
    assert (response.status, document["type"]) == (400, ProblemType.UNREADABLE_BODY.uri)


def test_restricted_key_is_provider_not_allowed(api: Server) -> None:
    key = create_key(api, scopes=["admin"], providers=["another"])
    parse_problem(submit(api, build_submission(), key=key), ProblemType.PROVIDER_NOT_ALLOWED)
    parse_problem(send(api, "GET", "/v1/keys", key=key), ProblemType.PROVIDER_NOT_ALLOWED)


def test_wrong_state_is_state_conflict(api: Server) -> None:
    request = create_request(api, provider="silent")["id"]
    assert send(api, "POST", f"/v1/requests/{request}/cancel").status == 200
    parse_problem(send(api, "POST", f"/v1/requests/{request}/cancel"), ProblemType.STATE_CONFLICT)


def test_used_up_key_is_rate_limit_exceeded(api: Server) -> None:
    key = create_key(api, per_minute=1)
    responses = [send(api, "GET", "/v1/jobs", key=key) for _ in range(3)]
    parse_problem(responses[-1], ProblemType.RATE_LIMIT_EXCEEDED)


def test_problems_of_callback_endpoint(web: Web) -> None:
    body = build_report(f"ref-{uuid4().hex}")
    parse_problem(web.call("POST", "/callbacks/nobody", body), ProblemType.UNKNOWN_CALLBACK_URL)
    parse_problem(web.call("POST", "/callbacks/tokened/guess", body), ProblemType.UNKNOWN_CALLBACK_URL)
    parse_problem(web.call("POST", "/callbacks/sandbox", body, JSON), ProblemType.INVALID_SIGNATURE)
    parse_problem(web.call_back(body, age=4_000.0), ProblemType.INVALID_SIGNATURE)
    parse_problem(web.call_back(build_reports({"id": 7})), ProblemType.UNREADABLE_CALLBACK)
    parse_problem(web.call_back(b" " * ((1 << 20) + 1)), ProblemType.PAYLOAD_TOO_LARGE)
    response = web.call("POST", "/callbacks/sandbox", body, sign_callback(body, media_type="text/csv"))
    detail = parse_problem(response, ProblemType.UNSUPPORTED_MEDIA_TYPE)["detail"]
    assert detail == "Unsupported media type; send application/json."
    detail = parse_problem(web.call("PUT", "/callbacks/sandbox", body), ProblemType.METHOD_NOT_ALLOWED)["detail"]
    assert detail == "Method not allowed; use POST."
