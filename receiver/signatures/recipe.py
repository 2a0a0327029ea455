"""Signature recipes: a scheme described by configuration alone.

A recipe states where the signature is, how it is encoded, what it covers and by which algorithm it is computed. One
engine verifies all recipes. A recipe is compiled when it is constructed and does no I/O. Every malformed input raises
`InvalidSignature`, whose message distinguishes missing, malformed, stale and wrong signatures.
"""

import binascii
import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.errors import ReceiverError
from receiver.domain.times import UNITS, parse_unix_time
from receiver.signatures.base import MAX_SIGNATURES, NO_DOCUMENTS, InvalidSignature, Scheme, format_age_error
from receiver.signatures.checks import (
    ENCODINGS,
    KEY_ENCODINGS,
    SIGNATURE_BYTES,
    SignatureCheck,
    build_check,
    parse_secret_key,
)
from receiver.signatures.coverage import Coverage
from receiver.signatures.keys import decode_strict
from receiver.signatures.sources import (
    BODY_TOKENS,
    ROLES,
    Search,
    Template,
    ValueSource,
    VerificationContext,
    compile_path,
    parse_source,
    parse_template,
    sort_parameters,
)

ALGORITHMS = (*SIGNATURE_BYTES, "equals", "basic")
FORMATS = ("raw", "pairs", "list")

_BEARER_ALGORITHMS = frozenset({"equals", "basic"})


