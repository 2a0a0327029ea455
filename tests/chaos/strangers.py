"""Attackers of the web process: each attack is a program of its own, niced, and sends from an address of its choice.

`python -m tests.chaos.strangers ATTACK ADDRESS HOST PORT START SECONDS` attacks from a time of the monotonic clock on,
and prints how many connections it opened.
"""

import os
import select
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_OPEN_INTERVAL_S = 0.01
"""Between two connections of an attack: each takes a port of its address."""
_DRIP_INTERVAL_S = 1.0
_NICENESS = 19
_MIB = 1 << 20

_CALLBACK = b"POST /callbacks/sandbox HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
_SUBMISSION = b"POST /v1/requests HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
_CHUNKED = _CALLBACK + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Hold:
    """Open connections and hold them open.

    Args:
        count: how many are held.
        opening: what is sent at once.
        drip: what is sent once a second.
        receive_buffer: the size of the socket's buffer in bytes, 0 for the usual one.
    """

    count: int
    opening: bytes
    drip: bytes = b""
    receive_buffer: int = 0


@dataclass(frozen=True, slots=True)
class Flood:
    """Send without a pause, and read what comes back.

    Args:
        count: the number of connections.
        data: what is sent again and again.
        opening: what is sent once on each connection.
    """

    count: int
    data: bytes
    opening: bytes = b""


ATTACKS: Mapping[str, Hold | Flood] = {
    "idle connections": Hold(600, b""),
    "slow headers": Hold(400, b"GET /healthz HTTP/1.1\r\n", b"A: b\r\n"),
    "stalled bodies": Hold(1_200, _CALLBACK + b"Content-Length: 9\r\n\r\n"),
    "stalled submissions": Hold(200, _SUBMISSION + b"Content-Length: 9\r\n\r\n"),
    "trickled chunks": Hold(200, _CHUNKED, b"1;a=b\r\nx\r\n"),
    "unfinished bodies": Hold(200, _CALLBACK + b"Content-Length: %d\r\n\r\n" % _MIB + b"x" * (_MIB - 1)),
    "unread responses": Hold(100, b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 200, receive_buffer=4_096),
    "pipelined requests": Flood(2, b"GET /callbacks/x HTTP/1.1\r\nHost: a\r\n\r\n" * 1_000),
    "pipelined callbacks": Flood(2, (_CALLBACK + b"Content-Length: 2\r\n\r\n{}") * 200),
    "tiny chunks": Flood(4, b"1\r\nx\r\n" * 10_000, _CHUNKED),
    "chunk extensions": Flood(2, b"1;%b\r\nx\r\n" % (b"a" * 8_000) * 8, _CHUNKED),
    "readiness": Flood(20, b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"),
    "malformed requests": Flood(2, b"GET /healthz HTTP/1.1\r\nExpect: zzz\r\n\r\n"),
    "large headers": Flood(2, b"GET /healthz HTTP/1.1\r\n" + b"A: %b\r\n" % (b"a" * 8_000) * 20),
}


class Attacker:
    """Sends from one address until its time is over."""

    def __init__(self, address: str, target: tuple[str, int], until: float) -> None:
        self.opened = 0
        self._address = address
        self._target = target
        self._until = until

    def run(self, attack: Hold | Flood) -> None:
        """Run an attack to its end."""
        open_sockets: dict[int, socket.socket] = {}
        next_open = 0.0
        poll = select.poll()
        events = select.POLLIN if isinstance(attack, Hold) else select.POLLIN | select.POLLOUT
        unread = isinstance(attack, Hold) and attack.receive_buffer > 0
        next_drip = time.monotonic()
        while time.monotonic() < self._until:
            if len(open_sockets) < attack.count and time.monotonic() >= next_open and (client := self._open(attack)):
                next_open = time.monotonic() + _OPEN_INTERVAL_S
                open_sockets[client.fileno()] = client
                poll.register(client, 0 if unread else events)
            for descriptor, event in poll.poll(_OPEN_INTERVAL_S * 1_000):
                client = open_sockets[descriptor]
                if not _exchange(client, event, attack.data if isinstance(attack, Flood) else b""):
                    poll.unregister(client)
                    del open_sockets[descriptor]
                    client.close()
            if isinstance(attack, Hold) and attack.drip and time.monotonic() >= next_drip:
                next_drip = time.monotonic() + _DRIP_INTERVAL_S
                for client in open_sockets.values():
                    with suppress(OSError):
                        client.send(attack.drip)

    def _open(self, attack: Hold | Flood) -> socket.socket | None:
        client = socket.socket()
        if isinstance(attack, Hold) and attack.receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, attack.receive_buffer)
        try:
            client.bind((self._address, 0))
            client.settimeout(1.0)
            client.connect(self._target)
            client.sendall(attack.opening)
        except OSError:
            client.close()
            return None
        self.opened += 1
        client.setblocking(False)
        return client


def _exchange(client: socket.socket, event: int, data: bytes) -> bool:
    """Send and receive what is possible; return whether the connection is still open."""
    try:
        if event & select.POLLIN and not client.recv(_MIB):
            return False
        if event & select.POLLOUT:
            client.send(data)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return not event & (select.POLLERR | select.POLLHUP)


def list_addresses(own: str | None) -> Iterator[tuple[str, str]]:
    """Yield each attack with the address that it sends from: `own`, or another one for each attack."""
    for number, name in enumerate(ATTACKS):
        yield name, own or f"127.0.0.{number + 2}"


if __name__ == "__main__":
    attack_name, source, host, port, start, duration = sys.argv[1:]
    os.nice(_NICENESS)
    with suppress(OSError):  # where Linux groups processes by session, niceness counts only for the group
        Path("/proc/self/autogroup").write_text(str(_NICENESS))
    time.sleep(max(float(start) - time.monotonic(), 0.0))
    attacker = Attacker(source, (host, int(port)), float(start) + float(duration))
    attacker.run(ATTACKS[attack_name])
    sys.stdout.write(f"{attacker.opened}\n")
