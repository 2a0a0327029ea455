"""The sending table: what becomes of a request after one attempt, row by row, and what must hold for any answer."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.backoff import RetryPolicy
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.responses import find_status_rule
from receiver.domain.sending import (
    RETRY_UNSENT_AFTER_S,
    Decision,
    ItemStatus,
    NoResponse,
    NotSent,
    OnAmbiguous,
    ParsedResponse,
    RequestStatus,
    Response,
    ResponseItem,
    RetryDecider,
    RetryRules,
)
from tests.factories import NOON, attempt

HOLD, RETRY = OnAmbiguous.HOLD, OnAmbiguous.RETRY
POLICY = RetryPolicy(attempts=4, base=1.0, max=300.0)
LAST = POLICY.attempts - 1

ITEMISED = [200, 201, 202, 203, 206, 299]
REFUSED = [100, 301, 304, 400, 402, 403, 404, 405, 410, 422, 499]
SLOW_DOWN = [408, 425, 429]
PROVIDER_ERROR = [500, 501, 502, 503, 505, 523, 599]
AGAIN = SLOW_DOWN + PROVIDER_ERROR
RESET = NoResponse("connection reset", sent=True)
NO_ROUTE = NoResponse("cannot connect: no route", sent=False)

UNREADABLE = ParsedResponse(problem="the body cannot be read: not valid JSON")
TAKEN = ResponseItem(ItemStatus.ACCEPTED, "ref-1", "ACK", "1801", "Message received.")
DONE = ResponseItem(ItemStatus.SUCCEEDED, "ref-2", "ACK", "1800", "Delivered at once.")
WRONG = ResponseItem(ItemStatus.REFUSED, None, "NACK", "1806", "Invalid recipient.")
BUSY = ResponseItem(ItemStatus.RETRY, None, "NACK", "1899", "Busy.")
STRANGE = ResponseItem(ItemStatus.UNKNOWN, "ref-5", "NACK", "7777", "This code is not documented.")
NAMELESS = ResponseItem(ItemStatus.ACCEPTED, None, "ACK", "1801")


def case(
    on_ambiguous: OnAmbiguous = HOLD,
    *,
    jitter: float = 0.5,
    now: datetime = NOON,
    retry: RetryPolicy = POLICY,
    **of: Any,
) -> RetryDecider:
    """Give a first attempt to judge; `of` overrides the attempt."""
    return RetryDecider(attempt(**of), RetryRules(retry, on_ambiguous), now, jitter)


def answered(status: int, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def advice(status: int) -> str:
    return f"{status}: {find_status_rule(status).advice}"


@pytest.mark.parametrize("status", ITEMISED)
def test_a_success_with_accepted_items_is_accepted_and_followed_as_the_provider_asks(status: int) -> None:
    response = answered(status, retry_after="7", location="/v1/messages/ref-1")
    assert case().decide(response, ParsedResponse((TAKEN,))) == Decision(
        RequestStatus.ACCEPTED,
        reports=(StatusReport("ref-1", JobStatus.ACCEPTED, "ACK", "1801", "Message received."),),
        poll_after=7.0,
        location="/v1/messages/ref-1",
    )


@pytest.mark.parametrize(
    ("items", "status", "reports"),
    [
        ((TAKEN,), RequestStatus.ACCEPTED, {"ref-1": JobStatus.ACCEPTED}),
        ((DONE,), RequestStatus.COMPLETED, {"ref-2": JobStatus.SUCCEEDED}),
        ((DONE, TAKEN), RequestStatus.ACCEPTED, {"ref-2": JobStatus.SUCCEEDED, "ref-1": JobStatus.ACCEPTED}),
        ((TAKEN, WRONG), RequestStatus.ACCEPTED, {"ref-1": JobStatus.ACCEPTED}),
        ((TAKEN, BUSY), RequestStatus.ACCEPTED, {"ref-1": JobStatus.ACCEPTED}),
        ((TAKEN, STRANGE), RequestStatus.ACCEPTED, {"ref-1": JobStatus.ACCEPTED}),
        ((DONE, WRONG), RequestStatus.COMPLETED, {"ref-2": JobStatus.SUCCEEDED}),
        ((DONE, BUSY), RequestStatus.COMPLETED, {"ref-2": JobStatus.SUCCEEDED}),
        ((WRONG,), RequestStatus.REJECTED, {}),
        ((WRONG, WRONG), RequestStatus.REJECTED, {}),
        ((ResponseItem(ItemStatus.REFUSED, "ref-3"),), RequestStatus.REJECTED, {"ref-3": JobStatus.FAILED}),
        (
            (TAKEN, ResponseItem(ItemStatus.REFUSED, "ref-3")),
            RequestStatus.ACCEPTED,
            {"ref-1": JobStatus.ACCEPTED, "ref-3": JobStatus.FAILED},
        ),
        ((STRANGE,), RequestStatus.UNKNOWN, {}),
        ((STRANGE, WRONG), RequestStatus.UNKNOWN, {}),
        ((STRANGE, BUSY), RequestStatus.UNKNOWN, {}),
        ((STRANGE, DONE), RequestStatus.UNKNOWN, {"ref-2": JobStatus.SUCCEEDED}),
        ((NAMELESS,), RequestStatus.UNKNOWN, {}),
        ((NAMELESS, DONE), RequestStatus.UNKNOWN, {"ref-2": JobStatus.SUCCEEDED}),
        ((NAMELESS, TAKEN), RequestStatus.ACCEPTED, {"ref-1": JobStatus.ACCEPTED}),
        ((BUSY,), RequestStatus.QUEUED, {}),
        ((BUSY, WRONG), RequestStatus.QUEUED, {}),
    ],
)
@pytest.mark.parametrize("response", ITEMISED)
def test_the_items_of_a_success_decide(
    response: int, items: tuple[ResponseItem, ...], status: RequestStatus, reports: dict[str, JobStatus]
) -> None:
    decision = case().decide(answered(response), ParsedResponse(items))
    assert decision.status is status
    assert {report.reference: report.status for report in decision.reports} == reports
    assert not decision.ambiguous
    assert decision.counts_as_attempt


def test_what_was_not_accepted_is_counted_and_told() -> None:
    decision = case().decide(answered(200), ParsedResponse((TAKEN, WRONG, NAMELESS, WRONG, DONE)))
    assert decision.detail == (
        "2 × rejected, 1806, Invalid recipient.; 1 × accepted, but without a reference, 1801"
    )


@pytest.mark.parametrize(
    ("items", "location"),
    [
        ((TAKEN,), "/here"),
        ((DONE,), "/here"),
        ((TAKEN, WRONG), "/here"),
        ((TAKEN, DONE), None),
        ((WRONG,), None),
        ((STRANGE,), None),
    ],
)
def test_a_location_is_kept_only_for_an_answer_that_tells_of_one_job(
    items: tuple[ResponseItem, ...], location: str | None
) -> None:
    assert case().decide(answered(202, location="/here"), ParsedResponse(items)).location == location


@pytest.mark.parametrize(
    ("value", "poll_after"), [(None, None), ("30", 30.0), ("Mon, 23 Nov 2026 12:01:00 GMT", 60.0), ("soon", None)]
)
def test_retry_after_of_an_acceptance_feeds_the_poller(value: str | None, poll_after: float | None) -> None:
    response = answered(202, **({} if value is None else {"retry_after": value}))
    assert case().decide(response, ParsedResponse((TAKEN,))).poll_after == poll_after


@pytest.mark.parametrize("parsed", [ParsedResponse(), UNREADABLE, ParsedResponse((TAKEN,))])
def test_no_content_completes_the_request_whatever_its_body(parsed: ParsedResponse) -> None:
    assert case().decide(answered(204), parsed) == Decision(RequestStatus.COMPLETED)


def test_a_refusal_tells_the_advice_of_the_codes_in_its_body_too() -> None:
    decision = case().decide(answered(400), ParsedResponse((WRONG,)))
    assert decision.status is RequestStatus.REJECTED
    assert decision.detail is not None
    assert decision.detail.startswith("400: ")
    assert "1806, Invalid recipient." in decision.detail


@pytest.mark.parametrize("on_ambiguous", OnAmbiguous)
@pytest.mark.parametrize("status", REFUSED)
def test_a_refusal_is_final_and_told_with_the_advice_of_the_table(status: int, on_ambiguous: OnAmbiguous) -> None:
    decision = case(on_ambiguous).decide(answered(status, retry_after="5"), UNREADABLE)
    assert decision == Decision(RequestStatus.REJECTED, detail=advice(status))


@pytest.mark.parametrize("failures", [0, LAST, LAST + 5])
def test_wrong_credentials_pause_the_provider_and_burn_nothing(failures: int) -> None:
    decision = case(failures=failures).decide(answered(401), UNREADABLE)
    assert decision == Decision(
        RequestStatus.QUEUED, detail=advice(401), retry_in=0.0, counts_as_attempt=False, pause=advice(401)
    )


def test_a_duplicate_without_an_attempt_in_doubt_is_rejected() -> None:
    decision = case().decide(answered(409), ParsedResponse((TAKEN,)))
    assert decision == Decision(RequestStatus.REJECTED, detail=advice(409))


@pytest.mark.parametrize(
    "parsed", [ParsedResponse(), UNREADABLE, ParsedResponse((NAMELESS,)), ParsedResponse((WRONG,))]
)
def test_a_duplicate_after_an_attempt_in_doubt_was_taken_under_a_reference_nobody_knows(
    parsed: ParsedResponse,
) -> None:
    decision = case(RETRY, ambiguous=True).decide(answered(409), parsed)
    assert decision.status is RequestStatus.UNKNOWN
    assert decision.detail == f"an earlier attempt was accepted under an unknown reference; {advice(409)}"
    assert decision.reports == ()


@pytest.mark.parametrize("item_status", [d for d in ItemStatus if d is not ItemStatus.SUCCEEDED])
def test_a_duplicate_after_an_attempt_in_doubt_is_followed_by_the_reference_it_names(item_status: ItemStatus) -> None:
    item = ResponseItem(item_status, "ref-1", "NACK", "1810", "Duplicate.")
    decision = case(RETRY, ambiguous=True).decide(answered(409), ParsedResponse((item, WRONG)))
    assert decision.status is RequestStatus.ACCEPTED
    assert [(report.reference, report.status) for report in decision.reports] == [("ref-1", JobStatus.ACCEPTED)]


def test_a_duplicate_after_an_attempt_in_doubt_may_tell_that_it_is_done() -> None:
    decision = case(RETRY, ambiguous=True).decide(answered(409), ParsedResponse((DONE,)))
    assert decision.status is RequestStatus.COMPLETED
    assert [(report.reference, report.status) for report in decision.reports] == [("ref-2", JobStatus.SUCCEEDED)]


@pytest.mark.parametrize("failures", range(LAST))
@pytest.mark.parametrize("jitter", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("status", AGAIN)
def test_what_they_could_not_take_now_is_sent_again_after_backoff_with_full_jitter(
    status: int, jitter: float, failures: int
) -> None:
    decision = case(jitter=jitter, failures=failures).decide(answered(status), UNREADABLE)
    assert decision == Decision(RequestStatus.QUEUED, detail=advice(status), retry_in=jitter * 2.0**failures)


@pytest.mark.parametrize(
    ("value", "retry_in"),
    [("0", 0.0), ("90", 90.0), ("Mon, 23 Nov 2026 12:00:45 GMT", 45.0), ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0)],
)
@pytest.mark.parametrize("status", AGAIN)
def test_retry_after_goes_before_backoff(status: int, value: str, retry_in: float) -> None:
    assert case().decide(answered(status, retry_after=value), UNREADABLE).retry_in == retry_in


def test_an_unreadable_retry_after_leaves_it_to_backoff() -> None:
    assert case(jitter=1.0, failures=2).decide(answered(429, retry_after="soon"), UNREADABLE).retry_in == 4.0


@pytest.mark.parametrize("outcome", [*map(answered, AGAIN), NO_ROUTE])
def test_attempts_are_bounded(outcome: Response | NoResponse) -> None:
    decision = case(failures=LAST).decide(outcome, UNREADABLE)
    assert decision.status is RequestStatus.FAILED
    assert decision.detail is not None
    assert decision.detail.startswith("attempts used up; last: ")


def test_a_policy_of_one_attempt_sends_once() -> None:
    once = RetryPolicy(attempts=1)
    assert case(retry=once).decide(answered(503), UNREADABLE).status is RequestStatus.FAILED
    assert case(RETRY, retry=once).decide(RESET, ParsedResponse()).status is RequestStatus.UNKNOWN


@pytest.mark.parametrize("outcome", [answered(503, retry_after="61"), answered(429, retry_after="86400")])
def test_what_could_only_be_sent_after_the_deadline_fails_now(outcome: Response) -> None:
    decision = case(deadline_at=NOON + timedelta(seconds=60)).decide(outcome, UNREADABLE)
    assert decision == Decision(RequestStatus.FAILED, detail=f"deadline used up; last: {advice(outcome.status)}")


def test_the_deadline_itself_is_still_in_time() -> None:
    decision = case(deadline_at=NOON + timedelta(seconds=60)).decide(answered(503, retry_after="60"), UNREADABLE)
    assert decision.retry_in == 60.0


@pytest.mark.parametrize("outcome", [*map(answered, AGAIN), NO_ROUTE])
def test_used_up_after_an_attempt_in_doubt_is_unknown_and_not_failed(outcome: Response | NoResponse) -> None:
    assert case(RETRY, failures=LAST, ambiguous=True).decide(outcome, UNREADABLE).status is RequestStatus.UNKNOWN


def test_what_never_left_is_sent_again_under_either_policy() -> None:
    for on_ambiguous in OnAmbiguous:
        decision = case(on_ambiguous, jitter=1.0, failures=1).decide(NO_ROUTE, ParsedResponse())
        assert decision == Decision(RequestStatus.QUEUED, detail="not sent: cannot connect: no route", retry_in=2.0)


IN_DOUBT = [
    (answered(504), UNREADABLE, advice(504)),
    (RESET, ParsedResponse(), "no response: connection reset"),
    *[
        (answered(status), UNREADABLE, f"{advice(status)} But the body cannot be read: not valid JSON.")
        for status in ITEMISED
    ],
    (answered(202), ParsedResponse(), f"{advice(202)} But the response contains no item."),
]


@pytest.mark.parametrize(("outcome", "parsed", "detail"), IN_DOUBT)
@pytest.mark.parametrize("failures", [0, LAST])
def test_what_may_have_been_acted_on_is_held(
    outcome: Response | NoResponse, parsed: ParsedResponse, detail: str, failures: int
) -> None:
    decision = case(HOLD, failures=failures).decide(outcome, parsed)
    assert decision == Decision(RequestStatus.UNKNOWN, detail=detail, ambiguous=True)


@pytest.mark.parametrize(("outcome", "parsed", "detail"), IN_DOUBT)
def test_what_may_have_been_acted_on_is_sent_again_where_that_is_safe(
    outcome: Response | NoResponse, parsed: ParsedResponse, detail: str
) -> None:
    decision = case(RETRY, jitter=1.0, failures=2).decide(outcome, parsed)
    assert decision == Decision(RequestStatus.QUEUED, detail=detail, retry_in=4.0, ambiguous=True)


@pytest.mark.parametrize(("outcome", "parsed", "detail"), IN_DOUBT)
def test_what_may_have_been_acted_on_is_unknown_once_the_attempts_are_used_up(
    outcome: Response | NoResponse, parsed: ParsedResponse, detail: str
) -> None:
    decision = case(RETRY, failures=LAST).decide(outcome, parsed)
    assert decision == Decision(RequestStatus.UNKNOWN, detail=f"attempts used up; last: {detail}", ambiguous=True)


def test_a_gateway_timeout_is_sent_again_when_it_asks_to_be() -> None:
    assert case(RETRY).decide(answered(504, retry_after="9"), UNREADABLE).retry_in == 9.0


def test_items_that_ask_to_come_again_are_heard() -> None:
    decision = case().decide(answered(200, retry_after="9"), ParsedResponse((BUSY, BUSY, WRONG)))
    assert decision.retry_in == 9.0
    assert decision.detail == (
        "2 × try again later, 1899, Busy.; 1 × rejected, 1806, Invalid recipient."
    )


def test_an_attempt_whose_worker_was_lost_is_in_doubt() -> None:
    why = "the worker was lost during the attempt"
    assert case(HOLD).lost() == Decision(RequestStatus.UNKNOWN, detail=why, ambiguous=True)
    assert case(RETRY, jitter=1.0).lost() == Decision(RequestStatus.QUEUED, detail=why, retry_in=1.0, ambiguous=True)
    assert case(RETRY, failures=LAST).lost().status is RequestStatus.UNKNOWN


items = st.builds(
    ResponseItem,
    item_status=st.sampled_from(ItemStatus),
    reference=st.sampled_from([None, "", "ref-1", "ref-2", "ref-3"]),
    code=st.sampled_from([None, "1801"]),
)
readings = st.builds(ParsedResponse, st.lists(items, max_size=5).map(tuple)) | st.just(UNREADABLE)
retry_afters = st.sampled_from(["0", "5", "4000", "soon", "Mon, 23 Nov 2026 12:10:00 GMT"])
headers = st.fixed_dictionaries({}, optional={"retry-after": retry_afters, "location": st.just("/here")})
responses = st.builds(Response, st.sampled_from([*range(100, 600)]), headers, st.just(b""))
outcomes = responses | st.builds(NoResponse, st.just("gone"), st.booleans())
cases = st.builds(
    case,
    st.sampled_from(OnAmbiguous),
    jitter=st.floats(0, 1),
    failures=st.integers(0, POLICY.attempts),
    ambiguous=st.booleans(),
    deadline_at=st.sampled_from([NOON - timedelta(seconds=1), NOON + timedelta(seconds=3), NOON + timedelta(hours=1)]),
)


def decided(case: RetryDecider, outcome: Response | NoResponse | None, parsed: ParsedResponse) -> Decision:
    """Judge an outcome; None stands for a lost worker."""
    return case.lost() if outcome is None else case.decide(outcome, parsed)


def may_have_been_acted_on(outcome: Response | NoResponse | None, parsed: ParsedResponse) -> bool:
    """Tell by the words of the sending table whether nobody knows what became of an attempt."""
    if outcome is None:
        return True
    if isinstance(outcome, NoResponse):
        return outcome.sent
    if outcome.status == 504:
        return True
    said = {item.item_status for item in parsed.items}
    unclear = not said or bool(said - {ItemStatus.RETRY, ItemStatus.REFUSED})
    return 200 <= outcome.status < 300 and outcome.status != 204 and unclear


@given(case=cases, outcome=outcomes | st.none(), parsed=readings)
def test_under_hold_nothing_that_may_have_been_acted_on_goes_back_to_the_queue(
    case: RetryDecider, outcome: Response | NoResponse | None, parsed: ParsedResponse
) -> None:
    if case.retry_rules.on_ambiguous is HOLD and may_have_been_acted_on(outcome, parsed):
        decision = decided(case, outcome, parsed)
        assert decision.status is not RequestStatus.QUEUED
        assert decision.status is not RequestStatus.FAILED


@given(case=cases, outcome=outcomes | st.none(), parsed=readings)
def test_a_request_goes_back_to_the_queue_exactly_with_a_delay_within_its_bounds(
    case: RetryDecider, outcome: Response | NoResponse | None, parsed: ParsedResponse
) -> None:
    decision = decided(case, outcome, parsed)
    assert (decision.status is RequestStatus.QUEUED) == (decision.retry_in is not None)
    if decision.retry_in is not None:
        assert decision.retry_in >= 0.0
        in_time = NOON + timedelta(seconds=decision.retry_in) <= case.attempt.deadline_at
        assert not decision.counts_as_attempt or (in_time and case.attempt.failures + 1 < POLICY.attempts)


@given(case=cases, outcome=outcomes | st.none(), parsed=readings)
def test_only_wrong_credentials_pause_and_only_they_burn_nothing(
    case: RetryDecider, outcome: Response | NoResponse | None, parsed: ParsedResponse
) -> None:
    decision = decided(case, outcome, parsed)
    unauthorized = isinstance(outcome, Response) and outcome.status == 401
    assert (decision.pause is not None) == (not decision.counts_as_attempt) == unauthorized


@given(case=cases, outcome=outcomes | st.none(), parsed=readings)
def test_jobs_are_reported_by_reference_only_and_an_accepted_request_has_one_to_follow(
    case: RetryDecider, outcome: Response | NoResponse | None, parsed: ParsedResponse
) -> None:
    decision = decided(case, outcome, parsed)
    assert all(report.reference for report in decision.reports)
    assert decision.location is None or len(decision.reports) == 1
    followed = any(report.status is JobStatus.ACCEPTED for report in decision.reports)
    assert followed == (decision.status is RequestStatus.ACCEPTED)


@given(case=cases, outcome=outcomes | st.none(), parsed=readings)
def test_no_request_in_doubt_is_called_failed_and_none_ends_badly_without_a_reason(
    case: RetryDecider, outcome: Response | NoResponse | None, parsed: ParsedResponse
) -> None:
    decision = decided(case, outcome, parsed)
    if case.attempt.ambiguous or decision.ambiguous:
        assert decision.status is not RequestStatus.FAILED
    if decision.status not in {RequestStatus.ACCEPTED, RequestStatus.COMPLETED}:
        assert decision.detail


def test_what_was_not_begun_goes_back_to_the_queue_and_burns_nothing() -> None:
    decision = case(failures=LAST).decide(NotSent("not its turn"), ParsedResponse())
    assert decision == Decision(
        RequestStatus.QUEUED, detail="not its turn", retry_in=RETRY_UNSENT_AFTER_S, counts_as_attempt=False
    )
