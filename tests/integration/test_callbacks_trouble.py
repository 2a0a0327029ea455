"""The callback endpoint in trouble: the database away, the process killed or stopped. A 2xx always means a commit."""

import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event
from uuid import uuid4

import pytest

from receiver.store.database import connect
from receiver.store.scratch import scratch_database
from tests.http import Answer, exchange, problem_of, read, says, signed
from tests.processes import (
    ADMIN_KEY,
    Web,
    assert_ends_well,
    database_away,
    declared,
    running_web,
    wait_for,
    waiting_for_locks,
)

SENDERS = 16
LONG_OUTAGE = 8.0
"""Seconds; a pool that tries again after 1, 2, 4 and 8 s would not be back soon."""


@contextmanager
def started(dsn: str, directory: Path) -> Iterator[Web]:
    """Run a web process on a port of its own, which refuses connections as soon as it is gone."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    with listener, running_web(directory, dsn, declared(), listener) as running:
        listener.close()
        yield running


@pytest.fixture(scope="module")
def lasting_dsn(server: str, template: str) -> Iterator[str]:
    with scratch_database(server, template=template) as own:
        yield own


@pytest.fixture(scope="module")
def lasting(lasting_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A web process for all the trouble that it must outlive."""
    with started(lasting_dsn, tmp_path_factory.mktemp("lasting")) as running:
        yield running
        assert_ends_well(running)


@pytest.fixture
def web(dsn: str, tmp_path: Path) -> Iterator[Web]:
    with started(dsn, tmp_path) as running:
        yield running


def stored(dsn: str) -> set[str]:
    """Give the references of all jobs that a kept callback finished."""
    with closing(connect(dsn)) as connection:
        rows = connection.execute(
            """SELECT reference FROM jobs JOIN events ON job_id = jobs.id JOIN callbacks ON callbacks.id = callback_id
            WHERE jobs.status = 'succeeded' AND verdict = 'accepted'"""
        )
        return {reference for (reference,) in rows}


@dataclass
class Stream:
    """Callbacks that many senders deliver, one after the other over a kept connection, until they are stopped."""

    web: Web
    acknowledged: list[str] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    cut_off: list[str] = field(default_factory=list)
    not_connected: int = 0
    stopping: Event = field(default_factory=Event)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Let it flow until the context ends."""
        with ThreadPoolExecutor(SENDERS) as pool:
            senders = [pool.submit(self._send) for _ in range(SENDERS)]
            try:
                self.wait_for_more(100)
                yield
            finally:
                self.stopping.set()
            for sender in senders:
                sender.result()

    def wait_for_more(self, number: int) -> None:
        """Wait until so many more were acknowledged."""
        enough = len(self.acknowledged) + number
        wait_for(lambda: len(self.acknowledged) >= enough)

    def _send(self) -> None:
        with closing(self.web.connect()) as connection:
            while not self.stopping.is_set():
                self._deliver(connection)

    def _deliver(self, connection: HTTPConnection) -> None:
        reference = f"ref-{uuid4().hex}"
        body = says(reference)
        kept = connection.sock is not None
        try:
            status = exchange(connection, "POST", "/callbacks/sandbox", body, signed(body)).status
        except (OSError, HTTPException) as error:
            connection.close()
            if kept:
                self.cut_off.append(repr(error))
            self.not_connected += not kept
            self.stopping.wait(0.01)
            return
        if 200 <= status < 300:
            self.acknowledged.append(reference)
        else:
            self.refused.append(status)


def assert_not_now(response: Answer) -> None:
    assert response.status == 503
    assert int(response.headers["retry-after"]) > 0
    problem_of(response)


def test_while_the_database_is_away_the_answer_is_503_and_afterwards_all_is_well_again(
    lasting: Web, server: str, lasting_dsn: str
) -> None:
    key = {"authorization": f"Bearer {ADMIN_KEY}"}
    body = says("ref-1")
    assert lasting.call_back(body).status == 200
    assert lasting.call("GET", "/readyz").status == 200
    began = time.monotonic()
    with database_away(server, lasting_dsn), ThreadPoolExecutor(2) as pool:
        unready = pool.submit(lasting.call, "GET", "/readyz")
        unlisted = pool.submit(lasting.call, "GET", "/v1/providers", b"", key)
        assert_not_now(lasting.call_back(says("ref-2"), webhook_id="msg-2"))
        assert_not_now(lasting.call_back(b"no json"))
        assert lasting.call_back(body, age=4_000.0).status == 401
        assert lasting.call("GET", "/healthz").status == 200
        assert_not_now(unready.result())
        assert_not_now(unlisted.result())
        wait_for(lambda: time.monotonic() - began > LONG_OUTAGE)
    assert lasting.call_back(says("ref-2"), webhook_id="msg-2").status == 200
    assert stored(lasting_dsn) >= {"ref-1", "ref-2"}
    wait_for(lambda: lasting.call("GET", "/readyz").status == 200, within=4.0)


def test_what_is_acknowledged_while_connections_to_the_database_break_is_stored(lasting: Web, lasting_dsn: str) -> None:
    stream = Stream(lasting)
    with closing(connect(lasting_dsn)) as saboteur, stream.flowing():
        for _ in range(10):
            saboteur.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()"""
            )
            stream.wait_for_more(SENDERS)
    assert set(stream.acknowledged) <= stored(lasting_dsn)
    assert set(stream.refused) <= {503}
    assert (stream.cut_off, stream.not_connected) == ([], 0)


