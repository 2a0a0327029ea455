"""What becomes of a request after one attempt to send it: the sending table as one pure decision.

The provider's description has already read the body into items; here the status line, the items, the retry policy and
the clock are weighed. Whatever may have been acted on is never sent again unless the provider's configuration says so,
and what nobody knows ends as `unknown`, not as a guess.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any
from uuid import UUID

from receiver.domain.backoff import RetryPolicy, parse_retry_after
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.responses import ResponseClass, find_status_rule

RETRY_UNSENT_AFTER_S = 0.25
"""Seconds after which what could not begin is tried again."""
REFERENCE_CONFLICT_DETAIL = "the provider answered with the reference of job"
"""How the detail of a request begins to tell that the job its answer named belongs to another request."""


class RequestStatus(StrEnum):
    """Where a request stands; once `ACCEPTED`, its jobs tell the rest."""

    QUEUED = "queued"
    SENDING = "sending"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    REJECTED = "rejected"
    FAILED = "failed"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"

    @property
    def is_taken(self) -> bool:
        """Whether the provider took it."""
        return self in {RequestStatus.ACCEPTED, RequestStatus.COMPLETED}


class OnAmbiguous(StrEnum):
    """What to do when no answer came and the request may have been acted on."""

    HOLD = "hold"
    RETRY = "retry"


class PauseCause(StrEnum):
    """Why nothing is sent to a provider: it refused our credentials, or an operator said so."""

    CREDENTIALS = "credentials"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One exchange about to happen. `failures` and `ambiguous` tell of the attempts before this one.

    `started_at` is UTC; `notify` says that the request's client wants to be told of its end.
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


@dataclass(frozen=True, slots=True)
class Response:
    """What the provider answered; header names are lower-case, the body is raw and cut at the client's cap."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class NoResponse:
    """The exchange ended without an answer. `sent` is False only when the request certainly never arrived."""

    error: str
    sent: bool


@dataclass(frozen=True, slots=True)
class NotSent:
    """The exchange was not begun, for a reason of ours; nothing was sent and nothing is burnt."""

    error: str


class ItemStatus(Enum):
    """What an answer says of one item in it."""

    ACCEPTED = "taken; the final word comes later"
    SUCCEEDED = "taken and already done"
    REFUSED = "refused for good"
    RETRY = "not now; ask again later"
    UNKNOWN = "a code that is not in the provider's map"


@dataclass(frozen=True, slots=True)
class ResponseItem:
    """One item of an answer; without a `reference` nothing can be followed up. `location` is its own status URL.

    `job` is the status of the job, where the answer tells more of it than the disposition does.
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
    """What the provider's description read in an answer's body, or the `problem` that kept it from reading."""

    items: tuple[ResponseItem, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How a provider wants to be retried."""

    retry: RetryPolicy
    on_ambiguous: OnAmbiguous


