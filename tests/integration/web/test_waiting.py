"""`Prefer: wait` on a job: when the response comes, and what waiting costs."""

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from uuid import UUID

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.domain.jobs import JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from receiver.web.waiting import JobDetail, JobWaiters
from tests.support.api_calls import UNKNOWN_ID, create_job, send
from tests.support.factories import event
from tests.support.http import Server, read_response
from tests.support.processes import (
    ADMIN_KEY,
    assert_ends_well,
    block_database,
    build_provider_toml,
    running_web,
    wait_for,
)

MAX_CONNECTIONS = 4
CLIENT_COUNT = 1_000
MAX_ANSWER_TIME_S = 5.0
"""About 1.0 on an idle machine."""


def finish_job(connection: Connection, job: str, status: JobStatus = JobStatus.SUCCEEDED) -> None:
    row = connection.execute("SELECT reference FROM jobs WHERE id = %s", [job]).fetchone()
    assert row is not None
    reconcile(connection, [event(row[0], status, at=5)])


def test_wait_ends_when_job_is_final(api: Server, web_connection: Connection) -> None:
    job = create_job(web_connection)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(send, api, "GET", f"/v1/jobs/{job}", prefer="wait=15")
        time.sleep(0.5)
        assert not waiting.done()
        finish_job(web_connection, job)
        ended = time.monotonic()
        response = waiting.result()
    assert time.monotonic() - ended < 1.0
    assert (response.status, response.json["status"]) == (200, "succeeded")
    assert response.headers["preference-applied"] == "wait=15"
    assert response.json == send(api, "GET", f"/v1/jobs/{job}").json


def test_wait_timeout_shows_open_job(api: Server, web_connection: Connection) -> None:
    job = create_job(web_connection)
    began = time.monotonic()
    response = send(api, "GET", f"/v1/jobs/{job}", prefer="respond-async, wait=1")
    assert 0.8 < time.monotonic() - began < 3.0
    assert (response.status, response.json["status"], len(response.json["events"])) == (200, "accepted", 1)


@pytest.mark.parametrize("prefer", ["wait=0", "wait", "wait=soon", "waiting=9", "handling=lenient", "wait=-1", "\xff"])
def test_no_wait_without_valid_preference(api: Server, web_connection: Connection, prefer: str) -> None:
    began = time.monotonic()
    assert send(api, "GET", f"/v1/jobs/{create_job(web_connection)}", prefer=prefer).status == 200
    assert time.monotonic() - began < 1.0


def test_no_wait_for_final_or_unknown_job(api: Server, web_connection: Connection) -> None:
    began = time.monotonic()
    assert send(api, "GET", f"/v1/jobs/{create_job(web_connection, JobStatus.FAILED)}", prefer="wait=30").status == 200
    assert send(api, "GET", f"/v1/jobs/{UNKNOWN_ID}", prefer="wait=30").status == 404
    assert time.monotonic() - began < 2.0


def test_stopping_service_answers_waiting_clients(
    connection: Connection, dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    job = create_job(connection)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path_factory.mktemp("stopped"), dsn, build_provider_toml(), listener) as web,
        ThreadPoolExecutor(1) as pool,
    ):
        api = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
        waiting = pool.submit(send, api, "GET", f"/v1/jobs/{job}", prefer="wait=15")
        time.sleep(0.5)
        began = time.monotonic()
        assert_ends_well(web)
        assert time.monotonic() - began < 10.0
        assert waiting.result().json["status"] == "accepted"


def count_receiver_connections(connection: Connection) -> int:
    row = connection.execute(
        """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'callback-receiver' AND pid <> pg_backend_pid()"""
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.slow
def test_thousand_clients_wait_with_few_connections(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert os.sysconf("SC_OPEN_MAX") > CLIENT_COUNT + 100, "raise the limit of open files to run this test"
    jobs = [str(derive_job_id("sandbox", f"ref-{number}")) for number in range(CLIENT_COUNT)]
    with ExitStack() as stack:
        connection = stack.enter_context(closing(connect(dsn)))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=CLIENT_COUNT))
        web = stack.enter_context(running_web(tmp_path_factory.mktemp("wait"), dsn, build_provider_toml(), listener))
        accepted = [event(f"ref-{number}", JobStatus.ACCEPTED, at=0) for number in range(CLIENT_COUNT)]
        reconcile(connection, accepted)
        clients = [stack.enter_context(closing(HTTPConnection(web.host, web.port, timeout=20))) for _ in jobs]
        headers = {"authorization": f"Bearer {ADMIN_KEY}", "prefer": "wait=30"}
        for client, job in zip(clients, jobs, strict=True):
            client.request("GET", f"/v1/jobs/{job}", headers=headers)
        wait_for(lambda: web.call("GET", "/readyz").status == 200)
        time.sleep(2.0)
        used = count_receiver_connections(connection)
        reconcile(connection, [event(f"ref-{number}", JobStatus.SUCCEEDED, at=9) for number in range(CLIENT_COUNT)])
        ended = time.monotonic()
        responses = [read_response(client.getresponse()) for client in clients]
        took = time.monotonic() - ended
        used = max(used, count_receiver_connections(connection))
        assert {response.status for response in responses} == {200}
        assert [response.json["id"] for response in responses] == jobs
        assert {response.json["status"] for response in responses} == {"succeeded"}
        assert took < MAX_ANSWER_TIME_S
        assert used <= MAX_CONNECTIONS
        for client in clients:
            client.close()  # a stopping worker waits for idle connections
        assert_ends_well(web)


def wait_through_outage(server: str, dsn: str) -> tuple[str, JobDetail | None]:
    """Wait for an open job while the database is down; return the job's id and what the client gets."""
    database = Database(dsn)
    waiters = JobWaiters(database)
    with closing(connect(dsn)) as connection:
        job = create_job(connection)
    with ThreadPoolExecutor(1) as pool:
        with block_database(server, dsn):
            waiting = pool.submit(waiters.wait, UUID(job), 8.0, lambda _: True)
            time.sleep(5.5)  # longer than a connection is waited for
        detail = waiting.result(timeout=5.0)
    waiters.close()
    database.close()
    return job, detail


@pytest.fixture(scope="module", autouse=True)
def wait_during_outage(server: str, template: str) -> Iterator[Future[tuple[str, JobDetail | None]]]:
    """Start `wait_through_outage` early, because it takes eight seconds."""
    with scratch_database(server, template=template) as dsn, ThreadPoolExecutor(1) as pool:
        yield pool.submit(wait_through_outage, server, dsn)


def test_wait_survives_database_outage(wait_during_outage: Future[tuple[str, JobDetail | None]]) -> None:
    job, detail = wait_during_outage.result()
    assert detail is not None
    assert str(detail.job.id) == job


def test_close_without_clients_needs_no_database(tmp_path: Path) -> None:
    database = Database(f"postgresql:///nothing?host={tmp_path}")
    waiters = JobWaiters(database)
    began = time.monotonic()
    waiters.close()
    assert time.monotonic() - began < 2.0
    database.close()
