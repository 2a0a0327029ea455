"""Columns of tables, and how their values are shown: times, statuses and text."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from receiver.cli.formats import Json, format_literal, format_time
from receiver.cli.terminal import Terminal
from receiver.domain.durations import format_relative_time
from receiver.domain.status_symbols import StatusKind, StatusMeaning, get_status_symbol

ALWAYS = 10
"""The importance of a column that is never left out, however narrow the terminal is.

That includes ids: people copy an id from a list to a command. Ids are never shortened, because those of requests,
callbacks, notifications and keys begin with their time: the first digits are the same for a minute.
"""

_COLORS = {
    StatusMeaning.GOOD: "green",
    StatusMeaning.BAD: "red",
    StatusMeaning.WAITING: "cyan",
    StatusMeaning.DOUBTFUL: "yellow",
}


class Cell(NamedTuple):
    """Text in a color of `click.style`, if any."""

    text: str
    color: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: the heading.
        source: the name of an item's field, or a function that returns the value for an item.
        importance: what is shown where there is no room for all columns: those of the highest importance.
        prose: whether the column may wrap.
        color: the color of the values.
        status: whose statuses the values are; several flags are separated by commas.
        time: how a time of the API is formatted where it is absolute.
    """

    name: str
    source: str | Callable[[Json], object]
    importance: int = ALWAYS
    prose: bool = False
    color: str = ""
    status: StatusKind | Callable[[Json], StatusKind] | None = None
    time: Callable[[str | None], str] | None = None

    def format(self, item: Json) -> str:
        """Return the value for an item as plain text."""
        return self.render(item, Terminal()).text

    def render(self, item: Json, terminal: Terminal, shorten_time: Callable[[str], str] | None = None) -> Cell:
        """Return the value for an item; a time as `shorten_time` formats it, or absolute."""
        value = item.get(self.source) if isinstance(self.source, str) else self.source(item)
        if self.time is not None:
            time = str(value) if value else None
            return Cell(shorten_time(time) if time and shorten_time else self.time(time), self.color)
        if self.status is not None and value:
            kind = self.status if isinstance(self.status, StatusKind) else self.status(item)
            return render_status(kind, format_literal(value), terminal)
        return Cell(format_literal(value), self.color)


def render_status(kind: StatusKind, text: str, terminal: Terminal) -> Cell:
    """Return a status, or several flags separated by commas, with shapes and words where the terminal has symbols."""
    symbols = [get_status_symbol(kind, status) for status in text.split(", ")] if text else []
    if not symbols:
        return Cell("")
    shown = ", ".join(f"{symbol.shape} {symbol.word}" for symbol in symbols) if terminal.has_symbols else text
    return Cell(shown, _COLORS[symbols[0].meaning])


def render_time(time: str | None, terminal: Terminal, format_absolute: Callable[[str | None], str]) -> Cell:
    """Return a time of the API; at a terminal with how long ago it was."""
    text = format_absolute(time)
    return Cell(f"{text} ({format_age(time)})" if time and terminal.width is not None else text)


def format_age(time: str) -> str:
    """Return how long ago a time of the API is, or how far ahead."""
    return format_relative_time(datetime.fromisoformat(time), datetime.now(UTC))


def format_clock_time(time: str) -> str:
    """Return the time of day of a time of the API, in UTC."""
    return format_time(time).partition("T")[2]
