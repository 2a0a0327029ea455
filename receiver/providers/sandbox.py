"""The client side of the sandbox, a provider that misbehaves on purpose (see `receiver.sandbox`).

Its API is JSON with a code for each item, like Cecula's. It supports an idempotency key and a status endpoint, and
signs its callbacks by Standard Webhooks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import orjson
from marshmallow import Schema, ValidationError

from receiver.domain.callbacks import IncomingCallback, add_attempt_token
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.sending import Attempt, ItemStatus, ParsedResponse, Response, ResponseItem
from receiver.providers.base import OutgoingRequest, ParsedReports, Provider, parse_items
from receiver.schemas import sandbox as schemas
from receiver.schemas.json_schema import build_json_schema

CODES = {
    1800: (ItemStatus.SUCCEEDED, "Delivered at once."),
    1801: (ItemStatus.ACCEPTED, "Message received; a delivery report follows."),
    1804: (ItemStatus.REJECTED, "Insufficient balance. Top up the balance."),
    1806: (ItemStatus.REJECTED, "Invalid recipient. Format the number correctly."),
    1899: (ItemStatus.RETRY, "Busy. Send again later."),
}
STATES = {
    "QUEUED": JobStatus.IN_PROGRESS,
    "SENT": JobStatus.IN_PROGRESS,
    "DELIVERED": JobStatus.SUCCEEDED,
    "UNDELIVERED": JobStatus.FAILED,
    "EXPIRED": JobStatus.FAILED,
}
SEND = "send"

_RESPONSE = schemas.SandboxResponseSchema()
_CALLBACK = schemas.SandboxCallbackSchema()
_REPORT = schemas.SandboxReportSchema()
_PAYLOAD = schemas.SandboxPayloadSchema()


@dataclass(frozen=True, slots=True)
class SandboxProvider(Provider):
    """A configured sandbox; `idempotent` is whether requests carry an idempotency key."""

    api_key: str = field(repr=False)
    idempotent: bool = True

    def operations(self) -> Sequence[str]:
        return (SEND,)

    def check_payload(self, operation: str, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        return _PAYLOAD.validate(payload)

    def build_payload_schema(self, operation: str) -> Mapping[str, Any]:
        return build_json_schema(_PAYLOAD)

    def compose(self, attempt: Attempt, callback_url: str) -> OutgoingRequest:
        headers = {"authorization": f"Bearer {self.api_key}", "content-type": "application/json"}
        if self.idempotent:
            headers["idempotency-key"] = str(attempt.request_id)
        if self.callback_settings.uses_attempt_token:
            callback_url = add_attempt_token(callback_url, attempt.id)
        body = orjson.dumps({**attempt.payload, "callback_url": callback_url})
        return OutgoingRequest("POST", f"{self.base_path}/v1/messages", headers, body)

    def credentials(self) -> bytes:
        return self.api_key.encode()

    def interpret(self, response: Response) -> ParsedResponse:
        try:
            items = _load(_RESPONSE, response.body)["items"]
        except ValidationError as error:
            return ParsedResponse(problem=f"the body cannot be read: {error.messages}")
        return ParsedResponse(tuple(_build_item(item) for item in items))

    def parse(self, callback: IncomingCallback) -> ParsedReports:
        try:
            results = _load(_CALLBACK, callback.body)["results"]
        except ValidationError as error:
            return parse_items(_find_results(callback.body), _load_report, error.messages_dict)
        return ParsedReports([(index, _build_report(result)) for index, result in enumerate(results)])

    def compose_poll(self, reference: str, location: str | None) -> OutgoingRequest:
        target = location or f"{self.base_path}/v1/messages/{quote(reference, safe='')}"
        return OutgoingRequest("GET", target, {"authorization": f"Bearer {self.api_key}"})

    def interpret_poll(self, reference: str, response: Response) -> StatusReport | None:
        if response.status != 200:
            return None
        try:
            report = _build_report(_load(_REPORT, response.body))
        except ValidationError:
            return None
        return report if report.reference == reference else None


def _load(schema: Schema, body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValidationError({"_body": [f"Not valid JSON: {error}."]}) from None
    loaded: dict[str, Any] = schema.load(document)
    return loaded


def _find_results(body: bytes) -> Sequence[Any]:
    """Return the items of a callback that does not match its schema; empty if there are none."""
    try:
        results = orjson.loads(body)["results"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return ()
    return results if isinstance(results, list) else ()


def _load_report(result: Any) -> StatusReport:
    return _build_report(_REPORT.load(result))


def _build_item(item: Mapping[str, Any]) -> ResponseItem:
    item_status, detail = CODES.get(item["code"], (ItemStatus.UNKNOWN, "This code is not documented."))
    return ResponseItem(item_status, item["id"], item["status"], str(item["code"]), detail)


def _build_report(result: Mapping[str, Any]) -> StatusReport:
    return StatusReport(
        reference=result["id"],
        status=STATES.get(result["state"].upper()),
        provider_status=result["state"],
        detail=result["reason"],
        occurred_at=result["at"],
    )
