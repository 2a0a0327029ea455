"""`/metrics` as Prometheus reads it."""

from flask.testing import FlaskClient

from tests.support.metrics import scrape
from tests.support.processes import (
    block_database,
    wait_for,
)


def test_process_metrics_are_served_without_database(client: FlaskClient, server: str, dsn: str) -> None:
    with block_database(server, dsn):
        assert client.post("/callbacks/nobody").status_code == 404
        metrics = scrape(client)
        assert metrics.get("receiver_database_up") == 0
        assert metrics.get("receiver_jobs") is None
        assert metrics.get("receiver_callbacks_total", provider="_unknown") == 1
    wait_for(lambda: scrape(client).get("receiver_database_up") == 1)
    assert scrape(client).get("receiver_jobs", provider="sandbox") == 0
