"""A provider that is declared entirely in `receiver.toml`: its requests, responses, callbacks, polls and lookups.

`receiver.schemas.declared` validates the tables. Here they are compiled once into the parts of a provider.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from marshmallow import ValidationError

from receiver.domain.callbacks import FORM_MEDIA_TYPE, Ack, IncomingCallback
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.sending import Attempt, ParsedResponse, Response
from receiver.domain.unknown_requests import LookupPolicy, NotFoundMeaning, UnknownRequest
from receiver.providers.base import CallbackSettings, OutgoingRequest, ParsedReports, Provider
from receiver.providers.declared.followup import DeclaredLookup, DeclaredPoll
from receiver.providers.declared.handshakes import Handshake
from receiver.providers.declared.parsing import CallbackParser, ReportParser, ResponseParser
from receiver.providers.declared.requests import DeclaredOperation, FollowUpRequest, RequestAuth
from receiver.providers.json_paths import JsonPath, ValueLocation, compile_paths
from receiver.schemas.paths import normalize_status
from receiver.signatures.base import CallbackAuth

_JSON_TYPES = frozenset({"application/json"})
_FORM_TYPES = frozenset({FORM_MEDIA_TYPE})
_MEDIA_TYPES = {"json": _JSON_TYPES, "form": _FORM_TYPES, "query": _JSON_TYPES | _FORM_TYPES | {"text/plain"}}
_POLL_OVERRIDES = ("reference", "status", "statuses", "code", "detail", "occurred_at")
"""The keys of the table `poll` that default to those of `callback`."""
_LOOKUP_OVERRIDES = ("items", "reference", "code", "codes", "detail", "location")
"""The keys of the table `lookup` that default to those of `response`."""


@dataclass(frozen=True, slots=True)
class DeclaredProvider(Provider):
    """A declared provider; `from_tables` builds it, see `compile_tables` for its parts."""

    auth: RequestAuth
    declared_operations: Mapping[str, DeclaredOperation]
    response_parser: ResponseParser
    callback_parser: CallbackParser
    url_check: Handshake | None
    poll: DeclaredPoll | None
    lookup: DeclaredLookup | None

    @classmethod
    def from_tables(cls, common: Mapping[str, Any], tables: Mapping[str, Any]) -> Self:
        """Build the provider from the fields that all providers have and the tables of `DeclaredSettingsSchema`."""
        callback_settings = build_callback_settings(common["callback_settings"].auth, tables)
        return cls(**{**common, "callback_settings": callback_settings}, **compile_tables(tables))

    def operations(self) -> Sequence[str]:
        return tuple(self.declared_operations)

    def check_payload(self, operation: str, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        return self.declared_operations[operation].check_payload(payload)

    def build_payload_schema(self, operation: str) -> Mapping[str, Any]:
        return self.declared_operations[operation].build_payload_schema()

    def compose(self, attempt: Attempt, callback_url: str) -> OutgoingRequest:
        return self.declared_operations[attempt.operation].compose(attempt, callback_url, self.auth, self.base_path)

    def credentials(self) -> bytes:
        return self.auth.credentials()

    def interpret(self, response: Response) -> ParsedResponse:
        return self.response_parser.parse(response)

    def answer_handshake(self, callback: IncomingCallback) -> Ack | None:
        if self.url_check is None:
            return None
        return self.url_check.respond(callback, lambda: self.callback_settings.auth.verify(callback))

    def find_event_id(self, callback: IncomingCallback) -> str:
        location = self.callback_parser.event_id
        if location is None:
            return super(DeclaredProvider, self).find_event_id(callback)
        if location.json_path is None:
            return location.find(callback, None) or ""
        try:
            return location.find(callback, self.callback_parser.parse_document(callback)) or ""
        except ValidationError:
            return ""

    def parse(self, callback: IncomingCallback) -> ParsedReports:
        return self.callback_parser.parse(callback)

    @property
    def can_poll(self) -> bool:
        return self.poll is not None

    def compose_poll(self, reference: str, location: str | None) -> OutgoingRequest:
        return self._require_poll().compose([reference], location, self.auth, self.base_path)

    def interpret_poll(self, reference: str, response: Response) -> StatusReport | None:
        return self.interpret_batch([reference], response).get(reference)

    @property
    def poll_batch_size(self) -> int:
        return self.poll.batch_size if self.poll else 1

    def compose_batch(self, references: Sequence[str]) -> OutgoingRequest:
        return self._require_poll().compose(references, None, self.auth, self.base_path)

    def interpret_batch(self, references: Sequence[str], response: Response) -> Mapping[str, StatusReport]:
        return self.poll.parse(references, response) if self.poll else {}

    def interpret_other_jobs(self, references: Collection[str], response: Response) -> Sequence[StatusReport]:
        return self.poll.parse_others(references, response) if self.poll else ()

    def _require_poll(self) -> DeclaredPoll:
        if self.poll is None:
            raise ValueError(f"{self.name} has no poll")
        return self.poll

    @property
    def lookup_policy(self) -> LookupPolicy | None:
        return self.lookup.lookup_policy if self.lookup else None

    def compose_lookup(self, unknown_request: UnknownRequest) -> OutgoingRequest:
        operation = self.declared_operations.get(unknown_request.operation)
        return self._require_lookup().compose(unknown_request, operation, self.auth, self.base_path)

    def interpret_lookup(self, response: Response) -> ParsedResponse:
        return self._require_lookup().parse(response)

    def _require_lookup(self) -> DeclaredLookup:
        if self.lookup is None:
            raise ValueError(f"{self.name} has no lookup")
        return self.lookup


def compile_tables(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Compile the loaded tables of `DeclaredSettingsSchema` into the fields that `DeclaredProvider` has of its own."""
    response, callback, poll, lookup = tables["response"], tables["callback"], tables["poll"], tables["lookup"]
    return {
        "auth": RequestAuth.from_table(tables["auth"], tables["headers"]),
        "declared_operations": {name: DeclaredOperation(**table) for name, table in tables["operations"].items()},
        "response_parser": _build_response_parser(response),
        "callback_parser": CallbackParser(
            body=callback["body"],
            json_field=callback["json_field"],
            reports=_build_report_parser(callback),
            event_id=ValueLocation.parse(callback["event_id"]) if callback["event_id"] else None,
            only=_compile_filter(callback["only"]),
            ignore=_compile_filter(callback["ignore"]),
            fetch=callback["fetch"],
            request=ValueLocation.parse(callback["request"]) if callback["request"] else None,
        ),
        "url_check": _build_handshake(callback) if callback["handshake"] else None,
        "poll": _build_poll(callback, poll) if poll else None,
        "lookup": _build_lookup(response, callback, lookup) if lookup else None,
    }


