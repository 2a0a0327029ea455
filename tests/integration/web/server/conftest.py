"""One web process with small limits for all tests of the worker."""

import socket
from collections.abc import Iterator

import pytest

from receiver.devtools.scratch import scratch_database
from tests.support.processes import Web, assert_ends_well, build_provider_toml, running_web

PROXY = "127.0.0.9"
MAX_BODY = 65_536
MAX_UNVERIFIED = 32 * MAX_BODY
MAX_INCOMPLETE, MAX_PER_ADDRESS = 40, 15
LIMITS = {
    "RECEIVER_TRUSTED_PROXIES": PROXY,
    "RECEIVER_MAX_BODY": str(MAX_BODY),
    "RECEIVER_HEADER_TIMEOUT": "1",
    "RECEIVER_BODY_TIMEOUT": "3",
    "RECEIVER_RESPONSE_TIMEOUT": "3",
    "RECEIVER_MIN_RATE": "100",
    "RECEIVER_MAX_UNVERIFIED": str(MAX_UNVERIFIED),
    "RECEIVER_MAX_INCOMPLETE": str(MAX_INCOMPLETE),
    "RECEIVER_MAX_INCOMPLETE_PER_ADDRESS": str(MAX_PER_ADDRESS),
}


@pytest.fixture(scope="package")
def limited_dsn(server: str, template: str) -> Iterator[str]:
    with scratch_database(server, template=template) as scratch_dsn:
        yield scratch_dsn


@pytest.fixture(scope="package")
def limited(limited_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    directory = tmp_path_factory.mktemp("web")
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1_024) as listener,
        running_web(directory, limited_dsn, build_provider_toml(), listener, **LIMITS) as running,
    ):
        yield running
        assert_ends_well(running)
