"""A start-time check of prometheus-client, whose private attributes the metrics use.

`callback_metrics` counts many observations of a histogram at once, and `multiprocess_directory` adds up the files of
processes that have ended. The library has a public interface for neither.
"""

import prometheus_client.mmap_dict
from prometheus_client import Histogram

from receiver.libraries import check_attribute

PROMETHEUS_CLIENT_VERSIONS = ">=0.26,<0.27"
"""The same range as in `pyproject.toml`."""


def check_prometheus_client(histogram: Histogram) -> None:
    """Check that prometheus-client has the private attributes that `receiver.web` uses.

    Args:
        histogram: a histogram in use, with its label values. One made for the check would appear in `/metrics`: in
            multiprocess mode every metric is written to a file, whether it is registered or not.

    Raises:
        UnsupportedLibrary: an attribute does not exist.
    """
    for name in ("_sum", "_buckets", "_upper_bounds"):
        _check(histogram, name)
    _check(prometheus_client.mmap_dict, "MmapedDict")
    for name in ("read_all_values_from_file", "read_value", "write_value", "close"):
        _check(prometheus_client.mmap_dict.MmapedDict, name)


def _check(owner: object, name: str) -> None:
    check_attribute("prometheus-client", PROMETHEUS_CLIENT_VERSIONS, owner, name)
