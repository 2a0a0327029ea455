"""One Postgres for the whole run, one migrated template, and for each test that asks a database of its own."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from receiver.store.database import Connection, Database, connect
from receiver.store.embedded import EmbeddedPostgres
from receiver.store.migrate import migrate
from receiver.store.scratch import scratch_database


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server under test: `TEST_DATABASE_URL`, or an embedded Postgres that forgets."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    settings = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), settings) as postgres:
        yield postgres.dsn


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[str]:
    """The name of a migrated database to copy."""
    with scratch_database(server) as dsn:
        migrate(dsn)
        with closing(connect(dsn)) as connection:
            name = connection.info.dbname
        yield name


@pytest.fixture
def dsn(server: str, template: str) -> Iterator[str]:
    """A migrated, empty database of the test's own."""
    with scratch_database(server, template=template) as own:
        yield own


@pytest.fixture
def connection(dsn: str) -> Iterator[Connection]:
    """A connection to the test's own database, in autocommit."""
    with closing(connect(dsn)) as opened:
        yield opened


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    """A pool for the test's own database."""
    pool = Database(dsn)
    yield pool
    pool.close()
