"""The interface of all authentication schemes, and the authentication settings of one provider.

A scheme checks the raw bytes of a callback. It does no I/O and reads no clock: public keys are passed in as documents,
and a signature's age is measured against the callback's receive time.
"""

import hmac
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, ip_address
from types import MappingProxyType

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.documents.encodings import CONTENT_ENCODING, decode_body
from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.errors import ReceiverError
from receiver.signatures.coverage import Coverage
from receiver.signatures.redaction import CREDENTIAL_HEADERS, Redactor

MAX_SIGNATURES = 16
"""Limit of signatures per callback, so that an unauthenticated sender cannot make us check hundreds of them."""
NO_DOCUMENTS: Mapping[str, bytes] = MappingProxyType({})


class InvalidSignature(ReceiverError):
    """A callback is not authentic.

    Args:
        part: the part of the callback that failed, for example a header's name.
        message: the reason, a sentence that contains neither a secret nor an expected signature.
    """

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


class InvalidSecret(ReceiverError):
    """A secret does not have the format that its scheme requires; the message never contains the secret."""


def fingerprint_secret(secret: str) -> str:
    """Return the first 8 hex digits of a secret's SHA-256, to identify the secret without showing it."""
    return sha256(secret.encode(errors="surrogateescape")).hexdigest()[:8]


def read_header(callback: IncomingCallback, name: str) -> str:
    """Return the value of a header; `name` is in lower case.

    Raises:
        InvalidSignature: the header is missing or empty.
    """
    value = callback.headers.get(name)
    if not value:
        raise InvalidSignature(name, f"The header {name} is missing.")
    return value


def format_age_error(age_s: float, tolerance_s: float) -> str:
    """Return the error message for a signature that was made outside the tolerance.

    Args:
        age_s: seconds from signing to receipt, negative if the callback was signed in the future.
        tolerance_s: seconds that are tolerated on either side.
    """
    when = f"{age_s:.0f} s ago" if age_s > 0 else f"{-age_s:.0f} s in the future"
    return f"Signed {when}; the tolerance is {tolerance_s:.0f} s."


class Scheme(ABC):
    """A scheme that authenticates the sender of a callback."""

    def find_documents(self, callback: IncomingCallback) -> Sequence[str]:
        """Return the URLs of the documents that are needed to verify a callback, such as a JWKS or a certificate.

        A callback may name such a URL. It is fetched before the callback is verified, so that what can be checked
        without the document is checked here.

        Raises:
            InvalidSignature: the callback names a URL that may not be fetched, or is not authentic in any case.
        """
        return ()

    @abstractmethod
    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        """Verify the raw callback, before its body is parsed, against its receive time.

        Args:
            callback: the callback as received.
            documents: the bodies of the documents that `find_documents` names, by URL.

        Returns:
            The index of the configured secret that matched.

        Raises:
            InvalidSignature: the authentication is missing, malformed, stale or wrong.
        """

    @property
    @abstractmethod
    def coverage(self) -> Coverage:
        """The parts of a callback that verification protects from changes."""

    @property
    def is_bearer(self) -> bool:
        """Whether the callback carries the secret itself, which proves the sender and signs nothing."""
        return False

    def with_body_kind(self, kind: str) -> "Scheme":
        """Return the scheme for bodies that are read as `kind`, whatever their media type; "" for none."""
        return self

    def normalize_body(self, callback: IncomingCallback) -> bytes:
        """Return the covered content of a verified callback's body: equal for bodies that have the same signature."""
        return callback.body

    def normalize_query(self, callback: IncomingCallback) -> bytes:
        """Return the covered content of a verified callback's query, as `normalize_body` does for the body."""
        return callback.query.encode(errors="surrogateescape")

    @property
    def uses_nonces(self) -> bool:
        """Whether `find_nonces` returns the nonces of callbacks."""
        return False

    def find_nonces(self, callback: IncomingCallback) -> Sequence[str]:
        """Return the signed values of a verified callback that the sender uses only once.

        None for a scheme that covers the body: there, a nonce cannot be combined with another body.
        """
        return ()

    @property
    def secret_headers(self) -> Sequence[str]:
        """The names, in lower case, of headers whose value is the secret itself."""
        return ()

    @property
    def secret_parameters(self) -> Sequence[str]:
        """The names of query parameters whose value is the secret itself."""
        return ()

    @property
    def secret_values(self) -> Sequence[str]:
        """The secrets as a callback carries them, if it carries the secret itself."""
        return ()

    @property
    def signature_headers(self) -> Sequence[str]:
        """The names, in lower case, of the headers that hold a signature, not the secret."""
        return ()

    def carries_signature(self, callback: IncomingCallback) -> bool:
        """Return whether a callback has a signature or a secret wherever this scheme expects one, right or wrong."""
        headers = (*self.signature_headers, *self.secret_headers)
        return (
            all(callback.headers.get(name) for name in headers)
            and all(f"{name}=" in callback.query for name in self.secret_parameters)
            and bool(headers or callback.body or callback.query)
        )

    def find_body_secrets(self, callback: IncomingCallback) -> Sequence[str]:
        """Return the values at the secret's place in the body, if `has_body_secret`."""
        return ()

    @property
    def has_body_secret(self) -> bool:
        """Whether the body contains the secret itself."""
        return False

    def message_id(self, callback: IncomingCallback) -> str:
        """Return the signed message id of a verified callback, or "" if the scheme has none."""
        return ""


