"""The pieces of a callback that a signature recipe names: where they stand, and the template that joins them.

A source is ``header:NAME``, ``query:NAME``, ``pair:KEY`` (of a ``k=v`` list in the signature's own place) or a JMESPath
into the body, JSON or form. All are given as bytes: header and query as they came over the wire, JSON text as UTF-8.
Everything is compiled once; what a stranger sends is refused as a signature, whatever is wrong with it.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import jmespath
import orjson
from jmespath.exceptions import JMESPathError

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.base import SignatureRefused

ROLES = ("timestamp", "id", "nonce")
"""The tokens that stand for a source of their own."""

_TOKEN = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[!-9;-~]+")
_MOST_FIELDS = 10_000
# Where nothing stands between the pieces of the content, what does not look like a time or nonce may be body.
_FORMS = {"timestamp": re.compile(rb"[0-9TtZz:. +-]{1,40}"), "nonce": re.compile(rb"[A-Za-z0-9_+/=-]{1,200}")}
_UNREAD = object()
_OF_BODY = frozenset({"body", "md5_b64", "sha256_hex"})

Find = Callable[[Any], Any]


class Evidence:
    """One delivery, or one item of it, while it is verified; the body is parsed only when a path asks for it."""

    __slots__ = ("_document", "callback", "pairs", "public_url")

    def __init__(self, callback: IncomingCallback, public_url: str = "", document: Any = _UNREAD) -> None:
        self.callback = callback
        self.public_url = public_url or callback.public_url
        self.pairs: Mapping[bytes, list[bytes]] = {}
        self._document = document

    def search(self, find: Find) -> Any:
        """Give what a compiled path finds.

        Raises:
            SignatureRefused: the body cannot be read, or not by this path.
        """
        if self._document is _UNREAD:
            self._document = _document_of(self.callback)
        try:
            return find(self._document)
        except Exception:  # a configured expression may call functions, which fail in many ways on a stranger's values
            raise SignatureRefused("body", "the body is malformed: a path of the recipe does not fit it") from None

    def wire(self, text: str) -> bytes:
        """Give what came over the wire, which a web server reads as latin-1."""
        return text.encode("latin-1", "replace")


@dataclass(frozen=True, slots=True)
class ValueSource:
    """Where a piece stands; `read` gives b"" where it is missing."""

    kind: str
    name: str
    read: Callable[[Evidence], bytes]

    def __str__(self) -> str:
        if self.kind == "field":
            return f"the field {self.name}"
        return f"the {self.kind} {self.name}"

    def part(self, role: str) -> str:
        """Give the name that a refusal calls it by: of the header or parameter, else its role."""
        return self.name if self.kind in {"header", "query"} else role

    def need(self, evidence: Evidence, role: str) -> bytes:
        """Give the piece.

        Raises:
            SignatureRefused: it is missing.
        """
        value = self.read(evidence)
        if not value:
            raise SignatureRefused(self.part(role), f"{self} is missing")
        return value


@dataclass(frozen=True, slots=True)
class Template:
    """Signed content; `render` gives its bytes."""

    tokens: frozenset[str]
    render: Callable[[Evidence], bytes]

    def covers(self, role: str, source: ValueSource) -> bool:
        """Whether a change of the piece would change the content."""
        named = {role, f"{source.kind}:{source.name}"}
        if source.kind == "field":
            named |= _OF_BODY
        if source.kind == "query":
            named.add("url")
        return not named.isdisjoint(self.tokens)


def compile_find(path: str) -> Find:
    """Compile a JMESPath.

    Raises:
        ValueError: it is none.
    """
    try:
        compiled = jmespath.compile(path)
    except (JMESPathError, RecursionError):
        raise ValueError("must be header:NAME, query:NAME or a JMESPath") from None
    find: Find = compiled.search
    return find


def parse_source(text: str) -> ValueSource:
    """Compile a source.

    Raises:
        ValueError: it is none.
    """
    kind, _, name = text.partition(":")
    if kind not in _SOURCES:
        kind, name = "field", text
    if kind != "field" and not _NAME.fullmatch(name):
        raise ValueError(f"{kind}: needs a name in ASCII without spaces or colons")
    name = name.lower() if kind == "header" else name
    return ValueSource(kind, name, _SOURCES[kind](name))


def parse_template(text: str, sources: Mapping[str, ValueSource]) -> Template:
    """Compile the template of signed content.

    Args:
        text: with tokens in braces.
        sources: what the tokens of `ROLES` stand for, as far as it is set.

    Raises:
        ValueError: it holds no token, an unknown one or a brace without its partner.
    """
    pieces = _TOKEN.split(text)
    literals, tokens = pieces[::2], pieces[1::2]
    if any("{" in literal or "}" in literal for literal in literals):
        raise ValueError("holds a brace without its partner")
    if not tokens:
        raise ValueError(f"must hold at least one of {_known()}")
    reads = [_token(token, sources) for token in tokens]
    canonical = frozenset(_canonical(token) for token in tokens)
    if not any(literals) and len(reads) == 1:
        return Template(canonical, reads[0])
    parts = [part for pair in zip(map(_literal, literals), [*reads, _literal("")], strict=True) for part in pair]
    return Template(canonical, lambda evidence: b"".join([part(evidence) for part in parts]))


def _literal(text: str) -> Callable[[Evidence], bytes]:
    value = text.encode()
    return lambda _: value


def _canonical(token: str) -> str:
    kind, colon, name = token.partition(":")
    return f"header:{name.lower()}" if colon and kind == "header" else token


def _token(token: str, sources: Mapping[str, ValueSource]) -> Callable[[Evidence], bytes]:
    if token in _FIXED:
        return _FIXED[token]
    if token in ROLES:
        if token not in sources:
            raise ValueError(f"{{{token}}} needs {token} to be set")
        role, form = sources[token], _FORMS.get(token)

        def read(evidence: Evidence) -> bytes:
            value = role.need(evidence, token)
            if form and not form.fullmatch(value):
                raise SignatureRefused(role.part(token), f"{role} is malformed: it is no {token}")
            return value

        return read
    kind, _, name = token.partition(":")
    if kind not in {"header", "query", "field"} or not name:
        raise ValueError(f"{{{token}}} is not known; known are {_known()}")
    source = parse_source(token)
    if kind == "field":  # Adyen: an absent field is signed as an empty one
        return source.read
    return lambda evidence: source.need(evidence, "signature")


def _known() -> str:
    known: Collection[str] = (*_FIXED, *ROLES, "header:NAME", "query:NAME", "field:PATH")
    return " ".join(f"{{{token}}}" for token in known)


def _document_of(callback: IncomingCallback) -> Any:
    if callback.media_type == FORM_MEDIA_TYPE:
        return _form_of(callback.body)
    try:
        return orjson.loads(callback.body)
    except orjson.JSONDecodeError:
        raise SignatureRefused("body", "the body is malformed: it is not JSON") from None


def _form_of(body: bytes) -> dict[str, Any]:
    """Give a form's fields; one that is there more than once gives a list, which no signed field may be."""
    form: dict[str, Any] = {}
    for name, value in _pairs_of(body.decode("latin-1")):
        given = value.decode("utf-8", "surrogateescape")
        form.setdefault(name.decode("utf-8", "surrogateescape"), []).append(given)
    return {name: values[0] if len(values) == 1 else values for name, values in form.items()}


