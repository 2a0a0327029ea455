"""Where the public keys of a scheme come from: the configuration, a JWKS, or a certificate that each callback names.

A source does no I/O. It returns the URLs of the documents that it needs, which the caller fetches and passes in. A URL
that a callback names is checked strictly before it is returned: `https`, an allowed host, and neither user nor port.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from receiver.signatures.base import InvalidSignature
from receiver.signatures.public_keys import VerificationKey, parse_key_document
from receiver.signatures.sources import ValueSource, VerificationContext

MAX_KEYS = 16
"""Limit of keys that are tried for one signature, so that a large JWKS does not make verification expensive."""
_MAX_URL_CHARS = 2_000
# Only plainly written URLs, so that no two parsers can read another host from one.
_DOCUMENT_URL = re.compile(r"https://([a-z0-9-]+(?:\.[a-z0-9-]+)+)(/[A-Za-z0-9._~/%?&=+:,-]*)")
_DOT_SEGMENT = re.compile(r"/(\.|%2e){1,2}(/|\?|$)", re.IGNORECASE)

NumberedKey = tuple[int, VerificationKey]
"""A key with its index in its source."""


@dataclass(frozen=True, slots=True)
class KeySource(ABC):
    """The public keys of one provider.

    Args:
        key_id: the location of the key's id in a callback; None to try all keys.
    """

    key_id: ValueSource | None = None

    def find_documents(self, context: VerificationContext) -> Sequence[str]:
        """Return the URLs of the documents with the keys.

        Raises:
            InvalidSignature: the callback names a URL that may not be fetched.
        """
        return ()

    @property
    def fixed_keys(self) -> Sequence[VerificationKey]:
        """The keys, if they are the same for every callback at any time; else none."""
        return ()

    @abstractmethod
    def load_keys(self, context: VerificationContext, documents: Mapping[str, bytes]) -> Sequence[VerificationKey]:
        """Return all keys."""

    def find_keys(
        self, context: VerificationContext, documents: Mapping[str, bytes], key_id: str = "", kind: str = ""
    ) -> Sequence[NumberedKey]:
        """Return the keys that may have signed a callback, with their indexes.

        Args:
            context: the callback.
            documents: the documents by URL.
            key_id: the id that the signature itself names, if any. Keys without an id are tried in any case.
            kind: the type of the keys; "" for any.

        Raises:
            InvalidSignature: there is no such key, or its certificate is not valid at the time of receipt.
        """
        keys = list(enumerate(self.load_keys(context, documents)))
        if self.key_id is not None:
            key_id = self.key_id.read_required(context, "key_id").decode("latin-1")
            keys = [(index, key) for index, key in keys if key.key_id == key_id]
        elif key_id:
            keys = [(index, key) for index, key in keys if key.key_id in {"", key_id}]
        if kind and keys:
            keys = [(index, key) for index, key in keys if key.kind == kind]
            if not keys:
                raise InvalidSignature("keys", f"The provider has no public key for {kind}.")
        if not keys:
            raise InvalidSignature("key_id", "The provider has no public key with the id that the callback names.")
        now = context.callback.received_at.timestamp()
        valid = [(index, key) for index, key in keys if key.not_before <= now <= key.not_after]
        if not valid:
            raise InvalidSignature("certificate", _explain_validity(keys[0][1], now))
        return valid[:MAX_KEYS]


@dataclass(frozen=True, slots=True)
class ConfiguredKeys(KeySource):
    """Keys of the configuration."""

    keys: tuple[VerificationKey, ...] = ()

    @property
    def fixed_keys(self) -> Sequence[VerificationKey]:
        is_fixed = self.key_id is None and all(key.not_after == math.inf for key in self.keys)
        return self.keys if is_fixed else ()

    def load_keys(self, context: VerificationContext, documents: Mapping[str, bytes]) -> Sequence[VerificationKey]:
        return self.keys


@dataclass(frozen=True, slots=True)
class KeyDocument(KeySource):
    """The keys of a JWKS, or of a certificate, at a configured URL."""

    url: str = ""

    def find_documents(self, context: VerificationContext) -> Sequence[str]:
        return (self.url,)

    def load_keys(self, context: VerificationContext, documents: Mapping[str, bytes]) -> Sequence[VerificationKey]:
        return load_document(self.url, documents)


@dataclass(frozen=True, slots=True)
class NamedCertificate(KeySource):
    """The certificate whose URL is in each callback.

    Args:
        location: the location of the URL.
        allowed_hosts: the hosts from which it may be fetched; `*.NAME` stands for all names below NAME.
        path_prefix: what its path must begin with.
    """

    location: ValueSource | None = None
    allowed_hosts: tuple[str, ...] = ()
    path_prefix: str = "/"

    def find_documents(self, context: VerificationContext) -> Sequence[str]:
        if self.location is None:
            raise InvalidSignature("certificate_url", "The location of the certificate's URL is not configured.")
        url = self.location.read_required(context, "certificate_url").decode("latin-1")
        part = self.location.part("certificate_url")
        host = parse_document_host(url, part)
        if not any(_matches(host, pattern) for pattern in self.allowed_hosts):
            raise InvalidSignature(part, f"The host of the certificate's URL is not in allowed_hosts: {host}.")
        if not url.startswith(f"https://{host}{self.path_prefix}"):
            raise InvalidSignature(part, f"The path of the certificate's URL does not begin with {self.path_prefix}.")
        return (url,)

    def load_keys(self, context: VerificationContext, documents: Mapping[str, bytes]) -> Sequence[VerificationKey]:
        (url,) = self.find_documents(context)
        return load_certificate(url, documents)


def parse_document_host(url: str, part: str) -> str:
    """Return the host of a URL that a callback names.

    Args:
        url: the URL.
        part: the name of the part of the callback that it is in.

    Raises:
        InvalidSignature: the URL is not https, not plainly written, or has a user or a port.
    """
    match = _DOCUMENT_URL.fullmatch(url) if len(url) <= _MAX_URL_CHARS else None
    if match is None or _DOT_SEGMENT.search(url):
        raise InvalidSignature(
            part, "The certificate's URL is malformed: it must be plain https, without user or port."
        )
    return match[1]


def load_document(url: str, documents: Mapping[str, bytes]) -> Sequence[VerificationKey]:
    """Return the keys of a fetched document.

    Raises:
        InvalidSignature: it has not been fetched, or has no valid key.
    """
    document = documents.get(url)
    if document is None:
        raise InvalidSignature("keys", f"The public keys have not been fetched from {url}.")
    keys = parse_key_document(document)
    if not keys:
        raise InvalidSignature("keys", f"The document {url} is neither a JWKS with a public key nor a certificate.")
    return keys


def load_certificate(url: str, documents: Mapping[str, bytes]) -> Sequence[VerificationKey]:
    """Return the key of a fetched certificate that a callback names.

    Raises:
        InvalidSignature: it has not been fetched, or is no certificate: another document of an allowed host may have
            keys of anybody.
    """
    keys = load_document(url, documents)
    if keys[0].not_after == math.inf:
        raise InvalidSignature("keys", f"The document {url} is no certificate.")
    return keys


def _matches(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _explain_validity(key: VerificationKey, now: float) -> str:
    if now < key.not_before:
        return f"The certificate is not valid before {datetime.fromtimestamp(key.not_before, UTC):%Y-%m-%d}."
    return f"The certificate expired on {datetime.fromtimestamp(key.not_after, UTC):%Y-%m-%d}."
