"""The limits of connections on which a complete request has not arrived, or whose client does not read the response."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

MIN_BUDGET_BODIES = 32
"""The memory budget must have room for so many bodies of the maximum size."""

_BUDGET_SHARE = 4


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The limits of one web process.

    Attributes:
        idle_timeout: seconds for which a connection may stay open between two requests.
        header_timeout: seconds within which request line and headers must arrive.
        body_timeout: seconds within which a body must arrive.
        response_timeout: seconds within which the client must read a response.
        min_rate: bytes per second that a body or a response must reach on average from a third of its timeout on.
        max_unverified_bytes: bytes that all requests may hold in memory until they are answered.
        max_incomplete: connections that may wait for their client at the same time.
        max_incomplete_per_address: those of them that may come from one address, or from one IPv6 network of /64.
        trusted_proxies: networks of proxies, whose requests are counted by the address in `X-Forwarded-For`.
    """

    idle_timeout: float = 5.0
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    response_timeout: float = 30.0
    min_rate: int = 1_000
    max_unverified_bytes: int = 64 << 20
    max_incomplete: int = 2_000
    max_incomplete_per_address: int = 500
    trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()

    @property
    def fair_share_bytes(self) -> int:
        """The bytes that each of the connections that may wait could hold at the same time."""
        return self.max_unverified_bytes // self.max_incomplete

    @property
    def max_request_bytes(self) -> int:
        """The bytes that one request may hold: at least eight bodies of the maximum size, as a batch may be four."""
        return self.max_unverified_bytes // _BUDGET_SHARE