def _pairs_of(encoded: str) -> list[tuple[bytes, bytes]]:
    """Decode form or query parameters, latin-1 text as it came over the wire, into bytes."""
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, encoding="latin-1", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise SignatureRefused("body", f"the parameters are malformed: more than {_MOST_FIELDS}") from None
    return [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in pairs]


def _scalar(value: Any, source: str) -> bytes:
    if value is None:
        return b""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, float):
        return orjson.dumps(value)
    raise SignatureRefused("body", f"the body is malformed: {source} is neither text nor a number")


def _only(values: list[bytes], part: str, what: str) -> bytes:
    if len(values) > 1:
        raise SignatureRefused(part, f"{what} is malformed: it is there more than once")
    return values[0] if values else b""


def _header(name: str) -> Callable[[Evidence], bytes]:
    return lambda evidence: evidence.callback.headers.get(name, "").encode("latin-1", "replace")


def _query(name: str) -> Callable[[Evidence], bytes]:
    wanted = name.encode()

    def read(evidence: Evidence) -> bytes:
        given = [value for key, value in _pairs_of(evidence.callback.query) if key == wanted]
        return _only(given, name, f"the query {name}")

    return read


def _pair(key: str) -> Callable[[Evidence], bytes]:
    wanted = key.encode()
    return lambda evidence: _only(evidence.pairs.get(wanted, []), "signature", f"the pair {key}")


def _field(path: str) -> Callable[[Evidence], bytes]:
    find = compile_find(path)
    return lambda evidence: _scalar(evidence.search(find), path)


def _url_no_query(evidence: Evidence) -> bytes:
    return evidence.wire(evidence.public_url + evidence.callback.target.partition("?")[0])


def _path(evidence: Evidence) -> bytes:
    _, slash, prefix = evidence.public_url.partition("://")[2].partition("/")
    return evidence.wire(slash + prefix + evidence.callback.target.partition("?")[0])


def _sorted_params(evidence: Evidence) -> bytes:
    """Name and value of each parameter of the form, sorted, each distinct value of a name once (Twilio's libraries)."""
    body = evidence.callback.body
    if body and evidence.callback.media_type != FORM_MEDIA_TYPE:
        raise SignatureRefused("body", "the body is malformed: it is not the form whose parameters are signed")
    return b"".join(name + value for name, value in sorted(set(_pairs_of(body.decode("latin-1")))))


_SOURCES: Mapping[str, Callable[[str], Callable[[Evidence], bytes]]] = {
    "header": _header,
    "query": _query,
    "pair": _pair,
    "field": _field,
}
_FIXED: Mapping[str, Callable[[Evidence], bytes]] = {
    "body": lambda evidence: evidence.callback.body,
    "url": lambda evidence: evidence.wire(evidence.public_url + evidence.callback.target),
    "url_no_query": _url_no_query,
    "path": _path,
    "method": lambda evidence: evidence.wire(evidence.callback.method),
    "content_type": _header("content-type"),
    "md5_b64": lambda evidence: b64encode(hashlib.md5(evidence.callback.body, usedforsecurity=False).digest()),
    "sha256_hex": lambda evidence: hashlib.sha256(evidence.callback.body).hexdigest().encode(),
    "sorted_params": _sorted_params,
}
