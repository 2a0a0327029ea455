"""Why a request is unknown, for every way in which it becomes so, and what to do about it."""

from dataclasses import replace
from typing import Any

import pytest

from receiver.domain.backoff import RetryPolicy
from receiver.domain.decisions import RetryDecider
from receiver.domain.responses import ResponseClass
from receiver.domain.sending import (
    CANCELLED_AMBIGUOUS_DETAIL,
    LOOKUP_SCHEDULED_DETAIL,
    RESTORED_DETAIL,
    UNSTORABLE_RESPONSE_DETAIL,
    Decision,
    ItemStatus,
    NoResponse,
    OnAmbiguous,
    Outcome,
    ParsedResponse,
    RequestStatus,
    Response,
    ResponseItem,
    RetryRules,
)
from receiver.domain.unknown_explanations import (
    UnknownCause,
    UnknownExplanation,
    explain_unknown,
    explain_unknown_request,
    find_unknown_cause,
)
from tests.support.factories import NOON, attempt

REQUEST_ID = "018f0000-0000-7000-8000-000000000000"
RETRY_COMMAND = f"`receiver request retry {REQUEST_ID}`"
ACCEPT_COMMAND = f"`receiver request resolve {REQUEST_ID} --status accepted --reference REFERENCE --reason TEXT`"
REJECT_COMMAND = f"`receiver request resolve {REQUEST_ID} --status rejected --reason TEXT`"
UNMATCHED_STEP = "Callbacks that came for it may be listed by `receiver job list --unmatched`."
MISSING = "no reference at `data.ID`"
ACCEPTED = ResponseItem(ItemStatus.ACCEPTED, problem=MISSING, code="ok")
NAMELESS = ResponseItem(ItemStatus.UNKNOWN, problem=MISSING)
BUSY = ResponseItem(ItemStatus.RETRY, code="1899")
UNMAPPED = ResponseItem(ItemStatus.UNKNOWN, code="7777", detail="Accepted, but no reference.")


def decide(outcome: Outcome, parsed: ParsedResponse | None = None, *, ambiguous: bool = False) -> Decision:
    rules = RetryRules(RetryPolicy(attempts=1), OnAmbiguous.HOLD, {418: ResponseClass.ACCEPTED})
    decider = RetryDecider(attempt(ambiguous=ambiguous), rules, NOON, 0.5)
    decision = decider.decide(outcome, parsed or ParsedResponse())
    assert decision.status is RequestStatus.UNKNOWN
    return decision


def explain(decision: Decision, response_status: int | None) -> UnknownExplanation:
    return explain_unknown(REQUEST_ID, decision.detail, response_status)


@pytest.mark.parametrize(
    ("status", "items", "was_accepted"),
    [
        (202, (NAMELESS,), True),
        (201, (NAMELESS,), True),
        (418, (NAMELESS,), True),
        (200, (ACCEPTED,), True),
        (202, (ACCEPTED, UNMAPPED), True),
        (200, (NAMELESS,), False),
    ],
)
def test_response_without_reference_must_not_be_retried(
    status: int, items: tuple[ResponseItem, ...], was_accepted: bool
) -> None:
    response = Response(status, {}, b'{"job": "But 504 no response: 1."}')
    explanation = explain(decide(response, ParsedResponse(items)), status)
    verb = "accepted it" if was_accepted else "responded with 200"
    assert explanation.reason == f"The provider {verb}, but its response has {MISSING}."
    assert explanation.was_accepted is was_accepted
    assert "request retry" not in explanation.remedy
    for text in ("not retry it", "`response.reference` in receiver.toml", ACCEPT_COMMAND, "job list --unmatched"):
        assert text in explanation.remedy


@pytest.mark.parametrize(
    "problem",
    [
        "no reference, as response.reference is not set",
        "no reference, as the response has several items",
        "no reference that matches /jobs/{reference} at `header:location`",
        "no reference at `batch`, `id`",
    ],
)
def test_missing_reference_is_described_as_the_provider_does(problem: str) -> None:
    decision = decide(Response(202, {}, b'{"a": 1}'), ParsedResponse((replace(NAMELESS, problem=problem),)))
    assert explain(decision, 202).reason == f"The provider accepted it, but its response has {problem}."


@pytest.mark.parametrize(
    ("decision", "response_status", "reason"),
    [
        (decide(NoResponse("connection reset", sent=True)), None, "but no response arrived"),
        (decide(Response(504, {}, b"no response: x")), 504, "responded with 504, a timeout on its side"),
        (decide(Response(504, {}, b""), ParsedResponse((UNMAPPED,))), 504, "responded with 504, a timeout on its side"),
        (
            RetryDecider(attempt(), RetryRules(RetryPolicy(), OnAmbiguous.HOLD), NOON, 0.5).on_worker_lost(),
            None,
            "lost",
        ),
        (decide(Response(503, {}, b""), ambiguous=True), 503, "may have acted on an earlier attempt"),
        (decide(NoResponse("no route", sent=False), ambiguous=True), None, "may have acted on an earlier attempt"),
        (
            Decision(RequestStatus.UNKNOWN, f"{UNSTORABLE_RESPONSE_DETAIL}: too deep"),
            None,
            "its response could not be stored",
        ),
        (Decision(RequestStatus.UNKNOWN, CANCELLED_AMBIGUOUS_DETAIL), 503, "It was cancelled"),
        (
            Decision(RequestStatus.UNKNOWN, f"{RESTORED_DETAIL}; last: 1 × accepted, but"),
            None,
            "restored from a backup",
        ),
        (
            decide(Response(200, {}, b"<p>"), ParsedResponse(problem="the body is not JSON")),
            200,
            "responded with 200, so that it probably acted on it, but the body is not JSON.",
        ),
        (
            decide(
                Response(202, {}, b"?", "the response is encoded in br, which is not read"),
                ParsedResponse(problem="the response is encoded in br, which is not read"),
            ),
            202,
            "but the response is encoded in br, which is not read.",
        ),
        (decide(Response(200, {}, b"{}"), ParsedResponse((BUSY,)), ambiguous=True), 200, "on an earlier attempt"),
        (decide(Response(200, {}, b"{}")), 200, "but the response contains no item."),
    ],
)
def test_ambiguous_outcome_is_looked_up_before_it_is_retried(
    decision: Decision, response_status: int | None, reason: str
) -> None:
    explanation = explain(decision, response_status)
    assert reason in explanation.reason
    assert not explanation.was_accepted
    assert f"look it up at the provider first. If it did not arrive there: {RETRY_COMMAND}" in explanation.remedy
    assert ACCEPT_COMMAND in explanation.remedy


