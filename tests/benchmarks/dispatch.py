"""`dispatch`: queued requests sent by the real worker and their responses recorded, against the bare HTTP client.

Both send the same requests with the same concurrency to the same provider process, in turns. The provider is declared
in receiver.toml, as a user's is.
"""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import orjson
from uuid_utils.compat import uuid7

from receiver.cli.processes import WORKER
from receiver.providers.capabilities import OutgoingRequest
from receiver.settings import Settings, load_settings
from receiver.store.connections import Connection, connect
from receiver.store.requests import NewRequest, submit_requests
from tests.benchmarks.bare_client import write_requests
from tests.benchmarks.contests import Contest, Goal, compute_ratio
from tests.benchmarks.cpu import measure_tree
from tests.benchmarks.environment import (
    SECRET,
    BenchmarkEnvironment,
    BenchmarkFailed,
    describe_machine,
    query,
    start_environment,
)
from tests.benchmarks.results import Contender, Round
from tests.support import factories
from tests.support.capabilities import sender_of

MIN_RATIO = 0.60
PROVIDER = "declared"
CONFIG = """
[providers.{name}]
kind = "declared"
base_url = "{base_url}"
auth = {{ scheme = "bearer", secret = "benchmark" }}
signature = {{ scheme = "standard-webhooks", secrets = ["{secret}"] }}
max_concurrency = {concurrency}

[providers.{name}.operations.send]
path = "/v1/messages"
callback_url = "callback_url"
idempotency_header = "Idempotency-Key"

[providers.{name}.response]
items = "items"
reference = "id"
code = "code"
codes = {{ 1801 = "accepted", 1804 = "rejected" }}

[providers.{name}.callback]
items = "results[]"
reference = "id"
status = "state"
statuses = {{ QUEUED = "in_progress", DELIVERED = "succeeded", UNDELIVERED = "failed" }}

[providers.{name}.poll]
path = "/v1/messages/{{reference}}"
first_after = 86400
"""
_WARM_UP_REQUESTS = 2_000
_POLL_INTERVAL_S = 0.02
_START_TIMEOUT_S = 10.0
_MIN_REQUESTS_PER_SECOND = 100.0

_HAS_OPEN = b"""
SELECT EXISTS (SELECT FROM requests WHERE status = 'queued') OR EXISTS (SELECT FROM requests WHERE status = 'sending')
"""
_FIRST_START = b"SELECT extract(epoch FROM min(started_at))::float8 FROM attempts WHERE started_at >= to_timestamp(%s)"
_STORED = b"""
SELECT (SELECT count(*) FROM requests WHERE status = 'accepted' AND attempts = 1),
    (SELECT count(*) FROM attempts WHERE response_status = 202), (SELECT count(*) FROM attempts),
    (SELECT count(*) FROM jobs WHERE status = 'accepted' AND request_id IS NOT NULL),
    (SELECT count(*) FROM events WHERE source = 'response')
"""


@dataclass(frozen=True, slots=True)
class DispatchLoad:
    """The load: `requests` per round, `concurrency` of them at once."""

    rounds: int
    requests: int
    concurrency: int


def format_config(base_url: str, concurrency: int) -> str:
    """Return the configuration of a declared provider whose API is at `base_url`."""
    return CONFIG.format(name=PROVIDER, base_url=base_url, concurrency=concurrency, secret=SECRET)


