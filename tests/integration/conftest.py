"""Fixtures that several modules share."""

from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection, connect
from tests.support.declared_service import running_declared_web
from tests.support.processes import Web
from tests.support.provider import listening
from tests.support.request_database import RequestDatabase
from tests.support.scene import Scene, open_scene


@pytest.fixture(scope="module")
def scene(server: str, template: str) -> Iterator[Scene]:
    """A database and a provider for this module only."""
    with (
        scratch_database(server, template=template) as dsn,
        listening() as provider,
        open_scene(dsn, provider) as scene,
    ):
        yield scene


@pytest.fixture
def reference() -> str:
    """Return a provider reference that no other test uses."""
    return f"ref-{uuid4().hex}"


@pytest.fixture
def request_database(connection: Connection) -> RequestDatabase:
    """The database of this test, with requests whose attempts and callbacks it creates."""
    return RequestDatabase(connection)


@pytest.fixture(scope="module")
def declared_dsn(server: str, template: str) -> Iterator[str]:
    """The DSN of the database of `declared_web`."""
    with scratch_database(server, template=template) as scratch_dsn:
        yield scratch_dsn


@pytest.fixture(scope="module")
def declared_web(declared_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A web process with declared providers of several schemes, for this module only."""
    with running_declared_web(declared_dsn, tmp_path_factory.mktemp("web")) as running:
        yield running


@pytest.fixture
def declared_connection(declared_dsn: str) -> Iterator[Connection]:
    """A connection to the database of `declared_web`."""
    with closing(connect(declared_dsn)) as connection:
        yield connection


@pytest.fixture
def names() -> list[str]:
    """Client references that no other test uses."""
    name = f"c-{uuid4().hex}"
    return [f"{name}-{number}" for number in range(60)]
