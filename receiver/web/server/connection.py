"""The socket of one client: gunicorn reads requests from it and writes responses to it."""

import errno
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from receiver.web.server.deadlines import Phase
from receiver.web.server.errors import CutReason, RequestCut
from receiver.web.server.fairness import TimeSlice

if TYPE_CHECKING:
    from receiver.web.server.connections import Connections

_MAX_RECV_BYTES = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with a timeout of zero: the kernel drops what the client has not read instead of keeping it for minutes."""


class Connection:
    """A socket that knows what its client is waited for, and that can be cut while it waits.

    Attributes:
        phase: what the connection does now.
        since: when the phase began, by the monotonic clock. Several waits for one body are one phase.
        transferred: bytes received or sent since then.
        held_bytes: bytes of the current request that count in the memory budget.
        cut_reason: why the connection was cut, or None.
        slice: the time that the connection has run without waiting.
        has_received: whether anything was received since the last call of `begin_request`.
        is_discarding: whether what arrives is thrown away and needs no memory.
    """

    __slots__ = (
        "_address",
        "_connections",
        "_forwarded",
        "_socket",
        "_timed_phase",
        "cut_reason",
        "has_received",
        "held_bytes",
        "is_discarding",
        "peer",
        "phase",
        "since",
        "time_slice",
        "transferred",
    )

    def __init__(self, client: Any, peer: str, address: str | None, connections: "Connections") -> None:
        self._socket = client
        self._address = address
        self._connections = connections
        self._forwarded: str | None = None
        self._timed_phase = Phase.HANDLING
        self.time_slice = TimeSlice(connections.fair_queue)
        self.peer = peer
        self.phase = Phase.HANDLING
        self.since = 0.0
        self.transferred = 0
        self.held_bytes = 0
        self.cut_reason: CutReason | None = None
        self.has_received = False
        self.is_discarding = False

    def begin_request(self) -> None:
        """Wait for the next request from now on; the memory of the previous one is free."""
        self._connections.release(self)
        self._forwarded = None
        self.has_received = self.is_discarding = False
        self._timed_phase = Phase.HANDLING
        self._begin_wait(Phase.IDLE)

    def begin_handling(self, forwarded: str | None) -> None:
        """Note that a request's headers are complete; nothing is waited for until the app reads the body.

        Args:
            forwarded: `X-Forwarded-For` of a request that came through a trusted proxy.
        """
        self._forwarded = forwarded
        self._end_wait()

    def end_body(self) -> None:
        """Note that the app has what it wanted to read of the body."""
        if self.phase is Phase.BODY:
            self._end_wait()

    def recv(self, size: int) -> bytes:
        """Return what has arrived, at most `size` bytes; an empty result is the end of the stream.

        Raises:
            RequestCut: the connection was cut.
            OSError: the connection is broken.
        """
        self._raise_if_cut()
        if self.phase is Phase.HANDLING:
            self._begin_wait(Phase.BODY)
        self.time_slice.check()
        self._raise_if_cut()
        try:
            data: bytes = self._socket.recv(min(size, _MAX_RECV_BYTES))
        except OSError:
            self._raise_if_cut()
            raise
        self.has_received = True
        if data and self.phase is Phase.IDLE:
            self._start_phase(Phase.HEADERS)
        self.transferred += len(data)
        if not self.is_discarding:
            self._connections.hold(self, len(data))
        self._raise_if_cut()
        return data

    def sendall(self, data: bytes) -> None:
        """Send a part of a response; wait for the client only if the kernel's buffer is full.

        Raises:
            OSError: the connection is broken, or was cut because the client does not read.
        """
        sent = self._send_now(data)
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:])

    def send(self, data: bytes) -> int:
        """Send all data like `sendall`, and return its length; gunicorn sends `100 Continue` so."""
        self.sendall(data)
        return len(data)

    def send_if_possible(self, data: bytes) -> None:
        """Send as much of a refusal as the kernel takes at once."""
        with suppress(OSError):
            self._send_now(data)

    def cut(self, reason: CutReason) -> None:
        """End the wait for the client: the greenlet that waits gets an error. Nothing more is received."""
        self.cut_reason = reason
        with suppress(OSError):
            if self.phase is Phase.RESPONSE:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                self._socket.shutdown(socket.SHUT_RDWR)
            else:
                self._socket.shutdown(socket.SHUT_RD)

    def shutdown(self, how: int) -> None:
        """Shut down one or both directions."""
        self._socket.shutdown(how)

    def close(self) -> None:
        """Close the socket, and count neither the connection nor its memory any more."""
        self._connections.remove(self)
        with suppress(OSError):
            self._socket.close()

    @property
    def address(self) -> str | None:
        """The address that the current wait counts for, or None if it counts for none."""
        if self._forwarded is None:
            return self._address
        return self._connections.find_forwarded_address(self.peer, self._forwarded)

    def _send_now(self, data: bytes) -> int:
        try:
            sent: int = self._socket.send(data, 0, 0.0)  # gevent's own parameter: a timeout of 0 s
        except BlockingIOError:
            return 0
        return sent

    def _send_rest(self, rest: memoryview) -> None:
        if self.cut_reason is not None:
            raise BrokenPipeError(errno.EPIPE, "the connection was cut")
        self._begin_wait(Phase.RESPONSE)
        self._connections.hold(self, len(rest))
        try:
            while rest:
                sent = self._socket.send(rest)
                self.transferred += sent
                rest = rest[sent:]
        except OSError as error:
            # Whatever the error of a cut socket is, gunicorn need not log it.
            raise BrokenPipeError(errno.EPIPE, "the client does not read the response") from error
        finally:
            self._end_wait()

    def _begin_wait(self, phase: Phase) -> None:
        if self._timed_phase is not phase:
            self._start_phase(phase)
        self.phase = phase
        self._connections.begin_wait(self)

    def _end_wait(self) -> None:
        self.phase = Phase.HANDLING
        self._connections.end_wait(self)

    def _start_phase(self, phase: Phase) -> None:
        self.phase = self._timed_phase = phase
        self.since = time.monotonic()
        self.transferred = 0

    def _raise_if_cut(self) -> None:
        if self.cut_reason is not None:
            raise RequestCut(self.cut_reason)
