"""The interface of a provider, and the values that its methods take and return.

A provider translates between a third party's API and our statuses. It does no I/O and reads no clock: the callers send
the requests that it composes, and pass responses, callbacks and times in.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit
from uuid import UUID

from marshmallow import ValidationError

from receiver.domain.callbacks import Ack, IncomingCallback
from receiver.domain.errors import ReceiverError
from receiver.domain.jobs import (
    EventSource,
    JobEvent,
    RequestHint,
    StatusReport,
    compute_precedence,
    derive_event_key,
    derive_job_id,
)
from receiver.domain.limits import CircuitPolicy, LimitPolicy
from receiver.domain.sending import Attempt, ParsedResponse, Response, RetryDecider, RetryRules
from receiver.domain.unknown_requests import LookupPolicy, UnknownRequest
from receiver.providers.credentials import fingerprint_credentials
from receiver.signatures.base import CallbackAuth, Trust

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """An HTTP request to a provider; `target` is the path with the query, relative to the provider's `origin`."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """When jobs without a final status are polled; all values in seconds.

    Args:
        deadline: from acceptance until a job without a final status is `unresolved`.
        first_after: from acceptance until the first poll.
        max_interval: the longest time between two polls.
        give_up_after: from acceptance until polling ends and the job is `unresolved`.
    """

    deadline: float
    first_after: float
    max_interval: float
    give_up_after: float


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """How many exchanges with a provider run at once and per second, and how long each may take (seconds)."""

    max_concurrency: int
    connect_timeout: float
    timeout: float
    max_per_second: float | None = None
    circuit: CircuitPolicy | None = field(default_factory=CircuitPolicy)
    adaptive: bool = True

    @property
    def max_duration(self) -> float:
        """The longest time that one exchange can take, in seconds."""
        return self.connect_timeout + self.timeout

    @property
    def limit_policy(self) -> LimitPolicy:
        """The configured limits, as the rate limiter takes them."""
        return LimitPolicy(self.max_concurrency, self.max_duration, self.max_per_second, self.circuit, self.adaptive)


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """How a provider calls back.

    Args:
        auth: how a callback is authenticated.
        methods: the HTTP methods of callbacks.
        media_types: the media types of callbacks, in lower case.
        ack: the response that the provider takes as an acknowledgement.
        uses_attempt_token: whether callback URLs carry an attempt's token, see `domain.callbacks.add_attempt_token`.
    """

    auth: CallbackAuth
    methods: frozenset[str] = frozenset({"POST"})
    media_types: frozenset[str] = frozenset({"application/json"})
    ack: Ack = field(default_factory=Ack)
    uses_attempt_token: bool = False


@dataclass(frozen=True, slots=True)
class ParsedReports:
    """The reports of a callback, each with its position in the body, and the errors of the items that were left out."""

    reports: Sequence[tuple[int, StatusReport]]
    errors: Mapping[str, Any] = field(default_factory=dict)


def parse_items(
    items: Sequence[Any], parse_item: Callable[[Any], StatusReport], errors: Mapping[str, Any]
) -> ParsedReports:
    """Parse each item of a callback by itself, so that an invalid item does not cost the valid ones.

    Args:
        items: the items, in their order in the body.
        parse_item: returns the report of an item, or raises ValidationError.
        errors: the errors of the whole callback, returned with the reports of the valid items.

    Raises:
        MalformedCallback: with `errors`, when no item is valid.
    """
    reports: list[tuple[int, StatusReport]] = []
    for index, item in enumerate(items):
        with suppress(ValidationError):
            reports.append((index, parse_item(item)))
    if not reports:
        raise MalformedCallback(errors)
    return ParsedReports(reports, errors)


class LookupImpossible(ReceiverError):
    """A request cannot be looked up, because its payload lacks a field that the lookup needs; the message names it."""


class MalformedCallback(ReceiverError):
    """An authenticated callback cannot be parsed; `errors` maps its fields to messages."""

    def __init__(self, errors: Mapping[str, Any]) -> None:
        super().__init__("the callback cannot be read")
        self.errors = errors


def canonical_origin(url: SplitResult) -> str:
    """Return the origin of a URL in canonical form: lower case, without the scheme's default port (RFC 6454)."""
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    port = "" if url.port in (None, _DEFAULT_PORTS.get(url.scheme)) else f":{url.port}"
    return f"{url.scheme}://{host}{port}"


