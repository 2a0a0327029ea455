"""The events of API calls and callbacks in the log of the web process."""

import json
from uuid import uuid4

from receiver.store.connections import Connection
from tests.support.api_calls import build_submission, create_job, create_key, send
from tests.support.http import Json, Server, build_report, sign_callback
from tests.support.processes import Web


def find_events(web: Web, request_id: str) -> list[Json]:
    """Return the events with a request id."""
    return [line for line in map(json.loads, web.output.splitlines()) if line.get("request_id") == request_id]


def test_call_is_logged_once_with_its_ids(web: Web, api: Server, web_connection: Connection) -> None:
    job_id, request_id = create_job(web_connection), uuid4().hex
    assert send(api, "GET", f"/v1/jobs/{job_id}?", x_request_id=request_id).status == 200

    [event] = find_events(web, request_id)
    assert (event["event"], event["method"], event["route"]) == ("api_call.completed", "GET", "/v1/jobs/{job_id}")
    assert (event["status"], event["job"], event["caller"]) == (200, job_id, "127.0.0.1")
    assert (event["client"], event["key"]) == ("bootstrap", "bootstrap")


def test_batch_is_logged_once(web: Web, api: Server) -> None:
    request_id, body = uuid4().hex, {"requests": [build_submission()] * 2}
    assert send(api, "POST", "/v1/requests/batch", body, x_request_id=request_id).status == 202

    [event] = find_events(web, request_id)
    assert (event["route"], event["status"]) == ("/v1/requests/batch", 202)


def test_rate_limited_call_names_its_key(web: Web, api: Server) -> None:
    key, request_ids = create_key(api, scopes=["submit"], per_minute=1), [uuid4().hex for _ in range(3)]
    for request_id in request_ids:
        send(api, "POST", "/v1/requests", build_submission(), key=key, x_request_id=request_id)

    events = [event for request_id in request_ids for event in find_events(web, request_id)]
    assert events[-1]["status"] == 429
    assert {event["key"] for event in events} == {events[0]["key"]} != {None}


def test_callbacks_are_not_logged_by_default(web: Web) -> None:
    body, request_id = build_report(f"ref-{uuid4().hex}"), uuid4().hex
    headers = sign_callback(body) | {"X-Request-Id": request_id}
    response = web.call("POST", "/callbacks/sandbox", body, headers)

    assert (response.status, response.headers["x-request-id"]) == (200, request_id)
    assert find_events(web, request_id) == []


def test_error_is_logged_with_its_request_id(web: Web, api: Server) -> None:
    request_id = uuid4().hex
    assert send(api, "GET", "/v1/jobs", key="not-a-key", x_request_id=request_id).status in {401, 429}

    assert "api_call.completed" in {event["event"] for event in find_events(web, request_id)}
