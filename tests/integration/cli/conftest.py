"""The services and commands that the tests of the command line share."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.store.connections import connect
from tests.support.command_line import CommandLine
from tests.support.command_service import Service
from tests.support.factories import SECRET
from tests.support.installation import Installation
from tests.support.operated_service import OperatedService
from tests.support.processes import (
    assert_ends_well,
    build_provider_toml,
    running_web,
    running_worker,
)
from tests.support.provider import Provider, listening
from tests.support.scene import open_scene

POLLED = "poll = { first_after = 3600, max_interval = 3600, give_up_after = 86400 }"


ENVIRON = {
    "RECEIVER_RATE_LIMIT": "100000",
    "RECEIVER_NOTIFY_HOSTS": "shop.example",
    "RECEIVER_NOTIFY_SECRETS": SECRET,
}


@pytest.fixture(scope="module")
def operated_service(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedService]:
    """An operated service of this module only."""
    with (
        scratch_database(server, template=template) as dsn,
        closing(connect(dsn)) as connection,
        ExitStack() as running,
    ):
        yield OperatedService(tmp_path_factory.mktemp("repair"), dsn, connection, running)


@pytest.fixture
def operated(operated_service: OperatedService) -> OperatedService:
    """The operated service with empty tables."""
    operated_service.connection.execute("TRUNCATE requests, jobs, callbacks, actions CASCADE")
    return operated_service


@pytest.fixture(scope="session")
def service(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a provider. All modules share it, so each test creates the objects it checks."""
    directory = tmp_path_factory.mktemp("commands")
    with (
        scratch_database(server, template=template) as dsn,
        listening() as provider,
        open_scene(dsn, provider) as scene,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        config = scene.build_provider_toml("acme", POLLED) + scene.build_provider_toml("other", POLLED)
        with (
            running_web(directory, dsn, config, listener, **ENVIRON) as web,
            running_worker(directory, dsn, config) as worker,
        ):
            yield Service(f"http://{web.host}:{web.port}", scene=scene, web=web)
            assert_ends_well(worker)
            assert_ends_well(web)


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"m-{uuid4().hex}"


@pytest.fixture(scope="module")
def stub() -> Iterator[Provider]:
    """An HTTP server with scripted replies, by the last segment of the path."""
    with listening() as server:
        yield server


@pytest.fixture
def command(stub: Provider) -> CommandLine:
    """A command line that calls `stub`."""
    return CommandLine(stub.url)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation of this module only."""
    directory = tmp_path_factory.mktemp("place")
    with listening() as provider, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (directory / "receiver.toml").write_text(build_provider_toml(base_url=provider.url))
        port = free.getsockname()[1]
        free.close()
        yield Installation(directory, provider, port)
