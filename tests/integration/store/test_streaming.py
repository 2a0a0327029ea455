"""Reads from a real streaming replica, which lags behind and cancels queries that conflict with its recovery."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from uuid import uuid4

import pytest
from structlog.typing import EventDict

from receiver.devtools.embedded import EmbeddedPostgres
from receiver.devtools.programs import find_wheel_programs
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.migrate import migrate
from receiver.store.reading import Reader, Replica
from receiver.store.requests import NewRequest, list_requests, submit_requests
from tests.support.processes import wait_for

pytestmark = pytest.mark.chaos

FAST = {"fsync": "off"}
IMPATIENT = {**FAST, "max_standby_streaming_delay": "0"}


@pytest.fixture
def replicated_database(tmp_path: Path) -> Iterator[tuple[Database, Replica]]:
    """A database with one request, and its replica."""
    with EmbeddedPostgres(tmp_path / "primary", FAST) as primary:
        migrate(primary.dsn)
        standby_home = tmp_path / "standby"
        standby_home.mkdir(mode=0o700)
        program, data = str(find_wheel_programs() / "pg_basebackup"), str(standby_home / "postgres")
        options = ["--dbname", primary.dsn, "--checkpoint=fast", "--write-recovery-conf", "--pgdata", data]
        subprocess.run([program, *options], check=True, capture_output=True, timeout=60)
        with (
            EmbeddedPostgres(standby_home, IMPATIENT) as standby,
            closing(Database(primary.dsn)) as database,
            closing(Replica(standby.dsn)) as replica,
        ):
            with database.connection() as connection:
                submit_requests(connection, [NewRequest(uuid4(), "sandbox", "send", {}, {}, None, None, 60.0)])
            yield database, replica


def is_replica(connection: Connection) -> bool:
    return bool(connection.execute("SELECT pg_is_in_recovery()").fetchall()[0][0])


def test_conflict_with_recovery_is_answered_by_the_primary(
    replicated_database: tuple[Database, Replica], reader_logs: list[EventDict]
) -> None:
    database, replica = replicated_database
    reader, is_running, is_done = Reader(database, replica), Event(), Event()
    wait_for(lambda: len(reader.read(list_requests).items) == 1)
    assert reader.read(is_replica)

    def read_slowly(connection: Connection) -> bool:
        if not is_replica(connection):
            return False
        is_running.set()
        connection.execute("SELECT pg_sleep(4) FROM requests")
        return True

    def lock_repeatedly() -> None:
        is_running.wait()
        while not is_done.wait(0.05):
            with database.transaction() as connection:
                connection.execute("LOCK TABLE requests IN ACCESS EXCLUSIVE MODE")

    locker = Thread(target=lock_repeatedly)
    locker.start()
    assert reader.read(read_slowly) is False
    is_done.set()
    locker.join()
    assert [(log["event"], log["kind"]) for log in reader_logs] == [("replica.failed", "conflict")]
