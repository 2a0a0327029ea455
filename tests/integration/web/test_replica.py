"""`DATABASE_READ_URL`: what is read from the replica and what from the primary; another database is the replica."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from receiver.devtools.scratch import scratch_database
from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.connections import connect
from receiver.store.limits import ConcurrencyShare, renew_shares
from receiver.store.providers import pause_providers
from receiver.store.requests import NewRequest, submit_requests
from receiver.store.statements import load_statement
from tests.support.factories import event
from tests.support.http import Json
from tests.support.metrics import CLIENT, scrape, serve_app
from tests.support.processes import block_database

REQUEST_ID, CALLBACK_ID, JOB_ID = uuid4(), uuid4(), derive_job_id("sandbox", "replicated")


@pytest.fixture
def replica_dsn(server: str, template: str) -> Iterator[str]:
    """The DSN of a database with rows that exist only there."""
    with scratch_database(server, template=template) as scratch_dsn, closing(connect(scratch_dsn)) as connection:
        submit_requests(connection, [NewRequest(REQUEST_ID, "sandbox", "send", {}, {}, None, None, 60.0)])
        reconcile(
            connection, [event("replicated", JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=REQUEST_ID)]
        )
        connection.execute(load_statement("write_callback"), {"id": CALLBACK_ID, "body": b""})
        pause_providers(connection, ["another"], "on the replica")
        renew_shares(connection, uuid4(), [ConcurrencyShare("sandbox", 1)], 60.0)
        yield scratch_dsn


@pytest.fixture
def replicated_client(dsn: str, replica_dsn: str, tmp_path: Path) -> Iterator[FlaskClient]:
    """A client of an app in this process that has a replica."""
    with serve_app(dsn, tmp_path, replica_dsn) as test_client:
        yield test_client


def get_json(client: FlaskClient, path: str) -> Json:
    response = client.get(path, headers=CLIENT)
    assert response.status_code == 200
    document: Json = response.get_json()
    return document


def count_items(client: FlaskClient) -> dict[str, int]:
    return {name: len(get_json(client, f"/v1/{name}")["items"]) for name in ("requests", "jobs", "callbacks")}


def find_paused(client: FlaskClient) -> set[str]:
    return {item["name"] for item in get_json(client, "/v1/providers")["items"] if item["paused"]}


def test_lists_and_statistics_are_read_from_the_replica(replicated_client: FlaskClient) -> None:
    assert count_items(replicated_client) == {"requests": 1, "jobs": 1, "callbacks": 1}
    assert get_json(replicated_client, "/v1/stats")["requests"] == {"queued": 1}
    assert find_paused(replicated_client) == {"another"}
    metrics = scrape(replicated_client)
    assert metrics.get("receiver_requests", provider="sandbox", status="queued") == 1
    # Alerts must not depend on how far the replica is behind.
    assert metrics.get("receiver_workers_alive") == 0
    assert metrics.get("receiver_oldest_due_request_age_seconds", provider="sandbox") == 0
    assert metrics.get("receiver_provider_paused", provider="another") == 0


def test_single_objects_are_read_from_the_primary(replicated_client: FlaskClient) -> None:
    for path in (f"requests/{REQUEST_ID}", f"jobs/{JOB_ID}", f"callbacks/{CALLBACK_ID}"):
        assert replicated_client.get(f"/v1/{path}", headers=CLIENT).status_code == 404
        assert replicated_client.get(f"/v1/{path}/events", headers=CLIENT).status_code == 404
    wait = {**CLIENT, "prefer": "wait=1"}
    assert replicated_client.get(f"/v1/jobs/{JOB_ID}", headers=wait).status_code == 404


def test_state_after_an_action_is_read_from_the_primary(replicated_client: FlaskClient) -> None:
    reason = {"reason": "a test"}
    paused = replicated_client.post("/v1/providers/sandbox/pause", headers=CLIENT, json=reason)
    assert paused.get_json()["paused"] is True
    resumed = replicated_client.post("/v1/providers/another/resume", headers=CLIENT, json=reason)
    assert resumed.get_json()["paused"] is False


def test_primary_is_read_while_the_replica_is_down(
    server: str, replicated_client: FlaskClient, replica_dsn: str
) -> None:
    with block_database(server, replica_dsn):
        assert count_items(replicated_client) == {"requests": 0, "jobs": 0, "callbacks": 0}
        assert get_json(replicated_client, "/v1/stats")["requests"] == {}
        assert find_paused(replicated_client) == set()
        metrics = scrape(replicated_client)
        assert metrics.get("receiver_database_up") == 1
        assert metrics.get("receiver_requests") == 0
        assert replicated_client.get("/readyz").status_code == 200
