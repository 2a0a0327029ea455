"""`/v1/tail`: what a caller sees, and when."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from tests.support.api_calls import build_submission, create_key, create_request, send
from tests.support.factories import event
from tests.support.factories import provider as build_provider
from tests.support.http import Json, Server


def read(api: Server, cursor: str, query: str = "", *, key: str | None = None) -> list[Json]:
    """Return the changes after a position."""
    response = send(api, "GET", f"/v1/tail?cursor={cursor}{query}", key=key)
    assert response.status == 200, response
    items: list[Json] = response.json["items"]
    return items


def record_job(connection: Connection, provider: str = "sandbox") -> str:
    """Record that a job was accepted now; return its id."""
    reference = uuid4().hex
    actor = build_provider(name=provider)
    accepted = event(reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=uuid4(), actor=actor)
    reconcile(connection, [replace(accepted, received_at=datetime.now(UTC))])
    return str(derive_job_id(provider, reference))


def start(api: Server) -> str:
    """Return the current position."""
    page = send(api, "GET", "/v1/tail").json
    assert (page["items"], page["has_gap"]) == ([], False)
    return str(page["cursor"])


def test_changes_since_a_position_are_returned(api: Server, web_connection: Connection) -> None:
    cursor = start(api)
    request = create_request(api)
    job = record_job(web_connection)
    changes = {change["id"]: change for change in read(api, cursor)}
    assert (changes[request["id"]]["kind"], changes[request["id"]]["status"]) == ("request", "queued")
    assert changes[request["id"]]["operation"] == "send"
    assert (changes[job]["kind"], changes[job]["status"], changes[job]["source"]) == ("job", "accepted", "response")
    page = send(api, "GET", f"/v1/tail?cursor={cursor}").json
    assert request["id"] not in {change["id"] for change in read(api, page["cursor"])}


def test_wait_ends_with_the_first_change(api: Server) -> None:
    cursor = start(api)
    with ThreadPoolExecutor(1) as pool:
        query = f"/v1/tail?cursor={cursor}&request_id="
        request_id = uuid4()
        other = pool.submit(send, api, "GET", f"{query}{request_id}", prefer="wait=1")
        create_request(api)  # another one
        assert other.result().json["items"] == []
        following = pool.submit(send, api, "GET", f"/v1/tail?cursor={cursor}", prefer="wait=15")
        began = time.monotonic()
        response = following.result()
    assert time.monotonic() - began < 5.0
    assert (response.status, len(response.json["items"]) > 0) == (200, True)
    assert response.headers["preference-applied"] == "wait=15"


def test_own_key_sees_its_requests_and_no_callbacks(api: Server, web_connection: Connection) -> None:
    cursor = start(api)
    client = f"shop-{uuid4().hex}"
    key = create_key(api, client=client, scopes=["submit"])
    own = send(api, "POST", "/v1/requests", build_submission(), key=key).json["id"]
    other = create_request(api)["id"]
    record_job(web_connection)
    seen = {change["id"] for change in read(api, cursor, key=key)}
    assert seen == {own}
    assert {own, other} <= {change["id"] for change in read(api, cursor)}


def test_key_of_some_providers_sees_only_theirs(api: Server, web_connection: Connection) -> None:
    cursor = start(api)
    key = create_key(api, providers=["another"])
    record_job(web_connection)
    job = record_job(web_connection, provider="another")
    assert {change["id"] for change in read(api, cursor, key=key)} == {job}


@pytest.mark.slow
def test_filters_select_changes(api: Server, web_connection: Connection) -> None:
    cursor = start(api)
    request = create_request(api)
    job = record_job(web_connection)
    [reference] = [change["reference"] for change in read(api, cursor) if change["id"] == job]
    for query, expected in (
        (f"&reference={reference}", {job}),
        (f"&request_id={request['id']}", {request["id"]}),
        ("&provider=another", set()),
    ):
        assert {change["id"] for change in read(api, cursor, query)} == expected
    assert {change["kind"] for change in read(api, cursor, "&kind=request")} == {"request"}


@pytest.mark.parametrize("query", ["cursor=x", "kind=poll", "request_id=1", "provider=!", "since=1"])
def test_malformed_query_is_400(api: Server, query: str) -> None:
    assert send(api, "GET", f"/v1/tail?{query}").status == 400


@pytest.mark.parametrize("cursor", ["0000000000000.1..", "fffffffffffff.fffffffffffffff.1-.0000000000001-"])
def test_any_cursor_is_answered(api: Server, cursor: str) -> None:
    response = send(api, "GET", f"/v1/tail?cursor={cursor}")
    assert response.status == 200
    assert response.json["has_gap"] is cursor.startswith("0")
