"""Schemas of the tables of Cecula's three kinds in `receiver.toml`; the defaults are what Cecula documents."""

from typing import Any, ClassVar

from marshmallow import ValidationError, fields, validates_schema

from receiver.schemas.declared_followup import STATUSES, TableSchema
from receiver.schemas.fields import TimeZoneField, check_http_url
from receiver.schemas.paths import JsonPathField, PathTemplate, StatusMap
from receiver.schemas.settings import BearerAuthSchema, PollSchema, ProviderSettingsSchema
from receiver.schemas.signatures import SignatureSchema
from receiver.signatures.base import Trust

CURRENT_URL = "https://app.cecula.com/api"
LEGACY_URL = "https://api.cecula.com"
SYNC_URL = "https://cecula.com/sync/api"
_MISSING_SIGNATURE = (
    "Missing data for required field. Cecula documents no signature, so use a URL token: "
    'scheme = "token", secrets = ["env:CECULA_TOKEN"].'
)


class CeculaCallbackTableSchema(TableSchema):
    """The paths of a report's fields, which Cecula does not document; `statuses` adds to the usual statuses of SMS."""

    items = JsonPathField()
    reference = JsonPathField()
    status = JsonPathField()
    code = JsonPathField()
    detail = JsonPathField()
    occurred_at = JsonPathField()
    statuses = StatusMap(STATUSES, load_default=dict)


class CeculaPollTableSchema(PollSchema):
    """How messages are polled; only Cecula Sync documents a path."""

    path = PathTemplate(load_default=None)


class CommonCeculaSettingsSchema(ProviderSettingsSchema):
    """The settings of all three kinds."""

    polls_by_default: ClassVar[bool] = False

    auth = fields.Nested(BearerAuthSchema, required=True)
    signature = fields.Nested(SignatureSchema, required=True, error_messages={"required": _MISSING_SIGNATURE})
    callback = fields.Nested(CeculaCallbackTableSchema, load_default=lambda: CeculaCallbackTableSchema().load({}))
    poll = fields.Nested(CeculaPollTableSchema, load_default=lambda: CeculaPollTableSchema().load({}))

    @validates_schema(skip_on_field_errors=False)
    def _check_poll_path(self, data: dict[str, Any], **_: Any) -> None:
        trust = getattr(data.get("signature"), "trust", None)
        if trust is Trust.CONFIRM and not self.polls_by_default and not data.get("poll", {}).get("path", True):
            raise ValidationError(
                {"poll": {"path": ["Missing data for required field, as signature.trust is confirm."]}}
            )


class CeculaSettingsSchema(CommonCeculaSettingsSchema):
    """Kind `cecula`."""

    base_url = fields.String(load_default=CURRENT_URL, validate=check_http_url)
    time_zone = TimeZoneField(load_default=None)


class CeculaLegacySettingsSchema(CommonCeculaSettingsSchema):
    """Kind `cecula-legacy`."""

    base_url = fields.String(load_default=LEGACY_URL, validate=check_http_url)


class CeculaSyncSettingsSchema(CommonCeculaSettingsSchema):
    """Kind `cecula-sync`."""

    polls_by_default: ClassVar[bool] = True
    base_url = fields.String(load_default=SYNC_URL, validate=check_http_url)
