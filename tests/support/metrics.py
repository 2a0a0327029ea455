"""Scrapes of `/metrics` of processes, and of an app in the process of the test."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from receiver.web.app import create_app
from receiver.web.context import get_app_context
from tests.support.factories import provider, settings
from tests.support.http import Server, sign_callback
from tests.support.processes import (
    ADMIN_KEY,
)

CLIENT = {"authorization": f"Bearer {ADMIN_KEY}"}
NAMES = ("sandbox", "another")


class Scrape:
    """The result of a scrape; `get` sums the samples of a metric with given labels, None without samples."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    def get(self, name: str, **labels: str) -> float | None:
        values = [
            sample.value for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(values) if values else None

    def labels(self, label: str) -> set[str]:
        return {sample.labels[label] for sample in self._samples if label in sample.labels}


@contextmanager
def serve_app(dsn: str, directory: Path, read_url: str | None = None) -> Iterator[FlaskClient]:
    """Create an app in this process."""
    providers = {name: provider(name=name) for name in NAMES}
    app = create_app(replace(settings(dsn, directory, providers), admin_key=ADMIN_KEY, database_read_url=read_url))
    with closing(get_app_context(app)):
        yield app.test_client()


def scrape(client: FlaskClient) -> Scrape:
    """Scrape the metrics of an app in this process."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(response.text)


def scrape_worker(port: int) -> Scrape:
    """Scrape the metrics of a worker process."""
    response = Server("127.0.0.1", port).call("GET", "/metrics")
    assert response.status == 200
    return Scrape(response.body.decode())


def call_back(client: FlaskClient, body: bytes, **signing: Any) -> int:
    """Make a signed callback to an app in this process and return the status of its response."""
    return client.post("/callbacks/sandbox", data=body, headers=sign_callback(body, **signing)).status_code
