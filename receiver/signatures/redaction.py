"""The removal of secrets from a callback before it is stored.

A scheme such as `equals` or a token in the URL proves the sender by the secret itself: whoever reads such a callback
could forge another one. `Redactor` replaces the secret wherever the callback has it, in any spelling: in headers, in
the path and the query, and in the body. Signatures prove only the callback that they came with, so they stay.

For a scheme without such a secret there is nothing to do but to look for credentials in three headers.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any
from urllib.parse import quote_plus, unquote, unquote_plus

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.documents.encodings import decode_body
from receiver.domain.documents.errors import UnreadableDocument

REDACTED = "[redacted]"
REDACTED_BODY = b'"[redacted]"'
"""The body of a callback whose secret could not be removed by itself."""
CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})
"""Headers that carry credentials; they are redacted unless the scheme reads a signature from them."""

_MIN_TEXT_CHARS = 8
"""Shorter secrets are redacted only at their place: elsewhere the same characters may stand by chance."""
_MARKER = re.compile(r"\[redacted:([0-9a-f]{8})\]")
_TOKEN_PATH = re.compile(r"^(.*?/callbacks/[^/]*/(?:a/[^/]*/)?).*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Redactor:
    """Removes from callbacks what is a configured secret.

    Args:
        tokens: the URL tokens with their fingerprints. The marker that replaces a token has its fingerprint, so that a
            signature that covers the URL can be verified again.
        values: the other secrets, as a callback carries them.
        headers: the lower-case names of headers whose value is a secret or a credential.
        parameters: the names of query parameters whose value is a secret.
        find_in_body: returns the values at the secret's place in the body; None if its place is elsewhere.
    """

    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    values: Collection[str] = field(default=(), repr=False)
    headers: frozenset[str] = CREDENTIAL_HEADERS
    parameters: frozenset[str] = frozenset()
    find_in_body: Callable[[IncomingCallback], Sequence[str]] | None = None
    has_secrets: bool = field(init=False, compare=False)
    """Whether callbacks may contain more secrets than credentials in headers."""
    _markers: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        texts = [value for value in self.values if len(value) >= _MIN_TEXT_CHARS]
        # A WSGI server decodes headers as latin-1.
        texts += [value.encode("utf-8", "surrogateescape").decode("latin-1") for value in texts]
        markers = dict.fromkeys(texts, REDACTED)
        markers |= {token: f"[redacted:{fingerprint}]" for token, fingerprint in self.tokens.items()}
        object.__setattr__(self, "_markers", markers)
        object.__setattr__(self, "has_secrets", bool(markers or self.parameters or self.find_in_body))

    def redact(self, callback: IncomingCallback) -> IncomingCallback:
        """Return a callback without secrets; see `CallbackAuth.redact`."""
        if not self.has_secrets:
            return replace(callback, headers=self._redact_headers(callback.headers))
        content = self._redact_content(callback)
        return replace(
            content,
            target=self._redact_target(callback.target),
            headers=self._redact_headers(content.headers),
        )

    def restore_tokens(self, callback: IncomingCallback) -> IncomingCallback:
        """Return a redacted callback with its URL tokens; a token that is no longer configured stays redacted."""
        if not self.tokens:
            return callback
        target, body = callback.target, callback.body
        for token, fingerprint in self.tokens.items():
            marker = f"[redacted:{fingerprint}]"
            target, body = target.replace(marker, token), body.replace(marker.encode(), token.encode())
        return replace(callback, target=target, body=body)

    def redact_text(self, text: str) -> str:
        """Return a text without the secrets that it quotes."""
        for value, marker in self._markers.items():
            text = text.replace(value, marker)
        return text

    def redact_bytes(self, content: bytes) -> bytes:
        """Return content without the secrets in it."""
        for value, marker in self._markers.items():
            content = content.replace(value.encode("utf-8", "surrogateescape"), marker.encode())
        return content

    def _redact_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {
            name: REDACTED if name in self.headers or self._has_secret(value, unquote) else value
            for name, value in headers.items()
        }

    def _has_secret(self, text: str, decode: Callable[[str], str]) -> bool:
        if any(value in text for value in self._markers):
            return True
        return "%" in text and any(value in decode(text) for value in self._markers)

    def _redact_target(self, target: str) -> str:
        path, mark, query = target.partition("?")
        if self.tokens:
            path = self._redact_path(path)
        return path + mark + "&".join(map(self._redact_parameter, query.split("&")))

    def _redact_path(self, path: str) -> str:
        for token, fingerprint in self.tokens.items():
            for spelling in (path, unquote(path)):
                if token in spelling:
                    return spelling.replace(token, f"[redacted:{fingerprint}]")
        return path if _MARKER.search(path) else _TOKEN_PATH.sub(rf"\1{REDACTED}", path)

    def _redact_parameter(self, parameter: str) -> str:
        name, equals, value = parameter.partition("=")
        if unquote_plus(name) in self.parameters or self._has_secret(value, unquote_plus):
            return f"{name}{equals}{REDACTED}"
        return REDACTED if self._has_secret(name, unquote_plus) else parameter

    def _redact_content(self, callback: IncomingCallback) -> IncomingCallback:
        """Return a callback with its body redacted; a compressed body stays as it is if there is no secret in it."""
        try:
            decoded = decode_body(callback)
        except UnreadableDocument:
            return replace(callback, body=REDACTED_BODY) if self.find_in_body else callback
        body = self._redact_body(decoded)
        return callback if body == decoded.body else replace(decoded, body=body)

    def _redact_body(self, callback: IncomingCallback) -> bytes:
        body = callback.body
        if self.find_in_body is None:
            return self.redact_bytes(body)
        if not (values := frozenset(self.find_in_body(callback)) - {REDACTED}):
            # The place cannot be read, or has several values.
            texts = [value for value in self.values if len(value) >= _MIN_TEXT_CHARS]
            return self.redact_bytes(_redact_spellings(body, texts))
        # The one that fits the kind of the body, which may hold the value in a text within it, leaves no secret.
        for redact_values in (_redact_json, _redact_form, _redact_spellings):
            redacted = redact_values(body, values)
            if self._has_no_secret(replace(callback, body=redacted)):
                return self.redact_bytes(redacted)
        return REDACTED_BODY

    def _has_no_secret(self, callback: IncomingCallback) -> bool:
        """Return whether the body was read, and has the marker in place of each secret."""
        values = self.find_in_body(callback) if self.find_in_body else ()
        return bool(values) and set(values) == {REDACTED}


def find_token_fingerprint(target: str) -> str | None:
    """Return the fingerprint of the URL token that was redacted from a target; None if there is none."""
    match = _MARKER.search(target)
    return match[1] if match else None


def _redact_spellings(body: bytes, values: Collection[str]) -> bytes:
    """Redact the values wherever a body has them as text, as a URL-encoded value or as a text of JSON."""
    for value in values:
        quoted = json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]
        for spelling in {value, quote_plus(value, errors="surrogateescape"), *quoted, escape(value, quote=False)}:
            body = body.replace(spelling.encode("utf-8", "surrogateescape"), REDACTED.encode())
    return body


def _redact_form(body: bytes, values: Collection[str]) -> bytes:
    """Redact the fields of a form that have one of the values."""

    def redact_field(pair: str) -> str:
        name, _, value = pair.partition("=")
        decoded = unquote_plus(value, encoding="latin-1").encode("latin-1").decode("utf-8", "surrogateescape")
        return f"{name}={REDACTED}" if decoded in values else pair

    return "&".join(map(redact_field, body.decode("latin-1").split("&"))).encode("latin-1")


def _redact_json(body: bytes, values: Collection[str]) -> bytes:
    """Redact the texts and numbers of a JSON document that have one of the values.

    The bytes of everything else are kept if the value is written in one of the usual two ways. Else the document is
    written anew.
    """
    marker = json.dumps(REDACTED).encode()
    for value in values:
        for is_ascii in (True, False):
            written = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "surrogateescape")
            body = body.replace(written, marker)
    try:
        root = [json.loads(body)]
        return json.dumps(root[0]).encode() if _replace_values(root, values) else body
    except (ValueError, RecursionError):
        return marker


def _replace_values(root: list[Any], values: Collection[str]) -> bool:
    """Replace values within a document; return whether there was any. Not recursive: a document may be deep."""
    has_changed = False
    containers: list[Any] = [root]
    while containers:
        container = containers.pop()
        members = container.items() if isinstance(container, dict) else enumerate(container)
        for key, member in list(members):
            if isinstance(member, dict | list):
                containers.append(member)
            elif (member if isinstance(member, str) else json.dumps(member)) in values:
                container[key] = REDACTED
                has_changed = True
    return has_changed
