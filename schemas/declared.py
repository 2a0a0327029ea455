"""Schema of a provider of kind `declared`: everything about it stands in `receiver.toml`.

Paths into JSON are JMESPath (https://jmespath.org/specification.html), relative to the item; one that begins with `$.`
starts at the whole document. Unknown keys are mistakes.
"""

from http import HTTPStatus
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from receiver.schemas.declared_following import (
    DISPOSITIONS,
    STATUSES,
    LookupTableSchema,
    PollTableSchema,
    TableSchema,
    names_in,
)
from receiver.schemas.paths import (
    JsonPathField,
    NamedValues,
    OneOrMore,
    PathTemplate,
    ValueLocationField,
    WordMap,
    known_as,
)
from receiver.schemas.settings import AuthSchema, ProviderSettingsSchema
from receiver.signatures.base import CallbackAuth, Trust

_TOKEN = validate.Regexp(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z", error="must be a name of RFC 9110: letters, digits, - and _")
_VISIBLE = validate.Regexp(r"[ -~]*\Z", error="must be visible ASCII characters")
_METHODS = validate.OneOf(["GET", "POST", "PUT", "PATCH", "DELETE"])


class OperationSchema(TableSchema):
    """One thing that can be asked of the provider.

    `{name}` in `path` takes that field out of the payload. `callback_url` says where our URL goes, `request_id` where
    the request's id goes: a path of names in the body, `query:NAME` or `header:NAME`. With `callback_token` the URL
    says which attempt it was sent with. `defaults` are body fields that a payload may override.
    """

    method = fields.String(load_default="POST", validate=_METHODS)
    path = PathTemplate(required=True)
    body = fields.String(load_default="json", validate=validate.OneOf(["json", "form", "query"]))
    callback_url = fields.String(load_default=None, validate=validate.Length(1, 200))
    callback_token = fields.Boolean(load_default=False)
    request_id = fields.String(load_default=None, validate=validate.Length(1, 200))
    idempotency_header = fields.String(load_default=None, validate=_TOKEN)
    required = fields.List(fields.String(), load_default=list)
    defaults = NamedValues(keys=fields.String(), load_default=dict)

    @validates_schema(skip_on_field_errors=False)
    def _token_goes_somewhere(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("callback_token") and data.get("callback_url", "") is None:
            raise ValidationError({"callback_token": ["needs callback_url: the token is part of that URL"]})


class ResponseTableSchema(TableSchema):
    """How an answer to a request is read; without `code` an item with a reference is accepted.

    `location` leads to the URL at which the job itself is polled.
    """

    items = JsonPathField(load_default=None)
    reference = OneOrMore(JsonPathField(), load_default=None)
    code = OneOrMore(JsonPathField(), load_default=list)
    codes = WordMap(DISPOSITIONS, load_default=dict)
    detail = OneOrMore(JsonPathField(), load_default=list)
    location = JsonPathField(load_default=None)

    @validates_schema(skip_on_field_errors=False)
    def _code_and_codes(self, data: dict[str, Any], **_: Any) -> None:
        if bool(data.get("code")) != bool(data.get("codes")) and {"code", "codes"} <= data.keys():
            raise ValidationError("code and codes belong together", "code" if data["codes"] else "codes")


class AckTableSchema(TableSchema):
    """What the provider takes as an acknowledgement."""

    status = fields.Integer(
        strict=True, load_default=200, validate=validate.OneOf([code.value for code in HTTPStatus if 200 <= code < 300])
    )
    body = fields.String(load_default="")
    content_type = fields.String(load_default=None, validate=_VISIBLE)


class HandshakeTableSchema(TableSchema):
    """How the provider checks our URL.

    `get-echo`: an unsigned GET with `token` at `token_at` wants the value at `echo` back. `post-echo`: a signed POST in
    which `when` holds wants the value at `echo` back. `post-hmac`: likewise, answered with that value and its hex
    HMAC-SHA256 under `secret`, as JSON with the names of `reply`; several secrets are in the order of the signature's.
    """

    kind = fields.String(required=True, validate=validate.OneOf(["get-echo", "post-echo", "post-hmac"]))
    echo = ValueLocationField(required=True)
    token_at = ValueLocationField(load_default=None)
    token = fields.String(load_default=None, validate=validate.Length(min=8))
    when = NamedValues(keys=ValueLocationField(), values=fields.String(), load_default=dict)
    secret = OneOrMore(fields.String(validate=validate.Length(min=1)), load_default=list)
    reply = fields.List(
        fields.String(), load_default=lambda: ["plainToken", "encryptedToken"], validate=validate.Length(2, 2)
    )

    @validates_schema(skip_on_field_errors=False)
    def _whole(self, data: dict[str, Any], **_: Any) -> None:
        needed = {"get-echo": ["token", "token_at"], "post-echo": ["when"], "post-hmac": ["when", "secret"]}
        missing = {
            name: ["is needed for this kind"]
            for name in needed.get(data.get("kind", ""), [])
            if not data.get(name, True)
        }
        if missing:
            raise ValidationError(missing)


class CallbackTableSchema(TableSchema):
    """How callbacks are read.

    `status` lists paths, of which the first that gives a word counts; `superseding` are final words that overrule an
    earlier final one. `only` and `ignore` map places to words: a callback, or an item, that does not fit is taken and
    says nothing. With `fetch` a callback only tells that there is news, and the poll fetches it. `request` leads to the
    id of our request, where the provider gives it back.
    """

    methods = OneOrMore(fields.String(validate=validate.OneOf(["GET", "POST"])), load_default=lambda: ["POST"])
    body = fields.String(load_default="json", validate=validate.OneOf(["json", "form", "query"]))
    json_field = fields.String(load_default=None)
    items = JsonPathField(load_default=None)
    reference = OneOrMore(JsonPathField(), required=True)
    status = OneOrMore(JsonPathField(), load_default=list)
    statuses = WordMap(STATUSES, load_default=dict)
    superseding = fields.List(fields.String(), load_default=list)
    code = OneOrMore(JsonPathField(), load_default=list)
    detail = OneOrMore(JsonPathField(), load_default=list)
    occurred_at = JsonPathField(load_default=None)
    time_unit = fields.String(load_default="iso", validate=validate.OneOf(["iso", "s", "ms"]))
    event_id = ValueLocationField(load_default=None)
    request = ValueLocationField(load_default=None)
    only_ = NamedValues(
        data_key="only", attribute="only", keys=JsonPathField(), values=OneOrMore(fields.String()), load_default=dict
    )
    ignore = NamedValues(keys=JsonPathField(), values=OneOrMore(fields.String()), load_default=dict)
    fetch = fields.Boolean(load_default=False)
    ack = fields.Nested(AckTableSchema, load_default=lambda: AckTableSchema().load({}))
    handshake = fields.Nested(HandshakeTableSchema, load_default=None)

    @validates_schema(skip_on_field_errors=False)
    def _whole(self, data: dict[str, Any], **_: Any) -> None:
        faults = {}
        status, statuses = data.get("status"), data.get("statuses")
        if status == [] and not data.get("fetch"):
            faults["status"] = ["is needed, or fetch = true where callbacks carry no status"]
        if status and statuses == {}:
            faults["statuses"] = ["is needed: the provider's words and what they mean"]
        unknown = [word for word in data.get("superseding", ()) if statuses and known_as(word) not in statuses]
        if unknown:
            faults["superseding"] = [f"not in statuses: {', '.join(unknown)}"]
        if data.get("json_field") and data.get("body") == "json":
            faults["json_field"] = ["is for body = form or query, where one field holds JSON"]
        if faults:
            raise ValidationError(faults)


def _sends_our_id(operation: dict[str, Any]) -> bool:
    return bool(operation.get("idempotency_header", True) or operation.get("request_id", True))


def _demand_cover(auth: CallbackAuth, callback: dict[str, Any]) -> None:
    """Refuse to read what the signature does not cover, unless it only makes us ask."""
    scheme = auth.scheme
    if scheme is None:
        return
    kind, _, name = (callback.get("request") or "").partition(":")
    if kind in {"header", "query"} and name and not scheme.covers(kind, name):
        told = f"the signature does not cover the {kind}, so nobody would have proved what stands there"
        raise ValidationError({"callback": {"request": [told]}})
    if auth.trust is Trust.CONFIRM:
        return
    faults = {}
    reads_query = {"methods": "GET" in callback.get("methods", ()), "body": callback.get("body") == "query"}
    for key, reads in reads_query.items():
        if reads and not scheme.covers_query:
            faults[key] = ["the signature does not cover the query, so nobody would have proved what stands there"]
    if scheme.signed_items and callback.get("items", scheme.signed_items) != scheme.signed_items:
        faults["items"] = [f"must be {scheme.signed_items}, the items that are signed"]
    if faults:
        raise ValidationError({"callback": faults})


class DeclaredSettingsSchema(ProviderSettingsSchema):
    """A provider of kind `declared`.

    Without `operations` it only calls back, without `poll` it is never asked about jobs, without `lookup` never about
    requests.
    """

    auth = fields.Nested(AuthSchema, load_default=None)
    headers = NamedValues(
        keys=fields.String(validate=_TOKEN), values=fields.String(validate=_VISIBLE), load_default=dict
    )
    operations = NamedValues(
        keys=fields.String(validate=validate.Regexp(r"[a-z0-9][a-z0-9_-]*\Z", error="must be lower-case")),
        values=fields.Nested(OperationSchema),
        load_default=dict,
    )
    response = fields.Nested(ResponseTableSchema, load_default=lambda: ResponseTableSchema().load({}))
    callback = fields.Nested(CallbackTableSchema, required=True)
    poll = fields.Nested(PollTableSchema, load_default=None)
    lookup = fields.Nested(LookupTableSchema, load_default=None)

    @validates_schema(skip_on_field_errors=False)
    def _known_by_our_id(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse to wait for our id from a provider that is never told it, and a lookup that could not read."""
        operations, lookup, response = data.get("operations"), data.get("lookup") or {}, data.get("response") or {}
        faults: dict[str, Any] = {}
        if operations is not None and not any(map(_sends_our_id, operations.values())):
            why = "no operation sends the request's id: set idempotency_header or request_id in it"
            if (data.get("callback") or {}).get("request"):
                faults["callback"] = {"request": [why]}
            if "request_id" in names_in(lookup.get("path")) | names_in(lookup.get("body")):
                faults["lookup"] = {"path": [why]}
        if lookup and not lookup.get("reference", True) and not response.get("reference", True):
            faults.setdefault("lookup", {})["reference"] = ["is needed, here or in answer: it names the job"]
        statuses = lookup.get("statuses") or (data.get("callback") or {}).get("statuses", True)
        if lookup.get("status") and not statuses:
            faults.setdefault("lookup", {})["statuses"] = ["is needed, here or in callback"]
        if faults:
            raise ValidationError(faults)

    @validates_schema(skip_on_field_errors=False)
    def _askable(self, data: dict[str, Any], **_: Any) -> None:
        callback, poll, auth = data.get("callback") or {}, data.get("poll", {}), data.get("signature")
        if isinstance(auth, CallbackAuth):
            _demand_cover(auth, callback)
        trust = getattr(auth, "trust", None)
        why = "callbacks only tell that there is news" if callback.get("fetch") else ""
        if trust is Trust.CONFIRM:
            why = "signature.trust is confirm"
        if why and poll is None:
            raise ValidationError({"poll": [f"is needed, as {why}"]})
        if why and not callback.get("status", True) and not poll.get("status", True):
            raise ValidationError({"poll": {"status": [f"is needed, as {why}"]}})
