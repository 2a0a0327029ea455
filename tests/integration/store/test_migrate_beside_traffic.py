"""Migrate the baseline's data while the baseline's web process serves, beside a transaction that has read."""

import io
import json
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Self

import pytest

from receiver.cli.processes import WEB
from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection, connect
from receiver.store.migrate import migrate
from tests.support.api_calls import build_submission
from tests.support.http import Response, build_report, build_reports
from tests.support.processes import (
    ADMIN_KEY,
    Web,
    build_environ,
    build_provider_toml,
    is_healthy,
    running,
    wait_for,
)

ROOT = Path(__file__).parents[3]
LAST_BASELINE_COMMIT = "832f21e7c0d580f2bd3de88afc0200572cdf02ac"
"""The last commit whose only migration is `0001_baseline`."""
MIGRATE_SCRIPT = """
import sys, receiver
from receiver.store.migrate import migrate
assert receiver.__file__.startswith(sys.argv[2]), receiver.__file__
assert migrate(sys.argv[1]) == ["0001_baseline"]
"""
STORED_COUNT = 300
MAX_STALL_S = 2.0
IS_WAITING = """
    SELECT count(*) > 0 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name LIKE 'receiver migrate%'
"""
AUTHORIZATION = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    """A directory with the code of the baseline."""
    archive = subprocess.run(
        ["git", "archive", LAST_BASELINE_COMMIT, "receiver", "schemas"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"the history of the repository is not available: {archive.stderr.decode().strip()}")
    directory = tmp_path / "baseline"
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(directory, filter="tar")
    return directory


@pytest.fixture
def baseline_dsn(server: str, baseline: Path) -> Iterator[str]:
    """A database that the baseline has migrated."""
    with scratch_database(server) as dsn:
        subprocess.run([sys.executable, "-c", MIGRATE_SCRIPT, dsn, str(baseline)], cwd=baseline, check=True)
        yield dsn


@pytest.fixture
def baseline_web(baseline: Path, baseline_dsn: str, tmp_path: Path) -> Iterator[Web]:
    """The web process of the baseline, which has stored requests, jobs and callbacks."""
    environ = build_environ(tmp_path, baseline_dsn, build_provider_toml(), "web")
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        (host, port), descriptor = listener.getsockname(), listener.fileno()
        arguments = [*WEB, "--bind", f"fd://{descriptor}"]
        with running(arguments, tmp_path / "web.log", environ, cwd=baseline, pass_fds=[descriptor]) as process:
            web = Web(host, port, process.popen, process.log)
            web.wait_until(lambda: is_healthy(web))
            store_data(web)
            yield web


def store_data(web: Web) -> None:
    """Store requests, jobs and callbacks through the API."""
    submissions = json.dumps({"requests": [build_submission() for _ in range(STORED_COUNT)]}).encode()
    assert web.call("POST", "/v1/requests/batch", submissions, AUTHORIZATION).status == 202
    for number in range(STORED_COUNT // 3):
        reports = [{"id": f"stored-{number}-{item}", "state": "DELIVERED"} for item in range(3)]
        assert web.call_back(build_reports(*reports)).status == 200


class RepeatedCall:
    """Makes a call again and again in a thread; records the statuses, and the duration of the longest call."""

    def __init__(self, make_call: Callable[[int], Response]) -> None:
        self.statuses: list[int] = []
        self.longest_s = 0.0
        self._make_call = make_call
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for number in count():
            started_at = time.monotonic()
            self.statuses.append(self._make_call(number).status)
            self.longest_s = max(self.longest_s, time.monotonic() - started_at)
            if self._ended.wait(0.01):
                return

    def wait_for_more(self) -> None:
        """Wait until some more calls have been made."""
        target = len(self.statuses) + 20
        wait_for(lambda: len(self.statuses) >= target or not self._thread.is_alive())


def read_like_a_dump(connection: Connection) -> None:
    """Begin a transaction that reads the tables and stays open, as that of pg_dump."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    for table in ("requests", "jobs", "events", "callbacks"):
        connection.execute(f"SELECT count(*) FROM {table}")


def wait_until(observer: Connection, is_waiting: bool) -> None:
    wait_for(lambda: observer.execute(IS_WAITING).fetchone() == (is_waiting,))


@pytest.mark.slow
def test_migrate_stops_neither_callbacks_nor_submissions_of_the_baseline(baseline_web: Web, baseline_dsn: str) -> None:
    submission = json.dumps(build_submission()).encode()
    with (
        ThreadPoolExecutor(1) as pool,
        RepeatedCall(lambda number: baseline_web.call_back(build_report(f"new-{number}"))) as callbacks,
        RepeatedCall(lambda _: baseline_web.call("POST", "/v1/requests", submission, AUTHORIZATION)) as submissions,
        closing(connect(baseline_dsn)) as observer,
        closing(connect(baseline_dsn)) as reader,
    ):
        read_like_a_dump(reader)
        migration = pool.submit(migrate, baseline_dsn)
        wait_until(observer, is_waiting=True)
        wait_until(observer, is_waiting=False)
        wait_until(observer, is_waiting=True)
        assert not migration.done()
        reader.execute("COMMIT")
        assert migration.result()[0] == "0002_nonces"
        for calls in (callbacks, submissions):
            calls.wait_for_more()
    assert (set(callbacks.statuses), set(submissions.statuses)) == ({200}, {202})
    assert max(callbacks.longest_s, submissions.longest_s) < MAX_STALL_S
    with closing(connect(baseline_dsn)) as connection:
        query = "SELECT (SELECT count(*) FROM requests), (SELECT count(*) FROM jobs), (SELECT count(*) FROM callbacks)"
        assert connection.execute(query).fetchone() == (
            STORED_COUNT + len(submissions.statuses),
            STORED_COUNT + len(callbacks.statuses),
            STORED_COUNT // 3 + len(callbacks.statuses),
        )
