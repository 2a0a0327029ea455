"""Reads from a replica, and from the primary while the replica fails; another database stands for the replica."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Barrier, Thread

import pytest
from structlog.typing import EventDict

from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.errors import Unstorable
from receiver.store.providers import find_pauses
from receiver.store.reading import Reader, Replica
from tests.support.ports import find_free_port
from tests.support.processes import block_database, wait_for
from tests.support.proxy import Proxy

RETRY_INTERVAL_S = 0.2


@pytest.fixture
def replica_dsn(server: str, template: str) -> Iterator[str]:
    """The DSN of the database that stands for the replica."""
    with scratch_database(server, template=template) as scratch_dsn:
        yield scratch_dsn


@contextmanager
def open_reader(database: Database, replica_dsn: str, limit_s: float = 5.0) -> Iterator[Reader]:
    replica = Replica(replica_dsn, limit_s=limit_s)
    with closing(Reader(database, replica, retry_interval_s=RETRY_INTERVAL_S)) as reader:
        yield reader


def find_name(connection: Connection) -> str:
    return str(connection.execute("SELECT current_database()").fetchall()[0][0])


def find_primary_name(database: Database) -> str:
    with database.connection() as connection:
        return find_name(connection)


def test_reader_without_replica_reads_the_primary(database: Database) -> None:
    with closing(Reader(database)) as reader:
        assert reader.read(find_name) == find_primary_name(database)


def test_replica_that_is_refused_is_replaced_until_it_is_back(
    server: str, database: Database, replica_dsn: str, reader_logs: list[EventDict]
) -> None:
    primary_name = find_primary_name(database)
    with open_reader(database, replica_dsn) as reader:
        replica_name = reader.read(find_name)
        assert replica_name != primary_name
        with block_database(server, replica_dsn):
            assert {reader.read(find_name) for _ in range(5)} == {primary_name}
            assert reader._replica is not None
            assert reader._replica.health.check() is None  # else it would be probed and logged by itself
            time.sleep(RETRY_INTERVAL_S)
            assert reader.read(find_name) == primary_name
        wait_for(lambda: reader.read(find_name) == replica_name)
    assert [log["event"] for log in reader_logs] == ["replica.failed", "replica.recovered"]
    assert reader_logs[0]["kind"] in {"connection_lost", "connect_failed"}


def test_unreachable_replica_is_not_tried_by_each_query(database: Database) -> None:
    calls = []

    class CountedReplica(Replica):
        def connect(self, *, limit_s: float | None) -> Connection:
            calls.append(limit_s)
            return super().connect(limit_s=limit_s)

    replica = CountedReplica(f"postgresql://127.0.0.1:{find_free_port()}/nothing")
    with closing(Reader(database, replica, retry_interval_s=60.0)) as reader:
        for _ in range(10):
            assert reader.read(find_name) == find_primary_name(database)
    assert len(calls) == 1


def test_failed_replica_is_tried_by_one_query_at_a_time(server: str, database: Database, replica_dsn: str) -> None:
    names: list[str] = []
    with open_reader(database, replica_dsn) as reader:
        with block_database(server, replica_dsn):
            reader.read(find_name)
        time.sleep(RETRY_INTERVAL_S)
        reader._retry_interval_s = 60.0  # so that the second query certainly comes within it
        barrier = Barrier(2)

        def wait_on_replica(connection: Connection) -> str:
            names.append(name := find_name(connection))
            barrier.wait(10.0)
            return name

        first = Thread(target=reader.read, args=(wait_on_replica,))
        first.start()
        wait_for(lambda: names)
        second = Thread(target=reader.read, args=(wait_on_replica,))
        second.start()
        first.join()
        second.join()
    assert len(set(names)) == 2
    assert names[1] == find_primary_name(database)


def test_query_on_silent_replica_is_answered_by_the_primary(
    database: Database, replica_dsn: str, reader_logs: list[EventDict]
) -> None:
    primary_name = find_primary_name(database)
    with Proxy(replica_dsn) as proxy, open_reader(database, proxy.dsn, limit_s=0.2) as reader:

        def fall_silent(connection: Connection) -> str:
            name = find_name(connection)
            if name != primary_name:
                assert proxy.silence() > 0
            connection.execute("SELECT 1")
            return name

        assert reader.read(fall_silent) == primary_name
    assert [(log["event"], log["kind"]) for log in reader_logs] == [("replica.failed", "timed_out")]


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("DO $$ BEGIN RAISE SQLSTATE '40001' USING MESSAGE = 'conflict with recovery'; END $$", "conflict"),
        ("DROP TABLE refused_credentials", "not_migrated"),
    ],
)
def test_query_that_fails_only_on_replica_is_answered_by_primary(
    database: Database, replica_dsn: str, reader_logs: list[EventDict], statement: str, kind: str
) -> None:
    primary_name = find_primary_name(database)

    def read(connection: Connection) -> str:
        name = find_name(connection)
        if name != primary_name:
            connection.execute(statement.encode())
        find_pauses(connection)
        return name

    with open_reader(database, replica_dsn) as reader:
        assert reader.read(read) == primary_name
    assert [(log["event"], log["kind"]) for log in reader_logs] == [("replica.failed", kind)]


def test_mistake_of_the_caller_is_not_one_of_the_replica(
    database: Database, replica_dsn: str, reader_logs: list[EventDict]
) -> None:
    def divide(connection: Connection) -> None:
        connection.execute("SELECT 1 / 0")

    with open_reader(database, replica_dsn) as reader:
        with pytest.raises(Unstorable):
            reader.read(divide)
        assert reader.read(find_name) != find_primary_name(database)
    assert reader_logs == []