class InvalidRecipe(ReceiverError):
    """A recipe is inconsistent; `errors` maps its fields to messages."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(" ".join(f"{name}: {message}" for name, message in errors.items()))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class _CompiledRecipe:
    """A recipe ready to verify, with one check per secret."""

    source: ValueSource
    sources: Mapping[str, ValueSource]
    content: Template
    checks: Sequence[SignatureCheck] = field(repr=False)
    items: Search | None
    signed_id: ValueSource | None
    coverage: Coverage
    fields: Sequence[ValueSource]


@dataclass(frozen=True, slots=True)
class Recipe(Scheme):
    """A scheme that is described by values alone.

    Args:
        source: location of the signature: ``header:NAME``, ``query:NAME``, or a JMESPath into the body.
        secrets: any of them may match. Public keys in hex or base64 for ed25519, ``user:password`` for basic.
        algorithm: one of `ALGORITHMS`: HMAC with sha1, sha256 or sha512; md5 of the content followed by the secret;
            ed25519; ``equals``, where the signature is the secret itself; ``basic``, HTTP Basic authentication.
        format: ``raw``; ``pairs``, a list of key=value; or ``list``, of which only entries with `prefix` count.
        prefix: text before the signature.
        separator: between pairs (default a comma) or the signatures of a list (default a space).
        pair: key of the signatures among the pairs.
        encoding: encoding of the signature; hex in either case.
        key_encoding: encoding of the secrets, default utf-8. Base64 may have the prefix ``whsec_``. For ed25519 the
            default is hex or base64, by the key's length.
        signed: template of the signed content, see `receiver.signatures.sources`.
        timestamp: source of the timestamp; ``pair:KEY`` is allowed.
        unit: one of `receiver.domain.times.UNITS`.
        tolerance: seconds that the timestamp may differ from the receive time on either side; by default the age is not
            checked.
        id: source of the message id.
        nonce: source of the nonce in `signed`.
        items: JMESPath of the items if each item has its own signature; all other paths then start at the item.
        public_url: the URL that the provider calls, up to the path, if it differs from the callback's own.
        body_kind: how callbacks are read, which must not differ from how their signed fields are. By default a body is
            JSON or a form, by its media type.

    Raises:
        InvalidRecipe: the recipe is inconsistent; the exception has all errors.
        InvalidSecret: a secret does not have the format that the algorithm and `key_encoding` require.
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
    body_kind: str = field(default="", compare=False)
    _compiled: _CompiledRecipe = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", _compile(self))

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        # If the items match different secrets, the last of these is reported, so that an old secret is not taken for
        # unused while a rotation is in progress.
        return max([self._verify_signature(context) for context in self._split_items(callback)])

    def message_id(self, callback: IncomingCallback) -> str:
        if self._compiled.signed_id is None:
            return ""
        context = self._build_context(callback)
        try:
            self._read_signatures(context)  # fills in the pairs, which may hold the id
            return self._compiled.signed_id.read(context).decode("utf-8", "backslashreplace")
        except InvalidSignature:
            return ""

    @property
    def coverage(self) -> Coverage:
        return self._compiled.coverage

    @property
    def is_bearer(self) -> bool:
        return self.algorithm in _BEARER_ALGORITHMS

    def normalize_body(self, callback: IncomingCallback) -> bytes:
        coverage = self._compiled.coverage
        if coverage.body or not (coverage.form or coverage.fields):
            return callback.body
        if coverage.form:
            return repr(sort_parameters(callback)).encode()
        contexts = self._split_items(callback)
        return repr(
            sorted({tuple(source.read(context) for source in self._compiled.fields) for context in contexts})
        ).encode()

    def read_timestamp(self, callback: IncomingCallback) -> bytes:
        """Return the timestamp as it was received; b"" if there is none."""
        source = self._compiled.sources.get("timestamp")
        context = self._build_context(callback)
        try:
            self._read_signatures(context)  # fills in the pairs, which may hold the timestamp
            return source.read(context) if source else b""
        except InvalidSignature:
            return b""

    def map_signatures(self, value: str, change: Callable[[str], str]) -> str:
        """Return the text at the signature's location with each signature in it changed."""
        if self.format == "raw":
            return self.prefix + change(value.removeprefix(self.prefix))
        separator = self.separator or ("," if self.format == "pairs" else " ")
        start = f"{self.pair}=" if self.format == "pairs" else self.prefix
        entries = [entry.strip(" \t") for entry in value.split(separator)]
        return separator.join(
            start + change(entry.removeprefix(start)) if entry.startswith(start) else entry for entry in entries
        )

    def with_body_kind(self, kind: str) -> "Recipe":
        return replace(self, body_kind=kind)

    @property
    def uses_nonces(self) -> bool:
        return self._nonce_source is not None

    @property
    def _nonce_source(self) -> ValueSource | None:
        """The location of the nonce; where none is configured, the id of the message serves as one."""
        sources, coverage = self._compiled.sources, self._compiled.coverage
        return None if coverage.body or coverage.form else sources.get("nonce") or sources.get("id")

    def find_nonces(self, callback: IncomingCallback) -> Sequence[str]:
        source = self._nonce_source
        if source is None:
            return ()
        nonces = []
        for context in self._split_items(callback):
            self._read_signatures(context)  # fills in the pairs, which may hold the nonce
            nonces.append(source.read(context).decode("utf-8", "backslashreplace"))
        return nonces

    @property
    def secret_headers(self) -> Sequence[str]:
        kind, _, name = self.source.partition(":")
        return (name.lower(),) if kind == "header" and self.algorithm in _BEARER_ALGORITHMS else ()

    @property
    def secret_parameters(self) -> Sequence[str]:
        kind, _, name = self.source.partition(":")
        return (name,) if kind == "query" and self.algorithm in _BEARER_ALGORITHMS else ()

    @property
    def secret_values(self) -> Sequence[str]:
        if self.algorithm not in _BEARER_ALGORITHMS:
            return ()
        values = [parse_secret_key(secret, self.algorithm, self.key_encoding) for secret in self.secrets]
        if self.algorithm == "basic":
            values += [b64encode(value) for value in values]
        return [value.decode("utf-8", "surrogateescape") for value in values]

    @property
    def signature_headers(self) -> Sequence[str]:
        kind, _, name = self.source.partition(":")
        return (name.lower(),) if kind == "header" and self.algorithm not in _BEARER_ALGORITHMS else ()

    @property
    def has_body_secret(self) -> bool:
        return self.algorithm in _BEARER_ALGORITHMS and self._compiled.source.kind == "field"

    def find_body_secrets(self, callback: IncomingCallback) -> Sequence[str]:
        context = self._build_context(callback)
        try:
            items = context.search(self._compiled.items) if self._compiled.items else None
            contexts = [context] if items is None else [VerificationContext(callback, "", item) for item in items]
            values = [self._compiled.source.read(item_context) for item_context in contexts]
        except (InvalidSignature, TypeError):  # the place is not what the recipe describes, or the items are no list
            return ()
        return [value.decode("utf-8", "surrogateescape") for value in values if value]

    @property
    def signs_url(self) -> bool:
        """Whether the signature covers the URL or a part of it."""
        return not self._compiled.content.tokens.isdisjoint({"url", "url_no_query", "path"})

    def _build_context(self, callback: IncomingCallback) -> VerificationContext:
        return VerificationContext(callback, self.public_url, body_kind=self.body_kind)

    def _split_items(self, callback: IncomingCallback) -> Sequence[VerificationContext]:
        """Return the context of each item that has its own signature, or that of the whole callback."""
        context = self._build_context(callback)
        if self._compiled.items is None:
            return [context]
        items = context.search(self._compiled.items)
        if not isinstance(items, list) or not items:
            raise InvalidSignature("items", "The body is malformed: it has no signed items.")
        return [VerificationContext(callback, self.public_url, item) for item in items]

    def _verify_signature(self, context: VerificationContext) -> int:
        signatures = self._read_signatures(context)
        if self.tolerance != math.inf:
            self._check_age(context)
        content = self._compiled.content.render(context)
        for index, matches in enumerate(self._compiled.checks):
            if matches(content, signatures):
                return index
        if self.algorithm in SIGNATURE_BYTES and not any(self._is_well_formed(signature) for signature in signatures):
            raise self._build_malformed_error(f"it is not {SIGNATURE_BYTES[self.algorithm]} bytes in {self.encoding}")
        source = self._compiled.source
        raise InvalidSignature(source.part("signature"), f"{source} does not match any configured secret.")

    def _build_malformed_error(self, reason: str) -> InvalidSignature:
        source = self._compiled.source
        return InvalidSignature(source.part("signature"), f"{source} is malformed: {reason}.")

    def _read_signatures(self, context: VerificationContext) -> Sequence[bytes]:
        """Return the callback's signatures, still encoded, hex in lower case; set the context's pairs."""
        value = self._compiled.source.read_required(context, "signature")
        if self.algorithm == "basic":
            return [self._decode_credentials(value)]
        signatures = self._split(value, context)
        if len(signatures) > MAX_SIGNATURES:
            raise self._build_malformed_error(f"it has more than {MAX_SIGNATURES} signatures")
        return [signature.lower() for signature in signatures] if self._is_case_insensitive else signatures

    @property
    def _is_case_insensitive(self) -> bool:
        return self.encoding == "hex" and self.algorithm in SIGNATURE_BYTES

    def _split(self, value: bytes, context: VerificationContext) -> Sequence[bytes]:
        prefix = self.prefix.encode()
        if self.format == "raw":
            if not value.startswith(prefix):
                raise self._build_malformed_error(f"it does not start with {self.prefix}")
            return [value[len(prefix) :]]
        if self.format == "pairs":
            return self._split_pairs(value, context)
        entries = [entry.strip(b" \t") for entry in value.split((self.separator or " ").encode())]
        signatures = [entry[len(prefix) :] for entry in entries if entry and entry.startswith(prefix)]
        if not signatures:
            raise self._build_malformed_error(f"it has no signature that starts with {self.prefix}")
        return signatures

    def _split_pairs(self, value: bytes, context: VerificationContext) -> Sequence[bytes]:
        pairs: dict[bytes, list[bytes]] = {}
        for entry in value.split((self.separator or ",").encode()):
            key, equals, pair_value = entry.strip(b" \t").partition(b"=")
            if not equals:
                raise self._build_malformed_error("it is not a list of key=value")
            pairs.setdefault(key, []).append(pair_value)
        context.pairs = pairs
        signatures = pairs.get(self.pair.encode(), [])
        if not signatures:
            raise self._build_malformed_error(f"it has no {self.pair}=")
        return signatures

    def _decode_credentials(self, value: bytes) -> bytes:
        scheme, _, credentials = value.partition(b" ")
        if scheme.lower() != b"basic":
            raise self._build_malformed_error("it does not start with Basic")
        try:
            return b64decode(credentials.strip(b" "), validate=True)
        except binascii.Error:
            raise self._build_malformed_error("its credentials are not base64") from None

    def _check_age(self, context: VerificationContext) -> None:
        source = self._compiled.sources["timestamp"]
        signed_at = parse_unix_time(source.read_required(context, "timestamp"), self.unit)
        part = source.part("timestamp")
        if signed_at is None:
            raise InvalidSignature(part, f"{source} is malformed: it is not {UNITS[self.unit]}.")
        age = context.callback.received_at.timestamp() - signed_at
        if abs(age) > self.tolerance:
            raise InvalidSignature(part, format_age_error(age, self.tolerance))

    def _is_well_formed(self, signature: bytes) -> bool:
        decoded = decode_strict(signature, self.encoding)
        return decoded is not None and len(decoded) == SIGNATURE_BYTES[self.algorithm]


