"""The parser of the reports on jobs in a declared provider's documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from marshmallow import ValidationError

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.times import UNITS, parse_time
from receiver.providers.json_paths import (
    JsonPath,
    ValuePath,
    as_text,
    bind_location,
    compile_location,
    compile_locations,
    compile_optional_path,
    find_first_text,
    join_texts,
)
from receiver.schemas.fields import MAX_TIME
from receiver.schemas.paths import find_meaning, normalize_status

_MAX_QUOTED_CHARS = 60


@dataclass(frozen=True, slots=True)
class ReportParser:
    """Parses the items of a callback or of a polled document; see `receiver.schemas.declared.CallbackTableSchema`."""

    items: JsonPath | None
    reference: Sequence[ValuePath]
    status: Sequence[ValuePath]
    statuses: Mapping[str, JobStatus]
    superseding: frozenset[str]
    code: Sequence[ValuePath]
    detail: Sequence[ValuePath]
    occurred_at: ValuePath | None
    time_unit: str

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Build the parser from a loaded table `callback`, or one with the same keys."""
        return cls(
            items=compile_optional_path(table["items"]),
            reference=compile_locations(table["reference"]),
            status=compile_locations(table["status"]),
            statuses=table["statuses"],
            superseding=frozenset(normalize_status(status) for status in table["superseding"]),
            code=compile_locations(table["code"]),
            detail=compile_locations(table["detail"]),
            occurred_at=compile_location(table["occurred_at"]) if table["occurred_at"] else None,
            time_unit=table["time_unit"],
        )

    @property
    def paths(self) -> Sequence[ValuePath]:
        """The paths of all values."""
        return (*self.decisive_paths, *self.detail, *filter(None, [self.occurred_at]))

    @property
    def decisive_paths(self) -> Sequence[ValuePath]:
        """The paths of what decides about a job."""
        return (*self.reference, *self.status, *self.code)

    def bind(self, callback: IncomingCallback) -> Self:
        """Return the parser for one callback, with the values that are in its headers and in its query."""

        def bind_all(paths: Sequence[ValuePath]) -> Sequence[ValuePath]:
            return [bind_location(path, callback) for path in paths]

        return replace(
            self,
            reference=bind_all(self.reference),
            status=bind_all(self.status),
            code=bind_all(self.code),
            detail=bind_all(self.detail),
            occurred_at=bind_location(self.occurred_at, callback) if self.occurred_at else None,
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
        occurred_at, errors = self._parse_time(item, document)
        return StatusReport(
            reference=reference,
            status=None if fetch else find_meaning(self.statuses, provider_status),
            provider_status=provider_status,
            code=find_first_text(self.code, item, document),
            detail=find_first_text(self.detail, item, document),
            occurred_at=occurred_at,
            superseding=normalize_status(provider_status) in self.superseding,
            needs_poll=fetch,
            errors=errors,
        )

    def _parse_time(self, item: Any, document: Any) -> tuple[datetime | None, Mapping[str, Sequence[str]] | None]:
        """Return the time of the event in UTC, if it has one, and the error of a time that cannot be read.

        The status counts without its time.
        """
        text = as_text(self.occurred_at(item, document)) if self.occurred_at else None
        if not self.occurred_at or not text:
            return None, None
        time = parse_time(text.strip(), self.time_unit)
        if time is None or time > MAX_TIME:
            quoted = ascii(text[:_MAX_QUOTED_CHARS])
            message = f"Not stored as the time of the event: {quoted} is not {UNITS[self.time_unit]}."
            return None, {self.occurred_at.path: [message]}
        return time, None
