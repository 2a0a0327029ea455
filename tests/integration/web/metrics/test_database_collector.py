"""Gauges that are read from the database: equal to the statistics, and never blocking a scrape."""

import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from receiver.domain.jobs import EventSource, JobStatus
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.limits import ConcurrencyShare, renew_shares
from receiver.store.providers import pause_providers
from receiver.store.reading import Reader
from receiver.store.requests import NewRequest, submit_requests
from receiver.web.metrics.database_collector import DatabaseCollector
from tests.support.factories import NOON, event, provider
from tests.support.http import Json, build_report
from tests.support.metrics import CLIENT, NAMES, call_back, scrape
from tests.support.processes import (
    find_lock_waiters,
    wait_for,
)


def get_json(client: FlaskClient, path: str) -> Json:
    response: Json = client.get(path, headers=CLIENT).get_json()
    return response


def submit(connection: Connection, name: str) -> None:
    request = NewRequest(
        id=uuid4(),
        provider=name,
        operation="send",
        payload={},
        metadata={},
        due_at=None,
        deadline_at=None,
        deadline_after=60.0,
    )
    submit_requests(connection, [request])


def populate(connection: Connection) -> None:
    """Store data of two configured providers and of one that is no longer configured."""
    submit(connection, "sandbox")
    pause_providers(connection, ["another"], "for a test")
    events = [
        event("open", JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=uuid4()),
        event("open since longer", JobStatus.ACCEPTED, source=EventSource.RESPONSE, at=-60.0, request_id=uuid4()),
        event("done", JobStatus.SUCCEEDED, source=EventSource.POLL),
        event("disputed", JobStatus.SUCCEEDED),
        event("disputed", JobStatus.FAILED, at=1.0),
        event("gone", JobStatus.FAILED, actor=provider(name="gone")),
        event("gone and open", JobStatus.ACCEPTED, actor=provider(name="gone")),
    ]
    for item in events:
        reconcile(connection, [item])


def test_gauges_equal_stats_and_providers(client: FlaskClient, connection: Connection) -> None:
    populate(connection)
    assert call_back(client, build_report("done as well")) == 200
    metrics = scrape(client)
    stats = {item["name"]: item for item in get_json(client, "/v1/stats")["providers"]}
    assert stats.keys() == {"sandbox", "another", "gone"}
    for name, counts in stats.items():
        for metric, by_status in (("receiver_requests", counts["requests"]), ("receiver_jobs", counts["jobs"])):
            for sample in metrics.families[metric].samples:
                if sample.labels["provider"] == name:
                    assert sample.value == by_status.get(sample.labels["status"], 0)
            assert metrics.get(metric, provider=name) == sum(by_status.values())
        assert metrics.get("receiver_jobs_disputed", provider=name) == counts["disputed"]
        assert metrics.get("receiver_jobs_unmatched", provider=name) == counts["unmatched"]
        for kind, number in counts["attention"].items():
            assert metrics.get("receiver_attention", provider=name, kind=kind) == number
        assert metrics.get("receiver_provider_configured", provider=name) == counts["configured"]
    assert stats["gone"]["attention"]["unconfigured"] == 1
    assert stats["sandbox"]["disputed"] == stats["sandbox"]["attention"]["disputed"] == 1
    assert metrics.get("receiver_jobs", provider="sandbox", status="succeeded") == 3

    providers = {item["name"]: item for item in get_json(client, "/v1/providers")["items"]}
    assert providers.pop("gone")["attention"] == stats["gone"]["attention"]
    for name, item in providers.items():
        assert metrics.get("receiver_provider_paused", provider=name) == item["paused"]
        assert metrics.get("receiver_attention", provider=name, kind="paused") == item["paused"]
        assert item["attention"] == stats[name]["attention"]
        assert metrics.get("receiver_missing_callback_ratio", provider=name) == item["missing_callback_rate"]
    assert providers["sandbox"]["missing_callback_rate"] == pytest.approx(1 / 3)
    assert providers["another"]["paused"]


def test_failed_notifications_need_attention(client: FlaskClient, connection: Connection) -> None:
    submit(connection, "notify")
    connection.execute("UPDATE requests SET status = 'failed', due_at = NULL, finished_at = now()")
    pause_providers(connection, ["notify"], "for a test")
    metrics = scrape(client)
    assert metrics.get("receiver_attention", provider="notify", kind="failed") == 1
    assert metrics.get("receiver_provider_paused", provider="notify") == 1


