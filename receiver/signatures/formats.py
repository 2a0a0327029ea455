"""How signatures are written at their location: alone, in a list, or among key=value pairs, in one or several sets."""

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from receiver.signatures.base import MAX_SIGNATURES, InvalidSignature
from receiver.signatures.encodings import normalize_signature
from receiver.signatures.sources import ValueSource, VerificationContext

FORMATS = ("raw", "pairs", "list")
_MAX_SETS = 4
"""Limit of sets per callback: each set may have a content of its own, which is hashed."""
_NO_PAIRS: Mapping[bytes, list[bytes]] = MappingProxyType({})


class SignatureSet(NamedTuple):
    """Signatures of the same content, with the key=value pairs that stand beside them."""

    signatures: Sequence[bytes]
    pairs: Mapping[bytes, list[bytes]] = _NO_PAIRS


@dataclass(frozen=True, slots=True)
class SignatureFormat:
    """The text at the location of the signature; see `receiver.signatures.recipe.Recipe` for the arguments.

    `encoding` is "" for a secret, which is compared as it is.
    """

    format: str = "raw"
    prefix: str = ""
    separator: str = ""
    set_separator: str = ""
    pair: str = ""
    encoding: str = ""
    is_prefix_case_insensitive: bool = False
    _prefix: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        prefix = self.prefix.encode()
        object.__setattr__(self, "_prefix", prefix.lower() if self.is_prefix_case_insensitive else prefix)

    def split(self, value: bytes, source: ValueSource) -> Sequence[SignatureSet]:
        """Return the signatures in a value, each in the one spelling of its encoding.

        Raises:
            InvalidSignature: the value is malformed, or has too many signatures.
        """
        if self.format == "raw":
            if not self._has_prefix(value):
                raise build_malformed_error(source, f"it does not start with {self.prefix}")
            return (self._build_set((value[len(self._prefix) :],)),)
        sets = [self._split_list(value, source)] if self.format == "list" else self._split_sets(value, source)
        if sum([len(signature_set.signatures) for signature_set in sets]) > MAX_SIGNATURES:
            raise build_malformed_error(source, f"it has more than {MAX_SIGNATURES} signatures")
        return sets

    def _has_prefix(self, text: bytes) -> bool:
        if self.is_prefix_case_insensitive:
            return text[: len(self._prefix)].lower() == self._prefix
        return text.startswith(self._prefix)

    def _build_set(self, signatures: Sequence[bytes], pairs: Mapping[bytes, list[bytes]] = _NO_PAIRS) -> SignatureSet:
        if self.encoding:
            signatures = [normalize_signature(signature, self.encoding) for signature in signatures]
        return SignatureSet(signatures, pairs)

    def _split_list(self, value: bytes, source: ValueSource) -> SignatureSet:
        entries = [entry.strip(b" \t") for entry in value.split((self.separator or " ").encode())]
        signatures = [entry[len(self._prefix) :] for entry in entries if entry and self._has_prefix(entry)]
        if not signatures:
            raise build_malformed_error(source, f"it has no signature that starts with {self.prefix}")
        return self._build_set(signatures)

    def _split_sets(self, value: bytes, source: ValueSource) -> list[SignatureSet]:
        """Return the sets of pairs that have a signature."""
        texts = value.split(self.set_separator.encode()) if self.set_separator else [value]
        _check_set_count(len(texts), source)
        sets = []
        for text in texts:
            pairs = self._split_pairs(text, source)
            if signatures := pairs.get(self.pair.encode()):
                sets.append(self._build_set(signatures, pairs))
        if not sets:
            raise build_malformed_error(source, f"it has no {self.pair}=")
        return sets

    def _split_pairs(self, text: bytes, source: ValueSource) -> dict[bytes, list[bytes]]:
        pairs: dict[bytes, list[bytes]] = {}
        for entry in text.split((self.separator or ",").encode()):
            key, equals, pair_value = entry.strip(b" \t").partition(b"=")
            if not equals:
                raise build_malformed_error(source, "it is not a list of key=value")
            pairs.setdefault(key, []).append(pair_value)
        return pairs


@dataclass(frozen=True, slots=True)
class SignatureReader:
    """Reads the signatures of a callback at all their locations.

    Args:
        locations: where a signature may be.
        format: how signatures are written there.
        is_basic: whether the only location has the credentials of HTTP Basic authentication.
    """

    locations: Sequence[ValueSource]
    format: SignatureFormat
    is_basic: bool = False

    @property
    def headers(self) -> Sequence[str]:
        """The names of the headers among the locations, in lower case."""
        return [source.name for source in self.locations if source.kind == "header"]

    @property
    def label(self) -> str:
        """The locations in the words of an error message."""
        return str(self.locations[0]) if len(self.locations) == 1 else f"The signature in {' or '.join(self.headers)}"

    def read(self, context: VerificationContext) -> Sequence[SignatureSet]:
        """Return the signatures of a callback, each in the one spelling of its encoding.

        Raises:
            InvalidSignature: there are none, they are malformed, or there are too many.
        """
        if len(self.locations) > 1:
            return self._read_all(context)
        source = self.locations[0]
        value = source.read_required(context, "signature")
        return (decode_credentials(value, source),) if self.is_basic else self.format.split(value, source)

    def _read_all(self, context: VerificationContext) -> Sequence[SignatureSet]:
        """Return the signatures of those locations that have any; the others may be missing or malformed."""
        values = [(source, value) for source in self.locations if (value := source.read(context))]
        if not values:
            self.locations[0].read_required(context, "signature")
        sets: list[SignatureSet] = []
        errors = []
        for source, value in values:
            try:
                sets += self.format.split(value, source)
            except InvalidSignature as error:
                errors.append(error)
        if not sets:
            raise errors[0]
        if sum(len(signature_set.signatures) for signature_set in sets) > MAX_SIGNATURES:
            raise build_malformed_error(self.locations[0], f"there are more than {MAX_SIGNATURES} signatures")
        if self.format.format == "pairs":
            _check_set_count(len(sets), self.locations[0])
            return sets
        return (SignatureSet([item for signature_set in sets for item in signature_set.signatures]),)


def _check_set_count(count: int, source: ValueSource) -> None:
    if count > _MAX_SETS:
        raise build_malformed_error(source, f"there are more than {_MAX_SETS} sets of signatures")


def decode_credentials(value: bytes, source: ValueSource) -> SignatureSet:
    """Return the decoded credentials of HTTP Basic authentication in place of a signature.

    Raises:
        InvalidSignature: the value is malformed.
    """
    scheme, _, credentials = value.partition(b" ")
    if scheme.lower() != b"basic":
        raise build_malformed_error(source, "it does not start with Basic")
    try:
        return SignatureSet((b64decode(credentials.strip(b" "), validate=True),))
    except binascii.Error:
        raise build_malformed_error(source, "its credentials are not base64") from None


def build_malformed_error(source: ValueSource, reason: str) -> InvalidSignature:
    """Return the error of a signature that is malformed at its location."""
    return InvalidSignature(source.part("signature"), f"{source} is malformed: {reason}.")
