"""`python -m tests.benchmarks`: how close the hot paths come to the bare libraries they use.

And how much longer everything takes when the database is large.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
import orjson

from receiver.cli.errors import USAGE, report_errors
from receiver.cli.process_group import stop_on_signals
from tests.benchmarks import dispatch as dispatch_benchmark
from tests.benchmarks import followup as followup_benchmark
from tests.benchmarks import growth as growth_benchmark
from tests.benchmarks import intake as intake_benchmark
from tests.benchmarks import intake_items as intake_items_benchmark
from tests.benchmarks import memory as memory_benchmark
from tests.benchmarks import peers as peers_benchmark
from tests.benchmarks import prune as prune_benchmark
from tests.benchmarks import queries as queries_benchmark
from tests.benchmarks import startup as startup_benchmark
from tests.benchmarks import submit as submit_benchmark
from tests.benchmarks import verify as verify_benchmark
from tests.benchmarks.contests import Contest
from tests.benchmarks.memory import MemoryResults
from tests.benchmarks.peers import PeersMissing
from tests.benchmarks.query_results import QueriesResults
from tests.benchmarks.results import Comparison
from tests.benchmarks.startup import StartupResults
from tests.benchmarks.verify import VerifyResults
from tests.benchmarks.wrk import WrkMissing


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Compare the hot paths with the bare libraries they use, and lists of large tables with those of small tables.

    Both sides run on this machine in alternating rounds.
    """


