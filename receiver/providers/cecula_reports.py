"""Reads Cecula's delivery reports by configured fields and words.

Reports are JSON, sent by POST to one URL per account, and the `id` of each recipient in the answer is to be kept for
them (https://app.cecula.com/docs/sms-messaging/delivery-reports.html). How their fields are named and which words they
use is not documented, so both are configuration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import orjson
from jmespath.exceptions import JMESPathError
from marshmallow import ValidationError

from receiver.domain.jobs import JobStatus, StatusReport
from receiver.providers.base import MalformedCallback, ParsedReports, parse_items
from receiver.providers.json_paths import JsonPath
from receiver.schemas import cecula as schemas
from receiver.schemas.paths import known_as

_REPORT = schemas.CeculaReportSchema()

_UNDER_WAY = "ACK SENT SUBMITTED ACCEPTED ACCEPTD BUFFERED QUEUED PENDING ENROUTE"
_SUCCEEDED = "DELIVERED DELIVRD"
_FAILED = "UNDELIVERED UNDELIV UNDELIVERABLE FAILED REJECTED REJECTD EXPIRED DELETED"

STATUSES: Mapping[str, JobStatus] = MappingProxyType(
    {
        **dict.fromkeys(_UNDER_WAY.split(), JobStatus.IN_PROGRESS),
        **dict.fromkeys(_SUCCEEDED.split(), JobStatus.SUCCEEDED),
        **dict.fromkeys(_FAILED.split(), JobStatus.FAILED),
    }
)
"""The usual words of SMS reports; a configured map may add to them or replace them."""


@dataclass(frozen=True, slots=True)
class ReportFields:
    """Where a report's fields stand, as JMESPath.

    Args:
        items: the list of reports in a callback. None takes the body itself if it is an array or a report, else the
            one array of objects in it, however it is named.
        reference: the id that the answer gave for the recipient; text or a whole number.
        status: the word to look up; text or a whole number.
        code: a code to keep with it.
        occurred_at: an RFC 3339 time with its offset.
        detail: a text to keep with it.

    Raises:
        ValueError: a path is not JMESPath.
    """

    items: str | None = None
    reference: str = "id"
    status: str = "status"
    code: str | None = "code"
    occurred_at: str | None = None
    detail: str | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            path = getattr(self, name)
            try:
                _ = path is None or _pick(path)
            except JMESPathError as error:
                raise ValueError(f"{name}: not JMESPath: {error}") from None

    def reports_in(self, document: Any) -> Sequence[Any]:
        """Give the reports of a callback's body as they came; none where it holds none."""
        found = _found(self.items, document) if self.items else _guessed(self, document)
        return found if isinstance(found, list) else [found] if isinstance(found, dict) else ()

    def of(self, item: Any) -> dict[str, Any]:
        """Give what stands in a report; None for what does not."""
        paths = {
            "reference": self.reference,
            "status": self.status,
            "code": self.code,
            "occurred_at": self.occurred_at,
            "detail": self.detail,
        }
        return {name: _found(path, item) for name, path in paths.items()}


def normalize_statuses(given: Mapping[str, JobStatus]) -> dict[str, JobStatus]:
    """Give a map of status words by how they are compared."""
    return {known_as(word): status for word, status in given.items()}


def parse_reports(body: bytes, paths: ReportFields, statuses: Mapping[str, JobStatus]) -> ParsedReports:
    """Parse a callback's body. A status that is not in `statuses` (see `normalize_statuses`) makes a report without one.

    Raises:
        MalformedCallback: no report in it can be read.
    """
    try:
        items = paths.reports_in(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise MalformedCallback({"_body": [f"not valid JSON: {error}"]}) from None
    if not items:
        raise MalformedCallback({"_schema": ["holds no delivery report where one is looked for"]})
    faults: dict[str, Any] = {}

    def read(place: tuple[int, Any]) -> StatusReport:
        index, item = place
        try:
            return _report(_REPORT.load(paths.of(item)), statuses)
        except ValidationError as error:
            faults[str(index)] = error.messages
            raise

    return parse_items(list(enumerate(items)), read, faults)


def parse_status(
    body: bytes, paths: ReportFields, statuses: Mapping[str, JobStatus], asked: str
) -> StatusReport | None:
    """Read the answer to a poll about the reference `asked`, which it need not repeat; None when it says nothing."""
    try:
        items = paths.reports_in(orjson.loads(body))
    except orjson.JSONDecodeError:
        return None
    for item in items:
        given = paths.of(item)
        if given["reference"] is None and len(items) == 1:
            given["reference"] = asked
        try:
            report = _report(_REPORT.load(given), statuses)
        except ValidationError:
            continue
        if report.reference == asked:
            return report
    return None


def _report(given: Mapping[str, Any], statuses: Mapping[str, JobStatus]) -> StatusReport:
    return StatusReport(
        reference=given["reference"],
        status=statuses.get(known_as(given["status"])),
        provider_status=given["status"],
        code=given["code"] or None,
        detail=given["detail"] or None,
        occurred_at=given["occurred_at"],
    )


def _guessed(paths: ReportFields, document: Any) -> Any:
    if not isinstance(document, dict):
        return document
    if None not in (_found(paths.reference, document), _found(paths.status, document)):
        return document
    lists = [
        inner for inner in document.values() if isinstance(inner, list) and any(isinstance(one, dict) for one in inner)
    ]
    return lists[0] if len(lists) == 1 else document


@cache
def _pick(path: str) -> JsonPath:
    return JsonPath(path)


def _found(path: str | None, document: Any) -> Any:
    return _pick(path)(document, document) if path else None
