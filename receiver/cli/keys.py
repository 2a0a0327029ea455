"""`receiver key`: API keys, made, listed and revoked."""

from typing import Any
from uuid import UUID

import click
import orjson

from receiver.cli import options
from receiver.cli.api import connect_service
from receiver.cli.options import AHEAD, Paging, list_options
from receiver.cli.output import TablePrinter, print_message
from receiver.cli.tables import KEYS
from receiver.domain.access import Scope


class ScopesParameter(click.ParamType[tuple[str, ...]]):
    """Scopes with commas between them."""

    name = "scopes"

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        given = tuple(value.split(",")) if isinstance(value, str) else value
        known = [scope.value for scope in Scope]
        for one in given:
            if one not in known:
                self.fail(f"{one!r} is no scope; there are {', '.join(known)}", param, ctx)
        return given


@click.group()
def key() -> None:
    """Make, list and revoke API keys.

    Asks the service at RECEIVER_URL with the key RECEIVER_KEY, which needs the scope admin.
    """


@key.command("create")
@click.option("--name", required=True, help="Whose it is; shown with what is done with it.")
@click.option(
    "--client", help="Whose requests it submits and sees; NAME unless given. Keys of one client can be rotated."
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
@click.option("--provider", "providers", multiple=True, help="Good for this provider only; repeatable.")
@click.option("--per-minute", type=click.IntRange(1), help="How many calls it may make in a minute.")
@click.option("--expires", "expires_at", type=AHEAD, metavar="TIME", help="When it ends: a time, or 90d from now.")
@options.as_json
def create_key(scopes: tuple[tuple[str, ...], ...], providers: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Make a key, and print it this once.

    The key alone goes to stdout; it cannot be had again.

    Example: receiver key create --name shop --scope submit,read --expires 90d
    """
    wanted = {
        "scopes": sorted({one for several in scopes for one in several}),
        "providers": list(providers) or None,
        **given,
    }
    made = connect_service().post("keys", body=orjson.dumps({name: v for name, v in wanted.items() if v is not None}))
    options.print_result(made, as_json, lambda _: click.echo(made["key"]))
    print_message(f"this is shown only once; keep it safe. `receiver key revoke {made['id']}` ends it")


@key.command("list")
@list_options
def list_keys(paging: Paging) -> None:
    """List keys, newest first.

    The keys themselves are not kept, only how they begin.
    """
    paging.show("keys", {}, KEYS)


@key.command("revoke")
@click.argument("key_id", metavar="ID", type=click.UUID)
@options.reason
@options.as_json
def revoke_key(key_id: UUID, reason: str | None, as_json: bool) -> None:
    """End a key for good. Its ID is in `receiver key list`."""
    revoked = connect_service().act("keys", key_id, "revoke", reason=reason)
    options.print_result(revoked, as_json, lambda found: TablePrinter(KEYS).show([found]))