@commands.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--seconds", default=5, show_default=True, type=click.IntRange(1, 120), help="Length of a round.")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(2, 10_000))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="WEB_CONCURRENCY.")
@click.option(
    "--callbacks-per-second",
    type=click.IntRange(1),
    help="Sign this many callbacks per second of a round. [default: as many as the measured rate needs]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def intake(*, as_json: bool, **load: int) -> None:
    """Signed callbacks committed in Postgres, against an empty Flask view under the same gunicorn and load."""
    with _report_errors():
        _print_results(intake_benchmark.compare(intake_benchmark.IntakeLoad(**load)), as_json=as_json)


@commands.command("intake-items")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--seconds", default=5, show_default=True, type=click.IntRange(1, 120), help="Length of a round.")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(2, 10_000))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="WEB_CONCURRENCY.")
@click.option("--items", default=100, show_default=True, type=click.IntRange(1, 5_000), help="Items per callback.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def intake_items(*, as_json: bool, **load: int) -> None:
    """Signed callbacks with many items each, of a declared provider and of the sandbox provider."""
    with _report_errors():
        _print_results(intake_items_benchmark.compare(intake_items_benchmark.ItemsLoad(**load)), as_json=as_json)


@commands.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--requests", default=15_000, show_default=True, type=click.IntRange(100, 1_000_000), help="Per round.")
@click.option("--concurrency", default=50, show_default=True, type=click.IntRange(1, 1_000), help="Requests at once.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def dispatch(*, as_json: bool, **load: int) -> None:
    """Queued requests sent by the worker and their responses recorded, against the bare HTTP client."""
    with _report_errors():
        _print_results(dispatch_benchmark.compare(dispatch_benchmark.DispatchLoad(**load)), as_json=as_json)


@commands.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--polls", default=15_000, show_default=True, type=click.IntRange(100, 1_000_000), help="Per round.")
@click.option("--concurrency", default=50, show_default=True, type=click.IntRange(1, 1_000), help="Polls at once.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def followup(*, as_json: bool, **load: int) -> None:
    """Due polls of jobs sent by the worker and their reports recorded; half of the jobs have finished."""
    with _report_errors():
        _print_results(followup_benchmark.compare(followup_benchmark.FollowupLoad(**load)), as_json=as_json)


@commands.command()
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(1, 100))
@click.option(
    "--verifications", default=2_000, show_default=True, type=click.IntRange(10, 1_000_000), help="Per round."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def verify(*, as_json: bool, **load: int) -> None:
    """Signatures of callbacks of 1 KiB verified, scheme by scheme, against the bare HMAC over the same bytes."""
    with _report_errors():
        _print_results(verify_benchmark.compare(verify_benchmark.VerifyLoad(**load)), as_json=as_json)


@commands.command()
@click.option(
    "--jobs",
    default=1_000_000,
    show_default=True,
    type=click.IntRange(10_000, 100_000_000),
    help="Number of jobs in the large database.",
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option(
    "--calls", default=40, show_default=True, type=click.IntRange(2, 10_000), help="Per query, database and round."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def queries(*, as_json: bool, **load: int) -> None:
    """Every list with every filter and the statistics of a large database, against one of 10,000 jobs."""
    with _report_errors():
        _print_results(queries_benchmark.compare(queries_benchmark.QueriesLoad(**load)), as_json=as_json)


@commands.command()
@click.option(
    "--jobs",
    default=1_000_000,
    show_default=True,
    type=click.IntRange(10_000, 100_000_000),
    help="Number of jobs to load before.",
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--seconds", default=5, show_default=True, type=click.IntRange(1, 120), help="Length of a round.")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(2, 10_000))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="WEB_CONCURRENCY.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def prune(*, as_json: bool, **load: int) -> None:
    """Signed callbacks committed while `receiver prune` removes finished jobs, against the same without prune."""
    with _report_errors():
        _print_results(prune_benchmark.compare(prune_benchmark.PruneLoad(**load)), as_json=as_json)


@commands.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--seconds", default=5, show_default=True, type=click.IntRange(1, 120), help="Length of a round.")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(2, 10_000))
@click.option("--batch-connections", default=4, show_default=True, type=click.IntRange(2, 1_000))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="WEB_CONCURRENCY.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def submit(*, as_json: bool, **load: int) -> None:
    """Requests submitted one by one and in batches of 1,000, against an empty Flask view under the same gunicorn."""
    with _report_errors():
        _print_results(submit_benchmark.compare(submit_benchmark.SubmitLoad(**load)), as_json=as_json)


@commands.command()
@click.option(
    "--jobs",
    default=3_000_000,
    show_default=True,
    type=click.IntRange(10_000, 100_000_000),
    help="Number of jobs in the large database; ten million take 30 GB of disk space.",
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--seconds", default=5, show_default=True, type=click.IntRange(1, 120), help="Length of a round.")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(2, 10_000))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="WEB_CONCURRENCY.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def growth(*, as_json: bool, **load: int) -> None:
    """Signed callbacks committed in a database with millions of jobs, against one with 10,000 jobs."""
    with _report_errors():
        _print_results(growth_benchmark.compare(growth_benchmark.GrowthLoad(**load)), as_json=as_json)


@commands.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 100))
@click.option("--seconds", default=5, show_default=True, type=click.IntRange(1, 120), help="Length of a round.")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(2, 10_000))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="WEB_CONCURRENCY.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def peers(*, as_json: bool, **load: int) -> None:
    """Signed callbacks committed in Postgres, against Celery, procrastinate and one transaction per callback."""
    with _report_errors():
        _print_results(peers_benchmark.compare(peers_benchmark.PeersLoad(**load)), as_json=as_json)


@commands.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def startup(*, rounds: int, as_json: bool) -> None:
    """Commands to their end, and processes until they are ready."""
    with _report_errors():
        _print_results(startup_benchmark.compare(rounds), as_json=as_json)


@commands.command()
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(0.02, 1_440.0))
@click.option("--connections", default=32, show_default=True, type=click.IntRange(2, 10_000), help="Of each kind.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="WEB_CONCURRENCY.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def memory(*, minutes: float, connections: int, workers: int, as_json: bool) -> None:
    """Memory of web and worker processes under half of the load that they can take."""
    with _report_errors():
        load = memory_benchmark.MemoryLoad(minutes, connections, workers)
        _print_results(memory_benchmark.compare(load), as_json=as_json)


def _print_results(
    results: Comparison | Contest | VerifyResults | QueriesResults | StartupResults | MemoryResults, *, as_json: bool
) -> None:
    click.echo(results.table())
    if as_json:
        click.echo(orjson.dumps(results.document()))


@contextmanager
def _report_errors() -> Iterator[None]:
    """Stop on signals, print an error on stderr and exit with its code; a missing load generator is a usage error."""
    with report_errors(), stop_on_signals():
        try:
            yield
        except (WrkMissing, PeersMissing) as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(USAGE)


if __name__ == "__main__":
    commands.main(prog_name="python -m tests.benchmarks")
