"""`receiver callback`: what came in, and why it was refused."""

import os
from typing import Any
from urllib.parse import urlencode

import click
import orjson
from rich.console import Console
from rich.table import Table

from receiver.cli import api
from receiver.cli.errors import errors_told
from receiver.store.callbacks import Verdict


@click.group()
def callback() -> None:
    """Look at callbacks, over the API of a running service (RECEIVER_URL, RECEIVER_KEY)."""


@callback.command("list")
@click.option("--provider", help="Only of this provider.")
@click.option("--verdict", type=click.Choice([verdict.value for verdict in Verdict]), help="Only with this verdict.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 500))
@click.option("--json", "as_json", is_flag=True, help="Print the API's answer.")
def list_callbacks(provider: str | None, verdict: str | None, limit: int, as_json: bool) -> None:
    """List callbacks, newest first."""
    wanted = {"provider": provider, "verdict": verdict, "limit": limit}
    query = urlencode({name: value for name, value in wanted.items() if value is not None})
    with errors_told():
        found = api.get(os.environ, f"/v1/callbacks?{query}")
    if as_json:
        _print_json(found)
        return
    table = Table(box=None)
    for name in ("id", "received", "verdict", "provider"):
        table.add_column(name, no_wrap=True)
    table.add_column("errors")
    for item in found["items"]:
        received = item["received_at"].partition(".")[0]
        table.add_row(item["id"], received, item["verdict"], item["provider"], _told(item["errors"]))
    Console().print(table)


@callback.command("show")
@click.argument("callback_id", metavar="ID", type=click.UUID)
@click.option("--json", "as_json", is_flag=True, help="Print the API's answer.")
def show_callback(callback_id: object, as_json: bool) -> None:
    """Show a callback with its headers and body."""
    with errors_told():
        found = api.get(os.environ, f"/v1/callbacks/{callback_id}")
    if as_json:
        _print_json(found)
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{found['method']} {found['target']}", markup=False)
    for name, value in found["headers"].items():
        console.print(f"{name}: {value}", markup=False)
    console.print()
    console.print(found["body"], markup=False)
    console.print(f"\n{found['provider']}, received {found['received_at']}: {found['verdict']}", markup=False)


@callback.command("explain")
@click.argument("callback_id", metavar="[ID]", type=click.UUID, required=False)
@click.option("--provider", help="Without an ID: the newest refused callback of this provider.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain_callback(callback_id: object | None, provider: str | None, as_json: bool) -> None:
    """Say why a callback was refused: which part failed and, where it can be told, the cause.

    Without an ID it explains the newest one that was refused.
    """
    with errors_told():
        found = api.get(os.environ, f"/v1/callbacks/{callback_id or _newest_refused(provider)}")
    told = found["explanation"]
    if as_json:
        _print_json({"id": found["id"], "verdict": found["verdict"], "errors": found["errors"], **told})
        return
    click.echo(f"{found['id']}: {found['provider']}, received {found['received_at']}: {found['verdict']}")
    if told["message"]:
        click.echo(f"{told['part']}: {told['message']}")
    for cause in told["causes"]:
        click.echo(f"→ {cause}")
    if found["errors"] and not told["message"]:
        click.echo(_told(found["errors"]))


def _newest_refused(provider: str | None) -> str:
    query = urlencode({"verdict": "refused", "limit": 1} | ({"provider": provider} if provider else {}))
    items = api.get(os.environ, f"/v1/callbacks?{query}")["items"]
    if not items:
        raise api.ApiError("no refused callback is kept")
    return str(items[0]["id"])


def _told(errors: Any) -> str:
    return orjson.dumps(errors).decode() if errors else ""


def _print_json(document: Any) -> None:
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
