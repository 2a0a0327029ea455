"""The metrics of the store, scraped from an app before, during and after an outage of its database."""

from flask.testing import FlaskClient

from tests.support.http import build_report
from tests.support.metrics import call_back, scrape
from tests.support.processes import block_database, wait_for


def test_outage_shows_in_readiness_and_counts(client: FlaskClient, server: str, dsn: str) -> None:
    assert call_back(client, build_report("ref-1")) == 200
    before = scrape(client)
    assert before.get("receiver_ready") == 1
    assert before.get("receiver_oldest_commit_age_seconds") == 0
    assert before.get("receiver_database_connections_in_use") == 0
    assert before.get("receiver_store_errors_total", kind="disk_full") == 0
    assert before.get("receiver_committed_items_total", queue="callbacks") == 1
    assert before.get("receiver_commits_total", queue="callbacks") == 1
    assert (before.get("receiver_commit_seconds_total", queue="callbacks") or 0) > 0
    assert before.get("receiver_commits_total", queue="submissions") == 0
    with block_database(server, dsn):
        assert call_back(client, build_report("ref-2")) == 503
        during = scrape(client)
        assert during.get("receiver_ready") == 0
        assert (during.get("receiver_store_errors_total") or 0) > 0
    wait_for(lambda: scrape(client).get("receiver_ready") == 1)
    assert call_back(client, build_report("ref-2")) == 200
