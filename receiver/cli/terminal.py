"""What stdout is: a terminal, with its width, symbols and colours; or a pipe or file, which gets plain text."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

_WIDE = "receiver.wide"
_PLAIN_TERMINALS = frozenset({"", "dumb", "unknown"})


@dataclass(frozen=True, slots=True)
class Terminal:
    """What stdout can show.

    Attributes:
        width: the number of columns to fit into; None where every row is one complete line, with absolute times.
        has_symbols: whether statuses are shown with their shapes.
        has_colors: whether text may be styled.
    """

    width: int | None = None
    has_symbols: bool = False
    has_colors: bool = False


def inspect_stdout() -> Terminal:
    """Return what stdout can show: `NO_COLOR`, `TERM`, `COLUMNS` and the option `--wide` are respected."""
    if sys.stdout is None or not sys.stdout.isatty():
        return Terminal()
    is_plain = os.environ.get("TERM", "") in _PLAIN_TERMINALS
    context = click.get_current_context(silent=True)
    is_wide = context is not None and context.meta.get(_WIDE, False)
    return Terminal(
        width=None if is_wide else shutil.get_terminal_size().columns,
        has_symbols=not is_plain and (sys.stdout.encoding or "").lower().replace("-", "") == "utf8",
        has_colors=not is_plain and not os.environ.get("NO_COLOR"),
    )


def wide_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--wide` to a command."""
    return click.option(
        "--wide", is_flag=True, expose_value=False, callback=_set_wide, help="Show all columns, with absolute times."
    )(command)


def _set_wide(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_WIDE] = value
