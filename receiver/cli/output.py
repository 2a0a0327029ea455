"""What commands print: JSON or tables on stdout, messages on stderr.

Text that others wrote is shown literally. What could steer a terminal in it is shown escaped, and ids are never cut: on
a terminal only columns of prose are folded, and where the output is piped each row is one line.
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

_GAP = 2
_NARROWEST_PROSE = 24
_NEITHER_ASCII_NOR_SAFE = re.compile(r"[^\n -~]+")
_STYLES = {
    **dict.fromkeys(("succeeded", "completed", "applied"), "green"),
    **dict.fromkeys(("failed", "rejected", "refused", "invalid"), "red"),
    **dict.fromkeys(("unresolved", "unknown", "disputed", "unmapped", "paused"), "yellow"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `of` names the field to show, or gives what to show of an item; `prose` may be folded.

    `style` is that of words without one of their own.
    """

    name: str
    of: str | Callable[[Json], object]
    prose: bool = False
    style: str = ""

    def text(self, item: Json) -> str:
        return format_literal(item.get(self.of) if isinstance(self.of, str) else self.of(item))


class TablePrinter:
    """A table that is printed page by page; a later page is at least as wide as those before it."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._widths = [len(column.name) for column in columns]
        self._begun = False

    def show(self, items: Sequence[Json]) -> None:
        """Print a page, the first one below the names of the columns."""
        rows = [[column.text(item) for column in self._columns] for item in items]
        for row in rows:
            self._widths = [max(width, cell_len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        console = Console()
        least = [
            min(width, _NARROWEST_PROSE) if column.prose and console.is_terminal else width
            for column, width in zip(self._columns, self._widths, strict=True)
        ]
        needed = sum(least) + _GAP * (len(least) - 1)
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=not self._begun)
        for column, width in zip(self._columns, least, strict=True):
            table.add_column(column.name, min_width=width, no_wrap=not column.prose, overflow="fold")
        for row in rows:
            styled = zip(self._columns, row, strict=True)
            table.add_row(*[Text(cell, _STYLES.get(cell, column.style)) for column, cell in styled])
        _print(table, max(console.width, needed) if console.is_terminal else needed)
        self._begun = True


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values below each other, without those that have no value."""
    shown = {name: text for name, value in facts.items() if (text := format_literal(value)) not in {"", "{}"}}
    width = max(map(len, shown)) + _GAP
    lines = [
        Text.assemble((name.ljust(width), "dim"), (value, _STYLES.get(value, ""))) for name, value in shown.items()
    ]
    _print(Text("\n").join(lines))


def print_section(title: str, columns: Sequence[Column], items: Sequence[Json]) -> None:
    """Print a table below its title, or nothing when it is empty."""
    if items:
        _print(Text(f"\n{title}", "bold"))
        TablePrinter(columns).show(items)


def print_json(document: Any) -> None:
    """Print a JSON document, with escapes for what could steer a terminal."""
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
    click.echo(_NEITHER_ASCII_NOR_SAFE.sub(lambda found: "".join(map(_in_json, found[0])), text))


def print_text(text: str) -> None:
    """Print lines that somebody else wrote."""
    for line in text.split("\n"):
        click.echo(format_literal(line))


def print_message(message: str) -> None:
    """Tell people something, on stderr."""
    for line in message.split("\n"):
        _stderr().print(Text(format_literal(line)), soft_wrap=True)


@contextmanager
def show_progress(message: str) -> Iterator[Callable[[str], None]]:
    """Show on stderr what is going on, if it is a terminal; gives what changes the message."""
    console = _stderr()
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(Text(message)) as status:
        yield lambda changed: status.update(Text(changed))


def restore_terminal() -> None:
    """Undo what `show_progress` does to a terminal, when there is no time to leave it."""
    _stderr().show_cursor()


def format_literal(value: object) -> str:
    """Give a value as text of one line in which everything but visible characters and spaces is escaped."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if text.isprintable() else "".join(map(_visible, text))


def time_field(name: str) -> Callable[[Json], str]:
    """Give what shows the time in a field, to the second."""
    return lambda item: format_time(item.get(name))


def format_time(time: str | None) -> str:
    """Give one of the API's times to the second."""
    return f"{_without_zone(time).partition('.')[0]}Z" if time else ""


def format_time_ms(time: str | None) -> str:
    """Give one of the API's times to the millisecond."""
    if not time:
        return ""
    whole, _, rest = _without_zone(time).partition(".")
    return f"{whole}.{rest[:3]:0<3}Z"


@cache
def _stderr() -> Console:
    """Give the one console that messages share with what is going on, so that neither spoils the other."""
    return Console(stderr=True, highlight=False)


def _print(shown: Table | Text, width: int | None = None) -> None:
    console = Console(highlight=False, width=width)
    with console.capture() as captured:
        console.print(shown, soft_wrap=isinstance(shown, Text))
    for line in captured.get().removesuffix("\n").split("\n"):
        click.echo(line.rstrip(" "))


def _without_zone(time: str) -> str:
    return time.removesuffix("Z").removesuffix("+00:00")


def _visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _in_json(character: str) -> str:
    if character.isprintable():
        return character
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))
