"""How a declared provider's documents are read: answers, callbacks, and what both say of single jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from marshmallow import ValidationError

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.sending import ItemStatus, ParsedResponse, Response, ResponseItem
from receiver.providers.base import MalformedCallback, ParsedReports, parse_items
from receiver.providers.json_paths import (
    JsonPath,
    ValueLocation,
    as_status,
    as_text,
    as_uuid,
    find_first_text,
    find_items,
    join_texts,
    parse_fields,
    parse_json,
)
from receiver.schemas.fields import UTCDateTime
from receiver.schemas.paths import known_as

_MOMENT = UTCDateTime()
_SECONDS = {"s": 1.0, "ms": 1_000.0}


@dataclass(frozen=True, slots=True)
class ResponseParser:
    """How answers to requests are read; see `receiver.schemas.declared.ResponseTableSchema`."""

    items: JsonPath | None
    reference: Sequence[JsonPath]
    code: Sequence[JsonPath]
    codes: Mapping[str, ItemStatus]
    detail: Sequence[JsonPath]
    location: JsonPath | None

    def read(self, response: Response) -> ParsedResponse:
        """Read an answer's items."""
        try:
            document = parse_json(response.body)
            return ParsedResponse(tuple(self._item(item, document) for item in find_items(self.items, document)))
        except ValidationError as error:
            return ParsedResponse(problem=f"the body cannot be read: {error.messages}")

    def _item(self, item: Any, document: Any) -> ResponseItem:
        reference = join_texts(self.reference, item, document)
        detail = find_first_text(self.detail, item, document)
        location = as_text(self.location(item, document)) if self.location else None
        if not self.code:
            item_status = ItemStatus.ACCEPTED if reference else ItemStatus.UNKNOWN
            return ResponseItem(item_status, reference, detail=detail, location=location)
        code = find_first_text(self.code, item, document)
        item_status = self.codes.get(known_as(code), ItemStatus.UNKNOWN)
        return ResponseItem(item_status, reference, code, code, detail, location)


@dataclass(frozen=True, slots=True)
class ReportParser:
    """How a callback's, or a polled document's, items become reports; see `schemas.declared.CallbackTableSchema`."""

    items: JsonPath | None
    reference: Sequence[JsonPath]
    status: Sequence[JsonPath]
    statuses: Mapping[str, JobStatus]
    superseding: frozenset[str]
    code: Sequence[JsonPath]
    detail: Sequence[JsonPath]
    occurred_at: JsonPath | None
    time_unit: str

    def read(self, item: Any, document: Any, *, fetch: bool = False) -> StatusReport:
        """Read one item; with `fetch` it only tells that there is news.

        Raises:
            ValidationError: it names no job, or a value cannot be kept.
        """
        reference = join_texts(self.reference, item, document)
        if reference is None:
            raise ValidationError({self.reference[0].path: ["names no job: text or a whole number is expected"]})
        word = find_first_text(self.status, item, document)
        known = known_as(word)
        return StatusReport(
            reference=reference,
            status=None if fetch else self.statuses.get(known),
            provider_status=word,
            code=find_first_text(self.code, item, document),
            detail=find_first_text(self.detail, item, document),
            occurred_at=self._moment(item, document),
            superseding=known in self.superseding,
            needs_poll=fetch,
        )

    def _moment(self, item: Any, document: Any) -> datetime | None:
        """Give when it happened; None when that cannot be read, as the report counts all the same."""
        value = self.occurred_at(item, document) if self.occurred_at else None
        text = as_text(value)
        if not text:
            return None
        try:
            if self.time_unit == "iso":
                return _MOMENT.deserialize(text)
            return _MOMENT.deserialize(datetime.fromtimestamp(float(text) / _SECONDS[self.time_unit], UTC).isoformat())
        except (ValidationError, ValueError, OverflowError, OSError):
            return None


@dataclass(frozen=True, slots=True)
class CallbackParser:
    """How callbacks are read; see `receiver.schemas.declared.CallbackTableSchema`."""

    body: str
    json_field: str | None
    reports: ReportParser
    event_id: ValueLocation | None
    only: Mapping[JsonPath, frozenset[str]]
    ignore: Mapping[JsonPath, frozenset[str]]
    fetch: bool
    request: ValueLocation | None = None

    def document(self, callback: IncomingCallback) -> Any:
        """Give the document that a delivery carries.

        Raises:
            ValidationError: it cannot be read.
        """
        if self.body == "json" and callback.method != "GET":
            return parse_json(callback.body)
        in_query = self.body == "query" or callback.method == "GET"
        given = parse_fields(callback.query if in_query else callback.body)
        if self.json_field is None:
            return given
        text = given.get(self.json_field)
        if not isinstance(text, str):
            raise ValidationError({self.json_field: ["is missing"]})
        return parse_json(text.encode())

    def parse(self, callback: IncomingCallback) -> ParsedReports:
        """Read a callback; see `Provider.parse`."""
        try:
            document = self.document(callback)
        except ValidationError as error:
            raise MalformedCallback(error.messages_dict) from None
        found = enumerate(find_items(self.reports.items, document))
        items = [(place, item) for place, item in found if self._counts(item, document)]
        claimed = self._claimed(callback)
        try:
            reports = [(place, self._read(item, document, claimed)) for place, item in items]
        except ValidationError as error:
            good = parse_items(
                [item for _, item in items], lambda item: self._read(item, document, claimed), error.messages_dict
            )
            return ParsedReports([(items[index][0], report) for index, report in good.reports], good.errors)
        if not reports and not self._filters:
            raise MalformedCallback({self._items_path: ["no item is there"]})
        return ParsedReports(reports)

    def _read(self, item: Any, document: Any, claimed: UUID | None) -> StatusReport:
        report = self.reports.read(item, document, fetch=self.fetch)
        if self.request is None:
            return report
        if self.request.pick is not None:
            claimed = as_uuid(as_text(self.request.pick(item, document)))
        return replace(report, request_id=claimed)

    def _claimed(self, callback: IncomingCallback) -> UUID | None:
        """Give our id of the request where it stands outside the body."""
        return as_uuid(self.request.find(callback, None)) if self.request and self.request.pick is None else None

    def _counts(self, item: Any, document: Any) -> bool:
        """Whether an item is of the events that are read: `only` names them, `ignore` those that are not."""

        def fits(pick: JsonPath, words: frozenset[str]) -> bool:
            return as_status(pick(item, document)) in words

        return all(fits(*wanted) for wanted in self.only.items()) and not any(
            fits(*unwanted) for unwanted in self.ignore.items()
        )

    @property
    def _filters(self) -> bool:
        return bool(self.only or self.ignore)

    @property
    def _items_path(self) -> str:
        return self.reports.items.path if self.reports.items else "_body"
