"""How a recipe verifies signatures by public keys: plain ones of RSA, ECDSA and ed25519, and detached JWSs.

The keys come from a `KeySource`. Their checks have the same form as those by secrets, see `receiver.signatures.checks`.
"""

from abc import ABC, abstractmethod
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from receiver.signatures.base import InvalidSignature
from receiver.signatures.checks import (
    MAX_PUBLIC_KEY_VERIFICATIONS,
    NumberedCheck,
    SignatureCheck,
    check_signature_count,
)
from receiver.signatures.encodings import decode_signature
from receiver.signatures.jose import MAX_TOKEN_BYTES, decode_part, find_verify, parse_header
from receiver.signatures.key_sources import KeySource, NumberedKey
from receiver.signatures.public_keys import (
    ECDSA,
    RSA,
    VerificationKey,
    Verify,
    build_ecdsa_verify,
    build_rsa_verify,
    verify_ed25519,
)
from receiver.signatures.sources import VerificationContext


@dataclass(frozen=True, slots=True)
class PublicKeyChecks(ABC):
    """How signatures are verified by the public keys of a source."""

    key_source: KeySource

    def build_fixed_checks(self, encoding: str) -> Sequence[NumberedCheck]:
        """Return the check by each key, if the keys and the checks are the same for every callback; else none."""
        return ()

    @abstractmethod
    def build_checks(
        self, context: VerificationContext, documents: Mapping[str, bytes], signatures: Sequence[bytes], encoding: str
    ) -> Sequence[NumberedCheck]:
        """Return the check by each key that may have made one of the signatures.

        Raises:
            InvalidSignature: there is no such key, or there are too many keys and signatures.
        """


@dataclass(frozen=True, slots=True)
class PlainSignatures(PublicKeyChecks):
    """Signatures of the content itself.

    Args:
        kind: the type of the keys: `RSA`, `ECDSA` or `ED25519`.
        hash_name: the hash function; for ECDSA by default the one that belongs to the key's curve.
        padding: of RSA signatures: `pkcs1v15` or `pss`.
        signature_format: of ECDSA signatures: `der` or `raw`.
    """

    kind: str
    hash_name: str = ""
    padding: str = "pkcs1v15"
    signature_format: str = "der"
    _verify: Verify = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_verify", self._build_verify())

    def build_checks(
        self, context: VerificationContext, documents: Mapping[str, bytes], signatures: Sequence[bytes], encoding: str
    ) -> Sequence[NumberedCheck]:
        return self._build_checks(self.key_source.find_keys(context, documents, kind=self.kind), encoding)

    def build_fixed_checks(self, encoding: str) -> Sequence[NumberedCheck]:
        keys = [item for item in enumerate(self.key_source.fixed_keys) if item[1].kind == self.kind]
        return self._build_checks(keys, encoding)

    def _build_checks(self, keys: Sequence[NumberedKey], encoding: str) -> Sequence[NumberedCheck]:
        return [
            (index, self._build_check(key, encoding, MAX_PUBLIC_KEY_VERIFICATIONS // len(keys))) for index, key in keys
        ]

    def _build_verify(self) -> Verify:
        if self.kind == RSA:
            return build_rsa_verify(self.hash_name or "sha256", self.padding)
        if self.kind == ECDSA:
            return build_ecdsa_verify(self.hash_name, self.signature_format)
        return verify_ed25519

    def _build_check(self, key: VerificationKey, encoding: str, max_signatures: int) -> SignatureCheck:
        verify = self._verify

        def matches(content: bytes, signatures: Sequence[bytes]) -> bool:
            check_signature_count(signatures, max_signatures)
            for signature in signatures:
                decoded = decode_signature(signature, encoding)
                if decoded is not None and verify(key, decoded, content):
                    return True
            return False

        return matches


@dataclass(frozen=True, slots=True)
class DetachedSignatures(PublicKeyChecks):
    """Detached JWSs (RFC 7515, appendix F): `header..signature`, where the payload is the content.

    Args:
        algorithms: the algorithms that are accepted; empty for those that are usual for the type of a key.
    """

    algorithms: tuple[str, ...] = ()

    def build_checks(
        self, context: VerificationContext, documents: Mapping[str, bytes], signatures: Sequence[bytes], encoding: str
    ) -> Sequence[NumberedCheck]:
        checks: list[NumberedCheck] = []
        for signature in signatures:
            header = parse_header(_split_detached(signature)[0], allows_b64=True)
            if header.jwks_url and header.jwks_url != getattr(self.key_source, "url", header.jwks_url):
                raise InvalidSignature("jku", "The token names another JWKS than jwks_url.")
            for index, key in self.key_source.find_keys(context, documents, header.key_id):
                if verify := find_verify(header.algorithm, key, self.algorithms):
                    checks.append((index, _build_detached_check(key, verify, signature)))
        if not checks:
            raise InvalidSignature("alg", "The token's algorithm is not one of the provider's public keys.")
        if len(checks) > MAX_PUBLIC_KEY_VERIFICATIONS:
            raise InvalidSignature("signature", "There are too many signatures for the number of keys.")
        return checks


def _build_detached_check(key: VerificationKey, verify: Verify, token: bytes) -> SignatureCheck:
    encoded_header, encoded_signature = _split_detached(token)
    header = parse_header(encoded_header, allows_b64=True)
    signature = decode_part(encoded_signature, "signature")

    def matches(content: bytes, _: Sequence[bytes]) -> bool:
        payload = urlsafe_b64encode(content).rstrip(b"=") if header.b64 else content
        return verify(key, signature, b"%b.%b" % (encoded_header, payload))

    return matches


def _split_detached(token: bytes) -> tuple[bytes, bytes]:
    """Return the header and the signature of a detached JWS, both encoded.

    Raises:
        InvalidSignature: the token is too large, or is no detached JWS.
    """
    parts = token.split(b".") if len(token) <= MAX_TOKEN_BYTES else []
    if len(parts) != 3 or parts[1]:
        raise InvalidSignature("signature", "The signature is not a detached JWS: header, two dots, signature.")
    return parts[0], parts[2]
