"""The values of a callback that a signature recipe names, and the template that joins them to the signed content.

A source is ``header:NAME``, ``query:NAME``, ``pair:KEY`` (of a ``k=v`` list in the signature's own location) or a
JMESPath into the body, which is read as callbacks are. All values are bytes: headers and query as they came over the
wire, the text of fields as UTF-8. Sources and templates are compiled once, when the configuration is read. While a
callback is verified, every malformed value raises `InvalidSignature`.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import jmespath
from jmespath.exceptions import JMESPathError

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.json_documents import JsonLines, format_number
from receiver.domain.documents.nested import expand_texts, find_nested_names
from receiver.domain.documents.reader import parse_document
from receiver.domain.times import SIGNED_TIME
from receiver.signatures.base import InvalidSignature

ROLES = ("timestamp", "id", "nonce")
"""The template tokens whose source is configured under the same name."""

_TOKEN = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[!-9;-~]+")
_MAX_FORM_FIELDS = 10_000
# Templates such as {timestamp}{body} have no separator. A value is therefore restricted to the characters of its role:
# otherwise an attacker could move the first bytes of a signed body into the timestamp and still match the signature.
_ROLE_PATTERNS = {
    "timestamp": SIGNED_TIME,
    "nonce": re.compile(rb"[A-Za-z0-9_+/=-]{1,200}"),
}
_NOT_PARSED = object()
_KIND_NAMES = {"json": "JSON", "form": "a form", "multipart": "multipart", "xml": "XML"}
BODY_TOKENS = frozenset({"body", "md5_b64", "sha256_hex"})
"""The template tokens that cover the whole body."""

Search = Callable[[Any], Any]
"""The search of a compiled JMESPath: takes a document, returns the value."""


class VerificationContext:
    """A callback, or one item of it, during verification. The body is parsed only when a path needs it.

    Args:
        callback: the callback as received.
        public_url: replaces the callback's own public URL unless it is "".
        document: the item, already parsed; by default the whole body.
        body_kind: the kind as which the body is parsed; by default JSON or a form, by its media type.
    """

    __slots__ = ("_body_kind", "_document", "callback", "pairs", "public_url")

    def __init__(
        self, callback: IncomingCallback, public_url: str = "", document: Any = _NOT_PARSED, body_kind: str = ""
    ) -> None:
        self.callback = callback
        self._body_kind = body_kind
        self.public_url = public_url or callback.public_url
        self.pairs: Mapping[bytes, list[bytes]] = {}
        self._document = document

    def search(self, search: Search) -> Any:
        """Return the result of a compiled path in the document.

        Raises:
            InvalidSignature: the body cannot be parsed, or the path fails on it.
        """
        if self._document is _NOT_PARSED:
            self._document = _parse_body(self.callback, self._body_kind)
        if isinstance(self._document, JsonLines):
            # Each line is read by itself, while a path into all of them would find nothing that could be signed.
            raise InvalidSignature("body", "The body is malformed: it has several documents, and none is signed.")
        try:
            return search(self._document)
        except Exception:  # a configured path may call functions, which fail in many ways on unexpected values
            raise InvalidSignature("body", "The body is malformed: a path of the recipe fails on it.") from None

    def encode(self, text: str) -> bytes:
        """Return the bytes of text that came over the wire, which a WSGI server decodes as latin-1."""
        return text.encode("latin-1", "replace")


@dataclass(frozen=True, slots=True)
class ValueSource:
    """The location of a value; `read` returns b"" if the value is missing."""

    kind: str
    name: str
    read: Callable[[VerificationContext], bytes]

    def __str__(self) -> str:
        if self.kind == "field":
            return f"The field {self.name}"
        return f"The {self.kind} {self.name}"

    def part(self, role: str) -> str:
        """Return the name of the failed part for errors: the header's or parameter's name, else the value's role."""
        return self.name if self.kind in {"header", "query"} else role

    def read_required(self, context: VerificationContext, role: str) -> bytes:
        """Return the value.

        Raises:
            InvalidSignature: the value is missing.
        """
        value = self.read(context)
        if not value:
            raise InvalidSignature(self.part(role), f"{self} is missing.")
        return value


