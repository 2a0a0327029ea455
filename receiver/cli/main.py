"""The root command `receiver`: all commands with their import paths, and how a signal ends a command."""

import errno
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import click

from receiver.cli.lazy import LazyCommand, LazyGroup
from receiver.cli.messages import restore_terminal
from receiver.cli.service_selection import build_profile_option

_FAILED = 1
_OUTPUT_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
_COMMANDS = {
    "audit": LazyCommand("receiver.cli.maintenance:audit", "Check stored statuses against their events."),
    "callback": LazyCommand(
        "receiver.cli.callbacks:callback", "Show, explain, replay and send callbacks.", build_profile_option
    ),
    "completion": LazyCommand("receiver.cli.completion:completion", "Print the completion script for a shell."),
    "demo": LazyCommand("receiver.cli.start:demo", "Run the whole service against a misbehaving provider."),
    "erase": LazyCommand("receiver.cli.erase:erase", "Erase one person's data."),
    "job": LazyCommand("receiver.cli.jobs:job", "Show, poll and resolve jobs.", build_profile_option),
    "key": LazyCommand("receiver.cli.keys:key", "Create, list and revoke API keys.", build_profile_option),
    "login": LazyCommand("receiver.cli.login:login", "Store the URL of a service and a key for it."),
    "logout": LazyCommand("receiver.cli.login:logout", "Remove a stored URL and key."),
    "migrate": LazyCommand("receiver.cli.start:migrate", "Migrate the database to the current schema."),
    "notification": LazyCommand(
        "receiver.cli.notifications:notification",
        "Show, resend, pause and resume webhook notifications to clients.",
        build_profile_option,
    ),
    "openapi": LazyCommand(
        "receiver.cli.openapi:openapi", "Print the OpenAPI document of the API as it is configured."
    ),
    "provider": LazyCommand(
        "receiver.cli.providers:provider", "Add, list, check, pause and resume providers.", build_profile_option
    ),
    "prune": LazyCommand("receiver.cli.maintenance:prune", "Remove finished work."),
    "recover": LazyCommand("receiver.cli.maintenance:recover", "Prepare a database that was restored from a backup."),
    "request": LazyCommand(
        "receiver.cli.requests:request",
        "Submit, track, show, retry, cancel, send and resolve requests.",
        build_profile_option,
    ),
    "serve": LazyCommand("receiver.cli.start:serve", "Run the whole service, for development."),
    "tail": LazyCommand("receiver.cli.tail:tail", "Follow requests, callbacks and jobs.", build_profile_option),
    "web": LazyCommand("receiver.cli.start:web", "Run the web process under gunicorn."),
    "worker": LazyCommand("receiver.cli.start:worker", "Run the worker process."),
}


def main() -> NoReturn:
    """Run the command line. On SIGINT it exits with code 130, on SIGTERM with 143."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)
    try:
        commands.main(prog_name="receiver")
    except OSError as error:  # such as a full disk behind stdout
        _report_os_error(error)
        sys.exit(_FAILED)
    sys.exit(0)


@click.group(cls=LazyGroup, lazy_commands=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="callback-receiver")
def commands() -> None:
    """Send requests to asynchronous providers, receive their signed callbacks, and reconcile each job's status."""


def _report_os_error(error: OSError) -> None:
    """Print why a file or the output could not be read or written, unless stderr is what cannot be written."""
    place = error.filename or ("Cannot write the output" if error.errno in _OUTPUT_ERRORS else "")
    with suppress(OSError):
        click.echo(f"error: {place and f'{place}: '}{error.strerror or error}.", err=True)
    # What is still buffered would be written at exit, and fail again with a traceback.
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _exit(number: int, _: FrameType | None) -> NoReturn:
    """Exit immediately: a library could swallow an exception that is raised here.

    Commands with something to clean up, which are those that start processes or connect to the database, replace this
    handler while they run.
    """
    restore_terminal()
    os._exit(128 + number)
