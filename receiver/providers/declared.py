"""A provider that is declared whole in `receiver.toml`: how it is asked, answers, calls back and is polled.

Its tables are those of `receiver.schemas.declared`; they are compiled once and then only followed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marshmallow import ValidationError

from receiver.domain.callbacks import FORM_MEDIA_TYPE, Ack, IncomingCallback
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.sending import Attempt, ParsedResponse, Response
from receiver.domain.unknown_requests import LookupPolicy, NotFoundMeaning, UnknownRequest
from receiver.providers.base import CallbackSettings, OutgoingRequest, ParsedReports, Provider
from receiver.providers.declared_followup import DeclaredLookup, DeclaredPoll
from receiver.providers.declared_parsing import CallbackParser, ReportParser, ResponseParser
from receiver.providers.declared_requests import DeclaredOperation, FollowUpRequest, RequestAuth
from receiver.providers.handshakes import Handshake
from receiver.providers.json_paths import JsonPath, ValueLocation, compile_paths
from receiver.schemas.paths import known_as
from receiver.signatures.base import CallbackAuth

_JSON_TYPES = frozenset({"application/json"})
_FORM_TYPES = frozenset({FORM_MEDIA_TYPE})
_MEDIA_TYPES = {"json": _JSON_TYPES, "form": _FORM_TYPES, "query": _JSON_TYPES | _FORM_TYPES | {"text/plain"}}
_SHARED = ("reference", "status", "statuses", "code", "detail", "occurred_at")
_READ = ("items", "reference", "code", "codes", "detail", "location")


@dataclass(frozen=True, slots=True)
class DeclaredProvider(Provider):
    """A declared provider."""

    auth: RequestAuth
    asked: Mapping[str, DeclaredOperation]
    responses: ResponseParser
    callbacks: CallbackParser
    greeting: Handshake | None
    poll: DeclaredPoll | None
    lookup: DeclaredLookup | None

    def operations(self) -> Sequence[str]:
        return tuple(self.asked)

    def check_payload(self, operation: str, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        return self.asked[operation].faults(payload)

    def payload_schema(self, operation: str) -> Mapping[str, Any]:
        return self.asked[operation].payload_schema()

    def compose(self, attempt: Attempt, callback_url: str) -> OutgoingRequest:
        return self.asked[attempt.operation].compose(attempt, callback_url, self.auth, self.base_path)

    def credentials(self) -> bytes:
        return self.auth.credentials()

    def interpret(self, response: Response) -> ParsedResponse:
        return self.responses.read(response)

    def handshake(self, callback: IncomingCallback) -> Ack | None:
        if self.greeting is None:
            return None
        return self.greeting.response(callback, lambda: self.callback_settings.auth.verify(callback))

    def event_id(self, callback: IncomingCallback) -> str:
        place = self.callbacks.event_id
        if place is None:
            return super(DeclaredProvider, self).event_id(callback)
        if place.kind != "path":
            return place.find(callback, None) or ""
        try:
            return place.find(callback, self.callbacks.document(callback)) or ""
        except ValidationError:
            return ""

    def parse(self, callback: IncomingCallback) -> ParsedReports:
        return self.callbacks.parse(callback)

    @property
    def can_poll(self) -> bool:
        return self.poll is not None

    def compose_poll(self, reference: str, location: str | None) -> OutgoingRequest:
        return self._poll.compose([reference], location, self.auth, self.base_path)

    def interpret_poll(self, reference: str, response: Response) -> StatusReport | None:
        return self.interpret_batch([reference], response).get(reference)

    @property
    def poll_batch(self) -> int:
        return self.poll.batch if self.poll else 1

    def compose_batch(self, references: Sequence[str]) -> OutgoingRequest:
        return self._poll.compose(references, None, self.auth, self.base_path)

    def interpret_batch(self, references: Sequence[str], response: Response) -> Mapping[str, StatusReport]:
        return self.poll.read(references, response) if self.poll else {}

    def others_in_poll(self, references: Collection[str], response: Response) -> Sequence[StatusReport]:
        return self.poll.others(references, response) if self.poll else ()

    @property
    def _poll(self) -> DeclaredPoll:
        if self.poll is None:
            raise ValueError(f"{self.name} has no poll")
        return self.poll

    @property
    def lookup_policy(self) -> LookupPolicy | None:
        return self.lookup.lookup_policy if self.lookup else None

    def compose_lookup(self, unknown_request: UnknownRequest) -> OutgoingRequest:
        return self._lookup.compose(
            unknown_request, self.asked.get(unknown_request.operation), self.auth, self.base_path
        )

    def interpret_lookup(self, response: Response) -> ParsedResponse:
        return self._lookup.read(response)

    @property
    def _lookup(self) -> DeclaredLookup:
        if self.lookup is None:
            raise ValueError(f"{self.name} has no lookup")
        return self.lookup


def compile_tables(given: Mapping[str, Any]) -> dict[str, Any]:
    """Compile the tables of `DeclaredSettingsSchema` into the fields that `DeclaredProvider` adds to `Provider`."""
    response, callback, poll, lookup = given["response"], given["callback"], given["poll"], given["lookup"]
    return {
        "auth": RequestAuth.of(given["auth"], given["headers"]),
        "asked": {name: DeclaredOperation(**table) for name, table in given["operations"].items()},
        "responses": _answers(response),
        "callbacks": CallbackParser(
            body=callback["body"],
            json_field=callback["json_field"],
            reports=_reports(callback),
            event_id=ValueLocation.of(callback["event_id"]) if callback["event_id"] else None,
            only=_words(callback["only"]),
            ignore=_words(callback["ignore"]),
            fetch=callback["fetch"],
            request=ValueLocation.of(callback["request"]) if callback["request"] else None,
        ),
        "greeting": _handshake(callback) if callback["handshake"] else None,
        "poll": _poll(callback, poll) if poll else None,
        "lookup": _lookup(response, callback, lookup) if lookup else None,
    }


def build_callback_settings(auth: CallbackAuth, given: Mapping[str, Any]) -> CallbackSettings:
    """Tell how a declared provider calls back, from its tables `callback` and `operations`."""
    callback = given["callback"]
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
        by_token=any(operation["callback_token"] for operation in given["operations"].values()),
    )


def _pick(path: str | None) -> JsonPath | None:
    return JsonPath(path) if path else None


def _words(given: Mapping[str, Sequence[str]]) -> Mapping[JsonPath, frozenset[str]]:
    return {JsonPath(path): frozenset(words) for path, words in given.items()}


def _answers(given: Mapping[str, Any]) -> ResponseParser:
    return ResponseParser(
        items=_pick(given["items"]),
        reference=compile_paths(given["reference"]),
        code=compile_paths(given["code"]),
        codes=given["codes"],
        detail=compile_paths(given["detail"]),
        location=_pick(given["location"]),
    )


def _reports(given: Mapping[str, Any]) -> ReportParser:
    return ReportParser(
        items=_pick(given["items"]),
        reference=compile_paths(given["reference"]),
        status=compile_paths(given["status"]),
        statuses=given["statuses"],
        superseding=frozenset(known_as(word) for word in given["superseding"]),
        code=compile_paths(given["code"]),
        detail=compile_paths(given["detail"]),
        occurred_at=_pick(given["occurred_at"]),
        time_unit=given["time_unit"],
    )


def _poll(callback: Mapping[str, Any], given: Mapping[str, Any]) -> DeclaredPoll:
    """Compile the table `poll`; what it leaves out is as in the callback, save that its items are its own."""
    said = {name: given[name] for name in _SHARED if given[name] is not None}
    reports = _reports({**callback, "items": given["items"], **said})
    not_found = JobStatus(given["not_found"]) if given["not_found"] else None
    question = FollowUpRequest(given["method"], given["path"], given["body"], given["encoding"])
    return DeclaredPoll(question, reports, not_found, given["read_once"], given["batch"], given["separator"])


def _lookup(response: Mapping[str, Any], callback: Mapping[str, Any], given: Mapping[str, Any]) -> DeclaredLookup:
    """Compile the table `lookup`; what it leaves out is as in the answer, the words for a status as in the callback."""
    said = {name: given[name] for name in _READ if given[name] is not None}
    reports = None
    if given["status"]:
        alone = {"status": given["status"], "statuses": given["statuses"] or callback["statuses"]}
        shared = {name: {**response, **said}[name] for name in ("items", "reference", "detail")}
        reports = _reports({**callback, **shared, **alone, "code": given["code"] or [], "occurred_at": None})
    lookup_policy = LookupPolicy(
        given["first_after"],
        given["max_interval"],
        given["give_up_after"],
        NotFoundMeaning(given["not_found"]),
        given["not_found_after"],
    )
    question = FollowUpRequest(given["method"], given["path"], given["body"], given["encoding"])
    return DeclaredLookup(question, lookup_policy, _answers({**response, **said}), reports)


def _handshake(callback: Mapping[str, Any]) -> Handshake:
    given = callback["handshake"]
    return Handshake(
        kind=given["kind"],
        echo=ValueLocation.of(given["echo"]),
        token_at=ValueLocation.of(given["token_at"]) if given["token_at"] else None,
        token=given["token"],
        when={ValueLocation.of(place): wanted for place, wanted in given["when"].items()},
        secrets=given["secret"],
        alone="GET" not in callback["methods"],
        reply=given["reply"],
    )
