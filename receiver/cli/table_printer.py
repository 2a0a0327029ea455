"""Tables that fit the terminal's width, and complete rows of one line each elsewhere."""

from collections.abc import Callable, Sequence
from itertools import zip_longest

import click
from rich.cells import cell_len, chop_cells

from receiver.cli.cells import ALWAYS, Cell, Column, format_age
from receiver.cli.formats import Json
from receiver.cli.messages import print_message
from receiver.cli.terminal import Terminal, inspect_stdout

_GAP = " " * 2
_MIN_PROSE_WIDTH = 24


class TablePrinter:
    """A table that is printed page by page. Columns never become narrower from one page to the next.

    Where not all columns fit the terminal, those of the least importance are left out. If a later page needs more room,
    further ones are left out and the headings are repeated.

    Args:
        columns: the columns.
        shorten_time: how a time of the API is formatted at a terminal; None to print it as elsewhere, in full.
    """

    def __init__(self, columns: Sequence[Column], *, shorten_time: Callable[[str], str] | None = format_age) -> None:
        self._columns = columns
        self._shorten_time = shorten_time
        self._widths = [len(column.name) for column in columns]
        self._have_values = [False] * len(columns)
        self._shown: Sequence[int] = ()
        self._reported_hidden: set[int] = set()

    def show(self, items: Sequence[Json]) -> None:
        """Print a page; the first one with the headings."""
        terminal = inspect_stdout()
        shorten_time = self._shorten_time if terminal.width is not None else None
        rows = [[column.render(item, terminal, shorten_time) for column in self._columns] for item in items]
        for row in rows:
            self._widths = [max(width, cell_len(cell.text)) for width, cell in zip(self._widths, row, strict=True)]
            self._have_values = [value or bool(cell.text) for value, cell in zip(self._have_values, row, strict=True)]
        min_widths = [
            min(width, _MIN_PROSE_WIDTH) if column.prose else width
            for column, width in zip(self._columns, self._widths, strict=True)
        ]
        shown = self._choose_columns(min_widths, terminal.width)
        widths = self._distribute(shown, min_widths, terminal.width)
        if shown != self._shown:
            _print_row([Cell(self._columns[index].name) for index in shown], widths, terminal, bold=True)
            self._shown = shown
        for row in rows:
            _print_row([row[index] for index in shown], widths, terminal)
        self._report_hidden()

    def _choose_columns(self, min_widths: Sequence[int], width: int | None) -> Sequence[int]:
        """Return the indexes of the columns to show: of the most important ones as many as fit."""
        indexes = range(len(self._columns))
        if width is None:
            return indexes
        shown = {index for index in indexes if self._columns[index].importance == ALWAYS}
        used = sum(min_widths[index] + len(_GAP) for index in shown) - len(_GAP)
        for index in sorted(indexes, key=lambda each: (-self._have_values[each], -self._columns[each].importance)):
            needed = len(_GAP) + min_widths[index]
            if index not in shown and used + needed <= width:
                shown.add(index)
                used += needed
        return sorted(shown)

    def _distribute(self, shown: Sequence[int], min_widths: Sequence[int], width: int | None) -> list[int]:
        """Return the widths of the shown columns; those of prose share the room that is left."""
        widths = {index: self._widths[index] if width is None else min_widths[index] for index in shown}
        room = (width or 0) - sum(widths.values()) - len(_GAP) * (len(shown) - 1)
        growing = sorted(
            (index for index in shown if widths[index] < self._widths[index]), key=lambda each: self._widths[each]
        )
        for position, index in enumerate(growing):
            growth = min(self._widths[index] - widths[index], max(room, 0) // (len(growing) - position))
            widths[index] += growth
            room -= growth
        return [widths[index] for index in shown]

    def _report_hidden(self) -> None:
        hidden = {
            index for index, has_values in enumerate(self._have_values) if has_values and index not in self._shown
        }
        if hidden - self._reported_hidden:
            names = ", ".join(self._columns[index].name for index in sorted(hidden))
            print_message(f"not shown here: {names}; --wide shows all columns")
            self._reported_hidden = hidden


def _print_row(cells: Sequence[Cell], widths: Sequence[int], terminal: Terminal, *, bold: bool = False) -> None:
    wrapped = [_wrap(cell.text, width) for cell, width in zip(cells, widths, strict=True)]
    for parts in zip_longest(*wrapped, fillvalue=""):
        line = ""
        for cell, part, width in zip(cells, parts, widths, strict=True):
            padding = " " * (width - cell_len(part))
            line += f"{style(Cell(part, cell.color), terminal, bold=bold)}{padding}{_GAP}"
        click.echo(line.rstrip(" "))


def style(cell: Cell, terminal: Terminal, *, bold: bool = False, dim: bool = False) -> str:
    """Return a cell's text with its color, where the terminal has colors."""
    if not terminal.has_colors or not (cell.text and (cell.color or bold or dim)):
        return cell.text
    return click.style(cell.text, fg=cell.color or None, bold=bold or None, dim=dim or None)


def _wrap(text: str, width: int) -> list[str]:
    """Split text at blanks into lines of at most `width` cells; a longer word is folded."""
    if cell_len(text) <= width:
        return [text]
    lines = [""]
    for word in text.split(" "):
        separator = " " if lines[-1] else ""
        if cell_len(lines[-1]) + len(separator) + cell_len(word) <= width:
            lines[-1] += separator + word
        else:
            lines += chop_cells(word, width)
    return [line.rstrip(" ") for line in lines if line.strip(" ")]
