"""How exchanges leave this machine: through which proxy, with which certificates, and under which name."""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from receiver.domain.targets import normalize_host

PRODUCT = f"callback-receiver/{version('callback-receiver')}"
"""The product and its version, as in `User-Agent`."""
PROXY_FORM = "http://[USER:PASSWORD@]HOST[:PORT]"
_DEFAULT_PROXY_PORT = 80
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SEPARATORS = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A forward proxy; `credentials` are USER:PASSWORD or empty."""

    host: str
    port: int
    credentials: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the URL of a proxy, or HOST:PORT.

        Raises:
            ValueError: the text is neither, or the proxy is not spoken to by plain HTTP, as one of SOCKS or HTTPS.
        """
        url = urlsplit(text if "://" in text else f"http://{text}")
        if url.scheme != "http" or url.path not in {"", "/"} or url.query or url.fragment or url.port == 0:
            raise ValueError(f"not {PROXY_FORM}")
        user, _, password = url.netloc.rpartition("@")[0].partition(":")
        credentials = f"{unquote(user)}:{unquote(password)}" if user or password else ""
        return cls(normalize_host(url.hostname or ""), url.port or _DEFAULT_PROXY_PORT, credentials)

    def __str__(self) -> str:
        """Return the URL of the proxy without its credentials."""
        return f"http://{format_authority(self.host, self.port)}"

    @property
    def authorization(self) -> str:
        """The value of `Proxy-Authorization`; "" without credentials."""
        return f"Basic {b64encode(self.credentials.encode()).decode()}" if self.credentials else ""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of a TLS client, in PEM format; None for what is not set.

    Args:
        ca_file: the certificates of the authorities that are trusted in place of the system's.
        cert_file: our certificate, with the intermediate ones.
        key_file: the key of our certificate; None if `cert_file` contains it.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Egress:
    """How exchanges with a provider leave this machine.

    Args:
        user_agent: the value of `User-Agent`.
        proxy: the proxy that is used; None for none.
        proxy_from_environment: whether the proxy is the one that the environment names for the provider, if any.
        token_proxy: the proxy that the environment names for the provider's token endpoint, if any.
        tls: the certificates.
    """

    user_agent: str = PRODUCT
    proxy: Proxy | None = None
    proxy_from_environment: bool = True
    token_proxy: Proxy | None = None
    tls: TlsFiles = field(default_factory=TlsFiles)

    def for_token_endpoint(self) -> "Egress":
        """Return how the provider's token endpoint is reached, for which the environment may name another proxy."""
        return replace(self, proxy=self.token_proxy) if self.proxy_from_environment else self

    def for_other_hosts(self) -> "Egress":
        """Return how hosts are reached that are not the provider's API, such as those of its key documents.

        The proxy is used only if it is configured for the provider: the environment's variables are meant for the
        provider's API, and the rules for addresses do not hold behind a proxy. The certificates are the system's.
        """
        return replace(self, proxy=None if self.proxy_from_environment else self.proxy, tls=TlsFiles())


def format_authority(host: str, port: int) -> str:
    """Return HOST:PORT, with the brackets of an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def find_environment_proxy(environ: Mapping[str, str], origin: str) -> Proxy | None:
    """Return the proxy that the usual environment variables name for an origin, as curl and urllib read them.

    These are `http_proxy` or `https_proxy`, then `all_proxy`; of each, the spelling in lower case comes first. The
    hosts in `no_proxy` and this machine itself are reached directly.

    Raises:
        ValueError: a variable that applies does not name a proxy that can be used; the message names it.
    """
    url = urlsplit(origin)
    host, port = url.hostname or "", url.port or _DEFAULT_PORTS[url.scheme]
    names = (f"{url.scheme}_proxy", f"{url.scheme}_proxy".upper(), "all_proxy", "ALL_PROXY")
    name = next((name for name in names if environ.get(name)), None)
    if name is None or _is_loopback(host) or _bypasses(environ, host, port):
        return None
    try:
        return Proxy.parse(environ[name])
    except ValueError:
        raise ValueError(
            f"{name} must be {PROXY_FORM}. To use no proxy, add {host} to NO_PROXY, or set proxy of the provider."
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _bypasses(environ: Mapping[str, str], host: str, port: int) -> bool:
    """Return whether `no_proxy` contains a host: its name, a parent of it, its address or network, each with a port."""
    entries = _SEPARATORS.split((environ.get("no_proxy") or environ.get("NO_PROXY") or "").lower())
    return any(_matches(entry, host, port) for entry in entries if entry)


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry.removeprefix("[").removesuffix("]"), strict=False)
    except ValueError:
        pass
    name, colon, number = entry.rpartition(":")
    if colon and number.isdecimal():
        if int(number) != port:
            return False
        entry = name.removeprefix("[").removesuffix("]")
    parent = entry.removeprefix("*").removeprefix(".")
    return host == parent or host.endswith(f".{parent}")