def test_a_callback_whose_commit_fails_with_the_connection_is_not_acknowledged(lasting: Web, lasting_dsn: str) -> None:
    body = says("ref-lost")
    with ThreadPoolExecutor(1) as pool, closing(connect(lasting_dsn)) as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE callbacks IN EXCLUSIVE MODE")
        response = pool.submit(lasting.call_back, body)
        for pid in wait_for(lambda: waiting_for_locks(blocker)):
            blocker.execute("SELECT pg_terminate_backend(%s)", [pid])
        assert_not_now(response.result())
    assert "ref-lost" not in stored(lasting_dsn)
    assert lasting.call_back(body).status == 200
    assert "ref-lost" in stored(lasting_dsn)


@pytest.mark.parametrize("at", [50, 200, 350])
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(web: Web, dsn: str, at: int) -> None:
    stream = Stream(web)
    with stream.flowing():
        stream.wait_for_more(at)
        web.kill()
    assert stream.cut_off
    assert set(stream.acknowledged) <= stored(dsn)


def test_a_stream_of_callbacks_is_not_cut_off_when_the_process_is_told_to_stop(web: Web, dsn: str) -> None:
    stream = Stream(web)
    with stream.flowing():
        assert_ends_well(web)
    assert (stream.cut_off, stream.refused) == ([], [])
    assert set(stream.acknowledged) == stored(dsn)


def test_callbacks_that_wait_for_their_commit_when_the_process_is_told_to_stop_are_committed_and_answered(
    web: Web, dsn: str
) -> None:
    bodies = [says(f"ref-{number}") for number in range(20)]
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(web.connect())) for _ in bodies]
        for each in connections:
            assert exchange(each, "GET", "/healthz").status == 200  # taken from the listener's queue
        with closing(connect(dsn)) as blocker, blocker.transaction():
            blocker.execute("LOCK TABLE callbacks IN EXCLUSIVE MODE")
            for each, body in zip(connections, bodies, strict=True):
                each.request("POST", "/callbacks/sandbox", body, signed(body))
            wait_for(lambda: waiting_for_locks(blocker))
            web.popen.send_signal(signal.SIGTERM)
            wait_for(lambda: "Handling signal: term" in web.output)
        assert [read(each.getresponse()).status for each in connections] == [200] * len(bodies)
    assert web.popen.wait(20) == 0, web.output
    assert stored(dsn) == {f"ref-{number}" for number in range(20)}
