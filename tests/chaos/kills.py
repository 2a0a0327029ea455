"""`kills`: workers are killed at random points of the send path with many requests in progress, again and again.

With `hold` no request may be sent twice. With `retry` every request must end, and every send of a request must have the
same idempotency key. No request may be lost.

Leases and concurrency shares of a killed worker expire here at once: its process is gone and cannot send any more.
"""

import json
import os
import select
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from random import Random
from typing import Any, TextIO
from uuid import UUID

from receiver.store.connections import Connection, connect
from receiver.store.requests import submit_requests
from tests.chaos.counting_provider import Arrival, build_request, run_counting_provider
from tests.chaos.kill_points import KILL_POINTS
from tests.support.processes import build_environ, build_provider_toml, running, wait_for

HOLD, RETRY = "hold", "retry"
ANY_TIME = "any time"
_PROVIDERS = (HOLD, RETRY)
_REQUESTS_PER_KILL = 12
_MAX_KILL_DELAY_S = 0.4
_KILL_TIMEOUT_S = 1.0
_DISCONNECT_TIMEOUT_S = 10.0
_FINISH_TIMEOUT_S = 60.0
_SETTINGS = """
on_ambiguous = "{provider}"
max_concurrency = 8
retry = {{ attempts = 100, base = 0.01, max = 0.05 }}
poll = {{ first_after = 3600 }}
"""
_EXPIRE_LEASES = (
    "UPDATE requests SET leased_until = now() - interval '1 s' WHERE status = 'sending'",
    "DELETE FROM concurrency_shares",
)
_COUNT_SESSIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_COUNT_OPEN = "SELECT count(*) FROM requests WHERE status IN ('queued', 'sending')"
_FIND_STORED = """
SELECT id, provider, payload ->> 'client_reference', status,
    (SELECT count(*) FROM attempts WHERE request_id = requests.id),
    (SELECT count(*) FROM attempts WHERE request_id = requests.id AND response_status IS NOT NULL),
    (SELECT count(*) FROM attempts WHERE request_id = requests.id AND finished_at IS NULL),
    (SELECT count(*) FROM jobs WHERE request_id = requests.id)
FROM requests
"""


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request in Postgres at the end, with its numbers of attempts, of responses, of open attempts and of jobs."""

    id: UUID
    provider: str
    name: str
    status: str
    attempts: int
    responses: int
    open_attempts: int
    jobs: int


@dataclass(frozen=True, slots=True)
class KillsTrial:
    """The result of a trial.

    Args:
        kills: how many workers were killed at each point.
        submitted: the provider of each request, by the client's reference.
        arrivals: the requests that arrived at the providers.
        stored: the requests in Postgres.
        seconds: how long the trial lasted.
    """

    kills: Mapping[str, int]
    submitted: Mapping[str, str]
    arrivals: Sequence[Arrival]
    stored: Sequence[StoredRequest]
    seconds: float

    @property
    def violations(self) -> list[str]:
        """Each violation as one line."""
        return list(find_violations(self.submitted, self.arrivals, self.stored))

    def summary(self) -> str:
        """Return the result as a table for people."""
        kills = [f"{point:24}{number:7}" for point, number in sorted(self.kills.items(), key=lambda kill: -kill[1])]
        lines = ["killed at                kills", *kills, f"{'all':24}{sum(self.kills.values()):7}", ""]
        lines.append("provider  requests   sends  sent again  unknown  accepted")
        for provider in _PROVIDERS:
            sends = Counter(arrival.name for arrival in self.arrivals if arrival.provider == provider)
            statuses = Counter(request.status for request in self.stored if request.provider == provider)
            sent_again = sum(number > 1 for number in sends.values())
            lines.append(
                f"{provider:8}{statuses.total():10}{sends.total():8}{sent_again:12}{statuses['unknown']:9}"
                f"{statuses['accepted']:10}"
            )
        return "\n".join([*lines, "", f"{self.seconds:.1f} s"])


def find_violations(
    submitted: Mapping[str, str], arrivals: Sequence[Arrival], stored: Sequence[StoredRequest]
) -> Iterator[str]:
    """Yield each violation as one line.

    Args:
        submitted: the provider of each request, by the client's reference.
        arrivals: the requests that arrived at the providers.
        stored: the requests in Postgres.
    """
    sends: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        sends[arrival.name].append(arrival)
    lost = submitted.keys() - {request.name for request in stored}
    yield from (f"{name} is lost" for name in sorted(lost))
    yield from (f"{name} was never submitted" for name in sorted(sends.keys() - submitted.keys()))
    keys = Counter(key for request_sends in sends.values() for key in {arrival.key for arrival in request_sends})
    yield from (f"several requests have the idempotency key {key}" for key, number in keys.items() if number > 1)
    for request in stored:
        yield from (f"{request.name}: {violation}" for violation in _check_request(request, sends[request.name]))


def _check_request(request: StoredRequest, sends: Sequence[Arrival]) -> Iterator[str]:
    """Yield the violations of a single request."""
    if len(sends) > request.attempts:
        yield f"was sent {len(sends)} times by {request.attempts} committed attempts"
    if {arrival.key for arrival in sends} - {str(request.id)}:
        yield "was sent with the idempotency key of another request"
    if request.open_attempts:
        yield f"{request.open_attempts} attempts are still open"
    match request.status:
        case "accepted":
            if not sends or not request.responses or request.jobs != 1:
                yield f"is accepted with {len(sends)} sends, {request.responses} responses and {request.jobs} jobs"
        case "unknown" if request.provider == HOLD:
            if request.responses == request.attempts:
                yield "is unknown, but each of its attempts has a response"
        case _:
            yield f"did not end: its status is {request.status}"
    if request.provider == HOLD and len(sends) > 1:
        yield f"was sent {len(sends)} times"


def run(dsn: str, directory: Path, *, count: int, seed: int) -> KillsTrial:
    """Kill `count` workers on an empty, migrated database, and run another worker until all requests have ended."""
    started_at = time.monotonic()
    random = Random(seed)
    with (
        run_counting_provider(directory) as provider,
        closing(connect(dsn)) as connection,
        _start_launcher(dsn, directory, provider.url) as launcher,
    ):
        submitted: dict[str, str] = {}
        kills: Counter[str] = Counter()
        for number in range(count):
            submitted |= _submit(connection, number)
            point = random.choice([*KILL_POINTS, ANY_TIME])
            hit = random.randint(1, KILL_POINTS[point].max_hits) if point in KILL_POINTS else 0
            kills[launcher.kill(point, hit, random.uniform(0.0, _MAX_KILL_DELAY_S))] += 1
            _expire_leases(connection)
        launcher.finish(connection)
        stored = [StoredRequest(*row) for row in connection.execute(_FIND_STORED)]
        return KillsTrial(kills, submitted, provider.find_arrivals(), stored, time.monotonic() - started_at)


def _expire_leases(connection: Connection) -> None:
    """Expire everything that a killed worker held.

    A statement that Postgres received before the kill may still commit, and lease requests, until the session ends.
    """
    wait_for(lambda: connection.execute(_COUNT_SESSIONS).fetchall() == [(0,)], _DISCONNECT_TIMEOUT_S)
    for statement in _EXPIRE_LEASES:
        connection.execute(statement)


def _submit(connection: Connection, batch: int) -> dict[str, str]:
    """Submit requests to both providers and return the provider of each name."""
    providers = {f"{name}-{batch}-{number}": name for number in range(_REQUESTS_PER_KILL) for name in _PROVIDERS}
    submit_requests(connection, [build_request(provider, name) for name, provider in providers.items()])
    return providers


@dataclass(frozen=True, slots=True)
class _Launcher:
    """The process that forks workers: where its orders are written and its responses read."""

    orders: TextIO
    responses: RawIOBase
    log: Path

    def kill(self, point: str, hit: int, after: float) -> str:
        """Run a worker until it is killed, and return the point at which it was.

        A worker that does not reach its point in time is killed from outside, at any time.
        """
        pid = self._start(point, hit, after)
        if not select.select([self.responses], [], [], _KILL_TIMEOUT_S)[0]:
            point = ANY_TIME
            # The worker may have reached its point after all.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._check_exit_code(-signal.SIGKILL)
        return point

    def finish(self, connection: Connection) -> None:
        """Run a worker until all requests have ended, if any is open, and stop the worker with SIGTERM."""
        _expire_leases(connection)
        if connection.execute(_COUNT_OPEN).fetchall() == [(0,)]:
            return
        pid = self._start("none", 0, None)
        deadline = time.monotonic() + _FINISH_TIMEOUT_S
        try:
            while connection.execute(_COUNT_OPEN).fetchall() != [(0,)] and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            os.kill(pid, signal.SIGTERM)
        self._check_exit_code(0)

    def _start(self, point: str, hit: int, after: float | None) -> int:
        """Start a worker and return its pid."""
        order: dict[str, Any] = {"point": point, "hit": hit, "after": after}
        print(json.dumps(order), file=self.orders, flush=True)
        return self._read_number()

    def _check_exit_code(self, expected: int) -> None:
        code = self._read_number()
        assert code == expected, f"a worker exited with {code}: {self._read_log()}"

    def _read_number(self) -> int:
        line = self.responses.readline()
        assert line, f"the launcher ended: {self._read_log()}"
        return int(line)

    def _read_log(self) -> str:
        return self.log.read_text(errors="replace")[-2_000:]


@contextmanager
def _start_launcher(dsn: str, directory: Path, url: str) -> Iterator[_Launcher]:
    """Run the launcher until the context ends."""
    config = "".join(build_provider_toml(name, f"{url}/{name}", _SETTINGS.format(provider=name)) for name in _PROVIDERS)
    environ = build_environ(directory, dsn, config, "launcher") | {"LOG_LEVEL": "ERROR"}
    with ExitStack() as stack:
        orders_reader, orders_writer = os.pipe()
        orders = stack.enter_context(os.fdopen(orders_writer, "w"))
        responses_reader, responses_writer = os.pipe()
        responses = stack.enter_context(os.fdopen(responses_reader, "rb", buffering=0))
        log = directory / "launcher.log"
        arguments = ("-m", "tests.chaos.killable_worker", str(orders_reader), str(responses_writer))
        stack.enter_context(running(arguments, log, environ, pass_fds=[orders_reader, responses_writer]))
        os.close(orders_reader)
        os.close(responses_writer)
        yield _Launcher(orders, responses, log)
