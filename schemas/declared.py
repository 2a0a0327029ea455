"""Schemas of a provider of kind `declared`, which is defined entirely by its tables in `receiver.toml`.

Paths into JSON are JMESPath (https://jmespath.org/specification.html), relative to the item; a path that begins with
`$.` is relative to the whole document. Unknown keys are errors.
"""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from receiver.domain.documents.media_types import BODY_KINDS
from receiver.domain.times import UNITS
from receiver.schemas.coverage import find_callback_errors
from receiver.schemas.declared_acks import AckTableSchema
from receiver.schemas.declared_followup import (
    ITEM_STATUSES,
    STATUSES,
    LookupTableSchema,
    PollTableSchema,
    TableSchema,
    find_placeholders,
)
from receiver.schemas.declared_handshakes import HandshakeTableSchema
from receiver.schemas.declared_operations import OperationSchema
from receiver.schemas.fields import Choice
from receiver.schemas.oauth2 import AuthField
from receiver.schemas.paths import (
    ANY_STATUS,
    HEADER_NAME,
    HEADER_VALUE,
    PLACEHOLDER,
    JsonPathField,
    NamedValues,
    OneOrMore,
    PathTemplate,
    ResponseLocationField,
    StatusMap,
    ValueLocationField,
    normalize_status,
)
from receiver.schemas.settings import ProviderSettingsSchema
from receiver.signatures.base import CallbackAuth, Trust
from receiver.signatures.coverage import is_outside_document

_CALLBACK_METHODS = Choice(["GET", "POST", "PUT", "PATCH"])


REQUEST_ID = "request_id"
"""The reference of a job, or the placeholder in a lookup, that stands for the id of the request."""


class ResponseTableSchema(TableSchema):
    """How the response to a request is parsed; without `code` an item with a reference is accepted.

    `reference` may be in a header; of a URL in a header the last segment of the path counts, or `{reference}` in
    `reference_template`, which is the end of the path of a URL anywhere. `request_id` is the id of the request, if an
    operation sends it. `location` is where the URL is at which the job itself is polled, by default the URL of such a
    header.
    """

    items = JsonPathField(load_default=None)
    reference = OneOrMore(ResponseLocationField(), load_default=None)
    reference_template = PathTemplate(load_default=None)
    code = OneOrMore(JsonPathField(), load_default=list)
    codes = StatusMap(ITEM_STATUSES, load_default=dict)
    detail = OneOrMore(JsonPathField(), load_default=list)
    location = ResponseLocationField(load_default=None)

    @validates_schema(skip_on_field_errors=False)
    def _check_reference_template(self, data: dict[str, Any], **_: Any) -> None:
        template = data.get("reference_template")
        if template and PLACEHOLDER.findall(template).count("reference") != 1:
            raise ValidationError({"reference_template": ["Must contain {reference} once."]})
        if template and len(data.get("reference", "-") or "") != 1:
            raise ValidationError({"reference_template": ["Must be combined with one location in reference."]})

    @validates_schema(skip_on_field_errors=False)
    def _check_codes(self, data: dict[str, Any], **_: Any) -> None:
        if bool(data.get("code")) != bool(data.get("codes")) and {"code", "codes"} <= data.keys():
            message = "Missing data for required field: code and codes must be combined."
            raise ValidationError(message, "code" if data["codes"] else "codes")


