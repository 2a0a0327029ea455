"""The commands, by where they are, and how a signal ends them."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from receiver.cli.lazy import LazyGroup
from receiver.cli.output import restore_terminal

_PLACES = {
    "audit": "receiver.cli.maintenance:audit",
    "callback": "receiver.cli.callbacks:callback",
    "completion": "receiver.cli.completion:completion",
    "demo": "receiver.cli.start:demo",
    "job": "receiver.cli.jobs:job",
    "key": "receiver.cli.keys:key",
    "migrate": "receiver.cli.start:migrate",
    "openapi": "receiver.cli.openapi:openapi",
    "provider": "receiver.cli.providers:provider",
    "prune": "receiver.cli.maintenance:prune",
    "request": "receiver.cli.requests:request",
    "serve": "receiver.cli.start:serve",
    "web": "receiver.cli.start:web",
    "worker": "receiver.cli.start:worker",
}


def main() -> NoReturn:
    """Run the command line. SIGINT ends it with exit code 130, SIGTERM with 143."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    commands.main(prog_name="receiver")
    sys.exit(0)


@click.group(cls=LazyGroup, places=_PLACES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="callback-receiver")
def commands() -> None:
    """Sends requests to providers that finish later, takes their signed callbacks, keeps every job's status."""


def _end(number: int, _: FrameType | None) -> NoReturn:
    """End at once. An exception could be swallowed by a library on its way; commands with anything to tidy up do that.

    Those are the commands that start processes: they handle signals themselves as long as there is something.
    """
    restore_terminal()
    os._exit(128 + number)
