"""What tests of `/v1` call over and over."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.database import Connection
from tests.factories import event
from tests.factories import provider as named
from tests.http import Answer, Json, Server

ANY = "018f0000-0000-7000-8000-000000000000"


def submission(**overrides: Any) -> Json:
    """Give the body of a submission that is good."""
    payload = {"client_reference": f"c-{uuid4().hex}", "to": ["2348030000000"], "text": "hello"}
    return {"provider": "sandbox", "operation": "send", "payload": payload} | overrides


def send(api: Server, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> Answer:
    """Call with a JSON body, as it is if it is bytes; `key` instead of the server's own, headers by names with _."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    given: Mapping[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}
    own = {"authorization": f"Bearer {key}"} if key else {}
    typed = {} if body is None else {"content-type": "application/json"}
    return api.call(method, path, content, {**typed, **own, **given})


def post(api: Server, body: Json | bytes, **headers: str) -> Answer:
    """Submit."""
    return send(api, "POST", "/v1/requests", body, **headers)


def submitted(api: Server, **overrides: Any) -> Json:
    """Submit what is good and give the request."""
    response = post(api, submission(**overrides))
    assert response.status == 202, response
    return response.json


def new_job(connection: Connection, status: JobStatus = JobStatus.ACCEPTED, provider: str = "sandbox") -> str:
    """Make a job and give its id."""
    reference = f"ref-{uuid4().hex}"
    said = event(reference, status, source=EventSource.RESPONSE, request_id=uuid4(), actor=named(name=provider))
    reconcile(connection, [said])
    return str(derive_job_id(provider, reference))


def new_key(api: Server, **given: Any) -> str:
    """Make an API key and give it."""
    response = send(api, "POST", "/v1/keys", {"name": f"test-{uuid4().hex}", "scopes": ["submit", "read"]} | given)
    assert response.status == 201, response
    return str(response.json["key"])


def is_now(text: str) -> bool:
    """Whether a time of an answer is about now, in UTC."""
    moment = datetime.fromisoformat(text)
    return moment.utcoffset() == timedelta(0) and abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