class Trust(StrEnum):
    """Why a status in a verified callback is believed."""

    SIGNATURE = "signature"
    """Everything that decides about a job is covered by the signature. The default of schemes that sign."""
    SENDER = "sender"
    """The callback proves that its sender holds a secret. The default of schemes whose callbacks carry the secret."""
    CONFIRM = "confirm"
    """It is not believed: a final status only triggers a poll, and the poll decides."""


@dataclass(frozen=True, slots=True)
class CallbackAuth:
    """How the callbacks of one provider are authenticated.

    Args:
        scheme: None if the secret path segment of the URL is the only authentication.
        tokens: secret path segments that callback URLs end with. All of them are accepted; new URLs use the first.
        allow_from: networks that may call; empty for all.
        trust: why a status is believed; `SENDER` in place of `SIGNATURE` if nothing is signed.
        fingerprints: fingerprints of the scheme's secrets, in the order of the secrets.
        scheme_name: the name of the scheme in the settings.
        public_url: the whole callback URL as the provider knows it, without its query, if a proxy rewrites its path.
        other_secrets: where further secrets are, such as the verify token of a handshake: `header:NAME`, `query:NAME`.

    Raises:
        ValueError: there is neither a scheme nor a token.
    """

    scheme: Scheme | None
    tokens: tuple[str, ...] = field(default=(), repr=False)
    allow_from: tuple[IPv4Network | IPv6Network, ...] = ()
    trust: Trust = Trust.SIGNATURE
    fingerprints: tuple[str, ...] = ()
    scheme_name: str = field(default="", compare=False)
    other_secrets: tuple[str, ...] = ()
    public_url: str = ""
    redactor: Redactor = field(init=False, repr=False, compare=False)
    """Removes from callbacks what would let its reader forge another."""

    def __post_init__(self) -> None:
        if self.scheme is None and not self.tokens:
            raise ValueError("CallbackAuth requires a scheme or a token.")
        object.__setattr__(self, "redactor", self._build_redactor())
        if self.trust is Trust.SIGNATURE and self.coverage is None:
            object.__setattr__(self, "trust", Trust.SENDER)

    @property
    def coverage(self) -> Coverage | None:
        """What the signature covers; None if nothing is signed, because callbacks carry the secret itself."""
        return None if self.scheme is None or self.scheme.is_bearer else self.scheme.coverage

    def accepts_token(self, token: str) -> bool:
        """Return whether a callback URL may end with `token`, or with no token if it is "".

        All configured tokens are compared in constant time, so that the duration does not depend on which one matched.
        """
        if not self.tokens:
            return not token
        candidate = token.encode("utf-8", "surrogateescape")
        return sum([hmac.compare_digest(candidate, expected.encode()) for expected in self.tokens]) > 0

    def check_address(self, address: str) -> None:
        """Check that the caller's address is in one of the allowed networks.

        Raises:
            InvalidSignature: the address is unknown or in none of the networks.
        """
        if not self.allow_from:
            return
        try:
            caller = ip_address(address)
        except ValueError:
            raise InvalidSignature("address", "The caller's address is unknown.") from None
        # A dual-stack listener reports IPv4 callers as ::ffff:a.b.c.d.
        caller = getattr(caller, "ipv4_mapped", None) or caller
        if not any(caller in network for network in self.allow_from):
            raise InvalidSignature("address", f"{caller} is not in any network of allow_from.")

    def find_documents(self, callback: IncomingCallback) -> Sequence[str]:
        """Return the URLs of the documents that are needed to verify a callback, see `Scheme.find_documents`."""
        return self.scheme.find_documents(callback) if self.scheme else ()

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int | None:
        """Verify a callback as `Scheme.verify` does; return None if there is no scheme.

        A compressed body may be signed as it is, or as it was before.
        """
        if self.scheme is None:
            return None
        callback = self.restore_url(callback)
        try:
            return self.scheme.verify(callback, documents)
        except InvalidSignature:
            if CONTENT_ENCODING not in callback.headers:
                raise
        try:
            decoded = decode_body(callback)
        except UnreadableDocument as error:
            raise InvalidSignature(CONTENT_ENCODING, str(error)) from None
        return self.scheme.verify(decoded, documents)

    def restore_url(self, callback: IncomingCallback) -> IncomingCallback:
        """Return the callback as the provider sent it, to the public URL and with the query that reached us."""
        if not self.public_url:
            return callback
        scheme, _, rest = self.public_url.partition("://")
        host, _, path = rest.partition("/")
        mark = "?" if "?" in callback.target else ""
        return replace(callback, public_url=f"{scheme}://{host}", target=f"/{path}{mark}{callback.query}")

    def is_plausible(self, callback: IncomingCallback) -> bool:
        """Return whether a refused callback has what a genuine one has: the URL token, or any signature."""
        return self.scheme is None or bool(self.tokens) or self.scheme.carries_signature(callback)

    def redact(self, callback: IncomingCallback) -> IncomingCallback:
        """Return a callback without the secrets in it; the same object if it has none."""
        if not self.redactor.has_secrets and self.redactor.headers.isdisjoint(callback.headers):
            return callback
        return self.redactor.redact(callback)

    def _build_redactor(self) -> Redactor:
        tokens = {token: fingerprint_secret(token) for token in self.tokens}
        others = [place.partition(":") for place in self.other_secrets]
        headers = CREDENTIAL_HEADERS | {name for kind, _, name in others if kind == "header"}
        parameters = frozenset(name for kind, _, name in others if kind == "query")
        scheme = self.scheme
        if scheme is None:
            return Redactor(tokens, headers=headers, parameters=parameters)
        return Redactor(
            tokens,
            scheme.secret_values,
            (headers - {*scheme.signature_headers}) | {*scheme.secret_headers},
            parameters | {*scheme.secret_parameters},
            scheme.find_body_secrets if scheme.has_body_secret else None,
        )

    def find_message_id(self, callback: IncomingCallback) -> str:
        """Return the id that the signature covers, see `Scheme.message_id`; "" if there is none."""
        return self.scheme.message_id(self.restore_url(callback)) if self.scheme else ""

    def describe_trust(self) -> str:
        """Return a sentence about what a verified callback proves."""
        if self.trust is Trust.CONFIRM:
            return "A final status only triggers a poll, and the poll decides."
        if self.trust is Trust.SIGNATURE:
            return "The signature covers everything that decides about a job."
        if self.scheme is None or self.scheme.is_bearer:
            return "Nothing is signed: whoever knows the secret, which every callback carries, can send callbacks."
        if self.scheme.uses_nonces:
            return "The signature does not cover everything that decides; each nonce is accepted for one callback only."
        return "The signature does not cover everything that decides: whoever has seen a callback can send others."

    def with_body_kind(self, kind: str) -> "CallbackAuth":
        """Return the settings for bodies that are read as `kind`, see `Scheme.with_body_kind`."""
        return replace(self, scheme=self.scheme.with_body_kind(kind)) if self.scheme else self

    def find_nonces(self, callback: IncomingCallback) -> Sequence[str]:
        """Return the nonces of a verified callback that must not be used for another callback.

        None where the signature covers everything that decides: there, a callback that was sent before says the same.
        """
        if self.scheme is None or self.trust is Trust.SIGNATURE:
            return ()
        with suppress(InvalidSignature):  # a stored callback need not fit the present settings
            return self.scheme.find_nonces(self.restore_url(callback))
        return ()

    def find_content(self, callback: IncomingCallback) -> bytes:
        """Return what identifies the body of a verified callback or, if it has none, its query."""
        return self.normalize_body(callback) or self.normalize_query(callback)

    def normalize_body(self, callback: IncomingCallback) -> bytes:
        """Return what identifies the body of a verified callback: only what is signed, if that is all that decides."""
        if self.scheme is not None and self.trust is Trust.SIGNATURE:
            with suppress(InvalidSignature):
                return self.scheme.normalize_body(callback)
        return callback.body

    def normalize_query(self, callback: IncomingCallback) -> bytes:
        """Return what identifies the query of a verified callback, as `normalize_body` does for the body."""
        if self.scheme is not None and self.trust is Trust.SIGNATURE:
            with suppress(InvalidSignature):
                return self.scheme.normalize_query(callback)
        return callback.query.encode(errors="surrogateescape")
