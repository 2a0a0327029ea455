"""`/metrics` as Prometheus reads it: from one process, from several, without the database, and after the end."""

import os
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
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
from receiver.web.database_collector import DatabaseCollector
from receiver.web.multiprocess_directory import VARIABLE, MultiprocessDirectory
from tests.factories import NOON, event, provider, settings
from tests.http import Json, Server, says, signed
from tests.processes import (
    ADMIN_KEY,
    Web,
    database_away,
    declared,
    running_web,
    wait_for,
    waiting_for_locks,
)

CLIENT = {"authorization": f"Bearer {ADMIN_KEY}"}
NAMES = ("sandbox", "another")


class Metrics:
    """What a scrape told: the sum of a metric's samples with these labels, None if there is none."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    def get(self, name: str, **labels: str) -> float | None:
        values = [one.value for one in self._samples if one.name == name and labels.items() <= one.labels.items()]
        return sum(values) if values else None

    def labels(self, label: str) -> set[str]:
        return {one.labels[label] for one in self._samples if label in one.labels}


@contextmanager
def serving(dsn: str, directory: Path) -> Iterator[FlaskClient]:
    """Serve in this process."""
    providers = {name: provider(name=name) for name in NAMES}
    app = create_app(replace(settings(dsn, directory, providers), admin_key=ADMIN_KEY))
    with closing(get_app_context(app)):
        yield app.test_client()


@pytest.fixture
def client(dsn: str, tmp_path: Path) -> Iterator[FlaskClient]:
    with serving(dsn, tmp_path) as made:
        yield made


def scrape(client: FlaskClient) -> Metrics:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return Metrics(response.text)


def ask(client: FlaskClient, path: str) -> Json:
    response: Json = client.get(path, headers=CLIENT).get_json()
    return response


def call_back(client: FlaskClient, body: bytes, **signing: Any) -> int:
    return client.post("/callbacks/sandbox", data=body, headers=signed(body, **signing)).status_code


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
    """Store something of two configured providers and of one that is not configured any more."""
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
    for one in events:
        reconcile(connection, [one])


def test_the_gauges_are_the_figures_of_stats_and_providers(client: FlaskClient, connection: Connection) -> None:
    populate(connection)
    assert call_back(client, says("done as well")) == 200
    told = scrape(client)
    stats = {one["name"]: one for one in ask(client, "/v1/stats")["providers"]}
    assert stats.keys() == {"sandbox", "another", "gone"}
    for name, counts in stats.items():
        for metric, by_status in (("receiver_requests", counts["requests"]), ("receiver_jobs", counts["jobs"])):
            for sample in told.families[metric].samples:
                if sample.labels["provider"] == name:
                    assert sample.value == by_status.get(sample.labels["status"], 0)
            assert told.get(metric, provider=name) == sum(by_status.values())
        assert told.get("receiver_jobs_disputed", provider=name) == counts["disputed"]
        assert told.get("receiver_jobs_unmatched", provider=name) == counts["unmatched"]
        for kind, number in counts["attention"].items():
            assert told.get("receiver_attention", provider=name, kind=kind) == number
    assert stats["sandbox"]["disputed"] == stats["sandbox"]["attention"]["disputed"] == 1
    assert told.get("receiver_jobs", provider="sandbox", status="succeeded") == 3

    providers = {one["name"]: one for one in ask(client, "/v1/providers")["items"]}
    for name, one in providers.items():
        assert told.get("receiver_provider_paused", provider=name) == one["paused"]
        assert told.get("receiver_attention", provider=name, kind="paused") == one["paused"]
        assert one["attention"] == stats[name]["attention"]
        assert told.get("receiver_missing_callback_ratio", provider=name) == one["missing_callback_rate"]
    assert providers["sandbox"]["missing_callback_rate"] == pytest.approx(1 / 3)
    assert providers["another"]["paused"]


def test_ages_are_told_of_what_there_is(client: FlaskClient, connection: Connection) -> None:
    populate(connection)
    assert call_back(client, says("one")) == 200
    told = scrape(client)
    age = told.get("receiver_oldest_open_job_age_seconds", provider="sandbox")
    assert age == pytest.approx(max((datetime.now(UTC) - NOON).total_seconds() + 60.0, 0.0), abs=60.0)
    last = told.get("receiver_last_callback_age_seconds", provider="sandbox")
    assert last is not None
    assert 0.0 <= last < 60.0
    for metric in ("oldest_open_job_age_seconds", "last_callback_age_seconds", "missing_callback_ratio"):
        assert told.get(f"receiver_{metric}", provider="another") is None


def test_all_who_scrape_together_or_within_ten_seconds_share_one_reading(
    client: FlaskClient, connection: Connection
) -> None:
    populate(connection)
    with ThreadPoolExecutor(5) as pool:
        with connection.transaction():
            connection.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
            scrapes = [pool.submit(scrape, client) for _ in range(5)]
            wait_for(lambda: waiting_for_locks(connection))
            assert len(waiting_for_locks(connection)) == 1
        assert {scraped.result().get("receiver_jobs") for scraped in scrapes} == {5}
    reconcile(connection, [event("one more")])
    assert scrape(client).get("receiver_jobs") == 5


def test_a_database_that_takes_long_holds_no_scrape_up(client: FlaskClient, connection: Connection) -> None:
    with connection.transaction():
        connection.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        told = scrape(client)
    assert told.get("receiver_database_up") == 1
    assert told.get("receiver_jobs") is None
    wait_for(lambda: scrape(client).get("receiver_jobs") == 0)


def test_without_the_database_the_process_tells_its_own_and_later_all_again(
    client: FlaskClient, server: str, dsn: str
) -> None:
    with database_away(server, dsn):
        assert client.post("/callbacks/nobody").status_code == 404
        told = scrape(client)
        assert told.get("receiver_database_up") == 0
        assert told.get("receiver_jobs") is None
        assert told.get("receiver_callbacks_total", provider="_unknown") == 1
    wait_for(lambda: scrape(client).get("receiver_database_up") == 1)
    assert scrape(client).get("receiver_jobs", provider="sandbox") == 0


def test_a_database_that_does_not_even_refuse_holds_no_scrape_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        told = list(DatabaseCollector(f"postgresql://127.0.0.1:{port}/nothing", NAMES).collect())
        assert [(sample.name, sample.value) for family in told for sample in family.samples] == [
            ("receiver_database_up", 0)
        ]


def test_callbacks_are_counted_and_timed_by_their_outcome(client: FlaskClient) -> None:
    assert call_back(client, says("good")) == 200
    assert call_back(client, says("good", "UNHEARD OF")) == 200
    assert call_back(client, says("forged"), secret="whsec_c29tZWJvZHkgZWxzZQ==") == 401
    assert call_back(client, b'{"results": 7}') == 400
    assert call_back(client, says("typed"), media_type="text/csv") == 415
    assert client.get("/callbacks/sandbox").status_code == 405
    assert client.post("/callbacks/sandbox/a-token").status_code == 404
    assert client.post("/callbacks/nobody").status_code == 404
    told = scrape(client)
    counted = {
        (one.labels["provider"], one.labels["outcome"]): one.value
        for one in told.families["receiver_callbacks"].samples
        if one.name == "receiver_callbacks_total" and one.value
    }
    once = ("refused", "malformed", "wrong_media_type", "wrong_method", "not_found")
    assert counted == {
        ("sandbox", "acknowledged"): 2,
        ("_unknown", "not_found"): 1,
        **{("sandbox", outcome): 1 for outcome in once},
    }
    assert told.get("receiver_callback_duration_seconds_count", outcome="acknowledged") == 2
    assert told.get("receiver_callback_duration_seconds_bucket", outcome="acknowledged", le="+Inf") == 2
    assert told.get("receiver_callback_duration_seconds_count") == told.get("receiver_callbacks_total")


def test_what_may_happen_is_told_before_it_does(client: FlaskClient) -> None:
    told = scrape(client)
    for name in NAMES:
        for outcome in ("acknowledged", "refused", "malformed", "unavailable"):
            assert told.get("receiver_callbacks_total", provider=name, outcome=outcome) == 0


def test_calls_of_the_api_are_counted_by_operation_and_status(client: FlaskClient) -> None:
    assert client.get("/v1/jobs", headers=CLIENT).status_code == 200
    assert client.get("/v1/jobs").status_code == 401
    assert client.get(f"/v1/jobs/{uuid4()}", headers=CLIENT).status_code == 404
    told = scrape(client)
    calls = told.families["receiver_api_calls"].samples
    assert {tuple(one.labels.values()): one.value for one in calls if one.name == "receiver_api_calls_total"} == {
        ("browse_jobs", "200"): 1,
        ("browse_jobs", "401"): 1,
        ("show_job", "404"): 1,
    }


def test_strangers_make_no_labels(client: FlaskClient) -> None:
    for number in range(20):
        assert client.post(f"/callbacks/made-up-{number}/token-{number}").status_code == 404
        assert client.get(f"/v1/made-up-{number}", headers=CLIENT).status_code == 404
        assert client.get(f"/made-up-{number}").status_code == 404
        assert client.open("/v1/jobs", method=f"MADE{number}").status_code == 405
    told = scrape(client)
    assert told.labels("provider") == {*NAMES, "_unknown"}
    assert told.labels("operation") == set()
    assert told.get("receiver_callbacks_total", provider="_unknown", outcome="not_found") == 20


def test_those_who_wait_are_told(client: FlaskClient, connection: Connection) -> None:
    reconcile(connection, [event("open", JobStatus.ACCEPTED)])
    wait = {**CLIENT, "prefer": "wait=20"}
    with ThreadPoolExecutor(2) as pool:
        with connection.transaction():
            connection.execute("LOCK TABLE callbacks IN SHARE ROW EXCLUSIVE MODE")
            waits = pool.submit(client.get, f"/v1/jobs/{derive_job_id('sandbox', 'open')}", headers=wait)
            commits = pool.submit(call_back, client, says("open"))
            wait_for(lambda: scrape(client).get("receiver_callbacks_waiting") == 1)
            wait_for(lambda: scrape(client).get("receiver_clients_waiting") == 1)
        assert commits.result() == 200
        assert waits.result().get_json()["status"] == "succeeded"
    told = scrape(client)
    assert (told.get("receiver_callbacks_waiting"), told.get("receiver_clients_waiting")) == (0, 0)


def told_by(web: Server) -> Metrics:
    response = web.call("GET", "/metrics")
    assert response.status == 200
    return Metrics(response.body.decode())


def acknowledged(web: Server) -> float | None:
    return told_by(web).get("receiver_callbacks_total", provider="sandbox", outcome="acknowledged")


def counting_directory(web: Web) -> Path:
    """Give the directory in which the workers count, as the kernel knows it."""

    def files() -> set[str]:
        maps = [Path(f"/proc/{worker}/maps").read_text().splitlines() for worker in workers_of(web)]
        return {line.split()[-1] for lines in maps for line in lines if "/counter_" in line}

    (directory,) = {Path(file).parent for file in wait_for(files)}
    return directory


def workers_of(web: Web) -> list[int]:
    master = web.popen.pid
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def counted_by(directory: Path, worker: int) -> float:
    """Give how many callbacks one worker acknowledged."""
    values: Mapping[str, float] = {
        key: value
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(directory / f"counter_{worker}.db"))  # type: ignore[no-untyped-call]  # the library's gap
    }
    return sum(value for key, value in values.items() if '"acknowledged"' in key)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at processes through /proc")
def test_workers_add_up_also_those_that_ended_and_leave_nothing(dsn: str, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path, dsn, declared(), listener, WEB_CONCURRENCY="2") as web,
    ):
        wait_for(lambda: len(workers_of(web)) == 2)
        directory = counting_directory(web)
        wait_for(lambda: len(list(directory.glob("counter_*.db"))) == 2)
        sent = 0

        def both_have_counted() -> bool:
            nonlocal sent
            sent += 1
            assert web.call_back(says(f"ref-{sent}")).status == 200
            return all(counted_by(directory, worker) for worker in workers_of(web))

        wait_for(both_have_counted)
        wait_for(lambda: acknowledged(web) == sent)
        assert told_by(web).get("receiver_callback_duration_seconds_count", outcome="acknowledged") == sent

        ended, _ = workers_of(web)
        os.kill(ended, 9)
        wait_for(lambda: not list(directory.glob(f"*_{ended}.db")))
        wait_for(lambda: len(list(directory.glob("counter_*.db"))) == 3)
        assert acknowledged(web) == sent
        assert web.call_back(says("another")).status == 200
        wait_for(lambda: acknowledged(web) == sent + 1)
        assert told_by(web).get("receiver_callback_duration_seconds_count", outcome="acknowledged") == sent + 1
        assert told_by(web).get("receiver_callbacks_waiting") == 0
        assert web.stop() == 0
        assert "Traceback" not in web.output
        assert not directory.exists()


def test_the_directory_that_the_operator_names_is_used_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "not there yet" / "metrics"
    monkeypatch.setenv(VARIABLE, str(named))
    run = MultiprocessDirectory()
    run.make()
    assert [str(one) for one in named.iterdir()] == [os.environ[VARIABLE]]
    run.remove()
    assert list(named.iterdir()) == []


def test_what_a_killed_run_left_is_removed_by_the_next_but_nothing_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> MultiprocessDirectory:
        monkeypatch.setenv(VARIABLE, str(tmp_path))
        made = MultiprocessDirectory()
        made.make()
        return made

    first = run()
    (alive,) = tmp_path.iterdir()
    left, young, others = (tmp_path / f"{name}" for name in ("receiver-metrics-a", "receiver-metrics-b", "other"))
    for directory in (left, young, others):
        directory.mkdir()
        (directory / "counter_1.db").touch()
    for directory in (alive, left, others):
        os.utime(directory, (0, 0))
    second = run()
    assert not left.exists()
    for directory in (alive, young, others):
        assert directory.exists()
    second.remove()
    first.remove()
    assert sorted(tmp_path.iterdir()) == [others, young]
