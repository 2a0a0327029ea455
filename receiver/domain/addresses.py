"""Addresses of callers, and which of them count as one."""

from ipaddress import IPv6Address

_HOST_BITS = 64
"""RFC 4291 section 2.5.4: a host has all addresses of a /64, so they count as one."""


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
