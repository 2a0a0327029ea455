"""The connections that wait for their client, in the order in which they began to wait, in all and by address."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from receiver.web.server.connection import Connection


class WaitingConnections:
    """Finds the connection that has waited longest, in all or of one address; some have no address."""

    def __init__(self) -> None:
        self._waiting: dict[Connection, str | None] = {}
        self._by_address: dict[str, dict[Connection, None]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, connection: "Connection", address: str | None) -> None:
        """Add a connection that begins to wait for its client."""
        self._waiting[connection] = address
        if address is not None:
            group = self._by_address.get(address)
            if group is None:
                group = self._by_address[address] = {}
            group[connection] = None

    def remove(self, connection: "Connection") -> None:
        """Remove a connection, if it is there."""
        address = self._waiting.pop(connection, None)
        if address is not None:
            group = self._by_address[address]
            del group[connection]
            if not group:
                del self._by_address[address]

    def count(self, address: str) -> int:
        """Return how many connections of an address wait."""
        return len(self._by_address.get(address, ()))

    def find_oldest(self, address: str | None = None) -> "Connection":
        """Return the connection that has waited longest; there must be one."""
        return next(iter(self._waiting if address is None else self._by_address[address]))

    def list_all(self) -> "list[Connection]":
        """Return all connections, those that have waited longest first."""
        return list(self._waiting)
