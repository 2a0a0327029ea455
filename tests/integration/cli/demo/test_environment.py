"""`receiver demo` leaves nothing behind, even if it is interrupted."""

import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
from geventhttpclient.response import HTTPSocketPoolResponse
from psycopg.conninfo import make_conninfo

import receiver.cli.demo.environment  # noqa: F401  # prepares the library that it uses
from receiver.store.connections import connect
from tests.support.demo import TIMEOUT_S, list_databases, running_demo
from tests.support.processes import wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc")


def test_interrupted_response_is_discarded_without_an_error() -> None:
    HTTPSocketPoolResponse.__new__(HTTPSocketPoolResponse).__del__()


@pytest.mark.parametrize(
    ("output", "number"),
    [
        ("starting Postgres", signal.SIGINT),
        pytest.param("was paused", signal.SIGTERM, marks=pytest.mark.slow),
    ],
    ids=["start", "middle"],
)
def test_interrupted_demo_leaves_nothing(tmp_path: Path, output: str, number: signal.Signals) -> None:
    with running_demo(tmp_path) as interrupted:
        interrupted.wait_for_output(output)
        assert interrupted.process.stop(number) == 128 + number, interrupted.process.output
        assert "Traceback" not in interrupted.process.output
        interrupted.assert_nothing_left()


@pytest.mark.slow
def test_demo_interrupted_while_submitting_drops_its_database(server: str, tmp_path: Path) -> None:
    with running_demo(tmp_path, requests=1_000, DATABASE_URL=server) as interrupted:
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
    find_statement = """
        SELECT query FROM pg_stat_activity
        WHERE application_name = 'interrupted demo' AND query LIKE 'CREATE DATABASE%' AND state = 'active'
    """
    dsn = make_conninfo(server, application_name="interrupted demo")
    with closing(connect(server)) as watcher, running_demo(tmp_path, DATABASE_URL=dsn) as interrupted:
        with closing(connect(make_conninfo(server, dbname="template1"))):
            (query,) = wait_for(lambda: watcher.execute(find_statement).fetchall())[0]
            interrupted.process.popen.send_signal(signal.SIGINT)
            time.sleep(0.3)  # until the signal has been handled
        assert interrupted.process.popen.wait(TIMEOUT_S) == 130, interrupted.process.output
        wait_for(lambda: not watcher.execute(find_statement).fetchall())
        interrupted.assert_nothing_left()
    assert query.split('"')[1] not in list_databases(server)
