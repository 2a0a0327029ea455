"""What every way to prove a callback's sender has in common. Nothing here does I/O or reads a clock."""

import hmac
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, ip_address
from types import MappingProxyType
from typing import ClassVar

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.errors import ReceiverError

MAX_SIGNATURES = 16
"""How many signatures of one delivery are looked at: a stranger may not have us check hundreds."""
NO_DOCUMENTS: Mapping[str, bytes] = MappingProxyType({})


class SignatureRefused(ReceiverError):
    """The callback does not prove its sender; `part` names the piece of the recipe that failed."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


class InvalidSecret(ReceiverError):
    """A secret is not of its scheme's form; the message never contains the secret."""


def fingerprint_secret(secret: str) -> str:
    """Name a secret by the first digits of its SHA-256."""
    return sha256(secret.encode(errors="surrogateescape")).hexdigest()[:8]


class Scheme(ABC):
    """A way to prove who sent a callback."""

    documents: ClassVar[Sequence[str]] = ()
    """URLs of the documents, such as a JWKS, without which it cannot verify."""

    @abstractmethod
    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        """Check the raw delivery, before anything parses it, by its receive time.

        Args:
            callback: as it came.
            documents: the bodies of `documents`, by URL.

        Returns:
            Which of the configured secrets matched.

        Raises:
            SignatureRefused: it does not prove its sender, or is malformed in whatever way.
        """

    @property
    def covers_query(self) -> bool:
        """Whether a change of the URL's query would be noticed."""
        return False

    def covers(self, kind: str, name: str) -> bool:
        """Whether a change of the `header` or the parameter of the `query` called `name` would be noticed."""
        return kind == "query" and self.covers_query

    @property
    def signed_items(self) -> str:
        """The JMESPath of the items of a body, if each is signed by itself; else ""."""
        return ""

    @property
    def secret_headers(self) -> Sequence[str]:
        """The headers, in lower case, whose value is the secret itself."""
        return ()

    @property
    def secret_parameters(self) -> Sequence[str]:
        """The names of query parameters that are a secret themselves, not a proof of it."""
        return ()

    def message_id(self, callback: IncomingCallback) -> str:
        """Give the id of a verified callback that the signature covers, or "" where the scheme has none."""
        return ""


class Trust(StrEnum):
    """What a verified callback's final word is worth."""

    WORD = "word"
    CONFIRM = "confirm"


@dataclass(frozen=True, slots=True)
class CallbackAuth:
    """All that stands between a stranger and a job.

    Args:
        scheme: None where the unguessable URL is all there is.
        tokens: the path segment that callback URLs end with; any of them is let in, the first is handed out.
        allow_from: the only networks that may call, or none for all.
        trust: whether a final word is taken, or only makes us ask.
        fingerprints: of the scheme's secrets, in their order; they name a secret without telling it.
        named: what the scheme is called in the settings.
    """

    scheme: Scheme | None
    tokens: tuple[str, ...] = field(default=(), repr=False)
    allow_from: tuple[IPv4Network | IPv6Network, ...] = ()
    trust: Trust = Trust.WORD
    fingerprints: tuple[str, ...] = ()
    named: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.scheme is None and not self.tokens:
            raise ValueError("a guard needs a scheme or a token")

    def admits(self, token: str) -> bool:
        """Whether a callback URL that ends with `token` ("" for none) is ours; compared in constant time."""
        if not self.tokens:
            return not token
        given = token.encode("utf-8", "surrogateescape")
        return sum([hmac.compare_digest(given, ours.encode()) for ours in self.tokens]) > 0

    def check_address(self, address: str) -> None:
        """Refuse a caller from elsewhere.

        Raises:
            SignatureRefused: its address is in none of the networks.
        """
        if not self.allow_from:
            return
        try:
            caller = ip_address(address)
        except ValueError:
            raise SignatureRefused("address", "the caller's address is not known") from None
        caller = getattr(caller, "ipv4_mapped", None) or caller
        if not any(caller in network for network in self.allow_from):
            raise SignatureRefused("address", f"{caller} is in none of the networks of allow_from")

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int | None:
        """See `Scheme.verify`; None where there is no scheme."""
        return self.scheme.verify(callback, documents) if self.scheme else None
