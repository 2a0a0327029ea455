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
from schemas.paths import PLACEHOLDER, Named, OneOrMore, Path, Place, Target, WordMap, known_as
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

    `{name}` in `path` takes that field out of the payload. `callback_url` says where our URL goes, `request_id` where
    the request's id goes: a path of names in the body, `query:NAME` or `header:NAME`. With `callback_token` the URL
    says which attempt it was sent with. `defaults` are body fields that a payload may override.
    """

    method = fields.String(load_default="POST", validate=_METHODS)
    path = Target(required=True)
    body = fields.String(load_default="json", validate=validate.OneOf(["json", "form", "query"]))
    callback_url = fields.String(load_default=None, validate=validate.Length(1, 200))
    callback_token = fields.Boolean(load_default=False)
    request_id = fields.String(load_default=None, validate=validate.Length(1, 200))
    idempotency_header = fields.String(load_default=None, validate=_TOKEN)
    required = fields.List(fields.String(), load_default=list)
    defaults = Named(keys=fields.String(), load_default=dict)

    @validates_schema(skip_on_field_errors=False)
    def _token_goes_somewhere(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("callback_token") and data.get("callback_url", "") is None:
            raise ValidationError({"callback_token": ["needs callback_url: the token is part of that URL"]})


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
    says nothing. With `fetch` a callback only tells that there is news, and the poll fetches it. `request` leads to the
    id of our request, where the provider gives it back.
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
    request = Place(load_default=None)
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


class QuestionTable(Table):
    """How the provider is asked, and when; `encoding` is that of the body."""

    method = fields.String(load_default="GET", validate=validate.OneOf(["GET", "POST"]))
    path = Target(load_default=None)
    body = Named(keys=fields.String(), load_default=None)
    encoding = fields.String(load_default="json", validate=validate.OneOf(["json", "form"]))
    first_after = fields.Float(load_default=60.0, validate=DURATION)
    max_interval = fields.Float(load_default=3_600.0, validate=DURATION)
    give_up_after = fields.Float(load_default=DAY, validate=DURATION)


class PollTable(QuestionTable):
    """How the provider is asked about a job; what is not given is as in the callback.

    `not_found` is what a 404 says of the job; absent, it says nothing. `read_once` says that the provider tells
    everything only once, so that what it says of other jobs is recorded too. One poll asks about up to `batch` jobs, at
    `{references}`: in the path, a form or within a text joined by `separator`, by itself in JSON as a list.
    """

    items = Path(load_default=None)
    reference = OneOrMore(Path(), load_default=None)
    status = OneOrMore(Path(), load_default=None)
    statuses = WordMap(STATUSES, load_default=None)
    code = OneOrMore(Path(), load_default=None)
    detail = OneOrMore(Path(), load_default=None)
    occurred_at = Path(load_default=None)
    not_found = fields.String(load_default=None, validate=validate.OneOf(["failed", "in_progress"]))
    read_once = fields.Boolean(load_default=False)
    batch = fields.Integer(strict=True, load_default=1, validate=validate.Range(1, 1_000))
    separator = fields.String(
        load_default=",",
        validate=validate.Regexp(r"[!$-;=?-~]{1,3}\Z", error="must be 1 to 3 visible ASCII characters of a URL"),
    )

    @validates_schema(skip_on_field_errors=False)
    def _asks_for_all(self, data: dict[str, Any], **_: Any) -> None:
        named = names_in(data.get("path")) | names_in(data.get("body"))
        batch = data.get("batch")
        unknown = sorted(names_in(data.get("path")) - {"reference", "references"})
        if unknown:
            told = ", ".join(f"{{{name}}}" for name in unknown)
            raise ValidationError({"path": [f"only {{reference}} or {{references}} stand for values here, not {told}"]})
        if batch is not None and batch > 1 and "references" not in named:
            raise ValidationError({"batch": ["needs {references} in path or body, which stands for the jobs'"]})
        if batch == 1 and "references" in named:
            raise ValidationError({"batch": ["is needed with {references}: how many jobs one poll may ask about"]})


class LookupTable(QuestionTable):
    """How the provider is asked about a request of which nobody knows whether it was taken, by our own reference.

    `{request_id}` in path and body stands for the request's id, any other `{name}` for that field of its payload. The
    answer is read as that to a request, save for what is given here; with `status` instead of `code` by the words for a
    job's status, those of the callback unless given. `not_found` is what it means that the provider does not know the
    request, said `not_found_after` times: nothing, or that it never arrived and is to be sent again.
    """

    path = Target(required=True)
    items = Path(load_default=None)
    reference = OneOrMore(Path(), load_default=None)
    code = OneOrMore(Path(), load_default=None)
    codes = WordMap(DISPOSITIONS, load_default=None)
    status = OneOrMore(Path(), load_default=None)
    statuses = WordMap(STATUSES, load_default=None)
    detail = OneOrMore(Path(), load_default=None)
    location = Path(load_default=None)
    not_found = fields.String(load_default="unknown", validate=validate.OneOf(["unknown", "retry"]))
    not_found_after = fields.Integer(strict=True, load_default=2, validate=validate.Range(1, 100))

    @validates_schema(skip_on_field_errors=False)
    def _one_vocabulary(self, data: dict[str, Any], **_: Any) -> None:
        faults = {}
        if data.get("status") and data.get("codes"):
            faults["codes"] = ["are not for status: give either code and codes, or status and statuses"]
        if data.get("statuses") and data.get("status", "") is None:
            faults["statuses"] = ["is for status: the path at which the word stands"]
        if not (names_in(data.get("path", "{}")) | names_in(data.get("body"))) and data.get("path"):
            faults["path"] = ["must name what it asks for: {request_id}, or a field of the payload, here or in body"]
        if faults:
            raise ValidationError(faults)


def names_in(value: Any) -> set[str]:
    """Give the names of the values that stand as `{name}` in a path or, however deep, in a body."""
    if isinstance(value, str):
        return set(PLACEHOLDER.findall(value))
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for one in inner for name in names_in(one)}


def _sends_our_id(operation: dict[str, Any]) -> bool:
    return bool(operation.get("idempotency_header", True) or operation.get("request_id", True))


def _demand_cover(guard: Guard, callback: dict[str, Any]) -> None:
    """Refuse to read what the signature does not cover, unless it only makes us ask."""
    scheme = guard.scheme
    if scheme is None:
        return
    kind, _, name = (callback.get("request") or "").partition(":")
    if kind in {"header", "query"} and name and not scheme.covers(kind, name):
        told = f"the signature does not cover the {kind}, so nobody would have proved what stands there"
        raise ValidationError({"callback": {"request": [told]}})
    if guard.trust is Trust.CONFIRM:
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
    """A provider of kind `declared`.

    Without `operations` it only calls back, without `poll` it is never asked about jobs, without `lookup` never about
    requests.
    """

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
    lookup = fields.Nested(LookupTable, load_default=None)

    @validates_schema(skip_on_field_errors=False)
    def _known_by_our_id(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse to wait for our id from a provider that is never told it, and a lookup that could not read."""
        operations, lookup, answer = data.get("operations"), data.get("lookup") or {}, data.get("answer") or {}
        faults: dict[str, Any] = {}
        if operations is not None and not any(map(_sends_our_id, operations.values())):
            why = "no operation sends the request's id: set idempotency_header or request_id in it"
            if (data.get("callback") or {}).get("request"):
                faults["callback"] = {"request": [why]}
            if "request_id" in names_in(lookup.get("path")) | names_in(lookup.get("body")):
                faults["lookup"] = {"path": [why]}
        if lookup and not lookup.get("reference", True) and not answer.get("reference", True):
            faults.setdefault("lookup", {})["reference"] = ["is needed, here or in answer: it names the job"]
        statuses = lookup.get("statuses") or (data.get("callback") or {}).get("statuses", True)
        if lookup.get("status") and not statuses:
            faults.setdefault("lookup", {})["statuses"] = ["is needed, here or in callback"]
        if faults:
            raise ValidationError(faults)

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
