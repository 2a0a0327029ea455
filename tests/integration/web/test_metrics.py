"""`/metrics` as Prometheus reads it: of one process, of several, without the database, and after the end."""

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families

from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.database import Connection
from receiver.store.providers import pause_provider
from receiver.store.requests import NewRequest, submit_requests
from receiver.web.app import create_app
from receiver.web.context import get_app_context
from receiver.web.metrics.callback_metrics import _MultiprocessCollector
from receiver.web.metrics.database_collector import DatabaseCollector
from receiver.web.metrics.multiprocess_directory import DIRECTORY_VARIABLE, MultiprocessDirectory
from tests.support.factories import NOON, event, provider, settings
from tests.support.http import Json, Server, build_report, sign_callback
from tests.support.processes import (
    ADMIN_KEY,
    Web,
    block_database,
    build_provider_toml,
    find_lock_waiters,
    running_web,
    wait_for,
)

CLIENT = {"authorization": f"Bearer {ADMIN_KEY}"}
NAMES = ("sandbox", "another")


class Metrics:
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
def serve_app(dsn: str, directory: Path) -> Iterator[FlaskClient]:
    """Create an app in this process."""
    providers = {name: provider(name=name) for name in NAMES}
    app = create_app(replace(settings(dsn, directory, providers), admin_key=ADMIN_KEY))
    with closing(get_app_context(app)):
        yield app.test_client()


@pytest.fixture
def client(dsn: str, tmp_path: Path) -> Iterator[FlaskClient]:
    with serve_app(dsn, tmp_path) as test_client:
        yield test_client


def scrape(client: FlaskClient) -> Metrics:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return Metrics(response.text)


def get_json(client: FlaskClient, path: str) -> Json:
    response: Json = client.get(path, headers=CLIENT).get_json()
    return response


def call_back(client: FlaskClient, body: bytes, **signing: Any) -> int:
    return client.post("/callbacks/sandbox", data=body, headers=sign_callback(body, **signing)).status_code


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
    pause_provider(connection, "another", "for a test")
    events = [
        event("open", JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=uuid4()),
        event("open since longer", JobStatus.ACCEPTED, source=EventSource.RESPONSE, at=-60.0, request_id=uuid4()),
        event("done", JobStatus.SUCCEEDED, source=EventSource.POLL),
        event("disputed", JobStatus.SUCCEEDED),
        event("disputed", JobStatus.FAILED, at=1.0),
        event("gone", JobStatus.FAILED, actor=provider(name="gone")),
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
    assert stats["sandbox"]["disputed"] == stats["sandbox"]["attention"]["disputed"] == 1
    assert metrics.get("receiver_jobs", provider="sandbox", status="succeeded") == 3

    providers = {item["name"]: item for item in get_json(client, "/v1/providers")["items"]}
    for name, item in providers.items():
        assert metrics.get("receiver_provider_paused", provider=name) == item["paused"]
        assert metrics.get("receiver_attention", provider=name, kind="paused") == item["paused"]
        assert item["attention"] == stats[name]["attention"]
        assert metrics.get("receiver_missing_callback_ratio", provider=name) == item["missing_callback_rate"]
    assert providers["sandbox"]["missing_callback_rate"] == pytest.approx(1 / 3)
    assert providers["another"]["paused"]


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


def test_scrapes_within_ten_seconds_share_one_read(client: FlaskClient, connection: Connection) -> None:
    populate(connection)
    with ThreadPoolExecutor(5) as pool:
        with connection.transaction():
            connection.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
            scrapes = [pool.submit(scrape, client) for _ in range(5)]
            wait_for(lambda: find_lock_waiters(connection))
            assert len(find_lock_waiters(connection)) == 1
        assert {scraped.result().get("receiver_jobs") for scraped in scrapes} == {5}
    reconcile(connection, [event("one more")])
    assert scrape(client).get("receiver_jobs") == 5


def test_slow_database_does_not_block_scrape(client: FlaskClient, connection: Connection) -> None:
    with connection.transaction():
        connection.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        metrics = scrape(client)
    assert metrics.get("receiver_database_up") == 1
    assert metrics.get("receiver_jobs") is None
    wait_for(lambda: scrape(client).get("receiver_jobs") == 0)


def test_process_metrics_are_served_without_database(client: FlaskClient, server: str, dsn: str) -> None:
    with block_database(server, dsn):
        assert client.post("/callbacks/nobody").status_code == 404
        metrics = scrape(client)
        assert metrics.get("receiver_database_up") == 0
        assert metrics.get("receiver_jobs") is None
        assert metrics.get("receiver_callbacks_total", provider="_unknown") == 1
    wait_for(lambda: scrape(client).get("receiver_database_up") == 1)
    assert scrape(client).get("receiver_jobs", provider="sandbox") == 0


def test_silent_database_does_not_block_scrape() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        families = list(DatabaseCollector(f"postgresql://127.0.0.1:{port}/nothing", NAMES).collect())
        assert [(sample.name, sample.value) for family in families for sample in family.samples] == [
            ("receiver_database_up", 0)
        ]


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


def test_usual_outcomes_start_at_zero(client: FlaskClient) -> None:
    metrics = scrape(client)
    for name in NAMES:
        for outcome in ("acknowledged", "refused", "malformed", "unavailable"):
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


def scrape_server(web: Server) -> Metrics:
    response = web.call("GET", "/metrics")
    assert response.status == 200
    return Metrics(response.body.decode())


def count_acknowledged(web: Server) -> float | None:
    return scrape_server(web).get("receiver_callbacks_total", provider="sandbox", outcome="acknowledged")


def find_metrics_directory(web: Web) -> Path:
    """Return the directory in which the workers count, from their memory maps."""

    def files() -> set[str]:
        maps = [Path(f"/proc/{worker}/maps").read_text().splitlines() for worker in list_workers(web)]
        return {line.split()[-1] for lines in maps for line in lines if "/counter_" in line}

    (directory,) = {Path(file).parent for file in wait_for(files)}
    return directory


def list_workers(web: Web) -> list[int]:
    master = web.popen.pid
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def count_by_worker(directory: Path, worker: int) -> float:
    """Return the number of callbacks that one worker acknowledged."""
    values: Mapping[str, float] = {
        key: value
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(directory / f"counter_{worker}.db"))  # type: ignore[no-untyped-call]  # the library's gap
    }
    return sum(value for key, value in values.items() if '"acknowledged"' in key)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at processes through /proc")
