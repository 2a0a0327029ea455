"""What follows from the lookup of an unknown request, for every kind of response; no I/O."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.backoff import RetryPolicy
from receiver.domain.jobs import JobStatus
from receiver.domain.sending import ItemStatus, OnAmbiguous, ParsedResponse, RequestStatus, ResponseItem, RetryRules
from receiver.domain.unknown_requests import (
    LookupPolicy,
    LookupResult,
    NotFoundMeaning,
    UnknownRequest,
    decide_lookup,
    reject_lookup,
)
from tests.support.factories import NOON

LOOKUP = LookupPolicy(first_after=60.0, max_interval=600.0, give_up_after=3_600.0)
RETRY_IF_NOT_FOUND = replace(LOOKUP, not_found=NotFoundMeaning.RETRY)
RETRY_RULES = RetryRules(RetryPolicy(attempts=3), OnAmbiguous.HOLD)
NOT_FOUND = ParsedResponse()


def unknown_request(
    lookup_count: int = 1, not_found: int = 0, failures: int = 1, since: float = 60.0
) -> UnknownRequest:
    """Build a request that has been unknown for `since` seconds."""
    return UnknownRequest(
        id=uuid4(),
        provider="acme",
        operation="render",
        payload={},
        failures=failures,
        lookup_count=lookup_count,
        not_found=not_found,
        unknown_since=NOON - timedelta(seconds=since),
        deadline_at=NOON + timedelta(hours=1),
        at=NOON,
    )


def decide(
    parsed: ParsedResponse,
    request: UnknownRequest | None = None,
    lookup_policy: LookupPolicy = LOOKUP,
    wait: float = 0.0,
) -> LookupResult:
    return decide_lookup(request or unknown_request(), lookup_policy, RETRY_RULES, parsed, jitter=1.0, wait=wait)


def build_response(*item_statuses: ItemStatus, reference: str | None = "r") -> ParsedResponse:
    references = (reference and f"{reference}{number}" for number in range(len(item_statuses)))
    return ParsedResponse(
        tuple(ResponseItem(status, item_ref) for status, item_ref in zip(item_statuses, references, strict=True))
    )


@pytest.mark.parametrize(
    ("parsed", "status", "jobs"),
    [
        (build_response(ItemStatus.ACCEPTED), "accepted", ["accepted"]),
        (build_response(ItemStatus.SUCCEEDED), "completed", ["succeeded"]),
        (build_response(ItemStatus.ACCEPTED, ItemStatus.REJECTED), "accepted", ["accepted", "failed"]),
        (build_response(ItemStatus.SUCCEEDED, ItemStatus.ACCEPTED), "accepted", ["succeeded", "accepted"]),
        (build_response(ItemStatus.REJECTED), "rejected", ["failed"]),
        (build_response(ItemStatus.REJECTED, reference=None), "rejected", []),
    ],
)
def test_items_settle_the_request(parsed: ParsedResponse, status: str, jobs: list[str]) -> None:
    result = decide(parsed)
    assert (result.status, result.next_in, result.absent) == (status, None, False)
    assert [report.status for report in result.reports] == jobs
    assert (result.detail or "").startswith("the provider knows this request")


def test_detail_of_items_is_that_of_the_result() -> None:
    parsed = ParsedResponse((ResponseItem(ItemStatus.REJECTED, "r", detail="no such number"),))
    assert decide(parsed).detail == "the provider knows this request; 1 × rejected, no such number"


def test_failed_job_still_accepts_the_request() -> None:
    result = decide(ParsedResponse((ResponseItem(ItemStatus.ACCEPTED, "r", job=JobStatus.FAILED),)))
    assert result.status is RequestStatus.ACCEPTED
    assert [report.status for report in result.reports] == [JobStatus.FAILED]


@pytest.mark.parametrize(
    "parsed",
    [
        build_response(ItemStatus.UNKNOWN),
        build_response(ItemStatus.RETRY),
        build_response(ItemStatus.RETRY, ItemStatus.REJECTED),
        build_response(ItemStatus.UNKNOWN, ItemStatus.SUCCEEDED),
        build_response(ItemStatus.ACCEPTED, reference=None),
        ParsedResponse(problem="HTTP 500"),
        NOT_FOUND,
    ],
)
def test_response_without_outcome_schedules_next_lookup(parsed: ParsedResponse) -> None:
    result = decide(parsed)
    assert result == LookupResult(RequestStatus.UNKNOWN, None, next_in=120.0, absent=parsed is NOT_FOUND)


def test_not_found_requeues_only_if_configured() -> None:
    first = decide(NOT_FOUND, unknown_request(not_found=0), RETRY_IF_NOT_FOUND)
    assert (first.status, first.absent) == (RequestStatus.UNKNOWN, True)
    second = decide(NOT_FOUND, unknown_request(not_found=1), RETRY_IF_NOT_FOUND)
    assert second == LookupResult(
        RequestStatus.QUEUED, "not found in 2 lookups, so the request never arrived", absent=True
    )
    assert decide(NOT_FOUND, unknown_request(not_found=50)).status is RequestStatus.UNKNOWN
    at_once = replace(RETRY_IF_NOT_FOUND, not_found_after=1)
    assert decide(NOT_FOUND, unknown_request(), at_once) == LookupResult(
        RequestStatus.QUEUED, "not found in 1 lookup, so the request never arrived", absent=True
    )


@pytest.mark.parametrize("failures", [3, 4])
def test_not_found_without_attempts_left_fails(failures: int) -> None:
    result = decide(NOT_FOUND, unknown_request(not_found=1, failures=failures), RETRY_IF_NOT_FOUND)
    detail = "not found in 2 lookups, so the request never arrived; attempts used up"
    assert result == LookupResult(RequestStatus.FAILED, detail, absent=True)


def test_not_found_after_deadline_fails() -> None:
    late = replace(unknown_request(not_found=1), deadline_at=NOON)
    result = decide(NOT_FOUND, late, RETRY_IF_NOT_FOUND)
    detail = "not found in 2 lookups, so the request never arrived; deadline passed"
    assert result == LookupResult(RequestStatus.FAILED, detail, absent=True)


@pytest.mark.parametrize(
    ("parsed", "last"),
    [
        (ParsedResponse(problem="HTTP 500"), "HTTP 500"),
        (build_response(ItemStatus.UNKNOWN), "the response contains no known outcome"),
        (NOT_FOUND, "the provider does not know this request"),
    ],
)
def test_lookups_end_after_give_up_time_as_unknown(parsed: ParsedResponse, last: str) -> None:
    result = decide(parsed, unknown_request(since=3_600.0))
    detail = f"gave up looking the request up after 3600 s; last: {last}"
    assert result == LookupResult(RequestStatus.UNKNOWN, detail, next_in=None, absent=parsed is NOT_FOUND)
    assert decide(parsed, unknown_request(since=3_599.5)).next_in == 0.5


@pytest.mark.parametrize("parsed", [NOT_FOUND, ParsedResponse(problem="HTTP 429"), build_response(ItemStatus.RETRY)])
def test_retry_after_delays_next_lookup(parsed: ParsedResponse) -> None:
    assert decide(parsed, wait=500.0).next_in == 500.0
    assert decide(parsed, unknown_request(since=3_500.0), wait=500.0).next_in == 100.0
    assert decide(parsed, lookup_policy=replace(LOOKUP, first_after=0.25), wait=0.0).next_in == 0.5


def test_rejected_lookup_is_not_repeated() -> None:
    result = reject_lookup("its payload has no client_reference")
    assert (result.status, result.next_in) == (RequestStatus.UNKNOWN, None)
    assert "client_reference" in (result.detail or "")


parsed_responses = st.one_of(
    st.builds(ParsedResponse, problem=st.text(min_size=1)),
    st.builds(
        ParsedResponse,
        st.lists(st.builds(ResponseItem, st.sampled_from(ItemStatus), st.none() | st.text(min_size=1)), max_size=3).map(
            tuple
        ),
    ),
)


@given(parsed=parsed_responses, not_found=st.integers(0, 5), failures=st.integers(0, 5), since=st.floats(0, 4_000))
def test_only_provider_data_settles_the_request(
    parsed: ParsedResponse, not_found: int, failures: int, since: float
) -> None:
    request = unknown_request(not_found=not_found, failures=failures, since=since)
    result = decide(parsed, request)
    if not parsed.items:
        assert result.status is RequestStatus.UNKNOWN
    if result.status is RequestStatus.UNKNOWN:
        assert not result.reports
        assert (result.next_in is None) == (since >= LOOKUP.give_up_after)
    if result.status is RequestStatus.ACCEPTED:
        assert result.reports
