"""The signed content of a recipe: a template of tokens, each of which is replaced by a value of the callback.

A template is compiled once, when the configuration is read.
"""

import hashlib
import re
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from receiver.domain.suggestions import format_suggestion
from receiver.domain.times import SIGNED_TIME
from receiver.signatures.base import InvalidSignature
from receiver.signatures.parameters import SortedParameters
from receiver.signatures.raw_json import find_raw_member
from receiver.signatures.sources import ValueSource, VerificationContext, build_header_reader, parse_source

ROLES = ("timestamp", "id", "nonce")
"""The template tokens whose source is configured under the same name."""
BODY_DIGESTS = tuple(
    f"{algorithm}_{form}" for algorithm in ("md5", "sha1", "sha256", "sha512") for form in ("hex", "b64")
)
"""The template tokens that are digests of the body."""
BODY_TOKENS = frozenset({"body", "body_with_secret", *BODY_DIGESTS})
"""The template tokens that cover the whole body. `crc32` is none: anybody can write another body with the same sum."""
_FIXED_TOKENS = frozenset({"secret", "method", *BODY_DIGESTS})
_WHOLE_TOKENS = frozenset({"url_no_query", "path"})
_VALUE_TOKENS = frozenset({"id", "nonce", *BODY_TOKENS})

_TOKEN = re.compile(r"\{([^{}]*)\}")
# Templates such as {timestamp}{body} have no separator. A value is therefore restricted to the characters of its role:
# otherwise an attacker could move the first bytes of a signed body into the timestamp and still match the signature.
_ROLE_PATTERNS = {
    "timestamp": SIGNED_TIME,
    "nonce": re.compile(rb"[A-Za-z0-9_+/=-]{1,200}"),
}
_NAMED_TOKENS = ("header", "query", "field", "raw")
_DEFAULT_PARAMETERS = SortedParameters()

Reader = Callable[[VerificationContext], bytes]


@dataclass(frozen=True, slots=True)
class TemplateValues:
    """What the tokens of a template stand for.

    Args:
        roles: the configured sources of the tokens in `ROLES`.
        parameters: how `{sorted_params}` joins parameters.
        signature: the location of the signature, in whose place `{body_with_secret}` puts the secret.
    """

    roles: Mapping[str, ValueSource]
    parameters: SortedParameters = _DEFAULT_PARAMETERS
    signature: ValueSource | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """The signed content; `render` returns its bytes.

    `last_token` is "" if the content ends with a constant. `unseparated` are the tokens of values that border on
    another token in such a way that the end of the one value can be moved into the other.
    """

    tokens: frozenset[str]
    render: Reader
    last_token: str = ""
    unseparated: frozenset[str] = frozenset()

    def find_names(self, kind: str, sources: Mapping[str, ValueSource]) -> tuple[str, ...]:
        """Return the names of the single headers, query parameters, fields or raw members that the content contains.

        Args:
            kind: `header`, `query`, `field` or `raw`.
            sources: the sources of those tokens in `ROLES` that are to be included.
        """
        roles = [sources[role] for role in ROLES if role in self.tokens and role in sources]
        return (*_find_token_names(self.tokens, kind), *(source.name for source in roles if source.kind == kind))


def _find_token_names(tokens: frozenset[str], kind: str) -> Iterator[str]:
    for token in sorted(tokens):
        token_kind, colon, name = token.partition(":")
        if colon and token_kind == kind:
            yield name


def parse_template(text: str, values: TemplateValues) -> Template:
    """Compile the template of the signed content.

    Raises:
        ValueError: the template has no token, an unknown token or an unmatched brace.
    """
    segments = _TOKEN.split(text)
    literals, tokens = segments[::2], segments[1::2]
    if any("{" in literal or "}" in literal for literal in literals):
        raise ValueError("Unmatched brace.")
    if not tokens:
        raise ValueError(f"Must contain at least one of: {_list_tokens()}.")
    readers = [_compile_token(token, values) for token in tokens]
    normalized = frozenset(_normalize_token(token) for token in tokens)
    last_token = "" if literals[-1] else tokens[-1]
    unseparated = _find_unseparated(literals, [_normalize_token(token) for token in tokens])
    if not any(literals) and len(readers) == 1:
        return Template(normalized, readers[0], last_token)
    constants = map(_compile_literal, literals)
    parts = [part for pair in zip(constants, [*readers, _compile_literal("")], strict=True) for part in pair]
    return Template(normalized, lambda context: b"".join([part(context) for part in parts]), last_token, unseparated)


def _find_unseparated(literals: Sequence[str], tokens: Sequence[str]) -> frozenset[str]:
    """Return the tokens between which there is no text and no value of a fixed form."""
    borders = zip(tokens, literals[1:], tokens[1:], strict=False)
    pairs = [(left, right) for left, text, right in borders if not text and not _are_apart(left, right)]
    return frozenset(token for pair in pairs for token in pair if ":" in token or token in _VALUE_TOKENS)


