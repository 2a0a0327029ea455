"""The service that generated clients call, and its OpenAPI document."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from receiver.devtools.scratch import scratch_database
from tests.acceptance.guides import Service, parse_blocks, read_guide, run_sandbox
from tests.codegen.generators import install_node_packages

DECLARED = """
[providers.acme]
kind = "declared"
base_url = "http://127.0.0.1:9000"
auth = { scheme = "bearer", secret = "env:SANDBOX_API_KEY" }
signature = { scheme = "standard-webhooks", secrets = ["env:SANDBOX_SECRET"] }

[providers.acme.operations.send]
path = "/v1/messages"
required = ["client_reference", "to", "text"]
callback_url = "callback_url"

[providers.acme.operations.send-later]
path = "/v1/messages"
callback_url = "callback_url"

[providers.acme.response]
items = "items"
reference = "id"
code = "code"
codes = { 1801 = "accepted" }

[providers.acme.callback]
items = "results[]"
reference = "id"
status = "state"
statuses = { QUEUED = "in_progress", SENT = "in_progress", DELIVERED = "succeeded" }

[providers.cecula]
kind = "cecula"
base_url = "http://127.0.0.1:9"
auth = { scheme = "bearer", secret = "key" }
signature = { scheme = "token", token = "an-unguessable-end-of-the-url" }
"""
"""The sandbox as a declared provider, and a provider whose payloads are nested objects with types."""


@pytest.fixture(scope="package")
def called_service(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`receiver serve` with several providers, of which the sandbox and `acme` finish their jobs."""
    config = "".join(block.text for block in parse_blocks(read_guide("docs/quickstart.md")) if block.language == "toml")
    with (
        scratch_database(server, template=template) as dsn,
        run_sandbox(tmp_path_factory.mktemp("clients"), dsn) as running,
        running.serving(config + DECLARED),
    ):
        yield running


@pytest.fixture(scope="package")
def node_packages() -> Iterator[Path]:
    """A directory with the locked node packages."""
    with install_node_packages() as directory:
        yield directory


@pytest.fixture
def workspace(node_packages: Path) -> Iterator[Path]:
    """A new directory below `node_packages`."""
    with TemporaryDirectory(dir=node_packages) as directory:
        yield Path(directory)
