"""What becomes of a request in doubt once its provider was asked about it: every kind of answer, no I/O."""

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
from tests.factories import NOON

LOOKING = LookupPolicy(first_after=60.0, max_interval=600.0, give_up_after=3_600.0)
RETRYING = replace(LOOKING, not_found=NotFoundMeaning.RETRY)
POLICY = RetryRules(RetryPolicy(attempts=3), OnAmbiguous.HOLD)
ABSENT = ParsedResponse()


def unknown_request(asked: int = 1, not_found: int = 0, failures: int = 1, since: float = 60.0) -> UnknownRequest:
    """Give a request that has been in doubt for so many seconds."""
    return UnknownRequest(
        id=uuid4(),
        provider="acme",
        operation="render",
        payload={},
        failures=failures,
        lookup_count=asked,
        not_found=not_found,
        unknown_since=NOON - timedelta(seconds=since),
        deadline_at=NOON + timedelta(hours=1),
        at=NOON,
    )


def settled(
    parsed: ParsedResponse,
    about: UnknownRequest | None = None,
    lookup_policy: LookupPolicy = LOOKING,
    wait: float = 0.0,
) -> LookupResult:
    return decide_lookup(about or unknown_request(), lookup_policy, POLICY, parsed, jitter=1.0, wait=wait)


def found(*item_statuses: ItemStatus, reference: str | None = "r") -> ParsedResponse:
    named = (reference and f"{reference}{number}" for number in range(len(item_statuses)))
    return ParsedResponse(tuple(ResponseItem(one, name) for one, name in zip(item_statuses, named, strict=True)))


@pytest.mark.parametrize(
    ("parsed", "status", "jobs"),
    [
        (found(ItemStatus.ACCEPTED), "accepted", ["accepted"]),
        (found(ItemStatus.SUCCEEDED), "completed", ["succeeded"]),
        (found(ItemStatus.ACCEPTED, ItemStatus.REFUSED), "accepted", ["accepted", "failed"]),
        (found(ItemStatus.SUCCEEDED, ItemStatus.ACCEPTED), "accepted", ["succeeded", "accepted"]),
        (found(ItemStatus.REFUSED), "rejected", ["failed"]),
        (found(ItemStatus.REFUSED, reference=None), "rejected", []),
    ],
)
def test_what_the_provider_knows_settles_it(parsed: ParsedResponse, status: str, jobs: list[str]) -> None:
    verdict = settled(parsed)
    assert (verdict.status, verdict.next_in, verdict.absent) == (status, None, False)
    assert [report.status for report in verdict.reports] == jobs
    assert "the provider knows this request" in (verdict.detail or "")


def test_a_job_that_failed_was_taken_all_the_same() -> None:
    verdict = settled(ParsedResponse((ResponseItem(ItemStatus.ACCEPTED, "r", job=JobStatus.FAILED),)))
    assert verdict.status is RequestStatus.ACCEPTED
    assert [report.status for report in verdict.reports] == [JobStatus.FAILED]


@pytest.mark.parametrize(
    "parsed",
    [
        found(ItemStatus.UNKNOWN),
        found(ItemStatus.RETRY),
        found(ItemStatus.RETRY, ItemStatus.REFUSED),
        found(ItemStatus.UNKNOWN, ItemStatus.SUCCEEDED),
        found(ItemStatus.ACCEPTED, reference=None),
        ParsedResponse(problem="it answered 500"),
        ABSENT,
    ],
)
def test_what_tells_no_outcome_leaves_the_doubt_and_it_is_asked_again(parsed: ParsedResponse) -> None:
    verdict = settled(parsed)
    assert verdict == LookupResult(RequestStatus.UNKNOWN, None, next_in=120.0, absent=parsed is ABSENT)


def test_what_is_not_found_for_long_enough_never_arrived_where_the_settings_say_so() -> None:
    first = settled(ABSENT, unknown_request(not_found=0), RETRYING)
    assert (first.status, first.absent) == (RequestStatus.UNKNOWN, True)
    second = settled(ABSENT, unknown_request(not_found=1), RETRYING)
    assert second == LookupResult(
        RequestStatus.QUEUED, "not found in 2 lookups, so the request never arrived", absent=True
    )
    assert settled(ABSENT, unknown_request(not_found=50)).status is RequestStatus.UNKNOWN
    at_once = replace(RETRYING, not_found_after=1)
    assert settled(ABSENT, unknown_request(), at_once).status is RequestStatus.QUEUED


@pytest.mark.parametrize("failures", [3, 4])
def test_what_never_arrived_is_not_sent_again_once_its_attempts_are_used_up(failures: int) -> None:
    verdict = settled(ABSENT, unknown_request(not_found=1, failures=failures), RETRYING)
    assert verdict.status is RequestStatus.FAILED
    assert "attempts used up" in (verdict.detail or "")


def test_what_never_arrived_is_not_sent_again_after_its_deadline() -> None:
    late = replace(unknown_request(not_found=1), deadline_at=NOON)
    verdict = settled(ABSENT, late, RETRYING)
    assert verdict.status is RequestStatus.FAILED
    assert "deadline passed" in (verdict.detail or "")


def test_a_provider_that_says_nothing_is_given_up_in_the_end_and_the_doubt_stays() -> None:
    verdict = settled(ParsedResponse(problem="it answered 500"), unknown_request(since=3_600.0))
    assert verdict == LookupResult(
        RequestStatus.UNKNOWN, "gave up looking the request up after 3600 s; last: it answered 500", next_in=None
    )


def test_what_the_provider_asks_to_wait_is_waited() -> None:
    assert settled(ABSENT, wait=500.0).next_in == 500.0
    assert settled(ABSENT, unknown_request(since=3_500.0), wait=500.0).next_in == 100.0


def test_what_cannot_be_asked_about_is_asked_no_more() -> None:
    verdict = reject_lookup("its payload has no client_reference")
    assert (verdict.status, verdict.next_in) == (RequestStatus.UNKNOWN, None)
    assert "client_reference" in (verdict.detail or "")


readings = st.one_of(
    st.builds(ParsedResponse, problem=st.text(min_size=1)),
    st.builds(
        ParsedResponse,
        st.lists(st.builds(ResponseItem, st.sampled_from(ItemStatus), st.none() | st.text(min_size=1)), max_size=3).map(
            tuple
        ),
    ),
)


@given(parsed=readings, not_found=st.integers(0, 5), failures=st.integers(0, 5), since=st.floats(0, 4_000))
def test_only_a_word_of_the_provider_settles_a_doubt(
    parsed: ParsedResponse, not_found: int, failures: int, since: float
) -> None:
    about = unknown_request(not_found=not_found, failures=failures, since=since)
    verdict = settled(parsed, about)
    if not parsed.items:
        assert verdict.status is RequestStatus.UNKNOWN
    if verdict.status is RequestStatus.UNKNOWN:
        assert not verdict.reports
        assert (verdict.next_in is None) == (since >= LOOKING.give_up_after)
    if verdict.status is RequestStatus.ACCEPTED:
        assert verdict.reports
