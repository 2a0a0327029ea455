"""The address of a caller, behind trusted proxies or not, and which addresses count as one."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

_HOST_BITS = 64
"""RFC 4291 section 2.5.4: a host has all addresses of a /64, so they count as one."""


def find_caller(peer: str, forwarded: str, trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """Return the address of the caller: the nearest hop that is not a trusted proxy.

    `X-Forwarded-For` is read from its end, and only as far as trusted proxies wrote it: what stands before may be
    forged by the caller.
    """
    if not trusted:
        return peer
    hops: list[str] = [peer, *(hop.strip() for hop in reversed(forwarded.split(",")) if hop.strip())]
    for hop in hops:
        try:
            address = ip_address(hop)
        except ValueError:
            return hop
        if not any(address in network for network in trusted):
            return hop
    return hops[-1]


def is_trusted(peer: str, trusted: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Return whether a peer is a trusted proxy."""
    if not trusted:
        return False
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in trusted)


def group_address(address: str) -> str:
    """Return an IPv4 address as it is, and of an IPv6 address its network of /64; anything else as it is."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> _HOST_BITS << _HOST_BITS)}/{_HOST_BITS}"
