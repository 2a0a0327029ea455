"""One run: start everything, inflict a fault or two, measure the recovery, and compare the ledger with Postgres."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psycopg
import pytest

from tests.chaos.store.check import find_differences, read_stored
from tests.chaos.store.faults import FAULTS, Scene
from tests.chaos.store.ledger import Ledger, find_false_readiness
from tests.chaos.store.postgres import Template
from tests.chaos.store.service import Service, build_service
from tests.chaos.store.stores import Store
from tests.chaos.store.traffic import LedgerProvider, Traffic
from tests.support.ports import find_free_port

RECOVERY_LIMIT_S = 15.0
_RUN_LIMIT_S = 90.0
_MAX_DIFFERENCES = 12
_POLL_INTERVAL_S = 0.02
_BASELINE_TIMEOUT_S = 15.0
_BASELINE_S = (0.2, 1.2)
_STEADY_S = 1.0
_FINISH_TIMEOUT_S = 20.0
_SENDING_TIMEOUT_S = 2.0
"""Requests whose claim was lost are `sending` for longer."""
_SLOW_CALLBACK_S = 2.0
_READINESS_LIMIT_S, _READINESS_MARGIN_S = 6.0, 1.5
_SUCCESSES = {"callback": 200, "submission": 202}
_FAILURES = {503, None}
_COUNT_QUEUED = "SELECT count(*) FROM requests WHERE status = 'queued'"
_COUNT_OPEN = "SELECT count(*) FROM requests WHERE status IN ('queued', 'sending')"
_EXPIRE_LEASES = "UPDATE requests SET leased_until = now() WHERE status = 'sending'"


@dataclass
class Result:
    """The result of a run.

    Args:
        number: the number of the run.
        faults: the names of its faults, in order.
        differences: what must not be, one line each; the run was well if there are none.
        skipped: why the run was not possible, or "".
        recovery: seconds from the end of the last fault to the first success by kind (`callback`, `submission`,
            `send`), and to the end of the last callback that failed or was slow (`settled`).
        callbacks: how many callbacks were acknowledged.
        refused: how many calls with a callback or a submission had no success.
        seconds: how long the run lasted.
    """

    number: int
    faults: Sequence[str]
    differences: list[str] = field(default_factory=list)
    skipped: str = ""
    recovery: dict[str, float] = field(default_factory=dict)
    callbacks: int = 0
    refused: int = 0
    seconds: float = 0.0


class RunTimedOut(Exception):
    """A run did not end within its limit."""


def run(template: Template, random: Random, number: int, faults: Sequence[str], logs: Path | None = None) -> Result:
    """Inflict faults on a service of its own, with the store that the last fault needs, and return the result.

    With `logs` the logs of a run with differences are copied to that directory.
    """
    began_at = time.monotonic()
    result = Result(number, faults)
    with tempfile.TemporaryDirectory(prefix="run-", dir=template.programs.home) as home:
        directory = Path(home)
        directory.chmod(0o777)  # Postgres may run as another user
        try:
            with _limit_time(_RUN_LIMIT_S), FAULTS[faults[-1]].open_store(template, directory) as store:
                _run_on(store, directory, random, result)
        except pytest.skip.Exception as error:
            result.skipped = str(error)
        except (RunTimedOut, AssertionError, psycopg.Error, subprocess.TimeoutExpired) as error:
            result.differences.append(f"the run was given up: {type(error).__name__} {error}")
        if logs and result.differences:
            _copy_logs(directory, logs)
    if (excess := len(result.differences) - _MAX_DIFFERENCES) > 0:
        result.differences[_MAX_DIFFERENCES:] = [f"and {excess} more"]
    result.seconds = round(time.monotonic() - began_at, 1)
    return result


def _run_on(store: Store, directory: Path, random: Random, result: Result) -> None:
    port, ledger = find_free_port(), Ledger()
    traffic = Traffic(port, ledger, Random(random.random()))  # of its own: threads share it in no particular order
    with LedgerProvider(traffic.accept).running() as url:
        service = build_service(directory, store.dsn, url, port)
        with service.running():
            with traffic.running():
                assert _wait_until(lambda: _has_success(ledger, 0.0), _BASELINE_TIMEOUT_S), "no success before a fault"
                time.sleep(random.uniform(*_BASELINE_S))
                for fault in result.faults:
                    FAULTS[fault].inflict(Scene(service, store, random))
                ended_at = time.monotonic()
                _wait_until(lambda: _has_success(ledger, ended_at), RECOVERY_LIMIT_S)
                time.sleep(_STEADY_S)
                traffic.stop_clients()
                result.differences += _wait_until_quiet(traffic, store)
            result.recovery = measure_recovery(ledger, ended_at)
            result.callbacks = sum(callback.acknowledged for callback in ledger.list_callbacks())
            result.refused = sum(
                call.status != success for kind, success in _SUCCESSES.items() for call in ledger.calls[kind]
            )
            result.differences += [*find_failures(ledger, result.recovery), *service.find_ended()]
            result.differences += service.stop("web", "worker")
            result.differences += _end_open_requests(service, store)
        audit = service.run("audit", DATABASE_URL=store.server.dsn)
    if audit.returncode:
        result.differences.append(f"audit exits with {audit.returncode}: {audit.stdout[-200:]}{audit.stderr[-200:]}")
    result.differences += find_differences(ledger, *read_stored(store.server))


def _copy_logs(directory: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for log in directory.glob("*.log"):
        shutil.copy(log, target)


def _has_success(ledger: Ledger, after: float) -> bool:
    """Return whether a callback, a submission and a send succeeded after a time."""
    calls = [ledger.find_first(kind, status, after) for kind, status in _SUCCESSES.items()]
    return None not in [*calls, ledger.find_first_send(after)]


def measure_recovery(ledger: Ledger, ended_at: float) -> dict[str, float]:
    """Return the seconds from the end of the last fault by kind, see `Result`; a kind without a success is missing."""
    firsts = {kind: ledger.find_first(kind, status, ended_at) for kind, status in _SUCCESSES.items()}
    firsts["send"] = ledger.find_first_send(ended_at)
    troubled = [
        call.ended_at
        for call in ledger.calls["callback"]
        if call.status != 200 or call.ended_at - call.began_at > _SLOW_CALLBACK_S
    ]
    times = {**firsts, "settled": max([ended_at, *troubled])}
    return {kind: round(at - ended_at, 2) for kind, at in times.items() if at is not None}


def find_failures(ledger: Ledger, recovery: Mapping[str, float]) -> Iterator[str]:
    """Yield what was wrong with the service's responses, one line each."""
    for kind in (*_SUCCESSES, "send", "settled"):
        if (seconds := recovery.get(kind)) is None or seconds > RECOVERY_LIMIT_S:
            yield f"{kind}: {'no success' if seconds is None else f'{seconds} s'} after the end of the fault"
    for kind, success in _SUCCESSES.items():
        statuses = Counter(call.status for call in ledger.calls[kind] if call.status not in {success, *_FAILURES})
        yield from (f"{number} calls ({kind}) were answered {status}" for status, number in statuses.items())
    false = [*find_false_readiness(ledger.calls, limit=_READINESS_LIMIT_S, margin=_READINESS_MARGIN_S)]
    if false:
        yield f"/readyz was 200 in {len(false)} checks while no callback was acknowledged for {_READINESS_LIMIT_S:g} s"


