"""A provider that is declared whole in `receiver.toml`: how it is asked, answers, calls back and is polled.

Its tables are those of `schemas.declared`; they are compiled once and then only followed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import orjson
from marshmallow import ValidationError

from receiver.domain.delivery import FORM, Ack, Delivery
from receiver.domain.jobs import JobStatus, Report
from receiver.domain.sending import Answer, Attempt, Reading
from receiver.providers.asking import Auth, Operation, target_with
from receiver.providers.base import Outgoing, Parsed, Provider, Receiving
from receiver.providers.handshakes import Handshake
from receiver.providers.paths import Pick, Place, items_of, picks, read_json
from receiver.providers.reading import Answers, Callbacks, Reports
from receiver.signatures.base import Guard
from schemas.paths import PLACEHOLDER, known_as

_JSON_TYPES = frozenset({"application/json"})
_FORM_TYPES = frozenset({FORM})
_MEDIA_TYPES = {"json": _JSON_TYPES, "form": _FORM_TYPES, "query": _JSON_TYPES | _FORM_TYPES | {"text/plain"}}
_SHARED = ("reference", "status", "statuses", "code", "detail", "occurred_at")


@dataclass(frozen=True, slots=True)
class Poll:
    """How a job is asked about; see `schemas.declared.PollTable`. `path` is None where only a `Location` is polled."""

    method: str
    path: str | None
    body: Mapping[str, Any] | None
    reports: Reports
    not_found: JobStatus | None
    read_once: bool

    def read(self, reference: str, answer: Answer) -> Report | None:
        """Read the answer about one job; None when it says nothing."""
        if answer.status == 404 and self.not_found:
            return Report(reference, self.not_found, code="404", detail="the provider does not know it (any more)")
        if answer.status != 200:
            return None
        try:
            document = read_json(answer.body)
        except ValidationError:
            return None
        return next((report for report in self._all(document) if report.reference == reference), None)

    def others(self, reference: str, answer: Answer) -> Sequence[Report]:
        """Read what is said of other jobs, if the provider says everything only once."""
        if not self.read_once or answer.status != 200:
            return ()
        try:
            document = read_json(answer.body)
        except ValidationError:
            return ()
        return [report for report in self._all(document) if report.reference != reference]

    def _all(self, document: Any) -> Iterator[Report]:
        for item in items_of(self.reports.items, document):
            if report := self._read(item, document):
                yield report

    def _read(self, item: Any, document: Any) -> Report | None:
        try:
            return self.reports.read(item, document)
        except ValidationError:
            return None


@dataclass(frozen=True, slots=True)
class Declared(Provider):
    """A declared provider."""

    auth: Auth
    asked: Mapping[str, Operation]
    answers: Answers
    callbacks: Callbacks
    greeting: Handshake | None
    poll: Poll | None

    def operations(self) -> Sequence[str]:
        return tuple(self.asked)

    def check_payload(self, operation: str, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        return self.asked[operation].faults(payload)

    def payload_schema(self, operation: str) -> Mapping[str, Any]:
        return self.asked[operation].payload_schema()

    def compose(self, attempt: Attempt, callback_url: str) -> Outgoing:
        return self.asked[attempt.operation].compose(attempt, callback_url, self.auth, self.base_path)

    def credentials(self) -> bytes:
        return self.auth.credentials()

    def interpret(self, answer: Answer) -> Reading:
        return self.answers.read(answer)

    def handshake(self, delivery: Delivery) -> Ack | None:
        if self.greeting is None:
            return None
        return self.greeting.answer(delivery, lambda: self.receiving.guard.verify(delivery))

    def event_id(self, delivery: Delivery) -> str:
        place = self.callbacks.event_id
        if place is None:
            return super(Declared, self).event_id(delivery)
        if place.kind != "path":
            return place.find(delivery, None) or ""
        try:
            return place.find(delivery, self.callbacks.document(delivery)) or ""
        except ValidationError:
            return ""

    def parse(self, delivery: Delivery) -> Parsed:
        return self.callbacks.parse(delivery)

    @property
    def can_poll(self) -> bool:
        return self.poll is not None

    def compose_poll(self, reference: str, location: str | None) -> Outgoing:
        if self.poll is None:
            raise ValueError(f"{self.name} has no poll")
        path = self.base_path + PLACEHOLDER.sub(quote(reference, safe=""), self.poll.path or "/")
        headers = dict(self.auth.headers)
        body = b""
        if self.poll.body is not None or self.auth.fields:
            body = orjson.dumps({**_filled(self.poll.body or {}, reference), **self.auth.fields})
            headers["content-type"] = "application/json"
        return Outgoing(self.poll.method, target_with(location or path, self.auth.query), headers, body)

    def interpret_poll(self, reference: str, answer: Answer) -> Report | None:
        return self.poll.read(reference, answer) if self.poll else None

    def others_in_poll(self, reference: str, answer: Answer) -> Sequence[Report]:
        return self.poll.others(reference, answer) if self.poll else ()


def _filled(body: Mapping[str, Any], reference: str) -> dict[str, Any]:
    """Put the reference where the poll's body says `{reference}`."""
    return {name: reference if value == "{reference}" else value for name, value in body.items()}


