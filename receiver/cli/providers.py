"""`receiver provider`: list, pause and resume providers; `add`, `catalog` and `check` are in modules of their own."""

import click

from receiver.cli import options
from receiver.cli.api import connect_service
from receiver.cli.completion import complete_accounts, complete_providers
from receiver.cli.lazy import LazyCommand, LazyGroup
from receiver.cli.table_printer import TablePrinter
from receiver.cli.tables import PROVIDERS

_account = click.option(
    "--account",
    shell_complete=complete_accounts,
    help="Only this account; by default the provider and all its accounts.",
)


@click.group(
    cls=LazyGroup,
    lazy_commands={
        "add": LazyCommand("receiver.cli.add:add", "Add a provider of the catalog to receiver.toml."),
        "catalog": LazyCommand(
            "receiver.cli.catalog:catalog", "List the providers that need only their parameters, or describe one."
        ),
        "check": LazyCommand(
            "receiver.cli.check:check", "Validate the settings and test the account at each provider."
        ),
    },
)
def provider() -> None:
    """Add, list, check, pause and resume providers.

    `catalog` needs nothing, `add` writes receiver.toml, and `check` reads the settings of this machine. The other
    commands call the service at RECEIVER_URL with the key RECEIVER_KEY.
    """


@provider.command("list")
@options.provider("Only this provider and its accounts.")
@options.account
@options.table_options
def list_providers(provider: str | None, account: str | None, as_json: bool) -> None:
    """List providers and what needs attention.

    `attention` counts requests that are unknown or have a reference conflict; disputed, unresolved and unmatched jobs;
    unmapped and invalid callbacks, and those refused in the last day and not accepted since. A provider that is not
    configured any more is listed as long as something of it needs attention; its queued requests and open jobs are
    counted as unconfigured. `missing callbacks` is the share of recently finished or unresolved jobs for which no
    callback came.
    """
    pages = connect_service().pages("providers", query={"provider": provider, "account": account})
    items = [item for page in pages for item in page["items"]]
    document = {"items": items, "next_cursor": None}
    options.print_result(document, as_json, lambda _: TablePrinter(PROVIDERS).show(items))


@provider.command("pause")
@click.argument("name", shell_complete=complete_providers)
@_account
@options.reason
@options.table_options
def pause_provider(name: str, account: str | None, reason: str | None, as_json: bool) -> None:
    """Stop sending requests to a provider.

    Its requests stay queued. Its callbacks are still processed.

    Example: receiver provider pause acme --reason "their outage"
    """
    _act(name, "pause", account, reason, as_json=as_json)


@provider.command("resume")
@click.argument("name", shell_complete=complete_providers)
@_account
@options.reason
@options.table_options
def resume_provider(name: str, account: str | None, reason: str | None, as_json: bool) -> None:
    """Resume sending requests to a provider."""
    _act(name, "resume", account, reason, as_json=as_json)


def _act(name: str, action: str, account: str | None, reason: str | None, *, as_json: bool) -> None:
    named = {"account": account} if account else {}
    document = connect_service().act("providers", name, action, reason=reason, **named)
    options.print_result(document, as_json, lambda _: TablePrinter(PROVIDERS).show([document]))
