"""`receiver web` and `worker` as real processes, on a database or an embedded Postgres."""

import signal
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.http import build_report
from tests.support.installation import STOP_TIMEOUT_S, Installation, assert_ends, submit_message
from tests.support.processes import (
    find_processes,
    wait_for,
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_web_and_worker_run_on_database_url_until_stopped(
    installation: Installation, dsn: str, number: signal.Signals
) -> None:
    name = f"c-{uuid4().hex}"
    with (
        installation.running("web", DATABASE_URL=dsn) as web,
        installation.running("worker", DATABASE_URL=dsn) as worker,
    ):
        installation.wait_until_ready(web)
        submit_message(installation, name)
        wait_for(lambda: installation.find_status(f"{name}-0") == "accepted")
        assert_ends(web, number, 0)
        assert_ends(worker, number, 0)
        installation.assert_nothing_left()


def test_web_and_worker_share_one_embedded_postgres(installation: Installation) -> None:
    name = f"c-{uuid4().hex}"
    with installation.running("worker") as worker, installation.running("web") as web:
        installation.wait_until_ready(web)
        submit_message(installation, name)
        wait_for(lambda: installation.find_status(f"{name}-0") == "accepted")
        assert sum("postgres -D" in command for command in find_processes(installation.directory).values()) == 1
        assert_ends(worker, signal.SIGTERM, 0)
        assert installation.api().call_back(build_report(f"{name}-0")).status == 200
        assert_ends(web, signal.SIGINT, 0)
        installation.assert_nothing_left()


@pytest.mark.parametrize("command", ["web", "worker"])
def test_process_without_secret_key_is_refused(installation: Installation, command: str) -> None:
    with installation.running(command, RECEIVER_SECRET_KEY="", PORT="http") as process:
        assert process.popen.wait(STOP_TIMEOUT_S) == 2
        assert "RECEIVER_SECRET_KEY: Missing data for required field." in process.output
        assert "PORT" in process.output
