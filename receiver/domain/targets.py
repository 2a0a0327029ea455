"""The rules for URLs that clients choose: which URLs may be called, and which addresses their hosts may resolve to.

A URL is parsed strictly, so that the host that is checked here is the host that is connected to later. A name says
nothing about its addresses: `TargetRules.allows_address` checks every address that it resolves to.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from receiver.domain.errors import ReceiverError

MAX_URL_LENGTH = 2_000
_VISIBLE_ASCII = re.compile(r"[!-~]+")
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_MAX_NAME_LENGTH, _MAX_LABEL_LENGTH = 253, 63
_PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_6TO4_RELAYS = IPv4Network("192.88.99.0/24")
_NAT64 = IPv6Network("64:ff9b::/96")

Address = IPv4Address | IPv6Address


class TargetNotAllowed(ReceiverError):
    """A URL may not be called; the message names the reason and the setting that would allow it."""


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a URL that may be called.

    `host` is a name in lower case without a final dot, or an IP address without brackets; `path` includes the query.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """Scheme, host and port of the URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TargetRules:
    """The hosts and addresses that may be called.

    Args:
        hosts: as `normalize_host_pattern` returns them.
        networks: addresses in these networks may be called even if they are not public, and by plain http.
    """

    hosts: Sequence[str]
    networks: Sequence[IPv4Network | IPv6Network] = ()

    def parse(self, url: str) -> Target:
        """Parse a URL and check it against the rules.

        Raises:
            TargetNotAllowed: the URL is malformed or may not be called.
        """
        if len(url) > MAX_URL_LENGTH or not _VISIBLE_ASCII.fullmatch(url):
            raise TargetNotAllowed(f"Must be a URL of visible ASCII characters, at most {MAX_URL_LENGTH:,} characters.")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise TargetNotAllowed("Must be a URL such as https://shop.example/webhook.") from None
        if parts.scheme not in self._schemes:
            raise TargetNotAllowed(
                "Must begin with https://; http:// is allowed only for addresses in RECEIVER_NOTIFY_NETWORKS."
            )
        if "@" in parts.netloc or "#" in url:
            raise TargetNotAllowed("Must not contain a user or a fragment.")
        if port == 0 or parts.path.startswith("//"):
            raise TargetNotAllowed(
                "Must be a URL such as https://shop.example/webhook, with a port from 1 to 65535 and a path that does "
                "not begin with //."
            )
        query = f"?{parts.query}" if parts.query else ""
        host = self._check_host(parts.scheme, parts.hostname or "")
        return Target(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], f"{parts.path or '/'}{query}")

    def allows_address(self, scheme: str, address: str) -> bool:
        """Return whether an IP address may be called: it is in one of `networks`, or public and called by https."""
        try:
            target = _unwrap_ipv4(ip_address(address))
        except ValueError:
            return False
        return any(target in network for network in self.networks) or (scheme == "https" and _is_public(target))

    @property
    def pattern(self) -> str:
        """A regular expression (ECMA 262) of plainly written URLs that may be called."""
        origins = "|".join(
            f"{scheme}://{_build_host_regex(host)}"
            for scheme in self._schemes
            for host in self.hosts
            if not _is_address(host) or self.allows_address(scheme, host)
        )
        path = r"/([!-\x22$-.0-~][!-\x22$-~]*)?|\?[!-\x22$-~]*"
        return rf"^({origins})(:({_PORT}))?({path})?$"

    @property
    def _schemes(self) -> Sequence[str]:
        return ("http", "https") if self.networks else ("https",)

    def _check_host(self, scheme: str, text: str) -> str:
        """Return a host's canonical form if it may be called."""
        try:
            host = normalize_host(text)
        except ValueError:
            raise TargetNotAllowed("Must name a host, such as https://shop.example/webhook.") from None
        if not any(_matches(host, pattern) for pattern in self.hosts):
            raise TargetNotAllowed(f"The host {host} is not allowed. Add it to RECEIVER_NOTIFY_HOSTS.")
        if _is_address(host) and not self.allows_address(scheme, host):
            raise TargetNotAllowed(explain_refused_addresses(scheme, host))
        return host


def explain_refused_addresses(scheme: str, *addresses: str) -> str:
    """Return why these addresses may not be called, and which setting would allow them."""
    reason = "not a public address" if scheme == "https" else "not allowed by plain http"
    return f"{', '.join(addresses)}: {reason}. Add its network to RECEIVER_NOTIFY_NETWORKS."


def normalize_host(text: str) -> str:
    """Return the canonical form of a host name or IP address: lower case, no brackets, no final dot.

    Raises:
        ValueError: the text is neither.
    """
    if _is_address(address := text.removeprefix("[").removesuffix("]")):
        return str(ip_address(address))
    name = text.lower().removesuffix(".")
    if len(name) > _MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise ValueError("not a valid host name")
    return name


def normalize_host_pattern(text: str) -> str:
    """Return the canonical form of a host, or of ``*.NAME``, which matches all names below NAME.

    Raises:
        ValueError: the text is neither.
    """
    if not text.startswith("*."):
        return normalize_host(text)
    if _is_address(parent := normalize_host(text[2:])):
        raise ValueError("an IP address has no subdomains")
    return f"*.{parent}"


def _build_host_regex(host: str) -> str:
    """Build a regular expression of a host; of names below a name, so many labels that no name becomes too long."""
    parent = host.removeprefix("*.")
    escaped = re.escape(f"[{parent}]" if ":" in parent else parent).replace(r"\-", "-")
    if parent == host:
        return escaped
    max_count = max(1, (_MAX_NAME_LENGTH - len(parent)) // (_MAX_LABEL_LENGTH + 1))
    return rf"({_LABEL}\.){{1,{max_count}}}{escaped}"


def _matches(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and not _is_address(host)
    return host == pattern


def _is_address(text: str) -> bool:
    try:
        return "%" not in text and bool(ip_address(text))
    except ValueError:
        return False


def _unwrap_ipv4(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to: mapped, 6to4 (RFC 3056) or NAT64 (RFC 6052)."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return address in _GLOBAL_UNICAST if isinstance(address, IPv6Address) else address not in _6TO4_RELAYS
