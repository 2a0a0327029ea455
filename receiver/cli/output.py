"""The output of commands: JSON or tables on stdout, messages on stderr.

Text from providers and clients is printed literally, with control characters escaped so that it cannot control the
terminal. Ids are never truncated: on a terminal only prose columns wrap; in a pipe each row is one line.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import click
import orjson
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = dict[str, Any]

_COLUMN_GAP = 2
_MIN_PROSE_WIDTH = 24
_NOT_PRINTABLE_ASCII = re.compile(r"[^\n -~]+")
_STYLES = {
    **dict.fromkeys(("succeeded", "completed", "applied"), "green"),
    **dict.fromkeys(("failed", "rejected", "refused", "invalid"), "red"),
    **dict.fromkeys(("unresolved", "unknown", "disputed", "unmapped", "paused", "unconfigured"), "yellow"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: the heading.
        source: the name of an item's field, or a function that returns the value for an item.
        prose: whether the column may wrap.
        style: the style of values that have none in `_STYLES`.
    """

    name: str
    source: str | Callable[[Json], object]
    prose: bool = False
    style: str = ""

    def format(self, item: Json) -> str:
        return format_literal(item.get(self.source) if isinstance(self.source, str) else self.source(item))


class TablePrinter:
    """A table that is printed page by page. Columns never become narrower from one page to the next."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._widths = [len(column.name) for column in columns]
        self._started = False

    def show(self, items: Sequence[Json]) -> None:
        """Print a page; the first one with the headings."""
        rows = [[column.format(item) for column in self._columns] for item in items]
        for row in rows:
            self._widths = [max(width, cell_len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        console = Console()
        min_widths = [
            min(width, _MIN_PROSE_WIDTH) if column.prose and console.is_terminal else width
            for column, width in zip(self._columns, self._widths, strict=True)
        ]
        min_table_width = sum(min_widths) + _COLUMN_GAP * (len(min_widths) - 1)
        table = Table(box=None, pad_edge=False, padding=(0, _COLUMN_GAP, 0, 0), show_header=not self._started)
        for column, width in zip(self._columns, min_widths, strict=True):
            table.add_column(column.name, min_width=width, no_wrap=not column.prose, overflow="fold")
        for row in rows:
            cells = zip(self._columns, row, strict=True)
            table.add_row(*[Text(cell, _STYLES.get(cell, column.style)) for column, cell in cells])
        _print(table, max(console.width, min_table_width) if console.is_terminal else min_table_width)
        self._started = True


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one field per line, its name and its value; fields without a value are left out."""
    texts = {name: text for name, value in fields.items() if (text := format_literal(value)) not in {"", "{}"}}
    width = max(map(len, texts)) + _COLUMN_GAP
    lines = [Text.assemble((name.ljust(width), "dim"), (text, _STYLES.get(text, ""))) for name, text in texts.items()]
    _print(Text("\n").join(lines))


def print_section(title: str, columns: Sequence[Column], items: Sequence[Json]) -> None:
    """Print a table below its title, or nothing if the table is empty."""
    if items:
        _print(Text(f"\n{title}", "bold"))
        TablePrinter(columns).show(items)


def print_json(document: Any, *, in_one_line: bool = False) -> None:
    """Print a JSON document, with control characters escaped."""
    text = orjson.dumps(document, option=None if in_one_line else orjson.OPT_INDENT_2).decode()
    click.echo(_NOT_PRINTABLE_ASCII.sub(lambda match: "".join(map(_escape_json, match[0])), text))


def print_text(text: str) -> None:
    """Print lines of text from outside, with control characters escaped."""
    for line in text.split("\n"):
        click.echo(format_literal(line))


def print_message(message: str) -> None:
    """Print a message on stderr."""
    for line in message.split("\n"):
        _stderr().print(Text(format_literal(line)), soft_wrap=True)


@contextmanager
def show_progress(message: str) -> Iterator[Callable[[str], None]]:
    """Show a progress message on stderr if it is a terminal; yield a function that replaces the message."""
    console = _stderr()
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(Text(message)) as status:
        yield lambda text: status.update(Text(text))


def restore_terminal() -> None:
    """Show the cursor again, which `show_progress` hides; for exits that skip its cleanup."""
    _stderr().show_cursor()


def format_literal(value: object) -> str:
    """Return a value as one line of text, with everything but printable characters and spaces escaped."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if text.isprintable() else "".join(map(_escape_text, text))


def make_time_formatter(name: str) -> Callable[[Json], str]:
    """Return a function that formats the time in a field of an item, to the second."""
    return lambda item: format_time(item.get(name))


def format_time(time: str | None) -> str:
    """Return a time of the API, rounded down to the second; empty for None."""
    return f"{_remove_offset(time).partition('.')[0]}Z" if time else ""


def format_time_ms(time: str | None) -> str:
    """Return a time of the API, rounded down to the millisecond; empty for None."""
    if not time:
        return ""
    seconds, _, fraction = _remove_offset(time).partition(".")
    return f"{seconds}.{fraction[:3]:0<3}Z"


@cache
def _stderr() -> Console:
    """Return the console that messages and progress share, so that a message is not printed into the progress line."""
    return Console(stderr=True, highlight=False)


def _print(content: Table | Text, width: int | None = None) -> None:
    console = Console(highlight=False, width=width)
    with console.capture() as captured:
        console.print(content, soft_wrap=isinstance(content, Text))
    for line in captured.get().removesuffix("\n").split("\n"):
        click.echo(line.rstrip(" "))


def _remove_offset(time: str) -> str:
    return time.removesuffix("Z").removesuffix("+00:00")


def _escape_text(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _escape_json(character: str) -> str:
    if character.isprintable():
        return character
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[index : index + 4]}" for index in range(0, len(units), 4))
