"""`dispatch`: queued requests sent by the real worker process and their answers recorded, against the bare client.

Both send the same requests, as many at once, to the same provider process, in turns.
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
from receiver.providers.base import OutgoingRequest
from receiver.settings import Settings, load_settings
from receiver.store.database import Connection, connect
from receiver.store.requests import NewRequest, submit_requests
from tests import factories
from tests.benchmarks.bare_client import write_requests
from tests.benchmarks.cpu import tree_seconds
from tests.benchmarks.figures import Comparison, Contender, Round
from tests.benchmarks.stage import PROVIDER, BenchmarkFailed, Stage, machine, query, set_stage

_WARM_UP = 2_000
_LOOK_EVERY = 0.02
_SLOWEST = 100.0

_UNDER_WAY = b"""
SELECT EXISTS (SELECT FROM requests WHERE status = 'queued') OR EXISTS (SELECT FROM requests WHERE status = 'sending')
"""
_BEGUN = b"SELECT extract(epoch FROM min(started_at))::float8 FROM attempts WHERE started_at >= to_timestamp(%s)"
_KEPT = b"""
SELECT (SELECT count(*) FROM requests WHERE status = 'accepted' AND attempts = 1),
    (SELECT count(*) FROM attempts WHERE response_status = 202), (SELECT count(*) FROM attempts),
    (SELECT count(*) FROM jobs WHERE status = 'accepted' AND request_id IS NOT NULL),
    (SELECT count(*) FROM events WHERE source = 'response')
"""


@dataclass(frozen=True, slots=True)
class Load:
    """How much is sent: `requests` per round, `concurrency` at once."""

    rounds: int
    requests: int
    concurrency: int


def compare(load: Load) -> Comparison:
    """Run the benchmark.

    Raises:
        BenchmarkFailed: a request was not sent and accepted exactly once, or its answer is not in Postgres.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1_024))
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        stage = stack.enter_context(set_stage(base_url=origin, concurrency=load.concurrency))
        fast_provider = ("-m", "tests.benchmarks.fast_provider", str(listener.fileno()))
        provider = stage.start("provider", fast_provider, pass_fds=[listener.fileno()])
        worker = stage.start("worker", WORKER)
        bench = _Bench(stage, load, origin, worker, provider)
        bench.pair(min(_WARM_UP, load.requests))
        pairs = [bench.pair(load.requests) for _ in range(load.rounds)]
        return Comparison(
            "dispatch",
            "requests",
            Contender("dispatch", [ours for ours, _ in pairs]),
            Contender("bare client", [bare for _, bare in pairs]),
            {"concurrency": load.concurrency, **bench.kept()},
            machine(stage.dsn),
        )


class _Bench:
    """Runs rounds and remembers how much was sent in them."""

    def __init__(self, stage: Stage, load: Load, origin: str, worker: int, provider: int) -> None:
        self._stage = stage
        self._load = load
        self._origin = origin
        self._pids = {"python": worker, "postgres": stage.postmaster, "provider": provider}
        self._settings = load_settings(stage.environ)
        self._sent = 0

    def pair(self, count: int) -> tuple[Round, Round]:
        """Have fresh requests sent by the worker and then by the bare client."""
        requests = [_request(number) for number in range(count)]
        ours = self._dispatch(requests)
        self._demand_seen(count)
        bare = self._bare([_composed(self._settings, request) for request in requests])
        self._demand_seen(count)
        self._sent += count
        return ours, bare

    def _dispatch(self, requests: Sequence[NewRequest]) -> Round:
        queued_at = time.time()
        with closing(connect(self._stage.dsn)) as connection:
            # One transaction: the worker sees none of them before we look at the clocks.
            with connection.transaction():
                submit_requests(connection, requests)
                before = self._cpu()
            self._wait_until_recorded(connection, len(requests))
            done, after = time.time(), self._cpu()
            (begun,) = connection.execute(_BEGUN, [queued_at]).fetchone() or (0.0,)
        return Round(len(requests), done - begun, {who: after[who] - before[who] for who in after})

    def _wait_until_recorded(self, connection: Connection, count: int) -> None:
        until = time.monotonic() + 10.0 + count / _SLOWEST
        while (connection.execute(_UNDER_WAY).fetchone() or (True,))[0]:
            if time.monotonic() > until:
                raise BenchmarkFailed("the worker does not come to an end")
            self._stage.fleet.check()
            time.sleep(_LOOK_EVERY)

    def _bare(self, requests: Sequence[OutgoingRequest]) -> Round:
        path = self._stage.home / "requests.jsonl"
        write_requests(path, requests)
        before = tree_seconds(self._pids["provider"])
        arguments = ("-m", "tests.benchmarks.bare_client", self._origin, str(self._load.concurrency), str(path))
        finished = subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
        if finished.returncode:
            raise BenchmarkFailed(f"the bare client broke: {finished.stderr.decode(errors='replace')}")
        provider = tree_seconds(self._pids["provider"]) - before
        told = orjson.loads(finished.stdout)
        if told["accepted"] != len(requests):
            raise BenchmarkFailed(f"the bare client had {told['accepted']} of {len(requests)} accepted")
        return Round(len(requests), told["seconds"], {"python": told["cpu"], "provider": provider})

    def _cpu(self) -> dict[str, float]:
        return {who: tree_seconds(pid) for who, pid in self._pids.items()}

    def _demand_seen(self, count: int) -> None:
        with urllib.request.urlopen(f"{self._origin}/seen", timeout=10.0) as response:
            seen = orjson.loads(response.read())
        if seen != {"requests": count, "keys": count}:
            raise BenchmarkFailed(f"the provider was sent {count} requests, but saw {seen}")

    def kept(self) -> dict[str, int]:
        """Compare what is in Postgres with what was sent.

        Raises:
            BenchmarkFailed: a request is not accepted with one attempt, one job and one event.
        """
        names = ("accepted_at_once", "responses", "attempts", "jobs", "events")
        found = dict(zip(names, query(self._stage.dsn, _KEPT), strict=True))
        if set(found.values()) != {self._sent}:
            raise BenchmarkFailed(f"{self._sent} requests were sent, but Postgres holds {found}")
        return {"sent": self._sent, **found}


def _request(number: int) -> NewRequest:
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


def _composed(settings: Settings, request: NewRequest) -> OutgoingRequest:
    """Give what the worker sends for a request."""
    attempt = factories.attempt(request_id=request.id, payload=request.payload)
    return settings.providers[PROVIDER].compose(attempt, settings.callback_url(PROVIDER))
