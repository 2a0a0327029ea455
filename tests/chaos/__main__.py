"""`python -m tests.chaos`: long trials of what must hold while processes or Postgres fail, or strangers attack."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random, SystemRandom

import click

from receiver.cli.process_group import stop_on_signals
from receiver.devtools.embedded import EmbeddedPostgres
from receiver.logs import configure_logs
from receiver.store.migrate import migrate
from tests.chaos import hostile as hostile_trial
from tests.chaos import kills as kills_trial
from tests.chaos import limits as limits_trial
from tests.chaos import silence as silence_trial
from tests.chaos.store import campaign
from tests.chaos.store.campaign import format_result
from tests.chaos.store.faults import FAULTS
from tests.chaos.store.trial import run

_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Run a trial on a Postgres of its own; exit 1 if it finds a violation."""
    configure_logs("ERROR", "console")


@commands.command()
@click.option("--count", default=200, show_default=True, type=click.IntRange(1), help="How many workers are killed.")
@click.option("--seed", type=int, help="Repeats the kill points of an earlier trial.")
def kills(count: int, seed: int | None) -> None:
    """Kill workers at random points of the send path."""
    seed = SystemRandom().randrange(10**9) if seed is None else seed
    click.echo(f"seed {seed}")
    with _prepare_database() as (dsn, directory):
        trial = kills_trial.run(dsn, directory, count=count, seed=seed)
    _report(trial.summary(), trial.violations)


@commands.command()
@click.option("--seconds", default=120, show_default=True, type=click.IntRange(2), help="How long the attacks last.")
@click.option("--rate", default=200, show_default=True, type=click.IntRange(1), help="Signed callbacks per second.")
def hostile(seconds: int, rate: int) -> None:
    """Attack the web process in every way at once while a provider calls back."""
    with _prepare_database() as (dsn, directory):
        trial = hostile_trial.run(dsn, directory, seconds=seconds, per_second=rate)
    _report(trial.summary(), trial.violations)


@commands.command()
@click.option("--seconds", default=30, show_default=True, type=click.IntRange(2), help="How long the workers send.")
def limits(seconds: int) -> None:
    """Send as much as `max_per_second` allows, from two workers."""
    with _prepare_database() as (dsn, directory):
        trial = limits_trial.run(dsn, directory, seconds=seconds)
    _report(trial.summary(), trial.violations)


@commands.command()
@click.option("--count", default=10_000, show_default=True, type=click.IntRange(10), help="How many jobs are silent.")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1), help="Polls per second.")
def silence(count: int, limit: int) -> None:
    """Poll thousands of silent jobs that are due at once."""
    with _prepare_database() as (dsn, directory):
        trial = silence_trial.run(dsn, directory, jobs=count, limit=limit)
    _report(trial.summary(), trial.violations)


@commands.command()
@click.option("--runs", default=100, show_default=True, type=click.IntRange(1), help="How many runs.")
@click.option("--seed", default=1, show_default=True, help="Decides the faults and their times.")
@click.option("--fault", type=click.Choice([*FAULTS]), help="Inflict only this fault.")
@click.option(
    "--state", type=click.Path(path_type=Path), help="Where results are appended; runs in it are not repeated."
)
def store(runs: int, seed: int, fault: str | None, state: Path | None) -> None:
    """Break Postgres, a pooler, a proxy or our own processes, once in each run."""
    state = state or campaign.choose_state(seed)
    click.echo(f"seed {seed}, results in {state}")
    with stop_on_signals():
        results = campaign.run_campaign(runs, seed, fault, state, lambda result: click.echo(format_result(result)))
    _report(campaign.format_summary(results), [f"run {result.number}" for result in results if result.differences])


@commands.command()
@click.option("--how", default="frozen", show_default=True, type=click.Choice(["killed", "frozen"]))
@click.option("--times", default=5, show_default=True, type=click.IntRange(1), help="How many primaries are lost.")
@click.option("--seed", default=1, show_default=True, help="Decides the times.")
def failover(how: str, times: int, seed: int) -> None:
    """Lose a primary, promote its synchronous standby, and restart none of our processes."""
    with stop_on_signals(), campaign.temporary_template() as template:
        results = []
        for number in range(times):
            results.append(run(template, Random(f"{seed} {number}"), number, [f"primary {how}"]))
            click.echo(format_result(results[-1]))
    _report(campaign.format_summary(results), [f"run {result.number}" for result in results if result.differences])


@contextmanager
def _prepare_database() -> Iterator[tuple[str, Path]]:
    """Yield a migrated database and a directory, and remove both afterwards."""
    with tempfile.TemporaryDirectory(prefix="receiver-chaos-") as home:
        directory = Path(home)
        with EmbeddedPostgres(directory / "postgres", _NOT_DURABLE) as postgres:
            migrate(postgres.dsn)
            yield postgres.dsn, directory


def _report(summary: str, violations: list[str]) -> None:
    """Print the summary and the violations, and exit 1 if there are any."""
    click.echo(summary)
    for violation in violations:
        click.echo(violation, err=True)
    if violations:
        sys.exit(1)


if __name__ == "__main__":
    commands(prog_name="python -m tests.chaos")
