"""The values of a callback that a signature recipe names.

A source is ``header:NAME``, ``query:NAME``, ``pair:KEY`` (of a ``k=v`` list in the signature's own location) or a
JMESPath into the body, which is read as callbacks are. All values are bytes: headers and query as they came over the
wire, the text of fields as UTF-8. Sources are compiled once, when the configuration is read. While a callback is
verified, every malformed value raises `InvalidSignature`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

import jmespath
from jmespath.exceptions import JMESPathError

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.json_documents import format_number
from receiver.domain.documents.nested import expand_texts, find_nested_names
from receiver.domain.documents.reader import parse_document
from receiver.domain.suggestions import format_suggestion
from receiver.signatures.base import InvalidSignature

_NAME = re.compile(r"[!-9;-~]+")
_MAX_FORM_FIELDS = 10_000
_NOT_PARSED = object()
_KIND_NAMES = {"json": "JSON", "form": "a form", "multipart": "multipart", "xml": "XML"}
Search = Callable[[Any], Any]
"""The search of a compiled JMESPath: takes a document, returns the value."""


class VerificationContext:
    """A callback, or one item of it, during verification. The body is parsed only when a path needs it.

    Args:
        callback: the callback as received.
        public_url: replaces the callback's own public URL unless it is "".
        document: the item, already parsed; by default the whole body.
        body_kind: the kind as which the body is parsed; by default JSON or a form, by its media type.

    Attributes:
        pairs: the key=value pairs beside the signature that is being verified.
        secret: the secret that is part of the content, for a digest.
    """

    __slots__ = ("_document", "body_kind", "callback", "pairs", "public_url", "secret")

    def __init__(
        self, callback: IncomingCallback, public_url: str = "", document: Any = _NOT_PARSED, body_kind: str = ""
    ) -> None:
        self.callback = callback
        self.body_kind = body_kind
        self.public_url = public_url or callback.public_url
        self.pairs: Mapping[bytes, list[bytes]] = {}
        self.secret = b""
        self._document = document

    def with_target(self, target: str) -> "VerificationContext":
        """Return the context of the same callback with another spelling of its target."""
        callback = replace(self.callback, target=target)
        context = VerificationContext(callback, self.public_url, self._document, self.body_kind)
        context.pairs, context.secret = self.pairs, self.secret
        return context

    def read_document(self) -> Any:
        """Return the parsed body, or the item.

        Raises:
            InvalidSignature: the body cannot be parsed.
        """
        if self._document is _NOT_PARSED:
            self._document = _parse_body(self.callback, self.body_kind)
        return self._document

    def search(self, search: Search) -> Any:
        """Return the result of a compiled path in the document.

        Raises:
            InvalidSignature: the body cannot be parsed, or the path fails on it.
        """
        document = self.read_document()
        try:
            return search(document)
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


def compile_path(path: str, *, with_pairs: bool = False) -> Search:
    """Compile a JMESPath.

    Args:
        path: the JMESPath.
        with_pairs: whether a ``pair:NAME`` is allowed in its place, for the error.

    Raises:
        ValueError: the path is invalid.
    """
    try:
        compiled = jmespath.compile(path)
    except (JMESPathError, RecursionError):
        prefixes = ("header", "query", "pair") if with_pairs else ("header", "query")
        forms = ", ".join(f"{prefix}:NAME" for prefix in prefixes)
        raise ValueError(f"Must be {forms} or a JMESPath.{_suggest_prefix(path, prefixes)}") from None
    members = _list_members(compiled.parsed)
    search: Search = compiled.search if members is None else _build_member_search(members)
    names = find_nested_names([path])
    return (lambda document: search(expand_texts(document, names))) if names else search


def _suggest_prefix(path: str, prefixes: Sequence[str]) -> str:
    prefix, _, name = path.partition(":")
    is_source = prefix.isalnum() and _NAME.fullmatch(name)
    return format_suggestion(path, [f"{known}:{name}" for known in prefixes]) if is_source else ""


def _list_members(node: Any) -> list[str] | None:
    """Return the names of a path that consists of nothing but names; None for any other path."""
    if node["type"] == "field":
        return [node["value"]]
    if node["type"] != "subexpression":
        return None
    names = [_list_members(child) for child in node["children"]]
    return None if None in names else [name for child_names in names for name in child_names or ()]


def _build_member_search(names: Sequence[str]) -> Search:
    """Return the search for a member, with the result of JMESPath in a tenth of its time."""

    def search(document: Any) -> Any:
        for name in names:
            if not isinstance(document, dict):
                return None
            document = document.get(name)
        return document

    return search


def parse_source(text: str, *, with_pairs: bool = False) -> ValueSource:
    """Compile a source; `with_pairs` is whether the error for a wrong one names ``pair:NAME``, too.

    Raises:
        ValueError: the source is invalid.
    """
    kind, _, name = text.partition(":")
    if kind != "field" and kind not in _READER_FACTORIES:
        kind, name = "field", text
    if kind != "field" and not _NAME.fullmatch(name):
        raise ValueError(f"Must be {kind}: followed by a name in ASCII without spaces or colons.")
    if kind == "header" and "_" in name:
        raise ValueError("Must not contain an underscore: web servers drop such headers, so that it is never received.")
    if kind == "field":
        return ValueSource(kind, name, _build_field_reader(name, with_pairs=with_pairs))
    name = name.lower() if kind == "header" else name
    return ValueSource(kind, name, _READER_FACTORIES[kind](name))


def _parse_body(callback: IncomingCallback, body_kind: str) -> Any:
    kind = body_kind or ("form" if callback.media_type == FORM_MEDIA_TYPE else "json")
    try:
        # Of several documents, one on each line, none is signed. Anybody could have hundreds of thousands parsed.
        return parse_document(kind, callback.body, callback.headers.get("content-type", ""), allows_lines=False)
    except UnreadableDocument:
        raise InvalidSignature("body", f"The body is malformed: it is not {_KIND_NAMES[kind]}.") from None


def parse_parameters(encoded: str) -> list[tuple[bytes, bytes]]:
    """Decode form or query parameters, latin-1 text as it came over the wire, into bytes.

    Raises:
        InvalidSignature: there are too many of them.
    """
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, encoding="latin-1", max_num_fields=_MAX_FORM_FIELDS)
    except ValueError:
        raise InvalidSignature("body", f"There are more than {_MAX_FORM_FIELDS} parameters.") from None
    return [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in pairs]


def encode_scalar(value: Any, path: str) -> bytes:
    """Return the text of a JSON value.

    Raises:
        InvalidSignature: the value is an object or an array.
    """
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


def build_header_reader(name: str) -> Callable[[VerificationContext], bytes]:
    """Return the function that reads a header, whose name is in lower case."""
    return lambda context: context.callback.headers.get(name, "").encode("latin-1", "replace")


def _build_query_reader(name: str) -> Callable[[VerificationContext], bytes]:
    key = name.encode()

    def read(context: VerificationContext) -> bytes:
        values = {value for parameter, value in parse_parameters(context.callback.query) if parameter == key}
        return _get_single(list(values), name, f"The query {name}")

    return read


def _build_pair_reader(key: str) -> Callable[[VerificationContext], bytes]:
    encoded_key = key.encode()
    return lambda context: _get_single(context.pairs.get(encoded_key, []), "signature", f"The pair {key}")


def _build_field_reader(path: str, *, with_pairs: bool) -> Callable[[VerificationContext], bytes]:
    search = compile_path(path, with_pairs=with_pairs)
    return lambda context: encode_scalar(context.search(search), path)


_READER_FACTORIES: Mapping[str, Callable[[str], Callable[[VerificationContext], bytes]]] = {
    "header": build_header_reader,
    "query": _build_query_reader,
    "pair": _build_pair_reader,
}
