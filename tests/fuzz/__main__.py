"""`python -m tests.fuzz`: send malformed callbacks of every family of schemes, which must all get 400 or 401."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom

import click

from receiver.devtools.embedded import EmbeddedPostgres
from receiver.logs import configure_logs
from receiver.store.migrate import migrate
from tests.fuzz.drive import FuzzFailed, FuzzRun, open_family_endpoints
from tests.fuzz.families import FAMILIES

_UNSAFE_POSTGRES_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--count", default=200_000, show_default=True, type=click.IntRange(1), help="Malformed callbacks per family."
)
@click.option("--seed", type=int, help="Seed of the mutations, to repeat a run.")
@click.option(
    "--family", "names", multiple=True, type=click.Choice(list(FAMILIES)), help="Test only this family; repeatable."
)
def main(count: int, seed: int | None, names: Sequence[str]) -> None:
    """Send malformed callbacks to the real callback endpoint."""
    seed = SystemRandom().randrange(10**9) if seed is None else seed
    configure_logs("ERROR", "console")
    click.echo(f"seed {seed}")
    names = names or list(FAMILIES)
    with (
        tempfile.TemporaryDirectory(prefix="receiver-fuzz-") as home,
        EmbeddedPostgres(Path(home), _UNSAFE_POSTGRES_SETTINGS) as postgres,
    ):
        migrate(postgres.dsn)
        with open_family_endpoints(postgres.dsn, Path(home), names) as endpoints:
            failed = [
                name for name in names if not _run_family(name, FuzzRun(FAMILIES[name], endpoints[name], seed), count)
            ]
    if failed:
        click.echo(f"failed: {', '.join(failed)}", err=True)
        sys.exit(1)


def _run_family(name: str, run: FuzzRun, count: int) -> bool:
    try:
        click.echo(run.fuzz(count).format_line(name))
    except FuzzFailed as error:
        click.echo(f"{name}: {error}", err=True)
        return False
    return True


if __name__ == "__main__":
    main(prog_name="python -m tests.fuzz")
