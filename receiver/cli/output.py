"""The output of commands on stdout: JSON, tables, fields and text.

Text from providers and clients is printed literally, with control characters escaped so that it cannot control the
terminal.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import click
import orjson

from receiver.cli.cells import Cell, Column, render_status, render_time
from receiver.cli.formats import Json, format_literal, format_time, format_time_ms
from receiver.cli.table_printer import TablePrinter, style
from receiver.cli.terminal import inspect_stdout
from receiver.domain.status_symbols import StatusKind

_FIELD_GAP = 2
_NOT_PRINTABLE_ASCII = re.compile(r"[^\n -~]+")


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one field per line, its name and its value; fields without a value are left out."""
    terminal = inspect_stdout()
    cells = {
        name: value if isinstance(value, Cell) else Cell(format_literal(value))
        for name, value in fields.items()
        if value not in (None, "", {}, Cell(""))
    }
    width = max(map(len, cells)) + _FIELD_GAP
    for name, cell in cells.items():
        click.echo(f"{style(Cell(name.ljust(width)), terminal, dim=True)}{style(cell, terminal)}".rstrip(" "))


def print_section(title: str, columns: Sequence[Column], items: Sequence[Json]) -> None:
    """Print a table with absolute times below its title, or nothing if the table is empty."""
    if items:
        print_title(title)
        TablePrinter(columns, shorten_time=None).show(items)


def print_title(title: str) -> None:
    """Print the title of a section, after an empty line."""
    click.echo(f"\n{style(Cell(title), inspect_stdout(), bold=True)}")


def build_status_field(kind: StatusKind, status: str) -> Cell:
    """Return a status, or several flags separated by commas, for `print_fields`."""
    return render_status(kind, status, inspect_stdout())


def build_time_field(time: str | None) -> Cell:
    """Return a time of the API for `print_fields`, to the second."""
    return render_time(time, inspect_stdout(), format_time)


def build_time_ms_field(time: str | None) -> Cell:
    """Return a time of the API for `print_fields`, to the millisecond."""
    return render_time(time, inspect_stdout(), format_time_ms)


def print_json(document: Any, *, in_one_line: bool = False) -> None:
    """Print a JSON document, with control characters escaped."""
    text = orjson.dumps(document, option=None if in_one_line else orjson.OPT_INDENT_2).decode()
    click.echo(_NOT_PRINTABLE_ASCII.sub(lambda match: "".join(map(_escape_json, match[0])), text))


def print_text(text: str) -> None:
    """Print lines of text from outside, with control characters escaped."""
    for line in text.split("\n"):
        click.echo(format_literal(line))


def _escape_json(character: str) -> str:
    if character.isprintable():
        return character
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[index : index + 4]}" for index in range(0, len(units), 4))
