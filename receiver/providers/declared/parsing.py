"""Parsers of the items in a declared provider's documents: those of responses, and the reports on jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from marshmallow import ValidationError

from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.sending import ItemStatus, ParsedResponse, Response, ResponseItem
from receiver.providers.json_paths import (
    JsonPath,
    as_text,
    compile_optional_path,
    compile_paths,
    find_first_text,
    find_items,
    join_texts,
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

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Build the parser from a loaded table `response`, or one with the same keys."""
        return cls(
            items=compile_optional_path(table["items"]),
            reference=compile_paths(table["reference"]),
            code=compile_paths(table["code"]),
            codes=table["codes"],
            detail=compile_paths(table["detail"]),
            location=compile_optional_path(table["location"]),
        )

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

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Build the parser from a loaded table `callback`, or one with the same keys."""
        return cls(
            items=compile_optional_path(table["items"]),
            reference=compile_paths(table["reference"]),
            status=compile_paths(table["status"]),
            statuses=table["statuses"],
            superseding=frozenset(normalize_status(status) for status in table["superseding"]),
            code=compile_paths(table["code"]),
            detail=compile_paths(table["detail"]),
            occurred_at=compile_optional_path(table["occurred_at"]),
            time_unit=table["time_unit"],
        )

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
