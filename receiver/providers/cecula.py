"""Cecula: SMS broadcasts on the current API (https://app.cecula.com/docs), and the older API and Cecula Sync beside it.

An answer's HTTP status says nothing until its body is read: every recipient has an id and a code of its own, and each
that is taken becomes a job. Cecula knows no callback URL per request and no idempotency key; its reports go to one URL
per account (see `cecula_reports`). Where polls are asked is documented for Sync alone, so elsewhere it is configured.
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
from receiver.domain.responses import find_status_rule as read_http_status
from receiver.domain.sending import Attempt, ItemStatus, ParsedResponse, Response, ResponseItem
from receiver.providers.base import OutgoingRequest, ParsedReports, Provider
from receiver.providers.cecula_codes import BROADCAST_CODES, LEGACY_CODES, interpret_code
from receiver.providers.cecula_reports import STATUSES, ReportFields, normalize_statuses, parse_reports, parse_status
from receiver.schemas import cecula as schemas
from receiver.schemas.json_schema import json_schema_of

CECULA_URL = "https://app.cecula.com/api"
OLDER_URL = "https://api.cecula.com"
SYNC_URL = "https://cecula.com/sync/api"
BALANCE, SENDER_NAMES = "balance", "sender names"
SYNC_POLL_PATH = "/sent-sms-status/{reference}"

_ANSWER = schemas.CeculaResponseSchema()
_ITEM = schemas.CeculaResponseItemSchema()
_OLDER_ANSWER = schemas.LegacyResponseSchema()
_SYNC_ANSWER = schemas.SyncResponseSchema()
_BALANCE = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class CeculaOperation:
    """Something that can be asked: the path it is posted to below the base URL, and the form of its payload."""

    path: str
    payload: Schema


@dataclass(frozen=True, slots=True)
class CeculaApi(Provider):
    """What Cecula's three APIs have in common.

    `statuses` maps the words of reports, in whatever case. `poll_path`, such as ``/reports/{reference}``, is below the
    base URL; without one nothing is polled and the deadline alone ends a silent job.
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

    def payload_schema(self, operation: str) -> Mapping[str, Any]:
        return json_schema_of(self.OPERATIONS[operation].payload)

    def compose(self, attempt: Attempt, callback_url: str) -> OutgoingRequest:
        body = orjson.dumps(self._body(attempt.payload))
        return OutgoingRequest(
            "POST", f"{self.base_path}{self.OPERATIONS[attempt.operation].path}", self._headers(), body
        )

    def _body(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return payload

    def credentials(self) -> bytes:
        return self.api_key.encode()

    def interpret(self, response: Response) -> ParsedResponse:
        try:
            items = tuple(self._items(orjson.loads(response.body)))
        except orjson.JSONDecodeError as error:
            return ParsedResponse(problem=f"the body cannot be read: not valid JSON: {error}")
        except ValidationError as error:
            return ParsedResponse(problem=f"the body cannot be read: {error.messages}")
        return (
            ParsedResponse(items) if items else ParsedResponse(problem="the body names neither a recipient nor a code")
        )

    @abstractmethod
    def _items(self, document: Any) -> Iterator[ResponseItem]:
        """Give the items of an answer; raises ValidationError when it has not the form of one."""

    def parse(self, callback: IncomingCallback) -> ParsedReports:
        return parse_reports(callback.body, self.report_fields, self.statuses)

    @property
    def can_poll(self) -> bool:
        return self.poll_path is not None

    def compose_poll(self, reference: str, location: str | None) -> OutgoingRequest:
        if location is None and self.poll_path is None:
            raise ValueError("no poll_path is configured")
        path = (self.poll_path or "").replace("{reference}", quote(reference, safe=""))
        return OutgoingRequest("GET", location or f"{self.base_path}{path}", self._headers())

    def interpret_poll(self, reference: str, response: Response) -> StatusReport | None:
        if response.status != 200:
            return None
        return parse_status(response.body, self.report_fields, self.statuses, reference)

    def compose_checks(self) -> Mapping[str, OutgoingRequest]:
        return {
            name: OutgoingRequest("GET", f"{self.base_path}{path}", self._headers())
            for name, path in self.CHECKS.items()
        }

    def read_check(self, name: str, response: Response) -> str:
        if response.status != 200:
            return f"{name}: {response.status}: {read_http_status(response.status).advice}"
        try:
            document = orjson.loads(response.body)
        except orjson.JSONDecodeError:
            document = None
        said = _balance_in(document) if name == BALANCE else _names_in(document)
        return f"{name}: {said or 'the response cannot be read'}"

    def _headers(self) -> Mapping[str, str]:
        return {"authorization": f"Bearer {self.api_key}", "content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Cecula(CeculaApi):
    """The current API. In which zone `broadcastTime` is read is not documented; `time_zone` tells, if it is known."""

    OPERATIONS: ClassVar = {
        "send": CeculaOperation("/sms/a2p/send", schemas.BroadcastSchema()),
        "send_template": CeculaOperation("/sms/a2p/template/send", schemas.TemplateBroadcastSchema()),
    }
    CHECKS: ClassVar = {BALANCE: "/sms/check-balance", SENDER_NAMES: "/sms/identities"}

    time_zone: ZoneInfo | None = None

    def check_payload(self, operation: str, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        faults = self.OPERATIONS[operation].payload.validate(payload)
        at = payload.get("broadcastTime")
        if at and "broadcastTime" not in faults and schemas.is_past(at, now, self.time_zone):
            return faults | {"broadcastTime": [f"1902: must not be before the current time, {now:%F %T} UTC"]}
        return faults

    def _items(self, document: Any) -> Iterator[ResponseItem]:
        given = _ANSWER.load(document)
        if not given["recipients"] and given["code"] is not None:
            item_status, advice = interpret_code(BROADCAST_CODES, given["code"])
            yield ResponseItem(item_status, code=given["code"] or None, detail=advice)
        for recipient in given["recipients"] or ():
            yield _recipient(recipient if isinstance(recipient, dict) else {}, given["code"])


@dataclass(frozen=True, slots=True)
class CeculaLegacy(CeculaApi):
    """The older API: one reference for all recipients of `send_a2p`, an id for each of `send_p2p`, errors `CE…`."""

    OPERATIONS: ClassVar = {
        "send_a2p": CeculaOperation("/send/a2p", schemas.LegacyBroadcastSchema()),
        "send_p2p": CeculaOperation("/send/p2p", schemas.LegacyPersonalSchema()),
    }
    CHECKS: ClassVar = {BALANCE: "/account/a2pbalance"}

    def _items(self, document: Any) -> Iterator[ResponseItem]:
        given = _OLDER_ANSWER.load(document)
        turned_down = [*_turned_down(given)]
        taken = [*_taken(given)] if given["sent_to"] or not turned_down else []
        yield from taken
        yield from turned_down


@dataclass(frozen=True, slots=True)
class CeculaSync(CeculaApi):
    """Cecula Sync, which sends through a SIM card of one's own.

    The form of its answers is not documented, but that each recipient has a `trackingId`, by which is polled.
    """

    OPERATIONS: ClassVar = {"send_sms": CeculaOperation("/send-sms", schemas.SyncMessageSchema())}
    CHECKS: ClassVar = {BALANCE: "/cecula-balance"}
    DEFAULT_FIELDS: ClassVar[dict[str, str]] = {"reference": "trackingId"}

    report_fields: ReportFields = field(default_factory=lambda: ReportFields(reference="trackingId"))
    poll_path: str | None = SYNC_POLL_PATH

    def _body(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**payload, "recipients": ",".join(payload["recipients"])}

    def _items(self, document: Any) -> Iterator[ResponseItem]:
        given = _SYNC_ANSWER.load(document)
        ids, status, code, error = given["tracking_ids"] or [], given["status"], given["code"], given["error"]
        if self.statuses.get((status or "").casefold()) is JobStatus.FAILED:
            error = error or status
        if code is None and error is None:
            yield from (ResponseItem(ItemStatus.ACCEPTED, one, status or None) for one in ids)
            return
        item_status, advice = _older_meaning(code, error)
        if ids and item_status is not ItemStatus.ACCEPTED:
            item_status, advice = _contradiction(advice)
        yield from (ResponseItem(item_status, one, status or None, code or None, advice) for one in ids or [None])


def _recipient(given: Mapping[str, Any], whole: str | None) -> ResponseItem:
    """Read a recipient of the current API; its own code counts, but no acceptance against the `whole` answer's."""
    said = _ITEM.load(given)
    code = whole if said["code"] is None else said["code"]
    item_status, advice = interpret_code(BROADCAST_CODES, code)
    if item_status is ItemStatus.ACCEPTED and whole is not None:
        overall, reason = interpret_code(BROADCAST_CODES, whole)
        if overall is not ItemStatus.ACCEPTED:
            item_status, advice = _contradiction(f"{whole} {reason}")
    return ResponseItem(item_status, said["id"] or None, said["status"] or None, code or None, advice)


def _taken(given: Mapping[str, Any]) -> Iterator[ResponseItem]:
    """Read whom an older answer names as sent to: one by one if they have ids, else all by the one reference."""
    code, status, sent_to = given["code"], given["status"] or None, given["sent_to"]
    item_status, advice = _older_meaning(code, given["error"])
    if item_status is not ItemStatus.ACCEPTED:
        if sent_to:
            item_status, advice = _contradiction(advice)
    elif sent_to == []:
        item_status, advice = ItemStatus.UNKNOWN, "The answer names nobody it was sent to."
    by_one = any(isinstance(one, dict) for one in sent_to or ())
    references = [_id_of(one) for one in sent_to] if by_one else [given["reference"] or None]
    for reference in references:
        yield ResponseItem(item_status, reference, status, code or None, advice)


def _id_of(recipient: Any) -> str | None:
    return _ITEM.load(recipient)["id"] or None if isinstance(recipient, dict) else None


def _turned_down(given: Mapping[str, Any]) -> Iterator[ResponseItem]:
    """Read whom an older answer names as declined or invalid; they have no reference."""
    reason = given["decline_reason"]
    declined = ResponseItem(
        ItemStatus.REFUSED, None, "declined", None, f"Declined: {reason}" if reason else "Declined."
    )
    yield from [declined] * len(given["declined"] or ())
    yield from [ResponseItem(ItemStatus.REFUSED, None, "invalid", None, "Invalid recipient.")] * len(
        given["invalid"] or ()
    )


def _older_meaning(code: str | None, error: str | None) -> tuple[ItemStatus, str]:
    """Judge an older answer by its code; with an error beside it nothing is accepted."""
    item_status, advice = interpret_code(LEGACY_CODES, code)
    if error is None:
        return item_status, advice
    if item_status in {ItemStatus.ACCEPTED, ItemStatus.UNKNOWN}:
        return ItemStatus.UNKNOWN, f"{advice} It says: {error or 'an error that cannot be read'}."
    return item_status, advice


def _contradiction(advice: str) -> tuple[ItemStatus, str]:
    return ItemStatus.UNKNOWN, f"The answer contradicts itself; as a whole it says: {advice}"


def _names_in(document: Any) -> str | None:
    """Give sender names as Cecula answers them, a bare array."""
    if not isinstance(document, list) or not all(isinstance(name, str) and name.isprintable() for name in document):
        return None
    return ", ".join(document) or "none"


def _balance_in(document: Any) -> str | None:
    """Give a balance: text such as "118.00" on the current API, a number on the others."""
    said = str(document.get("balance")) if isinstance(document, dict) else ""
    return said if _BALANCE.fullmatch(said) else None
