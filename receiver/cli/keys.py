"""`receiver key`: create, list and revoke API keys."""

from typing import Any
from uuid import UUID

import click
import orjson

from receiver.cli import options
from receiver.cli.api import connect_service
from receiver.cli.completion import complete_providers
from receiver.cli.messages import print_message
from receiver.cli.options import FUTURE_TIME, Paging, list_options
from receiver.cli.table_printer import TablePrinter
from receiver.cli.tables import KEYS
from receiver.domain.access import Scope


class ScopesParameter(click.ParamType[tuple[str, ...]]):
    """Scopes, separated by commas."""

    name = "scopes"

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        names = tuple(value.split(",")) if isinstance(value, str) else value
        valid_names = [scope.value for scope in Scope]
        for name in names:
            if name not in valid_names:
                self.fail(f"{name!r} is not a scope. Must be one of: {', '.join(valid_names)}.", param, ctx)
        return names


@click.group()
def key() -> None:
    """Create, list and revoke API keys.

    Calls the service at RECEIVER_URL with the key RECEIVER_KEY, which needs the scope admin.
    """


@key.command("create")
@click.option("--name", required=True, help="The key's name; recorded as the actor of its actions.")
@click.option(
    "--client", help="The client that owns the key's requests; NAME by default. Reuse it to rotate a client's key."
)
@click.option(
    "--scope",
    "scopes",
    required=True,
    multiple=True,
    type=ScopesParameter(),
    metavar="SCOPES",
    help="submit, read, admin; repeatable.",
)
@click.option(
    "--provider",
    "providers",
    multiple=True,
    shell_complete=complete_providers,
    help="Only for this provider; repeatable.",
)
@click.option("--per-minute", type=click.IntRange(1), help="The maximum number of calls per minute.")
@click.option("--expires", "expires_at", type=FUTURE_TIME, metavar="TIME", help="A time, or 90d from now.")
@options.as_json
def create_key(scopes: tuple[tuple[str, ...], ...], providers: tuple[str, ...], as_json: bool, **params: Any) -> None:
    """Create a key and print it once.

    Prints only the key on stdout. It cannot be shown again.

    Example: receiver key create --name shop --scope submit,read --expires 90d
    """
    body = {
        "scopes": sorted({name for names in scopes for name in names}),
        "providers": list(providers) or None,
        **params,
    }
    created = connect_service().post(
        "keys", body=orjson.dumps({name: value for name, value in body.items() if value is not None})
    )
    options.print_result(created, as_json, lambda _: click.echo(created["key"]))
    print_message(f"the key is shown only once, so store it safely; `receiver key revoke {created['id']}` revokes it")


@key.command("list")
@list_options
def list_keys(paging: Paging) -> None:
    """List keys, newest first.

    Keys are stored as hashes; the list shows their first characters.
    """
    paging.show("keys", {}, KEYS)


@key.command("revoke")
@click.argument("key_id", metavar="ID", type=click.UUID)
@options.reason
@options.table_options
def revoke_key(key_id: UUID, reason: str | None, as_json: bool) -> None:
    """Revoke a key permanently. `receiver key list` shows its ID."""
    revoked = connect_service().act("keys", key_id, "revoke", reason=reason)
    options.print_result(revoked, as_json, lambda document: TablePrinter(KEYS).show([document]))
