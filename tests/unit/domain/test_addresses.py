"""The address that a caller counts for."""

from ipaddress import ip_network

import pytest

from receiver.domain.addresses import find_caller, group_address, is_trusted

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("not an address:", "not an address:"),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::1%", "fe80::/64"),
    ],
)
def test_address_counts_alone_or_as_its_network(address: str, expected: str) -> None:
    assert group_address(address) == expected


def test_ipv6_network_counts_as_one() -> None:
    assert group_address("2001:db8::1") == group_address("2001:db8::ffff:1:2:3")
    assert group_address("2001:db8::1") != group_address("2001:db8:0:1::1")


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.1, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "unknown"),
    ],
)
def test_caller_is_nearest_hop_without_trust(peer: str, forwarded: str, expected: str) -> None:
    assert find_caller(peer, forwarded, TRUSTED) == expected


def test_trusted_peer() -> None:
    assert is_trusted("10.1.2.3", TRUSTED)
    assert is_trusted("2001:db8:ffff::1", TRUSTED)
    assert not is_trusted("203.0.113.7", TRUSTED)
    assert not is_trusted("unknown", TRUSTED)
    assert not is_trusted("10.1.2.3", ())
