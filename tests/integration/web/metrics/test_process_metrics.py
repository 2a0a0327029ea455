"""The metrics of a web process as such, scraped from an app in this process."""

import time
from importlib.metadata import version

import pytest
from flask.testing import FlaskClient

from tests.support.metrics import scrape
from tests.support.processes import wait_for


def test_process_shows_its_version_cpu_memory_and_files(client: FlaskClient) -> None:
    wait_for(lambda: scrape(client).get("receiver_process_open_files"))
    metrics = scrape(client)
    assert metrics.get("receiver_build_info", version=version("callback-receiver")) == 1
    assert metrics.get("receiver_processes") == 1
    assert metrics.get("receiver_process_cpu_seconds_total") == pytest.approx(time.process_time(), abs=60)
    assert (metrics.get("receiver_process_resident_memory_bytes") or 0) > 10_000_000
    assert metrics.get("receiver_event_loop_lag_seconds") is not None
