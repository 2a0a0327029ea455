"""Schemas of the tables of Cecula's three kinds in `receiver.toml`; what Cecula documents has its value as default."""

from typing import Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from marshmallow import ValidationError, fields, validates_schema

from receiver.schemas.declared_following import STATUSES, Table
from receiver.schemas.fields import http_url
from receiver.schemas.paths import Path, Target, WordMap
from receiver.schemas.settings import BearerAuth, Poll, ProviderSettings
from receiver.schemas.signatures import Signature
from receiver.signatures.base import Trust

CURRENT_URL = "https://app.cecula.com/api"
OLDER_URL = "https://api.cecula.com"
SYNC_URL = "https://cecula.com/sync/api"
_UNSIGNED = (
    'is needed; Cecula documents no signature, so give a URL token: scheme = "token", secrets = ["env:CECULA_TOKEN"]'
)


class Zone(fields.String):
    """A time zone of the IANA database."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return ZoneInfo(super()._deserialize(value, *args, **kwargs))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValidationError("must be a time zone such as Africa/Lagos") from None


class CallbackTable(Table):
    """Where a report's fields stand, none of which Cecula documents; `statuses` adds to the usual words of SMS."""

    items = Path()
    reference = Path()
    status = Path()
    code = Path()
    detail = Path()
    occurred_at = Path()
    statuses = WordMap(STATUSES, load_default=dict)


class PollTable(Poll):
    """How a message is asked about; only Cecula Sync documents a path for it."""

    path = Target(load_default=None)


class CeculaSettings(ProviderSettings):
    """What all three kinds are told."""

    polls_by_default: ClassVar[bool] = False

    auth = fields.Nested(BearerAuth, required=True)
    signature = fields.Nested(Signature, required=True, error_messages={"required": _UNSIGNED})
    callback = fields.Nested(CallbackTable, load_default=lambda: CallbackTable().load({}))
    poll = fields.Nested(PollTable, load_default=lambda: PollTable().load({}))

    @validates_schema(skip_on_field_errors=False)
    def _confirmable(self, data: dict[str, Any], **_: Any) -> None:
        trust = getattr(data.get("signature"), "trust", None)
        if trust is Trust.CONFIRM and not self.polls_by_default and not data.get("poll", {}).get("path", True):
            raise ValidationError({"poll": {"path": ["is needed, as signature.trust is confirm"]}})


class Current(CeculaSettings):
    """Kind `cecula`."""

    base_url = fields.String(load_default=CURRENT_URL, validate=http_url)
    time_zone = Zone(load_default=None)


class Older(CeculaSettings):
    """Kind `cecula-legacy`."""

    base_url = fields.String(load_default=OLDER_URL, validate=http_url)


class Sync(CeculaSettings):
    """Kind `cecula-sync`."""

    polls_by_default: ClassVar[bool] = True
    base_url = fields.String(load_default=SYNC_URL, validate=http_url)
