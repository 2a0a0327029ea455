"""HTTP Message Signatures (RFC 9421) by hmac-sha256 or ed25519, with the body's digest (RFC 9530).

Only the components that a provider's requests need are supported: whole header fields and components derived from the
request, without component parameters. The header fields must be serialised canonically (RFC 9651), as signers write
them, so that the signed text is used as received and never serialised again.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256, sha512

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.account_tokens import with_public_url
from receiver.signatures.base import (
    MAX_SIGNATURES,
    NO_DOCUMENTS,
    InvalidSecret,
    InvalidSignature,
    Scheme,
    format_age_error,
)
from receiver.signatures.coverage import Coverage
from receiver.signatures.keys import PublicKey
from receiver.signatures.standard_webhooks import DEFAULT_TOLERANCE, encode_key

BODY_AND_TARGET = ("@method", "@target-uri", "content-digest")
_DERIVED = frozenset({"@method", "@target-uri", "@authority", "@scheme", "@path", "@query", "@request-target"})
_ED25519_PREFIX = "ed25519:"
_BASE64_PREFIX = "base64:"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_DIGESTS = {"sha-256": sha256, "sha-512": sha512}

# The grammar of a structured field. Every repetition is possessive (no backtracking), so that malformed input takes
# linear time.
_KEY = r"[a-z*][a-z0-9_.*-]*+"
_STRING = r'"(?:[ !#-\[\]-~]|\\["\\])*+"'
_BYTES = r":[A-Za-z0-9+/]*+={0,2}+:"
_TOKEN = r"[A-Za-z*][A-Za-z0-9:/!#$%&'*+.^_`|~-]*+"  # noqa: S105  # a structured field's token, not a secret
_BARE_ITEM = rf"(?:{_STRING}|{_BYTES}|-?[0-9]{{1,15}}+|\?[01]|{_TOKEN})"
_PARAMS = rf"(?:;{_KEY}(?:={_BARE_ITEM})?+)*+"
_ITEM = rf"{_STRING}{_PARAMS}"
_INPUT = re.compile(
    rf"(?P<label>{_KEY})=(?P<value>\((?P<components>(?:{_ITEM}(?: {_ITEM})*+)?+)\)(?P<params>{_PARAMS}))"
)
_BYTE_SEQUENCE = re.compile(rf"(?P<label>{_KEY})=:(?P<value>[^:]*+):")
_PARAM = re.compile(rf";(?P<name>{_KEY})(?:=(?P<value>{_BARE_ITEM}))?+")
_COMMA = re.compile(r"[ \t]*+,[ \t]*+")
_UNIX_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_COMPONENT = re.compile(r'"(@?[a-z0-9!#$%&\'*+.^_`|~-]+)"')
_COMPONENT_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_URL = re.compile(
    r"(?P<scheme>https?)://(?:[^/?@]*@)?(?P<host>\[[^]/?@]+\]|[^]/?@:[]+)(?P<port>:[0-9]+)?(?P<rest>(?:[/?].*)?)",
    re.DOTALL,
)


def parse_key(secret: str) -> bytes | PublicKey:
    """Return the key of a secret: ``ed25519:<base64 of 32 bytes>``, ``base64:<a shared secret>``, or a secret as text.

    Raises:
        InvalidSecret: the secret is empty or malformed.
    """
    prefix = next((prefix for prefix in (_ED25519_PREFIX, _BASE64_PREFIX) if secret.startswith(prefix)), None)
    if prefix is None:
        return encode_key(secret)
    try:
        key = b64decode(secret.removeprefix(prefix), validate=True)
    except ValueError:
        raise InvalidSecret(f"Must be base64 after the prefix {prefix}.") from None
    if not key:
        raise InvalidSecret("Must not be empty.")
    return PublicKey(key) if prefix == _ED25519_PREFIX else key


@dataclass(frozen=True, slots=True)
class HTTPMessageSignatures(Scheme):
    """HTTP Message Signatures by any of several keys; one matching signature is enough.

    Args:
        keys: secrets that `parse_key` accepts. The algorithm follows from the key alone.
        tolerance: seconds that the parameter ``created`` may differ from the receive time on either side.
        components: the components that a signature must cover. Only ``content-digest`` covers the body.
        public_url: the URL up to the path, if it differs from the callback's own.

    Raises:
        InvalidSecret: a key is malformed, a component is not supported, or there are no components.
    """

    keys: Sequence[str] = field(repr=False)
    tolerance: float = DEFAULT_TOLERANCE
    components: tuple[str, ...] = BODY_AND_TARGET
    public_url: str | None = None
    _keys: tuple[bytes | PublicKey, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.components or not all(map(_is_supported, self.components)):
            raise InvalidSecret("The components must be lower-case header names or supported derived components.")
        object.__setattr__(self, "_keys", tuple(map(parse_key, self.keys)))

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        callback = with_public_url(self.public_url, callback)
        inputs = _parse_dictionary(callback, "signature-input", _INPUT)
        if len(inputs) > MAX_SIGNATURES:
            raise InvalidSignature(
                "signature-input", f"The header signature-input has more than {MAX_SIGNATURES} signatures."
            )
        signatures = _parse_dictionary(callback, "signature", _BYTE_SEQUENCE)
        last_error = InvalidSignature("signature", "No label is in both signature-input and signature.")
        for label in (label for label in inputs if label in signatures):
            try:
                return self._verify_signature(callback, inputs[label], signatures[label]["value"])
            except InvalidSignature as error:
                last_error = error
        raise last_error

    @property
    def coverage(self) -> Coverage:
        return Coverage(
            body="content-digest" in self.components,
            query=not {"@target-uri", "@query", "@request-target"}.isdisjoint(self.components),
            headers=frozenset(name for name in self.components if not name.startswith("@")),
        )

    @property
    def signature_headers(self) -> Sequence[str]:
        return ("signature", "signature-input")

    def _verify_signature(self, callback: IncomingCallback, signature_input: re.Match[str], signature: str) -> int:
        covered = _parse_components(signature_input["components"])
        params = _parse_params(signature_input["params"])
        for name in self.components:
            if name not in covered:
                raise InvalidSignature("signature-input", f"The signature does not cover {name}.")
        self._check_times(params, callback.received_at.timestamp())
        lines = [f'"{name}": {get_component(callback, name)}' for name in covered]
        content = "\n".join([*lines, f'"@signature-params": {signature_input["value"]}']).encode("latin-1")
        index = self._match_key(params.get("alg"), content, signature)
        if "content-digest" in covered:
            _check_digest(callback)
        return index

    def _check_times(self, params: Mapping[str, str], now: float) -> None:
        age = now - _get_seconds(params, "created")
        if abs(age) > self.tolerance:
            raise InvalidSignature("created", format_age_error(age, self.tolerance))
        if "expires" in params and now >= _get_seconds(params, "expires"):
            raise InvalidSignature("expires", "The signature has expired.")

    def _match_key(self, algorithm: str | None, content: bytes, signature: str) -> int:
        for index, key in enumerate(self._keys):
            key_algorithm, verifies = (
                ('"ed25519"', _verify_ed25519) if isinstance(key, PublicKey) else ('"hmac-sha256"', _verify_hmac)
            )
            if algorithm in (None, key_algorithm) and verifies(key, content, signature.encode("latin-1", "replace")):
                return index
        raise InvalidSignature("signature", "The signature does not match any configured key of its algorithm.")


def _verify_ed25519(key: bytes | PublicKey, content: bytes, encoded: bytes) -> bool:
    try:
        signature = b64decode(encoded, validate=True)
    except ValueError:
        return False
    return isinstance(key, PublicKey) and b64encode(signature) == encoded and key.verifies(signature, content)


def _verify_hmac(key: bytes | PublicKey, content: bytes, encoded: bytes) -> bool:
    return isinstance(key, bytes) and hmac.compare_digest(b64encode(hmac.digest(key, content, "sha256")), encoded)


def _is_supported(name: str) -> bool:
    return name in _DERIVED or (not name.startswith("@") and _COMPONENT.fullmatch(f'"{name}"') is not None)


def _parse_dictionary(callback: IncomingCallback, header: str, pattern: re.Pattern[str]) -> dict[str, re.Match[str]]:
    """Return the members, by label, of a header field that is a dictionary of members that match `pattern`."""
    text, members, position = callback.headers.get(header, "").strip(" \t"), {}, 0
    while member := pattern.match(text, position):
        if member["label"] in members:
            raise InvalidSignature(header, f"The header {header} has a duplicate label.")
        members[member["label"]] = member
        if member.end() == len(text):
            return members
        comma = _COMMA.match(text, member.end())
        position = comma.end() if comma else len(text)
    raise InvalidSignature(header, f"The header {header} is missing or malformed.")


def _parse_components(text: str) -> list[str]:
    names: dict[str, None] = {}
    for item in text.split(" "):
        component = _COMPONENT.fullmatch(item)
        if component is None or not _is_supported(component[1]) or component[1] in names:
            raise InvalidSignature("signature-input", "A component is unsupported, has parameters or is a duplicate.")
        names[component[1]] = None
    return list(names)


def _parse_params(text: str) -> dict[str, str]:
    params = [(param["name"], param["value"] or "") for param in _PARAM.finditer(text)]
    if len(dict(params)) != len(params):
        raise InvalidSignature("signature-input", "The signature has a duplicate parameter.")
    return dict(params)


def _get_seconds(params: Mapping[str, str], name: str) -> int:
    if not _UNIX_SECONDS.fullmatch(params.get(name, "")):
        raise InvalidSignature(name, f"The parameter {name} is not whole Unix seconds.")
    return int(params[name])


def get_component(callback: IncomingCallback, name: str) -> str:
    """Return a component's value.

    The value must be one line: with a line break in it, it could contain the lines of other components.
    """
    value = _derive_component(callback, name) if name in _DERIVED else callback.headers.get(name)
    if value is None or not _COMPONENT_VALUE.fullmatch(value):
        raise InvalidSignature(name, f"{name} is signed, but it is missing or malformed.")
    return value.strip(" \t")


def _derive_component(callback: IncomingCallback, name: str) -> str:
    """Derive a component from the request as the provider sent it (RFC 9421, section 2.2)."""
    url = _URL.fullmatch(callback.url)
    if name == "@method":
        return callback.method
    if url is None:
        raise InvalidSignature(name, "The public URL is unknown. Set RECEIVER_PUBLIC_URL or public_url.")
    path, question_mark, query = url["rest"].partition("?")
    port = "" if url["port"] == _DEFAULT_PORTS[url["scheme"]] else url["port"] or ""
    return {
        "@target-uri": callback.url,
        "@authority": f"{url['host'].lower()}{port}",
        "@scheme": url["scheme"],
        "@path": path or "/",
        "@query": f"?{query}",
        "@request-target": f"{path or '/'}{question_mark}{query}",
    }[name]


def _check_digest(callback: IncomingCallback) -> None:
    """Check that the body has a digest by a supported algorithm, and that all of these digests are right.

    Raises:
        InvalidSignature: there is no such digest, or one of them is wrong.
    """
    digests = _parse_dictionary(callback, "content-digest", _BYTE_SEQUENCE)
    pairs = [(compute(callback.body).digest(), digests[name]) for name, compute in _DIGESTS.items() if name in digests]
    if not pairs or any(b64encode(expected).decode() != digest["value"] for expected, digest in pairs):
        raise InvalidSignature("content-digest", "The body does not have the digest that was signed.")