@dataclass(frozen=True, slots=True)
class Decision:
    """Where the request stands now, and what follows.

    `retry_in`, in seconds, is set exactly when the request goes back to the queue. `counts_as_attempt` says whether
    the attempt counts against the retry policy, `ambiguous` whether the provider may have acted on it without our
    knowing. `pause` is the reason to stop sending to this provider. `poll_after` is the delay in seconds that the
    provider asked for.
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
    """An attempt to judge: with it, how the provider wants to be retried, and chance and time from outside.

    `now` is UTC, when the outcome was known; `jitter`, drawn evenly from 0 to 1, spreads retries.
    """

    attempt: Attempt
    retry_rules: RetryRules
    now: datetime
    jitter: float

    def decide(self, outcome: Response | NoResponse | NotSent, parsed: ParsedResponse) -> Decision:
        """Judge the attempt by the sending table.

        Args:
            outcome: the provider's answer, or how the exchange ended without one.
            parsed: what the answer's body says, as the provider's description reads it.
        """
        if isinstance(outcome, Response):
            return self._answered(outcome, parsed)
        if isinstance(outcome, NotSent):
            return Decision(
                RequestStatus.QUEUED, detail=outcome.error, retry_in=RETRY_UNSENT_AFTER_S, counts_as_attempt=False
            )
        if outcome.sent:
            return self._nobody_knows(f"no answer: {outcome.error}")
        return self._again(f"not sent: {outcome.error}")

    def lost(self) -> Decision:
        """Judge an attempt whose worker died before it could tell: nobody knows whether the bytes left."""
        return self._nobody_knows("the worker was lost during the attempt")

    def _answered(self, response: Response, parsed: ParsedResponse) -> Decision:
        row = find_status_rule(response.status)
        said = f"{response.status}: {row.advice}"
        wait = parse_retry_after(response.headers.get("retry-after"), self.now)
        match row.meaning:
            case ResponseClass.DONE:
                return Decision(RequestStatus.COMPLETED)
            case ResponseClass.REFUSED:
                told = _summary(parsed.items)
                return Decision(RequestStatus.REJECTED, detail=f"{said} {told}" if told else said)
            case ResponseClass.CREDENTIALS:
                return Decision(RequestStatus.QUEUED, detail=said, retry_in=0.0, counts_as_attempt=False, pause=said)
            case ResponseClass.SLOW_DOWN | ResponseClass.THEIR_FAULT:
                return self._again(said, wait)
            case ResponseClass.NOBODY_KNOWS:
                return self._nobody_knows(said, wait)
            case ResponseClass.DUPLICATE:
                return self._duplicate(parsed, said)
            case ResponseClass.READ_BODY | ResponseClass.ACCEPTED:
                return self._itemised(parsed, said, wait, response.headers.get("location"))

    def _again(self, said: str, wait: float | None = None, *, sent: bool = False) -> Decision:
        retry = self.retry_rules.retry
        failures = self.attempt.failures + 1
        retry_in = retry.delay(failures, self.jitter) if wait is None else wait
        if failures < retry.attempts and self.now + timedelta(seconds=retry_in) <= self.attempt.deadline_at:
            return Decision(RequestStatus.QUEUED, detail=said, retry_in=retry_in, ambiguous=sent)
        used_up = "attempts" if failures >= retry.attempts else "deadline"
        status = RequestStatus.UNKNOWN if sent or self.attempt.ambiguous else RequestStatus.FAILED
        return Decision(status, detail=f"{used_up} used up; last: {said}", ambiguous=sent)

    def _nobody_knows(self, said: str, wait: float | None = None) -> Decision:
        if self.retry_rules.on_ambiguous is OnAmbiguous.RETRY:
            return self._again(said, wait, sent=True)
        return Decision(RequestStatus.UNKNOWN, detail=said, ambiguous=True)

    def _duplicate(self, parsed: ParsedResponse, said: str) -> Decision:
        if not self.attempt.ambiguous:
            return Decision(RequestStatus.REJECTED, detail=said)
        if any(item.reference for item in parsed.items):
            return decide_by_items(tuple(_followed(item) for item in parsed.items))
        return Decision(
            RequestStatus.UNKNOWN, detail=f"an earlier attempt was taken, under an unknown reference; {said}"
        )

    def _itemised(self, parsed: ParsedResponse, said: str, wait: float | None, location: str | None) -> Decision:
        if not parsed.items:
            return self._nobody_knows(f"{said} But {parsed.problem or 'the response names no item'}.", wait)
        item_statuses = {item.item_status for item in parsed.items}
        if ItemStatus.RETRY in item_statuses and item_statuses <= {ItemStatus.RETRY, ItemStatus.REFUSED}:
            return self._again(_summary(parsed.items) or said, wait)
        return decide_by_items(parsed.items, wait, location)


def _followed(item: ResponseItem) -> ResponseItem:
    """Read an item of a duplicate's answer: its code refuses the repetition, not the job that its reference names."""
    if not item.reference or item.item_status is ItemStatus.SUCCEEDED:
        return item
    return replace(item, item_status=ItemStatus.ACCEPTED)


def decide_by_items(
    items: tuple[ResponseItem, ...], poll_after: float | None = None, location: str | None = None
) -> Decision:
    """Give what becomes of a request by its items, none of which is to be sent again."""
    item_statuses = {item.item_status for item in items}
    if any(item.item_status is ItemStatus.ACCEPTED and item.reference for item in items):
        status = RequestStatus.ACCEPTED
    elif item_statuses & {ItemStatus.UNKNOWN, ItemStatus.ACCEPTED}:
        status = RequestStatus.UNKNOWN
    elif ItemStatus.SUCCEEDED in item_statuses:
        status = RequestStatus.COMPLETED
    else:
        status = RequestStatus.REJECTED
    reports = tuple(_report(item) for item in items if item.reference and item.item_status is not ItemStatus.UNKNOWN)
    # One Location names the status of one job; with several it could not be told whose.
    location = location if len(reports) == 1 else None
    return Decision(status, _summary(items), reports=reports, poll_after=poll_after, location=location)


_JOB_STATUS = {
    ItemStatus.ACCEPTED: JobStatus.ACCEPTED,
    ItemStatus.SUCCEEDED: JobStatus.SUCCEEDED,
    ItemStatus.REFUSED: JobStatus.FAILED,
    ItemStatus.RETRY: JobStatus.FAILED,
}


def _report(item: ResponseItem) -> StatusReport:
    return StatusReport(
        reference=item.reference or "",
        status=item.job or _JOB_STATUS[item.item_status],
        provider_status=item.provider_status,
        code=item.code,
        detail=item.detail,
        location=item.location,
    )


def _summary(items: Iterable[ResponseItem]) -> str | None:
    """Tell of the items that were neither accepted nor done, or of accepted ones that cannot be followed."""
    told: dict[str, int] = {}
    for item in items:
        if item.item_status is ItemStatus.SUCCEEDED or (item.item_status is ItemStatus.ACCEPTED and item.reference):
            continue
        words = [item.item_status.value, item.code, item.detail]
        if item.item_status is ItemStatus.ACCEPTED:
            words = ["taken, but without a reference", item.code]
        text = ", ".join(word for word in words if word)
        told[text] = told.get(text, 0) + 1
    return "; ".join(f"{count} × {text}" for text, count in told.items()) or None
