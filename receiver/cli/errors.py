"""How commands tell errors, and with which exit code they end: 0 done, 1 failed, 2 usage."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from receiver.cli.process_group import StopRequested
from receiver.domain.errors import ReceiverError
from receiver.settings import SettingsError

FAILED, USAGE = 1, 2


@contextmanager
def report_errors() -> Iterator[None]:
    """Tell errors on stderr in words and end with the exit code they call for."""
    try:
        yield
    except SettingsError as error:
        for fault in error.faults:
            click.echo(f"settings: {fault}", err=True)
        sys.exit(USAGE)
    except ReceiverError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(FAILED)
    except StopRequested as stopped:
        click.echo(f"stopped by {stopped}", err=True)
        sys.exit(128 + stopped.number)
