"""Libraries whose private attributes we use: a version without one of them is refused when the process starts."""

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import geventhttpclient.client
import prometheus_client.mmap_dict
import pytest
from geventhttpclient.connectionpool import ConnectionPool
from prometheus_client import CollectorRegistry, Histogram

from receiver.domain.errors import ReceiverError
from receiver.exchange.library_checks import GEVENTHTTPCLIENT_VERSIONS, check_geventhttpclient
from receiver.libraries import UnsupportedLibrary, check_attribute
from receiver.web.metrics.library_checks import PROMETHEUS_CLIENT_VERSIONS, check_prometheus_client

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture
def histogram() -> Histogram:
    return Histogram("seconds", "Seconds.", ["outcome"], registry=CollectorRegistry()).labels("acknowledged")


def test_installed_libraries_are_supported(histogram: Histogram) -> None:
    check_geventhttpclient()
    check_prometheus_client(histogram)


def test_missing_attribute_is_reported_with_version_and_range() -> None:
    with pytest.raises(
        ReceiverError,
        match=r"^geventhttpclient 2\.6\.\d+ is not supported: SimpleNamespace has no attribute _pool\. "
        r"Install geventhttpclient>=2\.6,<2\.7\.$",
    ):
        check_attribute("geventhttpclient", GEVENTHTTPCLIENT_VERSIONS, SimpleNamespace(pool=None), "_pool")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (geventhttpclient.client, "IDEMPOTENT_METHODS"),
        (ConnectionPool, "_create_socket"),
        (ConnectionPool, "_resolve"),
    ],
)
def test_geventhttpclient_without_an_attribute_is_refused(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    monkeypatch.delattr(owner, name)
    with pytest.raises(UnsupportedLibrary, match=f"no attribute {name}.*geventhttpclient>=2.6,<2.7"):
        check_geventhttpclient()


def test_geventhttpclient_without_a_pool_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = SimpleNamespace(close=lambda: None)
    monkeypatch.setattr("receiver.exchange.library_checks.HTTPClient", lambda _: stub)
    with pytest.raises(UnsupportedLibrary, match="no attribute _connection_pool"):
        check_geventhttpclient()


@pytest.mark.parametrize("name", ["_sum", "_buckets", "_upper_bounds"])
def test_histogram_without_an_attribute_is_refused(histogram: Histogram, name: str) -> None:
    delattr(histogram, name)
    with pytest.raises(UnsupportedLibrary, match=rf"no attribute {name}.*prometheus-client>=0\.26,<0\.27"):
        check_prometheus_client(histogram)


@pytest.mark.parametrize("name", ["read_all_values_from_file", "read_value", "write_value", "close"])
def test_mapped_file_without_an_attribute_is_refused(
    monkeypatch: pytest.MonkeyPatch, histogram: Histogram, name: str
) -> None:
    monkeypatch.delattr(prometheus_client.mmap_dict.MmapedDict, name)
    with pytest.raises(UnsupportedLibrary, match=f"MmapedDict has no attribute {name}"):
        check_prometheus_client(histogram)


@pytest.mark.parametrize(
    ("library", "supported"),
    [("geventhttpclient", GEVENTHTTPCLIENT_VERSIONS), ("prometheus-client", PROMETHEUS_CLIENT_VERSIONS)],
)
def test_supported_range_is_that_of_the_package(library: str, supported: str) -> None:
    dependencies = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    assert [re.sub(r"^[\w-]+", "", entry) for entry in dependencies if entry.startswith(library)] == [supported]
