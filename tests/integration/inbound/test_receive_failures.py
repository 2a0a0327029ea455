"""The callback endpoint while the database is down or the process is stopped or killed: a 2xx always means a commit."""

import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.store.connections import connect
from tests.support.http import Response, build_report, exchange, parse_problem, read_response, sign_callback
from tests.support.processes import (
    ADMIN_KEY,
    Web,
    assert_ends_well,
    block_database,
    build_provider_toml,
    find_lock_waiters,
    running_web,
    wait_for,
)

SENDER_COUNT = 16
READINESS_INTERVAL_S = 1.0
"""For so long a result of the readiness check is repeated."""
LONG_OUTAGE_S = 8.0
"""Long enough that a pool with exponential backoff of 1, 2, 4 and 8 s would recover late."""


@contextmanager
def start_web(dsn: str, directory: Path) -> Iterator[Web]:
    """Run a web process on its own port, which refuses connections once the process has ended."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    with listener, running_web(directory, dsn, build_provider_toml(), listener) as running:
        listener.close()
        yield running


@pytest.fixture(scope="module")
def shared_web(shared_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Run one web process for all tests that it must survive."""
    with start_web(shared_dsn, tmp_path_factory.mktemp("shared")) as running:
        yield running
        assert_ends_well(running)


@pytest.fixture
def own_web(dsn: str, tmp_path: Path) -> Iterator[Web]:
    with start_web(dsn, tmp_path) as running:
        yield running


def find_stored_references(dsn: str) -> set[str]:
    """Return the references of all jobs that a stored callback finished."""
    with closing(connect(dsn)) as connection:
        rows = connection.execute(
            """SELECT reference FROM jobs JOIN events ON job_id = jobs.id JOIN callbacks ON callbacks.id = callback_id
            WHERE jobs.status = 'succeeded' AND verdict = 'accepted'"""
        )
        return {reference for (reference,) in rows}


@dataclass
class Stream:
    """Callbacks from concurrent senders, each of which sends one after the other over a kept connection."""

    web: Web
    acknowledged: list[str] = field(default_factory=list)
    error_statuses: list[int] = field(default_factory=list)
    dropped_connections: list[str] = field(default_factory=list)
    failed_connects: int = 0
    stopping: Event = field(default_factory=Event)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Send callbacks until the context ends."""
        with ThreadPoolExecutor(SENDER_COUNT) as pool:
            senders = [pool.submit(self._send) for _ in range(SENDER_COUNT)]
            try:
                self.wait_for_acknowledged(100)
                yield
            finally:
                self.stopping.set()
            for sender in senders:
                sender.result()

    def wait_for_acknowledged(self, number: int) -> None:
        """Wait until `number` more callbacks are acknowledged."""
        expected = len(self.acknowledged) + number
        wait_for(lambda: len(self.acknowledged) >= expected)

    def _send(self) -> None:
        with closing(self.web.connect()) as connection:
            while not self.stopping.is_set():
                self._deliver(connection)

    def _deliver(self, connection: HTTPConnection) -> None:
        reference = f"ref-{uuid4().hex}"
        body = build_report(reference)
        was_connected = connection.sock is not None
        try:
            status = exchange(connection, "POST", "/callbacks/sandbox", body, sign_callback(body)).status
        except (OSError, HTTPException) as error:
            connection.close()
            if was_connected:
                self.dropped_connections.append(repr(error))
            self.failed_connects += not was_connected
            self.stopping.wait(0.01)
            return
        if 200 <= status < 300:
            self.acknowledged.append(reference)
        else:
            self.error_statuses.append(status)


def assert_unavailable(response: Response) -> None:
    assert response.status == 503
    assert int(response.headers["retry-after"]) > 0
    parse_problem(response)


def go_through_outage(web: Web, server: str, dsn: str) -> None:
    """Check what the endpoint responds before, during and after an outage of its database."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    body = build_report("ref-1")
    assert web.call_back(body).status == 200
    assert web.call("GET", "/readyz").status == 200
    time.sleep(READINESS_INTERVAL_S)
    started_at = time.monotonic()
    with block_database(server, dsn), ThreadPoolExecutor(1) as pool:
        listing = pool.submit(web.call, "GET", "/v1/providers", b"", headers)
        assert_unavailable(web.call_back(build_report("ref-2"), webhook_id="msg-2"))
        assert_unavailable(web.call_back(b"no json"))
        assert web.call_back(body, age=4_000.0).status == 401
        assert web.call("GET", "/healthz").status == 200
        wait_for(lambda: web.call("GET", "/readyz").status == 503)
        assert_unavailable(web.call("GET", "/readyz"))
        assert_unavailable(listing.result())
        wait_for(lambda: time.monotonic() - started_at > LONG_OUTAGE_S)
    wait_for(lambda: web.call_back(build_report("ref-2"), webhook_id="msg-2").status == 200, timeout_s=4.0)
    assert find_stored_references(dsn) >= {"ref-1", "ref-2"}
    wait_for(lambda: web.call("GET", "/readyz").status == 200, timeout_s=4.0)