def _compile(recipe: Recipe) -> _CompiledRecipe:
    errors = _check_choices(recipe)
    sources: dict[str, ValueSource] = {}
    for name in ("source", *ROLES):
        text = getattr(recipe, name)
        try:
            if text or name == "source":
                sources[name] = parse_source(text)
        except ValueError as error:
            errors[name] = str(error)
    content, items = None, None
    computes_signature = recipe.algorithm in SIGNATURE_BYTES
    # An invalid source gets a placeholder, so that the token that uses it is not reported as a second error.
    role_sources = {
        role: sources.get(role, ValueSource("field", role, lambda _: b"")) for role in ROLES if getattr(recipe, role)
    }
    try:
        content = (
            parse_template(recipe.signed, role_sources) if computes_signature else Template(frozenset(), lambda _: b"")
        )
    except ValueError as error:
        errors["signed"] = str(error)
    try:
        items = compile_path(recipe.items) if recipe.items else None
    except ValueError:
        errors["items"] = "Must be a JMESPath."
    errors |= _check_combinations(recipe, sources) | (_check_coverage(sources, content) if content else {})
    if errors or content is None:
        raise InvalidRecipe(errors)
    keys = [parse_secret_key(secret, recipe.algorithm, recipe.key_encoding) for secret in recipe.secrets]
    checks = [build_check(key, recipe.algorithm, recipe.encoding) for key in keys]
    signed_id = None if recipe.items else sources.get("id")
    coverage = _build_coverage(recipe, content, role_sources)
    fields = [parse_source(f"field:{path}") for path in content.find_names("field", {})]
    return _CompiledRecipe(sources["source"], sources, content, checks, items, signed_id, coverage, fields)