def compare(load: DispatchLoad) -> Contest:
    """Run the benchmark.

    Raises:
        BenchmarkFailed: a request was not sent and accepted exactly once, or its response is not in Postgres.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1_024))
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = format_config(origin, load.concurrency)
        environment = stack.enter_context(start_environment(more_config=config))
        fast_provider = ("-m", "tests.benchmarks.fast_provider", str(listener.fileno()))
        provider = environment.start("provider", fast_provider, pass_fds=[listener.fileno()])
        worker = environment.start("worker", WORKER)
        benchmark = _DispatchBenchmark(environment, load, origin, worker, provider)
        benchmark.run_pair(min(_WARM_UP_REQUESTS, load.requests))
        pairs = [benchmark.run_pair(load.requests) for _ in range(load.rounds)]
        dispatch_rounds, bare_rounds = zip(*pairs, strict=True)
        contender, reference = Contender("dispatch", dispatch_rounds), Contender("bare client", bare_rounds)
        return Contest(
            "dispatch",
            "requests",
            [contender, reference],
            reference,
            [Goal("rate, of the bare client", compute_ratio(contender, reference).median, MIN_RATIO)],
            {"concurrency": load.concurrency, **benchmark.check_stored()},
            describe_machine(environment.dsn),
        )


class _DispatchBenchmark:
    """Runs pairs of rounds and counts the requests sent in them."""

    def __init__(
        self, environment: BenchmarkEnvironment, load: DispatchLoad, origin: str, worker: int, provider: int
    ) -> None:
        self._environment = environment
        self._load = load
        self._origin = origin
        self._pids = {"python": worker, "postgres": environment.postmaster, "provider": provider}
        self._settings = load_settings(environment.environ)
        self._sent = 0

    def run_pair(self, count: int) -> tuple[Round, Round]:
        """Send new requests by the worker and then the same requests by the bare client."""
        requests = [_build_request(number) for number in range(count)]
        dispatch_round = self._run_worker(requests)
        self._check_provider_counts(count)
        bare_round = self._run_bare_client([_compose(self._settings, request) for request in requests])
        self._check_provider_counts(count)
        self._sent += count
        return dispatch_round, bare_round

    def _run_worker(self, requests: Sequence[NewRequest]) -> Round:
        queued_at = time.time()
        with closing(connect(self._environment.dsn)) as connection:
            # The CPU time is read before the commit: until then the worker sees none of the requests.
            with connection.transaction():
                submit_requests(connection, requests)
                before = self._measure_cpu()
            self._wait_until_recorded(connection, len(requests))
            finished_at, after = time.time(), self._measure_cpu()
            (started_at,) = connection.execute(_FIRST_START, [queued_at]).fetchone() or (0.0,)
        cpu = {process: after[process] - before[process] for process in after}
        return Round(len(requests), finished_at - started_at, cpu)

    def _wait_until_recorded(self, connection: Connection, count: int) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S + count / _MIN_REQUESTS_PER_SECOND
        while (connection.execute(_HAS_OPEN).fetchone() or (True,))[0]:
            if time.monotonic() > deadline:
                raise BenchmarkFailed("the worker did not finish in time")
            self._environment.processes.check()
            time.sleep(_POLL_INTERVAL_S)

    def _run_bare_client(self, requests: Sequence[OutgoingRequest]) -> Round:
        path = self._environment.home / "requests.jsonl"
        write_requests(path, requests)
        before = measure_tree(self._pids["provider"])
        arguments = ("-m", "tests.benchmarks.bare_client", self._origin, str(self._load.concurrency), str(path))
        completed = subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
        if completed.returncode:
            raise BenchmarkFailed(f"the bare client failed: {completed.stderr.decode(errors='replace')}")
        provider_cpu = measure_tree(self._pids["provider"]) - before
        result = orjson.loads(completed.stdout)
        if result["accepted"] != len(requests):
            raise BenchmarkFailed(f"{result['accepted']} of the bare client's {len(requests)} requests were accepted")
        return Round(len(requests), result["seconds"], {"python": result["cpu"], "provider": provider_cpu})

    def _measure_cpu(self) -> dict[str, float]:
        return {process: measure_tree(pid) for process, pid in self._pids.items()}

    def _check_provider_counts(self, count: int) -> None:
        """Check that the provider got each request once, with an idempotency key of its own."""
        with urllib.request.urlopen(f"{self._origin}/seen", timeout=10.0) as response:
            counts = orjson.loads(response.read())
        if counts != {"requests": count, "keys": count}:
            raise BenchmarkFailed(f"{count} requests were sent, but the provider counted {counts}")

    def check_stored(self) -> dict[str, int]:
        """Compare the rows in Postgres with the requests sent.

        Raises:
            BenchmarkFailed: a request is not accepted with one attempt, one job and one event.
        """
        names = ("accepted_at_once", "responses", "attempts", "jobs", "events")
        counts = dict(zip(names, query(self._environment.dsn, _STORED), strict=True))
        if set(counts.values()) != {self._sent}:
            raise BenchmarkFailed(f"{self._sent} requests were sent, but Postgres contains {counts}")
        return {"sent": self._sent, **counts}


def _build_request(number: int) -> NewRequest:
    text = "Your code is 184 205. It is valid for ten minutes; do not give it to anybody."
    return NewRequest(
        id=uuid7(),
        provider=PROVIDER,
        operation="send",
        payload={"client_reference": f"benchmark-{number:08d}", "to": ["2348000000001"], "text": text},
        metadata={},
        due_at=None,
        deadline_at=None,
        deadline_after=86_400.0,
    )


def _compose(settings: Settings, request: NewRequest) -> OutgoingRequest:
    """Return what the worker sends for a request."""
    attempt = factories.attempt(request_id=request.id, payload=request.payload)
    return sender_of(settings.providers[PROVIDER]).compose(attempt, settings.callback_url(PROVIDER))