def test_workers_are_summed_and_directory_is_removed(dsn: str, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path, dsn, build_provider_toml(), listener, WEB_CONCURRENCY="2") as web,
    ):
        wait_for(lambda: len(list_workers(web)) == 2)
        directory = find_metrics_directory(web)
        wait_for(lambda: len(list(directory.glob("counter_*.db"))) == 2)
        callback_count = 0

        def both_have_counted() -> bool:
            nonlocal callback_count
            callback_count += 1
            assert web.call_back(build_report(f"ref-{callback_count}")).status == 200
            return all(count_by_worker(directory, worker) for worker in list_workers(web))

        wait_for(both_have_counted)
        wait_for(lambda: count_acknowledged(web) == callback_count)
        assert (
            scrape_server(web).get("receiver_callback_duration_seconds_count", outcome="acknowledged") == callback_count
        )

        ended, _ = list_workers(web)
        os.kill(ended, 9)
        wait_for(lambda: not list(directory.glob(f"*_{ended}.db")))
        wait_for(lambda: len(list(directory.glob("counter_*.db"))) == 3)
        assert count_acknowledged(web) == callback_count
        assert web.call_back(build_report("another")).status == 200
        wait_for(lambda: count_acknowledged(web) == callback_count + 1)
        assert (
            scrape_server(web).get("receiver_callback_duration_seconds_count", outcome="acknowledged")
            == callback_count + 1
        )
        assert scrape_server(web).get("receiver_callbacks_waiting") == 0
        assert web.stop() == 0
        assert "Traceback" not in web.output
        assert not directory.exists()


def test_configured_directory_is_used_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = tmp_path / "not there yet" / "metrics"
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(configured))
    run = MultiprocessDirectory()
    run.create()
    assert [str(path) for path in configured.iterdir()] == [os.environ[DIRECTORY_VARIABLE]]
    run.remove()
    assert list(configured.iterdir()) == []


def test_empty_file_of_a_starting_worker_does_not_fail_a_scrape(tmp_path: Path) -> None:
    file = tmp_path / "counter_1.db"
    file.touch()
    with pytest.raises(struct.error):
        MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]  # the library's gap
    timer = Timer(0.03, file.unlink)
    timer.start()
    assert _MultiprocessCollector(tmp_path).collect() == []
    timer.join()


def test_next_run_removes_only_abandoned_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start_run() -> MultiprocessDirectory:
        monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
        directory = MultiprocessDirectory()
        directory.create()
        return directory

    first = start_run()
    (alive,) = tmp_path.iterdir()
    abandoned, young, foreign = (tmp_path / f"{name}" for name in ("receiver-metrics-a", "receiver-metrics-b", "other"))
    for directory in (abandoned, young, foreign):
        directory.mkdir()
        (directory / "counter_1.db").touch()
    for directory in (alive, abandoned, foreign):
        os.utime(directory, (0, 0))
    second = start_run()
    assert not abandoned.exists()
    for directory in (alive, young, foreign):
        assert directory.exists()
    second.remove()
    first.remove()
    assert sorted(tmp_path.iterdir()) == [foreign, young]
