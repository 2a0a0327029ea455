"""Messages, errors and progress on stderr, so that stdout has nothing but the output of a command."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

from receiver.cli.formats import format_literal
from receiver.domain.errors import ReceiverError

if TYPE_CHECKING:
    from rich.console import Console

_progress_consoles: "list[Console]" = []
"""The console of the progress message that is shown, if any. Messages go through it, so that they stay above it."""


class CommandError(ReceiverError, click.ClickException):
    """A command cannot do what it is for. The message names the remedy."""

    def show(self, file: IO[Any] | None = None) -> None:
        print_message(f"error: {self.message}")


def print_message(message: str) -> None:
    """Print a message on stderr."""
    for line in message.split("\n"):
        if _progress_consoles:
            _progress_consoles[-1].print(format_literal(line), markup=False, soft_wrap=True)
        else:
            click.echo(format_literal(line), err=True)


@contextmanager
def show_progress(message: str) -> Iterator[Callable[[str], None]]:
    """Show a progress message on stderr if it is a terminal; yield a function that replaces the message."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    # Imported late: only commands that take a while at a terminal need it.
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    with console.status(Text(message)) as status:
        _progress_consoles.append(console)
        try:
            yield lambda text: status.update(Text(text))
        finally:
            _progress_consoles.remove(console)


def restore_terminal() -> None:
    """Show the cursor again, which `show_progress` hides; for exits that skip its cleanup."""
    for console in _progress_consoles:
        console.show_cursor()
