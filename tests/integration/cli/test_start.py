"""`receiver serve` and `migrate` as real processes: they work, and leave nothing behind."""

import json
import os
import re
import signal
import socket
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.http import build_report
from tests.support.installation import STOP_TIMEOUT_S, Installation, assert_ends, submit_message
from tests.support.processes import (
    find_processes,
    wait_for,
)

READY = "Press Ctrl-C to stop.\n"
MIGRATIONS = len(list(Path("receiver/store/migrations").glob("*.sql")))
pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_works_until_stopped_and_leaves_nothing(installation: Installation, number: signal.Signals) -> None:
    name = f"c-{uuid4().hex}"
    with installation.running("serve", RECEIVER_ADMIN_KEY="") as process:
        process.wait_until(lambda: READY in process.output)
        match = re.search(r"^key: (\S+)", process.output, re.MULTILINE)
        assert match
        assert (installation.directory / ".receiver/admin_key").read_text().strip() == match[1]
        assert (installation.directory / ".receiver/secret_key").exists()
        assert f"admin pages: http://127.0.0.1:{installation.port}/admin/  (sign in with this key)" in process.output
        migrated = [json.loads(line) for line in process.output.splitlines() if "migration" in line]
        # The tests of this module share a database, which is migrated once.
        assert [(line["event"], line["count"]) for line in migrated] in ([], [("migrations.applied", MIGRATIONS)])
        installation = replace(installation, key=match[1])
        submit_message(installation, name)
        wait_for(lambda: installation.find_status(f"{name}-0") == "accepted")
        assert f"callback URL of sandbox: http://127.0.0.1:{installation.port}/callbacks/sandbox" in process.output
        assert installation.api().call_back(build_report(f"{name}-0")).status == 200
        assert installation.find_status(f"{name}-0") == "succeeded"
        assert_ends(process, number, 0)
        installation.assert_nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize("text", ["/postgres -D", "-m receiver.worker", "Booting worker"])
def test_serve_stopped_while_starting_leaves_nothing(installation: Installation, text: str) -> None:
    """With the last output, gunicorn's workers have just been forked and have not installed their signal handlers."""

    def is_reached() -> bool:
        return any(text in output for output in (process.output, *find_processes(installation.directory).values()))

    with installation.running("serve", WEB_CONCURRENCY="2") as process:
        process.wait_until(is_reached)
        assert_ends(process, signal.SIGTERM, 0)
        installation.assert_nothing_left()


@pytest.mark.slow
def test_serve_ends_when_one_of_its_processes_dies(installation: Installation) -> None:
    with installation.running("serve") as process:
        installation.wait_until_ready(process)
        (worker,) = (
            pid for pid, command in find_processes(installation.directory).items() if "receiver.worker" in command
        )
        os.kill(worker, signal.SIGKILL)
        assert process.popen.wait(STOP_TIMEOUT_S) == 1
        assert "The worker process ended with code -9" in process.output
        installation.assert_nothing_left()


def test_serve_reports_all_invalid_settings(installation: Installation) -> None:
    with installation.running("serve", PORT="http", LOG_LEVEL="LOUD") as process:
        assert process.popen.wait(STOP_TIMEOUT_S) == 2
        assert re.findall(r"^settings: (\w+)", process.output, re.MULTILINE) == ["PORT", "LOG_LEVEL"]
        installation.assert_nothing_left()


@pytest.mark.parametrize("variable", ["PORT", "RECEIVER_METRICS_PORT"])
def test_serve_reports_a_taken_port_before_it_starts_postgres(installation: Installation, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environ = {variable: str(listener.getsockname()[1]), "RECEIVER_HOME": "unused"}
        with installation.running("serve", **environ) as process:
            assert process.popen.wait(STOP_TIMEOUT_S) == 1
            assert process.output.startswith(f"error: {variable}: Cannot listen on port")
    assert not (installation.directory / "unused").exists()


def test_serve_refuses_one_port_for_web_and_metrics(installation: Installation) -> None:
    with installation.running("serve", RECEIVER_METRICS_PORT=str(installation.port)) as process:
        assert process.popen.wait(STOP_TIMEOUT_S) == 1
        assert process.output == "error: RECEIVER_METRICS_PORT: Must differ from PORT.\n"


def test_migrate_updates_the_database(installation: Installation, empty_database: str) -> None:
    for message in ("applied: 0001_baseline", "nothing to apply"):
        with installation.running("migrate", DATABASE_URL=empty_database) as process:
            assert process.popen.wait(STOP_TIMEOUT_S) == 0, process.output
            assert message in process.output
            assert find_processes(installation.directory) == {}


def test_migrate_requires_a_database_url(installation: Installation) -> None:
    with installation.running("migrate", RECEIVER_HOME="fresh", LOG_LEVEL="LOUD") as process:
        assert process.popen.wait(STOP_TIMEOUT_S) == 2
        assert re.findall(r"^settings: (\w+)", process.output, re.MULTILINE) == ["LOG_LEVEL", "DATABASE_URL"]
        assert not (installation.directory / "fresh").exists()


def test_migrate_reports_an_unreachable_database(installation: Installation) -> None:
    with installation.running("migrate", DATABASE_URL="postgresql://127.0.0.1:9/none") as process:
        assert process.popen.wait(STOP_TIMEOUT_S) == 1
        assert process.output.startswith("error: ")
        assert "Traceback" not in process.output


@pytest.mark.slow
def test_serve_prints_the_dsn_of_its_database(installation: Installation) -> None:
    with installation.running("serve") as process:
        process.wait_until(lambda: READY in process.output)
        assert "(sign in with your RECEIVER_ADMIN_KEY)" in process.output
        assert "key: " not in process.output
        dsn = re.search(r"^DATABASE_URL='(\S+)'", process.output, re.MULTILINE)
        assert dsn
        with installation.running("audit", DATABASE_URL=dsn[1]) as audit:
            assert audit.popen.wait(STOP_TIMEOUT_S) == 0, audit.output
            assert "no differences" in audit.output
        assert_ends(process, signal.SIGTERM, 0)
        installation.assert_nothing_left()
