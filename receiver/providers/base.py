"""The few verbs that every provider speaks, and the values they exchange.

A provider's own vocabulary stops here: what leaves is in our words. Nothing here does I/O or reads a clock.
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

_OWN_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """An HTTP request for a provider; `target` is the path with its query, below the provider's `origin`."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """How a provider's silent jobs are followed; all in seconds."""

    deadline: float
    first_after: float
    max_interval: float
    give_up_after: float


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """How much is sent to a provider at once and per second, and how long an exchange may take (seconds)."""

    max_concurrency: int
    connect_timeout: float
    timeout: float
    max_per_second: float | None = None
    circuit: CircuitPolicy | None = field(default_factory=CircuitPolicy)
    adaptive: bool = True

    @property
    def longest(self) -> float:
        """How long an exchange takes at most."""
        return self.connect_timeout + self.timeout

    @property
    def limits(self) -> LimitPolicy:
        """How much is sent, as far as it is configured."""
        return LimitPolicy(self.max_concurrency, self.longest, self.max_per_second, self.circuit, self.adaptive)


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """How a provider calls back: the guard at our door, the HTTP methods and media types, and the answer it wants.

    `by_token` says that it may be given callback URLs with an attempt's token, see `domain.callback.with_token`.
    """

    auth: CallbackAuth
    methods: frozenset[str] = frozenset({"POST"})
    media_types: frozenset[str] = frozenset({"application/json"})
    ack: Ack = field(default_factory=Ack)
    by_token: bool = False


@dataclass(frozen=True, slots=True)
class ParsedReports:
    """What a callback says: its reports, each with its place in the body, and the errors of the items left out."""

    reports: Sequence[tuple[int, StatusReport]]
    errors: Mapping[str, Any] = field(default_factory=dict)


def parse_items(items: Sequence[Any], read: Callable[[Any], StatusReport], errors: Mapping[str, Any]) -> ParsedReports:
    """Read each of a callback's items by itself, so that a bad one takes none of the others with it.

    Args:
        items: the items as they came.
        read: gives an item's report, or raises ValidationError.
        errors: of the whole callback, told with those items that can be read.

    Raises:
        MalformedCallback: with `errors`, when no item can be read.
    """
    reports: list[tuple[int, StatusReport]] = []
    for index, item in enumerate(items):
        with suppress(ValidationError):
            reports.append((index, read(item)))
    if not reports:
        raise MalformedCallback(errors)
    return ParsedReports(reports, errors)


class LookupImpossible(ReceiverError):
    """A request cannot be asked about, as it lacks what the provider would know it by; the message says what."""


class MalformedCallback(ReceiverError):
    """A callback proved its sender but cannot be read; `errors` maps its fields to messages."""

    def __init__(self, errors: Mapping[str, Any]) -> None:
        super().__init__("the callback cannot be read")
        self.errors = errors


def canonical_origin(url: SplitResult) -> str:
    """Give a URL's origin in canonical form: lower case, without the scheme's own port (RFC 6454)."""
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    port = "" if url.port in (None, _OWN_PORTS.get(url.scheme)) else f":{url.port}"
    return f"{url.scheme}://{host}{port}"


@dataclass(frozen=True, slots=True)
class Provider(ABC):
    """One configured provider."""

    name: str
    origin: str
    base_path: str
    retry_rules: RetryRules
    send_policy: SendPolicy
    poll_policy: PollPolicy
    callback_settings: CallbackSettings

    @abstractmethod
    def operations(self) -> Sequence[str]:
        """Give the names of what can be asked of this provider."""

    @abstractmethod
    def check_payload(self, operation: str, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        """Give the faults of a payload, field → messages; empty when it can be sent. `now` is UTC."""

    @abstractmethod
    def payload_schema(self, operation: str) -> Mapping[str, Any]:
        """Give the JSON Schema (2020-12) of what `check_payload` accepts, as exactly as can be said.

        It may have `$defs` of its own, referred to as `#/$defs/NAME`.
        """

    @abstractmethod
    def compose(self, attempt: Attempt, callback_url: str) -> OutgoingRequest:
        """Give the HTTP request that carries out an attempt."""

    @abstractmethod
    def interpret(self, response: Response) -> ParsedResponse:
        """Read the items in an answer's body; never raises on what a provider may send."""

    def credentials(self) -> bytes:
        """Give all that its requests prove themselves with, as one value; b"" for a provider that wants nothing."""
        return b""

    @property
    def fingerprint(self) -> str:
        """Name the credentials without telling anything of them; "" for none."""
        return fingerprint_credentials(self.credentials())

    def case(self, attempt: Attempt, now: datetime, jitter: float) -> RetryDecider:
        """Give what judges an attempt; see `RetryDecider` for what it takes."""
        return RetryDecider(attempt, self.retry_rules, now, jitter)

    def handshake(self, callback: IncomingCallback) -> Ack | None:
        """Give the answer to a delivery that only checks our URL, or None for every other.

        Raises:
            SignatureRefused: it is such a check, but does not prove its sender.
        """
        return None

    def event_id(self, callback: IncomingCallback) -> str:
        """Give the provider's own id of a verified callback, or "" where it has none."""
        scheme = self.callback_settings.auth.scheme
        return scheme.message_id(callback) if scheme else ""

    @abstractmethod
    def parse(self, callback: IncomingCallback) -> ParsedReports:
        """Read a verified callback, item by item; see `parse_items` for one whose items are not all good.

        Raises:
            MalformedCallback: nothing in it is of the form that the provider documents.
        """

    @property
    def can_poll(self) -> bool:
        """Whether this provider can be asked about a job; `compose_poll` is called only then."""
        return True

    def compose_checks(self) -> Mapping[str, OutgoingRequest]:
        """Give requests, by what they tell, that show whether our account at this provider works."""
        return {}

    def read_check(self, name: str, response: Response) -> str:
        """Tell in a line for people what the answer to the check `name` says; never raises on what may be sent."""
        return f"HTTP {response.status}"

    def weigh(self, report: StatusReport) -> StatusReport:
        """Give a callback's report as far as it is trusted: with `Trust.CONFIRM` a final word only makes us ask."""
        if self.callback_settings.auth.trust is not Trust.CONFIRM or not (report.status and report.status.is_final):
            return report
        return replace(report, status=None, superseding=False, needs_poll=True)

    @abstractmethod
    def compose_poll(self, reference: str, location: str | None) -> OutgoingRequest:
        """Give the HTTP request that asks about one job; `location` is a status URL the provider gave for it."""

    @abstractmethod
    def interpret_poll(self, reference: str, response: Response) -> StatusReport | None:
        """Read the answer to a poll; None when it says nothing about the job."""

    @property
    def poll_batch(self) -> int:
        """About how many jobs one poll asks at most; with more than one, `compose_batch` asks."""
        return 1

    def compose_batch(self, references: Sequence[str]) -> OutgoingRequest:
        """Give the HTTP request that asks about several jobs at once, none of which has a URL of its own."""
        raise NotImplementedError

    def interpret_batch(self, references: Sequence[str], response: Response) -> Mapping[str, StatusReport]:
        """Read the answer to a poll about one or several jobs; those it says nothing about are left out."""
        read = ((reference, self.interpret_poll(reference, response)) for reference in references)
        return {reference: report for reference, report in read if report}

    def others_in_poll(self, references: Collection[str], response: Response) -> Sequence[StatusReport]:
        """Give what the answer to a poll says of other jobs, where the provider says everything only once."""
        return ()

    @property
    def lookup_policy(self) -> LookupPolicy | None:
        """When this provider is asked about unknown requests; None for one that cannot be."""
        return None

    @property
    def can_look_up(self) -> bool:
        """Whether this provider can be asked about a request by our reference; the next two are called only then."""
        return self.lookup_policy is not None

    @property
    def first_lookup_after(self) -> float | None:
        """In how many seconds a request that becomes unknown is asked about; None for never."""
        return self.lookup_policy.first_after if self.lookup_policy else None

    def compose_lookup(self, unknown_request: UnknownRequest) -> OutgoingRequest:
        """Give the HTTP request that asks what became of a request, by its id or what stands in its payload.

        Raises:
            NotAskable: its payload lacks that.
        """
        raise NotImplementedError

    def interpret_lookup(self, response: Response) -> ParsedResponse:
        """Read the answer to a lookup; without items and without a problem it says that the request is not known."""
        raise NotImplementedError

    def target_of(self, location: str | None) -> str | None:
        """Give the path and query of a `Location` at this provider.

        None for one at another origin, which is never followed, and for one that does not fit a request line.
        """
        if not location or not location.isascii() or not location.isprintable() or " " in location:
            return None
        try:
            url = urlsplit(urljoin(f"{self.origin}{self.base_path}/", location))
            ours = canonical_origin(url) == self.origin and "@" not in url.netloc
        except ValueError:
            return None
        if not ours or url.path.startswith("//"):
            return None
        return f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"

    def event(
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
        """Give the event that a report makes.

        Args:
            report: what was said.
            source: who said it.
            origin: the callback's identity, the attempt or the poll that brought it.
            received_at: UTC.
            index: which of the origin's reports this is.
            callback_id: the kept callback, if one brought it.
            request_id: the request it answers, if it is an answer.
            poll_after: seconds until a new job is first asked about; the provider's setting unless given.
            location: the `Location` that the provider gave for a new job.
            notify: whether the request's client wants to be told of its end.
            token: the attempt whose token came with it.
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
            location=self.target_of(location or report.location),
            provider_status=report.provider_status,
            code=report.code,
            detail=report.detail,
            occurred_at=report.occurred_at,
            callback_id=callback_id,
            request_id=request_id,
            notify=notify,
            request_hint=RequestHint(report.request_id, token) if report.request_id or token else None,
        )
