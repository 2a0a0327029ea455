"""The bytes that requests hold in memory until they are answered."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from receiver.web.server.connection import Connection


class MemoryBudget:
    """Counts what the requests of one process hold."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.held_bytes = 0

    @property
    def is_exceeded(self) -> bool:
        """Whether requests hold more than the budget."""
        return self.held_bytes > self._max_bytes

    def take(self, connection: "Connection", size: int) -> None:
        """Count bytes that a request has begun to hold."""
        connection.held_bytes += size
        self.held_bytes += size

    def release(self, connection: "Connection") -> None:
        """Count everything that a request holds as free."""
        self.held_bytes -= connection.held_bytes
        connection.held_bytes = 0
