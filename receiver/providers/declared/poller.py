"""The poller of a declared provider: it asks for the status of one job, or of many in one exchange."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from marshmallow import ValidationError

from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.sending import READ_STATUSES, Response
from receiver.providers.base import Provider
from receiver.providers.capabilities import OutgoingRequest, Poller, PollPolicy
from receiver.providers.declared.parsing import ReportParser
from receiver.providers.declared.requests import FollowUpRequest
from receiver.providers.json_paths import BoundValue, find_items, parse_json

_OVERRIDES = ("reference", "status", "statuses", "code", "detail", "occurred_at")
"""The keys of the table `poll` that default to those of `callback`."""


@dataclass(frozen=True, slots=True)
class DeclaredPoller(Poller):
    """Polls jobs as the table `poll` declares; see `receiver.schemas.declared_followup.PollTableSchema`.

    Without a path only a `Location` is polled.
    """

    follow_up: FollowUpRequest
    reports: ReportParser
    not_found: JobStatus | None
    read_once: bool
    separator: str

    @classmethod
    def from_tables(cls, provider: Provider, tables: Mapping[str, Any]) -> Self:
        """Build the poller from the loaded tables of `DeclaredSettingsSchema`.

        Keys that `poll` leaves out are those of `callback`, except `items`.
        """
        callback, poll = tables["callback"], tables["poll"]
        overrides = {name: poll[name] for name in _OVERRIDES if poll[name] is not None}
        return cls(
            policy=PollPolicy(poll["first_after"], poll["max_interval"], poll["give_up_after"]),
            batch_size=poll["batch"],
            follow_up=FollowUpRequest.from_tables(provider, tables, poll),
            reports=ReportParser.from_table({**callback, "items": poll["items"], **overrides}),
            not_found=JobStatus(poll["not_found"]) if poll["not_found"] else None,
            read_once=poll["read_once"],
            separator=poll["separator"],
        )

    def compose(self, references: Sequence[str], location: str | None) -> OutgoingRequest:
        return self.follow_up.compose(_build_values(references), self.separator, location)

    def compose_at(self, references: Sequence[str], location: str | None, now: datetime) -> OutgoingRequest:
        if not self.follow_up.computed:
            return self.compose(references, location)
        return self.follow_up.compose(_build_values(references), self.separator, location, now)

    def interpret(self, references: Sequence[str], response: Response) -> Mapping[str, StatusReport]:
        if response.status == 404 and self.not_found:
            detail = "the provider does not know this job (any more)"
            return {
                reference: StatusReport(reference, self.not_found, code="404", detail=detail)
                for reference in references
            }
        reports: dict[str, StatusReport] = {}
        expected = frozenset(references)
        for report in self._parse_reports(response, references[0] if len(references) == 1 else None):
            if report.reference in expected:
                reports.setdefault(report.reference, report)
        return reports

    def interpret_other_jobs(self, references: Collection[str], response: Response) -> Sequence[StatusReport]:
        if not self.read_once:
            return ()
        return [report for report in self._parse_reports(response) if report.reference not in references]

    def _parse_reports(self, response: Response, polled: str | None = None) -> Iterator[StatusReport]:
        """Parse the reports in a response; a single item with a status need not repeat the reference that was polled.

        Such is the usual response at a URL that the provider sent.
        """
        if response.status not in READ_STATUSES:
            return
        try:
            document = parse_json(response.body)
        except ValidationError:
            return
        items = find_items(self.reports.items, document)
        for item in items:
            if report := self._parse_item(item, document, polled if len(items) == 1 else None):
                yield report

    def _parse_item(self, item: Any, document: Any, polled: str | None) -> StatusReport | None:
        try:
            if polled and all(path(item, document) is None for path in self.reports.reference):
                reports = replace(self.reports, reference=[BoundValue("reference", polled)])
                report = reports.parse(item, document)
                return report if report.provider_status else None
            return self.reports.parse(item, document)
        except ValidationError:
            return None


def _build_values(references: Sequence[str]) -> Mapping[str, str | Sequence[str]]:
    """Return the values of the placeholders."""
    return {"reference": references[0], "references": references}
