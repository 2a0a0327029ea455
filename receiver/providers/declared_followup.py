"""How a declared provider is asked about what it was sent: about silent jobs, and about requests in doubt."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marshmallow import ValidationError

from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.sending import ItemStatus, ParsedResponse, Response, ResponseItem
from receiver.domain.unknown_requests import LookupPolicy, UnknownRequest
from receiver.providers.base import LookupImpossible, OutgoingRequest
from receiver.providers.declared_parsing import ReportParser, ResponseParser
from receiver.providers.declared_requests import DeclaredOperation, FollowUpRequest, RequestAuth
from receiver.providers.json_paths import as_text, find_items, parse_json
from receiver.schemas.declared_following import names_in

REQUEST_ID = "request_id"


@dataclass(frozen=True, slots=True)
class DeclaredPoll:
    """How jobs are asked about; see `receiver.schemas.declared_following.PollTableSchema`.

    Without a path only a `Location` is polled.
    """

    question: FollowUpRequest
    reports: ReportParser
    not_found: JobStatus | None
    read_once: bool
    batch: int
    separator: str

    def compose(
        self, references: Sequence[str], location: str | None, auth: RequestAuth, base_path: str
    ) -> OutgoingRequest:
        """Give the HTTP request that asks about jobs, or about one at its own URL."""
        values = {"reference": references[0], "references": references}
        return self.question.compose(values, self.separator, auth, base_path, location)

    def read(self, references: Sequence[str], response: Response) -> Mapping[str, StatusReport]:
        """Read the answer about jobs; those it says nothing about are left out."""
        if response.status == 404 and self.not_found:
            gone = "the provider does not know it (any more)"
            return {one: StatusReport(one, self.not_found, code="404", detail=gone) for one in references}
        told: dict[str, StatusReport] = {}
        wanted = frozenset(references)
        for report in self._all(response):
            if report.reference in wanted:
                told.setdefault(report.reference, report)
        return told

    def others(self, references: Collection[str], response: Response) -> Sequence[StatusReport]:
        """Read what is said of other jobs, if the provider says everything only once."""
        if not self.read_once:
            return ()
        return [report for report in self._all(response) if report.reference not in references]

    def _all(self, response: Response) -> Iterator[StatusReport]:
        if response.status != 200:
            return
        try:
            document = parse_json(response.body)
        except ValidationError:
            return
        for item in find_items(self.reports.items, document):
            if report := self._read(item, document):
                yield report

    def _read(self, item: Any, document: Any) -> StatusReport | None:
        try:
            return self.reports.read(item, document)
        except ValidationError:
            return None


@dataclass(frozen=True, slots=True)
class DeclaredLookup:
    """How a request in doubt is asked about; see `receiver.schemas.declared_following.LookupTableSchema`.

    Items are read as in an answer or, with `reports`, by the words for a job's status.
    """

    question: FollowUpRequest
    lookup_policy: LookupPolicy
    responses: ResponseParser
    reports: ReportParser | None

    def compose(
        self, unknown_request: UnknownRequest, operation: DeclaredOperation | None, auth: RequestAuth, base_path: str
    ) -> OutgoingRequest:
        """Give the HTTP request that asks; see `Provider.compose_lookup`."""
        given = {**(operation.defaults if operation else {}), **unknown_request.payload}
        names = names_in(self.question.path) | names_in(self.question.body)
        values = {name: as_text(given.get(name)) for name in names} | {REQUEST_ID: str(unknown_request.id)}
        missing = sorted(name for name, value in values.items() if not value)
        if missing:
            raise LookupImpossible(f"its payload has no {', '.join(missing)}")
        known = {name: value for name, value in values.items() if value}
        return self.question.compose(known, ",", auth, base_path, None)

    def read(self, response: Response) -> ParsedResponse:
        """Read the answer; without items and without a problem it says that the request is not known."""
        if response.status == 404:
            return ParsedResponse()
        if response.status != 200:
            return ParsedResponse(problem=f"it answered {response.status}")
        if self.reports is None:
            return self.responses.read(response)
        try:
            document = parse_json(response.body)
            items = find_items(self.reports.items, document)
            return ParsedResponse(tuple(self._item(self.reports, item, document) for item in items))
        except ValidationError as error:
            return ParsedResponse(problem=f"the body cannot be read: {error.messages}")

    def _item(self, reports: ReportParser, item: Any, document: Any) -> ResponseItem:
        """Read an item by its job's status: a job that failed was taken, too."""
        report = reports.read(item, document)
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
