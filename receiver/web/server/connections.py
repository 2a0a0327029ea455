"""All connections of one process, and the decision which of them are cut.

Only connections that wait for their client are ever cut: for the rest of a request, or until a response is read. A
complete request is never limited by the address that it came from, since a carrier or a router may be one address for
everybody.
"""

import time
from collections import Counter
from typing import Any

import structlog

from receiver.domain.addresses import find_caller, group_address, is_trusted
from receiver.domain.connections import ConnectionLimits
from receiver.web.server.connection import Connection
from receiver.web.server.deadlines import Phase, find_expiry
from receiver.web.server.errors import CutReason
from receiver.web.server.fairness import FairQueue
from receiver.web.server.memory import MemoryBudget
from receiver.web.server.waiting_connections import WaitingConnections

STOP_TIMEOUT_S = 5.0
"""Seconds that a stopping process waits for its clients."""
MALFORMED = "malformed"
"""The label of requests that are not framed as HTTP requires, or exceed the limits of their headers."""
REFUSALS = (MALFORMED, *(reason.value for reason in CutReason if reason is not CutReason.IDLE))
"""Why a request can be refused before the app handles it."""

_REPORT_INTERVAL_S = 10.0

_REFUSED_REMEDY = (
    "if genuine callers are among them, raise RECEIVER_MAX_INCOMPLETE or what else limits them: see docs/operations.md"
)
_log = structlog.get_logger(__name__)


class Connections:
    """The open connections of one process.

    Attributes:
        limits: the limits of the process.
        fair_queue: the connections that have run for too long.
        refusals: how many requests were refused, by `REFUSALS`.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.refusals: Counter[str] = Counter()
        self.fair_queue = FairQueue()
        self._waiting = WaitingConnections()
        self._memory = MemoryBudget(limits.max_unverified_bytes)
        self._stop_at: float | None = None
        self._reported: Counter[str] = Counter()
        self._report_at = 0.0

    @property
    def waiting(self) -> int:
        """The number of connections that wait for their client."""
        return len(self._waiting)

    @property
    def held_bytes(self) -> int:
        """The bytes that requests hold until they are answered."""
        return self._memory.held_bytes

    def open(self, client: Any, peer: str) -> Connection:
        """Create the connection of a socket; `peer` is the address at its other end, empty for a Unix socket."""
        is_exempt = not peer or is_trusted(peer, self.limits.trusted_proxies)
        return Connection(client, peer, None if is_exempt else group_address(peer), self)

    def is_proxied(self, connection: Connection) -> bool:
        """Return whether a connection is that of a trusted proxy."""
        return bool(self.limits.trusted_proxies) and is_trusted(connection.peer, self.limits.trusted_proxies)

    def find_forwarded_address(self, peer: str, forwarded: str) -> str | None:
        """Return the address that a request through a trusted proxy counts for; None if it is a proxy's own."""
        caller = find_caller(peer, forwarded, self.limits.trusted_proxies)
        return None if is_trusted(caller, self.limits.trusted_proxies) else group_address(caller)

    def begin_wait(self, connection: Connection) -> None:
        """Note that a connection waits for its client; cut the oldest of its address or of all if there are too many.

        A provider's request arrives at once, so that it is never the oldest for long: it is answered although somebody
        else, even at the same address, holds as many connections as are allowed.
        """
        address = connection.address
        self._waiting.add(connection, address)
        if address is not None and self._waiting.count(address) > self.limits.max_incomplete_per_address:
            self._cut(self._waiting.find_oldest(address), CutReason.TOO_MANY_FROM_ADDRESS)
        if len(self._waiting) > self.limits.max_incomplete:
            self._cut(self._waiting.find_oldest(), CutReason.TOO_MANY)

    def end_wait(self, connection: Connection) -> None:
        """Note that a connection does not wait for its client."""
        self._waiting.remove(connection)

    def hold(self, connection: Connection, size: int) -> None:
        """Count bytes that a request holds; if all hold too many, cut the oldest of those that hold more than a share.

        The shares of all connections that may wait make up the budget, so small requests need not be cut.
        """
        self._memory.take(connection, size)
        if connection.held_bytes > self.limits.max_request_bytes and connection.phase is not Phase.RESPONSE:
            self._cut(connection, CutReason.OUT_OF_MEMORY)
        if self._memory.is_exceeded:
            for other in self._waiting.list_all():
                if other.held_bytes > self.limits.fair_share_bytes:
                    self._cut(other, CutReason.OUT_OF_MEMORY)
                if not self._memory.is_exceeded:
                    break

    def release(self, connection: Connection) -> None:
        """Count everything that the request of a connection holds as free."""
        self._memory.release(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._waiting.remove(connection)
        self._memory.release(connection)

    def stop(self) -> None:
        """Wait for clients only a few seconds more.

        A request that is on its way on an idle connection is still answered, and its connection then closed.
        """
        self._stop_at = time.monotonic() + STOP_TIMEOUT_S

    def sweep(self) -> None:
        """Cut the connections that have waited too long; call this several times a second."""
        now = time.monotonic()
        for connection in self._waiting.list_all():
            if self._stop_at is not None and now >= self._stop_at:
                self._cut(connection, CutReason.STOPPING)
                continue
            waited = now - connection.since
            reason = find_expiry(self.limits, connection.phase, waited, connection.transferred)
            if reason is not None:
                self._cut(connection, reason)
        self._report(now)

    def _cut(self, connection: Connection, reason: CutReason) -> None:
        is_idle = connection.phase is Phase.IDLE
        self.remove(connection)
        connection.cut(reason)
        if not (is_idle and reason in {CutReason.IDLE, CutReason.STOPPING}):
            self.refusals[reason] += 1

    def _report(self, now: float) -> None:
        """Log at most one line per interval, whatever strangers do."""
        if now < self._report_at or self.refusals == self._reported:
            return
        refused = self.refusals - self._reported
        _log.warning("requests.refused", waiting=self.waiting, remedy=_REFUSED_REMEDY, **refused)
        self._reported = self.refusals.copy()
        self._report_at = now + _REPORT_INTERVAL_S
