"""A provider that is declared whole in `receiver.toml`: how it is asked, answers, calls back and is polled.

Its tables are those of `receiver.schemas.declared`; they are compiled once and then only followed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marshmallow import ValidationError

from receiver.domain.delivery import FORM, Ack, Delivery
from receiver.domain.doubt import Doubt, Looking, NotFound
from receiver.domain.jobs import JobStatus, Report
from receiver.domain.sending import Answer, Attempt, Reading
from receiver.providers.asking import Auth, Operation, Question
from receiver.providers.base import Outgoing, Parsed, Provider, Receiving
from receiver.providers.following import Lookup, Poll
from receiver.providers.handshakes import Handshake
from receiver.providers.paths import Pick, Place, picks
from receiver.providers.reading import Answers, Callbacks, Reports
from receiver.schemas.paths import known_as
from receiver.signatures.base import Guard

_JSON_TYPES = frozenset({"application/json"})
_FORM_TYPES = frozenset({FORM})
_MEDIA_TYPES = {"json": _JSON_TYPES, "form": _FORM_TYPES, "query": _JSON_TYPES | _FORM_TYPES | {"text/plain"}}
_SHARED = ("reference", "status", "statuses", "code", "detail", "occurred_at")
_READ = ("items", "reference", "code", "codes", "detail", "location")


@dataclass(frozen=True, slots=True)
class Declared(Provider):
    """A declared provider."""

    auth: Auth
    asked: Mapping[str, Operation]
    answers: Answers
    callbacks: Callbacks
    greeting: Handshake | None
    poll: Poll | None
    lookup: Lookup | None

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
        return self._poll.compose([reference], location, self.auth, self.base_path)

    def interpret_poll(self, reference: str, answer: Answer) -> Report | None:
        return self.interpret_batch([reference], answer).get(reference)

    @property
    def poll_batch(self) -> int:
        return self.poll.batch if self.poll else 1

    def compose_batch(self, references: Sequence[str]) -> Outgoing:
        return self._poll.compose(references, None, self.auth, self.base_path)

    def interpret_batch(self, references: Sequence[str], answer: Answer) -> Mapping[str, Report]:
        return self.poll.read(references, answer) if self.poll else {}

    def others_in_poll(self, references: Collection[str], answer: Answer) -> Sequence[Report]:
        return self.poll.others(references, answer) if self.poll else ()

    @property
    def _poll(self) -> Poll:
        if self.poll is None:
            raise ValueError(f"{self.name} has no poll")
        return self.poll

    @property
    def looking(self) -> Looking | None:
        return self.lookup.looking if self.lookup else None

    def compose_lookup(self, doubt: Doubt) -> Outgoing:
        return self._lookup.compose(doubt, self.asked.get(doubt.operation), self.auth, self.base_path)

    def interpret_lookup(self, answer: Answer) -> Reading:
        return self._lookup.read(answer)

    @property
    def _lookup(self) -> Lookup:
        if self.lookup is None:
            raise ValueError(f"{self.name} has no lookup")
        return self.lookup


def declared_parts(given: Mapping[str, Any]) -> dict[str, Any]:
    """Compile the tables of `schemas.declared.DeclaredSettingsSchema` into what `Declared` adds to a provider."""
    answer, callback, poll, lookup = given["answer"], given["callback"], given["poll"], given["lookup"]
    return {
        "auth": Auth.of(given["auth"], given["headers"]),
        "asked": {name: Operation(**table) for name, table in given["operations"].items()},
        "answers": _answers(answer),
        "callbacks": Callbacks(
            body=callback["body"],
            json_field=callback["json_field"],
            reports=_reports(callback),
            event_id=Place.of(callback["event_id"]) if callback["event_id"] else None,
            only=_words(callback["only"]),
            ignore=_words(callback["ignore"]),
            fetch=callback["fetch"],
            request=Place.of(callback["request"]) if callback["request"] else None,
        ),
        "greeting": _handshake(callback) if callback["handshake"] else None,
        "poll": _poll(callback, poll) if poll else None,
        "lookup": _lookup(answer, callback, lookup) if lookup else None,
    }


def receiving_of(guard: Guard, given: Mapping[str, Any]) -> Receiving:
    """Tell how a declared provider calls back, from its tables `callback` and `operations`."""
    callback = given["callback"]
    methods = set(callback["methods"])
    if callback["handshake"]:
        methods.add("GET" if callback["handshake"]["kind"] == "get-echo" else "POST")
    ack = callback["ack"]
    headers = {"content-type": ack["content_type"]} if ack["content_type"] else {}
    return Receiving(
        guard,
        frozenset(methods),
        _MEDIA_TYPES[callback["body"]],
        Ack(ack["status"], ack["body"].encode(), headers),
        by_token=any(operation["callback_token"] for operation in given["operations"].values()),
    )


def _pick(path: str | None) -> Pick | None:
    return Pick(path) if path else None


def _words(given: Mapping[str, Sequence[str]]) -> Mapping[Pick, frozenset[str]]:
    return {Pick(path): frozenset(words) for path, words in given.items()}


def _answers(given: Mapping[str, Any]) -> Answers:
    return Answers(
        items=_pick(given["items"]),
        reference=picks(given["reference"]),
        code=picks(given["code"]),
        codes=given["codes"],
        detail=picks(given["detail"]),
        location=_pick(given["location"]),
    )


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
    question = Question(given["method"], given["path"], given["body"], given["encoding"])
    return Poll(question, reports, not_found, given["read_once"], given["batch"], given["separator"])


def _lookup(answer: Mapping[str, Any], callback: Mapping[str, Any], given: Mapping[str, Any]) -> Lookup:
    """Compile the table `lookup`; what it leaves out is as in the answer, the words for a status as in the callback."""
    said = {name: given[name] for name in _READ if given[name] is not None}
    reports = None
    if given["status"]:
        alone = {"status": given["status"], "statuses": given["statuses"] or callback["statuses"]}
        shared = {name: {**answer, **said}[name] for name in ("items", "reference", "detail")}
        reports = _reports({**callback, **shared, **alone, "code": given["code"] or [], "occurred_at": None})
    looking = Looking(
        given["first_after"],
        given["max_interval"],
        given["give_up_after"],
        NotFound(given["not_found"]),
        given["not_found_after"],
    )
    question = Question(given["method"], given["path"], given["body"], given["encoding"])
    return Lookup(question, looking, _answers({**answer, **said}), reports)


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
