"""The directory in which worker processes count, and its removal."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from receiver.web.metrics.multiprocess_directory import DIRECTORY_VARIABLE, MultiprocessDirectory
from tests.support.http import Server, build_report
from tests.support.metrics import Scrape
from tests.support.processes import (
    Web,
    build_provider_toml,
    running_web,
    wait_for,
)


def scrape_server(web: Server) -> Scrape:
    response = web.call("GET", "/metrics")
    assert response.status == 200
    return Scrape(response.body.decode())


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


@pytest.mark.slow
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
