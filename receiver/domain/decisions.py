"""The state of a request after one attempt: the sending table as a pure decision.

The provider's description has already parsed the body into items; this module decides by the status line, the items,
the retry policy and the time. A request that the provider may have acted on is never sent again unless the provider's
configuration allows it, and an ambiguous outcome ends as `unknown`, never as a guess.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from receiver.domain.backoff import parse_retry_after
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.messages import add_message
from receiver.domain.records import record
from receiver.domain.responses import ResponseClass, find_status_rule
from receiver.domain.sending import (
    RETRY_UNSENT_AFTER_S,
    Attempt,
    Decision,
    ItemStatus,
    NotSent,
    OnAmbiguous,
    Outcome,
    ParsedResponse,
    RequestStatus,
    Response,
    ResponseItem,
    RetryRules,
)

LAST_RETRY_BEFORE_DEADLINE_S = 2.0
"""Seconds before its deadline at which a request is sent for the last time if its next attempt would be later."""
NO_RESPONSE = "no response: "
WORKER_LOST = "the worker was lost during the attempt"
DUPLICATE_OF_UNKNOWN = "an earlier attempt was accepted under an unknown reference"
ACCEPTED_WITHOUT = "accepted, but "
NO_CODE = "neither accepted nor rejected"
UNREADABLE_CODES = (ItemStatus.UNKNOWN.value, NO_CODE, "no code")
"""Parts of details, by which `receiver.domain.unknown_explanations` knows why a request is unknown."""


@record(frozen=True, slots=True)
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
                RequestStatus.QUEUED,
                detail=outcome.error,
                retry_in=RETRY_UNSENT_AFTER_S,
                counts_as_attempt=False,
                pause=outcome.refusal,
            )
        if outcome.sent:
            return self._decide_ambiguous(f"{NO_RESPONSE}{outcome.error}")
        return self._retry(f"not sent: {outcome.error}")

    def on_worker_lost(self) -> Decision:
        """Decide about an attempt whose worker died during it: the request may or may not have been sent."""
        return self._decide_ambiguous(WORKER_LOST)

    def _decide_by_response(self, response: Response, parsed: ParsedResponse) -> Decision:
        rule = find_status_rule(response.status, self.retry_rules.status_codes)
        detail = f"{response.status}: {rule.advice}"
        wait = parse_retry_after(response.headers, self.now) or 0.0
        match rule.response_class:
            case ResponseClass.DONE:
                return Decision(RequestStatus.COMPLETED)
            case ResponseClass.READ_BODY | ResponseClass.ACCEPTED:
                return self._decide_by_body(response, parsed, detail, wait)
        failed_items = [item for item in parsed.items if _explains_failure(item)]
        detail = _explain(" ".join(filter(None, [detail, _summarize(failed_items)])), response, failed_items)
        match rule.response_class:
            case ResponseClass.REJECTED:
                return Decision(RequestStatus.REJECTED, detail=detail)
            case ResponseClass.PAUSE:
                return Decision(
                    RequestStatus.QUEUED, detail=detail, retry_in=0.0, counts_as_attempt=False, pause=detail
                )
            case ResponseClass.AMBIGUOUS:
                return self._decide_ambiguous(detail, wait)
            case ResponseClass.DUPLICATE:
                return self._decide_duplicate(parsed, detail)
            case _:
                return self._retry(detail, wait)

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
        return Decision(RequestStatus.UNKNOWN, detail=f"{DUPLICATE_OF_UNKNOWN}; {detail}")

    def _decide_by_body(self, response: Response, parsed: ParsedResponse, detail: str, wait: float) -> Decision:
        if not parsed.items:
            problem = f"{detail} But {parsed.problem or 'the response contains no item'}."
            return self._decide_ambiguous(_explain(problem, response), wait)
        item_statuses = {item.item_status for item in parsed.items}
        if ItemStatus.RETRY in item_statuses and item_statuses <= {ItemStatus.RETRY, ItemStatus.REJECTED}:
            return self._retry(_explain(_summarize(parsed.items) or detail, response, parsed.items), wait)
        decision = decide_by_items(parsed.items, wait or None, response.headers.get("location"))
        if decision.status.was_accepted:
            return decision
        return replace(decision, detail=_explain(decision.detail or detail, response, parsed.items))


def _explains_failure(item: ResponseItem) -> bool:
    """Return whether an item says why it was not accepted."""
    return item.item_status is not ItemStatus.ACCEPTED and bool(item.code or item.detail)


def _explain(detail: str, response: Response, items: Iterable[ResponseItem] = ()) -> str:
    """Return a detail with what the provider says in a response besides the codes and details of these items."""
    if response.problem:
        return detail if response.problem in detail else f"{detail.removesuffix('.')}. But {response.problem}."
    quotes_json = not any(map(_explains_failure, items))
    return add_message(detail, response.headers, response.body, quotes_json=quotes_json)


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
        meaning = item.item_status.value
        if item.item_status is ItemStatus.ACCEPTED:
            meaning = f"{ACCEPTED_WITHOUT}{item.problem or 'without a reference'}"
        elif item.item_status is ItemStatus.UNKNOWN and not item.code:
            meaning = item.problem or NO_CODE
        text = ", ".join(filter(None, [meaning, item.code, item.detail]))
        counts[text] = counts.get(text, 0) + 1
    return "; ".join(f"{count} × {text}" for text, count in counts.items()) or None