@dataclass(frozen=True, slots=True)
class Provider(ABC):
    """A configured provider.

    Args:
        name: its name in `receiver.toml`.
        origin: scheme, host and port of its API, see `canonical_origin`.
        base_path: the path that all targets begin with, without a slash at the end.
        retry_rules: how requests are retried.
        send_policy: the limits of exchanges.
        poll_policy: when jobs are polled and given up.
        callback_settings: how it calls back.
    """

    name: str
    origin: str
    base_path: str
    retry_rules: RetryRules
    send_policy: SendPolicy
    poll_policy: PollPolicy
    callback_settings: CallbackSettings

    @abstractmethod
    def operations(self) -> Sequence[str]:
        """Return the names of the operations that a request may have."""

    @abstractmethod
    def check_payload(self, operation: str, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        """Return the errors of a payload, field → messages; empty for a valid payload. `now` is UTC."""

    @abstractmethod
    def build_payload_schema(self, operation: str) -> Mapping[str, Any]:
        """Return a JSON Schema (2020-12) of what `check_payload` accepts, as exactly as JSON Schema can express it.

        The schema may have `$defs` of its own, referenced as `#/$defs/NAME`.
        """

    @abstractmethod
    def compose(self, attempt: Attempt, callback_url: str) -> OutgoingRequest:
        """Build the HTTP request of an attempt."""

    @abstractmethod
    def interpret(self, response: Response) -> ParsedResponse:
        """Parse the items of a response's body; never raises, whatever the provider sends."""

    def credentials(self) -> bytes:
        """Return all credentials that requests carry, as one value; b"" for a provider that needs none."""
        return b""

    @property
    def fingerprint(self) -> str:
        """A name for the credentials that reveals nothing of them; "" for none."""
        return fingerprint_credentials(self.credentials())

    def build_decider(self, attempt: Attempt, now: datetime, jitter: float) -> RetryDecider:
        """Build the decider for the outcome of an attempt; see `RetryDecider` for the arguments."""
        return RetryDecider(attempt, self.retry_rules, now, jitter)

    def answer_handshake(self, callback: IncomingCallback) -> Ack | None:
        """Return the response to a delivery that only checks our URL, or None for any other delivery.

        Raises:
            InvalidSignature: the delivery is such a check, but is not authentic.
        """
        return None

    def find_event_id(self, callback: IncomingCallback) -> str:
        """Return the provider's own id of an authenticated callback, or "" if there is none."""
        scheme = self.callback_settings.auth.scheme
        return scheme.message_id(callback) if scheme else ""

    @abstractmethod
    def parse(self, callback: IncomingCallback) -> ParsedReports:
        """Parse an authenticated callback, item by item; see `parse_items` for a callback with invalid items.

        Raises:
            MalformedCallback: no part of the callback has the form that the provider documents.
        """

    @property
    def can_poll(self) -> bool:
        """Whether jobs of this provider can be polled; `compose_poll` is called only then."""
        return True

    def compose_checks(self) -> Mapping[str, OutgoingRequest]:
        """Build the requests that show whether our account at this provider works, by the name of the check."""
        return {}

    def read_check(self, name: str, response: Response) -> str:
        """Format the result of the check `name` as one line for people; never raises, whatever the provider sends."""
        return f"HTTP {response.status}"

    def apply_trust(self, report: StatusReport) -> StatusReport:
        """Return a callback's report as far as the callback is trusted.

        With `Trust.CONFIRM` a final status is dropped and causes a poll instead.
        """
        if self.callback_settings.auth.trust is not Trust.CONFIRM or not (report.status and report.status.is_final):
            return report
        return replace(report, status=None, superseding=False, needs_poll=True)

    @abstractmethod
    def compose_poll(self, reference: str, location: str | None) -> OutgoingRequest:
        """Build the HTTP request that polls one job, at its own status URL `location` if the provider sent one."""

    @abstractmethod
    def interpret_poll(self, reference: str, response: Response) -> StatusReport | None:
        """Parse the response to a poll; None if it has no status of the job."""

    @property
    def poll_batch_size(self) -> int:
        """The maximum number of jobs per poll; if more than one, `compose_batch` builds the request."""
        return 1

    def compose_batch(self, references: Sequence[str]) -> OutgoingRequest:
        """Build the HTTP request that polls several jobs, none of which has a status URL of its own."""
        raise NotImplementedError

    def interpret_batch(self, references: Sequence[str], response: Response) -> Mapping[str, StatusReport]:
        """Parse the response to a poll of one or several jobs; a job without a status in it is left out."""
        reports = ((reference, self.interpret_poll(reference, response)) for reference in references)
        return {reference: report for reference, report in reports if report}

    def interpret_other_jobs(self, references: Collection[str], response: Response) -> Sequence[StatusReport]:
        """Return the reports of jobs that were not polled, if the provider sends each status only once."""
        return ()

    @property
    def lookup_policy(self) -> LookupPolicy | None:
        """When unknown requests are looked up; None for a provider that has no lookup."""
        return None

    @property
    def can_look_up(self) -> bool:
        """Whether requests can be looked up; `compose_lookup` and `interpret_lookup` are called only then."""
        return self.lookup_policy is not None

    @property
    def first_lookup_after(self) -> float | None:
        """Seconds from the time that a request becomes unknown until its first lookup; None for no lookup."""
        return self.lookup_policy.first_after if self.lookup_policy else None

    def compose_lookup(self, unknown_request: UnknownRequest) -> OutgoingRequest:
        """Build the HTTP request that looks up a request by its id or by fields of its payload.

        Raises:
            LookupImpossible: the payload lacks such a field.
        """
        raise NotImplementedError

    def interpret_lookup(self, response: Response) -> ParsedResponse:
        """Parse the response to a lookup; without items and a problem, the provider does not know the request."""
        raise NotImplementedError

    def resolve_location(self, location: str | None) -> str | None:
        """Return the path and query of a `Location` at this provider.

        None for a location at another origin, which is never followed, and for one that does not fit a request line.
        """
        if not location or not location.isascii() or not location.isprintable() or " " in location:
            return None
        try:
            url = urlsplit(urljoin(f"{self.origin}{self.base_path}/", location))
            is_own = canonical_origin(url) == self.origin and "@" not in url.netloc
        except ValueError:
            return None
        # A target that begins with two slashes would be read as another host (RFC 3986, section 4.2).
        if not is_own or url.path.startswith("//"):
            return None
        return f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"

    def build_event(
        self,
        report: StatusReport,
        source: EventSource,
        origin: UUID,
        received_at: datetime,
        *,
        index: int = 0,
        callback_id: UUID | None = None,
        request_id: UUID | None = None,
        poll_after: float | None = None,
        location: str | None = None,
        notify: bool = False,
        token: UUID | None = None,
    ) -> JobEvent:
        """Build the event of a report.

        Args:
            report: the status of a job.
            source: where the report comes from.
            origin: the identity of the callback, the attempt or the poll that contained the report.
            received_at: UTC.
            index: the position of the report within its origin.
            callback_id: the stored callback, if the report comes from one.
            request_id: the request, if the report comes from its response.
            poll_after: seconds until the first poll of a new job; the provider's setting unless given.
            location: the `Location` that the provider sent for a new job.
            notify: whether the request's client is notified when the request is finished.
            token: the attempt whose token the callback URL carried.
        """
        first_after = self.poll_policy.first_after if poll_after is None else poll_after
        poll_at = received_at + timedelta(seconds=first_after) if self.can_poll else None
        return JobEvent(
            job_id=derive_job_id(self.name, report.reference),
            key=derive_event_key(source, origin, index, report.status, superseding=report.superseding),
            provider=self.name,
            reference=report.reference,
            source=source,
            status=report.status,
            precedence=compute_precedence(report.status, source, superseding=report.superseding),
            received_at=received_at,
            position=index,
            deadline_at=received_at + timedelta(seconds=self.poll_policy.deadline),
            poll_at=poll_at,
            location=self.resolve_location(location or report.location),
            provider_status=report.provider_status,
            code=report.code,
            detail=report.detail,
            occurred_at=report.occurred_at,
            callback_id=callback_id,
            request_id=request_id,
            notify=notify,
            request_hint=RequestHint(report.request_id, token) if report.request_id or token else None,
        )
