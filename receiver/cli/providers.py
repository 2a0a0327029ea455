"""`receiver provider`: how providers stand, and whether we send to them. `check` is in `receiver.cli.check`."""

import click

from receiver.cli import options
from receiver.cli.api import connect_service
from receiver.cli.lazy import LazyGroup
from receiver.cli.output import Json, TablePrinter
from receiver.cli.tables import PROVIDERS


@click.group(cls=LazyGroup, places={"check": "receiver.cli.check:check"})
def provider() -> None:
    """See how providers do; check, pause and resume them.

    `check` reads the settings here. The others ask the service at RECEIVER_URL with the key RECEIVER_KEY.
    """


@provider.command("list")
@options.as_json
def list_providers(as_json: bool) -> None:
    """List the configured providers, and how much of each needs somebody.

    `attention` counts requests that are unknown; jobs that are disputed, unresolved or unmatched; callbacks that are
    unmapped or invalid. `missing callbacks` is, of the jobs that ended or fell silent lately, the share that no
    callback spoke of.
    """
    options.print_result(
        connect_service().get("providers"), as_json, lambda found: TablePrinter(PROVIDERS).show(found["items"])
    )


@provider.command("pause")
@click.argument("name")
@options.reason
@options.as_json
def pause_provider(name: str, reason: str | None, as_json: bool) -> None:
    """Stop sending to a provider.

    Its requests stay queued, and its callbacks are still taken.

    Example: receiver provider pause acme --reason "their outage"
    """
    options.print_result(connect_service().act("providers", name, "pause", reason=reason), as_json, _tell)


@provider.command("resume")
@click.argument("name")
@options.reason
@options.as_json
def resume_provider(name: str, reason: str | None, as_json: bool) -> None:
    """Send to a provider again."""
    options.print_result(connect_service().act("providers", name, "resume", reason=reason), as_json, _tell)


def _tell(found: Json) -> None:
    TablePrinter(PROVIDERS).show([found])
