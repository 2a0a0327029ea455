"""The service of the acceptance tests, configured like in the quickstart."""

from collections.abc import Iterator

import pytest

from receiver.devtools.scratch import scratch_database
from tests.acceptance.guides import Service, parse_blocks, read_guide, run_sandbox


@pytest.fixture(scope="package")
def guide_service(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`receiver serve` with the quickstart's `receiver.toml`, and the sandbox provider that it names."""
    config = "".join(block.text for block in parse_blocks(read_guide("docs/quickstart.md")) if block.language == "toml")
    with (
        scratch_database(server, template=template) as dsn,
        run_sandbox(tmp_path_factory.mktemp("guides"), dsn) as service,
        service.serving(config),
    ):
        yield service
