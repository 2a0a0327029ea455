"""Cecula's delivery reports, which callbacks and the responses to polls contain.

Reports are JSON, sent by POST to one URL per account, and refer to the `id` of each recipient in the response
(https://app.cecula.com/docs/sms-messaging/delivery-reports.html). Cecula documents neither the names of the fields nor
the statuses, so that both are configuration.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from jmespath.exceptions import JMESPathError
from marshmallow import ValidationError

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.sending import Response
from receiver.providers.capabilities import (
    Callbacks,
    MalformedCallback,
    OutgoingRequest,
    ParsedItem,
    Poller,
)
from receiver.providers.json_paths import JsonPath, parse_json
from receiver.schemas import cecula as schemas
from receiver.schemas.paths import find_meaning, normalize_status

_REPORT = schemas.CeculaReportSchema()

_IN_PROGRESS = "ACK SENT SUBMITTED ACCEPTED ACCEPTD BUFFERED QUEUED PENDING ENROUTE"
_SUCCEEDED = "DELIVERED DELIVRD"
_FAILED = "UNDELIVERED UNDELIV UNDELIVERABLE FAILED REJECTED REJECTD EXPIRED DELETED"

STATUSES: Mapping[str, JobStatus] = MappingProxyType(
    {
        **dict.fromkeys(_IN_PROGRESS.split(), JobStatus.IN_PROGRESS),
        **dict.fromkeys(_SUCCEEDED.split(), JobStatus.SUCCEEDED),
        **dict.fromkeys(_FAILED.split(), JobStatus.FAILED),
    }
)
"""The usual statuses of SMS delivery reports; a configured map may add to them or replace them."""


@dataclass(frozen=True, slots=True)
class ReportFields:
    """The JMESPath of each field of a report.

    Args:
        items: the list of reports in a callback. None for the body itself if it is an array or a report, otherwise the
            only array of objects in the body, whatever its name.
        reference: the id that the response gave the recipient; text or an integer.
        status: the provider's status; text or an integer.
        code: a code to store with the status.
        occurred_at: an RFC 3339 time with its offset.
        detail: a text to store with the status.

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
                _ = path is None or _compile_path(path)
            except JMESPathError as error:
                raise ValueError(f"{name}: not JMESPath: {error}") from None

    def find_reports(self, document: Any) -> Sequence[Any]:
        """Return the reports in a callback's body, not validated; empty if there are none."""
        reports = _find(self.items, document) if self.items else _find_default_items(self, document)
        return reports if isinstance(reports, list) else [reports] if isinstance(reports, dict) else ()

    def extract(self, item: Any) -> dict[str, Any]:
        """Return the fields of a report by our names; None for each that is missing."""
        paths = {
            "reference": self.reference,
            "status": self.status,
            "code": self.code,
            "occurred_at": self.occurred_at,
            "detail": self.detail,
        }
        return {name: _find(path, item) for name, path in paths.items()}


def normalize_statuses(statuses: Mapping[str, JobStatus]) -> dict[str, JobStatus]:
    """Return a map of statuses with normalized keys, see `normalize_status`."""
    return {normalize_status(provider_status): status for provider_status, status in statuses.items()}


@dataclass(frozen=True, slots=True)
class CeculaCallbacks(Callbacks):
    """Reads callbacks with delivery reports.

    A status that is not in `statuses` (see `normalize_statuses`) makes a report without a status of ours.
    """

    fields: ReportFields
    statuses: Mapping[str, JobStatus]

    def parse(self, callback: IncomingCallback) -> Iterator[ParsedItem]:
        try:
            items = self.fields.find_reports(parse_json(callback.body))
        except ValidationError as error:
            raise MalformedCallback(error.messages_dict) from None
        if not items:
            raise MalformedCallback({"_schema": ["No delivery report at the configured path."]})
        for index, item in enumerate(items):
            try:
                yield index, _build_report(_REPORT.load(self.fields.extract(item)), self.statuses)
            except ValidationError as error:
                yield index, ValidationError({str(index): error.messages})

    def find_event_id(self, callback: IncomingCallback) -> str:
        return self.settings.auth.find_message_id(callback)

    def find_content(self, callback: IncomingCallback) -> bytes:
        return self.settings.auth.find_content(callback)


@dataclass(frozen=True, slots=True)
class CeculaPoller(Poller):
    """Polls for delivery reports.

    Args:
        policy: when jobs are polled.
        fields: where the fields of a report are.
        statuses: the statuses of reports, see `normalize_statuses`.
        path: a path such as ``/reports/{reference}``.
        headers: the headers of every request.
    """

    fields: ReportFields
    statuses: Mapping[str, JobStatus]
    path: str
    headers: Mapping[str, str] = field(repr=False)

    def compose(self, references: Sequence[str], location: str | None) -> OutgoingRequest:
        target = location or self.path.replace("{reference}", quote(references[0], safe=""))
        return OutgoingRequest("GET", target, self.headers)

    def interpret(self, references: Sequence[str], response: Response) -> Mapping[str, StatusReport]:
        report = self._find_report(references[0], response.body) if response.status == 200 else None
        return {report.reference: report} if report else {}

    def _find_report(self, reference: str, body: bytes) -> StatusReport | None:
        """Return the report of a job; a response with one item need not repeat the reference."""
        try:
            items = self.fields.find_reports(parse_json(body))
        except ValidationError:
            return None
        for item in items:
            fields = self.fields.extract(item)
            if fields["reference"] is None and len(items) == 1:
                fields["reference"] = reference
            try:
                report = _build_report(_REPORT.load(fields), self.statuses)
            except ValidationError:
                continue
            if report.reference == reference:
                return report
        return None


def _build_report(fields: Mapping[str, Any], statuses: Mapping[str, JobStatus]) -> StatusReport:
    return StatusReport(
        reference=fields["reference"],
        status=find_meaning(statuses, fields["status"]),
        provider_status=fields["status"],
        code=fields["code"] or None,
        detail=fields["detail"] or None,
        occurred_at=fields["occurred_at"],
    )


def _find_default_items(paths: ReportFields, document: Any) -> Any:
    """Return the body itself if it is an array or a report, otherwise the only array of objects in it."""
    if not isinstance(document, dict):
        return document
    if None not in (_find(paths.reference, document), _find(paths.status, document)):
        return document
    lists = [
        value
        for value in document.values()
        if isinstance(value, list) and any(isinstance(item, dict) for item in value)
    ]
    return lists[0] if len(lists) == 1 else document


@cache
def _compile_path(path: str) -> JsonPath:
    return JsonPath(path)


def _find(path: str | None, document: Any) -> Any:
    return _compile_path(path)(document, document) if path else None
