"""How a declared provider's documents are read: answers, callbacks, and what both say of single jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from marshmallow import ValidationError

from receiver.domain.delivery import Delivery
from receiver.domain.jobs import JobStatus, Report
from receiver.domain.sending import Answer, Disposition, Item, Reading
from receiver.providers.base import MalformedCallback, Parsed, parse_one_by_one
from receiver.providers.paths import (
    Pick,
    Place,
    first_text,
    items_of,
    joined_text,
    read_fields,
    read_json,
    text_of,
    uuid_of,
    word_of,
)
from receiver.schemas.fields import UTCDateTime
from receiver.schemas.paths import known_as

_MOMENT = UTCDateTime()
_SECONDS = {"s": 1.0, "ms": 1_000.0}


@dataclass(frozen=True, slots=True)
class Answers:
    """How answers to requests are read; see `receiver.schemas.declared.ResponseTableSchema`."""

    items: Pick | None
    reference: Sequence[Pick]
    code: Sequence[Pick]
    codes: Mapping[str, Disposition]
    detail: Sequence[Pick]
    location: Pick | None

    def read(self, answer: Answer) -> Reading:
        """Read an answer's items."""
        try:
            document = read_json(answer.body)
            return Reading(tuple(self._item(item, document) for item in items_of(self.items, document)))
        except ValidationError as error:
            return Reading(problem=f"the body cannot be read: {error.messages}")

    def _item(self, item: Any, document: Any) -> Item:
        reference = joined_text(self.reference, item, document)
        detail = first_text(self.detail, item, document)
        location = text_of(self.location(item, document)) if self.location else None
        if not self.code:
            disposition = Disposition.ACCEPTED if reference else Disposition.UNKNOWN
            return Item(disposition, reference, detail=detail, location=location)
        code = first_text(self.code, item, document)
        disposition = self.codes.get(known_as(code), Disposition.UNKNOWN)
        return Item(disposition, reference, code, code, detail, location)


@dataclass(frozen=True, slots=True)
class Reports:
    """How a callback's, or a polled document's, items become reports; see `schemas.declared.CallbackTableSchema`."""

    items: Pick | None
    reference: Sequence[Pick]
    status: Sequence[Pick]
    statuses: Mapping[str, JobStatus]
    superseding: frozenset[str]
    code: Sequence[Pick]
    detail: Sequence[Pick]
    occurred_at: Pick | None
    time_unit: str

    def read(self, item: Any, document: Any, *, fetch: bool = False) -> Report:
        """Read one item; with `fetch` it only tells that there is news.

        Raises:
            ValidationError: it names no job, or a value cannot be kept.
        """
        reference = joined_text(self.reference, item, document)
        if reference is None:
            raise ValidationError({self.reference[0].path: ["names no job: text or a whole number is expected"]})
        word = first_text(self.status, item, document)
        known = known_as(word)
        return Report(
            reference=reference,
            status=None if fetch else self.statuses.get(known),
            provider_status=word,
            code=first_text(self.code, item, document),
            detail=first_text(self.detail, item, document),
            occurred_at=self._moment(item, document),
            superseding=known in self.superseding,
            ask=fetch,
        )

    def _moment(self, item: Any, document: Any) -> datetime | None:
        """Give when it happened; None when that cannot be read, as the report counts all the same."""
        value = self.occurred_at(item, document) if self.occurred_at else None
        text = text_of(value)
        if not text:
            return None
        try:
            if self.time_unit == "iso":
                return _MOMENT.deserialize(text)
            return _MOMENT.deserialize(datetime.fromtimestamp(float(text) / _SECONDS[self.time_unit], UTC).isoformat())
        except (ValidationError, ValueError, OverflowError, OSError):
            return None


@dataclass(frozen=True, slots=True)
class Callbacks:
    """How callbacks are read; see `receiver.schemas.declared.CallbackTableSchema`."""

    body: str
    json_field: str | None
    reports: Reports
    event_id: Place | None
    only: Mapping[Pick, frozenset[str]]
    ignore: Mapping[Pick, frozenset[str]]
    fetch: bool
    request: Place | None = None

    def document(self, delivery: Delivery) -> Any:
        """Give the document that a delivery carries.

        Raises:
            ValidationError: it cannot be read.
        """
        if self.body == "json" and delivery.method != "GET":
            return read_json(delivery.body)
        in_query = self.body == "query" or delivery.method == "GET"
        given = read_fields(delivery.query if in_query else delivery.body)
        if self.json_field is None:
            return given
        text = given.get(self.json_field)
        if not isinstance(text, str):
            raise ValidationError({self.json_field: ["is missing"]})
        return read_json(text.encode())

    def parse(self, delivery: Delivery) -> Parsed:
        """Read a callback; see `Provider.parse`."""
        try:
            document = self.document(delivery)
        except ValidationError as error:
            raise MalformedCallback(error.messages_dict) from None
        found = enumerate(items_of(self.reports.items, document))
        items = [(place, item) for place, item in found if self._counts(item, document)]
        claimed = self._claimed(delivery)
        try:
            reports = [(place, self._read(item, document, claimed)) for place, item in items]
        except ValidationError as error:
            good = parse_one_by_one(
                [item for _, item in items], lambda item: self._read(item, document, claimed), error.messages_dict
            )
            return Parsed([(items[index][0], report) for index, report in good.reports], good.errors)
        if not reports and not self._filters:
            raise MalformedCallback({self._items_path: ["no item is there"]})
        return Parsed(reports)

    def _read(self, item: Any, document: Any, claimed: UUID | None) -> Report:
        report = self.reports.read(item, document, fetch=self.fetch)
        if self.request is None:
            return report
        if self.request.pick is not None:
            claimed = uuid_of(text_of(self.request.pick(item, document)))
        return replace(report, request_id=claimed)

    def _claimed(self, delivery: Delivery) -> UUID | None:
        """Give our id of the request where it stands outside the body."""
        return uuid_of(self.request.find(delivery, None)) if self.request and self.request.pick is None else None

    def _counts(self, item: Any, document: Any) -> bool:
        """Whether an item is of the events that are read: `only` names them, `ignore` those that are not."""

        def fits(pick: Pick, words: frozenset[str]) -> bool:
            return word_of(pick(item, document)) in words

        return all(fits(*wanted) for wanted in self.only.items()) and not any(
            fits(*unwanted) for unwanted in self.ignore.items()
        )

    @property
    def _filters(self) -> bool:
        return bool(self.only or self.ignore)

    @property
    def _items_path(self) -> str:
        return self.reports.items.path if self.reports.items else "_body"
