"""A signature as a recipe: where it stands, how it is read, what it covers and how it is made, all in configuration.

One engine verifies every scheme that needs no code of its own. It is compiled at construction and does no I/O; every
malformed input, whatever is wrong with it, is a refusal that tells missing, malformed, too old and not matching apart.
"""

import binascii
import math
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.errors import ReceiverError
from receiver.signatures.base import MAX_SIGNATURES, NO_DOCUMENTS, Scheme, SignatureRefused
from receiver.signatures.checks import ENCODINGS, KEY_ENCODINGS, SIZES, SignatureCheck, build_check, parse_secret_key
from receiver.signatures.keys import decode
from receiver.signatures.sources import (
    ROLES,
    Evidence,
    Find,
    Template,
    ValueSource,
    compile_find,
    parse_source,
    parse_template,
)

ALGORITHMS = (*SIZES, "equals", "basic")
FORMATS = ("raw", "pairs", "list")
UNITS = ("s", "ms", "iso")

_BEARERS = frozenset({"equals", "basic"})
_DIGITS = {"s": re.compile(rb"[0-9]{1,12}"), "ms": re.compile(rb"[0-9]{1,15}")}
_ISO = re.compile(
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class InvalidRecipe(ReceiverError):
    """A recipe cannot work; `faults` maps its fields to messages."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {message}" for name, message in faults.items()))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class _Plan:
    """A recipe compiled; one proof for each secret."""

    source: ValueSource
    sources: Mapping[str, ValueSource]
    content: Template
    proofs: Sequence[SignatureCheck] = field(repr=False)
    items: Find | None
    signed_id: ValueSource | None


@dataclass(frozen=True, slots=True)
class Recipe(Scheme):
    """A way to prove who sent a callback, described by values alone.

    Args:
        source: where the signature stands: ``header:NAME``, ``query:NAME``, or a JMESPath into the body.
        secrets: any may match; public keys, in hex or base64, for ed25519; ``user:password`` for basic.
        algorithm: one of `ALGORITHMS`: HMAC with sha1, sha256 or sha512; the md5 of the content followed by the secret;
            ed25519; ``equals``, the signature being the secret itself; ``basic``, HTTP Basic.
        format: ``raw``; ``pairs``, a list of key=value; or ``list``, of which those that start with `prefix` count.
        prefix: stands before the signature.
        separator: stands between pairs (default a comma) or the signatures of a list (default a space).
        pair: the key of the signatures among pairs.
        encoding: of the signature; hex in either case.
        key_encoding: of the secrets, default utf-8; base64 with or without the prefix ``whsec_``. The keys of ed25519
            tell by their length.
        signed: the template of the signed content, see `receiver.signatures.sources`.
        timestamp: its source, ``pair:KEY`` among them.
        unit: seconds, milliseconds or ISO 8601.
        tolerance: seconds that the timestamp may be off the receive time on either side; infinity: not looked at.
        id: source of the message's own id.
        nonce: source of what `signed` calls so.
        items: JMESPath of the items if each is signed by itself; all paths then start at the item.
        public_url: what providers call, if it is not the delivery's own.

    Raises:
        BadRecipe: it cannot work, with every fault.
        BadSecret: a secret is not of the form that the algorithm and `key_encoding` demand.
    """

    source: str
    secrets: Sequence[str] = field(repr=False)
    algorithm: str = "sha256"
    format: str = "raw"
    prefix: str = ""
    separator: str = ""
    pair: str = ""
    encoding: str = "hex"
    key_encoding: str = ""
    signed: str = "{body}"
    timestamp: str = ""
    unit: str = ""
    tolerance: float = math.inf
    id: str = ""
    nonce: str = ""
    items: str = ""
    public_url: str = ""
    _plan: _Plan = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_plan", _compile(self))

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        evidence = Evidence(callback, self.public_url)
        if self._plan.items is None:
            return self._check(evidence)
        items = evidence.search(self._plan.items)
        if not isinstance(items, list) or not items:
            raise SignatureRefused("items", "the body is malformed: it has no signed items")
        # Of several secrets in use the last is told, so that an old one is not taken for unused.
        return max([self._check(Evidence(callback, self.public_url, item)) for item in items])

    def message_id(self, callback: IncomingCallback) -> str:
        if self._plan.signed_id is None:
            return ""
        evidence = Evidence(callback, self.public_url)
        try:
            self._given(evidence)
            return self._plan.signed_id.read(evidence).decode("utf-8", "backslashreplace")
        except SignatureRefused:
            return ""

    @property
    def covers_query(self) -> bool:
        return self.algorithm in _BEARERS or "url" in self._plan.content.tokens

    def covers(self, kind: str, name: str) -> bool:
        signed = f"{kind}:{name.lower() if kind == 'header' else name}" in self._plan.content.tokens
        return signed or self.algorithm in _BEARERS or super(Recipe, self).covers(kind, name)

    @property
    def signed_items(self) -> str:
        return self.items

    @property
    def secret_headers(self) -> Sequence[str]:
        kind, _, name = self.source.partition(":")
        return (name.lower(),) if kind == "header" and self.algorithm in _BEARERS else ()

    @property
    def secret_parameters(self) -> Sequence[str]:
        kind, _, name = self.source.partition(":")
        return (name,) if kind == "query" and self.algorithm in _BEARERS else ()

    @property
    def signs_url(self) -> bool:
        """Whether the URL that the provider called is part of what is signed."""
        return not self._plan.content.tokens.isdisjoint({"url", "url_no_query", "path"})

    def _check(self, evidence: Evidence) -> int:
        given = self._given(evidence)
        if self.tolerance != math.inf:
            self._check_age(evidence)
        content = self._plan.content.render(evidence)
        for index, proves in enumerate(self._plan.proofs):
            if proves(content, given):
                return index
        if self.algorithm in SIZES and not any(self._is_well_formed(signature) for signature in given):
            raise self._malformed(f"it is not {SIZES[self.algorithm]} bytes in {self.encoding}")
        raise SignatureRefused(self._plan.source.part("signature"), f"{self._plan.source} matches no live secret")

    def _malformed(self, why: str) -> SignatureRefused:
        source = self._plan.source
        return SignatureRefused(source.part("signature"), f"{source} is malformed: {why}")

    def _given(self, evidence: Evidence) -> Sequence[bytes]:
        """Give the signatures of a delivery, still encoded but hex in lower case; fill in its pairs."""
        value = self._plan.source.need(evidence, "signature")
        if self.algorithm == "basic":
            return [self._credentials(value)]
        given = self._split(value, evidence)
        if len(given) > MAX_SIGNATURES:
            raise self._malformed(f"it holds more than {MAX_SIGNATURES} signatures")
        return [signature.lower() for signature in given] if self._folds_case else given

    @property
    def _folds_case(self) -> bool:
        return self.encoding == "hex" and self.algorithm in SIZES

    def _split(self, value: bytes, evidence: Evidence) -> Sequence[bytes]:
        prefix = self.prefix.encode()
        if self.format == "raw":
            if not value.startswith(prefix):
                raise self._malformed(f"it does not start with {self.prefix}")
            return [value[len(prefix) :]]
        if self.format == "pairs":
            return self._split_pairs(value, evidence)
        parts = [part.strip(b" \t") for part in value.split((self.separator or " ").encode())]
        given = [part[len(prefix) :] for part in parts if part and part.startswith(prefix)]
        if not given:
            raise self._malformed(f"it holds no signature that starts with {self.prefix}")
        return given

    def _split_pairs(self, value: bytes, evidence: Evidence) -> Sequence[bytes]:
        pairs: dict[bytes, list[bytes]] = {}
        for part in value.split((self.separator or ",").encode()):
            key, equals, inner = part.strip(b" \t").partition(b"=")
            if not equals:
                raise self._malformed("it is not a list of key=value")
            pairs.setdefault(key, []).append(inner)
        evidence.pairs = pairs
        given = pairs.get(self.pair.encode(), [])
        if not given:
            raise self._malformed(f"it has no {self.pair}=")
        return given

    def _credentials(self, value: bytes) -> bytes:
        scheme, _, credentials = value.partition(b" ")
        if scheme.lower() != b"basic":
            raise self._malformed("it does not start with Basic")
        try:
            return b64decode(credentials.strip(b" "), validate=True)
        except binascii.Error:
            raise self._malformed("its credentials are not base64") from None

    def _check_age(self, evidence: Evidence) -> None:
        source = self._plan.sources["timestamp"]
        signed_at = _seconds(source.need(evidence, "timestamp"), self.unit)
        part = source.part("timestamp")
        if signed_at is None:
            wanted = {"s": "whole Unix seconds", "ms": "whole Unix milliseconds", "iso": "an ISO 8601 time with offset"}
            raise SignatureRefused(part, f"{source} is malformed: it is not {wanted[self.unit]}")
        age = evidence.callback.received_at.timestamp() - signed_at
        if abs(age) > self.tolerance:
            when = f"{age:.0f} s ago" if age > 0 else f"{-age:.0f} s in the future"
            raise SignatureRefused(part, f"signed {when}; {self.tolerance:.0f} s are tolerated")

    def _is_well_formed(self, signature: bytes) -> bool:
        decoded = decode(signature, self.encoding)
        return decoded is not None and len(decoded) == SIZES[self.algorithm]


def _compile(recipe: Recipe) -> _Plan:
    faults = _faults_of_words(recipe)
    sources: dict[str, ValueSource] = {}
    for name in ("source", *ROLES):
        text = getattr(recipe, name)
        try:
            if text or name == "source":
                sources[name] = parse_source(text)
        except ValueError as error:
            faults[name] = str(error)
    content, items = None, None
    signs = recipe.algorithm in SIZES
    # A source that is a fault already does not make its token another.
    known = {
        role: sources.get(role, ValueSource("field", role, lambda _: b"")) for role in ROLES if getattr(recipe, role)
    }
    try:
        content = parse_template(recipe.signed, known) if signs else Template(frozenset(), lambda _: b"")
    except ValueError as error:
        faults["signed"] = str(error)
    try:
        items = compile_find(recipe.items) if recipe.items else None
    except ValueError:
        faults["items"] = "must be a JMESPath"
    faults |= _faults_of_places(recipe, sources) | (_faults_of_cover(sources, content) if content else {})
    if faults or content is None:
        raise InvalidRecipe(faults)
    keys = [parse_secret_key(secret, recipe.algorithm, recipe.key_encoding) for secret in recipe.secrets]
    proofs = [build_check(key, recipe.algorithm, recipe.encoding) for key in keys]
    signed_id = None if recipe.items else sources.get("id")
    return _Plan(sources["source"], sources, content, proofs, items, signed_id)


def _faults_of_words(recipe: Recipe) -> dict[str, str]:
    words = {
        "algorithm": ALGORITHMS,
        "format": FORMATS,
        "encoding": ENCODINGS,
        "key_encoding": ("", *KEY_ENCODINGS),
        "unit": ("", *UNITS),
    }
    return {
        name: f"must be one of: {', '.join(filter(None, known))}"
        for name, known in words.items()
        if getattr(recipe, name) not in known
    }


def _faults_of_places(recipe: Recipe, sources: Mapping[str, ValueSource]) -> dict[str, str]:
    """Tell which fields do not go together."""
    faults = {
        name: "pair:KEY needs format = pairs, and is not for the signature itself"
        for name, source in sources.items()
        if source.kind == "pair" and (recipe.format != "pairs" or name == "source")
    }
    if (recipe.format == "pairs") != bool(recipe.pair):
        faults["pair"] = "goes with format = pairs, which needs it"
    if recipe.format == "raw" and recipe.separator:
        faults["separator"] = "goes with format = pairs or list"
    if recipe.algorithm == "ed25519" and recipe.key_encoding == "utf-8":
        faults["key_encoding"] = "must be hex or base64 for ed25519"
    if recipe.format == "pairs" and recipe.prefix:
        faults["prefix"] = "does not go with format = pairs"
    if recipe.tolerance != math.inf and not recipe.timestamp:
        faults["tolerance"] = "needs timestamp to be set"
    elif recipe.tolerance != math.inf and not recipe.unit:
        faults["unit"] = f"is needed to compare the timestamp: {', '.join(UNITS)}"
    return faults


def _faults_of_cover(sources: Mapping[str, ValueSource], content: Template) -> dict[str, str]:
    return {
        role: "is covered by no token of signed, so anyone could change it"
        for role, source in sources.items()
        if role != "source" and not content.covers(role, source)
    }


def _seconds(text: bytes, unit: str) -> float | None:
    """Give Unix seconds, or None where `text` is no time of that unit."""
    if unit != "iso":
        return int(text) / (1_000 if unit == "ms" else 1) if _DIGITS[unit].fullmatch(text) else None
    if not _ISO.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.decode().upper()).timestamp()
    except (ValueError, OverflowError):
        return None
