"""A request as text: its fields, what to do about it, and its tables."""

from typing import Any

import pytest

from receiver.cli.rendering import print_request

REQUEST_ID = "018f0000-0000-7000-8000-000000000000"
TIME = "2026-11-23T12:00:05.678901+00:00"


def build_document(**overrides: Any) -> dict[str, Any]:
    return {
        "id": REQUEST_ID,
        "status": "accepted",
        "detail": None,
        "provider": "acme",
        "account": None,
        "operation": "send",
        "created_at": TIME,
        "due_at": TIME,
        "deadline_at": TIME,
        "finished_at": None,
        "priority": 5,
        "notify_url": None,
        "notify_events": None,
        "metadata": {},
        "payload": {"text": "hello"},
    } | overrides


def render(capsys: pytest.CaptureFixture[str], **overrides: Any) -> str:
    print_request(build_document(**overrides))
    return capsys.readouterr().out


def test_fields_without_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    output = render(capsys)
    assert [line.split()[0] for line in output.splitlines()] == [
        *("request", "status", "provider", "operation", "created", "due", "deadline", "priority", "payload")
    ]
    assert 'payload    {"text":"hello"}' in output


def test_finished_request_has_no_due_time(capsys: pytest.CaptureFixture[str]) -> None:
    output = render(capsys, status="completed", finished_at=TIME)
    assert "finished   2026-11-23T12:00:05Z" in output
    assert "deadline" not in output
    assert "due" not in output


@pytest.mark.parametrize(
    ("status", "command"),
    [("unknown", "request resolve"), ("rejected", "request retry"), ("failed", "request retry")],
)
def test_advice_names_the_command_with_its_id(status: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"`receiver {command} {REQUEST_ID}" in render(capsys, status=status)


def test_accepted_request_needs_no_advice(capsys: pytest.CaptureFixture[str]) -> None:
    assert "receiver request" not in render(capsys)


def test_attempts_jobs_and_actions_follow_in_sections(capsys: pytest.CaptureFixture[str]) -> None:
    attempt = {"number": 1, "started_at": TIME, "finished_at": None, "response_status": 202, "error": None}
    action = {"at": TIME, "actor": "ops", "action": "retry", "reason": "a test"}
    output = render(capsys, attempts=[attempt], jobs=[], actions=[action])
    assert [line for line in output.splitlines() if line in {"attempts", "jobs", "actions"}] == ["attempts", "actions"]
    assert "2026-11-23T12:00:05Z  ops    retry   a test" in output


@pytest.mark.parametrize(
    ("detail", "response_status", "text"),
    [
        ("no response: connection reset", None, "It was sent, but no response arrived"),
        (
            "1 × no reference at `data.ID`",
            202,
            "The provider accepted it, but its response has no reference at `data.ID`.",
        ),
    ],
)
def test_unknown_request_is_explained_by_its_last_response(
    detail: str, response_status: int | None, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    attempt = {"number": 1, "started_at": TIME, "finished_at": TIME, "response_status": response_status, "error": None}
    output = render(capsys, status="unknown", detail=detail, attempts=[attempt])
    assert text in output
    assert f"`receiver request resolve {REQUEST_ID} --status accepted" in output
    assert ("request retry" in output) is (response_status is None)
