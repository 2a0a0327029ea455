"""The capabilities of a provider: sender, callbacks, poller and lookup, and the values that they take and return.

A capability translates one kind of exchange between a third party's API and our statuses. Capabilities do no I/O and
read no clock: the callers send the requests that they compose, and pass responses, callbacks and times in.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from marshmallow import ValidationError

from receiver.domain.callbacks import Ack, IncomingCallback
from receiver.domain.decisions import RetryDecider
from receiver.domain.errors import ReceiverError
from receiver.domain.jobs import StatusReport
from receiver.domain.records import record
from receiver.domain.sending import Attempt, ParsedResponse, Response, RetryRules
from receiver.domain.unknown_requests import LookupPolicy, UnknownRequest
from receiver.schemas.paths import ANY_STATUS, normalize_status
from receiver.signatures.base import CallbackAuth


@record(frozen=True, slots=True)
class OutgoingRequest:
    """An HTTP request to a provider; `target` is the path with the query, relative to the provider's `origin`."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


class Operation(ABC):
    """What a client may ask a provider for, such as sending a message."""

    __slots__ = ()

    @abstractmethod
    def check_payload(self, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        """Return the errors of a payload, field → messages; empty for a valid payload. `now` is UTC."""

    @abstractmethod
    def build_payload_schema(self) -> Mapping[str, Any]:
        """Return a JSON Schema (2020-12) of what `check_payload` accepts, as exactly as JSON Schema can express it.

        The schema may have `$defs` of its own, referenced as `#/$defs/NAME`.
        """


@dataclass(frozen=True, slots=True)
class Sender(ABC):
    """How requests are sent to a provider, and how its responses are read.

    Args:
        operations: what clients may submit, by name.
    """

    operations: Mapping[str, Operation]

    @abstractmethod
    def compose(self, attempt: Attempt, callback_url: str) -> OutgoingRequest:
        """Build the HTTP request of an attempt."""

    @abstractmethod
    def interpret(self, response: Response) -> ParsedResponse:
        """Parse the items of a response's body; never raises, whatever the provider sends."""

    def build_decider(self, attempt: Attempt, rules: RetryRules, now: datetime, jitter: float) -> RetryDecider:
        """Build the decider for the outcome of an attempt; see `RetryDecider` for the arguments."""
        return RetryDecider(attempt, rules, now, jitter)


ParsedItem = tuple[int, StatusReport | ValidationError]
"""An item of a callback: its position in the body, and its report, or the errors of an invalid item by field."""


class MalformedCallback(ReceiverError):
    """An authenticated callback cannot be parsed; `errors` maps its fields to messages."""

    def __init__(self, errors: Mapping[str, Any]) -> None:
        super().__init__("the callback cannot be read")
        self.errors = errors


@dataclass(frozen=True, slots=True)
class HandshakeResponse:
    """The response to a handshake.

    Args:
        ack: what is answered.
        confirm_url: an https URL that is called first, and must respond with 2xx before `ack` is sent; "" for none.
        is_kept: whether the delivery is kept among the samples, because an admin needs to see a value in it.
    """

    ack: Ack
    confirm_url: str = ""
    is_kept: bool = False


class Handshake(Protocol):
    """A provider's check of our callback URL, in place of a callback."""

    def respond(self, callback: IncomingCallback, verify: Callable[[], int | None]) -> HandshakeResponse | None:
        """Return the response to a handshake, or None for any other delivery.

        Args:
            callback: the delivery.
            verify: returns the index of the secret that matched; raises InvalidSignature for a delivery without a
                valid signature.

        Raises:
            InvalidSignature: the delivery is a handshake, but is not authentic.
        """


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """How a provider calls back.

    Args:
        auth: how a callback is authenticated.
        methods: the HTTP methods of callbacks.
        body_kind: how callbacks are read, one of `receiver.domain.documents.media_types.BODY_KINDS`.
        ack: the response that the provider takes as an acknowledgement.
        uses_attempt_token: whether callback URLs carry an attempt's token, see `domain.callbacks.add_attempt_token`.
        handshake: recognises and answers the provider's checks of our URL.
        handshake_methods: the HTTP methods of handshakes, which need not be methods of callbacks.
        handshake_kinds: the names of the kinds of handshakes.
        echoed_header: the name of a header that every acknowledgement returns as it came; "" for none.
    """

    auth: CallbackAuth
    methods: frozenset[str] = frozenset({"POST"})
    body_kind: str = "json"
    ack: Ack = field(default_factory=Ack)
    uses_attempt_token: bool = False
    handshake: Handshake | None = None
    handshake_methods: frozenset[str] = frozenset()
    handshake_kinds: Sequence[str] = ()
    echoed_header: str = ""

    @property
    def all_methods(self) -> frozenset[str]:
        """The HTTP methods of callbacks and handshakes."""
        return self.methods | self.handshake_methods


@dataclass(frozen=True, slots=True)
class Callbacks(ABC):
    """How a provider calls back, and how its callbacks are read."""

    settings: CallbackSettings

    @abstractmethod
    def parse(self, callback: IncomingCallback) -> Iterator[ParsedItem]:
        """Yield the items of an authenticated callback, each parsed by itself.

        A callback may have tens of thousands of items: the caller lets others run between them, so that an item is
        parsed only when it is asked for. An invalid item does not cost the valid ones.

        Raises:
            MalformedCallback: the callback as a whole does not have the form that the provider documents.
        """

    @abstractmethod
    def find_event_id(self, callback: IncomingCallback) -> str:
        """Return the provider's own id of an authenticated callback, or "" if there is none.

        By this id and its content a repeated callback is recognised. Where only the signature contains an id, it is
        `self.settings.auth.find_message_id(callback)`. An id that the signature does not cover is "" here: with another
        id, a callback that was sent before would count again.
        """

    @abstractmethod
    def find_content(self, callback: IncomingCallback) -> bytes:
        """Return what a callback is read from, in the form in which it is signed.

        A repetition of a callback has the same content, whatever else in it was changed. Where a callback is read from
        its body or, by GET, from its query, it is `self.settings.auth.find_content(callback)`.
        """


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """When jobs without a final status are polled; all values in seconds.

    Args:
        first_after: from acceptance until the first poll.
        max_interval: the longest time between two polls.
        give_up_after: from acceptance until polling ends and the job is `unresolved`.
    """

    first_after: float
    max_interval: float
    give_up_after: float


@dataclass(frozen=True, slots=True)
class Poller(ABC):
    """How the status of jobs is polled.

    Args:
        policy: when jobs are polled and given up.
        batch_size: the maximum number of jobs per poll.
    """

    policy: PollPolicy
    batch_size: int = field(default=1, kw_only=True)

    @abstractmethod
    def compose(self, references: Sequence[str], location: str | None) -> OutgoingRequest:
        """Build the HTTP request that polls at most `batch_size` jobs.

        A job whose status URL `location` the provider sent is polled alone, at that URL.
        """

    def compose_at(self, references: Sequence[str], location: str | None, now: datetime) -> OutgoingRequest:
        """Build the HTTP request at a time (UTC), if the request contains the time; by default like `compose`."""
        return self.compose(references, location)

    @abstractmethod
    def interpret(self, references: Sequence[str], response: Response) -> Mapping[str, StatusReport]:
        """Parse the response to a poll by reference; a job without a status in it is left out."""

    def interpret_other_jobs(self, references: Collection[str], response: Response) -> Sequence[StatusReport]:
        """Return the reports of jobs that were not polled, if the provider sends each status only once."""
        return ()


class LookupImpossible(ReceiverError):
    """A request cannot be looked up, because of a field of its payload that the lookup needs; the message names it."""


@dataclass(frozen=True, slots=True)
class Lookup(ABC):
    """How a provider is asked whether it accepted a request; `policy` says when."""

    policy: LookupPolicy

    @abstractmethod
    def compose(self, unknown_request: UnknownRequest) -> OutgoingRequest:
        """Build the HTTP request that looks up a request by its id or by fields of its payload.

        Raises:
            LookupImpossible: the payload lacks such a field, or its value cannot be a part of a path.
        """

    @abstractmethod
    def interpret(self, response: Response) -> ParsedResponse:
        """Parse the response to a lookup; without items and a problem, the provider does not know the request."""


class NoSample(ReceiverError):
    """No sample of a callback can be built; the message names the cause."""


@dataclass(frozen=True, slots=True)
class Samples(ABC):
    """Sample callbacks of a provider, for development and smoke tests.

    Args:
        statuses: the provider's statuses as it spells them, and `*` if it may have others; none if its callbacks have
            no status.
    """

    statuses: Sequence[str]

    def find_status(self, text: str) -> str | None:
        """Return a status as the provider spells it, by its name in any case; None if it has no such status."""
        spellings = {normalize_status(status): status for status in self.statuses}
        return spellings.get(normalize_status(text), text if ANY_STATUS in spellings else None)

    @abstractmethod
    def build(self, target: str, reference: str, status: str, now: datetime, unique_id: str) -> IncomingCallback:
        """Return an unsigned callback about one job.

        Args:
            target: the path of the callback URL.
            reference: the job's reference.
            status: one of the provider's statuses; "" if its callbacks have none.
            now: the time of the event and of the callback.
            unique_id: the id of the delivery, for a provider that has one.

        Raises:
            NoSample: there is no sample with this reference or status.
        """


@dataclass(frozen=True, slots=True)
class AccountCheck(ABC):
    """A request that shows whether our account at a provider works."""

    outgoing: OutgoingRequest

    @abstractmethod
    def format_result(self, response: Response) -> str:
        """Format a response as one line for people; never raises, whatever the provider sends."""
