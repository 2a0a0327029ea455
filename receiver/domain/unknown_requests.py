"""Requests of status `unknown`: what follows from looking them up at their provider by our own reference.

The provider's description has already parsed the lookup's response into items, as it parses the response to a request;
this module decides. Only the provider's data settles a request. A request that the provider does not know is sent again
only if the configuration says that this means it never arrived.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from receiver.domain.backoff import compute_poll_interval
from receiver.domain.decisions import decide_by_items
from receiver.domain.jobs import StatusReport
from receiver.domain.plurals import format_count
from receiver.domain.sending import ItemStatus, ParsedResponse, RequestStatus, RetryRules


class NotFoundMeaning(StrEnum):
    """What it means if a provider does not know a request: nothing, or that the request never arrived."""

    UNKNOWN = "unknown"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class LookupPolicy:
    """When unknown requests are looked up, in seconds, and what it means if the provider does not know one.

    `not_found` applies after `not_found_after` lookups without a result.
    """

    first_after: float
    max_interval: float
    give_up_after: float
    not_found: NotFoundMeaning = NotFoundMeaning.UNKNOWN
    not_found_after: int = 2


@dataclass(frozen=True, slots=True)
class UnknownRequest:
    """A request to look up, as of `at` by the database's clock; times are UTC.

    `lookup_count` includes this lookup; `not_found` counts the previous lookups without a result. `failures` are the
    attempts that count against the retry policy. `notify` and `notify_events`: see `Attempt`.
    """

    id: UUID
    provider: str
    operation: str
    payload: Mapping[str, Any]
    failures: int
    lookup_count: int
    not_found: int
    unknown_since: datetime
    deadline_at: datetime
    at: datetime
    notify: bool = False
    notify_events: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The status of a request after a lookup.

    While the request stays unknown, `next_in` is the delay of the next lookup in seconds, None for no further lookup.
    `absent`: the provider does not know the request.
    """

    status: RequestStatus
    detail: str | None = None
    next_in: float | None = None
    absent: bool = False
    reports: tuple[StatusReport, ...] = ()


def decide_lookup(
    unknown_request: UnknownRequest,
    lookup_policy: LookupPolicy,
    retry_rules: RetryRules,
    parsed: ParsedResponse,
    *,
    jitter: float,
    wait: float | None = None,
) -> LookupResult:
    """Decide about an unknown request by the response to its lookup.

    Args:
        unknown_request: the request.
        lookup_policy: how the provider is asked.
        retry_rules: how requests to the provider are retried.
        parsed: the parsed response; without items and without a problem the provider does not know the request.
        jitter: drawn evenly from 0 to 1; spreads the next lookup.
        wait: the seconds to wait that the provider asked for.
    """
    if parsed.items:
        return _settle_by_items(parsed) or _schedule_next(
            unknown_request, lookup_policy, "the response contains no known outcome", jitter, wait
        )
    if parsed.problem:
        return _schedule_next(unknown_request, lookup_policy, parsed.problem, jitter, wait)
    never_arrived = (
        lookup_policy.not_found is NotFoundMeaning.RETRY
        and unknown_request.not_found + 1 >= lookup_policy.not_found_after
    )
    if never_arrived:
        return _send_again(unknown_request, retry_rules)
    return _schedule_next(
        unknown_request, lookup_policy, "the provider does not know this request", jitter, wait, absent=True
    )


def reject_lookup(reason: str) -> LookupResult:
    """Return the result for a request that cannot be looked up."""
    return LookupResult(RequestStatus.UNKNOWN, detail=f"the request cannot be looked up: {reason}")


def _settle_by_items(parsed: ParsedResponse) -> LookupResult | None:
    """Decide by the items of the response; None while they contain no outcome."""
    if ItemStatus.RETRY in {item.item_status for item in parsed.items}:
        return None
    decision = decide_by_items(parsed.items)
    if decision.status is RequestStatus.UNKNOWN:
        return None
    detail = "; ".join(filter(None, ["the provider knows this request", decision.detail]))
    return LookupResult(decision.status, detail, reports=decision.reports)


def _send_again(unknown_request: UnknownRequest, retry_rules: RetryRules) -> LookupResult:
    lookups = unknown_request.not_found + 1
    detail = f"not found in {format_count(lookups, 'lookup')}, so the request never arrived"
    if unknown_request.failures >= retry_rules.retry.attempts:
        return LookupResult(RequestStatus.FAILED, f"{detail}; attempts used up", absent=True)
    if unknown_request.at >= unknown_request.deadline_at:
        return LookupResult(RequestStatus.FAILED, f"{detail}; deadline passed", absent=True)
    return LookupResult(RequestStatus.QUEUED, detail, absent=True)


def _schedule_next(
    unknown_request: UnknownRequest,
    lookup_policy: LookupPolicy,
    detail: str,
    jitter: float,
    wait: float | None,
    *,
    absent: bool = False,
) -> LookupResult:
    remaining = (
        unknown_request.unknown_since + timedelta(seconds=lookup_policy.give_up_after) - unknown_request.at
    ).total_seconds()
    if remaining <= 0:
        last = f"gave up looking the request up after {lookup_policy.give_up_after:g} s; last: {detail}"
        return LookupResult(RequestStatus.UNKNOWN, last, absent=absent)
    interval = compute_poll_interval(
        lookup_policy.first_after, lookup_policy.max_interval, unknown_request.lookup_count, jitter
    )
    return LookupResult(RequestStatus.UNKNOWN, next_in=min(max(interval, wait or 0.0), remaining), absent=absent)
