"""Schema of a provider of kind `declared`: everything about it stands in `receiver.toml`.

Paths into JSON are JMESPath (https://jmespath.org/specification.html), relative to the item; one that begins with `$.`
starts at the whole document. Unknown keys are mistakes.
"""

from http import HTTPStatus
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from receiver.domain.jobs import JobStatus
from receiver.domain.sending import Disposition
from receiver.signatures.base import Guard, Trust
from schemas.fields import DAY, DURATION, Strict
from schemas.paths import Named, OneOrMore, Path, Place, Target, WordMap, known_as
from schemas.settings import Auth, ProviderSettings

DISPOSITIONS = {
    "accepted": Disposition.ACCEPTED,
    "succeeded": Disposition.SUCCEEDED,
    "rejected": Disposition.REFUSED,
    "retry": Disposition.RETRY,
}
STATUSES = {
    "accepted": JobStatus.ACCEPTED,
    "in_progress": JobStatus.IN_PROGRESS,
    "succeeded": JobStatus.SUCCEEDED,
    "failed": JobStatus.FAILED,
    "unresolved": JobStatus.UNRESOLVED,
}
_TOKEN = validate.Regexp(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z", error="must be a name of RFC 9110: letters, digits, - and _")
_VISIBLE = validate.Regexp(r"[ -~]*\Z", error="must be visible ASCII characters")
_METHODS = validate.OneOf(["GET", "POST", "PUT", "PATCH", "DELETE"])


class Table(Strict):
    """A table of the file."""


class Operation(Table):
    """One thing that can be asked of the provider.

    `{name}` in `path` takes that field out of the payload. `callback_url` says where our URL goes: a path of names in
    the body, `query:NAME` or `header:NAME`; `defaults` are body fields that a payload may override.
    """

    method = fields.String(load_default="POST", validate=_METHODS)
    path = Target(required=True)
    body = fields.String(load_default="json", validate=validate.OneOf(["json", "form", "query"]))
    callback_url = fields.String(load_default=None, validate=validate.Length(1, 200))
    idempotency_header = fields.String(load_default=None, validate=_TOKEN)
    required = fields.List(fields.String(), load_default=list)
    defaults = Named(keys=fields.String(), load_default=dict)


class AnswerTable(Table):
    """How an answer to a request is read; without `code` an item with a reference is accepted.

    `location` leads to the URL at which the job itself is polled.
    """

    items = Path(load_default=None)
    reference = OneOrMore(Path(), load_default=None)
    code = OneOrMore(Path(), load_default=list)
    codes = WordMap(DISPOSITIONS, load_default=dict)
    detail = OneOrMore(Path(), load_default=list)
    location = Path(load_default=None)

    @validates_schema(skip_on_field_errors=False)
    def _code_and_codes(self, data: dict[str, Any], **_: Any) -> None:
        if bool(data.get("code")) != bool(data.get("codes")) and {"code", "codes"} <= data.keys():
            raise ValidationError("code and codes belong together", "code" if data["codes"] else "codes")


class AckTable(Table):
    """What the provider takes as an acknowledgement."""

    status = fields.Integer(
        strict=True, load_default=200, validate=validate.OneOf([code.value for code in HTTPStatus if 200 <= code < 300])
    )
    body = fields.String(load_default="")
    content_type = fields.String(load_default=None, validate=_VISIBLE)


class HandshakeTable(Table):
    """How the provider checks our URL.

    `get-echo`: an unsigned GET with `token` at `token_at` wants the value at `echo` back. `post-echo`: a signed POST in
    which `when` holds wants the value at `echo` back. `post-hmac`: likewise, answered with that value and its hex
    HMAC-SHA256 under `secret`, as JSON with the names of `reply`; several secrets are in the order of the signature's.
    """

    kind = fields.String(required=True, validate=validate.OneOf(["get-echo", "post-echo", "post-hmac"]))
    echo = Place(required=True)
    token_at = Place(load_default=None)
    token = fields.String(load_default=None, validate=validate.Length(min=8))
    when = Named(keys=Place(), values=fields.String(), load_default=dict)
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


class CallbackTable(Table):
    """How callbacks are read.

    `status` lists paths, of which the first that gives a word counts; `superseding` are final words that overrule an
    earlier final one. `only` and `ignore` map places to words: a callback, or an item, that does not fit is taken and
    says nothing. With `fetch` a callback only tells that there is news, and the poll fetches it.
    """

    methods = OneOrMore(fields.String(validate=validate.OneOf(["GET", "POST"])), load_default=lambda: ["POST"])
    body = fields.String(load_default="json", validate=validate.OneOf(["json", "form", "query"]))
    json_field = fields.String(load_default=None)
    items = Path(load_default=None)
    reference = OneOrMore(Path(), required=True)
    status = OneOrMore(Path(), load_default=list)
    statuses = WordMap(STATUSES, load_default=dict)
    superseding = fields.List(fields.String(), load_default=list)
    code = OneOrMore(Path(), load_default=list)
    detail = OneOrMore(Path(), load_default=list)
    occurred_at = Path(load_default=None)
    time_unit = fields.String(load_default="iso", validate=validate.OneOf(["iso", "s", "ms"]))
    event_id = Place(load_default=None)
    only_ = Named(data_key="only", attribute="only", keys=Path(), values=OneOrMore(fields.String()), load_default=dict)
    ignore = Named(keys=Path(), values=OneOrMore(fields.String()), load_default=dict)
    fetch = fields.Boolean(load_default=False)
    ack = fields.Nested(AckTable, load_default=lambda: AckTable().load({}))
    handshake = fields.Nested(HandshakeTable, load_default=None)

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


class PollTable(Table):
    """How the provider is asked about a job; what is not given is as in the callback.

    `not_found` is what a 404 says of the job; absent, it says nothing. `read_once` says that the provider tells
    everything only once, so that what it says of other jobs is recorded too.
    """

    method = fields.String(load_default="GET", validate=validate.OneOf(["GET", "POST"]))
    path = Target(load_default=None)
    body = Named(keys=fields.String(), load_default=None)
    items = Path(load_default=None)
    reference = OneOrMore(Path(), load_default=None)
    status = OneOrMore(Path(), load_default=None)
    statuses = WordMap(STATUSES, load_default=None)
    code = OneOrMore(Path(), load_default=None)
    detail = OneOrMore(Path(), load_default=None)
    occurred_at = Path(load_default=None)
    not_found = fields.String(load_default=None, validate=validate.OneOf(["failed", "in_progress"]))
    read_once = fields.Boolean(load_default=False)
    first_after = fields.Float(load_default=60.0, validate=DURATION)
    max_interval = fields.Float(load_default=3_600.0, validate=DURATION)
    give_up_after = fields.Float(load_default=DAY, validate=DURATION)


def _demand_cover(guard: Guard, callback: dict[str, Any]) -> None:
    """Refuse to read what the signature does not cover, unless it only makes us ask."""
    scheme = guard.scheme
    if scheme is None or guard.trust is Trust.CONFIRM:
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


class DeclaredSettings(ProviderSettings):
    """A provider of kind `declared`. Without `operations` it only calls back, without `poll` it is never asked."""

    auth = fields.Nested(Auth, load_default=None)
    headers = Named(keys=fields.String(validate=_TOKEN), values=fields.String(validate=_VISIBLE), load_default=dict)
    operations = Named(
        keys=fields.String(validate=validate.Regexp(r"[a-z0-9][a-z0-9_-]*\Z", error="must be lower-case")),
        values=fields.Nested(Operation),
        load_default=dict,
    )
    answer = fields.Nested(AnswerTable, load_default=lambda: AnswerTable().load({}))
    callback = fields.Nested(CallbackTable, required=True)
    poll = fields.Nested(PollTable, load_default=None)

    @validates_schema(skip_on_field_errors=False)
    def _askable(self, data: dict[str, Any], **_: Any) -> None:
        callback, poll, guard = data.get("callback") or {}, data.get("poll", {}), data.get("signature")
        if isinstance(guard, Guard):
            _demand_cover(guard, callback)
        trust = getattr(guard, "trust", None)
        why = "callbacks only tell that there is news" if callback.get("fetch") else ""
        if trust is Trust.CONFIRM:
            why = "signature.trust is confirm"
        if why and poll is None:
            raise ValidationError({"poll": [f"is needed, as {why}"]})
        if why and not callback.get("status", True) and not poll.get("status", True):
            raise ValidationError({"poll": {"status": [f"is needed, as {why}"]}})
