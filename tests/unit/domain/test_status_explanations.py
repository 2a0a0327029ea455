"""Explanations of jobs' statuses: a sentence for each case of the fold, over events with their real effects."""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from receiver.domain.access import OperatorAction
from receiver.domain.jobs import (
    EventSource,
    JobEvent,
    JobStatus,
    build_operator_event,
    build_unresolved_event,
    compute_effects,
    derive_job_id,
    fold_job,
)
from receiver.domain.status_explanations import REPLACED, StatusExplanation, explain_status, mark_replaced
from tests.support.factories import NOON, event

ACCEPTED, IN_PROGRESS, UNRESOLVED, SUCCEEDED, FAILED = JobStatus
RESPONSE, CALLBACK, POLL = EventSource.RESPONSE, EventSource.CALLBACK, EventSource.POLL
DEADLINE_AT = NOON + timedelta(days=3)
JOB_ID = derive_job_id("sandbox", "ref-1")
T = [f"2026-11-23 12:00:{second:02d} UTC" for second in range(10)]
"""The times of the events as texts, by seconds after noon."""


def report(status: JobStatus | None, at: float, word: str | None = None, **overrides: Any) -> JobEvent:
    """Build the event of a callback, received `at` seconds after noon, with a status as the provider writes it."""
    return replace_word(event(status=status, at=at, **overrides), word)


def replace_word(job_event: JobEvent, word: str | None) -> JobEvent:
    job_event.provider_status = word  # type: ignore[misc]  # frozen for the type checker only
    return job_event


def resolve(status: JobStatus | None, at: float, actor: str = "mary", reason: str | None = None) -> JobEvent:
    """Build the event of an operator."""
    action = OperatorAction(actor, NOON + timedelta(seconds=at), reason)
    return build_operator_event(
        JOB_ID, "sandbox", "ref-1", action, key=uuid4(), deadline_at=DEADLINE_AT, status=status, detail=reason
    )


def expire(at: float, detail: str = "deadline passed") -> JobEvent:
    """Build the event of a deadline that passed."""
    return build_unresolved_event(JOB_ID, "sandbox", "ref-1", NOON + timedelta(seconds=at), detail)


def explain(*events: JobEvent, newest: int = 100, unmatched: bool = False) -> StatusExplanation:
    """Explain the status that events lead to, of which only the newest are known as the API knows them."""
    in_order = sorted(events, key=lambda item: (item.received_at, item.position, item.key))
    older, shown = in_order[: max(len(in_order) - newest, 0)], in_order[-newest:]
    preceding = find_decisive(older) if older else None
    return explain_status(
        compute_effects(shown, preceding),
        preceding,
        disputed=fold_job(events).disputed,
        unmatched=unmatched,
        deadline_at=DEADLINE_AT,
    )


