"""One web process for all tests of `/v1`. They share its database, so each test creates the objects it checks."""

import socket
from collections.abc import Iterator

import pytest

from receiver.devtools.scratch import scratch_database
from tests.support.factories import SECRET
from tests.support.http import Server
from tests.support.processes import ADMIN_KEY, Web, assert_ends_well, build_provider_toml, running_web

TOKEN_PROVIDER = """
[providers.tokened]
kind = "sandbox"
base_url = "http://127.0.0.1:9"
auth = { scheme = "bearer", secret = "key" }
signature = { scheme = "token", token = "an-unguessable-end-of-the-url" }
"""
URL_SIGNING_PROVIDER = """
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
NOTIFY_ENVIRON = {
    "RECEIVER_NOTIFY_HOSTS": "shop.example, *.shop.example, 10.0.0.5",
    "RECEIVER_NOTIFY_SECRETS": SECRET,
}
CONFIG = "".join(
    [
        build_provider_toml("sandbox", more="deadline = 600"),
        build_provider_toml("another"),
        build_provider_toml("silent"),
        build_provider_toml("by-attempt", more="callback_token = true"),
        TOKEN_PROVIDER,
        URL_SIGNING_PROVIDER,
    ]
)


@pytest.fixture(scope="session")
def dsn(server: str, template: str) -> Iterator[str]:
    with scratch_database(server, template=template) as scratch_dsn:
        yield scratch_dsn


@pytest.fixture(scope="session")
def web(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    directory = tmp_path_factory.mktemp("web")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(directory, dsn, CONFIG, listener, **NOTIFY_ENVIRON) as running,
    ):
        yield running
        assert_ends_well(running)


@pytest.fixture
def api(web: Web) -> Server:
    """The web process, called with the bootstrap key."""
    return Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
