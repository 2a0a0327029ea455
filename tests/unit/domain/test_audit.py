"""Consistency checks of jobs and requests, and what proves the right value."""

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
from tests.support.factories import NOON, event

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


def build_job(events: list[JobEvent], **overrides: Any) -> AuditedJob:
    """Build the stored job of these events."""
    [(job_id, state)] = fold_events(events).items()
    columns: dict[str, Any] = {
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
    return AuditedJob(**columns | overrides)


def build_request(**overrides: Any) -> AuditedRequest:
    """Build a request whose only attempt got no response."""
    columns: dict[str, Any] = {
        "id": ONE,
        "provider": "sandbox",
        "status": RequestStatus.UNKNOWN,
        "detail": None,
        "attempts": 1,
        "attempt_rows": 1,
        "newest_attempt": 1,
        "started_at": NOON,
        "response_status": None,
        "lease_expired": True,
        "lease_too_long": False,
        "jobs": 1,
        "named_by_response": False,
        "accepted_at": None,
        "retried_at": None,
        "resolved": False,
        "reference_conflict": False,
    }
    return AuditedRequest(**columns | overrides)


@given(events=histories)
def test_consistent_job_has_no_findings(events: list[JobEvent]) -> None:
    assert audit_job(build_job(events), events) == []


@given(events=histories, precedence=st.integers(-5, 70))
def test_invalid_precedence_is_repaired_only_if_unambiguous(events: list[JobEvent], precedence: Any) -> None:
    for original in events:
        repaired = repair_event(replace(original, precedence=precedence))
        status, source = original.status, original.source
        if status is not None and status.is_final and source is not EventSource.OPERATOR:
            assert repaired is None or repaired.precedence in {Precedence.FINAL, Precedence.SUPERSEDING}
        else:
            assert repaired == original


def test_job_owner_is_any_named_request_or_the_first() -> None:
    events = [
        event(status=JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=TWO, at=1),
        event(status=JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=ONE, at=2),
    ]
    for stored_owner, proven_owner in ((ONE, ONE), (TWO, TWO), (None, TWO), (UUID(int=3), TWO)):
        proven = prove_job(build_job(events, request_id=stored_owner), events)
        assert proven is not None
        assert proven.request_id == proven_owner


def test_event_with_ambiguous_precedence_proves_nothing() -> None:
    valid = event(status=JobStatus.FAILED)
    events = [replace(valid, precedence=Precedence.ACCEPTED)]
    assert prove_job(build_job([valid]), events) is None
    assert [finding.kind for finding in audit_job(build_job([valid], disputed=True), events)] == [
        FindingKind.EVENT_PRECEDENCE
    ]


@pytest.mark.parametrize(
    ("overrides", "is_found"),
    [
        ({}, True),
        ({"status": RequestStatus.QUEUED}, True),
        ({"status": RequestStatus.QUEUED, "retried_at": NOON + timedelta(minutes=1)}, False),
        (
            {"status": RequestStatus.QUEUED, "started_at": None, "attempts": 0, "attempt_rows": 0, "newest_attempt": 0},
            False,
        ),
        ({"status": RequestStatus.REJECTED}, False),
        ({"status": RequestStatus.CANCELLED}, False),
        ({"accepted_at": None}, False),
        ({"retried_at": NOON + timedelta(hours=2)}, False),
        ({"retried_at": NOON - timedelta(hours=1)}, True),
        ({"named_by_response": True, "response_status": 200}, False),
        ({"named_by_response": True, "response_status": 409}, False),
        ({"named_by_response": True, "response_status": 504}, True),
        ({"named_by_response": False, "response_status": 202}, True),
    ],
)
def test_request_is_accepted_only_if_proven(overrides: dict[str, Any], is_found: bool) -> None:
    findings = audit_request(build_request(**{"accepted_at": NOON + timedelta(hours=1), **overrides}))
    assert [finding.kind for finding in findings] == ([FindingKind.KNOWN_ACCEPTED] if is_found else [])


@pytest.mark.parametrize(
    ("overrides", "is_found"),
    [
        ({}, True),
        ({"jobs": 1}, False),
        ({"resolved": True}, False),
        ({"reference_conflict": True}, False),
    ],
)
def test_accepted_request_without_job_is_found_unless_explained(overrides: dict[str, Any], is_found: bool) -> None:
    findings = audit_request(build_request(**{"status": RequestStatus.ACCEPTED, "jobs": 0, **overrides}))
    assert [finding.kind for finding in findings] == ([FindingKind.NO_JOB] if is_found else [])


def test_reference_conflict_without_a_flag_is_mendable() -> None:
    overrides = {"status": RequestStatus.ACCEPTED, "jobs": 0, "detail": f"{REFERENCE_CONFLICT_DETAIL} x"}
    [finding] = audit_request(build_request(**overrides))
    assert (finding.kind, finding.mendable) == (FindingKind.NO_JOB, True)