def test_ages_are_served_where_they_exist(client: FlaskClient, connection: Connection) -> None:
    populate(connection)
    assert call_back(client, build_report("one")) == 200
    metrics = scrape(client)
    age = metrics.get("receiver_oldest_open_job_age_seconds", provider="sandbox")
    assert age == pytest.approx(max((datetime.now(UTC) - NOON).total_seconds() + 60.0, 0.0), abs=60.0)
    last = metrics.get("receiver_last_callback_age_seconds", provider="sandbox")
    assert last is not None
    assert 0.0 <= last < 60.0
    for metric in ("oldest_open_job_age_seconds", "last_callback_age_seconds", "missing_callback_ratio"):
        assert metrics.get(f"receiver_{metric}", provider="another") is None


def test_age_is_that_of_oldest_due_request(client: FlaskClient, connection: Connection) -> None:
    populate(connection)
    for _ in range(2):
        submit(connection, "another")  # which is paused
    postpone = "UPDATE requests SET due_at = due_at + make_interval(secs => %s) WHERE provider = %s"
    connection.execute(postpone, [-300, "another"])
    connection.execute(postpone, [60, "sandbox"])
    submit(connection, "another")
    metrics = scrape(client)
    ages = {name: metrics.get("receiver_oldest_due_request_age_seconds", provider=name) for name in (*NAMES, "gone")}
    assert ages == {"sandbox": 0, "another": pytest.approx(300, abs=20), "gone": 0}


def test_ages_of_due_polls_and_lookups_and_lowered_rates_are_served(
    client: FlaskClient, connection: Connection
) -> None:
    populate(connection)
    connection.execute(
        "UPDATE jobs SET poll_at = now() - interval '200 s' WHERE provider = 'sandbox' AND finished_at IS NULL"
    )
    submit(connection, "another")
    connection.execute(
        """UPDATE requests SET status = 'unknown', due_at = NULL, unknown_since = now(),
            next_lookup_at = now() - interval '100 s' WHERE provider = 'another'"""
    )
    connection.execute("UPDATE providers SET rate = 2.5, full_rate = 5 WHERE name = 'another'")
    metrics = scrape(client)
    assert metrics.get("receiver_oldest_due_poll_age_seconds", provider="sandbox") == pytest.approx(200, abs=20)
    assert metrics.get("receiver_oldest_due_poll_age_seconds", provider="another") == 0
    assert metrics.get("receiver_oldest_due_lookup_age_seconds", provider="another") == pytest.approx(100, abs=20)
    assert metrics.get("receiver_provider_lowered_rate", provider="another") == 2.5
    assert metrics.get("receiver_provider_lowered_rate", provider="sandbox") is None


def test_workers_are_those_with_live_shares(client: FlaskClient, connection: Connection) -> None:
    shares = [ConcurrencyShare("sandbox", 8), ConcurrencyShare("another", 0)]
    for lease in (60.0, 60.0, -1.0):
        renew_shares(connection, uuid4(), shares, lease)
    assert scrape(client).get("receiver_workers_alive") == 2


def test_scrapes_within_ten_seconds_share_one_read(client: FlaskClient, connection: Connection) -> None:
    populate(connection)
    with ThreadPoolExecutor(5) as pool:
        with connection.transaction():
            connection.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
            scrapes = [pool.submit(scrape, client) for _ in range(5)]
            wait_for(lambda: find_lock_waiters(connection))
            assert len(find_lock_waiters(connection)) == 1
        assert {scraped.result().get("receiver_jobs") for scraped in scrapes} == {6}
    reconcile(connection, [event("one more")])
    assert scrape(client).get("receiver_jobs") == 6


def test_slow_database_does_not_block_scrape(client: FlaskClient, connection: Connection) -> None:
    with connection.transaction():
        connection.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        metrics = scrape(client)
    assert metrics.get("receiver_database_up") == 1
    assert metrics.get("receiver_jobs") is None
    wait_for(lambda: scrape(client).get("receiver_jobs") == 0)


def test_silent_database_does_not_block_scrape() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        database = Database(f"postgresql://127.0.0.1:{port}/nothing")
        families = list(DatabaseCollector(database, Reader(database), NAMES).collect())
        assert [(sample.name, sample.value) for family in families for sample in family.samples] == [
            ("receiver_database_up", 0)
        ]
