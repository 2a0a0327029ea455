"""Cecula: SMS broadcasts on the current API (https://app.cecula.com/docs), the legacy API and Cecula Sync.

The HTTP status of a response decides nothing until the body is parsed: every recipient has its own id and code, and
each accepted recipient becomes a job. Cecula takes no callback URL per request and no idempotency key; it sends its
delivery reports to one URL per account (see `cecula_reports`). Only Cecula Sync documents how to poll; the other APIs
are polled only at a configured path.
"""

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

import orjson
from marshmallow import Schema, ValidationError

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.responses import find_status_rule
from receiver.domain.sending import Attempt, ItemStatus, ParsedResponse, Response, ResponseItem
from receiver.providers.base import OutgoingRequest, ParsedReports, Provider
from receiver.providers.cecula.codes import BROADCAST_CODES, LEGACY_CODES, interpret_code
from receiver.providers.cecula.reports import STATUSES, ReportFields, normalize_statuses, parse_reports, parse_status
from receiver.schemas import cecula as schemas
from receiver.schemas.json_schema import build_json_schema

BALANCE, SENDER_NAMES = "balance", "sender names"
SYNC_POLL_PATH = "/sent-sms-status/{reference}"

_RESPONSE = schemas.CeculaResponseSchema()
_RESPONSE_ITEM = schemas.CeculaResponseItemSchema()
_LEGACY_RESPONSE = schemas.LegacyResponseSchema()
_SYNC_RESPONSE = schemas.SyncResponseSchema()
_BALANCE = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class CeculaOperation:
    """An operation: the path it is posted to, relative to the base URL, and the schema of its payload."""

    path: str
    payload: Schema


