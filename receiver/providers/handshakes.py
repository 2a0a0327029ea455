"""How providers check, once or now and then, that a callback URL is ours.

Meta asks by an unsigned GET, Slack and Zoom by a signed POST; see `schemas.declared.HandshakeTable`.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from marshmallow import ValidationError

from receiver.domain.delivery import Ack, Delivery
from receiver.providers.paths import Place, read_json
from receiver.signatures.base import SignatureRefused

_TEXT = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}
_JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Handshake:
    """A check of our URL and what is answered to it."""

    kind: str
    echo: Place
    token_at: Place | None = None
    token: str | None = field(default=None, repr=False)
    when: Mapping[Place, str] = field(default_factory=dict)
    secret: str | None = field(default=None, repr=False)
    reply: Sequence[str] = ()

    def answer(self, delivery: Delivery, verify: Callable[[], object]) -> Ack | None:
        """Give the answer, or None when this is no check; `verify` raises SignatureRefused for an unsigned one."""
        if (delivery.method == "GET") != (self.kind == "get-echo"):
            return None
        if self.kind == "get-echo":
            return self._get_echo(delivery)
        try:
            document = read_json(delivery.body)
        except ValidationError:
            return None
        if any(place.find(delivery, document) != wanted for place, wanted in self.when.items()):
            return None
        verify()
        return self._post_answer(self.echo.find(delivery, document) or "")

    def _get_echo(self, delivery: Delivery) -> Ack:
        given = self.token_at.find(delivery, None) if self.token_at else None
        echo = self.echo.find(delivery, None)
        if given is None or echo is None:
            raise SignatureRefused("handshake", "the verify token or the value to echo is missing")
        if not hmac.compare_digest(given.encode(errors="replace"), (self.token or "").encode()):
            raise SignatureRefused("handshake", "the verify token is not the one that is configured")
        return Ack(200, echo.encode(errors="replace"), _TEXT)

    def _post_answer(self, echo: str) -> Ack:
        if self.kind == "post-echo":
            return Ack(200, echo.encode(errors="replace"), _TEXT)
        signed = hmac.new((self.secret or "").encode(), echo.encode(errors="replace"), "sha256").hexdigest()
        return Ack(200, orjson.dumps(dict(zip(self.reply, (echo, signed), strict=True))), _JSON)
