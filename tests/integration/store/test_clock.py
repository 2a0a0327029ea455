"""Machines with wrong clocks: times are those of the database's clock."""

import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from receiver.store.clock import Clock
from receiver.store.database import Database
from tests.support.http import build_report
from tests.support.processes import assert_ends_well, build_provider_toml, running_web, running_worker, wait_for
from tests.support.provider import Provider, Reply, accept_request, listening, state
from tests.support.scene import open_scene

HOUR = 3_600.0


@pytest.fixture
def fake() -> Iterator[Provider]:
    with listening() as provider:
        yield provider


@pytest.mark.slow
@pytest.mark.parametrize("skew", [HOUR, -HOUR], ids=["an hour ahead", "an hour behind"])
def test_worker_with_wrong_clock_uses_the_databases_time(dsn: str, fake: Provider, tmp_path: Path, skew: float) -> None:
    name = f"c-{uuid4().hex}"
    fake.script(name, Reply(503), accept_request())
    fake.script(f"{name}-0", state("SENT"), state("DELIVERED"))
    config = build_provider_toml(
        "sandbox", fake.url, "poll = { first_after = 0.2, max_interval = 0.2 }\ndeadline = 100"
    )
    with open_scene(dsn, fake) as scene, running_worker(tmp_path, dsn, config, skew=skew) as worker:
        (request_id,) = scene.submit("sandbox", name)
        wait_for(lambda: scene.look(request_id).jobs == {f"{name}-0": "succeeded"})
        assert "clock.skew_detected" in worker.output
        assert_ends_well(worker)
        times = scene.connection.execute("SELECT abs(extract(epoch FROM now() - received_at)) FROM events").fetchall()
        assert len(times) == 3
        assert all(seconds < 20 for (seconds,) in times)
        assert scene.connection.execute("SELECT deadline_at - accepted_at FROM jobs").fetchall() == [
            (timedelta(seconds=100),)
        ]


def test_web_process_with_wrong_clock_accepts_new_signature(dsn: str, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=16) as listener,
        running_web(tmp_path, dsn, build_provider_toml(), listener, -HOUR) as web,
    ):
        assert web.call_back(build_report("ref-1")).status == 200
        assert web.call("POST", "/callbacks/sandbox", build_report("ref-1")).status == 401


def test_clocks_of_one_machine_do_not_differ(database: Database) -> None:
    for _ in range(5):
        with closing(Clock(database)) as clock:
            before, now, after = datetime.now(UTC), clock.now(), datetime.now(UTC)
            assert before <= now <= after


def test_clock_returns_the_databases_time(database: Database) -> None:
    with closing(Clock(database)) as clock:
        assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=1)