@dataclass(frozen=True, slots=True)
class Template:
    """The signed content; `render` returns its bytes."""

    tokens: frozenset[str]
    render: Callable[[VerificationContext], bytes]

    def covers(self, role: str, source: ValueSource) -> bool:
        """Return whether a change of the value changes the content."""
        covering = {role, f"{source.kind}:{source.name}"}
        if source.kind == "field":
            covering |= BODY_TOKENS | {"sorted_params"}
        if source.kind == "query":
            covering.add("url")
        return not covering.isdisjoint(self.tokens)

    def find_names(self, kind: str, sources: Mapping[str, ValueSource]) -> tuple[str, ...]:
        """Return the names of the single headers, query parameters or fields that the content contains.

        Args:
            kind: `header`, `query` or `field`.
            sources: the sources of those tokens in `ROLES` that are to be included.
        """
        roles = [sources[role] for role in ROLES if role in self.tokens and role in sources]
        return (*_find_token_names(self.tokens, kind), *(source.name for source in roles if source.kind == kind))


def _find_token_names(tokens: frozenset[str], kind: str) -> Iterator[str]:
    for token in sorted(tokens):
        token_kind, colon, name = token.partition(":")
        if colon and token_kind == kind:
            yield name


def compile_path(path: str) -> Search:
    """Compile a JMESPath.

    Raises:
        ValueError: the path is invalid.
    """
    try:
        compiled = jmespath.compile(path)
    except (JMESPathError, RecursionError):
        raise ValueError("Must be header:NAME, query:NAME or a JMESPath.") from None
    search: Search = compiled.search
    names = find_nested_names([path])
    return (lambda document: search(expand_texts(document, names))) if names else search


def parse_source(text: str) -> ValueSource:
    """Compile a source.

    Raises:
        ValueError: the source is invalid.
    """
    kind, _, name = text.partition(":")
    if kind not in _READER_FACTORIES:
        kind, name = "field", text
    if kind != "field" and not _NAME.fullmatch(name):
        raise ValueError(f"Must be {kind}: followed by a name in ASCII without spaces or colons.")
    if kind == "header" and "_" in name:
        raise ValueError("Must not contain an underscore: web servers drop such headers, so that it is never received.")
    name = name.lower() if kind == "header" else name
    return ValueSource(kind, name, _READER_FACTORIES[kind](name))


def parse_template(text: str, sources: Mapping[str, ValueSource]) -> Template:
    """Compile the template of the signed content.

    Args:
        text: the template, with tokens in braces.
        sources: the configured sources of the tokens in `ROLES`.

    Raises:
        ValueError: the template has no token, an unknown token or an unmatched brace.
    """
    segments = _TOKEN.split(text)
    literals, tokens = segments[::2], segments[1::2]
    if any("{" in literal or "}" in literal for literal in literals):
        raise ValueError("Unmatched brace.")
    if not tokens:
        raise ValueError(f"Must contain at least one of: {_list_tokens()}.")
    readers = [_compile_token(token, sources) for token in tokens]
    normalized = frozenset(_normalize_token(token) for token in tokens)
    if not any(literals) and len(readers) == 1:
        return Template(normalized, readers[0])
    constants = map(_compile_literal, literals)
    parts = [part for pair in zip(constants, [*readers, _compile_literal("")], strict=True) for part in pair]
    return Template(normalized, lambda context: b"".join([part(context) for part in parts]))


def _compile_literal(text: str) -> Callable[[VerificationContext], bytes]:
    value = text.encode()
    return lambda _: value


def _normalize_token(token: str) -> str:
    kind, colon, name = token.partition(":")
    return f"header:{name.lower()}" if colon and kind == "header" else token


def _compile_token(token: str, sources: Mapping[str, ValueSource]) -> Callable[[VerificationContext], bytes]:
    if token in _TOKEN_READERS:
        return _TOKEN_READERS[token]
    if token in ROLES:
        if token not in sources:
            raise ValueError(f"{{{token}}} requires {token} to be set.")
        source, pattern = sources[token], _ROLE_PATTERNS.get(token)

        def read(context: VerificationContext) -> bytes:
            value = source.read_required(context, token)
            if pattern and not pattern.fullmatch(value):
                raise InvalidSignature(source.part(token), f"{source} is malformed: it is not a {token}.")
            return value

        return read
    kind, _, name = token.partition(":")
    if kind not in {"header", "query", "field"} or not name:
        raise ValueError(f"Unknown token {{{token}}}. Must be one of: {_list_tokens()}.")
    source = parse_source(token)
    if kind == "field":  # Adyen signs an absent field as an empty one.
        return source.read
    return lambda context: source.read_required(context, "signature")


