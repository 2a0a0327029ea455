"""Signature recipes: a scheme described by configuration alone.

A recipe states where the signature is, how it is encoded, what it covers and by which algorithm it is computed. One
engine verifies all recipes. A recipe is compiled when it is constructed and does no I/O. Every malformed input raises
`InvalidSignature`, whose message distinguishes missing, malformed, stale and wrong signatures.
"""

import math
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.times import UNITS, parse_unix_time
from receiver.signatures.base import NO_DOCUMENTS, InvalidSignature, Scheme, format_age_error
from receiver.signatures.checks import SIGNATURE_BYTES
from receiver.signatures.coverage import CallbackDocument, Coverage
from receiver.signatures.encodings import decode_signature
from receiver.signatures.formats import build_malformed_error
from receiver.signatures.key_checks import PublicKeyChecks
from receiver.signatures.parameters import SortedParameters
from receiver.signatures.recipe_compiler import (
    BEARER_ALGORITHMS,
    CompiledRecipe,
    compile_recipe,
)
from receiver.signatures.sources import ValueSource, VerificationContext
from receiver.signatures.spellings import decode_query, list_spellings


@dataclass(frozen=True, slots=True)
class Recipe(Scheme):
    """A scheme that is described by values alone.

    Args:
        source: location of the signature: ``header:NAME``, ``query:NAME``, or a JMESPath into the body.
        secrets: any of them may match. Public keys in hex or base64 for ed25519, ``user:password`` for basic.
        other_headers: names of further headers that may have a signature; any of all signatures may match.
        algorithm: one of `ALGORITHMS`: HMAC with one of the SHA family; md5 of the content followed by the secret;
            ed25519; ``rsa``, ``ecdsa`` and ``jws``, which require `public_keys`; ``equals``, where the signature is the
            secret itself; ``basic``, HTTP Basic authentication.
        is_digest: whether the signature is a plain digest by `algorithm` of a content that contains the secret, at
            ``{secret}`` in `signed`.
        algorithm_header: name of the header that names the algorithm.
        algorithm_names: the algorithms by their names in that header; any other name is rejected.
        format: ``raw``; ``pairs``, a list of key=value; or ``list``, of which only entries with `prefix` count.
        prefix: text before the signature.
        separator: between pairs (default a comma) or the signatures of a list (default a space).
        set_separator: between several sets of pairs, each of which is verified with its own pairs; by default there is
            one set.
        pair: key of the signatures among the pairs.
        encoding: encoding of the signature, see `receiver.signatures.encodings`; hex in either case.
        key_encoding: encoding of the secrets, default utf-8. Base64 may have the prefix ``whsec_``. For ed25519 the
            default is hex or base64, by the key's length.
        signed: template of the signed content, see `receiver.signatures.templates`.
        parameters: how ``{sorted_params}`` joins parameters.
        decode_url: whether the provider may have signed the URL with its query partly decoded, see
            `receiver.signatures.spellings`.
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
        public_keys: how ``rsa``, ``ecdsa``, ``jws`` and, in place of secrets, ``ed25519`` verify by public keys.

    Raises:
        InvalidRecipe: the recipe is inconsistent; the exception has all errors.
        InvalidSecret: a secret does not have the format that the algorithm and `key_encoding` require.
    """

    source: str
    secrets: Sequence[str] = field(repr=False)
    other_headers: Sequence[str] = ()
    algorithm: str = "sha256"
    is_digest: bool = False
    algorithm_header: str = ""
    algorithm_names: Mapping[str, str] = field(default_factory=dict)
    format: str = "raw"
    prefix: str = ""
    separator: str = ""
    set_separator: str = ""
    pair: str = ""
    encoding: str = "hex"
    key_encoding: str = ""
    signed: str = "{body}"
    parameters: SortedParameters = field(default_factory=SortedParameters)
    decode_url: bool = False
    timestamp: str = ""
    unit: str = ""
    tolerance: float = math.inf
    id: str = ""
    nonce: str = ""
    items: str = ""
    public_url: str = ""
    body_kind: str = field(default="", compare=False)
    public_keys: PublicKeyChecks | None = None
    _compiled: CompiledRecipe = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", compile_recipe(self))

    def find_documents(self, callback: IncomingCallback) -> Sequence[str]:
        if self.public_keys is None:
            return ()
        return self.public_keys.key_source.find_documents(self._build_context(callback))

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        if self._compiled.items is None:
            return self._verify_signature(self._build_context(callback), documents)
        # If the items match different secrets, the last of these is reported, so that an old secret is not taken for
        # unused while a rotation is in progress.
        return max([self._verify_signature(context, documents) for context in self.split_items(callback)])

    def message_id(self, callback: IncomingCallback) -> str:
        source = self._compiled.signed_id
        if source is None:
            return ""
        try:
            return self._read_signed(source, self._build_context(callback)).decode("utf-8", "backslashreplace")
        except InvalidSignature:
            return ""

    @property
    def coverage(self) -> Coverage:
        return self._compiled.coverage

    @property
    def is_bearer(self) -> bool:
        return self.algorithm in BEARER_ALGORITHMS

    def normalize_body(self, callback: IncomingCallback) -> bytes:
        parts = self._compiled.body_parts
        if self._compiled.coverage.body or not parts:
            return callback.body
        contexts = self.split_items(callback)
        return repr(sorted({tuple(read(context) for read in parts) for context in contexts})).encode()

    def normalize_query(self, callback: IncomingCallback) -> bytes:
        signs_query = "url" in self._compiled.content.tokens
        if self.parameters.source == "query" and self.signs_parameters and not signs_query:
            return self.parameters.join(self._build_context(callback))
        query = decode_query(callback.query) if self.decode_url else callback.query
        return query.encode(errors="surrogateescape")

    def read_timestamp(self, callback: IncomingCallback) -> bytes:
        """Return the timestamp as it was received; b"" if there is none."""
        source = self._compiled.sources.get("timestamp")
        try:
            return self._read_signed(source, self._build_context(callback)) if source else b""
        except InvalidSignature:
            return b""

    def with_body_kind(self, kind: str) -> "Recipe":
        return replace(self, body_kind=kind)

    @property
    def uses_nonces(self) -> bool:
        return self._nonce_source is not None

    @property
    def _nonce_source(self) -> ValueSource | None:
        """The location of the nonce; where none is configured, the id of the message serves as one."""
        sources, coverage = self._compiled.sources, self._compiled.coverage
        if coverage.form or (coverage.body and not coverage.is_extendable):
            return None
        if coverage.covers_document(CallbackDocument(self.body_kind)):
            return None
        return sources.get("nonce") or sources.get("id")

    def find_nonces(self, callback: IncomingCallback) -> Sequence[str]:
        source = self._nonce_source
        if source is None:
            return ()
        values = [self._read_signed(source, context) for context in self.split_items(callback)]
        return [value.decode("utf-8", "backslashreplace") for value in values]

    def carries_signature(self, callback: IncomingCallback) -> bool:
        headers = (*self.signature_headers, *self.secret_headers)
        if not headers:
            return Scheme.carries_signature(self, callback)
        return any(callback.headers.get(name) for name in headers)

    @property
    def secret_headers(self) -> Sequence[str]:
        return self._compiled.reader.headers if self.is_bearer else ()

    @property
    def signature_headers(self) -> Sequence[str]:
        return () if self.is_bearer else self._compiled.reader.headers

    @property
    def secret_parameters(self) -> Sequence[str]:
        source = self._compiled.sources["source"]
        return (source.name,) if source.kind == "query" and self.is_bearer else ()

    @property
    def secret_values(self) -> Sequence[str]:
        if self.algorithm not in BEARER_ALGORITHMS:
            return ()
        values = [*self._compiled.keys]
        if self.algorithm == "basic":
            values += [b64encode(value) for value in values]
        return [value.decode("utf-8", "surrogateescape") for value in values]

    @property
    def has_body_secret(self) -> bool:
        return self.algorithm in BEARER_ALGORITHMS and self._compiled.sources["source"].kind == "field"

    def find_body_secrets(self, callback: IncomingCallback) -> Sequence[str]:
        context = self._build_context(callback)
        try:
            items = context.search(self._compiled.items) if self._compiled.items else None
            contexts = [context] if items is None else [VerificationContext(callback, document=item) for item in items]
            values = [self._compiled.sources["source"].read(item_context) for item_context in contexts]
        except (InvalidSignature, TypeError):  # the place is not what the recipe describes, or the items are no list
            return ()
        return [value.decode("utf-8", "surrogateescape") for value in values if value]

    @property
    def compiled(self) -> CompiledRecipe:
        """What was computed from the recipe when it was constructed."""
        return self._compiled

    @property
    def signs_url(self) -> bool:
        """Whether the signature covers the URL or a part of it."""
        return not self._compiled.content.tokens.isdisjoint({"url", "url_no_query", "path"})

    @property
    def signs_parameters(self) -> bool:
        """Whether the signature covers sorted parameters."""
        return "sorted_params" in self._compiled.content.tokens

    def _build_context(self, callback: IncomingCallback) -> VerificationContext:
        return VerificationContext(callback, self.public_url, body_kind=self.body_kind)

    def split_items(self, callback: IncomingCallback) -> Sequence[VerificationContext]:
        """Return the context of each item that has its own signature, or that of the whole callback.

        Raises:
            InvalidSignature: the body has no such items.
        """
        context = self._build_context(callback)
        if self._compiled.items is None:
            return [context]
        items = context.search(self._compiled.items)
        if not isinstance(items, list) or not items:
            raise InvalidSignature("items", "The body is malformed: it has no signed items.")
        return [VerificationContext(callback, self.public_url, item) for item in items]

    def _verify_signature(self, context: VerificationContext, documents: Mapping[str, bytes]) -> int:
        sets = self._compiled.reader.read(context)
        if len(sets) == 1:
            context.pairs = sets[0].pairs
            return self._verify_set(context, sets[0].signatures, documents)
        errors = []
        for signature_set in sets:
            context.pairs = signature_set.pairs
            try:
                return self._verify_set(context, signature_set.signatures, documents)
            except InvalidSignature as error:
                errors.append(error)
        raise errors[0]

    def _verify_set(
        self,
        context: VerificationContext,
        signatures: Sequence[bytes],
        documents: Mapping[str, bytes] = NO_DOCUMENTS,
    ) -> int:
        """Verify the signatures of a set, whose pairs the context has; return the index of the secret that matched."""
        algorithm = self._read_algorithm(context) if self.algorithm_header else self.algorithm
        if self.tolerance != math.inf:
            self._check_age(context)
        checks = self._compiled.checks[algorithm]
        if not checks and self.public_keys is not None:
            checks = self.public_keys.build_checks(context, documents, signatures, self.encoding)
        for variant in self._list_spellings(context) if self.decode_url else (context,):
            content = b"" if self.is_digest else self._compiled.content.render(variant)
            for index, matches in checks:
                if self.is_digest:
                    variant.secret = self._compiled.keys[index]
                    content = self._compiled.content.render(variant)
                if matches(content, signatures):
                    return index
        source = self._compiled.sources["source"]
        if algorithm in SIGNATURE_BYTES and not any(self._is_well_formed(item, algorithm) for item in signatures):
            raise build_malformed_error(source, f"it is not {SIGNATURE_BYTES[algorithm]} bytes in {self.encoding}")
        expected = "configured secret" if self.public_keys is None else "public key"
        raise InvalidSignature(
            source.part("signature"), f"{self._compiled.reader.label} does not match any {expected}."
        )

    def _list_spellings(self, context: VerificationContext) -> Iterator[VerificationContext]:
        for target in list_spellings(context.callback.target):
            yield context if target == context.callback.target else context.with_target(target)

    def _read_algorithm(self, context: VerificationContext) -> str:
        source = self._compiled.sources["algorithm_header"]
        name = source.read_required(context, "algorithm").decode("latin-1")
        if name not in self.algorithm_names:
            raise InvalidSignature(source.name, f"{source} names an algorithm that is not configured.")
        return self.algorithm_names[name]

    def _read_signed(self, source: ValueSource, context: VerificationContext) -> bytes:
        """Return a value that the signature of a verified callback covers."""
        if source.kind == "pair":  # each set of signatures has pairs of its own
            self._select_set(context)
        return source.read(context)

    def _select_set(self, context: VerificationContext) -> None:
        """Set the context's pairs to those of the set that verifies, or else to those of the first set."""
        sets = self._compiled.reader.read(context)
        for signature_set in sets if len(sets) > 1 else ():
            context.pairs = signature_set.pairs
            try:
                self._verify_set(context, signature_set.signatures)
            except InvalidSignature:
                continue
            return
        context.pairs = sets[0].pairs

    def _check_age(self, context: VerificationContext) -> None:
        source = self._compiled.sources["timestamp"]
        signed_at = parse_unix_time(source.read_required(context, "timestamp"), self.unit)
        part = source.part("timestamp")
        if signed_at is None:
            raise InvalidSignature(part, f"{source} is malformed: it is not {UNITS[self.unit]}.")
        age = context.callback.received_at.timestamp() - signed_at
        if abs(age) > self.tolerance:
            raise InvalidSignature(part, format_age_error(age, self.tolerance))

    def _is_well_formed(self, signature: bytes, algorithm: str) -> bool:
        decoded = decode_signature(signature, self.encoding)
        return decoded is not None and len(decoded) == SIGNATURE_BYTES[algorithm]
