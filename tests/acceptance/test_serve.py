"""`receiver serve`, `migrate`, `web` and `worker` as a person runs them: they do their work and leave nothing."""

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

from receiver.domain.jobs import derive_job_id
from receiver.store.scratch import scratch_database
from tests.http import Server, says
from tests.processes import ADMIN_KEY, RECEIVER, Process, declared, kill_processes_of, processes_of, running, wait_for
from tests.provider import Provider, listening, taken

SOON = 20.0
"""Seconds in which everything must have ended; it should be ten, on a machine that does nothing else."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc")


@dataclass(frozen=True)
class Place:
    """A directory with a `receiver.toml`, where commands are run and the embedded Postgres lives, and a port."""

    directory: Path
    provider: Provider
    port: int
    key: str = ADMIN_KEY

    @contextmanager
    def running(self, command: str, **environ: str) -> Iterator[Process]:
        """Run `receiver COMMAND`."""
        given = {"PORT": str(self.port), "RECEIVER_ADMIN_KEY": ADMIN_KEY, "WEB_CONCURRENCY": "1", **environ}
        log = self.directory / f"{command}-{uuid4().hex}.log"
        try:
            with running([RECEIVER, command], log, given, cwd=self.directory) as process:
                yield process
        except BaseException:
            kill_processes_of(self.directory)
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

    def status_of(self, reference: str) -> str | None:
        response = self.api().call("GET", f"/v1/jobs/{derive_job_id('sandbox', reference)}")
        return str(response.json["status"]) if response.status == 200 else None

    def assert_nothing_left(self) -> None:
        """No process, no socket, no Postgres that believes to run, nobody at the port."""
        assert processes_of(self.directory) == {}
        assert not list(self.directory.glob(".receiver/.s.*"))
        assert not (self.directory / ".receiver/postgres/postmaster.pid").exists()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("place")
    with listening() as provider, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (directory / "receiver.toml").write_text(declared(base_url=provider.url))
        port = free.getsockname()[1]
        free.close()
        yield Place(directory, provider, port)


@pytest.fixture
def empty(server: str) -> Iterator[str]:
    """A database without a table."""
    with scratch_database(server) as own:
        yield own


def submit(place: Place, name: str) -> None:
    """Submit a request that the provider takes."""
    place.provider.script(name, taken())
    payload = {"client_reference": name, "to": ["2348030000000"], "text": "hello"}
    body = json.dumps({"provider": "sandbox", "operation": "send", "payload": payload}).encode()
    assert place.api().call("POST", "/v1/requests", body, {"content-type": "application/json"}).status == 202


def assert_ends(process: Process, number: signal.Signals, code: int) -> None:
    process.popen.send_signal(number)
    assert process.popen.wait(SOON) == code, process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_does_everything_until_it_is_told_to_stop_and_leaves_nothing(
    place: Place, number: signal.Signals
) -> None:
    name = f"c-{uuid4().hex}"
    with place.running("serve", RECEIVER_ADMIN_KEY="") as process:
        place.wait_until_ready(process)
        shown = re.search(r"^key: (\S+)", process.output, re.MULTILINE)
        assert shown
        place = replace(place, key=shown[1])
        submit(place, name)
        wait_for(lambda: place.status_of(f"{name}-0") == "accepted")
        assert f"callback URL of sandbox: http://127.0.0.1:{place.port}/callbacks/sandbox" in process.output
        assert place.api().call_back(says(f"{name}-0")).status == 200
        assert place.status_of(f"{name}-0") == "succeeded"
        assert_ends(process, number, 0)
        place.assert_nothing_left()


@pytest.mark.parametrize("moment", ["/postgres -D", "-m receiver.worker", "Booting worker"])
def test_serve_that_is_told_to_stop_while_it_starts_leaves_nothing(place: Place, moment: str) -> None:
    """The last moment is gunicorn's: its workers' first steps, before they listen to signals."""

    def has_come() -> bool:
        return any(moment in words for words in (process.output, *processes_of(place.directory).values()))

    with place.running("serve", WEB_CONCURRENCY="2") as process:
        process.wait_until(has_come)
        assert_ends(process, signal.SIGTERM, 0)
        place.assert_nothing_left()


def test_serve_ends_with_everything_when_one_of_its_processes_dies(place: Place) -> None:
    with place.running("serve") as process:
        place.wait_until_ready(process)
        (worker,) = (pid for pid, command in processes_of(place.directory).items() if "receiver.worker" in command)
        os.kill(worker, signal.SIGKILL)
        assert process.popen.wait(SOON) == 1
        assert "the worker process ended with code -9" in process.output
        place.assert_nothing_left()


def test_serve_does_not_start_with_wrong_settings_and_tells_them_all(place: Place) -> None:
    with place.running("serve", PORT="http", LOG_LEVEL="LOUD") as process:
        assert process.popen.wait(SOON) == 2
        assert re.findall(r"^settings: (\w+)", process.output, re.MULTILINE) == ["PORT", "LOG_LEVEL"]
        place.assert_nothing_left()


@pytest.mark.parametrize("embedded", [False, True])
def test_migrate_brings_a_database_up_to_date_and_ends(place: Place, empty: str, embedded: bool) -> None:
    given = {"RECEIVER_HOME": "fresh"} if embedded else {"DATABASE_URL": empty}
    for told in ("applied: 0001_baseline", "nothing to apply"):
        with place.running("migrate", **given) as process:
            assert process.popen.wait(SOON) == 0, process.output
            assert told in process.output
            assert processes_of(place.directory) == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_web_and_worker_run_on_a_given_database_until_they_are_told_to_stop(
    place: Place, dsn: str, number: signal.Signals
) -> None:
    name = f"c-{uuid4().hex}"
    with place.running("web", DATABASE_URL=dsn) as web, place.running("worker", DATABASE_URL=dsn) as worker:
        place.wait_until_ready(web)
        submit(place, name)
        wait_for(lambda: place.status_of(f"{name}-0") == "accepted")
        assert_ends(web, number, 0)
        assert_ends(worker, number, 0)
        place.assert_nothing_left()


def test_web_and_worker_share_one_embedded_postgres_which_the_last_one_stops(place: Place) -> None:
    name = f"c-{uuid4().hex}"
    with place.running("worker") as worker, place.running("web") as web:
        place.wait_until_ready(web)
        submit(place, name)
        wait_for(lambda: place.status_of(f"{name}-0") == "accepted")
        assert sum("postgres -D" in command for command in processes_of(place.directory).values()) == 1
        assert_ends(worker, signal.SIGTERM, 0)
        assert place.api().call_back(says(f"{name}-0")).status == 200
        assert_ends(web, signal.SIGINT, 0)
        place.assert_nothing_left()
