"""Where clients may have us call: which URLs, and which addresses their hosts may turn out to have.

A URL is read strictly, so that what is checked here and what is connected to later cannot be two different hosts. A
name says nothing about the address behind it: `TargetRules.admits` is asked again of every address that is resolved.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from receiver.domain.errors import ReceiverError

MAX_URL_LENGTH = 2_000
_VISIBLE = re.compile(r"[!-~]+")
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_LONGEST_NAME = 253
_OWN_PORTS = {"http": 80, "https": 443}
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_RELAYS = IPv4Network("192.88.99.0/24")
_NAT64 = IPv6Network("64:ff9b::/96")

Address = IPv4Address | IPv6Address


class TargetRefused(ReceiverError):
    """A URL may not be called; the message says why, and which setting would let it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be called: `host` is a name in lower case without a final dot, or an address without brackets."""

    scheme: str
    host: str
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class TargetRules:
    """What may be called.

    Args:
        hosts: as `normalize_host_pattern` gives them.
        networks: those whose addresses may be called though they are not public.
    """

    hosts: Sequence[str]
    networks: Sequence[IPv4Network | IPv6Network] = ()

    def read(self, url: str) -> Target:
        """Give what a URL leads to.

        Raises:
            TargetRefused: it is no URL that may be called.
        """
        if len(url) > MAX_URL_LENGTH or not _VISIBLE.fullmatch(url):
            raise TargetRefused(f"must be a URL of visible ASCII characters, at most {MAX_URL_LENGTH:,}")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise TargetRefused("must be a URL such as https://shop.example/told") from None
        if parts.scheme not in self._schemes:
            raise TargetRefused(
                "must begin with https://; http:// may be used only within the networks of RECEIVER_NOTIFY_NETWORKS"
            )
        if "@" in parts.netloc or "#" in url:
            raise TargetRefused("must not contain a user or a fragment")
        if port == 0 or parts.path.startswith("//"):
            raise TargetRefused("must be a URL such as https://shop.example/told, without // in its path's beginning")
        query = f"?{parts.query}" if parts.query else ""
        host = self._host(parts.scheme, parts.hostname or "")
        return Target(parts.scheme, host, port or _OWN_PORTS[parts.scheme], f"{parts.path or '/'}{query}")

    def admits(self, scheme: str, address: str) -> bool:
        """Whether an IP address may be called: it is in one of `networks`, or public and not called by plain http."""
        try:
            found = _innermost(ip_address(address))
        except ValueError:
            return False
        return any(found in network for network in self.networks) or (scheme == "https" and _is_public(found))

    @property
    def pattern(self) -> str:
        """A regular expression (ECMA 262) of URLs that may be called, written plainly."""
        origins = "|".join(
            f"{scheme}://{_as_pattern(host)}"
            for scheme in self._schemes
            for host in self.hosts
            if not _is_address(host) or self.admits(scheme, host)
        )
        path = r"/([!-\x22$-.0-~][!-\x22$-~]*)?"
        return rf"^({origins})(:[1-9][0-9]{{0,3}})?({path})?$"

    @property
    def _schemes(self) -> Sequence[str]:
        return ("http", "https") if self.networks else ("https",)

    def _host(self, scheme: str, given: str) -> str:
        try:
            host = normalize_host(given)
        except ValueError:
            raise TargetRefused("must name a host, such as https://shop.example/told") from None
        if not any(_fits(host, pattern) for pattern in self.hosts):
            raise TargetRefused(f"the host {host} may not be called; list it in RECEIVER_NOTIFY_HOSTS")
        if _is_address(host) and not self.admits(scheme, host):
            raise TargetRefused(explain_refused_addresses(scheme, host))
        return host


def explain_refused_addresses(scheme: str, *addresses: str) -> str:
    """Say that these addresses may not be called, and what would let them."""
    why = "not public" if scheme == "https" else "called by plain http"
    return f"{', '.join(addresses)}: {why}; list its network in RECEIVER_NOTIFY_NETWORKS to allow it"


def normalize_host(text: str) -> str:
    """Give the canonical form of a host's name or IP address: in lower case, without brackets or a final dot.

    Raises:
        ValueError: it is neither.
    """
    if _is_address(inner := text.removeprefix("[").removesuffix("]")):
        return str(ip_address(inner))
    name = text.lower().removesuffix(".")
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError("is not the name of a host")
    return name


def normalize_host_pattern(text: str) -> str:
    """Give the canonical form of a host, or of ``*.NAME``, which stands for all names below one.

    Raises:
        ValueError: it is neither.
    """
    if not text.startswith("*."):
        return normalize_host(text)
    if _is_address(below := normalize_host(text[2:])):
        raise ValueError("nothing is below an address")
    return f"*.{below}"


def _as_pattern(host: str) -> str:
    escaped = re.escape(f"[{host}]" if ":" in host else host).replace(r"\-", "-")
    return escaped.replace(r"\*", r"[a-z0-9]{1,63}(\.[a-z0-9]{1,63})?") if host.startswith("*.") else escaped


def _fits(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and not _is_address(host)
    return host == pattern


def _is_address(text: str) -> bool:
    try:
        return "%" not in text and bool(ip_address(text))
    except ValueError:
        return False


def _innermost(address: Address) -> Address:
    """Give the IPv4 address that is reached by way of an IPv6 one: mapped, 6to4 (RFC 3056) or NAT64 (RFC 6052)."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return address in _GLOBAL_UNICAST if isinstance(address, IPv6Address) else address not in _RELAYS