def find_decisive(events: Sequence[JobEvent]) -> JobEvent:
    decided_by = fold_job(events).decided_by
    return next(item for item in events if item.key == decided_by)


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        (
            [report(ACCEPTED, 0, "QUEUED", source=RESPONSE)],
            (
                f"Accepted: the provider's response of {T[0]} accepted it as `QUEUED`, and nothing further"
                " has been reported."
            ),
        ),
        (
            [report(ACCEPTED, 0, source=RESPONSE)],
            (f"Accepted: the provider's response of {T[0]} accepted it, and nothing further has been reported."),
        ),
        (
            [report(ACCEPTED, 5, "accepted")],
            (
                f"Accepted: the provider's callback of {T[5]} reported `accepted`, and nothing further has"
                " been reported."
            ),
        ),
        (
            [report(ACCEPTED, 0, source=RESPONSE), report(IN_PROGRESS, 5, "RUN`NING")],
            (
                f"In progress: the provider's callback of {T[5]} reported `RUN'NING` (in progress), and no"
                " final status has been received."
            ),
        ),
        (
            [report(ACCEPTED, 0, source=RESPONSE), report(SUCCEEDED, 9, "DONE", source=POLL)],
            (f"Succeeded: the provider's answer to the poll of {T[9]} reported `DONE` (succeeded)."),
        ),
        (
            [expire(60)],
            "Unresolved: no final status had been received at the deadline, 2026-11-23 12:01:00 UTC.",
        ),
        (
            [report(ACCEPTED, 0, source=RESPONSE), report(IN_PROGRESS, 1), report(IN_PROGRESS, 2, "SENT"), expire(60)],
            (
                "Unresolved: no final status had been received at the deadline, 2026-11-23 12:01:00 UTC; the last "
                f"status was `SENT` (in progress) from the provider's callback of {T[2]}."
            ),
        ),
        (
            [expire(60, "gave up polling after 60 s; last: 404")],
            (
                "Unresolved: no final status had been received at 2026-11-23 12:01:00 UTC: gave up "
                "polling after 60 s; last: 404."
            ),
        ),
        (
            [report(UNRESOLVED, 5, "EXPIRED")],
            f"Unresolved: the provider's callback of {T[5]} reported `EXPIRED` (unresolved).",
        ),
        (
            [report(None, at, word) for at, word in enumerate("ABC")],
            "Accepted: no status has been received that the provider's `statuses` map, only `A`, `B`, `C`.",
        ),
        (
            [report(None, 3, "PAINTING")],
            "Accepted: no status has been received that the provider's `statuses` map, only `PAINTING`.",
        ),
        ([resolve(None, 3)], "Accepted: no status has been received yet."),
        (
            [report(ACCEPTED, 0), report(SUCCEEDED, 1), report(FAILED, 2, "REVERSED", superseding=True)],
            (
                f"Failed: the provider's callback of {T[2]} reported `REVERSED` (failed), which supersedes"
                f" `succeeded` from the provider's callback of {T[1]}."
            ),
        ),
        (
            [report(SUCCEEDED, 1, "SENT"), report(SUCCEEDED, 2, "DONE"), report(FAILED, 3, superseding=True)],
            (
                f"Failed: the provider's callback of {T[3]} reported `failed`, which supersedes `SENT` (succeeded) "
                f"from the provider's callback of {T[1]}."
            ),
        ),
        (
            [report(FAILED, 2, superseding=True)],
            (
                f"Failed: the provider's callback of {T[2]} reported `failed`, a status that outranks the "
                "provider's other final statuses."
            ),
        ),
        (
            [report(SUCCEEDED, 1, "DONE"), report(FAILED, 2, "BAD", source=POLL)],
            (
                f"Succeeded: the provider's callback of {T[1]} reported `DONE` (succeeded); later, the "
                f"provider's answer to the poll of {T[2]} reported `BAD` (failed), which contradicts it, "
                "so the job is disputed."
            ),
        ),
        (
            [report(SUCCEEDED, 1), report(FAILED, 2), report(SUCCEEDED, 3), report(FAILED, 4)],
            (
                f"Succeeded: the provider's callback of {T[1]} reported `succeeded`; later, the provider's"
                f" callback of {T[2]} reported `failed`, which contradicts it, as 1 more does, so the job "
                "is disputed."
            ),
        ),
        (
            [report(FAILED, 1), *[report(SUCCEEDED, at) for at in (2, 3, 4)]],
            (
                f"Failed: the provider's callback of {T[1]} reported `failed`; later, the provider's callback of "
                f"{T[2]} reported `succeeded`, which contradicts it, as 2 more do, so the job is disputed."
            ),
        ),
        (
            [report(SUCCEEDED, 1, superseding=True), report(FAILED, 2, superseding=True)],
            (
                f"Succeeded: the provider's callback of {T[1]} reported `succeeded`, a status that "
                f"outranks the provider's other final statuses; later, the provider's callback of {T[2]} "
                "reported `failed`, which contradicts it, so the job is disputed."
            ),
        ),
        (
            [report(SUCCEEDED, 1), resolve(FAILED, 5, reason="refunded")],
            (
                f"Failed: mary resolved it at {T[5]} (“refunded”); the provider's callback of {T[1]} says "
                "`succeeded`, but an operator's status outranks the provider's."
            ),
        ),
        (
            [report(FAILED, 1), resolve(FAILED, 5)],
            (f"Failed: mary resolved it at {T[5]}; the provider's callback of {T[1]} agrees."),
        ),
        (
            [report(IN_PROGRESS, 1), resolve(SUCCEEDED, 5)],
            (f"Succeeded: mary resolved it at {T[5]}; the provider has reported no final status."),
        ),
        (
            [resolve(SUCCEEDED, 5)],
            (f"Succeeded: mary resolved it at {T[5]}; the provider has reported no status."),
        ),
        (
            [report(SUCCEEDED, 1), report(FAILED, 2), resolve(SUCCEEDED, 5)],
            (
                f"Succeeded: mary resolved it at {T[5]}; the provider has reported contradicting final "
                "statuses, and this settles the dispute."
            ),
        ),
        (
            [resolve(SUCCEEDED, 5, "mary"), resolve(FAILED, 9, "joe", "typo")],
            (
                f"Failed: joe resolved it at {T[9]} (“typo”), which corrects the `succeeded` of mary at "
                f"{T[5]}; the provider has reported no status."
            ),
        ),
        (
            [resolve(SUCCEEDED, 1, "mary"), resolve(FAILED, 5, "joe"), resolve(SUCCEEDED, 9, "ann")],
            (
                f"Succeeded: ann resolved it at {T[9]}, which corrects the `failed` of joe at {T[5]}; the provider "
                "has reported no status."
            ),
        ),
        (
            [report(FAILED, 5, source=EventSource.OPERATOR)],
            f"Failed: an operator resolved it at {T[5]}; the provider has reported no status.",
        ),
        (
            [resolve(FAILED, 5, "mary"), resolve(FAILED, 9, "joe")],
            (
                f"Failed: joe resolved it at {T[9]}, which confirms the `failed` of mary at {T[5]}; the "
                "provider has reported no status."
            ),
        ),
    ],
)
def test_reason_names_what_decides(events: Sequence[JobEvent], reason: str) -> None:
    explanation = explain(*random.sample(events, len(events)))
    assert explanation.reason == reason
    assert explanation.event == find_decisive(events)


