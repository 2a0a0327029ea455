"""The worker process: at its end it finishes exchanges in flight and begins no others."""

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.store.migrate import migrate
from tests.support.processes import assert_ends_well, build_provider_toml, running_worker, wait_for
from tests.support.provider import Reply, listening, reply_after
from tests.support.proxy import Proxy
from tests.support.scene import open_scene


def test_stopped_worker_requeues_waiting_requests(
    server: str, template: str, tmp_path: Path, names: Sequence[str]
) -> None:
    released = Event()
    quick, slow = names[:2], names[2:12]
    with (
        scratch_database(server, template=template) as dsn,
        listening() as fake_provider,
        open_scene(dsn, fake_provider) as scene,
    ):
        for name in quick:
            scene.script(name, Reply(204))
        for name in slow:
            scene.script(name, reply_after(released, Reply(204)))
        with running_worker(
            tmp_path, dsn, scene.build_provider_toml("slow", "max_concurrency = 2"), "stopped"
        ) as worker:
            requests = scene.submit("slow", *quick, *slow)
            wait_for(lambda: len(scene.received_by("slow")) == 4)
            worker.popen.terminate()
            wait_for(lambda: "worker.drain_started" in worker.output)
            released.set()
            assert_ends_well(worker)
        statuses = [scene.look(request).status for request in requests]
        assert len(scene.received_by("slow")) == 4
        assert sorted(statuses) == ["completed"] * 4 + ["queued"] * 8


def test_worker_without_providers_logs_a_warning(dsn: str, tmp_path: Path) -> None:
    with running_worker(tmp_path, dsn, "") as worker:
        [line] = [line for line in worker.output.splitlines() if "providers.not_found" in line]
        assert ('"level":"warning"' in line, "declares none" in line) == (True, True)
        assert_ends_well(worker)


@pytest.mark.slow
def test_worker_on_an_unmigrated_database_logs_one_event(empty_database: str, tmp_path: Path) -> None:
    with running_worker(tmp_path, empty_database, build_provider_toml()) as worker:
        wait_for(lambda: "store.failed" in worker.output)
        time.sleep(2.0)  # several steps of each loop fail
        assert len([line for line in worker.output.splitlines() if '"level":"error"' in line]) == 1
        assert "receiver migrate" in worker.output
        migrate(empty_database)
        wait_for(lambda: "store.recovered" in worker.output)
        assert_ends_well(worker)


@pytest.mark.slow
def test_worker_stops_while_the_database_is_silent(dsn: str, tmp_path: Path) -> None:
    with Proxy(dsn) as proxy, running_worker(tmp_path, proxy.dsn, build_provider_toml()) as worker:
        time.sleep(1.0)  # all loops have begun
        proxy.stall()
        time.sleep(1.0)
        started_at = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - started_at < 12.0
