"""`python -m tests.fuzz`: malformed deliveries of every family of schemes; no answer may be other than 400 or 401."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom

import click

from receiver.logs import configure_logs
from receiver.store.embedded import EmbeddedPostgres
from receiver.store.migrate import migrate
from tests.fuzz.drive import Broken, Run, endpoints
from tests.fuzz.families import FAMILIES

_FORGETS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--count", default=200_000, show_default=True, type=click.IntRange(1), help="Malformed ones per family.")
@click.option("--seed", type=int, help="Makes the same mutations again.")
@click.option("--family", "names", multiple=True, type=click.Choice(list(FAMILIES)), help="Only this one; repeatable.")
def main(count: int, seed: int | None, names: Sequence[str]) -> None:
    """Send malformed deliveries through the real callback endpoint."""
    seed = SystemRandom().randrange(10**9) if seed is None else seed
    configure_logs("ERROR", "console")
    click.echo(f"seed {seed}")
    names = names or list(FAMILIES)
    with (
        tempfile.TemporaryDirectory(prefix="receiver-fuzz-") as home,
        EmbeddedPostgres(Path(home), _FORGETS) as postgres,
    ):
        migrate(postgres.dsn)
        with endpoints(postgres.dsn, Path(home), names) as made:
            broken = [name for name in names if not _told(name, Run(FAMILIES[name], made[name], seed), count)]
    if broken:
        click.echo(f"broken: {', '.join(broken)}", err=True)
        sys.exit(1)


def _told(name: str, run: Run, count: int) -> bool:
    try:
        click.echo(run.fuzz(count).told(name))
    except Broken as error:
        click.echo(f"{name}: {error}", err=True)
        return False
    return True


if __name__ == "__main__":
    main(prog_name="python -m tests.fuzz")
