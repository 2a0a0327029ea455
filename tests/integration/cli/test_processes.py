"""`receiver web` and `worker` as real processes."""

import signal
import socket
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.installation import STOP_TIMEOUT_S, Installation, assert_ends, submit_message
from tests.support.processes import wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
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


@pytest.mark.parametrize("command", ["web", "worker"])
def test_process_without_its_variables_is_refused(installation: Installation, command: str) -> None:
    with installation.running(command, RECEIVER_SECRET_KEY="", PORT="http") as process:
        assert process.popen.wait(STOP_TIMEOUT_S) == 2
        assert "DATABASE_URL: Missing data for required field. Set it to a Postgres" in process.output
        assert "RECEIVER_SECRET_KEY: Missing data for required field." in process.output
        assert "PORT" in process.output
        assert not (installation.directory / ".receiver").exists()


def test_web_reports_a_taken_port_at_once(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", installation.port)):
        variables = {"DATABASE_URL": "postgresql://127.0.0.1:9/none"}
        with installation.running("web", **variables) as web:
            assert web.popen.wait(STOP_TIMEOUT_S) == 1
            assert f"error: PORT: Cannot listen on port {installation.port}: Address already in use." in web.output
            assert "Retrying" not in web.output
