"""Ports for servers that cannot inherit a listening socket."""

import random
import socket
from contextlib import suppress


def find_free_port() -> int:
    """Return a port on which nothing listens now.

    It is below those that the kernel gives to outgoing connections, so that none of them takes it before its server.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("0.0.0.0", port)):
            return port
