"""The sending table: the decision after one attempt, row by row, and properties that hold for every outcome."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.backoff import RetryPolicy
from receiver.domain.decisions import LAST_RETRY_BEFORE_DEADLINE_S, RetryDecider
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.responses import ResponseClass, find_status_rule
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
    RetryRules,
)
from tests.support.factories import NOON, attempt

HOLD, RETRY = OnAmbiguous.HOLD, OnAmbiguous.RETRY
POLICY = RetryPolicy(attempts=4, base=1.0, max=300.0)
LAST_ATTEMPT = POLICY.attempts - 1

SUCCESS = [200, 201, 202, 203, 206, 299]
REJECTED = [100, 301, 304, 400, 403, 404, 405, 410, 422, 499]
PAUSE = [401, 402]
SLOW_DOWN = [408, 425, 429]
SERVER_ERROR = [500, 501, 502, 503, 505, 523, 599]
RETRIED = SLOW_DOWN + SERVER_ERROR
RESET = NoResponse("connection reset", sent=True)
NOT_CONNECTED = NoResponse("cannot connect: no route", sent=False)

UNREADABLE = ParsedResponse(problem="the body cannot be read: not valid JSON")
ACCEPTED = ResponseItem(ItemStatus.ACCEPTED, "ref-1", "ACK", "1801", "Message received.")
DONE = ResponseItem(ItemStatus.SUCCEEDED, "ref-2", "ACK", "1800", "Delivered at once.")
INVALID = ResponseItem(ItemStatus.REJECTED, None, "NACK", "1806", "Invalid recipient.")
BUSY = ResponseItem(ItemStatus.RETRY, None, "NACK", "1899", "Busy.")
UNMAPPED = ResponseItem(ItemStatus.UNKNOWN, "ref-5", "NACK", "7777", "This code is not documented.")
NAMELESS = ResponseItem(ItemStatus.UNKNOWN, problem="no reference at `id`")
WITHOUT_REFERENCE = ResponseItem(ItemStatus.ACCEPTED, None, "ACK", "1801")


def build_decider(
    on_ambiguous: OnAmbiguous = HOLD,
    *,
    jitter: float = 0.5,
    now: datetime = NOON,
    retry: RetryPolicy = POLICY,
    status_codes: Mapping[int, ResponseClass] | None = None,
    **overrides: Any,
) -> RetryDecider:
    """Build the decider of a first attempt; `overrides` are fields of the attempt."""
    return RetryDecider(attempt(**overrides), RetryRules(retry, on_ambiguous, status_codes or {}), now, jitter)


def build_response(status: int, body: bytes = b"", /, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def build_advice(status: int) -> str:
    return f"{status}: {find_status_rule(status).advice}"


@pytest.mark.parametrize("status", SUCCESS)
def test_accepted_items_accept_the_request_and_set_poll_schedule(status: int) -> None:
    response = build_response(status, retry_after="7", location="/v1/messages/ref-1")
    assert build_decider().decide(response, ParsedResponse((ACCEPTED,))) == Decision(
        RequestStatus.ACCEPTED,
        reports=(StatusReport("ref-1", JobStatus.ACCEPTED, "ACK", "1801", "Message received."),),
        poll_after=7.0,
        location="/v1/messages/ref-1",
    )


@pytest.mark.parametrize(
    ("items", "status", "reports"),
    [
        ((ACCEPTED,), RequestStatus.ACCEPTED, {"ref-1": JobStatus.ACCEPTED}),
        ((DONE,), RequestStatus.COMPLETED, {"ref-2": JobStatus.SUCCEEDED}),
        ((DONE, ACCEPTED), RequestStatus.ACCEPTED, {"ref-2": JobStatus.SUCCEEDED, "ref-1": JobStatus.ACCEPTED}),
        ((ACCEPTED, INVALID), RequestStatus.ACCEPTED, {"ref-1": JobStatus.ACCEPTED}),
        ((ACCEPTED, BUSY), RequestStatus.ACCEPTED, {"ref-1": JobStatus.ACCEPTED}),
        ((ACCEPTED, UNMAPPED), RequestStatus.ACCEPTED, {"ref-1": JobStatus.ACCEPTED}),
        ((DONE, INVALID), RequestStatus.COMPLETED, {"ref-2": JobStatus.SUCCEEDED}),
        ((DONE, BUSY), RequestStatus.COMPLETED, {"ref-2": JobStatus.SUCCEEDED}),
        ((INVALID,), RequestStatus.REJECTED, {}),
        ((INVALID, INVALID), RequestStatus.REJECTED, {}),
        ((ResponseItem(ItemStatus.REJECTED, "ref-3"),), RequestStatus.REJECTED, {"ref-3": JobStatus.FAILED}),
        (
            (ACCEPTED, ResponseItem(ItemStatus.REJECTED, "ref-3")),
            RequestStatus.ACCEPTED,
            {"ref-1": JobStatus.ACCEPTED, "ref-3": JobStatus.FAILED},
        ),
        ((UNMAPPED,), RequestStatus.UNKNOWN, {}),
        ((UNMAPPED, INVALID), RequestStatus.UNKNOWN, {}),
        ((UNMAPPED, BUSY), RequestStatus.UNKNOWN, {}),
        ((UNMAPPED, DONE), RequestStatus.UNKNOWN, {"ref-2": JobStatus.SUCCEEDED}),
        ((WITHOUT_REFERENCE,), RequestStatus.UNKNOWN, {}),
        ((WITHOUT_REFERENCE, DONE), RequestStatus.UNKNOWN, {"ref-2": JobStatus.SUCCEEDED}),
        ((WITHOUT_REFERENCE, ACCEPTED), RequestStatus.ACCEPTED, {"ref-1": JobStatus.ACCEPTED}),
        ((BUSY,), RequestStatus.QUEUED, {}),
        ((BUSY, INVALID), RequestStatus.QUEUED, {}),
    ],
)
@pytest.mark.parametrize("response", SUCCESS)
def test_items_of_successful_response_decide(
    response: int, items: tuple[ResponseItem, ...], status: RequestStatus, reports: dict[str, JobStatus]
) -> None:
    decision = build_decider().decide(build_response(response), ParsedResponse(items))
    assert decision.status is status
    assert {report.reference: report.status for report in decision.reports} == reports
    assert not decision.ambiguous
    assert decision.counts_as_attempt


def test_report_has_the_location_of_its_item() -> None:
    parsed = ParsedResponse((replace(ACCEPTED, location="/jobs/1"), replace(DONE, location="/jobs/2")))
    decision = build_decider().decide(build_response(202), parsed)
    assert [report.location for report in decision.reports] == ["/jobs/1", "/jobs/2"]


def test_detail_counts_items_that_were_not_accepted() -> None:
    decision = build_decider().decide(
        build_response(200), ParsedResponse((ACCEPTED, INVALID, WITHOUT_REFERENCE, INVALID, DONE))
    )
    assert decision.detail == ("2 × rejected, 1806, Invalid recipient.; 1 × accepted, but without a reference, 1801")


@pytest.mark.parametrize(
    ("items", "location"),
    [
        ((ACCEPTED,), "/here"),
        ((DONE,), "/here"),
        ((ACCEPTED, INVALID), "/here"),
        ((ACCEPTED, DONE), None),
        ((INVALID,), None),
        ((UNMAPPED,), None),
    ],
)
def test_location_is_kept_only_for_a_single_job(items: tuple[ResponseItem, ...], location: str | None) -> None:
    assert build_decider().decide(build_response(202, location="/here"), ParsedResponse(items)).location == location


@pytest.mark.parametrize(
    ("value", "poll_after"), [(None, None), ("30", 30.0), ("Mon, 23 Nov 2026 12:01:00 GMT", 60.0), ("soon", None)]
)
def test_retry_after_of_accepted_response_delays_first_poll(value: str | None, poll_after: float | None) -> None:
    response = build_response(202, **({} if value is None else {"retry_after": value}))
    assert build_decider().decide(response, ParsedResponse((ACCEPTED,))).poll_after == poll_after


@pytest.mark.parametrize("parsed", [ParsedResponse(), UNREADABLE, ParsedResponse((ACCEPTED,))])
def test_status_204_completes_the_request(parsed: ParsedResponse) -> None:
    assert build_decider().decide(build_response(204), parsed) == Decision(RequestStatus.COMPLETED)


def test_rejection_detail_includes_codes_of_the_body() -> None:
    decision = build_decider().decide(build_response(400), ParsedResponse((INVALID,)))
    assert decision.status is RequestStatus.REJECTED
    assert decision.detail is not None
    assert decision.detail.startswith("400: ")
    assert "1806, Invalid recipient." in decision.detail


@pytest.mark.parametrize(
    "item", [ResponseItem(ItemStatus.REJECTED, code="7"), ResponseItem(ItemStatus.REJECTED, detail="7")]
)
def test_rejection_detail_needs_a_code_or_a_detail(item: ResponseItem) -> None:
    decision = build_decider().decide(build_response(400, b'{"ok": false}'), ParsedResponse((item,)))
    assert decision.detail == f"{build_advice(400)} 1 × rejected, 7"


def test_detail_quotes_json_that_no_item_explains() -> None:
    decision = build_decider().decide(build_response(400, b'{"ok": false}'), ParsedResponse())
    assert decision.detail == f'{build_advice(400)} The provider responded: {{"ok": false}}'


@pytest.mark.parametrize("item", [BUSY, INVALID, UNMAPPED])
def test_detail_quotes_no_json_that_an_item_explains(item: ResponseItem) -> None:
    decision = build_decider().decide(build_response(200, b'{"ok": false}'), ParsedResponse((item,)))
    assert decision.detail is not None
    assert "ok" not in decision.detail


def test_detail_names_the_problem_of_the_response_once() -> None:
    problem = "the body was cut"
    refused = replace(build_response(400, b'{"message": "No'), problem=problem)
    assert build_decider().decide(refused, ParsedResponse()).detail == f"{build_advice(400)[:-1]}. But {problem}."
    unread = build_decider().decide(replace(refused, status=200), ParsedResponse(problem=problem))
    assert unread.detail == f"{build_advice(200)} But {problem}."


@pytest.mark.parametrize("on_ambiguous", OnAmbiguous)
@pytest.mark.parametrize("status", REJECTED)
def test_rejection_is_final_with_advice_of_the_table(status: int, on_ambiguous: OnAmbiguous) -> None:
    decision = build_decider(on_ambiguous).decide(build_response(status, retry_after="5"), UNREADABLE)
    assert decision == Decision(RequestStatus.REJECTED, detail=build_advice(status))


@pytest.mark.parametrize("status", PAUSE)
@pytest.mark.parametrize("failures", [0, LAST_ATTEMPT, LAST_ATTEMPT + 5])
def test_refused_account_pauses_provider_without_counting_attempt(failures: int, status: int) -> None:
    decision = build_decider(failures=failures).decide(build_response(status), UNREADABLE)
    advice = build_advice(status)
    assert decision == Decision(
        RequestStatus.QUEUED, detail=advice, retry_in=0.0, counts_as_attempt=False, pause=advice
    )


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 402, 403, 404, 409, 500, 503, 504])
@pytest.mark.parametrize(
    ("response_class", "expected"),
    [
        (ResponseClass.PAUSE, RequestStatus.QUEUED),
        (ResponseClass.RETRY, RequestStatus.QUEUED),
        (ResponseClass.REJECTED, RequestStatus.REJECTED),
        (ResponseClass.ACCEPTED, RequestStatus.ACCEPTED),
    ],
)
def test_status_codes_override_the_table(status: int, response_class: ResponseClass, expected: RequestStatus) -> None:
    decider = build_decider(status_codes={status: response_class})
    decision = decider.decide(build_response(status), ParsedResponse((ACCEPTED,)))
    assert decision.status is expected
    assert (decision.pause is not None) == (response_class is ResponseClass.PAUSE)
    assert (decision.retry_in == 0.5) == (response_class is ResponseClass.RETRY)
    assert not decision.ambiguous
    assert bool(decision.reports) == (response_class is ResponseClass.ACCEPTED)


def test_status_codes_concern_only_their_statuses() -> None:
    decider = build_decider(status_codes={403: ResponseClass.PAUSE})
    assert decider.decide(build_response(400), UNREADABLE).status is RequestStatus.REJECTED


def test_duplicate_without_ambiguous_attempt_is_rejected() -> None:
    decision = build_decider().decide(build_response(409), ParsedResponse((ACCEPTED,)))
    assert decision == Decision(RequestStatus.REJECTED, detail=build_advice(409))


@pytest.mark.parametrize(
    "parsed", [ParsedResponse(), UNREADABLE, ParsedResponse((WITHOUT_REFERENCE,)), ParsedResponse((INVALID,))]
)
def test_unnamed_duplicate_after_ambiguous_attempt_is_unknown(
    parsed: ParsedResponse,
) -> None:
    decision = build_decider(RETRY, ambiguous=True).decide(build_response(409), parsed)
    assert decision.status is RequestStatus.UNKNOWN
    assert decision.detail is not None
    assert decision.detail.startswith(
        f"an earlier attempt was accepted under an unknown reference; {build_advice(409)}"
    )
    assert decision.reports == ()


@pytest.mark.parametrize("item_status", [status for status in ItemStatus if status is not ItemStatus.SUCCEEDED])
def test_duplicate_after_ambiguous_attempt_with_reference_is_accepted(item_status: ItemStatus) -> None:
    item = ResponseItem(item_status, "ref-1", "NACK", "1810", "Duplicate.")
    decision = build_decider(RETRY, ambiguous=True).decide(build_response(409), ParsedResponse((item, INVALID)))
    assert decision.status is RequestStatus.ACCEPTED
    assert [(report.reference, report.status) for report in decision.reports] == [("ref-1", JobStatus.ACCEPTED)]


def test_duplicate_after_ambiguous_attempt_may_be_completed() -> None:
    decision = build_decider(RETRY, ambiguous=True).decide(build_response(409), ParsedResponse((DONE,)))
    assert decision.status is RequestStatus.COMPLETED
    assert [(report.reference, report.status) for report in decision.reports] == [("ref-2", JobStatus.SUCCEEDED)]


NO_CREDIT = b'{"ok": false, "error": {"message": "No credit."}}'


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 409, 422, 429, 500, 503, 504])
@pytest.mark.parametrize("parsed", [ParsedResponse(), UNREADABLE, ParsedResponse((NAMELESS,))])
def test_detail_of_failure_has_status_advice_and_message(status: int, parsed: ParsedResponse) -> None:
    decision = build_decider().decide(build_response(status, NO_CREDIT), parsed)
    assert decision.detail == f"{build_advice(status)} The provider responded: No credit."
    assert decision.pause in (None, decision.detail)


@pytest.mark.parametrize("failures", [0, LAST_ATTEMPT])
def test_detail_has_codes_of_items_and_message(failures: int) -> None:
    decider = build_decider(failures=failures)
    detail = f"{build_advice(503)} 1 × rejected, 1806, Invalid recipient. The provider responded: No credit."
    decision = decider.decide(build_response(503, NO_CREDIT), ParsedResponse((INVALID, ACCEPTED)))
    assert decision.detail == (f"attempts used up; last: {detail}" if failures else detail)
    unquoted = decider.decide(build_response(400, b'{"ok": false}'), ParsedResponse((INVALID,)))
    assert unquoted.detail == f"{build_advice(400)} 1 × rejected, 1806, Invalid recipient."


def test_page_in_place_of_json_is_quoted_by_its_title() -> None:
    response = build_response(200, b"<title>Account suspended</title>", content_type="text/html")
    parsed = ParsedResponse(problem="the body is not JSON (text/html): Account suspended")
    decision = build_decider().decide(response, parsed)
    assert decision.detail == f"{build_advice(200)} But the body is not JSON (text/html): Account suspended."
    refused = build_decider().decide(replace(response, status=403), parsed)
    page = "not JSON (text/html): Account suspended"
    assert refused.detail == f"{build_advice(403)} The provider responded: {page}"


@pytest.mark.parametrize(
    ("item", "meaning"),
    [
        (NAMELESS, "no reference at `id`"),
        (UNMAPPED, "a code that is not in the provider's map, 7777, This code is not documented"),
        (ResponseItem(ItemStatus.UNKNOWN), "neither accepted nor rejected"),
        (replace(NAMELESS, item_status=ItemStatus.ACCEPTED, code="ok"), "accepted, but no reference at `id`, ok"),
    ],
)
def test_detail_of_unknown_item_names_what_is_missing(item: ResponseItem, meaning: str) -> None:
    decision = build_decider().decide(build_response(200, NO_CREDIT), ParsedResponse((item,)))
    assert decision.status is RequestStatus.UNKNOWN
    assert decision.detail == f"1 × {meaning}. The provider responded: No credit."


def test_accepted_request_quotes_nothing() -> None:
    decision = build_decider().decide(build_response(202, NO_CREDIT), ParsedResponse((ACCEPTED, INVALID)))
    assert decision.detail == "1 × rejected, 1806, Invalid recipient."


@pytest.mark.parametrize("failures", range(LAST_ATTEMPT))
@pytest.mark.parametrize("jitter", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("status", RETRIED)
def test_temporary_failure_is_retried_after_backoff_with_full_jitter(status: int, jitter: float, failures: int) -> None:
    decision = build_decider(jitter=jitter, failures=failures).decide(build_response(status), UNREADABLE)
    assert decision == Decision(RequestStatus.QUEUED, detail=build_advice(status), retry_in=jitter * 2.0**failures)


@pytest.mark.parametrize(
    ("value", "wait"),
    [("0", 0.0), ("90", 90.0), ("Mon, 23 Nov 2026 12:00:45 GMT", 45.0), ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0)],
)
@pytest.mark.parametrize("status", RETRIED)
def test_retry_after_is_minimum_on_top_of_backoff(status: int, value: str, wait: float) -> None:
    decision = build_decider(failures=2).decide(build_response(status, retry_after=value), UNREADABLE)
    assert decision.retry_in == wait + 2.0


def test_date_of_retry_after_is_read_by_the_servers_clock() -> None:
    response = build_response(503, retry_after="Mon, 23 Nov 2026 11:59:30 GMT", date="Mon, 23 Nov 2026 11:59:00 GMT")
    assert build_decider(jitter=0.0).decide(response, UNREADABLE).retry_in == 30.0


@pytest.mark.parametrize("value", ["soon", "-1", "NaN", "1e12"])
def test_malformed_retry_after_falls_back_to_backoff(value: str) -> None:
    decision = build_decider(jitter=1.0, failures=2).decide(build_response(429, retry_after=value), UNREADABLE)
    assert decision.retry_in == 4.0


@pytest.mark.parametrize("outcome", [*map(build_response, RETRIED), NOT_CONNECTED])
def test_attempts_are_bounded(outcome: Response | NoResponse) -> None:
    decision = build_decider(failures=LAST_ATTEMPT).decide(outcome, UNREADABLE)
    assert decision.status is RequestStatus.FAILED
    assert decision.detail is not None
    assert decision.detail.startswith("attempts used up; last: ")


def test_policy_of_one_attempt_sends_once() -> None:
    once = RetryPolicy(attempts=1)
    assert build_decider(retry=once).decide(build_response(503), UNREADABLE).status is RequestStatus.FAILED
    assert build_decider(RETRY, retry=once).decide(RESET, ParsedResponse()).status is RequestStatus.UNKNOWN


@pytest.mark.parametrize("value", ["57.6", "60", "61", "86400", "9" * 30])
def test_wait_beyond_deadline_leaves_one_last_attempt(value: str) -> None:
    response = build_response(503, retry_after=value)
    last_in = 60 - LAST_RETRY_BEFORE_DEADLINE_S
    first = build_decider(deadline_at=NOON + timedelta(seconds=60)).decide(response, UNREADABLE)
    assert (first.status, first.retry_in) == (RequestStatus.QUEUED, last_in)
    at = NOON + timedelta(seconds=last_in)
    last = build_decider(now=at, deadline_at=NOON + timedelta(seconds=60), failures=1).decide(response, UNREADABLE)
    wait = f"the provider asks to wait {min(float(value), 86_400):g} s"
    assert last == Decision(RequestStatus.FAILED, detail=f"deadline used up: {wait}; last: {build_advice(503)}")


@pytest.mark.parametrize(("jitter", "retry_in"), [(0.75, 0.75), (1.0, None)])
def test_backoff_shortly_before_deadline_must_end_before_it(jitter: float, retry_in: float | None) -> None:
    decider = build_decider(jitter=jitter, deadline_at=NOON + timedelta(seconds=1))
    assert decider.decide(build_response(500), UNREADABLE).retry_in == retry_in


def test_backoff_beyond_deadline_leaves_one_last_attempt() -> None:
    def decide_before_deadline(seconds: float) -> Decision:
        deadline_at = NOON + timedelta(seconds=seconds)
        return build_decider(jitter=1.0, failures=2, deadline_at=deadline_at).decide(build_response(500), UNREADABLE)

    assert decide_before_deadline(3.0).retry_in == 3.0 - LAST_RETRY_BEFORE_DEADLINE_S
    assert decide_before_deadline(LAST_RETRY_BEFORE_DEADLINE_S) == Decision(
        RequestStatus.FAILED, detail=f"deadline used up; last: {build_advice(500)}"
    )


@pytest.mark.parametrize("outcome", [*map(build_response, RETRIED), NOT_CONNECTED])
def test_last_attempt_after_ambiguous_one_ends_as_unknown(outcome: Response | NoResponse) -> None:
    assert (
        build_decider(RETRY, failures=LAST_ATTEMPT, ambiguous=True).decide(outcome, UNREADABLE).status
        is RequestStatus.UNKNOWN
    )


def test_unsent_attempt_is_retried_under_both_policies() -> None:
    for on_ambiguous in OnAmbiguous:
        decision = build_decider(on_ambiguous, jitter=1.0, failures=1).decide(NOT_CONNECTED, ParsedResponse())
        assert decision == Decision(RequestStatus.QUEUED, detail="not sent: cannot connect: no route", retry_in=2.0)


AMBIGUOUS = [
    (build_response(504), UNREADABLE, build_advice(504)),
    (RESET, ParsedResponse(), "no response: connection reset"),
    *[
        (build_response(status), UNREADABLE, f"{build_advice(status)} But the body cannot be read: not valid JSON.")
        for status in SUCCESS
    ],
    (build_response(202), ParsedResponse(), f"{build_advice(202)} But the response contains no item."),
]


@pytest.mark.parametrize(("outcome", "parsed", "detail"), AMBIGUOUS)
@pytest.mark.parametrize("failures", [0, LAST_ATTEMPT])
def test_ambiguous_outcome_is_held(
    outcome: Response | NoResponse, parsed: ParsedResponse, detail: str, failures: int
) -> None:
    decision = build_decider(HOLD, failures=failures).decide(outcome, parsed)
    assert decision == Decision(RequestStatus.UNKNOWN, detail=detail, ambiguous=True)


@pytest.mark.parametrize(("outcome", "parsed", "detail"), AMBIGUOUS)
def test_ambiguous_outcome_is_retried_if_configured(
    outcome: Response | NoResponse, parsed: ParsedResponse, detail: str
) -> None:
    decision = build_decider(RETRY, jitter=1.0, failures=2).decide(outcome, parsed)
    assert decision == Decision(RequestStatus.QUEUED, detail=detail, retry_in=4.0, ambiguous=True)


@pytest.mark.parametrize(("outcome", "parsed", "detail"), AMBIGUOUS)
def test_ambiguous_outcome_of_last_attempt_is_unknown(
    outcome: Response | NoResponse, parsed: ParsedResponse, detail: str
) -> None:
    decision = build_decider(RETRY, failures=LAST_ATTEMPT).decide(outcome, parsed)
    assert decision == Decision(RequestStatus.UNKNOWN, detail=f"attempts used up; last: {detail}", ambiguous=True)


def test_gateway_timeout_respects_retry_after() -> None:
    assert build_decider(RETRY).decide(build_response(504, retry_after="9"), UNREADABLE).retry_in == 9.5


def test_response_without_items_respects_retry_after() -> None:
    assert build_decider(RETRY).decide(build_response(200, retry_after="9"), ParsedResponse()).retry_in == 9.5


def test_busy_items_retry_the_request() -> None:
    decision = build_decider().decide(build_response(200, retry_after="9"), ParsedResponse((BUSY, BUSY, INVALID)))
    assert decision.retry_in == 9.5
    assert decision.detail == (
        "2 × try again later, 1899, Busy.; 1 × rejected, 1806, Invalid recipient. (the provider asks to wait 9 s)"
    )


def test_lost_worker_makes_the_attempt_ambiguous() -> None:
    detail = "the worker was lost during the attempt"
    assert build_decider(HOLD).on_worker_lost() == Decision(RequestStatus.UNKNOWN, detail=detail, ambiguous=True)
    assert build_decider(RETRY, jitter=1.0).on_worker_lost() == Decision(
        RequestStatus.QUEUED, detail=detail, retry_in=1.0, ambiguous=True
    )
    assert build_decider(RETRY, failures=LAST_ATTEMPT).on_worker_lost().status is RequestStatus.UNKNOWN


items = st.builds(
    ResponseItem,
    item_status=st.sampled_from(ItemStatus),
    reference=st.sampled_from([None, "", "ref-1", "ref-2", "ref-3"]),
    code=st.sampled_from([None, "1801"]),
)
parsed_responses = st.builds(ParsedResponse, st.lists(items, max_size=5).map(tuple)) | st.just(UNREADABLE)
retry_afters = st.sampled_from(["0", "5", "4000", "soon", "Mon, 23 Nov 2026 12:10:00 GMT"])
headers = st.fixed_dictionaries({}, optional={"retry-after": retry_afters, "location": st.just("/here")})
responses = st.builds(Response, st.sampled_from([*range(100, 600)]), headers, st.just(b""))
outcomes = responses | st.builds(NoResponse, st.just("gone"), st.booleans())
deciders = st.builds(
    build_decider,
    st.sampled_from(OnAmbiguous),
    jitter=st.floats(0, 1),
    failures=st.integers(0, POLICY.attempts),
    ambiguous=st.booleans(),
    deadline_at=st.sampled_from([NOON - timedelta(seconds=1), NOON + timedelta(seconds=3), NOON + timedelta(hours=1)]),
)


def decide(decider: RetryDecider, outcome: Response | NoResponse | None, parsed: ParsedResponse) -> Decision:
    """Decide about an outcome; None stands for a lost worker."""
    return decider.on_worker_lost() if outcome is None else decider.decide(outcome, parsed)


def is_ambiguous(outcome: Response | NoResponse | None, parsed: ParsedResponse) -> bool:
    """Return whether an outcome is ambiguous by the text of the sending table."""
    if outcome is None:
        return True
    if isinstance(outcome, NoResponse):
        return outcome.sent
    if outcome.status == 504:
        return True
    item_statuses = {item.item_status for item in parsed.items}
    unclear = not item_statuses or bool(item_statuses - {ItemStatus.RETRY, ItemStatus.REJECTED})
    return 200 <= outcome.status < 300 and outcome.status != 204 and unclear


@given(decider=deciders, outcome=outcomes | st.none(), parsed=parsed_responses)
def test_hold_never_requeues_an_ambiguous_attempt(
    decider: RetryDecider, outcome: Response | NoResponse | None, parsed: ParsedResponse
) -> None:
    if decider.retry_rules.on_ambiguous is HOLD and is_ambiguous(outcome, parsed):
        decision = decide(decider, outcome, parsed)
        assert decision.status is not RequestStatus.QUEUED
        assert decision.status is not RequestStatus.FAILED


@given(decider=deciders, outcome=outcomes | st.none(), parsed=parsed_responses)
def test_requeue_always_has_a_delay_within_bounds(
    decider: RetryDecider, outcome: Response | NoResponse | None, parsed: ParsedResponse
) -> None:
    decision = decide(decider, outcome, parsed)
    assert (decision.status is RequestStatus.QUEUED) == (decision.retry_in is not None)
    if decision.retry_in is not None:
        assert decision.retry_in >= 0.0
        in_time = NOON + timedelta(seconds=decision.retry_in) <= decider.attempt.deadline_at
        assert not decision.counts_as_attempt or (in_time and decider.attempt.failures + 1 < POLICY.attempts)


@given(decider=deciders, outcome=outcomes | st.none(), parsed=parsed_responses)
def test_only_refused_account_pauses_and_does_not_count(
    decider: RetryDecider, outcome: Response | NoResponse | None, parsed: ParsedResponse
) -> None:
    decision = decide(decider, outcome, parsed)
    refused = isinstance(outcome, Response) and outcome.status in PAUSE
    assert (decision.pause is not None) == (not decision.counts_as_attempt) == refused


@given(decider=deciders, outcome=outcomes | st.none(), parsed=parsed_responses)
def test_reports_have_references_and_accepted_request_has_a_job(
    decider: RetryDecider, outcome: Response | NoResponse | None, parsed: ParsedResponse
) -> None:
    decision = decide(decider, outcome, parsed)
    assert all(report.reference for report in decision.reports)
    assert decision.location is None or len(decision.reports) == 1
    followed = any(report.status is JobStatus.ACCEPTED for report in decision.reports)
    assert followed == (decision.status is RequestStatus.ACCEPTED)


@given(decider=deciders, outcome=outcomes | st.none(), parsed=parsed_responses)
def test_ambiguous_request_never_fails_and_bad_ends_have_detail(
    decider: RetryDecider, outcome: Response | NoResponse | None, parsed: ParsedResponse
) -> None:
    decision = decide(decider, outcome, parsed)
    if decider.attempt.ambiguous or decision.ambiguous:
        assert decision.status is not RequestStatus.FAILED
    if decision.status not in {RequestStatus.ACCEPTED, RequestStatus.COMPLETED}:
        assert decision.detail


def test_exchange_that_did_not_begin_is_requeued_without_counting() -> None:
    decision = build_decider(failures=LAST_ATTEMPT).decide(NotSent("no send slot"), ParsedResponse())
    assert decision == Decision(
        RequestStatus.QUEUED, detail="no send slot", retry_in=RETRY_UNSENT_AFTER_S, counts_as_attempt=False
    )


def test_refused_credentials_pause_the_provider() -> None:
    decision = build_decider().decide(NotSent("no token", refusal="invalid_client"), ParsedResponse())
    assert (decision.status, decision.pause) == (RequestStatus.QUEUED, "invalid_client")
