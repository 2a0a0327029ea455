"""`Prefer: wait` on a job: who waits, who answers them, and what it costs."""

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from uuid import UUID

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.domain.jobs import JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.database import Connection, Database, connect
from receiver.web.waiting import JobWaiters
from tests.factories import event
from tests.http import Server, read
from tests.integration.api.calls import ANY, new_job, send
from tests.processes import ADMIN_KEY, assert_ends_well, database_away, declared, running_web, wait_for

MOST_CONNECTIONS = 4
TOGETHER = 1_000
WITHIN = 5.0
"""Seconds; one on a machine that does nothing else."""


def final(connection: Connection, job: str, status: JobStatus = JobStatus.SUCCEEDED) -> None:
    row = connection.execute("SELECT reference FROM jobs WHERE id = %s", [job]).fetchone()
    assert row is not None
    reconcile(connection, [event(row[0], status, at=5)])


def test_a_wait_is_answered_when_the_job_ends(api: Server, connection: Connection) -> None:
    job = new_job(connection)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(send, api, "GET", f"/v1/jobs/{job}", prefer="wait=15")
        time.sleep(0.5)
        assert not waiting.done()
        final(connection, job)
        ended = time.monotonic()
        response = waiting.result()
    assert time.monotonic() - ended < 1.0
    assert (response.status, response.json["status"]) == (200, "succeeded")
    assert response.headers["preference-applied"] == "wait=15"
    assert response.json == send(api, "GET", f"/v1/jobs/{job}").json


def test_a_wait_that_is_over_shows_the_job_as_it_is(api: Server, connection: Connection) -> None:
    job = new_job(connection)
    began = time.monotonic()
    response = send(api, "GET", f"/v1/jobs/{job}", prefer="respond-async, wait=1")
    assert 0.8 < time.monotonic() - began < 3.0
    assert (response.status, response.json["status"], len(response.json["events"])) == (200, "accepted", 1)


@pytest.mark.parametrize("prefer", ["wait=0", "wait", "wait=soon", "waiting=9", "handling=lenient", "wait=-1", "\xff"])
def test_who_does_not_ask_to_wait_does_not(api: Server, connection: Connection, prefer: str) -> None:
    began = time.monotonic()
    assert send(api, "GET", f"/v1/jobs/{new_job(connection)}", prefer=prefer).status == 200
    assert time.monotonic() - began < 1.0


def test_a_final_job_and_one_that_does_not_exist_are_not_waited_for(api: Server, connection: Connection) -> None:
    began = time.monotonic()
    assert send(api, "GET", f"/v1/jobs/{new_job(connection, JobStatus.FAILED)}", prefer="wait=30").status == 200
    assert send(api, "GET", f"/v1/jobs/{ANY}", prefer="wait=30").status == 404
    assert time.monotonic() - began < 2.0


def test_a_service_that_stops_answers_those_who_wait(
    connection: Connection, dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    job = new_job(connection)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path_factory.mktemp("stopped"), dsn, declared(), listener) as web,
        ThreadPoolExecutor(1) as pool,
    ):
        api = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
        waiting = pool.submit(send, api, "GET", f"/v1/jobs/{job}", prefer="wait=15")
        time.sleep(0.5)
        began = time.monotonic()
        assert_ends_well(web)
        assert time.monotonic() - began < 10.0
        assert waiting.result().json["status"] == "accepted"


@pytest.fixture
def own_dsn(server: str, template: str) -> Iterator[str]:
    """A database whose connections are counted."""
    with scratch_database(server, template=template) as own:
        yield own


def connections_of_receivers(connection: Connection) -> int:
    row = connection.execute(
        """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'callback-receiver' AND pid <> pg_backend_pid()"""
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_thousand_clients_wait_in_one_process_with_a_handful_of_connections(
    own_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert os.sysconf("SC_OPEN_MAX") > TOGETHER + 100, "raise the limit of open files to run this test"
    jobs = [str(derive_job_id("sandbox", f"ref-{number}")) for number in range(TOGETHER)]
    with ExitStack() as stack:
        connection = stack.enter_context(closing(connect(own_dsn)))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=TOGETHER))
        web = stack.enter_context(running_web(tmp_path_factory.mktemp("wait"), own_dsn, declared(), listener))
        accepted = [event(f"ref-{number}", JobStatus.ACCEPTED, at=0) for number in range(TOGETHER)]
        reconcile(connection, accepted)
        clients = [stack.enter_context(closing(HTTPConnection(web.host, web.port, timeout=20))) for _ in jobs]
        headers = {"authorization": f"Bearer {ADMIN_KEY}", "prefer": "wait=30"}
        for client, job in zip(clients, jobs, strict=True):
            client.request("GET", f"/v1/jobs/{job}", headers=headers)
        wait_for(lambda: web.call("GET", "/readyz").status == 200)
        time.sleep(2.0)
        used = connections_of_receivers(connection)
        reconcile(connection, [event(f"ref-{number}", JobStatus.SUCCEEDED, at=9) for number in range(TOGETHER)])
        ended = time.monotonic()
        responses = [read(client.getresponse()) for client in clients]
        took = time.monotonic() - ended
        used = max(used, connections_of_receivers(connection))
        assert {response.status for response in responses} == {200}
        assert [response.json["id"] for response in responses] == jobs
        assert {response.json["status"] for response in responses} == {"succeeded"}
        assert took < WITHIN
        assert used <= MOST_CONNECTIONS
        assert_ends_well(web)


def test_who_comes_while_the_database_is_away_is_answered_when_it_is_back(server: str, own_dsn: str) -> None:
    database = Database(own_dsn)
    waiters = JobWaiters(database)
    with closing(connect(own_dsn)) as connection:
        job = new_job(connection)
    with ThreadPoolExecutor(1) as pool:
        with database_away(server, own_dsn):
            waiting = pool.submit(waiters.wait, UUID(job), 8.0, lambda _: True)
            time.sleep(5.5)  # longer than a connection is waited for
        detail = waiting.result(timeout=5.0)
    waiters.close()
    database.close()
    assert detail is not None
    assert str(detail.job.id) == job
