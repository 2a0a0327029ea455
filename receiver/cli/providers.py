"""`receiver provider`: list, pause and resume providers; `check` is in `receiver.cli.check`."""

import click

from receiver.cli import options
from receiver.cli.api import connect_service
from receiver.cli.lazy import LazyGroup
from receiver.cli.output import Json, TablePrinter
from receiver.cli.tables import PROVIDERS


@click.group(cls=LazyGroup, import_paths={"check": "receiver.cli.check:check"})
def provider() -> None:
    """List, check, pause and resume providers.

    `check` reads the settings of this machine. The other commands call the service at RECEIVER_URL with the key
    RECEIVER_KEY.
    """


@provider.command("list")
@options.as_json
def list_providers(as_json: bool) -> None:
    """List providers and what needs attention.

    `attention` counts requests that are unknown or have a reference conflict; disputed, unresolved and unmatched jobs;
    unmapped and invalid callbacks, and those refused in the last day. A provider that is not configured any more is
    listed as long as something of it needs attention; its queued requests and open jobs are counted as unconfigured.
    `missing callbacks` is the share of recently finished or unresolved jobs for which no callback came.
    """
    options.print_result(
        connect_service().get("providers"), as_json, lambda document: TablePrinter(PROVIDERS).show(document["items"])
    )


@provider.command("pause")
@click.argument("name")
@options.reason
@options.as_json
def pause_provider(name: str, reason: str | None, as_json: bool) -> None:
    """Stop sending requests to a provider.

    Its requests stay queued. Its callbacks are still processed.

    Example: receiver provider pause acme --reason "their outage"
    """
    options.print_result(connect_service().act("providers", name, "pause", reason=reason), as_json, _print_provider)


@provider.command("resume")
@click.argument("name")
@options.reason
@options.as_json
def resume_provider(name: str, reason: str | None, as_json: bool) -> None:
    """Resume sending requests to a provider."""
    options.print_result(connect_service().act("providers", name, "resume", reason=reason), as_json, _print_provider)


def _print_provider(document: Json) -> None:
    TablePrinter(PROVIDERS).show([document])
