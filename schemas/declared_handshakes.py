"""Schema of the tables `callback.handshake` of a declared provider: how the provider checks our URL."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from receiver.schemas.declared_acks import ECHOED_HEADER
from receiver.schemas.declared_followup import TableSchema, find_placeholders
from receiver.schemas.fields import Choice, check_secret
from receiver.schemas.paths import NamedValues, OneOrMore, ValueLocationField

_LABEL = "[a-z0-9-]+"
_HOST_PATTERN = re.compile(rf"(?:(?:{_LABEL}|\*)\.)*{_LABEL}\.{_LABEL}|{_LABEL}")


@dataclass(frozen=True, slots=True)
class _Kind:
    """The keys of one kind of handshake besides `kind`, the placeholders of its `reply`, and its default `signed`."""

    required: frozenset[str]
    optional: frozenset[str]
    placeholders: frozenset[str] = frozenset()
    signed: bool = False


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ECHO, _HASH = _keys("echo"), _keys("echo hash")
KINDS: Mapping[str, _Kind] = {
    "get": _Kind(_keys(""), _keys("when signed")),
    "get-echo": _Kind(_keys("echo"), _keys("token token_at when reply signed"), _ECHO),
    "get-hmac": _Kind(_keys("echo secret reply"), _keys("encoding when signed"), _HASH),
    "get-digest": _Kind(_keys("echo secret content reply"), _keys("encoding when signed"), _HASH),
    "post-echo": _Kind(_keys("echo when"), _keys("reply signed"), _ECHO, signed=True),
    "post-hmac": _Kind(_keys("echo when secret"), _keys("reply encoding"), _HASH, signed=True),
    "ping": _Kind(_keys("when"), _keys("reply signed keep"), signed=True),
    "header-echo": _Kind(_keys("header"), _keys("method when signed keep")),
    "confirm": _Kind(_keys("when url allowed_hosts"), _keys(""), signed=True),
}


class ScalarText(fields.Field[str]):
    """A text, a number or a boolean as it is compared with the values of callbacks."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, str | int):
            raise ValidationError("Must be a text, an integer, true or false.")
        return str(value).lower() if isinstance(value, bool) else str(value)


class ReplyField(fields.Field[Mapping[str, Any]]):
    """The members of a JSON reply, or the two names of a value and its hash; loads to the members."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Mapping[str, Any]:
        if isinstance(value, Mapping) and value:
            try:
                orjson.dumps(value)
            except TypeError as error:
                raise ValidationError(f"Must be values of JSON: {error}.") from None
            return value
        if isinstance(value, list) and len(value) == 2 and all(isinstance(name, str) for name in value):
            return {value[0]: "{echo}", value[1]: "{hash}"}
        raise ValidationError("Must be a table of JSON members, or the two names of the value and its hash.")


def _check_host_pattern(text: str) -> None:
    if not _HOST_PATTERN.fullmatch(text):
        raise ValidationError("Must be a host name in lower case; * may stand for one label, but not the last two.")


def _check_outside_document(location: str) -> None:
    if _is_body_path(location):
        raise ValidationError("Must be query:NAME or header:NAME.")


def _is_body_path(location: str | None) -> bool:
    return location is not None and location.partition(":")[0] not in {"header", "query"}


class HandshakeTableSchema(TableSchema):
    """How the provider checks our URL. A delivery that matches `when`, and has the value at `echo`, is a handshake.

    `get`: the response to a GET without a query is the `ack`. `get-echo`: the response to a GET, with `token` at
    `token_at` if that is set, is the value at `echo`. `get-hmac`: the response to a GET is JSON with the HMAC-SHA256 of
    that value under `secret`; `get-digest`: with the SHA-256 of `content`. `post-echo` and `post-hmac`: likewise for a
    signed POST; several secrets are in the order of the signature's. `ping`: the response to a signed POST is `reply`
    or else the `ack`. `header-echo`: the response to a delivery with `header` has the same header. `confirm`: the
    response to a signed POST is the `ack` once the URL at `url` was called, whose host must be in `allowed_hosts`.

    With `signed = false` a POST without a valid signature is answered, and one with a valid signature is a callback.
    `keep` keeps a handshake for admins, as a value in it may be the secret of later signatures.
    """

    kind = fields.String(required=True, validate=Choice(list(KINDS)))
    echo = ValueLocationField(load_default=None)
    token_at = ValueLocationField(load_default=None, validate=_check_outside_document)
    token = fields.String(load_default=None, validate=[validate.Length(min=8), check_secret])
    when = NamedValues(keys=ValueLocationField(), values=ScalarText(), load_default=dict)
    signed = fields.Boolean(load_default=None)
    keep = fields.Boolean(load_default=None)
    secret = OneOrMore(fields.String(validate=check_secret), load_default=list)
    encoding = fields.String(load_default="hex", validate=Choice(["hex", "base64"]))
    content = fields.String(load_default=None)
    reply = ReplyField(load_default=None)
    header = fields.String(load_default=None, validate=ECHOED_HEADER)
    method = fields.String(load_default=None, validate=Choice(["GET", "POST"]))
    url = ValueLocationField(load_default=None)
    allowed_hosts = OneOrMore(fields.String(validate=_check_host_pattern), load_default=list)

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check_keys(self, data: dict[str, Any], original: Any, **_: Any) -> None:
        kind = KINDS.get(data.get("kind", ""))
        if kind is None or not isinstance(original, Mapping):
            return
        foreign = [
            key for key in original if key in self.fields and key not in {"kind"} | kind.required | kind.optional
        ]
        errors = {key: [f"Not supported by kind = {data['kind']}."] for key in foreign}
        missing = [name for name in sorted(kind.required) if not data.get(name, True)]
        if data.get("signed") is False and not _is_body_path(data.get("echo")) and data["kind"] == "post-echo":
            missing = [name for name in missing if name != "when"]
        errors |= {name: ["Missing data for required field of this kind."] for name in missing}
        for name, other in (("token", "token_at"), ("token_at", "token")):
            if data.get(name) and data.get(other, "") is None:
                errors[other] = [f"Missing data for required field, as {name} is set."]
        errors |= _find_template_errors(data, kind)
        if errors:
            raise ValidationError(errors)

    @post_load
    def _set_defaults(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        kind = KINDS[data["kind"]]
        data["signed"] = kind.signed if data["signed"] is None else data["signed"]
        data["keep"] = data["kind"] == "header-echo" if data["keep"] is None else data["keep"]
        data["method"] = data["method"] or ("GET" if data["kind"].startswith("get") else "POST")
        if data["kind"] == "post-hmac" and data["reply"] is None:
            data["reply"] = {"plainToken": "{echo}", "encryptedToken": "{hash}"}
        return data


def _find_template_errors(data: Mapping[str, Any], kind: _Kind) -> dict[str, Any]:
    """Return the errors of placeholders that are unknown or missing in `reply` and `content`."""
    errors: dict[str, Any] = {}
    reply, content = data.get("reply"), data.get("content")
    if reply and (unknown := find_placeholders(reply) - kind.placeholders):
        allowed = ", ".join(f"{{{name}}}" for name in sorted(kind.placeholders)) or "none"
        errors["reply"] = [f"Unknown placeholder {{{min(unknown)}}}; allowed: {allowed}."]
    elif reply and "hash" in kind.placeholders and "hash" not in find_placeholders(reply):
        errors["reply"] = ["Must contain {hash}."]
    if content and not {"echo", "secret"} <= find_placeholders(content) <= {"echo", "secret", "url"}:
        errors["content"] = ["Must consist of {echo}, {secret}, other text and, if the provider hashes it, {url}."]
    return errors
