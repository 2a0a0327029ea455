"""`submit`: requests submitted one by one and in batches, committed in Postgres, against an empty Flask view.

All calls have an API key and an idempotency key, and all requests have metadata. The empty view gets the bytes of the
single submissions.
"""

import urllib.request
from contextlib import ExitStack, closing
from dataclasses import dataclass
from uuid import UUID

from uuid_utils.compat import uuid7

from receiver.cli.processes import WEB
from receiver.domain.access import Scope
from receiver.store.connections import connect
from receiver.store.keys import NewApiKey, create_key
from receiver.web.auth.api_keys import generate_key, hash_key, shorten_key
from tests.benchmarks.contests import Contest, Goal, compute_rate, compute_ratio
from tests.benchmarks.cpu import measure_tree
from tests.benchmarks.environment import (
    BenchmarkEnvironment,
    BenchmarkFailed,
    describe_machine,
    query,
    start_environment,
)
from tests.benchmarks.intake import EMPTY_VIEW, Web, start_gunicorn
from tests.benchmarks.results import Contender, Round
from tests.benchmarks.submissions import BATCH_PATH, BATCH_SIZE, CONFIG, METADATA_COUNT, SINGLE_PATH, write_submissions
from tests.benchmarks.wrk import THREADS, RequestFile, WrkResult, find_wrk, send

MIN_RATIO = 0.5
MIN_BATCH_RATE = 20_000
_MAX_CALLS_PER_MINUTE = 1_000_000
_WARM_UP_S = 1
_STORED = b"""
SELECT (SELECT count(*) FROM requests WHERE status = 'queued'), (SELECT count(*) FROM request_metadata),
    (SELECT count(*) FROM idempotency_keys WHERE response IS NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class SubmitLoad:
    """The load: `seconds` per round; the rates are at least as high as the service can be, in calls per second."""

    rounds: int
    seconds: int
    connections: int
    batch_connections: int
    workers: int
    max_rate: int = 8_000
    max_batch_rate: int = 40


def compare(load: SubmitLoad) -> Contest:
    """Run the benchmark.

    Raises:
        WrkMissing: the load generator is not installed.
        BenchmarkFailed: a response was not 2xx, or an accepted request is not in Postgres.
    """
    find_wrk()
    with ExitStack() as stack:
        environment = stack.enter_context(start_environment(more_config=CONFIG))
        web = stack.enter_context(start_gunicorn(environment, "submit", WEB, load.workers))
        empty_view = stack.enter_context(start_gunicorn(environment, "empty", EMPTY_VIEW, load.workers))
        benchmark = SubmitBenchmark(environment, load, web, empty_view)
        benchmark.run_turn(min(_WARM_UP_S, load.seconds))
        turns = [benchmark.run_turn(load.seconds) for _ in range(load.rounds)]
        environment.processes.stop()
        single_rounds, empty_rounds, batch_rounds = zip(*turns, strict=True)
        single, reference = Contender("one request each", single_rounds), Contender("empty view", empty_rounds)
        batches = Contender(f"batches of {BATCH_SIZE:,}", batch_rounds)
        return Contest(
            "submit",
            "requests",
            [single, reference, batches],
            reference,
            [
                Goal("rate of one request each, of the empty view", compute_ratio(single, reference).median, MIN_RATIO),
                Goal("requests per second in batches", compute_rate(batches).median, MIN_BATCH_RATE),
            ],
            {"workers": load.workers, "connections": load.connections, **benchmark.check_stored()},
            describe_machine(environment.dsn),
        )


class SubmitBenchmark:
    """Runs rounds and records how many calls were accepted in them."""

    def __init__(self, environment: BenchmarkEnvironment, load: SubmitLoad, web: Web, empty_view: Web) -> None:
        self._environment = environment
        self._load = load
        self._web = web
        self._empty_view = empty_view
        self._key = create_submit_key(environment.dsn)
        self._single: list[WrkResult] = []
        self._batches: list[WrkResult] = []

    def run_turn(self, seconds: int) -> tuple[Round, Round, Round]:
        """Run a round of single submissions, one of the empty view and one of batches."""
        count = self._load.max_rate * seconds
        with write_submissions(self._key, SINGLE_PATH, count) as requests:
            result, single = self._run_round(self._web, requests, seconds)
            self._single.append(result)
            _, empty = self._run_round(self._empty_view, requests, seconds)
        count = max(self._load.max_batch_rate * seconds, THREADS)
        with write_submissions(self._key, BATCH_PATH, count) as requests:
            result, batch = self._run_round(self._web, requests, seconds, batch_size=BATCH_SIZE)
            self._batches.append(result)
        return single, empty, batch

    def _run_round(
        self, web: Web, requests: RequestFile, seconds: int, *, batch_size: int = 1
    ) -> tuple[WrkResult, Round]:
        connections = self._load.connections if batch_size == 1 else self._load.batch_connections
        before = self._measure_cpu(web)
        try:
            result, wrk_cpu = send(web.port, requests, connections=connections, seconds=seconds)
        except BenchmarkFailed as error:
            raise BenchmarkFailed(f"{error}; responses so far: {_read_api_calls(web.port)}") from error
        if result.exhausted:
            raise BenchmarkFailed("the prepared calls were used up before the round ended; raise the maximum rates")
        cpu = {process: after - before[process] for process, after in self._measure_cpu(web).items()}
        return result, Round(result.responses * batch_size, result.seconds, {**cpu, "wrk": wrk_cpu})

    def _measure_cpu(self, web: Web) -> dict[str, float]:
        return {"python": measure_tree(web.pid), "postgres": measure_tree(self._environment.postmaster)}

    def check_stored(self) -> dict[str, int]:
        """Compare the rows in Postgres with the accepted calls.

        The end of a round cuts off at most one call per connection, which may be stored without being answered.

        Raises:
            BenchmarkFailed: fewer are stored than accepted, or more than sent.
        """
        single, batches = (sum(result.responses for result in results) for results in (self._single, self._batches))
        accepted = single + batches * BATCH_SIZE
        cut_off = self._load.connections * len(self._single)
        cut_off_batches = self._load.batch_connections * len(self._batches)
        requests, metadata, keys = query(self._environment.dsn, _STORED)
        counts = {"accepted": accepted, "requests": requests, "metadata": metadata, "keys": keys}
        if (
            not accepted <= requests <= accepted + cut_off + cut_off_batches * BATCH_SIZE
            or not single + batches <= keys <= single + batches + cut_off + cut_off_batches
            or metadata != requests * METADATA_COUNT
        ):
            raise BenchmarkFailed(f"the rows in Postgres do not match the accepted requests: {counts}")
        return counts


def create_submit_key(dsn: str) -> str:
    """Create an API key whose rate limit is above what the service can take, and return it."""
    key = generate_key()
    with closing(connect(dsn)) as connection:
        create_key(
            connection,
            NewApiKey(
                id=UUID(int=uuid7().int),
                client="benchmark",
                name="benchmark",
                hash=hash_key(key),
                prefix=shorten_key(key),
                scopes=[Scope.SUBMIT, Scope.READ],
                providers=None,
                per_minute=_MAX_CALLS_PER_MINUTE,
                expires_at=None,
            ),
        )
    return key


def _read_api_calls(port: int) -> str:
    """Return the lines of `/metrics` that count the responses to calls by status."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10.0) as response:
        lines = response.read().decode().splitlines()
    return ", ".join(line for line in lines if line.startswith("receiver_api_calls_total"))
