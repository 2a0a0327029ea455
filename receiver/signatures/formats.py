"""How signatures are written at their location: alone, in a list, or among key=value pairs, in one or several sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from receiver.signatures.base import MAX_SIGNATURES, InvalidSignature
from receiver.signatures.encodings import normalize_signature
from receiver.signatures.sources import ValueSource

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
            prefix = value[: len(self._prefix)]
            if (prefix.lower() if self.is_prefix_case_insensitive else prefix) != self._prefix:
                raise build_malformed_error(source, f"it does not start with {self.prefix}")
            return (self._build_set((value[len(self._prefix) :],)),)
        sets = [self._split_list(value, source)] if self.format == "list" else self._split_sets(value, source)
        if sum([len(signature_set.signatures) for signature_set in sets]) > MAX_SIGNATURES:
            raise build_malformed_error(source, f"it has more than {MAX_SIGNATURES} signatures")
        return sets

    def _build_set(self, signatures: Sequence[bytes], pairs: Mapping[bytes, list[bytes]] = _NO_PAIRS) -> SignatureSet:
        if self.encoding:
            signatures = [normalize_signature(signature, self.encoding) for signature in signatures]
        return SignatureSet(signatures, pairs)

    def _split_list(self, value: bytes, source: ValueSource) -> SignatureSet:
        entries = [entry.strip(b" \t") for entry in value.split((self.separator or " ").encode())]
        signatures = [entry[len(self._prefix) :] for entry in entries if entry and entry.startswith(self._prefix)]
        if not signatures:
            raise build_malformed_error(source, f"it has no signature that starts with {self.prefix}")
        return self._build_set(signatures)

    def _split_sets(self, value: bytes, source: ValueSource) -> list[SignatureSet]:
        """Return the sets of pairs that have a signature."""
        texts = value.split(self.set_separator.encode()) if self.set_separator else [value]
        if len(texts) > _MAX_SETS:
            raise build_malformed_error(source, f"it has more than {_MAX_SETS} sets of signatures")
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


def build_malformed_error(source: ValueSource, reason: str) -> InvalidSignature:
    """Return the error of a signature that is malformed at its location."""
    return InvalidSignature(source.part("signature"), f"{source} is malformed: {reason}.")
