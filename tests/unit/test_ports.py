"""Ports are checked before anything is started."""

import socket

import pytest

from receiver.ports import PortUnavailable, check_port


def test_free_port_is_accepted() -> None:
    check_port("PORT", "127.0.0.1", 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_taken_port_is_refused_with_the_remedy(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortUnavailable) as caught:
            check_port("PORT", host, port)
    assert str(caught.value) == (
        f"PORT: Cannot listen on port {port}: Address already in use. Set PORT to another port, or stop the process "
        "that uses it."
    )
