"""The client side of the sandbox, a provider that misbehaves on purpose (see `receiver.sandbox`).

Its API is JSON with a code for each item, like Cecula's. It supports an idempotency key and a status endpoint, and
signs its callbacks by Standard Webhooks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

import orjson
from marshmallow import Schema, ValidationError

from receiver.domain.callbacks import IncomingCallback, add_attempt_token
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.sending import Attempt, ItemStatus, ParsedResponse, Response, ResponseItem
from receiver.providers.base import Provider
from receiver.providers.capabilities import (
    Callbacks,
    CallbackSettings,
    MalformedCallback,
    Operation,
    OutgoingRequest,
    ParsedItem,
    Poller,
    PollPolicy,
    Sender,
)
from receiver.providers.json_paths import BODY
from receiver.providers.samples import LocatedSamples
from receiver.providers.unreadable import build_unreadable_response
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
class SandboxOperation(Operation):
    """Sends messages."""

    def check_payload(self, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        return _PAYLOAD.validate(payload)

    def build_payload_schema(self) -> Mapping[str, Any]:
        return build_json_schema(_PAYLOAD)


@dataclass(frozen=True, slots=True)
class SandboxSender(Sender):
    """Sends requests to a sandbox.

    Args:
        base_path: the path that all targets begin with.
        api_key: the bearer key.
        idempotent: whether requests carry an idempotency key.
        uses_attempt_token: whether callback URLs carry the attempt's token.
    """

    base_path: str
    api_key: str = field(repr=False)
    idempotent: bool
    uses_attempt_token: bool

    def compose(self, attempt: Attempt, callback_url: str) -> OutgoingRequest:
        headers = {"authorization": f"Bearer {self.api_key}", "content-type": "application/json"}
        if self.idempotent:
            headers["idempotency-key"] = str(attempt.request_id)
        if self.uses_attempt_token:
            callback_url = add_attempt_token(callback_url, attempt.id)
        body = orjson.dumps({**attempt.payload, "callback_url": callback_url})
        return OutgoingRequest("POST", f"{self.base_path}/v1/messages", headers, body)

    def interpret(self, response: Response) -> ParsedResponse:
        try:
            items = _load(_RESPONSE, response.body)["items"]
        except ValidationError as error:
            return build_unreadable_response(response, error)
        return ParsedResponse(tuple(_build_item(item) for item in items))


@dataclass(frozen=True, slots=True)
class SandboxCallbacks(Callbacks):
    """Reads a sandbox's callbacks."""

    def parse(self, callback: IncomingCallback) -> Iterator[ParsedItem]:
        try:
            results = _load(_CALLBACK, callback.body)["results"]
        except ValidationError as error:
            raise MalformedCallback(error.messages_dict) from None
        for index, result in enumerate(results):
            try:
                yield index, _build_report(_REPORT.load(result))
            except ValidationError as error:
                yield index, ValidationError({"results": {str(index): error.messages}})

    def find_event_id(self, callback: IncomingCallback) -> str:
        return self.settings.auth.find_message_id(callback)

    def find_content(self, callback: IncomingCallback) -> bytes:
        return self.settings.auth.find_content(callback)


@dataclass(frozen=True, slots=True)
class SandboxPoller(Poller):
    """Polls a sandbox for single jobs; see `SandboxSender` for the arguments."""

    base_path: str
    api_key: str = field(repr=False)

    def compose(self, references: Sequence[str], location: str | None) -> OutgoingRequest:
        target = location or f"{self.base_path}/v1/messages/{quote(references[0], safe='')}"
        return OutgoingRequest("GET", target, {"authorization": f"Bearer {self.api_key}"})

    def interpret(self, references: Sequence[str], response: Response) -> Mapping[str, StatusReport]:
        if response.status != 200:
            return {}
        try:
            report = _build_report(_load(_REPORT, response.body))
        except ValidationError:
            return {}
        return {report.reference: report} if report.reference in references else {}


def build_sandbox(provider: Provider, table: Mapping[str, Any]) -> Provider:
    """Add a sandbox's capabilities to a provider, from the loaded table of `SandboxSettingsSchema`."""
    api_key, uses_attempt_token = table["auth"]["secret"], table["callback_token"]
    return replace(
        provider,
        sender=SandboxSender(
            {SEND: SandboxOperation()}, provider.base_path, api_key, table["idempotent"], uses_attempt_token
        ),
        callbacks=SandboxCallbacks(CallbackSettings(table["signature"], uses_attempt_token=uses_attempt_token)),
        samples=LocatedSamples([*STATES], status=("state",), items="results[]", occurred_at="at"),
        poller=SandboxPoller(PollPolicy(**table["poll"]), provider.base_path, api_key),
        credentials=api_key.encode(),
        secrets=[api_key],
    )


def _load(schema: Schema, body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValidationError({BODY: [f"Not valid JSON: {error}."]}) from None
    loaded: dict[str, Any] = schema.load(document)
    return loaded


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
