"""Why a request has its status, and what can be done about it, in words."""

from typing import Any

import pytest

from receiver.domain.sending import RequestStatus
from receiver.web.admin.request_explanations import explain_request, list_actions


def build_request(status: str, **fields: Any) -> dict[str, Any]:
    request: dict[str, Any] = {"id": "id-1", "attempts": [], "jobs": [], "payload": {}, "reference_conflict": False}
    return {**request, "status": status, "detail": None, **fields}


def build_attempts(*responses: int | str) -> list[dict[str, Any]]:
    return [
        {"response_status": response, "error": None}
        if isinstance(response, int)
        else {"response_status": None, "error": response}
        for response in responses
    ]


@pytest.mark.parametrize(
    ("request_fields", "expected"),
    [
        ({"status": "queued"}, "It waits to be sent for the first time."),
        (
            {"status": "queued", "attempts": build_attempts(200, 503)},
            "It waits for attempt 3; attempt 2 ended with HTTP 503.",
        ),
        (
            {"status": "queued", "attempts": build_attempts("no response within 30 s")},
            "It waits for attempt 2; attempt 1 ended with no response within 30 s.",
        ),
        ({"status": "accepted"}, "The provider accepted it, but named no job of its own."),
        (
            {"status": "accepted", "jobs": [{"status": "in_progress"}]},
            "The provider accepted it; its job is in progress.",
        ),
        (
            {"status": "accepted", "jobs": [{"status": "succeeded"}, {"status": "accepted"}, {"status": "succeeded"}]},
            "The provider accepted it; of its 3 jobs, 2 succeeded, 1 is accepted.",
        ),
        ({"status": "rejected", "detail": "400: no."}, "The provider refused it for good: 400: no."),
        ({"status": "failed"}, "It was given up."),
    ],
)
def test_explanation_is_one_sentence(request_fields: dict[str, Any], expected: str) -> None:
    assert explain_request(build_request(**request_fields)) == expected


@pytest.mark.parametrize("status", list(RequestStatus))
def test_every_status_is_explained(status: RequestStatus) -> None:
    assert explain_request(build_request(status.value, attempts=build_attempts(500))).endswith(".")


@pytest.mark.parametrize(
    ("request_fields", "expected"),
    [
        ({"status": "queued"}, ["cancel", "send-now"]),
        ({"status": "unknown"}, ["retry", "resolve"]),
        ({"status": "unknown", "payload": None}, ["resolve"]),
        ({"status": "failed"}, ["retry"]),
        ({"status": "accepted"}, []),
        ({"status": "accepted", "reference_conflict": True}, ["resolve"]),
        ({"status": "completed"}, []),
    ],
)
def test_actions_follow_from_the_status(request_fields: dict[str, Any], expected: list[str]) -> None:
    assert [action.kind for action in list_actions(build_request(**request_fields))] == expected


def test_only_retry_of_unknown_request_is_risky() -> None:
    risky = {
        (status, action.kind)
        for status in RequestStatus
        for action in list_actions(build_request(status.value, reference_conflict=True))
        if action.is_risky
    }
    assert risky == {("unknown", "retry")}


@pytest.mark.parametrize(
    ("detail", "warning"),
    [
        ("1 × accepted, but no reference at `id`", "The provider would act twice: it accepted an earlier attempt."),
        ("200: Successful. But the body is not JSON.", "The provider may act twice"),
    ],
)
def test_retry_of_accepted_request_acts_twice(detail: str, warning: str) -> None:
    request = build_request("unknown", detail=detail, attempts=build_attempts(200))
    retry = next(action for action in list_actions(request) if action.kind == "retry")
    assert warning in retry.consequence