def test_reason_names_who_tracks_or_named_a_job() -> None:
    tracked, named = event(status=ACCEPTED, source=RESPONSE, request_id=uuid4()), resolve(None, 4)
    tracked.actor, named.request_id = "shop", uuid4()  # type: ignore[misc]  # frozen for the type checker only
    assert explain(tracked).reason == (f"Accepted: shop tracks it since {T[0]}, and nothing further has been reported.")
    assert explain(named).reason == (f"Accepted: mary at {T[4]} named it, and no status has been received.")


def test_reason_of_dispute_within_one_callback() -> None:
    callback_id = uuid4()
    events = [
        report(status, 1, origin=callback_id, index=index, callback_id=callback_id)
        for index, status in enumerate([FAILED, SUCCEEDED])
    ]
    assert explain(*events).reason == (
        f"Failed: the provider's callback of {T[1]} reported `failed`; further down, the same "
        "callback says `succeeded`, which contradicts it, so the job is disputed."
    )


def test_reason_of_dispute_at_the_same_time() -> None:
    events = [report(status, 1) for status in (FAILED, SUCCEEDED)]
    assert "; at the same time, the provider's callback of " in explain(*events).reason


def test_event_before_the_newest_decides() -> None:
    first = report(SUCCEEDED, 0, "DONE")
    explanation = explain(first, *[report(IN_PROGRESS, at) for at in range(1, 250)])
    assert explanation.reason == (f"Succeeded: the provider's callback of {T[0]} reported `DONE` (succeeded).")
    assert explanation.event is first
    assert explanation.notes == [
        "Of the newest 100 events, 100 events are stale: a status that outranks them had arrived."
    ]


def test_dispute_before_the_newest_events_is_named() -> None:
    events = [report(SUCCEEDED, 0), report(FAILED, 1), *[report(SUCCEEDED, at) for at in range(2, 250)]]
    assert explain(*events).reason.endswith("; an event before these contradicts it, so the job is disputed.")