def build_callback_settings(auth: CallbackAuth, tables: Mapping[str, Any]) -> CallbackSettings:
    """Build the callback settings of a declared provider from its tables `callback` and `operations`."""
    callback = tables["callback"]
    methods = set(callback["methods"])
    if callback["handshake"]:
        methods.add("GET" if callback["handshake"]["kind"] == "get-echo" else "POST")
    ack = callback["ack"]
    headers = {"content-type": ack["content_type"]} if ack["content_type"] else {}
    return CallbackSettings(
        auth,
        frozenset(methods),
        _MEDIA_TYPES[callback["body"]],
        Ack(ack["status"], ack["body"].encode(), headers),
        uses_attempt_token=any(operation["callback_token"] for operation in tables["operations"].values()),
    )


def _compile_path(path: str | None) -> JsonPath | None:
    return JsonPath(path) if path else None


def _compile_filter(table: Mapping[str, Sequence[str]]) -> Mapping[JsonPath, frozenset[str]]:
    return {JsonPath(path): frozenset(values) for path, values in table.items()}


def _build_response_parser(table: Mapping[str, Any]) -> ResponseParser:
    return ResponseParser(
        items=_compile_path(table["items"]),
        reference=compile_paths(table["reference"]),
        code=compile_paths(table["code"]),
        codes=table["codes"],
        detail=compile_paths(table["detail"]),
        location=_compile_path(table["location"]),
    )


def _build_report_parser(table: Mapping[str, Any]) -> ReportParser:
    return ReportParser(
        items=_compile_path(table["items"]),
        reference=compile_paths(table["reference"]),
        status=compile_paths(table["status"]),
        statuses=table["statuses"],
        superseding=frozenset(normalize_status(status) for status in table["superseding"]),
        code=compile_paths(table["code"]),
        detail=compile_paths(table["detail"]),
        occurred_at=_compile_path(table["occurred_at"]),
        time_unit=table["time_unit"],
    )


def _build_poll(callback: Mapping[str, Any], poll: Mapping[str, Any]) -> DeclaredPoll:
    """Build the poll; keys that its table leaves out are those of the callback, except `items`."""
    overrides = {name: poll[name] for name in _POLL_OVERRIDES if poll[name] is not None}
    return DeclaredPoll(
        follow_up=_build_follow_up(poll),
        reports=_build_report_parser({**callback, "items": poll["items"], **overrides}),
        not_found=JobStatus(poll["not_found"]) if poll["not_found"] else None,
        read_once=poll["read_once"],
        batch_size=poll["batch"],
        separator=poll["separator"],
    )


def _build_lookup(
    response: Mapping[str, Any], callback: Mapping[str, Any], lookup: Mapping[str, Any]
) -> DeclaredLookup:
    """Build the lookup; keys that its table leaves out are those of the response, `statuses` those of the callback."""
    table = {**response, **{name: lookup[name] for name in _LOOKUP_OVERRIDES if lookup[name] is not None}}
    reports = None
    if lookup["status"]:
        own_keys = {
            **{name: table[name] for name in ("items", "reference", "detail")},
            "status": lookup["status"],
            "statuses": lookup["statuses"] or callback["statuses"],
            "code": lookup["code"] or [],
            "occurred_at": None,
        }
        reports = _build_report_parser({**callback, **own_keys})
    lookup_policy = LookupPolicy(
        lookup["first_after"],
        lookup["max_interval"],
        lookup["give_up_after"],
        NotFoundMeaning(lookup["not_found"]),
        lookup["not_found_after"],
    )
    return DeclaredLookup(_build_follow_up(lookup), lookup_policy, _build_response_parser(table), reports)


def _build_follow_up(table: Mapping[str, Any]) -> FollowUpRequest:
    return FollowUpRequest(table["method"], table["path"], table["body"], table["encoding"])


def _build_handshake(callback: Mapping[str, Any]) -> Handshake:
    table = callback["handshake"]
    return Handshake(
        kind=table["kind"],
        echo=ValueLocation.parse(table["echo"]),
        token_at=ValueLocation.parse(table["token_at"]) if table["token_at"] else None,
        token=table["token"],
        when={ValueLocation.parse(location): expected for location, expected in table["when"].items()},
        secrets=table["secret"],
        reply=table["reply"],
        get_only_for_handshake="GET" not in callback["methods"],
    )
