"""Libraries whose private attributes we use: a version without one of them is refused when the process starts."""

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from receiver.domain.errors import ReceiverError
from receiver.exchange.library_checks import GEVENTHTTPCLIENT_VERSIONS
from receiver.libraries import check_attribute
from receiver.web.metrics.library_checks import PROMETHEUS_CLIENT_VERSIONS

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_missing_attribute_is_reported_with_version_and_range() -> None:
    with pytest.raises(
        ReceiverError,
        match=r"^geventhttpclient 2\.6\.\d+ is not supported: SimpleNamespace has no attribute _pool\. "
        r"Install geventhttpclient>=2\.6,<2\.7\.$",
    ):
        check_attribute("geventhttpclient", GEVENTHTTPCLIENT_VERSIONS, SimpleNamespace(pool=None), "_pool")


@pytest.mark.parametrize(
    ("library", "supported"),
    [("geventhttpclient", GEVENTHTTPCLIENT_VERSIONS), ("prometheus-client", PROMETHEUS_CLIENT_VERSIONS)],
)
def test_supported_range_is_that_of_the_package(library: str, supported: str) -> None:
    dependencies = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    assert [re.sub(r"^[\w-]+", "", entry) for entry in dependencies if entry.startswith(library)] == [supported]