def _wait_until_quiet(traffic: Traffic, store: Store) -> Iterator[str]:
    """Wait until nothing is to be sent or called back, and yield what is after a time."""
    if not _wait_until(lambda: not _count(store, _COUNT_QUEUED), _FINISH_TIMEOUT_S):
        yield "requests are still queued"
    _wait_until(lambda: not _count(store, _COUNT_OPEN), _SENDING_TIMEOUT_S)
    if not _wait_until(traffic.is_quiet, _FINISH_TIMEOUT_S):
        yield "callbacks are still not acknowledged"


def _end_open_requests(service: Service, store: Store) -> Iterator[str]:
    """Run a worker until no request is open: requests whose claim was lost with a process or a reply.

    Their leases expire at once, because no process is left that could send them.
    """
    if _count(store, _COUNT_OPEN):
        store.server.execute(_EXPIRE_LEASES)
        service.start("worker")
        _wait_until(lambda: not _count(store, _COUNT_OPEN), _FINISH_TIMEOUT_S)
        yield from service.stop("worker")


def _count(store: Store, statement: str) -> int:
    [(number,)] = store.server.query(statement)
    return int(number)


def _wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until a condition holds, and return whether it does within the time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_INTERVAL_S)
    return True


@contextmanager
def _limit_time(seconds: float) -> Iterator[None]:
    """Raise `RunTimedOut` in the main thread if the context lasts longer."""

    def give_up(*_: object) -> None:
        raise RunTimedOut(f"after {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler)
