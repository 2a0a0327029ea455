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
    Finding,
    FindingKind,
    Subject,
    WrongCount,
    audit_event,
    audit_job,
    audit_request,
    build_count_finding,
    prove_job,
    repair_event,
)
from receiver.domain.jobs import EventSource, JobEvent, JobStatus, Precedence, derive_id, derive_job_id, fold_events
from receiver.domain.sending import REFERENCE_CONFLICT_DETAIL, RequestStatus
from tests.support.factories import NOON, event

ONE, TWO = UUID(int=1), UUID(int=2)
SUCCESS = event(origin=ONE)
JOB_ID = SUCCESS.job_id

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


def build_job_finding(kind: FindingKind, stored: str, proven: str | None, *, mendable: bool) -> Finding:
    """Build a finding about the job of `SUCCESS`."""
    return Finding(kind, Subject.JOB, JOB_ID, "sandbox", stored, proven, mendable)


def build_request_finding(kind: FindingKind, stored: str, proven: str | None, *, mendable: bool) -> Finding:
    """Build a finding about the request of `build_request`."""
    return Finding(kind, Subject.REQUEST, ONE, "sandbox", stored, proven, mendable)


@given(events=histories)
def test_consistent_job_has_no_findings(events: list[JobEvent]) -> None:
    assert audit_job(build_job(events), events) == []


@pytest.mark.parametrize(
    ("kind", "overrides", "stored", "proven"),
    [
        (FindingKind.STATUS, {"status": JobStatus.IN_PROGRESS}, "in_progress", "succeeded"),
        (FindingKind.PRECEDENCE, {"precedence": Precedence.SUPERSEDING}, "50", "40"),
        (FindingKind.PRECEDENCE, {"precedence": 7}, "7", "40"),
        (FindingKind.DISPUTED, {"disputed": True}, "yes", "no"),
        (
            FindingKind.DECIDED,
            {"decided_at": NOON + timedelta(seconds=1)},
            f"2026-11-23T12:00:01Z at position 0 by {SUCCESS.key}",
            f"2026-11-23T12:00:00Z at position 0 by {SUCCESS.key}",
        ),
        (
            FindingKind.DECIDED,
            {"decided_position": 3},
            f"2026-11-23T12:00:00Z at position 3 by {SUCCESS.key}",
            f"2026-11-23T12:00:00Z at position 0 by {SUCCESS.key}",
        ),
        (
            FindingKind.DECIDED,
            {"decided_by": TWO},
            f"2026-11-23T12:00:00Z at position 0 by {TWO}",
            f"2026-11-23T12:00:00Z at position 0 by {SUCCESS.key}",
        ),
        (
            FindingKind.ACCEPTED_AT,
            {"accepted_at": NOON + timedelta(milliseconds=5)},
            "2026-11-23T12:00:00.005000Z",
            "2026-11-23T12:00:00Z",
        ),
        (FindingKind.FINISHED_AT, {"finished_at": None}, "none", "2026-11-23T12:00:00Z"),
        (FindingKind.SUPERSEDED_AT, {"superseded_at": NOON}, "2026-11-23T12:00:00Z", "none"),
        (FindingKind.SUPERSEDED_AT, {"next_opened_at": NOON + timedelta(days=1)}, "none", "2026-11-24T12:00:00Z"),
        (FindingKind.REQUEST, {"request_id": TWO}, str(TWO), str(ONE)),
        (FindingKind.REQUEST, {"request_id": None}, "none", str(ONE)),
        (FindingKind.POLLED, {"poll_at": NOON}, "2026-11-23T12:00:00Z", "never"),
    ],
)
def test_wrong_column_is_mended_as_events_prove(
    kind: FindingKind, overrides: dict[str, Any], stored: str, proven: str
) -> None:
    events = [replace(SUCCESS, request_id=ONE)]
    job = build_job(events, **{"request_id": ONE, **overrides})
    assert audit_job(job, events) == [build_job_finding(kind, stored, proven, mendable=True)]


def test_findings_include_those_of_identity_poll_events_and_columns() -> None:
    events = [replace(SUCCESS, status=JobStatus.IN_PROGRESS, precedence=Precedence.NONE)]
    job = build_job([SUCCESS], provider="other", poll_at=NOON, finished_at=None)
    assert [finding.kind for finding in audit_job(job, events)] == [
        FindingKind.IDENTITY,
        FindingKind.POLLED,
        FindingKind.EVENT_PRECEDENCE,
        FindingKind.STATUS,
        FindingKind.PRECEDENCE,
    ]


