"""The root command `receiver`: the import paths of all commands, and how a signal ends a command."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from receiver.cli.lazy import LazyGroup
from receiver.cli.output import restore_terminal

_IMPORT_PATHS = {
    "audit": "receiver.cli.maintenance:audit",
    "callback": "receiver.cli.callbacks:callback",
    "completion": "receiver.cli.completion:completion",
    "demo": "receiver.cli.start:demo",
    "erase": "receiver.cli.erase:erase",
    "job": "receiver.cli.jobs:job",
    "key": "receiver.cli.keys:key",
    "migrate": "receiver.cli.start:migrate",
    "notification": "receiver.cli.notifications:notification",
    "openapi": "receiver.cli.openapi:openapi",
    "provider": "receiver.cli.providers:provider",
    "prune": "receiver.cli.maintenance:prune",
    "recover": "receiver.cli.maintenance:recover",
    "request": "receiver.cli.requests:request",
    "serve": "receiver.cli.start:serve",
    "tail": "receiver.cli.tail:tail",
    "web": "receiver.cli.start:web",
    "worker": "receiver.cli.start:worker",
}


def main() -> NoReturn:
    """Run the command line. On SIGINT it exits with code 130, on SIGTERM with 143."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)
    commands.main(prog_name="receiver")
    sys.exit(0)


@click.group(cls=LazyGroup, import_paths=_IMPORT_PATHS, context_settings={"help_option_names": ["-h", "--help"]})
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