def _are_apart(left: str, right: str) -> bool:
    """Return whether it is certain where the one value ends and the other begins.

    A path ends, and a time begins, in one place only. A body is no part of a time, nor of a query.
    """
    if not _FIXED_TOKENS.isdisjoint({left, right}) or left in _WHOLE_TOKENS or right == "timestamp":
        return True
    return right == "body" and left in {"timestamp", "url"}


def _compile_literal(text: str) -> Reader:
    value = text.encode()
    return lambda _: value


def _normalize_token(token: str) -> str:
    kind, colon, name = token.partition(":")
    return f"header:{name.lower()}" if colon and kind == "header" else token


def _compile_token(token: str, values: TemplateValues) -> Reader:
    if token in _TOKEN_READERS:
        return _TOKEN_READERS[token]
    if token == "sorted_params":  # noqa: S105  # a token of the template
        return values.parameters.join
    if token == "body_with_secret":  # noqa: S105  # a token of the template
        return _build_body_reader(values.signature)
    if token in ROLES:
        return _build_role_reader(token, values.roles)
    kind, _, name = token.partition(":")
    if kind not in _NAMED_TOKENS or not name:
        tokens = [*_list_plain_tokens(), *(f"{kind}:{name}" for kind in _NAMED_TOKENS if name)]
        raise ValueError(f"Unknown token {{{token}}}. Must be one of: {_list_tokens()}.{_suggest(token, tokens)}")
    if kind == "raw":
        return build_raw_reader(name)
    source = parse_source(token)
    if kind == "field":  # Adyen signs an absent field as an empty one.
        return source.read
    return lambda context: source.read_required(context, "signature")


def _suggest(token: str, tokens: list[str]) -> str:
    return format_suggestion(f"{{{token}}}", [f"{{{known}}}" for known in tokens])


def _build_role_reader(role: str, sources: Mapping[str, ValueSource]) -> Reader:
    if role not in sources:
        raise ValueError(f"{{{role}}} requires {role} to be set.")
    source, pattern = sources[role], _ROLE_PATTERNS.get(role)

    def read(context: VerificationContext) -> bytes:
        value = source.read_required(context, role)
        if pattern and not pattern.fullmatch(value):
            raise InvalidSignature(source.part(role), f"{source} is malformed: it is not a {role}.")
        return value

    return read


def build_raw_reader(name: str) -> Reader:
    """Return the function that reads the JSON text of a top-level member of the body."""

    def read(context: VerificationContext) -> bytes:
        try:
            member = find_raw_member(context.callback.body, name)
        except ValueError:
            message = f"The body is malformed: it is not a JSON object with one member {name}."
            raise InvalidSignature("body", message) from None
        if member is None:
            raise InvalidSignature("body", f"The member {name} is missing.")
        return member

    return read


def _build_body_reader(source: ValueSource | None) -> Reader:
    """Return the reader of the body with the secret in place of the signature, which must be in the body once."""
    if source is None or source.kind != "field":
        raise ValueError("{body_with_secret} requires the signature to be in the body.")

    def read(context: VerificationContext) -> bytes:
        signature, body = source.read_required(context, "signature"), context.callback.body
        if body.count(signature) != 1:
            raise InvalidSignature("signature", f"{source} is malformed: its text must be in the body once.")
        return body.replace(signature, context.secret)

    return read


def _list_plain_tokens() -> tuple[str, ...]:
    return (*_TOKEN_READERS, "body_with_secret", "sorted_params", *ROLES)


def _list_tokens() -> str:
    tokens = (*_list_plain_tokens(), "header:NAME", "query:NAME", "raw:NAME", "field:PATH")
    return ", ".join(f"{{{token}}}" for token in tokens)


def _read_url_without_query(context: VerificationContext) -> bytes:
    return context.encode(context.public_url + context.callback.target.partition("?")[0])


def _read_path(context: VerificationContext) -> bytes:
    _, slash, prefix = context.public_url.partition("://")[2].partition("/")
    return context.encode(slash + prefix + context.callback.target.partition("?")[0])


def _build_digest_reader(token: str) -> Reader:
    algorithm, _, form = token.partition("_")
    hash_function = getattr(hashlib, algorithm)

    def read(context: VerificationContext) -> bytes:
        digest = hash_function(context.callback.body, usedforsecurity=False)
        return b64encode(digest.digest()) if form == "b64" else digest.hexdigest().encode()

    return read


_TOKEN_READERS: Mapping[str, Reader] = {
    "body": lambda context: context.callback.body,
    "url": lambda context: context.encode(context.public_url + context.callback.target),
    "url_no_query": _read_url_without_query,
    "path": _read_path,
    "method": lambda context: context.encode(context.callback.method),
    "content_type": build_header_reader("content-type"),
    "crc32": lambda context: b"%d" % zlib.crc32(context.callback.body),
    "secret": lambda context: context.secret,
    **{token: _build_digest_reader(token) for token in BODY_DIGESTS},
}