class CallbackTableSchema(TableSchema):
    """How callbacks are parsed.

    `status` is a list of paths; the first that leads to a value counts. `superseding` are final statuses that overrule
    an earlier final status. `only` and `ignore` map paths to values: an item that they filter out is acknowledged and
    changes nothing. Values may also be in a header or in the query. With `fetch` a callback only causes a poll.
    `request` is where the provider sends the id of our request back. The table loads with `status_names`, the keys of
    `statuses` as they are written.
    """

    methods = OneOrMore(fields.String(validate=_CALLBACK_METHODS), load_default=lambda: ["POST"])
    body = fields.String(load_default="json", validate=Choice(BODY_KINDS))
    json_field = fields.String(load_default=None)
    items = JsonPathField(load_default=None)
    reference = OneOrMore(ValueLocationField(), required=True)
    status = OneOrMore(ValueLocationField(), load_default=list)
    statuses = StatusMap(STATUSES, load_default=dict)
    superseding = fields.List(fields.String(), load_default=list)
    code = OneOrMore(ValueLocationField(), load_default=list)
    detail = OneOrMore(ValueLocationField(), load_default=list)
    occurred_at = ValueLocationField(load_default=None)
    time_unit = fields.String(load_default="iso", validate=Choice(list(UNITS)))
    event_id = ValueLocationField(load_default=None)
    request = ValueLocationField(load_default=None)
    only_ = NamedValues(
        data_key="only",
        attribute="only",
        keys=ValueLocationField(),
        values=OneOrMore(fields.String()),
        load_default=dict,
    )
    ignore = NamedValues(keys=ValueLocationField(), values=OneOrMore(fields.String()), load_default=dict)
    fetch = fields.Boolean(load_default=False)
    ack = fields.Nested(AckTableSchema, load_default=lambda: AckTableSchema().load({}))
    handshake = OneOrMore(fields.Nested(HandshakeTableSchema), load_default=list)

    @validates_schema(skip_on_field_errors=False)
    def _check_combinations(self, data: dict[str, Any], **_: Any) -> None:
        errors = {}
        status, statuses = data.get("status"), data.get("statuses")
        if status == [] and not data.get("fetch"):
            errors["status"] = ["Missing data for required field. Set fetch = true if callbacks have no status."]
        if status and statuses == {}:
            errors["statuses"] = ["Missing data for required field: the provider's statuses and what they mean."]
        unknown = [name for name in data.get("superseding", ()) if statuses and normalize_status(name) not in statuses]
        if unknown:
            errors["superseding"] = [f"Not in statuses: {', '.join(unknown)}."]
        if ANY_STATUS in data.get("superseding", ()):
            errors["superseding"] = [f"Must not contain {ANY_STATUS}: name the statuses that overrule others."]
        if data.get("json_field") and data.get("body") in {"json", "xml"}:
            message = "Must be combined with body = form, multipart or query, in which one field contains JSON."
            errors["json_field"] = [message]
        if errors:
            raise ValidationError(errors)

    @post_load(pass_original=True)
    def _add_status_names(self, data: dict[str, Any], original: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        return {**data, "status_names": tuple(map(str, original.get("statuses", ())))}


def sends_request_id(operation: Mapping[str, Any]) -> bool:
    """Return whether an operation sends the request's id, so that the provider can know a job by it."""
    computed = operation.get("computed") or {}
    return bool(
        operation.get("idempotency_header", True)
        or operation.get("request_id", True)
        or any(REQUEST_ID in value.names for value in computed.values())
    )


class DeclaredSettingsSchema(ProviderSettingsSchema):
    """A provider of kind `declared`.

    Without `operations` it only calls back, without `poll` its jobs are not polled, without `lookup` its unknown
    requests are not looked up.
    """

    auth = AuthField(load_default=None)
    headers = NamedValues(
        keys=fields.String(validate=HEADER_NAME), values=fields.String(validate=HEADER_VALUE), load_default=dict
    )
    operations = NamedValues(
        keys=fields.String(
            validate=validate.Regexp(r"[a-z0-9][a-z0-9_-]*\Z", error="Must be lower-case letters, digits, - and _.")
        ),
        values=fields.Nested(OperationSchema),
        load_default=dict,
    )
    response = fields.Nested(ResponseTableSchema, load_default=lambda: ResponseTableSchema().load({}))
    callback = fields.Nested(CallbackTableSchema, required=True)
    poll = fields.Nested(PollTableSchema, load_default=None)
    lookup = fields.Nested(LookupTableSchema, load_default=None)

    def find_coverage_errors(self, auth: CallbackAuth, data: Mapping[str, Any]) -> Mapping[str, Any]:
        return find_callback_errors(auth, data.get("callback") or {})

    @validates_schema(skip_on_field_errors=False)
    def _check_request_id(self, data: dict[str, Any], **_: Any) -> None:
        """Reject tables that expect our request id from a provider that never gets it, and an unparseable lookup."""
        operations, lookup, response = data.get("operations"), data.get("lookup") or {}, data.get("response") or {}
        errors: dict[str, Any] = {}
        if operations is not None and not any(map(sends_request_id, operations.values())):
            message = "No operation sends the request's id. Set idempotency_header or request_id in an operation."
            if (data.get("callback") or {}).get("request"):
                errors["callback"] = {"request": [message]}
            if REQUEST_ID in find_placeholders(lookup.get("path")) | find_placeholders(lookup.get("body")):
                errors["lookup"] = {"path": [message]}
        reference = response.get("reference", True) or ()
        if lookup and not lookup.get("reference", True) and reference is not True:
            message = "Missing data for required field: in response it is in a header."
            if not reference:
                message = "Missing data for required field. Set the job's reference here or in response."
            if not reference or any(location.startswith("header:") for location in reference):
                errors.setdefault("lookup", {})["reference"] = [message]
        statuses = lookup.get("statuses") or (data.get("callback") or {}).get("statuses", True)
        if lookup.get("status") and not statuses:
            message = "Missing data for required field. Set statuses here or in callback."
            errors.setdefault("lookup", {})["statuses"] = [message]
        if errors:
            raise ValidationError(errors)

    @validates_schema(skip_on_field_errors=False)
    def _check_body_fields(self, data: dict[str, Any], **_: Any) -> None:
        """Reject operations whose body is one field of the payload, if our credentials are a field of the body."""
        if (data.get("auth") or {}).get("scheme") != "body":
            return
        names = [name for name, operation in (data.get("operations") or {}).items() if operation.get("body_field")]
        if names:
            message = "Must not be combined with auth.scheme = body: the credentials would not be sent."
            raise ValidationError({"operations": {name: {"body_field": [message]} for name in names}})

    @validates_schema(skip_on_field_errors=False)
    def _check_reference(self, data: dict[str, Any], **_: Any) -> None:
        reference = (data.get("response") or {}).get("reference") or ()
        sends = any(map(sends_request_id, (data.get("operations") or {}).values()))
        if sends and REQUEST_ID in reference and len(reference) > 1:
            message = "Must not combine the request's id with others. For a field of the body, write $.request_id."
            raise ValidationError({"response": {"reference": [message]}})

    @validates_schema(skip_on_field_errors=False)
    def _check_poll(self, data: dict[str, Any], **_: Any) -> None:
        callback, poll = data.get("callback") or {}, data.get("poll", {})
        trust = getattr(data.get("signature"), "trust", None)
        reason = "callback.fetch is true" if callback.get("fetch") else ""
        if trust is Trust.CONFIRM:
            reason = "signature.trust is confirm"
        if reason and poll is None:
            raise ValidationError({"poll": [f"Missing data for required field, as {reason}."]})
        if reason and callback.get("superseding"):
            message = f"Must be empty, as {reason}: a job that has ended is not polled, so that nothing overrules it."
            raise ValidationError({"callback": {"superseding": [message]}})
        for name in ("reference", "status"):
            if poll and poll.get(name, "") is None and any(map(is_outside_document, callback.get(name) or ())):
                message = "Missing data for required field: in callback it is not in the document."
                raise ValidationError({"poll": {name: [message]}})
        if reason and not callback.get("status", True) and not poll.get("status", True):
            raise ValidationError({"poll": {"status": [f"Missing data for required field, as {reason}."]}})
