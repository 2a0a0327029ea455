"""HTTP Message Signatures (RFC 9421) by hmac-sha256 or ed25519, with the body's digest by RFC 9530.

Of the RFC it takes what a provider's requests need: whole header fields and the components derived from the request,
each without parameters. Signatures must be serialised canonically (RFC 9651), as signers write them, so that what is
signed is read and never rewritten.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256, sha512

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.account_tokens import with_public_url
from receiver.signatures.base import MAX_SIGNATURES, NO_DOCUMENTS, InvalidSecret, Scheme, SignatureRefused
from receiver.signatures.keys import PublicKey
from receiver.signatures.standard_webhooks import DEFAULT_TOLERANCE, encode_key

BODY_AND_TARGET = ("@method", "@target-uri", "content-digest")
_DERIVED = frozenset({"@method", "@target-uri", "@authority", "@scheme", "@path", "@query", "@request-target"})
_ED25519_PREFIX = "ed25519:"
_BASE64_PREFIX = "base64:"
_OWN_PORTS = {"http": ":80", "https": ":443"}
_DIGESTS = {"sha-256": sha256, "sha-512": sha512}

# The parts of a structured field. Every repetition is possessive: malformed input is read once and never tried again.
_KEY = r"[a-z*][a-z0-9_.*-]*+"
_STRING = r'"(?:[ !#-\[\]-~]|\\["\\])*+"'
_BYTES = r":[A-Za-z0-9+/]*+={0,2}+:"
_TOKEN = r"[A-Za-z*][A-Za-z0-9:/!#$%&'*+.^_`|~-]*+"  # noqa: S105  # a structured field's token, not a secret
_BARE = rf"(?:{_STRING}|{_BYTES}|-?[0-9]{{1,15}}+|\?[01]|{_TOKEN})"
_PARAMS = rf"(?:;{_KEY}(?:={_BARE})?+)*+"
_ITEM = rf"{_STRING}{_PARAMS}"
_INPUT = re.compile(
    rf"(?P<label>{_KEY})=(?P<value>\((?P<components>(?:{_ITEM}(?: {_ITEM})*+)?+)\)(?P<params>{_PARAMS}))"
)
_BYTE_SEQUENCE = re.compile(rf"(?P<label>{_KEY})=:(?P<value>[^:]*+):")
_PARAM = re.compile(rf";(?P<name>{_KEY})(?:=(?P<value>{_BARE}))?+")
_COMMA = re.compile(r"[ \t]*+,[ \t]*+")
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_COMPONENT = re.compile(r'"(@?[a-z0-9!#$%&\'*+.^_`|~-]+)"')
_LINE = re.compile(r"[\t -~\x80-\xff]*")
_URL = re.compile(
    r"(?P<scheme>https?)://(?:[^/?@]*@)?(?P<host>\[[^]/?@]+\]|[^]/?@:[]+)(?P<port>:[0-9]+)?(?P<rest>(?:[/?].*)?)",
    re.DOTALL,
)


def parse_key(secret: str) -> bytes | PublicKey:
    """Give the key in `secret`: ``ed25519:<base64 of 32 bytes>``, ``base64:<a shared secret>``, or a secret as text.

    Raises:
        BadSecret: it is empty, or not of the form that its prefix says.
    """
    kind = next((prefix for prefix in (_ED25519_PREFIX, _BASE64_PREFIX) if secret.startswith(prefix)), None)
    if kind is None:
        return encode_key(secret)
    try:
        key = b64decode(secret.removeprefix(kind), validate=True)
    except ValueError:
        raise InvalidSecret(f"must be base64 after the prefix {kind}") from None
    if not key:
        raise InvalidSecret("must not be empty")
    return PublicKey(key) if kind == _ED25519_PREFIX else key


@dataclass(frozen=True, slots=True)
class HTTPMessageSignatures(Scheme):
    """Verifies a request's signatures against any of several live keys; one that matches is enough.

    Args:
        keys: as `parse_key` reads them; the key's kind alone decides the algorithm.
        tolerance: seconds between the parameter ``created`` and receipt, either way.
        components: what a signature must cover at least. Without ``content-digest`` nothing signs the body.
        public_url: the part of the URL before the request's target, where it is not that of the delivery.

    Raises:
        BadSecret: a key is malformed, or a component is not supported, or there is none.
    """

    keys: Sequence[str] = field(repr=False)
    tolerance: float = DEFAULT_TOLERANCE
    components: tuple[str, ...] = BODY_AND_TARGET
    public_url: str | None = None
    _keys: tuple[bytes | PublicKey, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.components or not all(map(_is_supported, self.components)):
            raise InvalidSecret("the components must be lower-case header names or supported derived components")
        object.__setattr__(self, "_keys", tuple(map(parse_key, self.keys)))

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        callback = with_public_url(self.public_url, callback)
        inputs = _members(callback, "signature-input", _INPUT)
        if len(inputs) > MAX_SIGNATURES:
            raise SignatureRefused("signature-input", "the header signature-input is malformed: too many signatures")
        signatures = _members(callback, "signature", _BYTE_SEQUENCE)
        refusal = SignatureRefused("signature", "no label is in both signature-input and signature")
        for label in (label for label in inputs if label in signatures):
            try:
                return self._verify_one(callback, inputs[label], signatures[label]["value"])
            except SignatureRefused as error:
                refusal = error
        raise refusal

    @property
    def covers_query(self) -> bool:
        return not {"@target-uri", "@query", "@request-target"}.isdisjoint(self.components)

    def covers(self, kind: str, name: str) -> bool:
        return (kind == "header" and name.lower() in self.components) or super(HTTPMessageSignatures, self).covers(
            kind, name
        )

    def _verify_one(self, callback: IncomingCallback, signed: re.Match[str], signature: str) -> int:
        covered, params = _components(signed["components"]), _params(signed["params"])
        for name in self.components:
            if name not in covered:
                raise SignatureRefused("signature-input", f"the signature does not cover {name}")
        self._check_times(params, callback.received_at.timestamp())
        lines = [f'"{name}": {_value(callback, name)}' for name in covered]
        content = "\n".join([*lines, f'"@signature-params": {signed["value"]}']).encode("latin-1")
        index = self._match(params.get("alg"), content, signature)
        if "content-digest" in covered:
            _check_digest(callback)
        return index

    def _check_times(self, params: Mapping[str, str], now: float) -> None:
        age = now - _seconds(params, "created")
        if abs(age) > self.tolerance:
            raise SignatureRefused("created", f"signed {age:.0f} s ago; {self.tolerance:.0f} s are tolerated")
        if "expires" in params and now >= _seconds(params, "expires"):
            raise SignatureRefused("expires", "the signature has expired")

    def _match(self, algorithm: str | None, content: bytes, signature: str) -> int:
        for index, key in enumerate(self._keys):
            own, verifies = ('"ed25519"', _by_key) if isinstance(key, PublicKey) else ('"hmac-sha256"', _by_secret)
            if algorithm in (None, own) and verifies(key, content, signature.encode("latin-1", "replace")):
                return index
        raise SignatureRefused("signature", "the signature matches no live key of its algorithm")


def _by_key(key: bytes | PublicKey, content: bytes, given: bytes) -> bool:
    try:
        signature = b64decode(given, validate=True)
    except ValueError:
        return False
    return isinstance(key, PublicKey) and b64encode(signature) == given and key.verifies(signature, content)


def _by_secret(key: bytes | PublicKey, content: bytes, given: bytes) -> bool:
    return isinstance(key, bytes) and hmac.compare_digest(b64encode(hmac.digest(key, content, "sha256")), given)


def _is_supported(name: str) -> bool:
    return name in _DERIVED or (not name.startswith("@") and _COMPONENT.fullmatch(f'"{name}"') is not None)


def _members(callback: IncomingCallback, header: str, form: re.Pattern[str]) -> dict[str, re.Match[str]]:
    """Read a header field that is a dictionary, each of whose members is of `form`; label → member."""
    text, members, position = callback.headers.get(header, "").strip(" \t"), {}, 0
    while found := form.match(text, position):
        if found["label"] in members:
            raise SignatureRefused(header, f"the header {header} has a label twice")
        members[found["label"]] = found
        if found.end() == len(text):
            return members
        comma = _COMMA.match(text, found.end())
        position = comma.end() if comma else len(text)
    raise SignatureRefused(header, f"the header {header} is missing or malformed")


def _components(text: str) -> list[str]:
    names: dict[str, None] = {}
    for item in text.split(" "):
        found = _COMPONENT.fullmatch(item)
        if found is None or not _is_supported(found[1]) or found[1] in names:
            raise SignatureRefused("signature-input", "a component is unsupported, has parameters or stands twice")
        names[found[1]] = None
    return list(names)


def _params(text: str) -> dict[str, str]:
    found = [(param["name"], param["value"] or "") for param in _PARAM.finditer(text)]
    if len(dict(found)) != len(found):
        raise SignatureRefused("signature-input", "a parameter of the signature stands twice")
    return dict(found)


def _seconds(params: Mapping[str, str], name: str) -> int:
    if not _SECONDS.fullmatch(params.get(name, "")):
        raise SignatureRefused(name, f"the parameter {name} is not whole Unix seconds")
    return int(params[name])


def _value(callback: IncomingCallback, name: str) -> str:
    """Give a component's value: one line of single bytes, so that no other component can hide in it."""
    value = _derived(callback, name) if name in _DERIVED else callback.headers.get(name)
    if value is None or not _LINE.fullmatch(value):
        raise SignatureRefused(name, f"{name} is signed, but is missing or malformed")
    return value.strip(" \t")


def _derived(callback: IncomingCallback, name: str) -> str:
    """Derive a component from the request as the provider sent it (RFC 9421, section 2.2)."""
    url = _URL.fullmatch(callback.url)
    if name == "@method":
        return callback.method
    if url is None:
        raise SignatureRefused(name, "the public URL is not known")
    path, mark, query = url["rest"].partition("?")
    port = "" if url["port"] == _OWN_PORTS[url["scheme"]] else url["port"] or ""
    return {
        "@target-uri": callback.url,
        "@authority": f"{url['host'].lower()}{port}",
        "@scheme": url["scheme"],
        "@path": path or "/",
        "@query": f"?{query}",
        "@request-target": f"{path or '/'}{mark}{query}",
    }[name]


def _check_digest(callback: IncomingCallback) -> None:
    """Refuse a body of which any digest that we know differs, or that has none."""
    given = _members(callback, "content-digest", _BYTE_SEQUENCE)
    known = [(digest(callback.body).digest(), given[name]) for name, digest in _DIGESTS.items() if name in given]
    if not known or any(b64encode(wanted).decode() != found["value"] for wanted, found in known):
        raise SignatureRefused("content-digest", "the body is not the one that was signed")