@pytest.mark.parametrize(("status", "is_found"), [(JobStatus.SUCCEEDED, True), (JobStatus.UNRESOLVED, False)])
def test_only_a_final_job_is_not_polled(status: JobStatus, *, is_found: bool) -> None:
    events = [event(status=status)]
    assert [finding.kind for finding in audit_job(build_job(events, poll_at=NOON), events)] == (
        [FindingKind.POLLED] if is_found else []
    )


def test_job_without_events_is_not_mendable() -> None:
    assert audit_job(build_job([SUCCESS]), []) == [
        build_job_finding(FindingKind.NO_EVENT, "succeeded", None, mendable=False)
    ]
    assert prove_job(build_job([SUCCESS]), []) is None


def test_request_that_no_event_names_is_not_mendable() -> None:
    assert audit_job(build_job([SUCCESS], request_id=TWO), [SUCCESS]) == [
        build_job_finding(FindingKind.REQUEST, str(TWO), None, mendable=False)
    ]


def test_id_that_does_not_follow_from_reference_is_not_mendable() -> None:
    expected = derive_job_id("sandbox", "ref-2")
    assert audit_job(build_job([SUCCESS], reference="ref-2"), [SUCCESS]) == [
        build_job_finding(FindingKind.IDENTITY, "ref-2", f"the id of this reference is {expected}", mendable=False)
    ]


def test_callbacks_outside_of_the_generation_are_found() -> None:
    events = [
        event(status=JobStatus.ACCEPTED, source=EventSource.RESPONSE, at=0),
        *(event(status=JobStatus.ACCEPTED, at=at) for at in (9, 10, 19, 20, 21)),
        event(status=JobStatus.ACCEPTED, source=EventSource.POLL, at=30),
    ]
    opened_at, next_opened_at = NOON + timedelta(seconds=10), NOON + timedelta(seconds=20)
    job = build_job(events, opened_at=opened_at, next_opened_at=next_opened_at, superseded_at=next_opened_at)
    stored = "3 events of callbacks, the first received at 2026-11-23T12:00:09Z"
    proven = "its reference named it from 2026-11-23T12:00:10Z until 2026-11-23T12:00:20Z"
    assert audit_job(job, events) == [
        build_job_finding(FindingKind.GENERATION, stored, proven, mendable=False),
    ]


def test_single_callback_outside_of_the_generation_is_found() -> None:
    stored = "1 event of a callback, the first received at 2026-11-23T12:00:00Z"
    proven = "its reference named it from 2026-11-23T12:00:01Z until none"
    assert audit_job(build_job([SUCCESS], opened_at=NOON + timedelta(seconds=1)), [SUCCESS]) == [
        build_job_finding(FindingKind.GENERATION, stored, proven, mendable=False)
    ]


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
    events = [valid, replace(valid, key=ONE, precedence=Precedence.ACCEPTED)]
    assert prove_job(build_job([valid]), events) is None
    assert [finding.kind for finding in audit_job(build_job([valid], disputed=True), events)] == [
        FindingKind.EVENT_PRECEDENCE
    ]


@pytest.mark.parametrize(
    ("status", "stored", "proven", "mendable"),
    [
        (JobStatus.FAILED, "callback failed has precedence 10", "precedence 40 or 50", False),
        (JobStatus.IN_PROGRESS, "callback in_progress has precedence 10", "precedence 20", True),
        (None, "callback without a status has precedence 10", "precedence 0", True),
    ],
)
def test_invalid_precedence_is_found_with_the_valid_ones(
    status: JobStatus | None, stored: str, proven: str, *, mendable: bool
) -> None:
    invalid = replace(SUCCESS, status=status, precedence=Precedence.ACCEPTED)
    assert audit_event(invalid) == [build_job_finding(FindingKind.EVENT_PRECEDENCE, stored, proven, mendable=mendable)]


