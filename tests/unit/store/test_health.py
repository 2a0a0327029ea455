"""The states of the store's health, with a probe that the test controls; the integration tests have real failures."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest

from receiver.store import health as health_module
from receiver.store.errors import FailureKind, NotMigrated, StoreUnavailable
from receiver.store.health import MAX_COMMIT_AGE_S, Part, StoreHealth
from tests.support.logs import capture_log

CALLERS = 20
TIMEOUT_S = 5.0


class Probe:
    """Counts its calls, waits while it is held, and raises the error if there is one."""

    def __init__(self) -> None:
        self.failures: list[FailureKind | None] = []
        self.error: Exception | None = None
        self.released = threading.Event()
        self.released.set()

    def __call__(self, failure: FailureKind | None) -> None:
        self.failures.append(failure)
        self.released.wait(TIMEOUT_S)
        if self.error is not None:
            raise self.error


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The entries of the module's log."""
    return capture_log(monkeypatch, health_module)


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "_PROBE_INTERVAL_S", 0.02)


@contextmanager
def watched_store(error: Exception | None = None) -> Iterator[tuple[StoreHealth, Probe]]:
    """Yield the health of a store whose probe raises `error`."""
    probe = Probe()
    probe.error = error
    with closing(StoreHealth(probe)) as health:
        yield health, probe
        probe.released.set()


def wait_for_recovery(health: StoreHealth) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while health.check() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_callers_of_check_share_a_probe() -> None:
    with watched_store() as (health, probe), ThreadPoolExecutor(CALLERS) as pool:
        probe.released.clear()
        waiting = [pool.submit(health.check) for _ in range(CALLERS)]
        time.sleep(0.05)
        probe.released.set()
        assert {future.result(TIMEOUT_S) for future in waiting} == {None}
        assert len(probe.failures) == 1


def test_check_is_repeated_only_after_a_second() -> None:
    with watched_store() as (health, probe):
        assert [health.check() for _ in range(3)] == [None] * 3
        assert len(probe.failures) == 1


def test_check_does_not_wait_for_a_silent_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "_CHECK_TIMEOUT_S", 0.05)
    with watched_store() as (health, probe):
        probe.released.clear()
        problem = health.check()
        assert problem is not None
        assert (problem.part, problem.kind) == (Part.CONNECTION, FailureKind.TIMED_OUT)


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (StoreUnavailable("refused", FailureKind.CONNECT_FAILED), Part.CONNECTION),
        (StoreUnavailable("gone", FailureKind.CONNECTION_LOST), Part.CONNECTION),
        (StoreUnavailable("read-only", FailureKind.READ_ONLY), Part.COMMITS),
        (StoreUnavailable("no space", FailureKind.DISK_FULL), Part.COMMITS),
        (StoreUnavailable("no response", FailureKind.COMMIT_TIMED_OUT), Part.COMMITS),
        (NotMigrated(), Part.SCHEMA),
    ],
)
def test_failed_probe_names_the_part(error: StoreUnavailable, part: Part) -> None:
    with watched_store(error) as (health, _):
        problem = health.check()
        assert problem is not None
        assert problem.part is part
        with pytest.raises(StoreUnavailable):
            health.require_writable()
        if part is Part.CONNECTION:
            with pytest.raises(StoreUnavailable, match="connection: "):
                health.require_reachable()
        else:
            health.require_reachable()


def test_failure_ends_by_itself_and_is_logged_once(logs: list[Any]) -> None:
    with watched_store(StoreUnavailable("away", FailureKind.CONNECT_FAILED)) as (health, probe):
        for _ in range(3):
            health.record_commit_failure(StoreUnavailable("away", FailureKind.CONNECT_FAILED))
        while len(probe.failures) < 3:
            time.sleep(0.005)
        probe.error = None
        wait_for_recovery(health)
        deadline = time.monotonic() + TIMEOUT_S
        while len(logs) < 2 and time.monotonic() < deadline:  # the event follows the change of the state
            time.sleep(0.005)
    assert [entry["event"] for entry in logs] == ["store.failed", "store.recovered"]
    assert FailureKind.CONNECT_FAILED in probe.failures


def test_timed_out_commit_does_not_stop_reads() -> None:
    with watched_store(StoreUnavailable("no response", FailureKind.COMMIT_TIMED_OUT)) as (health, _):
        health.record_commit_failure(StoreUnavailable("no response", FailureKind.TIMED_OUT))
        health.require_reachable()
        with pytest.raises(StoreUnavailable, match="commits: no response"):
            health.require_writable()


def test_commit_during_a_probe_is_better_evidence() -> None:
    with watched_store(StoreUnavailable("refused", FailureKind.CONNECT_FAILED)) as (health, probe):
        probe.released.clear()
        health.start()
        health.record_error(FailureKind.CONNECTION_LOST)
        while not probe.failures:
            time.sleep(0.005)
        health.record_commit()
        probe.released.set()
        assert health.check() is None


def test_missing_connection_slots_are_no_failure_of_commits() -> None:
    with watched_store(StoreUnavailable("too many clients", FailureKind.TOO_MANY_CONNECTIONS)) as (health, _):
        assert health.check() is None


def test_late_commit_is_a_problem() -> None:
    with watched_store() as (health, _):
        health.record_commit()
        health.watch_commits(lambda: MAX_COMMIT_AGE_S + 1.0)
        problem = health.check()
        assert problem is not None
        assert "oldest waiting commit" in problem.message
        with pytest.raises(StoreUnavailable, match="oldest waiting commit"):
            health.require_writable()


def test_exhausted_pool_causes_no_probe() -> None:
    with watched_store() as (health, probe):
        health.start()
        health.record_error(FailureKind.POOL_EXHAUSTED)
        time.sleep(0.05)
        assert (health.error_counts[FailureKind.POOL_EXHAUSTED], probe.failures) == (1, [])


def test_crashing_probe_does_not_end_the_thread() -> None:
    with watched_store(RuntimeError("bug")) as (health, probe):
        health.start()
        health.record_error(FailureKind.OTHER)
        while not probe.failures:
            time.sleep(0.005)
        probe.error = None
        assert health.check() is None
