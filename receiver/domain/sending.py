"""Requests, their attempts, how an attempt may end, and the decision that follows; see `receiver.domain.decisions`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any
from uuid import UUID

from receiver.domain.backoff import RetryPolicy
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.records import record
from receiver.domain.responses import ResponseClass

LOWEST_PRIORITY, HIGHEST_PRIORITY, DEFAULT_PRIORITY = 0, 9, 5
"""Of a provider's due requests, those with the highest priority are sent first."""
MAX_BATCH_SIZE = 1_000
"""The number of requests that can be submitted together."""
MAX_RESPONSE_BYTES = 1 << 20
"""The number of bytes at which the body of a provider's response is cut."""
READ_STATUSES = frozenset({200, 201})
"""The statuses of responses to polls and lookups that are read; some frameworks respond to every POST with a 201."""
RETRY_UNSENT_AFTER_S = 0.25
"""Seconds until an exchange that could not begin is tried again."""
REFERENCE_CONFLICT_DETAIL = "the provider responded with the reference of job"
"""The beginning of a request's detail if the job in its response belongs to another request."""
RESTORED_DETAIL = "restored from a backup: may have been sent after it was taken"
"""The beginning of a request's detail if it may have been sent without a record in a restored database."""
CANCELLED_AMBIGUOUS_DETAIL = "cancelled, but the provider may have acted on an earlier attempt"
"""The beginning of a request's detail if it was cancelled too late to be certain; see `cancel_requests` in SQL."""
UNSTORABLE_RESPONSE_DETAIL = "the response cannot be stored"
"""The beginning of a request's detail if Postgres does not take the response."""
LOOKUP_SCHEDULED_DETAIL = "a lookup is scheduled"
"""The end of an unknown request's detail while it is looked up at the provider; see `record_outcomes` in SQL."""


class RequestStatus(StrEnum):
    """The status of a request. The outcome of an `ACCEPTED` request is that of its jobs."""

    QUEUED = "queued"
    SENDING = "sending"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    REJECTED = "rejected"
    FAILED = "failed"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"

    @property
    def was_accepted(self) -> bool:
        """Whether the provider accepted the request."""
        return self in {RequestStatus.ACCEPTED, RequestStatus.COMPLETED}


class OnAmbiguous(StrEnum):
    """What to do without a response when the provider may have acted on the request."""

    HOLD = "hold"
    RETRY = "retry"


class PauseCause(StrEnum):
    """Why a provider is paused: it refused the credentials or the account, or an operator paused it."""

    CREDENTIALS = "credentials"
    OPERATOR = "operator"


@record(frozen=True, slots=True)
class Attempt:
    """One exchange that is about to begin. `failures` and `ambiguous` describe the previous attempts.

    `started_at` and `deadline_at` are UTC. `notify`: the request's client wants notifications, by default of the
    request's end, else of the `notify_events`. `overdue` is how many seconds before `started_at` the request became
    due. `traceparent` is that of the request, see `receiver.domain.tracing`.
    """

    id: UUID
    request_id: UUID
    provider: str
    operation: str
    payload: Mapping[str, Any]
    failures: int
    ambiguous: bool
    deadline_at: datetime
    started_at: datetime
    notify: bool = False
    notify_events: Sequence[str] | None = None
    overdue: float = 0.0
    traceparent: str | None = None


@record(frozen=True, slots=True)
class Response:
    """A provider's HTTP response; header names are lower-case, the body is decompressed and cut at the client's limit.

    `problem` is why the body is not what the provider meant to send: it was cut, or its encoding cannot be read.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class NoResponse:
    """The exchange ended without a response. `sent` is False only if the request certainly never arrived."""

    error: str
    sent: bool


@dataclass(frozen=True, slots=True)
class NotSent:
    """The exchange did not begin, for a reason on our side, or only showed that our access token is no longer valid.

    The provider did nothing, and it does not count as an attempt. `permanent`: the exchange can never begin. `refusal`
    is why no exchange can begin with our credentials, if an authorization server refused them.
    """

    error: str
    permanent: bool = False
    refusal: str | None = None


Outcome = Response | NoResponse | NotSent
"""How an exchange ended."""


class ItemStatus(Enum):
    """The status of one item in a response."""

    ACCEPTED = "accepted; the final status follows later"
    SUCCEEDED = "already done"
    REJECTED = "rejected"
    RETRY = "try again later"
    UNKNOWN = "a code that is not in the provider's map"


@record(frozen=True, slots=True)
class ResponseItem:
    """One item of a response; without a `reference` it cannot be followed up. `location` is the job's own status URL.

    `job` is the status of the job if the response contains more than `item_status` says. `problem` is what the
    response lacks, such as the reference. `uses_request_id`: the provider knows the job by the id of the request.
    """

    item_status: ItemStatus
    reference: str | None = None
    provider_status: str | None = None
    code: str | None = None
    detail: str | None = None
    location: str | None = None
    job: JobStatus | None = None
    problem: str | None = None
    uses_request_id: bool = False


@record(frozen=True, slots=True)
class ParsedResponse:
    """The items in a response's body, or the `problem` that prevented parsing it."""

    items: tuple[ResponseItem, ...] = ()
    problem: str | None = None

    def explain(self, response: Response) -> "ParsedResponse":
        """Return the same items; a problem is that of the response itself, if it has one."""
        return replace(self, problem=response.problem) if self.problem and response.problem else self

    def bind(self, request_id: UUID) -> "ParsedResponse":
        """Return the response to the request with this id: the id is the reference of items that use it."""
        if not any(item.uses_request_id for item in self.items):
            return self
        reference = str(request_id)
        return replace(
            self,
            items=tuple(replace(item, reference=reference) if item.uses_request_id else item for item in self.items),
        )


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How requests to a provider are retried; `status_codes` override the classes of statuses."""

    retry: RetryPolicy
    on_ambiguous: OnAmbiguous
    status_codes: Mapping[int, ResponseClass] = field(default_factory=dict)


@record(frozen=True, slots=True)
class Decision:
    """The new status of a request and what follows from it.

    `retry_in`, in seconds, is set exactly if the request goes back to the queue. `counts_as_attempt`: the attempt
    counts against the retry policy. `ambiguous`: the provider may have acted on the attempt. `pause` is the reason to
    pause the provider. `poll_after` is the delay in seconds that the provider asked for.
    """

    status: RequestStatus
    detail: str | None = None
    retry_in: float | None = None
    counts_as_attempt: bool = True
    ambiguous: bool = False
    pause: str | None = None
    reports: tuple[StatusReport, ...] = field(default=())
    poll_after: float | None = None
    location: str | None = None
