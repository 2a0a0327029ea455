"""`python -m tests.api_fuzz`: calls to every operation of the API, as its OpenAPI document has them and otherwise."""

import sys
import tempfile
from pathlib import Path
from random import SystemRandom

import click

from receiver.devtools.embedded import EmbeddedPostgres
from receiver.store.migrate import migrate
from tests.api_fuzz.drive import Run
from tests.api_fuzz.service import service

_FORGETS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--examples", default=1_000, show_default=True, type=click.IntRange(1), help="For each operation.")
@click.option("--seed", type=int, help="Makes the same calls again.")
def main(examples: int, seed: int | None) -> None:
    """Fuzz the API of a service that is run for it, with all the checks of schemathesis."""
    seed = SystemRandom().randrange(10**9) if seed is None else seed
    click.echo(f"seed {seed}")
    with (
        tempfile.TemporaryDirectory(prefix="receiver-api-fuzz-") as home,
        EmbeddedPostgres(Path(home), _FORGETS) as postgres,
    ):
        migrate(postgres.dsn)
        with service(Path(home), postgres.dsn) as web:
            result = Run(web, web.call("GET", "/openapi.json").json, examples, seed).fuzz()
    click.echo(result.told())
    untried = [name for name, tally in result.tallies.items() if not tally.succeeded]
    if untried:
        click.echo(f"never answered well: {', '.join(untried)}", err=True)
    sys.exit(0 if result.is_good and not untried else 1)


if __name__ == "__main__":
    main(prog_name="python -m tests.api_fuzz")