def _list_tokens() -> str:
    tokens = (*_TOKEN_READERS, *ROLES, "header:NAME", "query:NAME", "field:PATH")
    return ", ".join(f"{{{token}}}" for token in tokens)


def _parse_body(callback: IncomingCallback, body_kind: str) -> Any:
    kind = body_kind or ("form" if callback.media_type == FORM_MEDIA_TYPE else "json")
    try:
        return parse_document(kind, callback.body, callback.headers.get("content-type", ""))
    except UnreadableDocument:
        raise InvalidSignature("body", f"The body is malformed: it is not {_KIND_NAMES[kind]}.") from None


def _parse_parameters(encoded: str) -> list[tuple[bytes, bytes]]:
    """Decode form or query parameters, latin-1 text as it came over the wire, into bytes."""
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, encoding="latin-1", max_num_fields=_MAX_FORM_FIELDS)
    except ValueError:
        raise InvalidSignature("body", f"There are more than {_MAX_FORM_FIELDS} parameters.") from None
    return [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in pairs]


def _encode_scalar(value: Any, path: str) -> bytes:
    if value is None:
        return b""
    if isinstance(value, str):
        try:
            return value.encode("utf-8", "surrogateescape")  # bytes that are no text are signed as they are
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogatepass")  # the escape of half a surrogate pair in JSON
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int | float):
        return format_number(value).encode()
    raise InvalidSignature("body", f"The body is malformed: {path} is neither text nor a number.")


def _get_single(values: list[bytes], part: str, label: str) -> bytes:
    # Of several values the signer and the reader might each use a different one.
    if len(values) > 1:
        raise InvalidSignature(part, f"{label} is malformed: it occurs more than once.")
    return values[0] if values else b""


def _build_header_reader(name: str) -> Callable[[VerificationContext], bytes]:
    return lambda context: context.callback.headers.get(name, "").encode("latin-1", "replace")


def _build_query_reader(name: str) -> Callable[[VerificationContext], bytes]:
    key = name.encode()

    def read(context: VerificationContext) -> bytes:
        values = {value for parameter, value in _parse_parameters(context.callback.query) if parameter == key}
        return _get_single(list(values), name, f"The query {name}")

    return read


def _build_pair_reader(key: str) -> Callable[[VerificationContext], bytes]:
    encoded_key = key.encode()
    return lambda context: _get_single(context.pairs.get(encoded_key, []), "signature", f"The pair {key}")


def _build_field_reader(path: str) -> Callable[[VerificationContext], bytes]:
    search = compile_path(path)
    return lambda context: _encode_scalar(context.search(search), path)


def _read_url_without_query(context: VerificationContext) -> bytes:
    return context.encode(context.public_url + context.callback.target.partition("?")[0])


def _read_path(context: VerificationContext) -> bytes:
    _, slash, prefix = context.public_url.partition("://")[2].partition("/")
    return context.encode(slash + prefix + context.callback.target.partition("?")[0])


def sort_parameters(callback: IncomingCallback) -> list[tuple[bytes, bytes]]:
    """Return name and value of each form parameter, sorted, each distinct pair once, as Twilio's libraries do.

    Raises:
        InvalidSignature: the body is not a form.
    """
    if callback.body and callback.media_type != FORM_MEDIA_TYPE:
        raise InvalidSignature("body", "The body is malformed: it is not the form whose parameters are signed.")
    return sorted(set(_parse_parameters(callback.body.decode("latin-1"))))


def _read_sorted_params(context: VerificationContext) -> bytes:
    return b"".join(name + value for name, value in sort_parameters(context.callback))


_READER_FACTORIES: Mapping[str, Callable[[str], Callable[[VerificationContext], bytes]]] = {
    "header": _build_header_reader,
    "query": _build_query_reader,
    "pair": _build_pair_reader,
    "field": _build_field_reader,
}
_TOKEN_READERS: Mapping[str, Callable[[VerificationContext], bytes]] = {
    "body": lambda context: context.callback.body,
    "url": lambda context: context.encode(context.public_url + context.callback.target),
    "url_no_query": _read_url_without_query,
    "path": _read_path,
    "method": lambda context: context.encode(context.callback.method),
    "content_type": _build_header_reader("content-type"),
    "md5_b64": lambda context: b64encode(hashlib.md5(context.callback.body, usedforsecurity=False).digest()),
    "sha256_hex": lambda context: hashlib.sha256(context.callback.body).hexdigest().encode(),
    "sorted_params": _read_sorted_params,
}
