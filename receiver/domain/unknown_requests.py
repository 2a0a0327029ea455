"""What becomes of a request in doubt once its provider was asked about it by our own reference.

The provider's description has read the answer into items, as it reads the answer to a request; here it is weighed.
Only what the provider says settles a request. What it does not know is sent again only where the configuration says
that this means that it never arrived.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from receiver.domain.backoff import compute_poll_interval
from receiver.domain.jobs import StatusReport
from receiver.domain.sending import ItemStatus, ParsedResponse, RequestStatus, RetryRules, decide_by_items


class NotFoundMeaning(StrEnum):
    """What it means that a provider does not know a request: nothing, or that it never arrived."""

    UNKNOWN = "unknown"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class LookupPolicy:
    """When a provider is asked about unknown requests, in seconds, and what it means that it does not know one.

    It means so once the provider has said it `not_found_after` times.
    """

    first_after: float
    max_interval: float
    give_up_after: float
    not_found: NotFoundMeaning = NotFoundMeaning.UNKNOWN
    not_found_after: int = 2


@dataclass(frozen=True, slots=True)
class UnknownRequest:
    """A request to ask its provider about, as of `at` by the database's clock; times are UTC.

    `asked` counts this time, `not_found` how often the provider did not know it before. `failures` are those attempts
    that count against the retry policy. `notify` says that its client wants to be told of its end.
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


@dataclass(frozen=True, slots=True)
class LookupResult:
    """Where a request stands after its provider was asked about it.

    While it stays unknown, `next_in` are the seconds until the next time, None for never again. `absent` says that the
    provider does not know it.
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
    """Judge what a provider said of a request in doubt.

    Args:
        unknown_request: the request.
        lookup_policy: how the provider is asked.
        retry_rules: how it wants to be retried.
        parsed: what it said: without items and without a problem, that it does not know the request.
        jitter: drawn evenly from 0 to 1, spreads the next time.
        wait: the seconds to wait that the provider asked for.
    """
    if parsed.items:
        return _found(parsed) or _again(
            unknown_request, lookup_policy, "the answer tells no outcome that we know", jitter, wait
        )
    if parsed.problem:
        return _again(unknown_request, lookup_policy, parsed.problem, jitter, wait)
    never_arrived = (
        lookup_policy.not_found is NotFoundMeaning.RETRY
        and unknown_request.not_found + 1 >= lookup_policy.not_found_after
    )
    if never_arrived:
        return _resent(unknown_request, retry_rules)
    return _again(unknown_request, lookup_policy, "the provider does not know it", jitter, wait, absent=True)


def reject_lookup(why: str) -> LookupResult:
    """Give the end of asking about a request that cannot be asked about."""
    return LookupResult(RequestStatus.UNKNOWN, detail=f"it cannot be asked about: {why}")


def _found(parsed: ParsedResponse) -> LookupResult | None:
    """Settle a request by its items; None while they tell no outcome."""
    if ItemStatus.RETRY in {item.item_status for item in parsed.items}:
        return None
    decision = decide_by_items(parsed.items)
    if decision.status is RequestStatus.UNKNOWN:
        return None
    detail = "; ".join(filter(None, ["the provider knows it", decision.detail]))
    return LookupResult(decision.status, detail, reports=decision.reports)


def _resent(unknown_request: UnknownRequest, retry_rules: RetryRules) -> LookupResult:
    times = unknown_request.not_found + 1
    said = f"the provider did not know it {times} time{'s' if times > 1 else ''}, so it never arrived"
    if unknown_request.failures >= retry_rules.retry.attempts:
        return LookupResult(RequestStatus.FAILED, f"{said}; attempts used up", absent=True)
    if unknown_request.at >= unknown_request.deadline_at:
        return LookupResult(RequestStatus.FAILED, f"{said}; deadline passed", absent=True)
    return LookupResult(RequestStatus.QUEUED, said, absent=True)


def _again(
    unknown_request: UnknownRequest,
    lookup_policy: LookupPolicy,
    said: str,
    jitter: float,
    wait: float | None,
    *,
    absent: bool = False,
) -> LookupResult:
    remaining = (
        unknown_request.unknown_since + timedelta(seconds=lookup_policy.give_up_after) - unknown_request.at
    ).total_seconds()
    if remaining <= 0:
        detail = f"given up asking after {lookup_policy.give_up_after:g} s; last: {said}"
        return LookupResult(RequestStatus.UNKNOWN, detail, absent=absent)
    interval = compute_poll_interval(
        lookup_policy.first_after, lookup_policy.max_interval, unknown_request.lookup_count, jitter
    )
    return LookupResult(RequestStatus.UNKNOWN, next_in=min(max(interval, wait or 0.0), remaining), absent=absent)
