"""Handshakes: how providers check, once or now and then, that a callback URL is ours.

Meta sends an unsigned GET, Slack and Zoom a signed POST; see `receiver.schemas.declared_handshakes`. How a handshake is
answered is in `receiver.providers.declared.handshake_replies`.
"""

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from receiver.domain.callbacks import ECHOED_HEADER_VALUE, Ack, IncomingCallback
from receiver.providers.capabilities import HandshakeResponse
from receiver.providers.declared.deliveries import Delivery
from receiver.providers.declared.handshake_replies import (
    AckReply,
    ConfirmReply,
    ContentDigest,
    HeaderReply,
    JsonReply,
    KeyedHash,
    Reply,
    TextReply,
)
from receiver.providers.json_paths import ValueLocation, as_status, as_text
from receiver.signatures.base import CallbackAuth, InvalidSignature, fingerprint_secret

ANY_VALUE = "*"
"""In `when`: any value that is present."""

_ECHO = re.compile(r".{0,1024}", re.DOTALL)
# What is hashed for a stranger must not be what a provider signs. No JSON object, no form of several fields and no URL
# consists of these characters only; see `receiver.schemas.signing_oracles`.
_HASHED_ECHO = re.compile(r"[A-Za-z0-9_.~:=-]{1,200}")


@dataclass(frozen=True, slots=True)
class Condition:
    """A value that makes a delivery a handshake; `ANY_VALUE` is any value that is present."""

    location: ValueLocation
    expected: str

    def matches(self, delivery: Delivery) -> bool:
        value = delivery.find(self.location)
        return value is not None and self.expected in {ANY_VALUE, as_status(value)}


@dataclass(frozen=True, slots=True)
class DeclaredHandshake:
    """A check of our URL of one kind, and the reply to it.

    Args:
        methods: the HTTP methods that it comes by.
        reply: how it is answered.
        conditions: what a delivery must have to be one.
        echo: where the value to return is; None for a kind without one.
        echo_pattern: what that value must consist of.
        signed: whether it is signed.
        is_kept: whether it is kept so that an admin can read a value in it.
        rules_out_signature: whether a delivery with a valid signature is a callback all the same.
        rules_out_query: whether a delivery with a query is not one.
        rules_out_body: whether a delivery with a body is not one.
        token_at: where the verify token is.
        token: the expected verify token.
        is_only_get: whether every GET is this handshake, as callbacks do not come by GET.
    """

    methods: frozenset[str]
    reply: Reply
    conditions: Sequence[Condition] = ()
    echo: ValueLocation | None = None
    echo_pattern: re.Pattern[str] = _ECHO
    signed: bool = True
    is_kept: bool = False
    rules_out_signature: bool = False
    rules_out_query: bool = False
    rules_out_body: bool = False
    token_at: ValueLocation | None = None
    token: str = field(default="", repr=False)
    is_only_get: bool = False

    def respond(self, delivery: Delivery, verify: Callable[[], int | None]) -> HandshakeResponse | None:
        """Return the response to a handshake; see `receiver.providers.capabilities.Handshake`."""
        callback = delivery.callback
        if (self.rules_out_query and callback.query) or (self.rules_out_body and callback.body):
            return None
        echo = as_text(delivery.find(self.echo)) if self.echo else ""
        is_match = echo is not None and all(condition.matches(delivery) for condition in self.conditions)
        if self.token_at and not self._has_token(delivery, self.token_at, is_match=is_match):
            return None
        if echo is None or not is_match or (self.rules_out_signature and _verifies(verify)):
            return None
        secret_index = verify() if self.signed else None
        if not self.echo_pattern.fullmatch(echo):
            raise InvalidSignature("handshake", "The value to return is too long, or has characters that are refused.")
        response = self.reply.build(delivery, echo.encode(errors="replace").decode(), secret_index or 0)
        return replace(response, is_kept=self.is_kept)

    def _has_token(self, delivery: Delivery, token_at: ValueLocation, *, is_match: bool) -> bool:
        """Return whether a delivery has the verify token; raise InvalidSignature for a handshake with a wrong one."""
        token = as_text(delivery.find(token_at))
        if token is None and not self.is_only_get:
            return False
        if token is None or not is_match:
            raise InvalidSignature(
                "handshake", "The verify token, the value to echo or a value that `when` requires is missing."
            )
        if not hmac.compare_digest(token.encode(errors="replace"), self.token.encode()):
            raise InvalidSignature("handshake", "The verify token is not the configured one.")
        return True


def _is_hashed(body: bytes) -> bool:
    """Return whether a body is what is hashed for strangers, or the end of it: no callback is."""
    return not body or (body.isascii() and _HASHED_ECHO.fullmatch(body.decode()) is not None)


