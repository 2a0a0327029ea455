"""Schemas of the tables `poll` and `lookup` of a declared provider, and the statuses that all its tables map to."""

from graphlib import CycleError
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from receiver.domain.jobs import JobStatus
from receiver.domain.sending import ItemStatus
from receiver.schemas.computed_values import ComputedValues, sort_computed
from receiver.schemas.fields import DAY_S, DURATION_RANGE, Choice, StrictSchema
from receiver.schemas.paths import PLACEHOLDER, JsonPathField, NamedValues, OneOrMore, PathTemplate, StatusMap

ITEM_STATUSES = {
    "accepted": ItemStatus.ACCEPTED,
    "succeeded": ItemStatus.SUCCEEDED,
    "rejected": ItemStatus.REJECTED,
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
    """A table of `receiver.toml`."""


def find_placeholders(value: Any) -> set[str]:
    """Return the names of the placeholders `{name}` in a path or, at any depth, in a body."""
    if isinstance(value, str):
        return set(PLACEHOLDER.findall(value))
    inner_values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for inner in inner_values for name in find_placeholders(inner)}


class FollowUpTableSchema(TableSchema):
    """What `poll` and `lookup` have in common: the HTTP request and its schedule; `encoding` is that of the body."""

    method = fields.String(load_default="GET", validate=Choice(["GET", "POST"]))
    path = PathTemplate(load_default=None)
    body = NamedValues(keys=fields.String(), load_default=None)
    encoding = fields.String(load_default="json", validate=Choice(["json", "form"]))
    first_after = fields.Float(load_default=60.0, validate=DURATION_RANGE)
    max_interval = fields.Float(load_default=3_600.0, validate=DURATION_RANGE)
    give_up_after = fields.Float(load_default=DAY_S, validate=DURATION_RANGE)


class PollTableSchema(FollowUpTableSchema):
    """How jobs are polled; absent keys default to those of `callback`.

    `not_found` is the status of a job for which the provider responds 404; absent, a 404 changes nothing. `read_once`
    is for a provider that sends each status only once: a poll's response also records jobs that it did not ask about.
    One poll asks about up to `batch` jobs, at `{references}`: joined by `separator` in the path, in a form or within a
    text; a list if it is the whole value of a JSON field. `computed` are values that are computed from
    the reference, from fields of the body and from the time.
    """

    items = JsonPathField(load_default=None)
    reference = OneOrMore(JsonPathField(), load_default=None)
    status = OneOrMore(JsonPathField(), load_default=None)
    statuses = StatusMap(STATUSES, load_default=None)
    code = OneOrMore(JsonPathField(), load_default=None)
    detail = OneOrMore(JsonPathField(), load_default=None)
    occurred_at = JsonPathField(load_default=None)
    not_found = fields.String(load_default=None, validate=Choice(["failed", "in_progress"]))
    read_once = fields.Boolean(load_default=False)
    batch = fields.Integer(strict=True, load_default=1, validate=validate.Range(1, 1_000))
    computed = ComputedValues()
    separator = fields.String(
        load_default=",",
        validate=validate.Regexp(r"[!$-;=?-~]{1,3}\Z", error="Must be 1 to 3 visible ASCII characters of a URL."),
    )

    @validates_schema(skip_on_field_errors=False)
    def _check_placeholders(self, data: dict[str, Any], **_: Any) -> None:
        in_path = find_placeholders(data.get("path"))
        placeholders = in_path | find_placeholders(data.get("body"))
        batch = data.get("batch")
        unknown = sorted(in_path - {"reference", "references"})
        if unknown:
            names = ", ".join(f"{{{name}}}" for name in unknown)
            raise ValidationError(
                {"path": [f"Must have no placeholders but {{reference}} or {{references}}: {names}."]}
            )
        if batch is not None and batch > 1 and "references" not in placeholders:
            raise ValidationError({"batch": ["Must be 1 unless path or body contains {references}."]})
        if batch == 1 and "references" in placeholders:
            message = "Missing data for required field: with {references}, set how many jobs one poll asks about."
            raise ValidationError({"batch": [message]})

    @validates_schema(skip_on_field_errors=False)
    def _check_computed(self, data: dict[str, Any], **_: Any) -> None:
        computed = data.get("computed") or {}
        names = {"reference", *(data.get("body") or ()), *computed}
        errors = {}
        try:
            sort_computed(computed)
        except CycleError as error:
            errors[error.args[1][0]] = [f"Must not be computed from itself: {' from '.join(error.args[1])}."]
        for location, value in computed.items():
            if unknown := ", ".join(sorted(value.names - names)):
                errors[location] = [f"Must be computed from reference and fields of body: {unknown}."]
        if errors:
            raise ValidationError({"computed": errors})

    @post_load
    def _sort_computed(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return data | {"computed": sort_computed(data["computed"])}


class LookupTableSchema(FollowUpTableSchema):
    """How an unknown request is looked up, by our own id or by fields of its payload.

    `{request_id}` in path and body is a placeholder for the request's id, any other `{name}` for that field of its
    payload. The response is parsed like that to a request, except for the keys given here. With `status` instead of
    `code` it is parsed by the job's status; `statuses` default to those of `callback`. `not_found` is what it means
    that `not_found_after` lookups did not find the request: `unknown`, nothing; or `retry`, it never arrived and is
    sent again.
    """

    path = PathTemplate(required=True)
    items = JsonPathField(load_default=None)
    reference = OneOrMore(JsonPathField(), load_default=None)
    code = OneOrMore(JsonPathField(), load_default=None)
    codes = StatusMap(ITEM_STATUSES, load_default=None)
    status = OneOrMore(JsonPathField(), load_default=None)
    statuses = StatusMap(STATUSES, load_default=None)
    detail = OneOrMore(JsonPathField(), load_default=None)
    location = JsonPathField(load_default=None)
    not_found = fields.String(load_default="unknown", validate=Choice(["unknown", "retry"]))
    not_found_after = fields.Integer(strict=True, load_default=2, validate=validate.Range(1, 100))

    @validates_schema(skip_on_field_errors=False)
    def _check_combinations(self, data: dict[str, Any], **_: Any) -> None:
        errors = {}
        if data.get("status") and data.get("codes"):
            errors["codes"] = ["Must not be combined with status. Use either code and codes, or status and statuses."]
        if data.get("statuses") and data.get("status", "") is None:
            errors["statuses"] = ["Must be combined with status, the path of the provider's status."]
        if not (find_placeholders(data.get("path", "{}")) | find_placeholders(data.get("body"))) and data.get("path"):
            errors["path"] = ["Must contain {request_id} or a field of the payload, here or in body."]
        if errors:
            raise ValidationError(errors)