def _build_coverage(recipe: Recipe, content: Template, sources: Mapping[str, ValueSource]) -> Coverage:
    headers = set(content.find_names("header", sources)) | (
        {"content-type"} if "content_type" in content.tokens else set()
    )
    return Coverage(
        body=not BODY_TOKENS.isdisjoint(content.tokens),
        form="sorted_params" in content.tokens,
        query="url" in content.tokens,
        fields=content.find_names("field", sources),
        items=recipe.items,
        headers=frozenset(headers),
        parameters=frozenset(content.find_names("query", sources)),
    )


def _check_choices(recipe: Recipe) -> dict[str, str]:
    choices = {
        "algorithm": ALGORITHMS,
        "format": FORMATS,
        "encoding": ENCODINGS,
        "key_encoding": ("", *KEY_ENCODINGS),
        "unit": ("", *UNITS),
    }
    return {
        name: f"Must be one of: {', '.join(filter(None, allowed))}."
        for name, allowed in choices.items()
        if getattr(recipe, name) not in allowed
    }


def _check_combinations(recipe: Recipe, sources: Mapping[str, ValueSource]) -> dict[str, str]:
    """Return the errors of fields that contradict each other."""
    errors = {
        name: "pair:KEY requires format = pairs and cannot be the location of the signature itself."
        for name, source in sources.items()
        if source.kind == "pair" and (recipe.format != "pairs" or name == "source")
    }
    if recipe.format == "pairs" and not recipe.pair:
        errors["pair"] = "Required for format = pairs."
    if recipe.format != "pairs" and recipe.pair:
        errors["pair"] = "Requires format = pairs."
    if recipe.format == "raw" and recipe.separator:
        errors["separator"] = "Requires format = pairs or list."
    if recipe.algorithm == "ed25519" and recipe.key_encoding == "utf-8":
        errors["key_encoding"] = "Must be hex or base64 for ed25519."
    if recipe.format == "pairs" and recipe.prefix:
        errors["prefix"] = "Not supported with format = pairs."
    if recipe.tolerance != math.inf and not recipe.timestamp:
        errors["tolerance"] = "Requires timestamp."
    elif recipe.tolerance != math.inf and not recipe.unit:
        errors["unit"] = f"Required to compare the timestamp. Must be one of: {', '.join(UNITS)}."
    return errors


def _check_coverage(sources: Mapping[str, ValueSource], content: Template) -> dict[str, str]:
    return {
        role: "Not covered by any token of signed, so anyone could change it."
        for role, source in sources.items()
        if role != "source" and not content.covers(role, source)
    }