@pytest.mark.parametrize(
    "item", [UNMAPPED, replace(UNMAPPED, code=None, problem="no code at `state`"), ResponseItem(ItemStatus.UNKNOWN)]
)
def test_code_without_meaning_is_to_be_configured(item: ResponseItem) -> None:
    explanation = explain(decide(Response(200, {}, b'{"a": 1}'), ParsedResponse((item,))), 200)
    assert "does not say whether it accepted the request" in explanation.reason
    assert "add its code to `response.codes`" in explanation.remedy
    assert "--status rejected" in explanation.remedy


def test_duplicate_of_unknown_attempt_was_accepted() -> None:
    explanation = explain(decide(Response(409, {}, b""), ambiguous=True), 409)
    assert explanation.was_accepted
    assert explanation.remedy.startswith("Do not retry it. Look its reference up")


def test_lookup_comes_first_while_it_is_scheduled() -> None:
    detail = f"no response: reset; {LOOKUP_SCHEDULED_DETAIL}"
    assert explain_unknown(REQUEST_ID, detail, None).remedy.startswith("A lookup at the provider is scheduled")
    ended = f"{detail}; gave up looking the request up after 60 s; last: the provider does not know this request"
    assert not explain_unknown(REQUEST_ID, ended, None).remedy.startswith("A lookup")


def test_request_without_detail_is_explained() -> None:
    assert find_unknown_cause("", None) is UnknownCause.EARLIER_ATTEMPT
    assert explain_unknown(REQUEST_ID, None, None).reason.endswith(".")
    assert explain_unknown(REQUEST_ID, None, 202) == explain_unknown(REQUEST_ID, "", 202)


def test_steps_of_each_cause_are_whole_sentences() -> None:
    correction = f"Correct `response.reference` in receiver.toml for later requests, then {ACCEPT_COMMAND}."
    assert explain(decide(Response(202, {}, b'{"a": 1}'), ParsedResponse((NAMELESS,))), 202).remedy == (
        f"Do not retry it: the provider would act twice. {correction} {UNMATCHED_STEP}"
    )
    assert explain(decide(Response(200, {}, b'{"a": 1}'), ParsedResponse((NAMELESS,))), 200).remedy == (
        f"Read the response. If it is an error: {REJECT_COMMAND}. Otherwise do not retry it. {correction} "
        f"{UNMATCHED_STEP}"
    )
    assert explain(decide(Response(200, {}, b'{"a": 1}'), ParsedResponse((UNMAPPED,))), 200).remedy == (
        "Read the response, and add its code to `response.codes` in receiver.toml for later requests. "
        f"If the provider accepted it, do not retry it: {ACCEPT_COMMAND}. If it refused it: {REJECT_COMMAND}."
    )
    retry = (
        "Sending it again could act twice, so look it up at the provider first. If it did not arrive there: "
        f"{RETRY_COMMAND}. If it did: {ACCEPT_COMMAND}, or another status."
    )
    assert explain(decide(Response(200, {}, b"<p>"), ParsedResponse(problem="the body is not JSON")), 200).remedy == (
        "If the response is as the provider documents it, correct `response` in receiver.toml. "
        f"{retry} {UNMATCHED_STEP}"
    )
    assert explain(decide(Response(409, {}, b""), ambiguous=True), 409).remedy == (
        f"Do not retry it. Look its reference up at the provider, then {ACCEPT_COMMAND}. {UNMATCHED_STEP}"
    )
    assert explain_unknown(REQUEST_ID, f"no response: reset; {LOOKUP_SCHEDULED_DETAIL}", None).remedy == (
        f"A lookup at the provider is scheduled, and may settle it. {retry}"
    )


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        ("1 × accepted, but without a reference", "The provider accepted it, but its response has no reference."),
        (
            "1 × something else",
            "The provider responded with 202, so that it probably acted on it, but its response cannot be read.",
        ),
    ],
)
def test_detail_that_names_no_problem_has_a_reason(detail: str, reason: str) -> None:
    assert explain_unknown(REQUEST_ID, detail, 202).reason == reason


def test_request_of_the_api_is_explained_by_its_last_attempt() -> None:
    detail = "1 × accepted, but no reference at `id`"
    request: dict[str, Any] = {"id": REQUEST_ID, "detail": detail}
    attempts = [{"response_status": None}, {"response_status": 201}]
    assert explain_unknown_request(request | {"attempts": attempts}) == explain_unknown(REQUEST_ID, detail, 201)
    for unanswered in (request, request | {"attempts": []}, request | {"attempts": attempts[:1]}):
        assert explain_unknown_request(unanswered) == explain_unknown(REQUEST_ID, detail, None)
