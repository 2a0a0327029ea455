"""Senders of Cecula's three APIs.

The HTTP status of a response decides nothing until the body is parsed: every recipient has its own id and code, and
each accepted recipient becomes a job. Cecula takes no callback URL per request and no idempotency key.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from marshmallow import Schema, ValidationError

from receiver.domain.jobs import JobStatus
from receiver.domain.sending import Attempt, ItemStatus, ParsedResponse, Response, ResponseItem
from receiver.providers.capabilities import Operation, OutgoingRequest, Sender
from receiver.providers.cecula.codes import BROADCAST_CODES, LEGACY_CODES, interpret_code
from receiver.providers.json_paths import parse_json
from receiver.providers.unreadable import build_unreadable_response
from receiver.schemas import cecula as schemas
from receiver.schemas.json_schema import build_json_schema

_RESPONSE = schemas.CeculaResponseSchema()
_RESPONSE_ITEM = schemas.CeculaResponseItemSchema()
_LEGACY_RESPONSE = schemas.LegacyResponseSchema()
_SYNC_RESPONSE = schemas.SyncResponseSchema()


def build_headers(api_key: str) -> Mapping[str, str]:
    """Return the headers of every request."""
    return {"authorization": f"Bearer {api_key}", "content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class CeculaOperation(Operation):
    """An operation: the path it is posted to, relative to the base URL, and the schema of its payload."""

    path: str
    payload: Schema

    def check_payload(self, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        return self.payload.validate(payload)

    def build_payload_schema(self) -> Mapping[str, Any]:
        return build_json_schema(self.payload)


@dataclass(frozen=True, slots=True)
class BroadcastOperation(CeculaOperation):
    """A broadcast on the current API, which may be scheduled.

    Cecula does not document the time zone of `broadcastTime`; `time_zone` sets it, if the operator knows it.
    """

    time_zone: ZoneInfo | None = None

    def check_payload(self, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        errors = self.payload.validate(payload)
        broadcast_time = payload.get("broadcastTime")
        if broadcast_time and "broadcastTime" not in errors and schemas.is_past(broadcast_time, now, self.time_zone):
            return errors | {"broadcastTime": [f"1902: Must not be before the current time, {now:%F %T} UTC."]}
        return errors


@dataclass(frozen=True, slots=True)
class CeculaSender(Sender):
    """What the senders of Cecula's three APIs have in common.

    Args:
        operations: the operations by name.
        base_path: the path that all targets begin with.
        api_key: the bearer key.
    """

    operations: Mapping[str, CeculaOperation]
    base_path: str
    api_key: str = field(repr=False)

    def compose(self, attempt: Attempt, callback_url: str) -> OutgoingRequest:
        target = f"{self.base_path}{self.operations[attempt.operation].path}"
        body = orjson.dumps(self._build_body(attempt.payload))
        return OutgoingRequest("POST", target, build_headers(self.api_key), body)

    def _build_body(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return payload

    def interpret(self, response: Response) -> ParsedResponse:
        try:
            items = tuple(self._parse_items(parse_json(response.body)))
        except ValidationError as error:
            return build_unreadable_response(response, error)
        if not items:
            return ParsedResponse(problem="the body names neither a recipient nor a code")
        return ParsedResponse(items)

    @abstractmethod
    def _parse_items(self, document: Any) -> Iterator[ResponseItem]:
        """Yield the items of a response's body.

        Raises:
            ValidationError: the document does not have the form of a response.
        """


@dataclass(frozen=True, slots=True)
class BroadcastSender(CeculaSender):
    """The sender of the current API."""

    def _parse_items(self, document: Any) -> Iterator[ResponseItem]:
        response = _RESPONSE.load(document)
        if not response["recipients"] and response["code"] is not None:
            item_status, advice = interpret_code(BROADCAST_CODES, response["code"])
            yield ResponseItem(item_status, code=response["code"] or None, detail=advice)
        for recipient in response["recipients"] or ():
            yield _parse_recipient(recipient if isinstance(recipient, dict) else {}, response["code"])


@dataclass(frozen=True, slots=True)
class LegacySender(CeculaSender):
    """The sender of the legacy API.

    `send_a2p` has one reference for all recipients, `send_p2p` an id for each of them, and errors are `CE…`.
    """

    def _parse_items(self, document: Any) -> Iterator[ResponseItem]:
        response = _LEGACY_RESPONSE.load(document)
        rejected = [*_parse_rejected_recipients(response)]
        if response["sent_to"] or not rejected:
            yield from _parse_sent_recipients(response)
        yield from rejected


@dataclass(frozen=True, slots=True)
class SyncSender(CeculaSender):
    """The sender of Cecula Sync, which sends through the customer's own SIM card.

    The form of its responses is not documented, except that each recipient has a `trackingId`, by which it is polled.

    Args:
        statuses: the statuses of delivery reports, normalized; a response with one that means `failed` is an error.
    """

    statuses: Mapping[str, JobStatus]

    def _build_body(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**payload, "recipients": ",".join(payload["recipients"])}

    def _parse_items(self, document: Any) -> Iterator[ResponseItem]:
        response = _SYNC_RESPONSE.load(document)
        ids, status, code = response["tracking_ids"] or [], response["status"], response["code"]
        error = response["error"]
        if self.statuses.get((status or "").casefold()) is JobStatus.FAILED:
            error = error or status
        if code is None and error is None:
            yield from (ResponseItem(ItemStatus.ACCEPTED, reference, status or None) for reference in ids)
            return
        item_status, advice = _interpret_legacy_code(code, error)
        if ids and item_status is not ItemStatus.ACCEPTED:
            item_status, advice = _build_contradiction(advice)
        for reference in ids or [None]:
            yield ResponseItem(item_status, reference, status or None, code or None, advice)


def _parse_recipient(recipient: Mapping[str, Any], overall_code: str | None) -> ResponseItem:
    """Parse a recipient of the current API by its own code.

    An acceptance that the response's overall code contradicts does not count.
    """
    fields = _RESPONSE_ITEM.load(recipient)
    code = overall_code if fields["code"] is None else fields["code"]
    item_status, advice = interpret_code(BROADCAST_CODES, code)
    if item_status is ItemStatus.ACCEPTED and overall_code is not None:
        overall_status, overall_advice = interpret_code(BROADCAST_CODES, overall_code)
        if overall_status is not ItemStatus.ACCEPTED:
            item_status, advice = _build_contradiction(f"{overall_code} {overall_advice}")
    return ResponseItem(item_status, fields["id"] or None, fields["status"] or None, code or None, advice)


def _parse_sent_recipients(response: Mapping[str, Any]) -> Iterator[ResponseItem]:
    """Yield the recipients that a legacy response lists as sent to.

    `send_p2p` has an object with an id for each recipient, `send_a2p` one reference for all of them.
    """
    code, status, sent_to = response["code"], response["status"] or None, response["sent_to"]
    item_status, advice = _interpret_legacy_code(code, response["error"])
    if item_status is not ItemStatus.ACCEPTED:
        if sent_to:
            item_status, advice = _build_contradiction(advice)
    elif sent_to == []:
        item_status, advice = ItemStatus.UNKNOWN, "The response lists no recipient that the message was sent to."
    has_ids = any(isinstance(recipient, dict) for recipient in sent_to or ())
    references = [_find_id(recipient) for recipient in sent_to] if has_ids else [response["reference"] or None]
    for reference in references:
        yield ResponseItem(item_status, reference, status, code or None, advice)


def _find_id(recipient: Any) -> str | None:
    return _RESPONSE_ITEM.load(recipient)["id"] or None if isinstance(recipient, dict) else None


def _parse_rejected_recipients(response: Mapping[str, Any]) -> Iterator[ResponseItem]:
    """Yield the recipients that a legacy response lists as declined or invalid; they have no reference."""
    reason = response["decline_reason"]
    detail = f"Declined: {reason}" if reason else "Declined."
    for _ in response["declined"] or ():
        yield ResponseItem(ItemStatus.REJECTED, None, "declined", None, detail)
    for _ in response["invalid"] or ():
        yield ResponseItem(ItemStatus.REJECTED, None, "invalid", None, "Invalid recipient.")


def _interpret_legacy_code(code: str | None, error: str | None) -> tuple[ItemStatus, str]:
    """Return the status and the advice of a legacy response; a response with an error accepts nothing."""
    item_status, advice = interpret_code(LEGACY_CODES, code)
    if error is None:
        return item_status, advice
    if item_status in {ItemStatus.ACCEPTED, ItemStatus.UNKNOWN}:
        return ItemStatus.UNKNOWN, f"{advice} Error: {error or 'not readable'}."
    return item_status, advice


def _build_contradiction(advice: str) -> tuple[ItemStatus, str]:
    return ItemStatus.UNKNOWN, f"The response contradicts itself; as a whole it says: {advice}"
