"""The root command `receiver`: all commands with their import paths, and how a signal ends a command."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from receiver.cli.lazy import LazyCommand, LazyGroup
from receiver.cli.output import restore_terminal

_COMMANDS = {
    "audit": LazyCommand("receiver.cli.maintenance:audit", "Check stored statuses against their events."),
    "callback": LazyCommand("receiver.cli.callbacks:callback", "Show, explain and replay callbacks."),
    "completion": LazyCommand("receiver.cli.completion:completion", "Print the completion script for a shell."),
    "demo": LazyCommand("receiver.cli.start:demo", "Run the whole service against a misbehaving provider."),
    "erase": LazyCommand("receiver.cli.erase:erase", "Erase one person's data."),
    "job": LazyCommand("receiver.cli.jobs:job", "Show, poll and resolve jobs."),
    "key": LazyCommand("receiver.cli.keys:key", "Create, list and revoke API keys."),
    "migrate": LazyCommand("receiver.cli.start:migrate", "Migrate the database to the current schema."),
    "notification": LazyCommand(
        "receiver.cli.notifications:notification", "Show, resend, pause and resume webhook notifications to clients."
    ),
    "openapi": LazyCommand(
        "receiver.cli.openapi:openapi", "Print the OpenAPI document of the API as it is configured."
    ),
    "provider": LazyCommand("receiver.cli.providers:provider", "List, check, pause and resume providers."),
    "prune": LazyCommand("receiver.cli.maintenance:prune", "Remove finished work."),
    "recover": LazyCommand("receiver.cli.maintenance:recover", "Prepare a database that was restored from a backup."),
    "request": LazyCommand(
        "receiver.cli.requests:request", "Submit, track, show, retry, cancel, send and resolve requests."
    ),
    "serve": LazyCommand("receiver.cli.start:serve", "Run the whole service, for development."),
    "tail": LazyCommand("receiver.cli.tail:tail", "Follow requests, callbacks and jobs."),
    "web": LazyCommand("receiver.cli.start:web", "Run the web process under gunicorn."),
    "worker": LazyCommand("receiver.cli.start:worker", "Run the worker process."),
}


def main() -> NoReturn:
    """Run the command line. On SIGINT it exits with code 130, on SIGTERM with 143."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)
    commands.main(prog_name="receiver")
    sys.exit(0)


@click.group(cls=LazyGroup, lazy_commands=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="callback-receiver")
def commands() -> None:
    """Send requests to asynchronous providers, receive their signed callbacks, and reconcile each job's status."""


def _exit(number: int, _: FrameType | None) -> NoReturn:
    """Exit immediately: a library could swallow an exception that is raised here.

    Commands with something to clean up, which are those that start processes or connect to the database, replace this
    handler while they run.
    """
    restore_terminal()
    os._exit(128 + number)
