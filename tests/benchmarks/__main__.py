"""`python -m tests.benchmarks`: how close the hot paths come to the bare libraries they are built on.

And how little it matters to the lists how large the tables are.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
import orjson

from receiver.cli.process_group import StopRequested, stop_on_signals
from receiver.domain.errors import ReceiverError
from tests.benchmarks import dispatch as send_policy
from tests.benchmarks import intake as taking_in
from tests.benchmarks import lists as listing
from tests.benchmarks import verify as verifying
from tests.benchmarks.figures import Comparison
from tests.benchmarks.list_figures import TARGET, Listed
from tests.benchmarks.stage import BenchmarkFailed
from tests.benchmarks.verify import Figures
from tests.benchmarks.wrk import WrkMissing

FAILED, USAGE = 1, 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Compare the hot paths with the bare libraries below them, and lists of large tables with those of small ones.

    In alternating rounds on this machine.
    """


@commands.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--seconds", default=5, show_default=True, type=click.IntRange(1, 120), help="How long a round takes.")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(2, 10_000))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="WEB_CONCURRENCY.")
@click.option("--most-per-second", default=12_000, show_default=True, help="How many callbacks to sign ahead.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def intake(*, as_json: bool, **load: int) -> None:
    """Signed callbacks committed in Postgres, against an empty Flask view under the same gunicorn and load."""
    with _ending_told():
        _tell(taking_in.compare(taking_in.Load(**load)), as_json=as_json)


@commands.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--requests", default=15_000, show_default=True, type=click.IntRange(100, 1_000_000), help="Per round.")
@click.option("--concurrency", default=50, show_default=True, type=click.IntRange(1, 1_000), help="Sent at once.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def dispatch(*, as_json: bool, **load: int) -> None:
    """Queued requests sent by the worker and their answers recorded, against the bare HTTP client."""
    with _ending_told():
        _tell(send_policy.compare(send_policy.Load(**load)), as_json=as_json)


@commands.command()
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(1, 100))
@click.option(
    "--verifications", default=2_000, show_default=True, type=click.IntRange(10, 1_000_000), help="Per round."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def verify(*, as_json: bool, **load: int) -> None:
    """Signatures of callbacks of 1 KiB verified, scheme by scheme, against the bare HMAC over the same bytes."""
    with _ending_told():
        _tell(verifying.compare(verifying.Load(**load)), as_json=as_json)


@commands.command()
@click.option(
    "--jobs", default=1_000_000, show_default=True, type=click.IntRange(10_000, 100_000_000), help="In the large table."
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--calls", default=40, show_default=True, type=click.IntRange(2, 10_000), help="Of each, per round.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line.")
def lists(*, as_json: bool, **load: int) -> None:
    """Pages of every list by every filter from a large table, against the same from one of 10,000 jobs."""
    with _ending_told():
        listed = listing.compare(listing.Load(**load))
        _tell(listed, as_json=as_json)
        if listed.over:
            raise BenchmarkFailed(f"more than {TARGET:.0f} times as long: {', '.join(listed.over)}")


def _tell(comparison: Comparison | Figures | Listed, *, as_json: bool) -> None:
    click.echo(comparison.table())
    if as_json:
        click.echo(orjson.dumps(comparison.document()))


@contextmanager
def _ending_told() -> Iterator[None]:
    """Tell errors on stderr in words and end with the exit code they call for."""
    try:
        with stop_on_signals():
            yield
    except WrkMissing as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(USAGE)
    except ReceiverError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(FAILED)
    except StopRequested as stopped:
        click.echo(f"stopped by {stopped}", err=True)
        sys.exit(128 + stopped.number)


if __name__ == "__main__":
    commands.main(prog_name="python -m tests.benchmarks")
