"""What `serve` and `demo --keep` print once the web process answers: its URLs, how to sign in, and how to stop it."""

from http.client import HTTPConnection, HTTPException

import click

from receiver.cli.process_group import ProcessGroup

_TIMEOUT_S = 5.0
_POLL_INTERVAL_S = 0.1


def wait_until_web_answers(host: str, port: int, processes: ProcessGroup) -> None:
    """Wait until the web process answers, for as long as all processes run.

    Raises:
        ChildEnded: a process has ended.
    """
    while not _answers(host, port):
        processes.check(wait=_POLL_INTERVAL_S)


def _answers(host: str, port: int) -> bool:
    connection = HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def print_ready(url: str, sign_in: str, *, err: bool) -> None:
    """Print the URLs of a service that is ready.

    Args:
        url: the base URL of the web process.
        sign_in: with what to sign in to the admin pages.
        err: print on stderr, else on stdout.
    """
    click.echo(f"API: {url}/v1  (its documentation: {url}/docs)", err=err)
    click.echo(f"admin pages: {url}/admin/  (sign in with {sign_in})", err=err)
    click.echo("Press Ctrl-C to stop.", err=err)