def _verifies(verify: Callable[[], int | None]) -> bool:
    try:
        verify()
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True, slots=True)
class DeclaredHandshakes:
    """All checks of our URL that a provider makes; the first that a delivery matches answers it."""

    handshakes: Sequence[DeclaredHandshake]
    auth: CallbackAuth
    body_kind: str
    json_field: str = ""
    hashes_for_strangers: bool = False
    """Whether anybody gets the hash of a value under a secret of the signature, which then signs a body as well."""

    @classmethod
    def from_table(cls, callback: Mapping[str, Any], auth: CallbackAuth, ack: Ack) -> Self:
        """Build the handshakes from the loaded table `callback`."""
        handshakes = [_build_handshake(table, callback, auth, ack) for table in callback["handshake"]]
        body_kind = "form" if callback["body"] == "query" else callback["body"]
        secrets = {
            fingerprint_secret(secret)
            for table in callback["handshake"]
            if _choose_pattern(table["kind"]) is _HASHED_ECHO
            for secret in table["secret"]
        }
        is_shared = not secrets.isdisjoint(auth.fingerprints)
        return cls(handshakes, auth, body_kind, callback["json_field"] or "", is_shared)

    @property
    def methods(self) -> frozenset[str]:
        """The HTTP methods of all handshakes."""
        return frozenset().union(*(handshake.methods for handshake in self.handshakes))

    @property
    def secret_locations(self) -> tuple[str, ...]:
        """The locations of the verify tokens: `header:NAME`, `query:NAME`."""
        locations = [handshake.token_at for handshake in self.handshakes if handshake.token_at]
        return tuple(f"{location.kind}:{location.name}" for location in locations)

    def respond(self, callback: IncomingCallback, verify: Callable[[], int | None]) -> HandshakeResponse | None:
        """Return the response to a handshake; see `receiver.providers.capabilities.Handshake`.

        A delivery that is refused as one handshake may still be another.
        """
        refusal: InvalidSignature | None = None
        if self.hashes_for_strangers and callback.method != "GET" and _is_hashed(callback.body):
            raise InvalidSignature("handshake", "The body could have been signed by a response to a check of the URL.")
        delivery = Delivery(self.auth.restore_url(callback), self.body_kind, self.json_field)
        for handshake in self.handshakes:
            if callback.method not in handshake.methods:
                continue
            try:
                response = handshake.respond(delivery, verify)
            except InvalidSignature as error:
                refusal = refusal or error
                continue
            if response is not None:
                return response
        if refusal is not None:
            raise refusal
        return None


def _build_handshake(
    table: Mapping[str, Any], callback: Mapping[str, Any], auth: CallbackAuth, ack: Ack
) -> DeclaredHandshake:
    """Build a handshake from its loaded table."""
    kind, signed, header = table["kind"], table["signed"], table["header"]
    methods = frozenset({"GET"}) if table["method"] == "GET" else frozenset({"POST", *callback["methods"]} - {"GET"})
    conditions = [Condition(ValueLocation.parse(location), value) for location, value in table["when"].items()]
    echo = f"header:{header}" if header else table["echo"]
    return DeclaredHandshake(
        methods,
        _build_reply(table, ack),
        conditions,
        ValueLocation.parse(echo) if echo else None,
        _choose_pattern(kind),
        signed,
        table["keep"],
        # Where callbacks carry the secret itself, a check of the URL may carry it, too.
        rules_out_signature=not signed and auth.coverage is not None and not methods.isdisjoint(callback["methods"]),
        rules_out_query=kind == "get" and not conditions,
        rules_out_body=kind == "post-echo" and not conditions,
        token_at=ValueLocation.parse(table["token_at"]) if table["token_at"] else None,
        token=table["token"] or "",
        is_only_get="GET" not in callback["methods"],
    )


def _choose_pattern(kind: str) -> re.Pattern[str]:
    if kind == "header-echo":
        return ECHOED_HEADER_VALUE
    return _HASHED_ECHO if kind in {"get-hmac", "get-digest"} else _ECHO


def _build_reply(table: Mapping[str, Any], ack: Ack) -> Reply:
    kind, template = table["kind"], table["reply"]
    if kind == "confirm":
        return ConfirmReply(ValueLocation.parse(table["url"]), table["allowed_hosts"], ack)
    if kind == "header-echo":
        return HeaderReply(table["header"])
    if kind in {"get-hmac", "post-hmac"}:
        return JsonReply(template, KeyedHash(table["secret"], table["encoding"]))
    if kind == "get-digest":
        return JsonReply(template, ContentDigest(table["secret"][0], table["content"], table["encoding"]))
    if template is not None:
        return JsonReply(template)
    return TextReply() if table["echo"] else AckReply(ack)
