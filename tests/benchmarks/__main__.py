"""`python -m tests.benchmarks`: how close the hot paths come to the bare libraries they use.

And how much longer everything takes when the database is large.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import click
import orjson

from receiver.cli.errors import USAGE, report_errors
from receiver.cli.process_group import stop_on_signals
from tests.benchmarks import (
    dispatch,
    followup,
    growth,
    intake,
    intake_items,
    memory,
    pages,
    peers,
    prune,
    queries,
    startup,
    submit,
    verify,
)
from tests.benchmarks.wrk import WrkMissing

Option = Callable[[Any], Any]


class Results(Protocol):
    """The results of a benchmark."""

    def table(self) -> str:
        """Return the results as text for people."""

    def document(self) -> Mapping[str, Any]:
        """Return the results for JSON."""


def _count(name: str, default: int, most: int, about: str = "", *, least: int = 1) -> Option:
    kind = click.IntRange(least, most)
    return click.option(f"--{name}", default=default, show_default=True, type=kind, help=about or None)


def _rounds(default: int) -> Option:
    return _count("rounds", default, 100)


def _jobs(default: int, about: str) -> Option:
    return _count("jobs", default, 100_000_000, about, least=10_000)


_SECONDS = _count("seconds", 5, 120, "Length of a round.")
_CONNECTIONS = _count("connections", 64, 10_000, least=2)
_WORKERS = _count("workers", 2, 64, "WEB_CONCURRENCY.")
_WEB_LOAD = (_SECONDS, _CONNECTIONS, _WORKERS)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Compare the hot paths with the bare libraries they use, and lists of large tables with those of small tables.

    Both sides run on this machine in alternating rounds.
    """


def _benchmark(name: str, *options: Option) -> Callable[[Callable[..., Results]], None]:
    """Register a command that runs a benchmark with its options and prints the results."""

    def register(run: Callable[..., Results]) -> None:
        def print_results(*, as_json: bool, **load: Any) -> None:
            with _report_errors():
                results = run(**load)
                click.echo(results.table())
                if as_json:
                    click.echo(orjson.dumps(results.document()))

        json_option = click.option(
            "--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line."
        )
        for option in (json_option, *reversed(options)):
            print_results = option(print_results)
        commands.command(name, help=run.__doc__)(print_results)

    return register


@contextmanager
def _report_errors() -> Iterator[None]:
    """Stop on signals, print an error on stderr and exit with its code; a missing program is a usage error."""
    with report_errors(), stop_on_signals():
        try:
            yield
        except (WrkMissing, peers.PeersMissing) as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(USAGE)


_CALLBACKS_PER_SECOND = click.option(
    "--callbacks-per-second",
    type=click.IntRange(1),
    help="Sign this many callbacks per second of a round. [default: as many as the measured rate needs]",
)


@_benchmark("intake", _rounds(5), *_WEB_LOAD, _CALLBACKS_PER_SECOND)
def run_intake(**load: Any) -> Results:
    """Signed callbacks committed in Postgres, against an empty Flask view under the same gunicorn and load."""
    return intake.compare(intake.IntakeLoad(**load))


@_benchmark("intake-items", _rounds(5), *_WEB_LOAD, _count("items", 100, 5_000, "Items per callback."))
def run_intake_items(**load: Any) -> Results:
    """Signed callbacks with many items each, of a declared provider and of the sandbox provider."""
    return intake_items.compare(intake_items.ItemsLoad(**load))


@_benchmark(
    "dispatch",
    _rounds(5),
    _count("requests", 15_000, 1_000_000, "Per round.", least=100),
    _count("concurrency", 50, 1_000, "Requests at once."),
)
def run_dispatch(**load: Any) -> Results:
    """Queued requests sent by the worker and their responses recorded, against the bare HTTP client."""
    return dispatch.compare(dispatch.DispatchLoad(**load))


@_benchmark(
    "followup",
    _rounds(5),
    _count("polls", 15_000, 1_000_000, "Per round.", least=100),
    _count("concurrency", 50, 1_000, "Polls at once."),
)
def run_followup(**load: Any) -> Results:
    """Due polls of jobs sent by the worker and their reports recorded; half of the jobs have finished."""
    return followup.compare(followup.FollowupLoad(**load))


@_benchmark("verify", _rounds(9), _count("verifications", 2_000, 1_000_000, "Per round.", least=10))
def run_verify(**load: Any) -> Results:
    """Signatures of callbacks of 1 KiB verified, scheme by scheme, against the bare HMAC over the same bytes."""
    return verify.compare(verify.VerifyLoad(**load))


@_benchmark(
    "queries",
    _jobs(1_000_000, "Number of jobs in the large database."),
    _rounds(5),
    _count("calls", 40, 10_000, "Per query, database and round.", least=2),
)
def run_queries(**load: Any) -> Results:
    """Every list with every filter and the statistics of a large database, against one of 10,000 jobs."""
    return queries.compare(queries.QueriesLoad(**load))


@_benchmark("prune", _jobs(1_000_000, "Number of jobs to load before."), _rounds(5), *_WEB_LOAD)
def run_prune(**load: Any) -> Results:
    """Signed callbacks committed while `receiver prune` removes finished jobs, against the same without prune."""
    return prune.compare(prune.PruneLoad(**load))


@_benchmark("submit", _rounds(5), *_WEB_LOAD, _count("batch-connections", 4, 1_000, least=2))
def run_submit(**load: Any) -> Results:
    """Requests submitted one by one and in batches of 1,000, against an empty Flask view under the same gunicorn."""
    return submit.compare(submit.SubmitLoad(**load))


@_benchmark(
    "growth",
    _jobs(3_000_000, "Number of jobs in the large database; ten million take 30 GB of disk space."),
    _rounds(5),
    *_WEB_LOAD,
)
def run_growth(**load: Any) -> Results:
    """Signed callbacks committed in a database with millions of jobs, against one with 10,000 jobs."""
    return growth.compare(growth.GrowthLoad(**load))


@_benchmark("peers", _rounds(3), *_WEB_LOAD)
def run_peers(**load: Any) -> Results:
    """Signed callbacks committed in Postgres, against Celery, procrastinate and one transaction per callback."""
    return peers.compare(peers.PeersLoad(**load))


@_benchmark("startup", _rounds(5))
def run_startup(rounds: int) -> Results:
    """Commands to their end, and processes until they are ready."""
    return startup.compare(rounds)


@_benchmark("pages", _jobs(1_000_000, "Number of jobs in the database."), _count("calls", 20, 10_000, least=2))
def run_pages(**load: Any) -> Results:
    """Time and size of every admin page in a large database."""
    return pages.compare(pages.PagesLoad(**load))


_MINUTES = click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(0.02, 1_440.0))


@_benchmark("memory", _MINUTES, _count("connections", 32, 10_000, "Of each kind.", least=2), _WORKERS)
def run_memory(minutes: float, connections: int, workers: int) -> Results:
    """Memory of web and worker processes under half of the load that they can take."""
    return memory.compare(memory.MemoryLoad(minutes, connections, workers))


if __name__ == "__main__":
    commands.main(prog_name="python -m tests.benchmarks")
