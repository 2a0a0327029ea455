"""The state of a request after one attempt: the sending table as a pure decision.

The provider's description has already parsed the body into items; this module decides by the status line, the items,
the retry policy and the time. A request that the provider may have acted on is never sent again unless the provider's
configuration allows it, and an ambiguous outcome ends as `unknown`, never as a guess.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any
from uuid import UUID

from receiver.domain.backoff import RetryPolicy, parse_retry_after
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.responses import ResponseClass, find_status_rule

LOWEST_PRIORITY, HIGHEST_PRIORITY, DEFAULT_PRIORITY = 0, 9, 5
"""Of a provider's due requests, those with the highest priority are sent first."""
RETRY_UNSENT_AFTER_S = 0.25
"""Seconds until an exchange that could not begin is tried again."""
LAST_RETRY_BEFORE_DEADLINE_S = 2.0
"""Seconds before its deadline at which a request is sent for the last time if its next attempt would be later."""
REFERENCE_CONFLICT_DETAIL = "the provider responded with the reference of job"
"""The beginning of a request's detail if the job in its response belongs to another request."""


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


@dataclass(frozen=True, slots=True)
class Attempt:
    """One exchange that is about to begin. `failures` and `ambiguous` describe the previous attempts.

    `started_at` and `deadline_at` are UTC. `notify`: the request's client wants a notification. `overdue` is how many
    seconds before `started_at` the request became due.
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
    overdue: float = 0.0


@dataclass(frozen=True, slots=True)
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
    """The exchange did not begin, for a reason on our side; nothing was sent, and it does not count as an attempt.

    `permanent`: the exchange can never begin.
    """

    error: str
    permanent: bool = False


Outcome = Response | NoResponse | NotSent
"""How an exchange ended."""


class ItemStatus(Enum):
    """The status of one item in a response."""

    ACCEPTED = "accepted; the final status follows later"
    SUCCEEDED = "already done"
    REJECTED = "rejected"
    RETRY = "try again later"
    UNKNOWN = "a code that is not in the provider's map"


@dataclass(frozen=True, slots=True)
class ResponseItem:
    """One item of a response; without a `reference` it cannot be followed up. `location` is the job's own status URL.

    `job` is the status of the job if the response contains more than `item_status` says.
    """

    item_status: ItemStatus
    reference: str | None = None
    provider_status: str | None = None
    code: str | None = None
    detail: str | None = None
    location: str | None = None
    job: JobStatus | None = None


@dataclass(frozen=True, slots=True)
class ParsedResponse:
    """The items in a response's body, or the `problem` that prevented parsing it."""

    items: tuple[ResponseItem, ...] = ()
    problem: str | None = None

    def explain(self, response: Response) -> "ParsedResponse":
        """Return the same items; a problem is that of the response itself, if it has one."""
        return replace(self, problem=response.problem) if self.problem and response.problem else self


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How requests to a provider are retried; `status_codes` override the classes of statuses."""

    retry: RetryPolicy
    on_ambiguous: OnAmbiguous
    status_codes: Mapping[int, ResponseClass] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class RetryDecider:
    """Decides about a request after one attempt, by the provider's retry rules.

    `now` (UTC) is when the outcome was known; `jitter`, drawn evenly from 0 to 1, spreads retries.
    """

    attempt: Attempt
    retry_rules: RetryRules
    now: datetime
    jitter: float

    def decide(self, outcome: Outcome, parsed: ParsedResponse) -> Decision:
        """Decide by the sending table.

        Args:
            outcome: the provider's response, or how the exchange ended without one.
            parsed: the body of the response, as parsed by the provider's description.
        """
        if isinstance(outcome, Response):
            return self._decide_by_response(outcome, parsed)
        if isinstance(outcome, NotSent):
            return Decision(
                RequestStatus.QUEUED, detail=outcome.error, retry_in=RETRY_UNSENT_AFTER_S, counts_as_attempt=False
            )
        if outcome.sent:
            return self._decide_ambiguous(f"no response: {outcome.error}")
        return self._retry(f"not sent: {outcome.error}")

    def on_worker_lost(self) -> Decision:
        """Decide about an attempt whose worker died during it: the request may or may not have been sent."""
        return self._decide_ambiguous("the worker was lost during the attempt")

    def _decide_by_response(self, response: Response, parsed: ParsedResponse) -> Decision:
        rule = find_status_rule(response.status, self.retry_rules.status_codes)
        detail = f"{response.status}: {rule.advice}"
        wait = parse_retry_after(response.headers, self.now) or 0.0
        match rule.response_class:
            case ResponseClass.DONE:
                return Decision(RequestStatus.COMPLETED)
            case ResponseClass.REJECTED:
                summary = _summarize(parsed.items)
                return Decision(RequestStatus.REJECTED, detail=f"{detail} {summary}" if summary else detail)
            case ResponseClass.PAUSE:
                return Decision(
                    RequestStatus.QUEUED, detail=detail, retry_in=0.0, counts_as_attempt=False, pause=detail
                )
            case ResponseClass.RETRY | ResponseClass.SLOW_DOWN | ResponseClass.PROVIDER_ERROR:
                return self._retry(detail, wait)
            case ResponseClass.AMBIGUOUS:
                return self._decide_ambiguous(detail, wait)
            case ResponseClass.DUPLICATE:
                return self._decide_duplicate(parsed, detail)
            case ResponseClass.READ_BODY | ResponseClass.ACCEPTED:
                return self._decide_by_body(parsed, detail, wait, response.headers.get("location"))

    def _retry(self, detail: str, wait: float = 0.0, *, sent: bool = False) -> Decision:
        """Send the request again, unless its attempts or its deadline are used up.

        Args:
            detail: why.
            wait: the seconds to wait that the provider asks for, on top of which comes the backoff.
            sent: whether the provider may have acted on the attempt.
        """
        failures = self.attempt.failures + 1
        retry_in = self._compute_delay(failures, wait)
        request_to_wait = f"the provider asks to wait {wait:g} s" if wait else ""
        if failures < self.retry_rules.retry.attempts and retry_in is not None:
            detail = f"{detail} ({request_to_wait})" if wait else detail
            return Decision(RequestStatus.QUEUED, detail=detail, retry_in=retry_in, ambiguous=sent)
        limit = "attempts used up"
        if retry_in is None:
            limit = ": ".join(filter(None, ["deadline used up", request_to_wait]))
        # If any attempt may have been acted on, the request has not certainly failed.
        status = RequestStatus.UNKNOWN if sent or self.attempt.ambiguous else RequestStatus.FAILED
        return Decision(status, detail=f"{limit}; last: {detail}", ambiguous=sent)

    def _compute_delay(self, failures: int, wait: float) -> float | None:
        """Return the seconds until the next attempt; None if the deadline passes first.

        An attempt that would be later than the deadline takes place shortly before the deadline instead. Another one
        follows only if its whole delay fits into the time that is left then.
        """
        remaining = (self.attempt.deadline_at - self.now).total_seconds()
        delay = wait + self.retry_rules.retry.delay(failures, self.jitter)
        if remaining > LAST_RETRY_BEFORE_DEADLINE_S:
            return min(delay, remaining - LAST_RETRY_BEFORE_DEADLINE_S)
        return delay if delay < remaining else None

    def _decide_ambiguous(self, detail: str, wait: float = 0.0) -> Decision:
        if self.retry_rules.on_ambiguous is OnAmbiguous.RETRY:
            return self._retry(detail, wait, sent=True)
        return Decision(RequestStatus.UNKNOWN, detail=detail, ambiguous=True)

    def _decide_duplicate(self, parsed: ParsedResponse, detail: str) -> Decision:
        if not self.attempt.ambiguous:
            return Decision(RequestStatus.REJECTED, detail=detail)
        # An earlier attempt without a response was accepted after all: this duplicate is ours.
        if any(item.reference for item in parsed.items):
            return decide_by_items(tuple(_accept_duplicate(item) for item in parsed.items))
        return Decision(
            RequestStatus.UNKNOWN, detail=f"an earlier attempt was accepted under an unknown reference; {detail}"
        )

    def _decide_by_body(self, parsed: ParsedResponse, detail: str, wait: float, location: str | None) -> Decision:
        if not parsed.items:
            return self._decide_ambiguous(f"{detail} But {parsed.problem or 'the response contains no item'}.", wait)
        item_statuses = {item.item_status for item in parsed.items}
        if ItemStatus.RETRY in item_statuses and item_statuses <= {ItemStatus.RETRY, ItemStatus.REJECTED}:
            return self._retry(_summarize(parsed.items) or detail, wait)
        return decide_by_items(parsed.items, wait or None, location)


def _accept_duplicate(item: ResponseItem) -> ResponseItem:
    """Return an item of a duplicate's response as accepted.

    The item's code rejects the repetition, not the job that its reference names.
    """
    if not item.reference or item.item_status is ItemStatus.SUCCEEDED:
        return item
    return replace(item, item_status=ItemStatus.ACCEPTED)


def decide_by_items(
    items: tuple[ResponseItem, ...], poll_after: float | None = None, location: str | None = None
) -> Decision:
    """Decide about a request by the items of its response, none of which requires sending it again."""
    item_statuses = {item.item_status for item in items}
    if any(item.item_status is ItemStatus.ACCEPTED and item.reference for item in items):
        status = RequestStatus.ACCEPTED
    elif item_statuses & {ItemStatus.UNKNOWN, ItemStatus.ACCEPTED}:
        status = RequestStatus.UNKNOWN
    elif ItemStatus.SUCCEEDED in item_statuses:
        status = RequestStatus.COMPLETED
    else:
        status = RequestStatus.REJECTED
    reports = tuple(
        _build_report(item) for item in items if item.reference and item.item_status is not ItemStatus.UNKNOWN
    )
    # A `Location` is the status URL of one job; with several jobs it is not known which.
    location = location if len(reports) == 1 else None
    return Decision(status, _summarize(items), reports=reports, poll_after=poll_after, location=location)


_JOB_STATUS = {
    ItemStatus.ACCEPTED: JobStatus.ACCEPTED,
    ItemStatus.SUCCEEDED: JobStatus.SUCCEEDED,
    ItemStatus.REJECTED: JobStatus.FAILED,
    ItemStatus.RETRY: JobStatus.FAILED,
}


def _build_report(item: ResponseItem) -> StatusReport:
    return StatusReport(
        reference=item.reference or "",
        status=item.job or _JOB_STATUS[item.item_status],
        provider_status=item.provider_status,
        code=item.code,
        detail=item.detail,
        location=item.location,
    )


def _summarize(items: Iterable[ResponseItem]) -> str | None:
    """Summarize the items that were neither accepted nor done, and accepted items that cannot be followed up."""
    counts: dict[str, int] = {}
    for item in items:
        if item.item_status is ItemStatus.SUCCEEDED or (item.item_status is ItemStatus.ACCEPTED and item.reference):
            continue
        parts = [item.item_status.value, item.code, item.detail]
        if item.item_status is ItemStatus.ACCEPTED:
            parts = ["accepted, but without a reference", item.code]
        text = ", ".join(part for part in parts if part)
        counts[text] = counts.get(text, 0) + 1
    return "; ".join(f"{count} × {text}" for text, count in counts.items()) or None
