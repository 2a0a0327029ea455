"""`receiver demo` as a real process: its result, and that it leaves nothing behind, even if it is interrupted."""

import json
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from receiver.store.database import connect
from tests.support.processes import RECEIVER, Process, find_processes, kill_processes, running, wait_for

TIMEOUT_S = 150.0
"""The time in which a demo must end, also on a busy machine."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc")


@dataclass(frozen=True)
class Demo:
    """A running demo. Its temporary files are in `directory`, which is in the environment of all its processes."""

    process: Process
    directory: Path

    def wait_for_output(self, text: str) -> None:
        self.process.wait_until(lambda: text in self.process.output)

    def find_database(self) -> str:
        """Return the name of the scratch database that the demo created on the server of `DATABASE_URL`."""
        environs = [Path(f"/proc/{pid}/environ").read_text() for pid in find_processes(self.directory)]
        (name,) = set(re.findall(r"receiver_scratch_\w+", "".join(environs)))
        return str(name)

    def assert_nothing_left(self) -> None:
        assert find_processes(self.directory) == {}
        assert list((self.directory / "tmp").iterdir()) == []


@contextmanager
def demo(directory: Path, *, requests: int = 60, **environ: str) -> Iterator[Demo]:
    (directory / "tmp").mkdir()
    arguments = [RECEIVER, "demo", "--requests", str(requests), "--seed", "5", "--json"]
    variables = {"TMPDIR": str(directory / "tmp"), **environ}
    try:
        with running(arguments, directory / "demo.log", variables, cwd=directory) as process:
            yield Demo(process, directory)
    finally:
        kill_processes(directory)


def list_databases(server: str) -> set[str]:
    with closing(connect(server)) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


@pytest.fixture(scope="module")
def demos(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Demo]]:
    """Two concurrent demos, because they mostly wait: one with an embedded Postgres, one with a server."""
    with ExitStack() as stack:
        yield {
            "embedded": stack.enter_context(demo(tmp_path_factory.mktemp("embedded"))),
            "server": stack.enter_context(demo(tmp_path_factory.mktemp("server"), DATABASE_URL=server)),
        }


@pytest.fixture(scope="module", autouse=True)
def demo_database(demos: Mapping[str, Demo]) -> str:
    """The database that the demo created on the server. Requested first, so that the demos run during all tests."""
    demos["server"].wait_for_output("submitting")
    return demos["server"].find_database()


@pytest.mark.parametrize(
    ("output", "number"),
    [("starting Postgres", signal.SIGINT), ("was paused", signal.SIGTERM)],
    ids=["start", "middle"],
)
def test_interrupted_demo_leaves_nothing(tmp_path: Path, output: str, number: signal.Signals) -> None:
    with demo(tmp_path) as interrupted:
        interrupted.wait_for_output(output)
        assert interrupted.process.stop(number) == 128 + number, interrupted.process.output
        assert "Traceback" not in interrupted.process.output
        interrupted.assert_nothing_left()


def test_demo_interrupted_while_submitting_drops_its_database(server: str, tmp_path: Path) -> None:
    with demo(tmp_path, requests=1_000, DATABASE_URL=server) as interrupted:
        interrupted.wait_for_output("submitting")
        name = interrupted.find_database()
        assert name in list_databases(server)
        assert interrupted.process.stop(signal.SIGINT) == 130, interrupted.process.output
        assert "stopped by SIGINT" in interrupted.process.output
        assert "Traceback" not in interrupted.process.output
        interrupted.assert_nothing_left()
    assert name not in list_databases(server)


def test_demo_interrupted_in_create_database_leaves_none(server: str, tmp_path: Path) -> None:
    """Postgres waits before it copies a template with an open connection: time enough to interrupt it."""
    find_statement = "SELECT query FROM pg_stat_activity WHERE query LIKE 'CREATE DATABASE%' AND state = 'active'"
    with closing(connect(server)) as watcher, demo(tmp_path, DATABASE_URL=server) as interrupted:
        with closing(connect(make_conninfo(server, dbname="template1"))):
            (query,) = wait_for(lambda: watcher.execute(find_statement).fetchall())[0]
            interrupted.process.popen.send_signal(signal.SIGINT)
            time.sleep(0.3)  # until the signal has been handled
        assert interrupted.process.popen.wait(TIMEOUT_S) == 130, interrupted.process.output
        wait_for(lambda: not watcher.execute(find_statement).fetchall())
        interrupted.assert_nothing_left()
    assert query.split('"')[1] not in list_databases(server)


@pytest.mark.parametrize("postgres", ["embedded", "server"])
def test_ledger_and_postgres_agree(demos: Mapping[str, Demo], demo_database: str, server: str, postgres: str) -> None:
    demo = demos[postgres]
    assert demo.process.popen.wait(TIMEOUT_S) == 0, demo.process.output
    result = json.loads(demo.process.stdout.splitlines()[-1])
    assert result["requests"] == 60
    assert result["mismatches"] == result["forged_accepted"] == 0
    assert min(result[name] for name in ("succeeded", "failed", "unresolved", "forged", "seconds")) > 0
    assert result["jobs"] == result["succeeded"] + result["failed"] + result["unresolved"]
    assert "Traceback" not in demo.process.output
    demo.assert_nothing_left()
    assert postgres == "embedded" or demo_database not in list_databases(server)
