"""Schemas of how a declared provider is asked about what it was sent, and of the words that all its tables share."""

from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from receiver.domain.jobs import JobStatus
from receiver.domain.sending import ItemStatus
from receiver.schemas.fields import DAY, DURATION, StrictSchema
from receiver.schemas.paths import PLACEHOLDER, JsonPathField, NamedValues, OneOrMore, PathTemplate, WordMap

DISPOSITIONS = {
    "accepted": ItemStatus.ACCEPTED,
    "succeeded": ItemStatus.SUCCEEDED,
    "rejected": ItemStatus.REFUSED,
    "retry": ItemStatus.RETRY,
}
STATUSES = {
    "accepted": JobStatus.ACCEPTED,
    "in_progress": JobStatus.IN_PROGRESS,
    "succeeded": JobStatus.SUCCEEDED,
    "failed": JobStatus.FAILED,
    "unresolved": JobStatus.UNRESOLVED,
}


class TableSchema(StrictSchema):
    """A table of the file."""


def names_in(value: Any) -> set[str]:
    """Give the names of the values that stand as `{name}` in a path or, however deep, in a body."""
    if isinstance(value, str):
        return set(PLACEHOLDER.findall(value))
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for one in inner for name in names_in(one)}


class FollowUpTableSchema(TableSchema):
    """How the provider is asked, and when; `encoding` is that of the body."""

    method = fields.String(load_default="GET", validate=validate.OneOf(["GET", "POST"]))
    path = PathTemplate(load_default=None)
    body = NamedValues(keys=fields.String(), load_default=None)
    encoding = fields.String(load_default="json", validate=validate.OneOf(["json", "form"]))
    first_after = fields.Float(load_default=60.0, validate=DURATION)
    max_interval = fields.Float(load_default=3_600.0, validate=DURATION)
    give_up_after = fields.Float(load_default=DAY, validate=DURATION)


class PollTableSchema(FollowUpTableSchema):
    """How the provider is asked about a job; what is not given is as in the callback.

    `not_found` is what a 404 says of the job; absent, it says nothing. `read_once` says that the provider tells
    everything only once, so that what it says of other jobs is recorded too. One poll asks about up to `batch` jobs, at
    `{references}`: in the path, a form or within a text joined by `separator`, by itself in JSON as a list.
    """

    items = JsonPathField(load_default=None)
    reference = OneOrMore(JsonPathField(), load_default=None)
    status = OneOrMore(JsonPathField(), load_default=None)
    statuses = WordMap(STATUSES, load_default=None)
    code = OneOrMore(JsonPathField(), load_default=None)
    detail = OneOrMore(JsonPathField(), load_default=None)
    occurred_at = JsonPathField(load_default=None)
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


class LookupTableSchema(FollowUpTableSchema):
    """How the provider is asked about a request of which nobody knows whether it was taken, by our own reference.

    `{request_id}` in path and body stands for the request's id, any other `{name}` for that field of its payload. The
    answer is read as that to a request, save for what is given here; with `status` instead of `code` by the words for a
    job's status, those of the callback unless given. `not_found` is what it means that the provider does not know the
    request, said `not_found_after` times: nothing, or that it never arrived and is to be sent again.
    """

    path = PathTemplate(required=True)
    items = JsonPathField(load_default=None)
    reference = OneOrMore(JsonPathField(), load_default=None)
    code = OneOrMore(JsonPathField(), load_default=None)
    codes = WordMap(DISPOSITIONS, load_default=None)
    status = OneOrMore(JsonPathField(), load_default=None)
    statuses = WordMap(STATUSES, load_default=None)
    detail = OneOrMore(JsonPathField(), load_default=None)
    location = JsonPathField(load_default=None)
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
