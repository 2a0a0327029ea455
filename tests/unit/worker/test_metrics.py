"""What a worker serves of the activity that it counted."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from receiver.domain.accounts import join_account
from receiver.domain.activity import ActivityIncrement, ActivityKind, find_bucket
from receiver.store.database import Database
from receiver.worker.metrics import WorkerMetrics
from tests.support.factories import provider
from tests.support.metrics import Scrape


@pytest.fixture
def metrics() -> WorkerMetrics:
    """The metrics of a worker that has not connected to a database."""
    return WorkerMetrics(Database("postgresql:///nowhere", is_monitored=False), {"sandbox": provider()})


def scrape(metrics: WorkerMetrics) -> Scrape:
    registry = CollectorRegistry()
    registry.register(metrics)
    return Scrape(generate_latest(registry).decode())


def test_activity_is_counted_by_provider(metrics: WorkerMetrics) -> None:
    account = join_account("sandbox", "north")
    metrics.count_activity(
        [
            ActivityIncrement("sandbox", ActivityKind.REQUESTS, "submitted", 0, 5, 0.0),
            ActivityIncrement(account, ActivityKind.REQUESTS, "submitted", 0, 1, 0.0),
            ActivityIncrement("sandbox", ActivityKind.CALLBACKS, "duplicate", 0, 2, 0.0),
            ActivityIncrement("sandbox", ActivityKind.JOBS, "succeeded", find_bucket(2.0), 3, 6.0),
            ActivityIncrement("sandbox", ActivityKind.JOBS, "succeeded", find_bucket(1e9), 1, 1e9),
        ]
    )
    samples = scrape(metrics)
    assert samples.get("receiver_requests_submitted_total", provider="sandbox") == 5
    assert samples.get("receiver_requests_submitted_total", provider=account) == 1
    assert samples.get("receiver_callbacks_stored_total", provider="sandbox", verdict="duplicate") == 2
    assert samples.get("receiver_callbacks_stored_total", provider="sandbox", verdict="accepted") == 0
    labels = {"provider": "sandbox", "status": "succeeded"}
    assert samples.get("receiver_job_duration_seconds_bucket", **labels, le="1.0") == 0
    assert samples.get("receiver_job_duration_seconds_bucket", **labels, le="3.981") == 3
    assert samples.get("receiver_job_duration_seconds_count", **labels) == 4
    assert samples.get("receiver_job_duration_seconds_sum", **labels) == 1e9 + 6
    assert samples.get("receiver_job_duration_seconds_count", provider="sandbox", status="failed") == 0


def test_late_call_shows_the_lag_of_the_event_loop(metrics: WorkerMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    interval = metrics.measure_event_loop()
    now += interval
    metrics.measure_event_loop()
    assert scrape(metrics).get("receiver_event_loop_lag_seconds") == 0.0
    now += interval + 0.3
    metrics.measure_event_loop()
    assert scrape(metrics).get("receiver_event_loop_lag_seconds") == pytest.approx(0.3)
