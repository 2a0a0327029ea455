"""Handshakes: how providers check, once or now and then, that a callback URL is ours.

Meta sends an unsigned GET, Slack and Zoom a signed POST; see `receiver.schemas.declared.HandshakeTableSchema`.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from marshmallow import ValidationError

from receiver.domain.callbacks import Ack, IncomingCallback
from receiver.providers.json_paths import ValueLocation, parse_json, parse_query
from receiver.signatures.base import InvalidSignature

# The echoed value comes from a stranger: as plain text no browser runs it as a page. The endpoint forbids sniffing.
_TEXT_HEADERS = {"content-type": "text/plain; charset=utf-8"}
_JSON_HEADERS = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Handshake:
    """A check of our URL and the response to it.

    Args:
        kind: `get-echo`, `post-echo` or `post-hmac`.
        echo: where the value to return is.
        token_at: where the verify token is, for `get-echo`.
        token: the expected verify token.
        when: the values that make a delivery a handshake.
        secrets: the keys of `post-hmac`, in the order of the signature's secrets.
        reply: the two names in the JSON response of `post-hmac`: of the value and of its HMAC.
        get_only_for_handshake: whether every GET is a handshake, as callbacks do not come by GET.
    """

    kind: str
    echo: ValueLocation
    token_at: ValueLocation | None = None
    token: str | None = field(default=None, repr=False)
    when: Mapping[ValueLocation, str] = field(default_factory=dict)
    secrets: Sequence[str] = field(default=(), repr=False)
    reply: Sequence[str] = ()
    get_only_for_handshake: bool = True

    @classmethod
    def from_table(cls, callback: Mapping[str, Any]) -> Self:
        """Build the handshake from the loaded table `callback`."""
        table = callback["handshake"]
        return cls(
            kind=table["kind"],
            echo=ValueLocation.parse(table["echo"]),
            token_at=ValueLocation.parse(table["token_at"]) if table["token_at"] else None,
            token=table["token"],
            when={ValueLocation.parse(location): expected for location, expected in table["when"].items()},
            secrets=table["secret"],
            reply=table["reply"],
            get_only_for_handshake="GET" not in callback["methods"],
        )

    def respond(self, callback: IncomingCallback, verify: Callable[[], int | None]) -> Ack | None:
        """Return the response to a handshake; see `receiver.providers.capabilities.Handshake`."""
        if (callback.method == "GET") != (self.kind == "get-echo"):
            return None
        if self.kind == "get-echo":
            return self._respond_to_get(callback)
        try:
            document = parse_json(callback.body)
        except ValidationError:
            return None
        if any(location.find(callback, document) != expected for location, expected in self.when.items()):
            return None
        return self._respond_to_post(self.echo.find(callback, document) or "", verify() or 0)

    def _respond_to_get(self, callback: IncomingCallback) -> Ack | None:
        query = parse_query(callback)
        token = self.token_at.find(callback, None, query) if self.token_at else None
        echo = self.echo.find(callback, None, query)
        if token is None and not self.get_only_for_handshake:
            return None
        mismatch = any(location.find(callback, None, query) != expected for location, expected in self.when.items())
        if token is None or echo is None or mismatch:
            raise InvalidSignature(
                "handshake", "The verify token, the value to echo or a value that `when` requires is missing."
            )
        if not hmac.compare_digest(token.encode(errors="replace"), (self.token or "").encode()):
            raise InvalidSignature("handshake", "The verify token is not the configured one.")
        return Ack(200, echo.encode(errors="replace"), _TEXT_HEADERS)

    def _respond_to_post(self, echo: str, secret_index: int) -> Ack:
        if self.kind == "post-echo":
            return Ack(200, echo.encode(errors="replace"), _TEXT_HEADERS)
        # The handshake may have fewer secrets than the signature.
        secret = self.secrets[min(secret_index, len(self.secrets) - 1)]
        digest = hmac.new(secret.encode(), echo.encode(errors="replace"), "sha256").hexdigest()
        return Ack(200, orjson.dumps(dict(zip(self.reply, (echo, digest), strict=True))), _JSON_HEADERS)
