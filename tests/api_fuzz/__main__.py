"""`python -m tests.api_fuzz`: fuzzes every operation of the API, with valid and invalid calls from its document."""

import sys
import tempfile
from pathlib import Path
from random import SystemRandom

import click

from receiver.devtools.embedded import EmbeddedPostgres
from receiver.store.migrate import migrate
from tests.api_fuzz.drive import ApiFuzzer
from tests.api_fuzz.service import run_service
from tests.support.processes import ADMIN_KEY

_UNSAFE_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--examples", default=1_000, show_default=True, type=click.IntRange(1), help="Examples per operation.")
@click.option("--seed", type=int, help="Repeats the calls of an earlier run.")
def main(examples: int, seed: int | None) -> None:
    """Fuzz the API of a service that is started for it, with all checks of schemathesis."""
    seed = SystemRandom().randrange(10**9) if seed is None else seed
    click.echo(f"seed {seed}")
    with (
        tempfile.TemporaryDirectory(prefix="receiver-api-fuzz-") as home,
        EmbeddedPostgres(Path(home), _UNSAFE_SETTINGS) as postgres,
    ):
        migrate(postgres.dsn)
        with run_service(Path(home), postgres.dsn) as web:
            # with a key, so that the document has the hosts that a `notify_url` may name
            document = web.call("GET", "/openapi.json", headers={"authorization": f"Bearer {ADMIN_KEY}"}).json
            result = ApiFuzzer(web, document, examples, seed).fuzz()
    click.echo(result.format())
    never_succeeded = [name for name, item in result.operations.items() if not item.succeeded]
    if never_succeeded:
        click.echo(f"never succeeded: {', '.join(never_succeeded)}", err=True)
    sys.exit(0 if result.is_good and not never_succeeded else 1)


if __name__ == "__main__":
    main(prog_name="python -m tests.api_fuzz")
