"""A directory in which commands run as real processes, and what they leave behind."""

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from receiver.domain.jobs import derive_job_id
from tests.support.http import Server
from tests.support.processes import (
    ADMIN_KEY,
    RECEIVER,
    Process,
    find_processes,
    kill_processes,
    running,
)
from tests.support.provider import Provider, accept_request

STOP_TIMEOUT_S = 20.0
"""The time in which all processes must have ended: ten seconds, doubled for a busy machine."""


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
        variables = {"PORT": str(self.port), "RECEIVER_ADMIN_KEY": ADMIN_KEY, "WEB_CONCURRENCY": "1"}
        if command != "serve":  # which makes a key itself
            variables["RECEIVER_SECRET_KEY"] = "a-secret-key-of-tests"
        variables |= environ
        log = self.directory / f"{command}-{uuid4().hex}.log"
        try:
            with running([RECEIVER, command], log, variables, cwd=self.directory) as process:
                yield process
        except BaseException:
            kill_processes(self.directory)
            raise

    def api(self) -> Server:
        """Return a client of the web process, with the key."""
        return Server("127.0.0.1", self.port, headers={"authorization": f"Bearer {self.key}"})

    def wait_until_ready(self, process: Process) -> None:
        """Wait until the web process that this process runs is ready."""
        process.wait_until(self._ready)

    def _ready(self) -> bool:
        try:
            return self.api().call("GET", "/readyz").status == 200
        except OSError:
            return False

    def find_status(self, reference: str) -> str | None:
        """Return the status of a job, or None if there is no such job."""
        response = self.api().call("GET", f"/v1/jobs/{derive_job_id('sandbox', reference)}")
        return str(response.json["status"]) if response.status == 200 else None

    def assert_nothing_left(self) -> None:
        """Check that there is no process, no socket, no PID file of Postgres, and no listener on the port."""
        assert find_processes(self.directory) == {}
        assert not list(self.directory.glob(".receiver/.s.*"))
        assert not (self.directory / ".receiver/postgres/postmaster.pid").exists()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0)


def submit_message(installation: Installation, name: str) -> None:
    """Submit a request that the provider accepts."""
    installation.provider.script(name, accept_request())
    payload = {"client_reference": name, "to": ["2348030000000"], "text": "hello"}
    body = json.dumps({"provider": "sandbox", "operation": "send", "payload": payload}).encode()
    assert installation.api().call("POST", "/v1/requests", body, {"content-type": "application/json"}).status == 202


def assert_ends(process: Process, number: signal.Signals, code: int) -> None:
    """Stop a process with a signal, and check its exit code."""
    process.popen.send_signal(number)
    assert process.popen.wait(STOP_TIMEOUT_S) == code, process.output
    assert "Traceback" not in process.output
