"""The steps of a job: its events merged with the sending of its request and the notifications to its client."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from receiver.web.admin.steps import MAX_STEPS, Party, Step, choose_steps, list_event_steps, list_steps

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
JOB_ID, CALLBACK_ID = str(UUID(int=1)), str(UUID(int=2))


def format_time(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat()


def build_event(source: str, status: str | None, at: float, **overrides: Any) -> dict[str, Any]:
    """Build an event as the API shows it, received `at` seconds after noon."""
    names = ("provider_status", "code", "detail", "occurred_at", "callback_id", "actor")
    event = {"source": source, "status": status, "effect": "applied", "superseding": False}
    return {**dict.fromkeys(names), **event, "received_at": format_time(at)} | overrides


def build_job(*events: dict[str, Any], **overrides: Any) -> dict[str, Any]:
    job = {"id": JOB_ID, "status": "succeeded", "events": list(events), "events_cursor": None}
    explanation = {"reason": "", "notes": [], "event": events[-1]} if events else None
    return {**job, "explanation": explanation, "deadline_at": format_time(600)} | overrides


def build_attempt(number: int, started_at: float, finished_at: float | None, **overrides: Any) -> dict[str, Any]:
    times = {"started_at": format_time(started_at), "finished_at": finished_at and format_time(finished_at)}
    return {"number": number, **times, "response_status": None, "error": None} | overrides


def build_request(*attempts: dict[str, Any], actions: Any = ()) -> dict[str, Any]:
    return {"created_at": format_time(-1), "operation": "send", "attempts": attempts, "actions": actions}


def describe(steps: list[Step]) -> list[tuple[str, str, float]]:
    return [(step.title, step.direction, (step.at - NOON).total_seconds()) for step in steps]


def test_sending_is_merged_with_events() -> None:
    request = build_request(
        build_attempt(1, 0, 1, error="timed out"),
        build_attempt(2, 2, 3, response_status=429),
        build_attempt(3, 4, 5, response_status=202),
        build_attempt(4, 9, None),
        actions=[{"at": format_time(6), "action": "send-now", "actor": "mary", "reason": "urgent"}],
    )
    job = build_job(
        build_event("response", "accepted", 4.9, provider_status="ACK", code="1801"),
        build_event("poll", "in_progress", 7),
        build_event("callback", "succeeded", 8, callback_id=CALLBACK_ID),
    )
    steps = list_steps(job, request)
    assert describe(steps) == [
        ("Submitted", "from the client", -1),
        ("Attempt 1", "to the provider", 0),
        ("No response", "from the provider", 1),
        ("Attempt 2", "to the provider", 2),
        ("Response 429", "from the provider", 3),
        ("Attempt 3", "to the provider", 4),
        ("Response 202", "from the provider", 4.9),
        ("Send now", "by mary", 6),
        ("Poll", "to the provider", 7),
        ("Callback", "from the provider", 8),
        ("Attempt 4", "to the provider", 9),
    ]
    assert (steps[2].is_failed, steps[2].detail, steps[6].words, steps[6].attempt) == (True, "timed out", "ACK 1801", 3)
    assert [step.title for step in steps if step.is_decisive] == ["Callback"]


def test_callback_that_overtook_the_response_comes_first() -> None:
    request = build_request(build_attempt(1, 0, 3, response_status=202))
    job = build_job(build_event("callback", "succeeded", 1), build_event("response", "accepted", 2, effect="stale"))
    assert [step.title for step in list_steps(job, request)][1:] == ["Attempt 1", "Callback", "Response 202"]


def test_response_of_another_attempt_stays_an_event() -> None:
    request = build_request(build_attempt(1, 0, 1, response_status=202))
    steps = list_steps(build_job(build_event("response", "accepted", 50)), request)
    assert [step.title for step in steps] == ["Submitted", "Attempt 1", "Response 202", "Response"]


def test_sending_before_the_newest_events_is_left_out() -> None:
    request = build_request(build_attempt(1, 0, 1, response_status=202))
    steps = list_steps(build_job(build_event("callback", "succeeded", 50), events_cursor="more"), request)
    assert [step.title for step in steps] == ["Callback"]


def test_events_of_other_sources() -> None:
    job = build_job(
        build_event("response", "accepted", 0, actor="shop"),
        build_event("operator", None, 1, actor="mary", effect=None, detail="poll requested"),
        build_event("deadline", "unresolved", 2),
        build_event("operator", "failed", 3, actor="mary"),
    )
    assert describe(list_steps(job)) == [
        ("Tracked", "by shop", 0),
        ("Action", "by mary", 1),
        ("Deadline", "", 2),
        ("Resolved", "by mary", 3),
    ]


def test_notifications_about_the_job_are_steps() -> None:
    notification = {
        "id": CALLBACK_ID,
        "type": "jobs.finished",
        "status": "failed",
        "detail": None,
        "error": "HTTP 500",
        "created_at": format_time(5),
        "last_attempt_at": format_time(9),
        "job_ids": [JOB_ID],
    }
    job = build_job(build_event("callback", "succeeded", 0))
    other = notification | {"job_ids": [CALLBACK_ID]}
    queued = notification | {"status": "queued", "last_attempt_at": None}
    steps = list_steps(job, build_request(), [notification, other, queued])
    assert describe(steps)[2:] == [
        ("Notification", "to the client", 5),
        ("Notification", "to the client", 9),
    ]
    assert [(step.is_failed, step.detail) for step in steps[2:]] == [(False, "HTTP 500"), (True, "HTTP 500")]


def test_deadline_of_open_job_is_expected() -> None:
    job = build_job(build_event("response", "accepted", 0), status="accepted")
    assert [step.is_expected for step in list_steps(job, now=NOON)] == [False, True]
    overdue = list_steps(job, now=NOON + timedelta(hours=1))[-1]
    assert (overdue.at, overdue.detail) == (
        NOON + timedelta(minutes=10),
        "The deadline has passed; the worker marks the job.",
    )
    assert [step.is_expected for step in list_steps(build_job(build_event("poll", "failed", 0)), now=NOON)] == [False]


def test_long_texts_are_cut() -> None:
    [step] = list_steps(build_job(build_event("poll", "failed", 0, provider_status="s" * 999, detail="d" * 9_999)))
    assert (len(step.words), len(step.detail)) == (60, 200)


def test_runs_of_equal_steps_are_folded() -> None:
    events = [build_event("callback", "in_progress", at, effect="duplicate") for at in range(9)]
    steps = list_event_steps([*events, build_event("callback", "succeeded", 9)], None)
    first, last = choose_steps(steps, None)
    assert (first.repeats, first.repeated_until, last.repeats) == (8, NOON + timedelta(seconds=8), 0)


def test_short_runs_and_the_decisive_step_are_not_folded() -> None:
    events = [build_event("callback", "succeeded", at, effect="duplicate") for at in range(7)]
    decisive = events[3]
    steps = choose_steps(list_event_steps(events, {"event": decisive}), {"event": decisive})
    assert [step.is_decisive for step in steps] == [False, False, False, True, False, False, False]


def test_only_the_newest_steps_and_the_decisive_one_are_chosen() -> None:
    events = [build_event("callback", ("in_progress", "failed")[at % 2], at, effect="stale") for at in range(100)]
    explanation = {"event": build_event("callback", "succeeded", -5)}
    steps = choose_steps(list_event_steps(events, explanation), explanation)
    assert (len(steps), steps[0].is_decisive, steps[0].is_cut_off, steps[-1].at) == (
        MAX_STEPS,
        True,
        True,
        NOON + timedelta(seconds=99),
    )


def test_step_names_its_parties_and_symbol() -> None:
    [step] = list_event_steps([build_event("poll", "in_progress", 0)], None)
    assert (step.sender, step.recipient, step.is_two_way) == (Party.SERVICE, Party.PROVIDER, True)
    assert step.symbol is not None
    assert step.symbol.word == "in progress"
