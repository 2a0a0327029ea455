"""What is wrong with what is stored, and what proves it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.audit import (
    AuditedJob,
    AuditedRequest,
    FindingKind,
    audit_job,
    audit_request,
    prove_job,
    repair_event,
)
from receiver.domain.jobs import EventSource, JobEvent, JobStatus, Precedence, fold_events
from receiver.domain.sending import REFERENCE_CONFLICT_DETAIL, RequestStatus
from tests.factories import NOON, event

ONE, TWO = UUID(int=1), UUID(int=2)

histories = st.lists(
    st.builds(
        lambda status, source, at, superseding: event("ref-1", status, source=source, at=at, superseding=superseding),
        st.sampled_from([*JobStatus, None]),
        st.sampled_from(EventSource),
        st.integers(0, 5),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def stored(events: list[JobEvent], **overrides: Any) -> AuditedJob:
    """Give the job as it is stored after events."""
    [(job_id, state)] = fold_events(events).items()
    given: dict[str, Any] = {
        "id": job_id,
        "provider": "sandbox",
        "reference": "ref-1",
        "request_id": None,
        "status": state.status,
        "precedence": state.precedence,
        "disputed": state.disputed,
        "decided_at": state.decided_at,
        "decided_position": state.decided_position,
        "decided_by": state.decided_by,
        "accepted_at": state.accepted_at,
        "finished_at": state.finished_at,
        "poll_at": None,
    }
    return AuditedJob(**given | overrides)


def request(**overrides: Any) -> AuditedRequest:
    """Give a request whose one attempt got no answer."""
    given: dict[str, Any] = {
        "id": ONE,
        "provider": "sandbox",
        "status": RequestStatus.UNKNOWN,
        "detail": None,
        "attempts": 1,
        "rows": 1,
        "newest": 1,
        "begun_at": NOON,
        "response_status": None,
        "lease_over": True,
        "lease_absurd": False,
        "jobs": 1,
        "answered": False,
        "taken_at": None,
        "retried_at": None,
        "settled": False,
    }
    return AuditedRequest(**given | overrides)


@given(events=histories)
def test_the_fold_of_the_events_is_never_found(events: list[JobEvent]) -> None:
    assert audit_job(stored(events), events) == []


@given(events=histories, weight=st.integers(-5, 70))
def test_a_weight_that_cannot_be_is_mended_only_to_the_one_that_can(events: list[JobEvent], weight: Any) -> None:
    for one in events:
        mended = repair_event(replace(one, precedence=weight))
        final = one.status is not None and one.status.is_final and one.source is not EventSource.OPERATOR
        if final:
            assert mended is None or mended.precedence in {Precedence.FINAL, Precedence.SUPERSEDING}
        else:
            assert mended == one


def test_any_request_that_an_event_names_may_own_the_job_and_else_the_first_does() -> None:
    events = [
        event(status=JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=TWO, at=1),
        event(status=JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=ONE, at=2),
    ]
    for owner, proven in ((ONE, ONE), (TWO, TWO), (None, TWO), (UUID(int=3), TWO)):
        found = prove_job(stored(events, request_id=owner), events)
        assert found is not None
        assert found.request_id == proven


def test_nothing_is_proven_of_a_job_by_an_event_whose_weight_cannot_be_told() -> None:
    right = event(status=JobStatus.FAILED)
    wrong = [replace(right, precedence=Precedence.ACCEPTED)]
    assert prove_job(stored([right]), wrong) is None
    assert [finding.kind for finding in audit_job(stored([right], disputed=True), wrong)] == [
        FindingKind.EVENT_PRECEDENCE
    ]


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, True),
        ({"status": RequestStatus.QUEUED}, True),
        ({"status": RequestStatus.QUEUED, "retried_at": NOON + timedelta(minutes=1)}, False),
        ({"status": RequestStatus.QUEUED, "begun_at": None, "attempts": 0, "rows": 0, "newest": 0}, False),
        ({"status": RequestStatus.REJECTED}, False),
        ({"status": RequestStatus.CANCELLED}, False),
        ({"taken_at": None}, False),
        ({"retried_at": NOON + timedelta(hours=2)}, False),
        ({"retried_at": NOON - timedelta(hours=1)}, True),
        ({"answered": True, "response_status": 200}, False),
        ({"answered": True, "response_status": 409}, False),
        ({"answered": True, "response_status": 504}, True),
        ({"answered": False, "response_status": 202}, True),
    ],
)
def test_a_request_is_called_taken_only_where_that_is_proven(more: dict[str, Any], found: bool) -> None:
    told = audit_request(request(**{"taken_at": NOON + timedelta(hours=1), **more}))
    assert [finding.kind for finding in told] == ([FindingKind.TAKEN] if found else [])


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, True),
        ({"jobs": 1}, False),
        ({"settled": True}, False),
        ({"detail": f"{REFERENCE_CONFLICT_DETAIL} x"}, False),
    ],
)
def test_an_accepted_request_lacks_a_job_unless_it_is_known_why(more: dict[str, Any], found: bool) -> None:
    told = audit_request(request(**{"status": RequestStatus.ACCEPTED, "jobs": 0, **more}))
    assert [finding.kind for finding in told] == ([FindingKind.NO_JOB] if found else [])
