"""`receiver demo` as a person runs it: the main job, whole, and nothing left behind, even when interrupted."""

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
from tests.processes import RECEIVER, Process, kill_processes_of, processes_of, running, wait_for

WITHIN = 150.0
"""Seconds in which a demo must end, whatever else this machine does."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc")


@dataclass(frozen=True)
class Demo:
    """A demo under way; its temporary files are in `directory`, which is in the environment of all its processes."""

    process: Process
    directory: Path

    def wait_until_told(self, words: str) -> None:
        self.process.wait_until(lambda: words in self.process.output)

    def database(self) -> str:
        """Give the name of the database that it made on a given server."""
        environs = [Path(f"/proc/{pid}/environ").read_text() for pid in processes_of(self.directory)]
        (name,) = set(re.findall(r"receiver_scratch_\w+", "".join(environs)))
        return str(name)

    def assert_nothing_left(self) -> None:
        assert processes_of(self.directory) == {}
        assert list((self.directory / "tmp").iterdir()) == []


@contextmanager
def demo(directory: Path, *, requests: int = 60, **environ: str) -> Iterator[Demo]:
    (directory / "tmp").mkdir()
    arguments = [RECEIVER, "demo", "--requests", str(requests), "--seed", "5", "--json"]
    given = {"TMPDIR": str(directory / "tmp"), **environ}
    try:
        with running(arguments, directory / "demo.log", given, cwd=directory) as process:
            yield Demo(process, directory)
    finally:
        kill_processes_of(directory)


def databases(server: str) -> set[str]:
    with closing(connect(server)) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


@pytest.fixture(scope="module")
def whole(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Demo]]:
    """Two demos at once, because they mostly wait: one embeds its Postgres, one is given a server."""
    with ExitStack() as stack:
        yield {
            "embedded": stack.enter_context(demo(tmp_path_factory.mktemp("embedded"))),
            "given": stack.enter_context(demo(tmp_path_factory.mktemp("given"), DATABASE_URL=server)),
        }


@pytest.fixture(scope="module", autouse=True)
def made(whole: Mapping[str, Demo]) -> str:
    """The database that the demo made on the server it was given; asked for first, so that all tests run meanwhile."""
    whole["given"].wait_until_told("submitting")
    return whole["given"].database()


@pytest.mark.parametrize(
    ("moment", "number"),
    [("starting Postgres", signal.SIGINT), ("was paused", signal.SIGTERM)],
    ids=["start", "middle"],
)
def test_a_demo_that_is_interrupted_ends_soon_and_leaves_nothing(
    tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    with demo(tmp_path) as interrupted:
        interrupted.wait_until_told(moment)
        assert interrupted.process.stop(number) == 128 + number, interrupted.process.output
        assert "Traceback" not in interrupted.process.output
        interrupted.assert_nothing_left()


def test_a_demo_that_is_interrupted_while_it_submits_leaves_no_database_on_a_given_server(
    server: str, tmp_path: Path
) -> None:
    with demo(tmp_path, requests=1_000, DATABASE_URL=server) as interrupted:
        interrupted.wait_until_told("submitting")
        name = interrupted.database()
        assert name in databases(server)
        assert interrupted.process.stop(signal.SIGINT) == 130, interrupted.process.output
        assert "stopped by SIGINT" in interrupted.process.output
        assert "Traceback" not in interrupted.process.output
        interrupted.assert_nothing_left()
    assert name not in databases(server)


def test_a_demo_that_is_interrupted_while_it_makes_its_database_leaves_none(server: str, tmp_path: Path) -> None:
    """Postgres waits a while before it copies a template that somebody is connected to, which gives us the time."""
    making = "SELECT query FROM pg_stat_activity WHERE query LIKE 'CREATE DATABASE%' AND state = 'active'"
    with closing(connect(server)) as watcher, demo(tmp_path, DATABASE_URL=server) as interrupted:
        with closing(connect(make_conninfo(server, dbname="template1"))):
            (query,) = wait_for(lambda: watcher.execute(making).fetchall())[0]
            interrupted.process.popen.send_signal(signal.SIGINT)
            time.sleep(0.3)  # for the signal to be seen
        assert interrupted.process.popen.wait(WITHIN) == 130, interrupted.process.output
        wait_for(lambda: not watcher.execute(making).fetchall())
        interrupted.assert_nothing_left()
    assert query.split('"')[1] not in databases(server)


@pytest.mark.parametrize("postgres", ["embedded", "given"])
def test_everything_the_provider_did_is_in_postgres_and_nothing_else(
    whole: Mapping[str, Demo], made: str, server: str, postgres: str
) -> None:
    demo = whole[postgres]
    assert demo.process.popen.wait(WITHIN) == 0, demo.process.output
    result = json.loads(demo.process.stdout.splitlines()[-1])
    assert result["requests"] == 60
    assert result["mismatches"] == result["forged_accepted"] == 0
    assert min(result[name] for name in ("succeeded", "failed", "unresolved", "forged", "seconds")) > 0
    assert result["jobs"] == result["succeeded"] + result["failed"] + result["unresolved"]
    assert "Traceback" not in demo.process.output
    demo.assert_nothing_left()
    assert postgres == "embedded" or made not in databases(server)
