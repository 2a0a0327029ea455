"""`python -m receiver.devtools.cells`: create cells, which share nothing but a database, and route requests to them.

A cell is a schema with the providers that it owns, a role with rights in this schema only, and web and worker processes
of its own. A provider belongs to one cell, so that everything of the provider is in one schema; see docs/scaling.md.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, BinaryIO

import click
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from receiver.domain.errors import ReceiverError
from receiver.store.connections import connect, translate_errors
from receiver.store.migrate import migrate

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_ADDRESS = re.compile(r"[A-Za-z0-9.-]+:[0-9]{1,5}|unix:/[\w./-]+")


class InvalidCell(ReceiverError):
    """A cell has an invalid name or address, or a provider belongs to two cells."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: the addresses of its web processes, and the providers that it owns."""

    name: str
    web: Sequence[str]
    providers: Sequence[str]


def create_cell(dsn: str, name: str, password: str | None = None) -> str:
    """Create the role and the schema of a cell and apply all migrations; repeat what an earlier call left undone.

    The search path belongs to the role, not to a connection, so that it also holds through PgBouncer.

    Args:
        dsn: the database, with a role that may create roles and schemas.
        name: the name of the cell, its role and its schema.
        password: the password of the role; an existing role keeps its password without it.

    Returns:
        `DATABASE_URL` of the cell, without the password.

    Raises:
        InvalidCell: the name is invalid.
        StoreError: a statement or a migration failed.
    """
    _check_name(name)
    role = sql.Identifier(name)
    with translate_errors(), closing(connect(dsn)) as connection:
        database = sql.Identifier(connection.info.dbname)
        existing = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone()
        if existing is None:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        if password is not None:
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(password)))
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(role, role))
        connection.execute(sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = {}").format(role, database, role))
    parameters = conninfo_to_dict(dsn) | {"user": name}
    parameters.pop("password", None)
    migrate(make_conninfo("", **parameters, password=password))
    return make_conninfo("", **parameters)


def parse_cells(document: Mapping[str, Any]) -> list[Cell]:
    """Parse the tables `[cells.NAME]`, each with `web`, a list of addresses, and `providers`, a list of names.

    Raises:
        InvalidCell: a table has other values, or a provider belongs to two cells.
    """
    cells, owners = [], dict[str, str]()
    for name, table in document.get("cells", {}).items():
        _check_name(name)
        cell = Cell(name, list(table.get("web", ())), list(table.get("providers", ())))
        if not cell.web or not all(isinstance(address, str) and _ADDRESS.fullmatch(address) for address in cell.web):
            raise InvalidCell(f"cells.{name}.web: must be addresses, HOST:PORT or unix:/PATH.")
        for provider in cell.providers:
            if owner := owners.get(provider):
                raise InvalidCell(f"cells.{name}.providers: {provider} belongs to {owner} already.")
            owners[provider] = name
        cells.append(cell)
    return cells


def build_nginx_map(cells: Sequence[Cell]) -> str:
    """Return the part of nginx's `http` block that defines `$receiver_cell`, the upstream of a request.

    A callback goes to the cell that owns the provider, whatever the host. Everything else goes to the cell that is the
    first label of the host, such as `eu` of `eu.receiver.example`. Without a cell the variable is empty.
    """
    lines = []
    for cell in cells:
        servers = "".join(f"    server {address};\n" for address in cell.web)
        lines.append(f"upstream receiver_{cell.name} {{\n{servers}    keepalive 64;\n}}\n")
    # nginx compares in this order: the callbacks of all cells before the hosts.
    callbacks = [
        f'    "~^[^/]*/callbacks/{re.escape(provider)}(?:[/?]|$)" receiver_{cell.name};\n'
        for cell in cells
        for provider in cell.providers
    ]
    hosts = [f'    "~^{cell.name}\\.[^/]*/(?!callbacks/)" receiver_{cell.name};\n' for cell in cells]
    lines.append(f'map "$host$request_uri" $receiver_cell {{\n{"".join([*callbacks, *hosts])}}}\n')
    return "\n".join(lines)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidCell(f"{name!r} is no name of a cell: lower-case letters, digits and _, at most 41.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Create cells, and route requests to them."""


@commands.command()
@click.argument("name")
def create(name: str) -> None:
    """Create a cell in the database of DATABASE_URL, or migrate it, and print DATABASE_URL of its processes.

    CELL_PASSWORD is the password of its role.
    """
    try:
        click.echo(create_cell(os.environ["DATABASE_URL"], name, os.environ.get("CELL_PASSWORD")))
    except KeyError:
        raise click.UsageError("DATABASE_URL is not set.") from None
    except ReceiverError as error:
        raise click.ClickException(str(error)) from None


@commands.command()
@click.argument("file", type=click.File("rb"))
def route(file: BinaryIO) -> None:
    """Print the configuration of nginx for the cells of a TOML file: tables [cells.NAME] with `web` and `providers`."""
    try:
        click.echo(build_nginx_map(parse_cells(tomllib.load(file))), nl=False)
    except (ReceiverError, tomllib.TOMLDecodeError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    commands(prog_name="python -m receiver.devtools.cells")
