"""The dashboard shows data: a real Prometheus scrapes the service and answers every query of it."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.acceptance.guides import Service
from tests.acceptance.test_metrics_guide import DASHBOARD, WITHOUT_SAMPLES, find_metrics
from tests.support.http import Server
from tests.support.ports import find_free_port
from tests.support.processes import wait_for

CONFIG = """
global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - job_name: callback-receiver
    static_configs: [{ targets: ["127.0.0.1:%d", "127.0.0.1:%d"] }]
"""
MIN_SCRAPES = 4
EMPTY_PANELS = {"Notifications by status", "Providers without configuration"}
"""Panels without data here: nobody is notified, and all providers are configured."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prometheus(guide_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Prometheus, which scrapes the service while requests are sent."""
    path = shutil.which("prometheus")
    if path is None:
        pytest.skip("prometheus is not installed; on Debian it is in the package prometheus")
    directory = tmp_path_factory.mktemp("prometheus")
    file = directory / "prometheus.yml"
    file.write_text(CONFIG % (guide_service.port, guide_service.metrics_port))
    port = find_free_port()
    arguments = [f"--config.file={file}", f"--storage.tsdb.path={directory}", f"--web.listen-address=127.0.0.1:{port}"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([path, *arguments], stdout=log, stderr=log, start_new_session=True)
    server = Server("127.0.0.1", port)
    try:
        wait_for(lambda: is_ready(server))
        wait_for(lambda: count_scrapes(server) >= MIN_SCRAPES)
        send_requests(guide_service)
        before = count_scrapes(server)
        wait_for(lambda: count_scrapes(server) >= before + MIN_SCRAPES)
        yield server
    finally:
        process.kill()
        process.wait()


def query(server: Server, expression: str) -> list[Any]:
    response = server.call("GET", "/api/v1/query?" + urlencode({"query": expression}))
    assert response.status == 200, (expression, response.body)
    result: list[Any] = response.json["data"]["result"]
    return result


def is_ready(server: Server) -> bool:
    try:
        return server.call("GET", "/-/ready").status == 200
    except OSError:
        return False


def count_scrapes(server: Server) -> int:
    """Return how often both processes were scraped; 0 while one does not answer."""
    samples = query(server, "min(count_over_time(up[5m])) and count(up == 1) == 2")
    return int(samples[0]["value"][1]) if samples else 0


def send_requests(service: Service) -> None:
    headers = {"content-type": "application/json"}
    for number in range(5):
        payload = {"client_reference": f"dashboard-{number}", "to": ["2348030000000"], "text": "hello"}
        call = {"provider": "sandbox", "operation": "send", "payload": payload}
        response = service.api.call("POST", "/v1/requests", json.dumps(call).encode(), headers)
        assert response.status == 202, response
        time.sleep(0.2)


def test_every_query_of_the_dashboard_has_a_result(prometheus: Server) -> None:
    empty = set()
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$provider", ".*")
            if not find_metrics(expression) & WITHOUT_SAMPLES and not query(prometheus, expression):
                empty.add(panel["title"])
    assert empty == EMPTY_PANELS
