"""One Postgres server and one migrated template for the whole run, and a database for each test that needs one."""

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from typing import cast

import pytest
from hypothesis import settings as hypothesis_settings
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from receiver.devtools.embedded import EmbeddedPostgres
from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from receiver.store.migrate import migrate
from tests.support.pgbouncer import PoolMode, pgbouncer

# How long one example takes says more about the load of the machine than about the code.
# Fewer examples than hypothesis's 100, as each run has others.
hypothesis_settings.register_profile("suite", deadline=None, max_examples=60)
hypothesis_settings.load_profile("suite")

if find_spec("playwright") is None:  # the group `browser` is not installed
    collect_ignore = ["browser"]

_MEMORY = "/dev/shm"
_MIN_FREE_BYTES = 4 * 2**30


def pytest_configure() -> None:
    """Set up what all processes of the run inherit: SIGINT, bytecode, and temporary files in memory if there is enough.

    A shell that runs the tests in the background has them ignore SIGINT. Tests start hundreds of processes; without
    bytecode each would compile every module that it imports. They create and drop hundreds of databases, which takes
    several times as long on a disk. `find_processes` reads the environment of processes, which gunicorn and Celery
    overwrite with their title if setproctitle is installed, unless SPT_NOENV forbids it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["SPT_NOENV"] = "1"
    if "TMPDIR" not in os.environ and _is_memory_usable():
        os.environ["TMPDIR"] = tempfile.tempdir = _MEMORY


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect the tests without garbage collection, and leave them out of later ones: none of them is garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the markers of the tests that the run left out."""
    excluded = config.option.markexpr.removeprefix("not (").removesuffix(")")
    if excluded != config.option.markexpr:
        terminalreporter.write_line(f"Left out: the tests with the markers {excluded.replace(' or ', ', ')}.")


def _is_memory_usable() -> bool:
    """Return whether programs can be run from the file system in memory, and it has enough space."""
    try:
        is_executable = not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC
        return is_executable and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _MIN_FREE_BYTES
    except OSError:  # not Linux
        return False


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of the server under test: `TEST_DATABASE_URL`, or an embedded Postgres without durability.

    With `TEST_POOL_MODE`, `session` or `transaction`, PgBouncer is between the tests and `TEST_DATABASE_URL`.
    """
    url, mode = os.environ.get("TEST_DATABASE_URL"), os.environ.get("TEST_POOL_MODE")
    if url and mode:
        with pgbouncer(url, cast(PoolMode, mode)) as pooler:
            yield pooler.dsn
        return
    if url:
        yield url
        return
    settings = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), settings) as postgres:
        yield postgres.dsn


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[str]:
    """The name of a migrated database to copy."""
    with scratch_database(server) as dsn:
        migrate(dsn)
        name = str(conninfo_to_dict(dsn)["dbname"])
        with closing(connect(server)) as connection:
            # A database can be copied only while it has no session; a pooler between would leave some open.
            connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name]
            )
        yield name


@pytest.fixture(scope="session")
def server_connection(server: str) -> Iterator[Connection]:
    """A connection that creates and drops the databases of tests."""
    with closing(connect(server)) as connection:
        yield connection


@pytest.fixture
def dsn(server: str, template: str, server_connection: Connection) -> Iterator[str]:
    """The DSN of a migrated, empty database for this test only."""
    with scratch_database(server, template=template, connection=server_connection) as dsn:
        yield dsn


@pytest.fixture
def connection(dsn: str) -> Iterator[Connection]:
    """A connection to the test's database, in autocommit mode."""
    with closing(connect(dsn)) as connection:
        yield connection


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    """A connection pool for the test's database."""
    database = Database(dsn)
    yield database
    database.close()


@pytest.fixture(scope="module")
def shared_dsn(server: str, template: str) -> Iterator[str]:
    """The DSN of a migrated database for the tests of this module, empty at first."""
    with scratch_database(server, template=template) as dsn:
        yield dsn


@pytest.fixture
def shared_connection(shared_dsn: str) -> Iterator[Connection]:
    """A connection to the module's database, in autocommit mode."""
    with closing(connect(shared_dsn)) as connection:
        yield connection


@pytest.fixture
def empty_database(server: str, server_connection: Connection) -> Iterator[str]:
    """A database without tables."""
    with scratch_database(server, connection=server_connection) as dsn:
        yield dsn