@pytest.fixture(scope="module", autouse=True)
def outage(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[None]]:
    """Start `go_through_outage` early, because it mostly waits; it has a database and a web process of its own."""
    with (
        scratch_database(server, template=template) as scratch_dsn,
        start_web(scratch_dsn, tmp_path_factory.mktemp("outage")) as running,
        ThreadPoolExecutor(1) as pool,
    ):
        yield pool.submit(go_through_outage, running, server, scratch_dsn)
        pool.shutdown()
        assert_ends_well(running)


def test_acknowledged_callbacks_survive_broken_connections(shared_web: Web, shared_dsn: str) -> None:
    stream = Stream(shared_web)
    with closing(connect(shared_dsn)) as killer, stream.run():
        for _ in range(10):
            killer.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()"""
            )
            stream.wait_for_acknowledged(SENDER_COUNT)
    assert set(stream.acknowledged) <= find_stored_references(shared_dsn)
    assert set(stream.error_statuses) <= {503}
    assert (stream.dropped_connections, stream.failed_connects) == ([], 0)


@pytest.mark.slow
def test_callback_with_a_failed_commit_is_not_acknowledged(shared_web: Web, shared_dsn: str) -> None:
    body = build_report("ref-lost")
    with ThreadPoolExecutor(1) as pool, closing(connect(shared_dsn)) as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE callbacks IN EXCLUSIVE MODE")
        response = pool.submit(shared_web.call_back, body)
        for pid in wait_for(lambda: find_lock_waiters(blocker)):
            blocker.execute("SELECT pg_terminate_backend(%s)", [pid])
        assert_unavailable(response.result())
    assert "ref-lost" not in find_stored_references(shared_dsn)
    wait_for(lambda: shared_web.call_back(body).status == 200, timeout_s=4.0)
    assert "ref-lost" in find_stored_references(shared_dsn)


@pytest.mark.parametrize(
    "count", [pytest.param(50, marks=pytest.mark.slow), 200, pytest.param(350, marks=pytest.mark.slow)]
)
def test_acknowledged_callbacks_survive_a_killed_process(own_web: Web, dsn: str, count: int) -> None:
    stream = Stream(own_web)
    with stream.run():
        stream.wait_for_acknowledged(count)
        own_web.kill()
    assert stream.dropped_connections
    assert set(stream.acknowledged) <= find_stored_references(dsn)


def test_shutdown_does_not_interrupt_a_stream_of_callbacks(own_web: Web, dsn: str) -> None:
    stream = Stream(own_web)
    with stream.run():
        assert_ends_well(own_web)
    assert (stream.dropped_connections, stream.error_statuses) == ([], [])
    assert set(stream.acknowledged) == find_stored_references(dsn)


def test_shutdown_commits_and_acknowledges_waiting_callbacks(own_web: Web, dsn: str) -> None:
    bodies = [build_report(f"ref-{number}") for number in range(20)]
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(own_web.connect())) for _ in bodies]
        for connection in connections:
            # The worker has accepted the connection: it does not wait in the listener's queue any more.
            assert exchange(connection, "GET", "/healthz").status == 200
        with closing(connect(dsn)) as blocker, blocker.transaction():
            blocker.execute("LOCK TABLE callbacks IN EXCLUSIVE MODE")
            for connection, body in zip(connections, bodies, strict=True):
                connection.request("POST", "/callbacks/sandbox", body, sign_callback(body))
            wait_for(lambda: find_lock_waiters(blocker))
            own_web.popen.send_signal(signal.SIGTERM)
            wait_for(lambda: "Handling signal: term" in own_web.output)
        assert [read_response(connection.getresponse()).status for connection in connections] == [200] * len(bodies)
    assert own_web.popen.wait(20) == 0, own_web.output
    assert find_stored_references(dsn) == {f"ref-{number}" for number in range(20)}


def test_database_outage_is_503_and_service_recovers_afterwards(outage: Future[None]) -> None:
    outage.result()
