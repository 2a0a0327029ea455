"""`python -m tests.chaos`: long trials of what must hold when workers die and when limits are reached."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom

import click

from receiver.logs import configure_logs
from receiver.store.embedded import EmbeddedPostgres
from receiver.store.migrate import migrate
from tests.chaos import kills as killing
from tests.chaos import limits as limiting
from tests.chaos import silence as falling_silent

_FORGETS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Let things go wrong, at length, on an own Postgres; exit 1 if something came of it that must not."""
    configure_logs("ERROR", "console")


@commands.command()
@click.option("--count", default=200, show_default=True, type=click.IntRange(1), help="How many workers are killed.")
@click.option("--seed", type=int, help="Chooses the same points again.")
def kills(count: int, seed: int | None) -> None:
    """Kill workers at random points of the send path."""
    seed = SystemRandom().randrange(10**9) if seed is None else seed
    click.echo(f"seed {seed}")
    with _stage() as (dsn, directory):
        trial = killing.run(dsn, directory, count=count, seed=seed)
    click.echo(trial.told())
    _end(trial.violations)


@commands.command()
@click.option("--seconds", default=30, show_default=True, type=click.IntRange(2), help="How long they send.")
def limits(seconds: int) -> None:
    """Have two workers send as much as `max_per_second` allows."""
    with _stage() as (dsn, directory):
        trial = limiting.run(dsn, directory, seconds=seconds)
    click.echo(trial.told())
    _end(trial.violations)


@commands.command()
@click.option("--count", default=10_000, show_default=True, type=click.IntRange(10), help="How many jobs are silent.")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1), help="Polls a second.")
def silence(count: int, limit: int) -> None:
    """Let thousands of silent jobs come due at once."""
    with _stage() as (dsn, directory):
        trial = falling_silent.run(dsn, directory, jobs=count, limit=limit)
    click.echo(trial.told())
    _end(trial.violations)


@contextmanager
def _stage() -> Iterator[tuple[str, Path]]:
    """Give a migrated database and a directory, both gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="receiver-chaos-") as home:
        directory = Path(home)
        with EmbeddedPostgres(directory / "postgres", _FORGETS) as postgres:
            migrate(postgres.dsn)
            yield postgres.dsn, directory


def _end(violations: list[str]) -> None:
    """Tell what must not be, and exit accordingly."""
    for violation in violations:
        click.echo(violation, err=True)
    if violations:
        sys.exit(1)


if __name__ == "__main__":
    commands(prog_name="python -m tests.chaos")
