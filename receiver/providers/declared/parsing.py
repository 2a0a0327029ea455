"""Parsers of a declared provider's documents: responses, callbacks, and the status of single jobs in both."""

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
from receiver.schemas.paths import normalize_status

_DATETIME = UTCDateTime()
_UNITS_PER_SECOND = {"s": 1.0, "ms": 1_000.0}


@dataclass(frozen=True, slots=True)
class ResponseParser:
    """Parses responses to requests; see `receiver.schemas.declared.ResponseTableSchema`."""

    items: JsonPath | None
    reference: Sequence[JsonPath]
    code: Sequence[JsonPath]
    codes: Mapping[str, ItemStatus]
    detail: Sequence[JsonPath]
    location: JsonPath | None

    def parse(self, response: Response) -> ParsedResponse:
        """Parse the items of a response."""
        try:
            document = parse_json(response.body)
            return ParsedResponse(tuple(self._parse_item(item, document) for item in find_items(self.items, document)))
        except ValidationError as error:
            return ParsedResponse(problem=f"the body cannot be read: {error.messages}")

    def _parse_item(self, item: Any, document: Any) -> ResponseItem:
        reference = join_texts(self.reference, item, document)
        detail = find_first_text(self.detail, item, document)
        location = as_text(self.location(item, document)) if self.location else None
        if not self.code:
            item_status = ItemStatus.ACCEPTED if reference else ItemStatus.UNKNOWN
            return ResponseItem(item_status, reference, detail=detail, location=location)
        code = find_first_text(self.code, item, document)
        item_status = self.codes.get(normalize_status(code), ItemStatus.UNKNOWN)
        return ResponseItem(item_status, reference, code, code, detail, location)


@dataclass(frozen=True, slots=True)
class ReportParser:
    """Parses the items of a callback or of a polled document; see `receiver.schemas.declared.CallbackTableSchema`."""

    items: JsonPath | None
    reference: Sequence[JsonPath]
    status: Sequence[JsonPath]
    statuses: Mapping[str, JobStatus]
    superseding: frozenset[str]
    code: Sequence[JsonPath]
    detail: Sequence[JsonPath]
    occurred_at: JsonPath | None
    time_unit: str

    def parse(self, item: Any, document: Any, *, fetch: bool = False) -> StatusReport:
        """Parse one item; with `fetch` it only causes a poll of its job.

        Raises:
            ValidationError: the item names no job, or a value cannot be stored.
        """
        reference = join_texts(self.reference, item, document)
        if reference is None:
            raise ValidationError({self.reference[0].path: ["Missing the job's reference: text or an integer."]})
        provider_status = find_first_text(self.status, item, document)
        normalized_status = normalize_status(provider_status)
        return StatusReport(
            reference=reference,
            status=None if fetch else self.statuses.get(normalized_status),
            provider_status=provider_status,
            code=find_first_text(self.code, item, document),
            detail=find_first_text(self.detail, item, document),
            occurred_at=self._parse_time(item, document),
            superseding=normalized_status in self.superseding,
            needs_poll=fetch,
        )

    def _parse_time(self, item: Any, document: Any) -> datetime | None:
        """Return the time of the event in UTC; None if it cannot be parsed, as the status counts without it."""
        value = self.occurred_at(item, document) if self.occurred_at else None
        text = as_text(value)
        if not text:
            return None
        try:
            if self.time_unit == "iso":
                return _DATETIME.deserialize(text)
            seconds = float(text) / _UNITS_PER_SECOND[self.time_unit]
            return _DATETIME.deserialize(datetime.fromtimestamp(seconds, UTC).isoformat())
        except (ValidationError, ValueError, OverflowError, OSError):
            return None


@dataclass(frozen=True, slots=True)
class CallbackParser:
    """Parses callbacks; see `receiver.schemas.declared.CallbackTableSchema`."""

    body: str
    json_field: str | None
    reports: ReportParser
    event_id: ValueLocation | None
    only: Mapping[JsonPath, frozenset[str]]
    ignore: Mapping[JsonPath, frozenset[str]]
    fetch: bool
    request: ValueLocation | None = None

    def parse_document(self, callback: IncomingCallback) -> Any:
        """Parse the document that a callback carries in its body or its query.

        Raises:
            ValidationError: the document cannot be parsed.
        """
        if self.body == "json" and callback.method != "GET":
            return parse_json(callback.body)
        in_query = self.body == "query" or callback.method == "GET"
        fields = parse_fields(callback.query if in_query else callback.body)
        if self.json_field is None:
            return fields
        text = fields.get(self.json_field)
        if not isinstance(text, str):
            raise ValidationError({self.json_field: ["Missing data for required field."]})
        return parse_json(text.encode())

    def parse(self, callback: IncomingCallback) -> ParsedReports:
        """Parse a callback; see `Provider.parse`."""
        try:
            document = self.parse_document(callback)
        except ValidationError as error:
            raise MalformedCallback(error.messages_dict) from None
        indexed_items = [
            (index, item)
            for index, item in enumerate(find_items(self.reports.items, document))
            if self._is_selected(item, document)
        ]
        request_id = self._find_request_id(callback)
        try:
            reports = [(index, self._parse_item(item, document, request_id)) for index, item in indexed_items]
        except ValidationError as error:
            valid = parse_items(
                [item for _, item in indexed_items],
                lambda item: self._parse_item(item, document, request_id),
                error.messages_dict,
            )
            # The position of a report is that in the body, before items were filtered out.
            return ParsedReports([(indexed_items[index][0], report) for index, report in valid.reports], valid.errors)
        if not reports and not self._has_filter:
            raise MalformedCallback({self._items_path: ["Missing items."]})
        return ParsedReports(reports)

    def _parse_item(self, item: Any, document: Any, request_id: UUID | None) -> StatusReport:
        report = self.reports.parse(item, document, fetch=self.fetch)
        if self.request is None:
            return report
        if self.request.json_path is not None:
            request_id = as_uuid(as_text(self.request.json_path(item, document)))
        return replace(report, request_id=request_id)

    def _find_request_id(self, callback: IncomingCallback) -> UUID | None:
        """Return our id of the request if the provider sends it in a header or in the query."""
        return as_uuid(self.request.find(callback, None)) if self.request and self.request.json_path is None else None

    def _is_selected(self, item: Any, document: Any) -> bool:
        """Return whether an item passes the filters: it matches all of `only` and none of `ignore`."""

        def matches(path: JsonPath, values: frozenset[str]) -> bool:
            return as_status(path(item, document)) in values

        return all(matches(path, values) for path, values in self.only.items()) and not any(
            matches(path, values) for path, values in self.ignore.items()
        )

    @property
    def _has_filter(self) -> bool:
        return bool(self.only or self.ignore)

    @property
    def _items_path(self) -> str:
        return self.reports.items.path if self.reports.items else "_body"