def declared_parts(given: Mapping[str, Any]) -> dict[str, Any]:
    """Compile the tables of `schemas.declared.DeclaredSettings` into what `Declared` has beyond every provider."""
    answer, callback, poll = given["answer"], given["callback"], given["poll"]
    return {
        "auth": Auth.of(given["auth"], given["headers"]),
        "asked": {name: Operation(**table) for name, table in given["operations"].items()},
        "answers": Answers(
            items=_pick(answer["items"]),
            reference=picks(answer["reference"]),
            code=picks(answer["code"]),
            codes=answer["codes"],
            detail=picks(answer["detail"]),
            location=_pick(answer["location"]),
        ),
        "callbacks": Callbacks(
            body=callback["body"],
            json_field=callback["json_field"],
            reports=_reports(callback),
            event_id=Place.of(callback["event_id"]) if callback["event_id"] else None,
            only=_words(callback["only"]),
            ignore=_words(callback["ignore"]),
            fetch=callback["fetch"],
        ),
        "greeting": _handshake(callback) if callback["handshake"] else None,
        "poll": _poll(callback, poll) if poll else None,
    }


def receiving_of(guard: Guard, callback: Mapping[str, Any]) -> Receiving:
    """Tell how a declared provider calls back, from its table `callback`."""
    methods = set(callback["methods"])
    if callback["handshake"]:
        methods.add("GET" if callback["handshake"]["kind"] == "get-echo" else "POST")
    ack = callback["ack"]
    headers = {"content-type": ack["content_type"]} if ack["content_type"] else {}
    return Receiving(
        guard, frozenset(methods), _MEDIA_TYPES[callback["body"]], Ack(ack["status"], ack["body"].encode(), headers)
    )


def _pick(path: str | None) -> Pick | None:
    return Pick(path) if path else None


def _words(given: Mapping[str, Sequence[str]]) -> Mapping[Pick, frozenset[str]]:
    return {Pick(path): frozenset(words) for path, words in given.items()}


def _reports(given: Mapping[str, Any]) -> Reports:
    return Reports(
        items=_pick(given["items"]),
        reference=picks(given["reference"]),
        status=picks(given["status"]),
        statuses=given["statuses"],
        superseding=frozenset(known_as(word) for word in given["superseding"]),
        code=picks(given["code"]),
        detail=picks(given["detail"]),
        occurred_at=_pick(given["occurred_at"]),
        time_unit=given["time_unit"],
    )


def _poll(callback: Mapping[str, Any], given: Mapping[str, Any]) -> Poll:
    """Compile the table `poll`; what it leaves out is as in the callback, save that its items are its own."""
    said = {name: given[name] for name in _SHARED if given[name] is not None}
    reports = _reports({**callback, "items": given["items"], **said})
    not_found = JobStatus(given["not_found"]) if given["not_found"] else None
    return Poll(given["method"], given["path"], given["body"], reports, not_found, given["read_once"])


def _handshake(callback: Mapping[str, Any]) -> Handshake:
    given = callback["handshake"]
    return Handshake(
        kind=given["kind"],
        echo=Place.of(given["echo"]),
        token_at=Place.of(given["token_at"]) if given["token_at"] else None,
        token=given["token"],
        when={Place.of(place): wanted for place, wanted in given["when"].items()},
        secrets=given["secret"],
        alone="GET" not in callback["methods"],
        reply=given["reply"],
    )