@pytest.mark.parametrize(
    ("overrides", "is_found"),
    [
        ({}, True),
        ({"status": RequestStatus.QUEUED}, True),
        ({"accepted_at": NOON}, True),
        ({"accepted_at": NOON - timedelta(microseconds=1)}, False),
        ({"retried_at": NOON + timedelta(hours=1)}, False),
        ({"status": RequestStatus.QUEUED, "retried_at": NOON}, False),
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
        ({"named_by_response": True, "response_status": 299}, False),
        ({"named_by_response": True, "response_status": 300}, True),
        ({"named_by_response": True, "response_status": 409}, False),
        ({"named_by_response": True, "response_status": 504}, True),
        ({"named_by_response": False, "response_status": 202}, True),
    ],
)
def test_request_is_accepted_only_if_proven(overrides: dict[str, Any], is_found: bool) -> None:
    request = build_request(**{"accepted_at": NOON + timedelta(hours=1), **overrides})
    finding = build_request_finding(FindingKind.KNOWN_ACCEPTED, request.status, "accepted", mendable=True)
    assert audit_request(request) == ([finding] if is_found else [])


@pytest.mark.parametrize(
    ("attempts", "attempt_rows", "newest_attempt", "proven", "mendable"),
    [(3, 2, 2, "2", True), (1, 2, 2, "2", True), (1, 0, 0, "0", True), (2, 1, 2, None, False), (2, 2, 3, None, False)],
)
def test_wrong_number_of_attempts_is_mended_if_none_is_missing(
    attempts: int, attempt_rows: int, newest_attempt: int, proven: str | None, *, mendable: bool
) -> None:
    request = build_request(attempts=attempts, attempt_rows=attempt_rows, newest_attempt=newest_attempt)
    assert audit_request(request) == [
        build_request_finding(FindingKind.ATTEMPTS, str(attempts), proven, mendable=mendable)
    ]


@pytest.mark.parametrize(
    ("attempts", "attempt_rows", "newest_attempt", "is_found"),
    [(1, 1, 1, False), (0, 0, 0, True), (1, 0, 0, True), (2, 1, 1, True)],
)
@pytest.mark.parametrize("lease_expired", [False, True])
def test_sending_without_its_attempt_is_mended_after_the_lease(
    attempts: int, attempt_rows: int, newest_attempt: int, *, is_found: bool, lease_expired: bool
) -> None:
    request = build_request(
        status=RequestStatus.SENDING,
        attempts=attempts,
        attempt_rows=attempt_rows,
        newest_attempt=newest_attempt,
        lease_expired=lease_expired,
    )
    proven = "unknown: its attempt is missing"
    finding = build_request_finding(FindingKind.LEASE, "sending", proven, mendable=lease_expired)
    assert audit_request(request) == ([finding] if is_found else [])


def test_lease_that_is_too_long_ends_now() -> None:
    assert audit_request(build_request(lease_too_long=True)) == [
        build_request_finding(FindingKind.LEASE, "leased for more than a day", "over now", mendable=True)
    ]


def test_findings_include_all_that_is_wrong_with_a_request() -> None:
    request = build_request(attempts=2, lease_too_long=True, accepted_at=NOON)
    assert [finding.kind for finding in audit_request(request)] == [
        FindingKind.ATTEMPTS,
        FindingKind.LEASE,
        FindingKind.KNOWN_ACCEPTED,
    ]


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
    finding = build_request_finding(FindingKind.NO_JOB, "accepted", None, mendable=False)
    assert findings == ([finding] if is_found else [])


def test_reference_conflict_without_a_flag_is_mendable() -> None:
    overrides = {"status": RequestStatus.ACCEPTED, "jobs": 0, "detail": f"{REFERENCE_CONFLICT_DETAIL} x"}
    assert audit_request(build_request(**overrides)) == [
        build_request_finding(FindingKind.NO_JOB, "accepted", "has a reference conflict", mendable=True)
    ]


@pytest.mark.parametrize(
    ("stored", "counted", "stored_text", "counted_text"),
    [
        (
            {"open": 2, "unread": 0, "total": 3},
            {"open": 1},
            "queued requests: open 2, total 3",
            "queued requests: open 1",
        ),
        (None, {"open": 1}, "queued requests: none", "queued requests: open 1"),
        ({"open": 1}, {"open": 0}, "queued requests: open 1", "queued requests: none"),
    ],
)
def test_wrong_count_is_mended(
    stored: dict[str, int] | None, counted: dict[str, int], stored_text: str, counted_text: str
) -> None:
    count_id = derive_id(b"requests", b"sandbox", b"queued")
    assert build_count_finding(WrongCount("requests", "sandbox", "queued", stored, counted)) == Finding(
        FindingKind.COUNT, Subject.COUNT, count_id, "sandbox", stored_text, counted_text, mendable=True
    )
