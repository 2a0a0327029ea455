"""Checks before a process listens on a port, so that a taken port is reported before anything else is started."""

import os
import socket

from receiver.domain.errors import ReceiverError


class PortUnavailable(ReceiverError):
    """A process cannot listen on a port; the message names the variable and the remedy."""


def check_port(variable: str, host: str, port: int) -> None:
    """Check that a process may listen on a port.

    Args:
        variable: the name of the environment variable with the port.
        host: the address to listen on.
        port: the port.

    Raises:
        PortUnavailable: the port is in use, or may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise build_port_error(variable, port, error, f"Set {variable} to another port") from error


def build_port_error(variable: str, port: int, error: OSError, remedy: str) -> PortUnavailable:
    """Return the error for a port on which a process cannot listen."""
    reason = os.strerror(error.errno or 0)
    return PortUnavailable(
        f"{variable}: Cannot listen on port {port}: {reason}. {remedy}, or stop the process that uses it."
    )
