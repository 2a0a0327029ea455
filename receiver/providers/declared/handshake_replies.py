"""The replies to handshakes: the value that was sent, as text, in JSON or in a header, its hash, or a confirmation.

The value comes from a stranger. As plain text or JSON no browser runs it as a page, and the endpoint forbids sniffing.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson

from receiver.domain.callbacks import Ack, IncomingCallback
from receiver.domain.targets import TargetNotAllowed, TargetRules
from receiver.providers.capabilities import HandshakeResponse
from receiver.providers.declared.deliveries import Delivery
from receiver.providers.json_paths import ValueLocation, as_text
from receiver.schemas.paths import PLACEHOLDER
from receiver.signatures.base import InvalidSignature

_TEXT_HEADERS = {"content-type": "text/plain; charset=utf-8"}
_JSON_HEADERS = {"content-type": "application/json"}
_ANY_ADDRESS = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))


class Reply(Protocol):
    """How a handshake is answered once it is recognised."""

    def build(self, delivery: Delivery, echo: str, secret_index: int) -> HandshakeResponse:
        """Build the response.

        Args:
            delivery: the handshake.
            echo: the value to return; "" if the kind of handshake has none.
            secret_index: the index of the signature's secret that matched; 0 if nothing was signed.

        Raises:
            InvalidSignature: a value of the handshake is not allowed.
        """


@dataclass(frozen=True, slots=True)
class AckReply:
    """Replies with the acknowledgement of callbacks."""

    ack: Ack

    def build(self, delivery: Delivery, echo: str, secret_index: int) -> HandshakeResponse:
        return HandshakeResponse(self.ack)


@dataclass(frozen=True, slots=True)
class TextReply:
    """Replies with the value as plain text."""

    def build(self, delivery: Delivery, echo: str, secret_index: int) -> HandshakeResponse:
        return HandshakeResponse(Ack(200, echo.encode(), _TEXT_HEADERS))


@dataclass(frozen=True, slots=True)
class HeaderReply:
    """Replies with the value in the header that it came in."""

    header: str

    def build(self, delivery: Delivery, echo: str, secret_index: int) -> HandshakeResponse:
        return HandshakeResponse(Ack(200, b"", {self.header: echo}))


class Hash(Protocol):
    """How the hash in a JSON reply is computed."""

    def compute(self, callback: IncomingCallback, echo: str, secret_index: int) -> str: ...


@dataclass(frozen=True, slots=True)
class KeyedHash:
    """The HMAC-SHA256 of the value, under the secret with the index of the signature's or else the last one."""

    secrets: Sequence[str] = field(repr=False)
    encoding: str = "hex"

    def compute(self, callback: IncomingCallback, echo: str, secret_index: int) -> str:
        secret = self.secrets[min(secret_index, len(self.secrets) - 1)]
        return _encode(hmac.digest(secret.encode(), echo.encode(), "sha256"), self.encoding)


@dataclass(frozen=True, slots=True)
class ContentDigest:
    """The SHA-256 of `content`, a template of the value, the secret and the URL without its query."""

    secret: str = field(repr=False)
    content: str = ""
    encoding: str = "hex"

    def compute(self, callback: IncomingCallback, echo: str, secret_index: int) -> str:
        values = {"echo": echo, "secret": self.secret, "url": callback.url.partition("?")[0]}
        return _encode(sha256(expand(self.content, values).encode(errors="replace")).digest(), self.encoding)


@dataclass(frozen=True, slots=True)
class JsonReply:
    """Replies with JSON, in whose texts `{echo}` is the value and `{hash}` its hash."""

    template: Mapping[str, Any]
    hash: Hash | None = None

    def build(self, delivery: Delivery, echo: str, secret_index: int) -> HandshakeResponse:
        values = {"echo": echo}
        if self.hash:
            values["hash"] = self.hash.compute(delivery.callback, echo, secret_index)
        return HandshakeResponse(Ack(200, orjson.dumps(expand(self.template, values)), _JSON_HEADERS))


@dataclass(frozen=True, slots=True)
class ConfirmReply:
    """Replies with the acknowledgement once the URL at `url`, on one of the allowed hosts, has been called.

    In `allowed_hosts`, `*` stands for one label of a name.
    """

    url: ValueLocation
    allowed_hosts: Sequence[str]
    ack: Ack

    def build(self, delivery: Delivery, echo: str, secret_index: int) -> HandshakeResponse:
        url = as_text(delivery.find(self.url)) or ""
        try:
            host = urlsplit(url).hostname or ""
            # Whether its addresses may be called is checked when it is called.
            target = TargetRules((host,), _ANY_ADDRESS).parse(url)
        except (ValueError, TargetNotAllowed) as error:
            raise InvalidSignature("handshake", f"The URL to call is not allowed: {error}") from None
        if target.scheme != "https" or not any(_matches_host(target.host, pattern) for pattern in self.allowed_hosts):
            raise InvalidSignature("handshake", "The URL to call is not an https URL of one of allowed_hosts.")
        return HandshakeResponse(self.ack, confirm_url=url)


def expand(template: Any, values: Mapping[str, str]) -> Any:
    """Return a JSON value in which each placeholder `{name}` of `values` is replaced in all texts, at any depth."""
    if isinstance(template, str):
        return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)
    if isinstance(template, Mapping):
        return {name: expand(inner, values) for name, inner in template.items()}
    return [expand(inner, values) for inner in template] if isinstance(template, list) else template


def _encode(digest: bytes, encoding: str) -> str:
    return b64encode(digest).decode() if encoding == "base64" else digest.hex()


def _matches_host(host: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[a-z0-9-]+"), host) is not None
