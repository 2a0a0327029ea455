"""One web process for all tests of `/v1`, which share its database: each makes what it looks for."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.store.database import Connection, connect
from tests.factories import SECRET
from tests.http import Server
from tests.processes import ADMIN_KEY, Web, assert_ends_well, declared, running_web

TOKENED = """
[providers.tokened]
kind = "sandbox"
base_url = "http://127.0.0.1:9"
auth = { scheme = "bearer", secret = "key" }
signature = { scheme = "token", token = "an-unguessable-end-of-the-url" }
"""
SIGNING_URLS = """
[providers.signing-urls]
kind = "sandbox"
base_url = "http://127.0.0.1:9"
auth = { scheme = "bearer", secret = "key" }
[providers.signing-urls.signature]
scheme = "hmac"
header = "X-Signature"
encoding = "hex"
signed = "{url}{body}"
secrets = ["a secret of theirs"]
token = "an-unguessable-end"
"""
TELLS = {
    "RECEIVER_NOTIFY_HOSTS": "shop.example, *.shop.example, 10.0.0.5",
    "RECEIVER_NOTIFY_SECRETS": SECRET,
}
CONFIG = "".join(
    [
        declared("sandbox", more="deadline = 600"),
        declared("another"),
        declared("silent"),
        declared("by-attempt", more="callback_token = true"),
        TOKENED,
        SIGNING_URLS,
    ]
)


@pytest.fixture(scope="session")
def dsn(server: str, template: str) -> Iterator[str]:
    with scratch_database(server, template=template) as own:
        yield own


@pytest.fixture(scope="session")
def web(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    directory = tmp_path_factory.mktemp("web")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(directory, dsn, CONFIG, listener, **TELLS) as running,
    ):
        yield running
        assert_ends_well(running)


@pytest.fixture
def api(web: Web) -> Server:
    """The web process, called with the bootstrap key."""
    return Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})


@pytest.fixture
def connection(dsn: str) -> Iterator[Connection]:
    with closing(connect(dsn)) as opened:
        yield opened