@pytest.mark.parametrize(
    ("events", "note"),
    [
        (
            [report(ACCEPTED, 0, source=RESPONSE)],
            ("Without a final status, the job becomes unresolved at 2026-11-26 12:00:00 UTC."),
        ),
        ([expire(60)], "A final status that is received later still counts."),
        (
            [report(SUCCEEDED, 1), report(FAILED, 2)],
            (
                "Of contradicting final statuses, the one received first stands. Ask the provider which is right, then "
                "resolve the job: that settles the dispute."
            ),
        ),
        (
            [resolve(FAILED, 5)],
            "Nothing that the provider reports changes an operator's status. The latest operator's status stands.",
        ),
        (
            [expire(60), report(SUCCEEDED, 61)],
            (
                "The status is late: the job had been unresolved since 2026-11-23 12:01:00 UTC. A final "
                "status still counts then."
            ),
        ),
        (
            [expire(60), report(SUCCEEDED, 60)],
            (
                "The status is late: the job had been unresolved since 2026-11-23 12:01:00 UTC. A final "
                "status still counts then."
            ),
        ),
        (
            [report(SUCCEEDED, 0), report(ACCEPTED, 1, source=RESPONSE)],
            "A callback overtook the response to the request: it was received first.",
        ),
        (
            [report(SUCCEEDED, 0), report(SUCCEEDED, 1), report(SUCCEEDED, 2), report(IN_PROGRESS, 3)],
            "2 events repeat a known status and 1 event is stale: a status that outranks it had arrived.",
        ),
        ([report(SUCCEEDED, 0), report(SUCCEEDED, 1)], "1 event repeats a known status."),
        (
            [report(SUCCEEDED, 0), report(None, 1, "A"), report(None, 2, "A")],
            (
                "2 events changed nothing: `A` is missing from the provider's `statuses`. Add it there, reload the "
                "configuration (SIGHUP), and replay the callback."
            ),
        ),
        (
            [report(SUCCEEDED, 0), *[report(None, at, word) for at, word in enumerate("ABBCDE")]],
            (
                "6 events changed nothing: `A`, `B`, `C` and 2 more are missing from the provider's `statuses`. Add "
                "them there, reload the configuration (SIGHUP), and replay the callback."
            ),
        ),
    ],
)
def test_notes_name_what_else_there_is_to_know(events: Sequence[JobEvent], note: str) -> None:
    assert note in explain(*events).notes


def test_note_on_unmapped_status_ends_with_a_replay_that_maps_it() -> None:
    callback, other = uuid4(), uuid4()
    unmapped = report(None, 1, "A", callback_id=callback)
    assert explain(unmapped, report(None, 2, "A", callback_id=other)).notes[-1].startswith("2 events changed nothing")
    replayed = report(IN_PROGRESS, 1, "A", callback_id=callback)
    assert "changed nothing" not in " ".join(explain(unmapped, replayed).notes)
    [note] = [
        note for note in explain(unmapped, replayed, report(None, 2, "B", callback_id=other)).notes if "`B`" in note
    ]
    assert note.startswith("1 event changed nothing")
    further_down = report(None, 1, "C", callback_id=callback, index=1)
    assert "1 event changed nothing: `C`" in " ".join(explain(unmapped, replayed, further_down).notes)


def test_unmapped_status_of_a_poll_is_polled_again() -> None:
    notes = explain(report(None, 1, "A", source=POLL)).notes
    assert notes[-1].endswith("Add it there, reload the configuration (SIGHUP), and poll the job again.")


def test_only_the_event_that_a_replay_mapped_is_marked() -> None:
    unmapped = {"callback_id": "1", "provider_status": "A", "status": None, "effect": None}
    mapped = {**unmapped, "status": "failed", "effect": "applied"}
    others = [{**unmapped, "callback_id": "2"}, {**unmapped, "provider_status": "B"}, {**unmapped, "callback_id": None}]
    marked = mark_replaced([unmapped, mapped, *others, {**mapped, "callback_id": None}])
    assert [each["effect"] for each in marked] == [REPLACED, "applied", None, None, None, "applied"]


def test_replay_replaces_the_status_of_the_same_job_only() -> None:
    mapped = {"job_id": "1", "callback_id": "c", "provider_status": "DONE", "status": "succeeded", "effect": "applied"}
    unmapped = {**mapped, "status": None, "effect": None}
    marked = mark_replaced([mapped, unmapped, {**unmapped, "job_id": "2"}])
    assert [each["effect"] for each in marked] == ["applied", REPLACED, None]


def test_note_on_unmatched_job() -> None:
    note = (
        "No request of this service is known for the reference: no response has contained it. A response that does "
        "makes it the job of its request."
    )
    assert explain(report(SUCCEEDED, 0), unmatched=True).notes == [note]


def test_overtaking_is_noted_only_if_all_events_are_known() -> None:
    events = [report(SUCCEEDED, at, source=source) for at, source in enumerate((RESPONSE, CALLBACK, RESPONSE))]
    assert explain(*events, newest=2).notes == ["Of the newest 2 events, 2 events repeat a known status."]


@pytest.mark.usefixtures("local_time")
def test_times_are_utc_in_any_zone() -> None:
    assert explain(report(ACCEPTED, 0)).notes == [
        "Without a final status, the job becomes unresolved at 2026-11-26 12:00:00 UTC."
    ]


def test_plain_success_needs_no_note() -> None:
    events = [report(ACCEPTED, 0, source=RESPONSE), report(IN_PROGRESS, 1, "SENT"), report(SUCCEEDED, 2)]
    assert explain(*events).notes == []
