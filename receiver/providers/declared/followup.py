"""Polls for the status of jobs and lookups of unknown requests at a declared provider."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marshmallow import ValidationError

from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.sending import ItemStatus, ParsedResponse, Response, ResponseItem
from receiver.domain.unknown_requests import LookupPolicy, UnknownRequest
from receiver.providers.base import LookupImpossible, OutgoingRequest
from receiver.providers.declared.parsing import ReportParser, ResponseParser
from receiver.providers.declared.requests import DeclaredOperation, FollowUpRequest, RequestAuth
from receiver.providers.json_paths import as_text, find_items, parse_json
from receiver.schemas.declared_followup import find_placeholders

REQUEST_ID = "request_id"


@dataclass(frozen=True, slots=True)
class DeclaredPoll:
    """How jobs are polled; see `receiver.schemas.declared_followup.PollTableSchema`.

    Without a path only a `Location` is polled.
    """

    follow_up: FollowUpRequest
    reports: ReportParser
    not_found: JobStatus | None
    read_once: bool
    batch_size: int
    separator: str

    def compose(
        self, references: Sequence[str], location: str | None, auth: RequestAuth, base_path: str
    ) -> OutgoingRequest:
        """Build the HTTP request that polls jobs, or one job at its own URL."""
        values = {"reference": references[0], "references": references}
        return self.follow_up.compose(values, self.separator, auth, base_path, location)

    def parse(self, references: Sequence[str], response: Response) -> Mapping[str, StatusReport]:
        """Parse the reports of the polled jobs; a job without a status in the response is left out."""
        if response.status == 404 and self.not_found:
            detail = "the provider does not know this job (any more)"
            return {
                reference: StatusReport(reference, self.not_found, code="404", detail=detail)
                for reference in references
            }
        reports: dict[str, StatusReport] = {}
        expected = frozenset(references)
        for report in self._parse_reports(response):
            if report.reference in expected:
                reports.setdefault(report.reference, report)
        return reports

    def parse_others(self, references: Collection[str], response: Response) -> Sequence[StatusReport]:
        """Parse the reports of jobs that were not polled, if the provider sends each status only once."""
        if not self.read_once:
            return ()
        return [report for report in self._parse_reports(response) if report.reference not in references]

    def _parse_reports(self, response: Response) -> Iterator[StatusReport]:
        if response.status != 200:
            return
        try:
            document = parse_json(response.body)
        except ValidationError:
            return
        for item in find_items(self.reports.items, document):
            if report := self._parse_item(item, document):
                yield report

    def _parse_item(self, item: Any, document: Any) -> StatusReport | None:
        try:
            return self.reports.parse(item, document)
        except ValidationError:
            return None


@dataclass(frozen=True, slots=True)
class DeclaredLookup:
    """How unknown requests are looked up; see `receiver.schemas.declared_followup.LookupTableSchema`.

    Items are parsed like those of a response or, with `reports`, by the status of their job.
    """

    follow_up: FollowUpRequest
    lookup_policy: LookupPolicy
    responses: ResponseParser
    reports: ReportParser | None

    def compose(
        self, unknown_request: UnknownRequest, operation: DeclaredOperation | None, auth: RequestAuth, base_path: str
    ) -> OutgoingRequest:
        """Build the HTTP request of a lookup; see `Provider.compose_lookup`."""
        payload = {**(operation.defaults if operation else {}), **unknown_request.payload}
        names = find_placeholders(self.follow_up.path) | find_placeholders(self.follow_up.body)
        values = {name: as_text(payload.get(name)) for name in names} | {REQUEST_ID: str(unknown_request.id)}
        # An empty value is missing, too: it would ask for the requests of everybody.
        missing = sorted(name for name, value in values.items() if not value)
        if missing:
            raise LookupImpossible(f"its payload has no {', '.join(missing)}")
        present = {name: value for name, value in values.items() if value}
        return self.follow_up.compose(present, ",", auth, base_path, None)

    def parse(self, response: Response) -> ParsedResponse:
        """Parse the response; without items and without a problem the provider does not know the request."""
        if response.status == 404:
            return ParsedResponse()
        if response.status != 200:
            return ParsedResponse(problem=f"the provider responded with {response.status}")
        if self.reports is None:
            return self.responses.parse(response)
        try:
            document = parse_json(response.body)
            items = find_items(self.reports.items, document)
            return ParsedResponse(tuple(self._parse_item(self.reports, item, document) for item in items))
        except ValidationError as error:
            return ParsedResponse(problem=f"the body cannot be read: {error.messages}")

    def _parse_item(self, reports: ReportParser, item: Any, document: Any) -> ResponseItem:
        """Parse an item by the status of its job: the provider accepted the request of a failed job, too."""
        report = reports.parse(item, document)
        item_status = ItemStatus.ACCEPTED if report.status else ItemStatus.UNKNOWN
        if report.status is JobStatus.SUCCEEDED:
            item_status = ItemStatus.SUCCEEDED
        return ResponseItem(
            item_status=item_status,
            reference=report.reference,
            provider_status=report.provider_status,
            code=report.code,
            detail=report.detail,
            location=as_text(self.responses.location(item, document)) if self.responses.location else None,
            job=report.status,
        )
