"""Calls that several tests of `/v1` make."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from tests.support.factories import event
from tests.support.factories import provider as build_provider
from tests.support.http import Json, Response, Server

UNKNOWN_ID = "018f0000-0000-7000-8000-000000000000"


def build_submission(**overrides: Any) -> Json:
    """Build the body of a valid submission."""
    payload = {"client_reference": f"c-{uuid4().hex}", "to": ["2348030000000"], "text": "hello"}
    return {"provider": "sandbox", "operation": "send", "payload": payload} | overrides


def send(api: Server, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> Response:
    """Make a call with a JSON body, or with raw bytes.

    `key` replaces the server's own API key; the names of `headers` have underscores instead of hyphens.
    """
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    extra: Mapping[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}
    authorization = {"authorization": f"Bearer {key}"} if key else {}
    media_type = {} if body is None else {"content-type": "application/json"}
    return api.call(method, path, content, {**media_type, **authorization, **extra})


def submit(api: Server, body: Json | bytes, **headers: str) -> Response:
    """Submit a request and return the response."""
    return send(api, "POST", "/v1/requests", body, **headers)


def create_request(api: Server, **overrides: Any) -> Json:
    """Submit a valid request and return it."""
    response = submit(api, build_submission(**overrides))
    assert response.status == 202, response
    return response.json


def create_job(connection: Connection, status: JobStatus = JobStatus.ACCEPTED, provider: str = "sandbox") -> str:
    """Create a job and return its id."""
    reference = f"ref-{uuid4().hex}"
    first_event = event(
        reference, status, source=EventSource.RESPONSE, request_id=uuid4(), actor=build_provider(name=provider)
    )
    reconcile(connection, [first_event])
    return str(derive_job_id(provider, reference))


def create_history(connection: Connection, count: int) -> str:
    """Create a job with many events, of which the first is final and another contradicts it; return its id."""
    reference = f"ref-{uuid4().hex}"
    statuses = [JobStatus.SUCCEEDED, *[JobStatus.IN_PROGRESS] * (count - 2), JobStatus.FAILED]
    reconcile(connection, [event(reference, status, at=number) for number, status in enumerate(statuses)])
    return str(derive_job_id("sandbox", reference))


def fetch_items(api: Server, path: str, limit: int) -> list[Json]:
    """Fetch all pages of a list; every page but the last must be full."""
    items: list[Json] = []
    cursor = ""
    while True:
        page = send(api, "GET", f"{path}?limit={limit}{cursor}").json
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        assert len(page["items"]) == limit
        cursor = f"&cursor={page['next_cursor']}"


def create_key(api: Server, **fields: Any) -> str:
    """Create an API key and return it."""
    response = send(api, "POST", "/v1/keys", {"name": f"test-{uuid4().hex}", "scopes": ["submit", "read"]} | fields)
    assert response.status == 201, response
    return str(response.json["key"])


def is_now(text: str) -> bool:
    """Return whether a time in a response is about now, in UTC."""
    time = datetime.fromisoformat(text)
    return time.utcoffset() == timedelta(0) and abs(datetime.now(UTC) - time) < timedelta(minutes=1)
