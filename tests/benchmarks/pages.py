"""`pages`: how long the admin pages take, and how large they are, in a database with a million jobs.

One gunicorn worker serves them to one signed-in client, one call after the other: the time of a call is the time that
the server spends on it.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from typing import Any

from receiver.cli.processes import WEB
from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection, connect
from receiver.store.migrate import migrate
from tests.benchmarks.contests import Goal
from tests.benchmarks.environment import BenchmarkFailed, describe_machine, start_environment
from tests.benchmarks.intake import start_gunicorn
from tests.benchmarks.loader import load_jobs
from tests.benchmarks.query_results import compute_p95
from tests.support.admin_pages import Browser, browse
from tests.support.http import Server
from tests.support.population import PROVIDERS
from tests.support.processes import ADMIN_KEY, build_provider_toml

MAX_MS = 150.0
MAX_BYTES = 60_000
_MILLISECONDS = 1e3
_WARM_UP_CALLS = 2
# The loaded rows are days old, and the overview shows the last hour and the last day: every minute of the last hour has
# all outcomes, and so has every hour of 90 days, into which older minutes are merged.
_INSERT_ACTIVITY = b"""
INSERT INTO activity (seconds, started_at, provider, kind, outcome, bucket, count)
SELECT seconds, started_at, provider, kind, outcome, bucket, 1 + extract(minute FROM started_at)::bigint %% 7
FROM (
    SELECT 60 AS seconds, date_trunc('minute', now()) - n * interval '1 minute' AS started_at
    FROM generate_series(1, 65) AS n
    UNION ALL
    SELECT 3600, date_trunc('hour', now() - interval '65 minutes') - n * interval '1 hour'
    FROM generate_series(0, 2159) AS n
) AS period CROSS JOIN unnest(%(providers)s::text[]) AS provider CROSS JOIN (
    SELECT 'requests' AS kind, 'submitted' AS outcome, 0 AS bucket
    UNION ALL SELECT 'callbacks', verdict, 0 FROM unnest('{accepted,duplicate,invalid,unmapped}'::text[]) AS verdict
    UNION ALL SELECT 'jobs', status, bucket
        FROM unnest('{succeeded,failed}'::text[]) AS status CROSS JOIN generate_series(5, 15) AS bucket
) AS happened
"""
_PAGES: Mapping[str, bytes] = {
    "overview": b"SELECT '/admin/'",
    "requests": b"SELECT '/admin/requests'",
    "requests by metadata": b"SELECT '/admin/requests?metadata.environment=test'",
    "request": b"SELECT '/admin/requests/' || request_id FROM jobs WHERE request_id IS NOT NULL LIMIT 1",
    "jobs": b"SELECT '/admin/jobs'",
    "disputed jobs": b"SELECT '/admin/jobs?disputed=true'",
    "job": b"SELECT '/admin/jobs/' || id FROM jobs WHERE disputed LIMIT 1",
    "callbacks": b"SELECT '/admin/callbacks'",
    "callback": b"SELECT '/admin/callbacks/' || id FROM callbacks WHERE verdict = 'unmapped' LIMIT 1",
    "notifications": b"SELECT '/admin/notifications'",
    "providers": b"SELECT '/admin/providers'",
    "provider": b"SELECT '/admin/providers/acme'",
    "catalog": b"SELECT '/admin/providers/catalog'",
    "catalog entry": b"SELECT '/admin/providers/catalog/twilio'",
    "keys": b"SELECT '/admin/keys'",
    "search by reference": b"SELECT '/admin/search?q=ref-000000777'",
    "search by metadata": b"SELECT '/admin/search?q=metadata.environment%3Dtest'",
    "search without result": b"SELECT '/admin/search?q=nothing-like-this'",
}
"""The queries for the targets of the pages, by the name of the page."""


@dataclass(frozen=True, slots=True)
class PagesLoad:
    """The load: `jobs` in the database, and `calls` of each page."""

    jobs: int
    calls: int


@dataclass(frozen=True, slots=True)
class PageResult:
    """A page: its size in bytes, and the milliseconds of each call."""

    name: str
    size: int
    milliseconds: Sequence[float]


@dataclass(frozen=True, slots=True)
class PagesResults:
    """The results of all pages."""

    jobs: int
    events: int
    pages: Sequence[PageResult]
    machine: Mapping[str, Any]

    @property
    def goals(self) -> Sequence[Goal]:
        """The goals: the slowest page, and the largest."""
        slowest = max(compute_p95(page.milliseconds) for page in self.pages)
        largest = max(page.size for page in self.pages)
        return [
            Goal("p95 of the slowest page, ms", slowest, MAX_MS, is_maximum=True),
            Goal("largest page, bytes", largest, MAX_BYTES, is_maximum=True),
        ]

    def table(self) -> str:
        """Return the results as text for people."""
        lines = [f"{self.jobs:,} jobs, {self.events:,} events", "page: bytes, median and p95 in ms"]
        lines += [
            f"  {page.name}: {page.size:,}, {median(page.milliseconds):.1f}, {compute_p95(page.milliseconds):.1f}"
            for page in self.pages
        ]
        machine = [f"{name}: {value}" for name, value in self.machine.items()]
        return "\n".join([*lines, "", *map(str, self.goals), "", *machine])

    def document(self) -> Mapping[str, Any]:
        """Return the results for JSON."""
        return {
            "benchmark": "pages",
            "jobs": self.jobs,
            "events": self.events,
            "pages": [
                {
                    "name": page.name,
                    "bytes": page.size,
                    "median_ms": round(median(page.milliseconds), 2),
                    "p95_ms": round(compute_p95(page.milliseconds), 2),
                }
                for page in self.pages
            ],
            "goals": [goal.document() for goal in self.goals],
            "machine": dict(self.machine),
        }


def compare(load: PagesLoad) -> PagesResults:
    """Run the benchmark.

    Raises:
        BenchmarkFailed: a page was not 200.
    """
    with start_environment() as environment, scratch_database(environment.dsn) as dsn:
        migrate(dsn)
        load_jobs(dsn, load.jobs)
        config = environment.home / "pages.toml"
        config.write_text("".join(build_provider_toml(name) for name in PROVIDERS))
        environ = {
            "DATABASE_URL": dsn,
            "RECEIVER_CONFIG": str(config),
            "RECEIVER_ADMIN_KEY": ADMIN_KEY,
            "RECEIVER_SECRET_KEY": "a-secret-key-of-tests",
        }
        with closing(connect(dsn)) as connection:
            connection.execute(_INSERT_ACTIVITY, {"providers": list(PROVIDERS)})
            connection.execute(b"VACUUM ANALYZE activity")
            events = _fetch(connection, b"SELECT count(*) FROM events")
            with start_gunicorn(environment, "pages", WEB, 1, **environ) as web:
                browser = browse(Server("127.0.0.1", web.port))
                browser.sign_in(ADMIN_KEY)
                pages = [
                    _time_page(browser, name, _fetch(connection, statement), load.calls)
                    for name, statement in _PAGES.items()
                ]
        return PagesResults(load.jobs, events, pages, describe_machine(environment.dsn))


def _fetch(connection: Connection, statement: bytes) -> Any:
    row = connection.execute(statement).fetchone()
    if row is None:
        raise BenchmarkFailed(f"no row: {statement.decode()}")
    return row[0]


def _time_page(browser: Browser, name: str, target: str, calls: int) -> PageResult:
    """Call a page so many times, after two calls that fill the caches."""
    milliseconds, size = [], 0
    for _ in range(calls + _WARM_UP_CALLS):
        started_at = time.perf_counter()
        response = browser.request("GET", target)
        milliseconds.append((time.perf_counter() - started_at) * _MILLISECONDS)
        if response.status not in {200, 302}:  # a search for one object leads to the object
            raise BenchmarkFailed(f"{target}: status {response.status}")
        size = len(response.body)
    return PageResult(name, size, milliseconds[_WARM_UP_CALLS:])
