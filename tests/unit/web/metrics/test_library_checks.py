"""A version of prometheus-client without an attribute that we use is refused."""

import prometheus_client.mmap_dict
import pytest
from prometheus_client import CollectorRegistry, Histogram

from receiver.exchange.library_checks import check_geventhttpclient
from receiver.libraries import UnsupportedLibrary
from receiver.web.metrics.library_checks import check_prometheus_client


@pytest.fixture
def histogram() -> Histogram:
    return Histogram("seconds", "Seconds.", ["outcome"], registry=CollectorRegistry()).labels("acknowledged")


def test_installed_libraries_are_supported(histogram: Histogram) -> None:
    check_geventhttpclient()
    check_prometheus_client(histogram)


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
