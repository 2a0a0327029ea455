"""How providers check, once or now and then, that a callback URL is ours.

Meta asks by an unsigned GET, Slack and Zoom by a signed POST; see `receiver.schemas.declared.HandshakeTableSchema`.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from marshmallow import ValidationError

from receiver.domain.callbacks import Ack, IncomingCallback
from receiver.providers.json_paths import ValueLocation, parse_json
from receiver.signatures.base import SignatureRefused

_TEXT = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}
_JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Handshake:
    """A check of our URL and what is answered to it.

    `secrets` are in the order of the signature's; `alone` says that a GET is never a callback.
    """

    kind: str
    echo: ValueLocation
    token_at: ValueLocation | None = None
    token: str | None = field(default=None, repr=False)
    when: Mapping[ValueLocation, str] = field(default_factory=dict)
    secrets: Sequence[str] = field(default=(), repr=False)
    reply: Sequence[str] = ()
    alone: bool = True

    def response(self, callback: IncomingCallback, verify: Callable[[], int | None]) -> Ack | None:
        """Give the answer, or None when this is no check.

        Args:
            callback: as it came.
            verify: raises SignatureRefused for an unsigned one, and gives which secret matched.
        """
        if (callback.method == "GET") != (self.kind == "get-echo"):
            return None
        if self.kind == "get-echo":
            return self._get_echo(callback)
        try:
            document = parse_json(callback.body)
        except ValidationError:
            return None
        if any(place.find(callback, document) != wanted for place, wanted in self.when.items()):
            return None
        return self._post_answer(self.echo.find(callback, document) or "", verify() or 0)

    def _get_echo(self, callback: IncomingCallback) -> Ack | None:
        given = self.token_at.find(callback, None) if self.token_at else None
        echo = self.echo.find(callback, None)
        if given is None and not self.alone:
            return None
        if (
            given is None
            or echo is None
            or any(place.find(callback, None) != told for place, told in self.when.items())
        ):
            raise SignatureRefused("handshake", "the verify token, the value to echo or what `when` demands is missing")
        if not hmac.compare_digest(given.encode(errors="replace"), (self.token or "").encode()):
            raise SignatureRefused("handshake", "the verify token is not the one that is configured")
        return Ack(200, echo.encode(errors="replace"), _TEXT)

    def _post_answer(self, echo: str, matched: int) -> Ack:
        if self.kind == "post-echo":
            return Ack(200, echo.encode(errors="replace"), _TEXT)
        secret = self.secrets[min(matched, len(self.secrets) - 1)]
        signed = hmac.new(secret.encode(), echo.encode(errors="replace"), "sha256").hexdigest()
        return Ack(200, orjson.dumps(dict(zip(self.reply, (echo, signed), strict=True))), _JSON)
