"""`receiver serve`, `migrate`, `web` and `worker` as real processes: they work, and leave nothing behind."""

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.domain.jobs import derive_job_id
from tests.support.http import Server, build_report
from tests.support.processes import (
    ADMIN_KEY,
    RECEIVER,
    Process,
    build_provider_toml,
    find_processes,
    kill_processes,
    running,
    wait_for,
)
from tests.support.provider import Provider, accept_request, listening

STOP_TIMEOUT_S = 20.0
"""The time in which all processes must have ended: ten seconds, doubled for a busy machine."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc")


@dataclass(frozen=True)
class Installation:
    """A directory with a `receiver.toml`, for commands and the embedded Postgres, and a port."""

    directory: Path
    provider: Provider
    port: int
    key: str = ADMIN_KEY

    @contextmanager
    def running(self, command: str, **environ: str) -> Iterator[Process]:
        """Run `receiver COMMAND`."""
        variables = {"PORT": str(self.port), "RECEIVER_ADMIN_KEY": ADMIN_KEY, "WEB_CONCURRENCY": "1", **environ}
        log = self.directory / f"{command}-{uuid4().hex}.log"
        try:
            with running([RECEIVER, command], log, variables, cwd=self.directory) as process:
                yield process
        except BaseException:
            kill_processes(self.directory)
            raise

    def api(self) -> Server:
        return Server("127.0.0.1", self.port, headers={"authorization": f"Bearer {self.key}"})

    def wait_until_ready(self, process: Process) -> None:
        process.wait_until(self._ready)

    def _ready(self) -> bool:
        try:
            return self.api().call("GET", "/readyz").status == 200
        except OSError:
            return False

    def find_status(self, reference: str) -> str | None:
        response = self.api().call("GET", f"/v1/jobs/{derive_job_id('sandbox', reference)}")
        return str(response.json["status"]) if response.status == 200 else None

    def assert_nothing_left(self) -> None:
        """Check that there is no process, no socket, no PID file of Postgres, and no listener on the port."""
        assert find_processes(self.directory) == {}
        assert not list(self.directory.glob(".receiver/.s.*"))
        assert not (self.directory / ".receiver/postgres/postmaster.pid").exists()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    directory = tmp_path_factory.mktemp("place")
    with listening() as provider, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (directory / "receiver.toml").write_text(build_provider_toml(base_url=provider.url))
        port = free.getsockname()[1]
        free.close()
        yield Installation(directory, provider, port)


@pytest.fixture
def empty_database(server: str) -> Iterator[str]:
    """A database without tables."""
    with scratch_database(server) as dsn:
        yield dsn


def submit(installation: Installation, name: str) -> None:
    """Submit a request that the provider accepts."""
    installation.provider.script(name, accept_request())
    payload = {"client_reference": name, "to": ["2348030000000"], "text": "hello"}
    body = json.dumps({"provider": "sandbox", "operation": "send", "payload": payload}).encode()
    assert installation.api().call("POST", "/v1/requests", body, {"content-type": "application/json"}).status == 202


def assert_ends(process: Process, number: signal.Signals, code: int) -> None:
    process.popen.send_signal(number)
    assert process.popen.wait(STOP_TIMEOUT_S) == code, process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_works_until_stopped_and_leaves_nothing(installation: Installation, number: signal.Signals) -> None:
    name = f"c-{uuid4().hex}"
    with installation.running("serve", RECEIVER_ADMIN_KEY="") as process:
        installation.wait_until_ready(process)
        match = re.search(r"^key: (\S+)", process.output, re.MULTILINE)
        assert match
        installation = replace(installation, key=match[1])
        submit(installation, name)
        wait_for(lambda: installation.find_status(f"{name}-0") == "accepted")
        assert f"callback URL of sandbox: http://127.0.0.1:{installation.port}/callbacks/sandbox" in process.output
        assert installation.api().call_back(build_report(f"{name}-0")).status == 200
        assert installation.find_status(f"{name}-0") == "succeeded"
        assert_ends(process, number, 0)
        installation.assert_nothing_left()


@pytest.mark.parametrize("text", ["/postgres -D", "-m receiver.worker", "Booting worker"])
def test_serve_stopped_while_starting_leaves_nothing(installation: Installation, text: str) -> None:
    """With the last output, gunicorn's workers have just been forked and have not installed their signal handlers."""

    def is_reached() -> bool:
        return any(text in output for output in (process.output, *find_processes(installation.directory).values()))

    with installation.running("serve", WEB_CONCURRENCY="2") as process:
        process.wait_until(is_reached)
        assert_ends(process, signal.SIGTERM, 0)
        installation.assert_nothing_left()


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


@pytest.mark.parametrize("embedded", [False, True])
def test_migrate_updates_the_database(installation: Installation, empty_database: str, embedded: bool) -> None:
    environ = {"RECEIVER_HOME": "fresh"} if embedded else {"DATABASE_URL": empty_database}
    for message in ("applied: 0001_baseline", "nothing to apply"):
        with installation.running("migrate", **environ) as process:
            assert process.popen.wait(STOP_TIMEOUT_S) == 0, process.output
            assert message in process.output
            assert find_processes(installation.directory) == {}


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
        submit(installation, name)
        wait_for(lambda: installation.find_status(f"{name}-0") == "accepted")
        assert_ends(web, number, 0)
        assert_ends(worker, number, 0)
        installation.assert_nothing_left()


def test_web_and_worker_share_one_embedded_postgres(installation: Installation) -> None:
    name = f"c-{uuid4().hex}"
    with installation.running("worker") as worker, installation.running("web") as web:
        installation.wait_until_ready(web)
        submit(installation, name)
        wait_for(lambda: installation.find_status(f"{name}-0") == "accepted")
        assert sum("postgres -D" in command for command in find_processes(installation.directory).values()) == 1
        assert_ends(worker, signal.SIGTERM, 0)
        assert installation.api().call_back(build_report(f"{name}-0")).status == 200
        assert_ends(web, signal.SIGINT, 0)
        installation.assert_nothing_left()