@dataclass(frozen=True, slots=True)
class CeculaApi(Provider):
    """What Cecula's three APIs have in common.

    Args:
        api_key: the bearer key.
        report_fields: where the fields of delivery reports are.
        statuses: the statuses of delivery reports, in any case, and what they mean.
        poll_path: a path such as ``/reports/{reference}``, relative to the base URL. None to poll nothing: only its
            deadline ends a job without a final status.
    """

    OPERATIONS: ClassVar[Mapping[str, CeculaOperation]]
    CHECKS: ClassVar[Mapping[str, str]]
    DEFAULT_FIELDS: ClassVar[dict[str, str]] = {}

    api_key: str = field(repr=False)
    report_fields: ReportFields = field(default_factory=ReportFields)
    statuses: Mapping[str, JobStatus] = field(default_factory=lambda: STATUSES)
    poll_path: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "statuses", normalize_statuses(self.statuses))

    def operations(self) -> Sequence[str]:
        return tuple(self.OPERATIONS)

    def check_payload(self, operation: str, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        return self.OPERATIONS[operation].payload.validate(payload)

    def build_payload_schema(self, operation: str) -> Mapping[str, Any]:
        return build_json_schema(self.OPERATIONS[operation].payload)

    def compose(self, attempt: Attempt, callback_url: str) -> OutgoingRequest:
        target = f"{self.base_path}{self.OPERATIONS[attempt.operation].path}"
        body = orjson.dumps(self._build_body(attempt.payload))
        return OutgoingRequest("POST", target, self._build_headers(), body)

    def _build_body(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return payload

    def credentials(self) -> bytes:
        return self.api_key.encode()

    def interpret(self, response: Response) -> ParsedResponse:
        try:
            items = tuple(self._parse_items(orjson.loads(response.body)))
        except orjson.JSONDecodeError as error:
            return ParsedResponse(problem=f"the body cannot be read: not valid JSON: {error}")
        except ValidationError as error:
            return ParsedResponse(problem=f"the body cannot be read: {error.messages}")
        if not items:
            return ParsedResponse(problem="the body names neither a recipient nor a code")
        return ParsedResponse(items)

    @abstractmethod
    def _parse_items(self, document: Any) -> Iterator[ResponseItem]:
        """Yield the items of a response's body.

        Raises:
            ValidationError: the document does not have the form of a response.
        """

    def parse(self, callback: IncomingCallback) -> ParsedReports:
        return parse_reports(callback.body, self.report_fields, self.statuses)

    @property
    def can_poll(self) -> bool:
        return self.poll_path is not None

    def compose_poll(self, reference: str, location: str | None) -> OutgoingRequest:
        if location is None and self.poll_path is None:
            raise ValueError("no poll_path is configured")
        path = (self.poll_path or "").replace("{reference}", quote(reference, safe=""))
        return OutgoingRequest("GET", location or f"{self.base_path}{path}", self._build_headers())

    def interpret_poll(self, reference: str, response: Response) -> StatusReport | None:
        if response.status != 200:
            return None
        return parse_status(response.body, self.report_fields, self.statuses, reference)

    def compose_checks(self) -> Mapping[str, OutgoingRequest]:
        return {
            name: OutgoingRequest("GET", f"{self.base_path}{path}", self._build_headers())
            for name, path in self.CHECKS.items()
        }

    def read_check(self, name: str, response: Response) -> str:
        if response.status != 200:
            return f"{name}: {response.status}: {find_status_rule(response.status).advice}"
        try:
            document = orjson.loads(response.body)
        except orjson.JSONDecodeError:
            document = None
        result = _format_balance(document) if name == BALANCE else _format_sender_names(document)
        return f"{name}: {result or 'the response cannot be read'}"

    def _build_headers(self) -> Mapping[str, str]:
        return {"authorization": f"Bearer {self.api_key}", "content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Cecula(CeculaApi):
    """The current API.

    Cecula does not document the time zone of `broadcastTime`; `time_zone` sets it, if the operator knows it.
    """

    OPERATIONS: ClassVar = {
        "send": CeculaOperation("/sms/a2p/send", schemas.BroadcastSchema()),
        "send_template": CeculaOperation("/sms/a2p/template/send", schemas.TemplateBroadcastSchema()),
    }
    CHECKS: ClassVar = {BALANCE: "/sms/check-balance", SENDER_NAMES: "/sms/identities"}

    time_zone: ZoneInfo | None = None

    def check_payload(self, operation: str, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        errors = self.OPERATIONS[operation].payload.validate(payload)
        broadcast_time = payload.get("broadcastTime")
        if broadcast_time and "broadcastTime" not in errors and schemas.is_past(broadcast_time, now, self.time_zone):
            return errors | {"broadcastTime": [f"1902: Must not be before the current time, {now:%F %T} UTC."]}
        return errors

    def _parse_items(self, document: Any) -> Iterator[ResponseItem]:
        response = _RESPONSE.load(document)
        if not response["recipients"] and response["code"] is not None:
            item_status, advice = interpret_code(BROADCAST_CODES, response["code"])
            yield ResponseItem(item_status, code=response["code"] or None, detail=advice)
        for recipient in response["recipients"] or ():
            yield _parse_recipient(recipient if isinstance(recipient, dict) else {}, response["code"])


@dataclass(frozen=True, slots=True)
class CeculaLegacy(CeculaApi):
    """The legacy API: one reference for all recipients of `send_a2p`, an id for each of `send_p2p`, errors `CE…`."""

    OPERATIONS: ClassVar = {
        "send_a2p": CeculaOperation("/send/a2p", schemas.LegacyBroadcastSchema()),
        "send_p2p": CeculaOperation("/send/p2p", schemas.LegacyPersonalSchema()),
    }
    CHECKS: ClassVar = {BALANCE: "/account/a2pbalance"}

    def _parse_items(self, document: Any) -> Iterator[ResponseItem]:
        response = _LEGACY_RESPONSE.load(document)
        rejected = [*_parse_rejected_recipients(response)]
        if response["sent_to"] or not rejected:
            yield from _parse_sent_recipients(response)
        yield from rejected


@dataclass(frozen=True, slots=True)
class CeculaSync(CeculaApi):
    """Cecula Sync, which sends through the customer's own SIM card.

    The form of its responses is not documented, except that each recipient has a `trackingId`, by which it is polled.
    """

    OPERATIONS: ClassVar = {"send_sms": CeculaOperation("/send-sms", schemas.SyncMessageSchema())}
    CHECKS: ClassVar = {BALANCE: "/cecula-balance"}
    DEFAULT_FIELDS: ClassVar[dict[str, str]] = {"reference": "trackingId"}

    report_fields: ReportFields = field(default_factory=lambda: ReportFields(reference="trackingId"))
    poll_path: str | None = SYNC_POLL_PATH

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


def _format_sender_names(document: Any) -> str | None:
    """Format the sender names, which Cecula returns as a bare array; None for any other document."""
    if not isinstance(document, list) or not all(isinstance(name, str) and name.isprintable() for name in document):
        return None
    return ", ".join(document) or "none"


def _format_balance(document: Any) -> str | None:
    """Format a balance: text such as "118.00" on the current API, a number on the others; None if there is none."""
    balance = str(document.get("balance")) if isinstance(document, dict) else ""
    return balance if _BALANCE.fullmatch(balance) else None
