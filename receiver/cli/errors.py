"""Error messages and exit codes of commands: 0 done, 1 failed, 2 usage."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from receiver.cli.process_group import StopRequested
from receiver.configured_providers import SettingsError
from receiver.domain.errors import ReceiverError

FAILED, USAGE = 1, 2


@contextmanager
def report_errors() -> Iterator[None]:
    """Print errors on stderr and exit with the code for each kind of error."""
    try:
        yield
    except SettingsError as error:
        for fault in error.faults:
            click.echo(f"settings: {fault}", err=True)
        sys.exit(USAGE)
    except ReceiverError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(FAILED)
    except StopRequested as stop:
        click.echo(f"stopped by {stop}", err=True)
        sys.exit(128 + stop.number)
