"""The lookup of a declared provider: it asks whether the provider accepted a request whose status is unknown."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import unquote

from marshmallow import ValidationError

from receiver.domain.jobs import JobStatus
from receiver.domain.paths import has_dot_segment
from receiver.domain.sending import READ_STATUSES, ItemStatus, ParsedResponse, Response, ResponseItem
from receiver.domain.unknown_requests import LookupPolicy, NotFoundMeaning, UnknownRequest
from receiver.providers.base import Provider
from receiver.providers.capabilities import Lookup, LookupImpossible, OutgoingRequest
from receiver.providers.declared.parsing import ReportParser
from receiver.providers.declared.requests import FollowUpRequest
from receiver.providers.declared.responses import ResponseParser
from receiver.providers.json_paths import BoundValue, as_text, find_items, parse_json
from receiver.providers.unreadable import build_unreadable_response
from receiver.schemas.declared import REQUEST_ID
from receiver.schemas.declared_followup import find_placeholders

_OVERRIDES = ("items", "reference", "code", "codes", "detail", "location")
"""The keys of the table `lookup` that default to those of `response`."""


@dataclass(frozen=True, slots=True)
class DeclaredLookup(Lookup):
    """Looks up requests as the table `lookup` declares; see `receiver.schemas.declared_followup.LookupTableSchema`.

    Args:
        policy: when requests are looked up.
        follow_up: the HTTP request.
        defaults: the default payload of each operation.
        responses: parses the items like those of a response.
        reports: parses the items by the status of their job, instead.
    """

    follow_up: FollowUpRequest
    defaults: Mapping[str, Mapping[str, Any]]
    responses: ResponseParser
    reports: ReportParser | None

    @classmethod
    def from_tables(cls, provider: Provider, tables: Mapping[str, Any]) -> Self:
        """Build the lookup from the loaded tables.

        Keys that `lookup` leaves out are those of `response`, and `statuses` is that of `callback`.
        """
        response, callback, lookup = tables["response"], tables["callback"], tables["lookup"]
        table = {**response, **{name: lookup[name] for name in _OVERRIDES if lookup[name] is not None}}
        if lookup["reference"]:
            table["reference_template"] = None
        responses = ResponseParser.from_table(table, tables["operations"])
        return cls(
            policy=LookupPolicy(
                lookup["first_after"],
                lookup["max_interval"],
                lookup["give_up_after"],
                NotFoundMeaning(lookup["not_found"]),
                lookup["not_found_after"],
            ),
            follow_up=FollowUpRequest.from_tables(provider, tables, lookup),
            defaults={name: operation["defaults"] for name, operation in tables["operations"].items()},
            responses=responses,
            reports=_build_report_parser(responses, table, callback, lookup) if lookup["status"] else None,
        )

    def compose(self, unknown_request: UnknownRequest) -> OutgoingRequest:
        payload = {**self.defaults.get(unknown_request.operation, {}), **unknown_request.payload}
        names = find_placeholders(self.follow_up.path) | find_placeholders(self.follow_up.body)
        values = {name: as_text(payload.get(name)) for name in names} | {REQUEST_ID: str(unknown_request.id)}
        # An empty value is missing, too: it would ask for the requests of everybody.
        missing = sorted(name for name, value in values.items() if not value)
        if missing:
            raise LookupImpossible(f"its payload has no {', '.join(missing)}")
        present = {name: value for name, value in values.items() if value}
        outgoing = self.follow_up.compose(present, ",")
        path = outgoing.target.partition("?")[0]
        if has_dot_segment(unquote(path)):
            raise LookupImpossible("its payload leads to a path with the segments . or ..")
        return outgoing

    def interpret(self, response: Response) -> ParsedResponse:
        if response.status == 404:
            return ParsedResponse()
        if response.status not in READ_STATUSES:
            return ParsedResponse(problem=f"the provider responded with {response.status}")
        if self.reports is None:
            return self.responses.parse(response)
        try:
            document = parse_json(response.body)
            items = find_items(self.reports.items, document)
            return ParsedResponse(tuple(self._parse_item(self.reports, item, document) for item in items))
        except ValidationError as error:
            return build_unreadable_response(response, error)

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
            location=self.responses.find_location(item, document, {}),
            job=report.status,
            uses_request_id=self.responses.uses_request_id,
        )


def _build_report_parser(
    responses: ResponseParser, table: Mapping[str, Any], callback: Mapping[str, Any], lookup: Mapping[str, Any]
) -> ReportParser:
    own_keys = {
        **{name: table[name] for name in ("items", "reference", "detail")},
        "status": lookup["status"],
        "statuses": lookup["statuses"] or callback["statuses"],
        "code": lookup["code"] or [],
        "occurred_at": None,
    }
    reports = ReportParser.from_table({**callback, **own_keys})
    # The id of the request takes the place of this value.
    return replace(reports, reference=[BoundValue(REQUEST_ID, REQUEST_ID)]) if responses.uses_request_id else reports
