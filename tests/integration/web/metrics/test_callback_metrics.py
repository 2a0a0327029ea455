"""What a process counts: callbacks, calls of the API, and who waits."""

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Timer
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from prometheus_client.mmap_dict import MmapedDict

from receiver.domain.jobs import JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.web.metrics.callback_metrics import _MultiprocessCollector
from tests.support.factories import event
from tests.support.http import build_report
from tests.support.metrics import CLIENT, NAMES, call_back, scrape
from tests.support.processes import (
    wait_for,
)


def test_callbacks_are_counted_and_timed_by_outcome(client: FlaskClient) -> None:
    assert call_back(client, build_report("good")) == 200
    assert call_back(client, build_report("good", "UNHEARD OF")) == 200
    assert call_back(client, build_report("forged"), secret="whsec_c29tZWJvZHkgZWxzZQ==") == 401
    assert call_back(client, b'{"results": 7}') == 400
    assert call_back(client, build_report("typed"), media_type="text/csv") == 415
    assert client.get("/callbacks/sandbox").status_code == 405
    assert client.post("/callbacks/sandbox/a-token").status_code == 404
    assert client.post("/callbacks/nobody").status_code == 404
    metrics = scrape(client)
    counts = {
        (sample.labels["provider"], sample.labels["outcome"]): sample.value
        for sample in metrics.families["receiver_callbacks"].samples
        if sample.name == "receiver_callbacks_total" and sample.value
    }
    single_outcomes = ("refused", "malformed", "wrong_media_type", "wrong_method", "not_found")
    assert counts == {
        ("sandbox", "acknowledged"): 2,
        ("_unknown", "not_found"): 1,
        **{("sandbox", outcome): 1 for outcome in single_outcomes},
    }
    assert metrics.get("receiver_callback_duration_seconds_count", outcome="acknowledged") == 2
    assert metrics.get("receiver_callback_duration_seconds_bucket", outcome="acknowledged", le="+Inf") == 2
    assert metrics.get("receiver_callback_duration_seconds_count") == metrics.get("receiver_callbacks_total")


def test_all_outcomes_start_at_zero(client: FlaskClient) -> None:
    usual = {"acknowledged", "refused", "malformed", "unavailable", "broken"}
    unusual = {"not_found", "wrong_method", "too_large", "wrong_media_type", "timed_out"}
    metrics = scrape(client)
    for name in NAMES:
        for outcome in usual | unusual:
            assert metrics.get("receiver_callbacks_total", provider=name, outcome=outcome) == 0


def test_api_calls_are_counted_by_operation_and_status(client: FlaskClient) -> None:
    assert client.get("/v1/jobs", headers=CLIENT).status_code == 200
    assert client.get("/v1/jobs").status_code == 401
    assert client.get(f"/v1/jobs/{uuid4()}", headers=CLIENT).status_code == 404
    metrics = scrape(client)
    calls = metrics.families["receiver_api_calls"].samples
    assert {
        tuple(sample.labels.values()): sample.value for sample in calls if sample.name == "receiver_api_calls_total"
    } == {
        ("browse_jobs", "200"): 1,
        ("browse_jobs", "401"): 1,
        ("show_job", "404"): 1,
    }
    assert metrics.get("receiver_api_call_duration_seconds_count", operation="browse_jobs") == 2
    assert metrics.get("receiver_api_call_duration_seconds_bucket", operation="show_job", le="+Inf") == 1


def test_unknown_paths_create_no_labels(client: FlaskClient) -> None:
    for number in range(20):
        assert client.post(f"/callbacks/made-up-{number}/token-{number}").status_code == 404
        assert client.get(f"/v1/made-up-{number}", headers=CLIENT).status_code == 404
        assert client.get(f"/made-up-{number}").status_code == 404
        assert client.open("/v1/jobs", method=f"MADE{number}").status_code == 405
    metrics = scrape(client)
    assert metrics.labels("provider") == {*NAMES, "_unknown"}
    assert metrics.labels("operation") == set()
    assert metrics.get("receiver_callbacks_total", provider="_unknown", outcome="not_found") == 20


def test_waiting_callbacks_and_clients_are_counted(client: FlaskClient, connection: Connection) -> None:
    reconcile(connection, [event("open", JobStatus.ACCEPTED)])
    wait = {**CLIENT, "prefer": "wait=20"}
    with ThreadPoolExecutor(2) as pool:
        with connection.transaction():
            connection.execute("LOCK TABLE callbacks IN SHARE ROW EXCLUSIVE MODE")
            waits = pool.submit(client.get, f"/v1/jobs/{derive_job_id('sandbox', 'open')}", headers=wait)
            commits = pool.submit(call_back, client, build_report("open"))
            wait_for(lambda: scrape(client).get("receiver_callbacks_waiting") == 1)
            wait_for(lambda: scrape(client).get("receiver_clients_waiting") == 1)
        assert commits.result() == 200
        assert waits.result().get_json()["status"] == "succeeded"
    metrics = scrape(client)
    assert (metrics.get("receiver_callbacks_waiting"), metrics.get("receiver_clients_waiting")) == (0, 0)


def test_empty_file_of_a_starting_worker_does_not_fail_a_scrape(tmp_path: Path) -> None:
    file = tmp_path / "counter_1.db"
    file.touch()
    with pytest.raises(struct.error):
        MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]  # the library's gap
    timer = Timer(0.03, file.unlink)
    timer.start()
    assert _MultiprocessCollector(tmp_path).collect() == []
    timer.join()
