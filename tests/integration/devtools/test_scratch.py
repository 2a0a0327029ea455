"""Scratch databases: empty or copied, and dropped at the end in any case."""

from contextlib import closing

import pytest
from psycopg.conninfo import conninfo_to_dict

from receiver.devtools.scratch import scratch_database
from receiver.store.connections import connect
from receiver.store.errors import StoreUnavailable


def has_database(server: str, name: str) -> bool:
    with closing(connect(server)) as connection:
        row = connection.execute("SELECT count(*) FROM pg_database WHERE datname = %s", [name]).fetchone()
    return row == (1,)


def get_name(dsn: str) -> str:
    return str(conninfo_to_dict(dsn)["dbname"])


def test_database_exists_only_within_the_context(server: str) -> None:
    with scratch_database(server) as dsn:
        assert get_name(dsn).startswith("receiver_scratch_")
        assert has_database(server, get_name(dsn))
    assert not has_database(server, get_name(dsn))


def test_database_is_dropped_with_an_open_connection(server: str) -> None:
    with scratch_database(server) as dsn:
        connection = connect(dsn)
    assert not has_database(server, get_name(dsn))
    connection.close()


def test_database_is_dropped_after_an_error(server: str) -> None:
    with pytest.raises(KeyError), scratch_database(server) as dsn:
        raise KeyError
    assert not has_database(server, get_name(dsn))


def test_database_is_a_copy_of_its_template(server: str) -> None:
    with scratch_database(server) as original:
        with closing(connect(original)) as connection:
            connection.execute("CREATE TABLE notes AS SELECT 7 AS number")
        with scratch_database(server, template=get_name(original)) as dsn, closing(connect(dsn)) as connection:
            assert connection.execute("SELECT number FROM notes").fetchone() == (7,)


def test_unreachable_server_raises_store_unavailable() -> None:
    with pytest.raises(StoreUnavailable), scratch_database("postgresql://127.0.0.1:9/none"):
        pytest.fail("created")
