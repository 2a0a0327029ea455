"""Jobs and their events: derived ids, precedence, merging of states, and the effect of each event."""

import random
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.access import OperatorAction
from receiver.domain.jobs import (
    Effect,
    EventSource,
    JobEvent,
    JobState,
    JobStatus,
    Precedence,
    build_operator_event,
    build_unresolved_event,
    compute_effects,
    compute_precedence,
    deduplicate_events,
    derive_event_key,
    derive_id,
    derive_job_id,
    fold_events,
)
from tests.support.factories import NOON, event

ACCEPTED, IN_PROGRESS, UNRESOLVED, SUCCEEDED, FAILED = JobStatus
REPORTED_SOURCES = [source for source in EventSource if source is not EventSource.DEADLINE]

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


def build_event(status: JobStatus | None, source: EventSource, origin: int, at: int, index: int) -> JobEvent:
    """Build an event whose precedence follows from its key: every other origin supersedes.

    So does an operator's receive time: the key is random, so that no other copy of the event exists.
    """
    at = origin % 5 if source is EventSource.OPERATOR else at
    return event(status=status, source=source, origin=UUID(int=origin), at=at, index=index, superseding=origin % 2 == 0)


job_events = st.builds(
    build_event,
    st.sampled_from([*JobStatus, None]),
    st.sampled_from(REPORTED_SOURCES),
    st.integers(1, 6),
    st.integers(0, 4),
    st.integers(0, 2),
)
states = st.lists(job_events, min_size=1, max_size=4).map(lambda events: fold_events(events)[events[0].job_id])


def test_job_id_is_stable() -> None:
    assert derive_job_id("sandbox", "ref-1") == UUID("df18d8ed-8109-51c1-b459-382b6a34d37a")


@given(first=st.tuples(names, names), second=st.tuples(names, names))
def test_job_id_is_unique_per_provider_and_reference(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert (derive_job_id(*first) == derive_job_id(*second)) == (first == second)


@given(provider=names, reference=names)
def test_job_id_separates_provider_from_reference(provider: str, reference: str) -> None:
    assert derive_job_id(provider + "x", reference) != derive_job_id(provider, "x" + reference)


@given(parts=st.lists(st.binary(max_size=4), max_size=4), others=st.lists(st.binary(max_size=4), max_size=4))
def test_derived_id_depends_on_part_boundaries(parts: list[bytes], others: list[bytes]) -> None:
    assert (derive_id(*parts) == derive_id(*others)) == (parts == others)


def test_derived_id_separates_length_from_content() -> None:
    assert len({derive_id(), derive_id(b""), derive_id(b"", b""), derive_id(b"ab"), derive_id(b"a", b"b")}) == 5
    assert derive_id(b"1:a", b"b") != derive_id(b"", b"a1:b")


def test_event_key_depends_on_source_origin_index_and_status() -> None:
    origin = UUID(int=1)
    keys = {
        derive_event_key(EventSource.CALLBACK, origin, 0, SUCCEEDED),
        derive_event_key(EventSource.POLL, origin, 0, SUCCEEDED),
        derive_event_key(EventSource.CALLBACK, UUID(int=2), 0, SUCCEEDED),
        derive_event_key(EventSource.CALLBACK, origin, 1, SUCCEEDED),
        derive_event_key(EventSource.CALLBACK, origin, 0, FAILED),
        derive_event_key(EventSource.CALLBACK, origin, 0, None),
    }
    assert len(keys) == 6
    assert derive_event_key(EventSource.CALLBACK, origin, 0, SUCCEEDED) in keys


def test_derived_ids_stay_those_of_stored_rows() -> None:
    """A replay after an upgrade must find the events that it stored before."""
    assert derive_id(b"a", b"bc") == UUID("5310a587-8878-1ab2-5d5a-d7c3f8503582")
    keys = [
        derive_event_key(EventSource.CALLBACK, UUID(int=1), 0, status, superseding=superseding)
        for status, superseding in ((SUCCEEDED, False), (SUCCEEDED, True), (None, False))
    ]
    assert keys == [
        UUID("4f90f8df-a1bd-0bd6-3a71-d5e6b504b734"),
        UUID("7b9de1aa-9a41-09e5-5c09-a37ab94ba2c5"),
        UUID("4e6e4f65-1deb-099a-3c9c-33e6cd4a0382"),
    ]


def test_event_key_depends_on_superseding_of_final_status() -> None:
    origin = UUID(int=1)
    for status in (SUCCEEDED, IN_PROGRESS, None):
        plain = derive_event_key(EventSource.CALLBACK, origin, 0, status)
        assert (derive_event_key(EventSource.CALLBACK, origin, 0, status, superseding=True) != plain) == (
            status is SUCCEEDED
        )


@pytest.mark.parametrize(
    ("status", "source", "superseding", "precedence"),
    [
        (None, EventSource.CALLBACK, False, Precedence.NONE),
        (None, EventSource.CALLBACK, True, Precedence.NONE),
        (None, EventSource.OPERATOR, False, Precedence.NONE),
        (ACCEPTED, EventSource.RESPONSE, False, Precedence.ACCEPTED),
        (ACCEPTED, EventSource.RESPONSE, True, Precedence.ACCEPTED),
        (IN_PROGRESS, EventSource.CALLBACK, False, Precedence.IN_PROGRESS),
        (IN_PROGRESS, EventSource.CALLBACK, True, Precedence.IN_PROGRESS),
        (UNRESOLVED, EventSource.DEADLINE, False, Precedence.UNRESOLVED),
        (SUCCEEDED, EventSource.RESPONSE, False, Precedence.FINAL),
        (FAILED, EventSource.POLL, False, Precedence.FINAL),
        (SUCCEEDED, EventSource.CALLBACK, True, Precedence.SUPERSEDING),
        (FAILED, EventSource.CALLBACK, True, Precedence.SUPERSEDING),
        (FAILED, EventSource.OPERATOR, False, Precedence.OPERATOR),
        (FAILED, EventSource.OPERATOR, True, Precedence.OPERATOR),
        (IN_PROGRESS, EventSource.OPERATOR, False, Precedence.OPERATOR),
    ],
)
def test_precedence_follows_from_status_source_and_superseding(
    status: JobStatus | None, source: EventSource, superseding: bool, precedence: Precedence
) -> None:
    assert compute_precedence(status, source, superseding=superseding) is precedence


def test_precedences_are_sorted() -> None:
    assert list(Precedence) == sorted(Precedence)
    assert [status for status in JobStatus if status.is_final] == [SUCCEEDED, FAILED]


@given(a=states, b=states, c=states)
def test_merge_is_associative(a: JobState, b: JobState, c: JobState) -> None:
    assert a.merge(b).merge(c) == a.merge(b.merge(c))


@given(a=states, b=states)
def test_merge_is_commutative(a: JobState, b: JobState) -> None:
    assert a.merge(b) == b.merge(a)


@given(a=states, b=states)
def test_merge_is_idempotent(a: JobState, b: JobState) -> None:
    assert a.merge(a) == a
    assert a.merge(b).merge(b) == a.merge(b)


@given(a=states, b=states)
def test_merge_keeps_highest_precedence_and_earliest_acceptance(a: JobState, b: JobState) -> None:
    merged = a.merge(b)
    assert merged.precedence == max(a.precedence, b.precedence)
    assert merged.accepted_at == min(a.accepted_at, b.accepted_at)
    assert merged.finished_at == (merged.decided_at if merged.status.is_final else None)


def test_equal_precedence_is_decided_by_receive_time_then_key() -> None:
    early, late = event(status=SUCCEEDED, at=1), event(status=FAILED, at=2)
    assert fold_events([late, early])[early.job_id].status is SUCCEEDED
    low, high = sorted([event(status=SUCCEEDED), event(status=FAILED)], key=lambda event: event.key)
    assert fold_events([high, low])[low.job_id].decided_by == low.key


def test_final_statuses_dispute_until_higher_precedence_decides() -> None:
    events = [event(status=SUCCEEDED, at=1), event(status=FAILED, at=2)]
    assert fold_events(events)[events[0].job_id].disputed
    events.append(event(status=FAILED, source=EventSource.OPERATOR, at=3))
    state = fold_events(events)[events[0].job_id]
    assert (state.status, state.disputed) == (FAILED, False)


def test_state_as_fields_has_the_time_of_its_end() -> None:
    final = replace(event(status=SUCCEEDED, at=1), position=2)
    assert JobState.from_event(final).to_dict() == {
        "status": SUCCEEDED,
        "precedence": Precedence.FINAL,
        "disputed": False,
        "decided_at": final.received_at,
        "decided_position": 2,
        "decided_by": final.key,
        "accepted_at": final.received_at,
        "finished_at": final.received_at,
    }


def test_job_without_mapped_status_is_accepted() -> None:
    unmapped = event(status=None, at=3)
    state = fold_events([unmapped])[unmapped.job_id]
    assert (state.status, state.precedence, state.finished_at) == (ACCEPTED, Precedence.NONE, None)
    assert state.accepted_at == NOON + timedelta(seconds=3)


def test_fold_separates_jobs() -> None:
    first, second = event("first", SUCCEEDED), event("second", FAILED)
    assert {job_id: state.status for job_id, state in fold_events([first, second]).items()} == {
        first.job_id: SUCCEEDED,
        second.job_id: FAILED,
    }


@given(events=st.lists(job_events, max_size=12), shuffle=st.randoms(use_true_random=False))
def test_dedupe_keeps_earliest_copy_in_lock_order(events: list[JobEvent], shuffle: random.Random) -> None:
    repeated = events * 2
    shuffle.shuffle(repeated)
    unique = deduplicate_events(repeated)
    assert unique == sorted(unique, key=lambda event: (event.job_id, event.key))
    assert {event.key: event.received_at for event in unique} == {
        event.key: min(copy.received_at for copy in events if copy.key == event.key) for event in events
    }


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("request_copies", [{0}, {1}, {0, 1}, set()])
def test_earliest_copy_gets_the_request_of_another(request_copies: set[int], order: int) -> None:
    early, late = (
        event(
            origin=UUID(int=1),
            at=number,
            request_id=UUID(int=10 + number) if number in request_copies else None,
            notify=number in request_copies,
            notify_events=[f"events of {number}"] if number in request_copies else None,
        )
        for number in range(2)
    )
    [merged] = deduplicate_events([early, late][::order])
    if request_copies == {1}:
        expected = replace(early, request_id=late.request_id, notify=True, notify_events=["events of 1"])
    else:
        expected = early
    assert merged == expected


def test_first_listed_of_copies_received_at_once_is_kept() -> None:
    copies = [replace(event(origin=UUID(int=1)), code=code) for code in ("first", "second")]
    assert deduplicate_events(copies) == copies[:1]


EventCase = tuple[JobStatus | None, EventSource, bool]
"""Status, source and whether it supersedes."""
ACCEPTED_CASE: EventCase = (ACCEPTED, EventSource.RESPONSE, False)
IN_PROGRESS_CASE: EventCase = (IN_PROGRESS, EventSource.CALLBACK, False)
DEADLINE_CASE: EventCase = (UNRESOLVED, EventSource.DEADLINE, False)
SUCCEEDED_CASE: EventCase = (SUCCEEDED, EventSource.CALLBACK, False)
FAILED_CASE: EventCase = (FAILED, EventSource.POLL, False)
REVERSED_CASE: EventCase = (FAILED, EventSource.CALLBACK, True)
OPERATOR_SUCCEEDED_CASE: EventCase = (SUCCEEDED, EventSource.OPERATOR, False)
OPERATOR_FAILED_CASE: EventCase = (FAILED, EventSource.OPERATOR, False)
UNMAPPED_CASE: EventCase = (None, EventSource.CALLBACK, False)


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        ([ACCEPTED_CASE, IN_PROGRESS_CASE, SUCCEEDED_CASE], [Effect.APPLIED, Effect.APPLIED, Effect.APPLIED]),
        ([SUCCEEDED_CASE, ACCEPTED_CASE, IN_PROGRESS_CASE], [Effect.APPLIED, Effect.STALE, Effect.STALE]),
        ([IN_PROGRESS_CASE, IN_PROGRESS_CASE], [Effect.APPLIED, Effect.DUPLICATE]),
        ([SUCCEEDED_CASE, SUCCEEDED_CASE], [Effect.APPLIED, Effect.DUPLICATE]),
        ([SUCCEEDED_CASE, FAILED_CASE, FAILED_CASE], [Effect.APPLIED, Effect.DISPUTED, Effect.DISPUTED]),
        (
            [SUCCEEDED_CASE, REVERSED_CASE, SUCCEEDED_CASE, FAILED_CASE],
            [Effect.APPLIED, Effect.APPLIED, Effect.STALE, Effect.DUPLICATE],
        ),
        ([DEADLINE_CASE, IN_PROGRESS_CASE, SUCCEEDED_CASE], [Effect.APPLIED, Effect.STALE, Effect.APPLIED]),
        ([SUCCEEDED_CASE, DEADLINE_CASE], [Effect.APPLIED, Effect.STALE]),
        (
            [FAILED_CASE, OPERATOR_SUCCEEDED_CASE, SUCCEEDED_CASE, FAILED_CASE],
            [Effect.APPLIED, Effect.APPLIED, Effect.DUPLICATE, Effect.STALE],
        ),
        (
            [OPERATOR_SUCCEEDED_CASE, OPERATOR_FAILED_CASE, OPERATOR_SUCCEEDED_CASE],
            [Effect.APPLIED, Effect.APPLIED, Effect.APPLIED],
        ),
        ([UNMAPPED_CASE, ACCEPTED_CASE, UNMAPPED_CASE, SUCCEEDED_CASE], [None, Effect.APPLIED, None, Effect.APPLIED]),
        ([], []),
    ],
)
def test_effects_follow_the_order_of_receipt(cases: list[EventCase], expected: list[Effect | None]) -> None:
    events = [
        event(status=status, source=source, superseding=superseding, at=at)
        for at, (status, source, superseding) in enumerate(cases)
    ]
    effects = compute_effects(reversed(events))
    assert [event for event, _ in effects] == events
    assert [effect for _, effect in effects] == expected


@pytest.mark.parametrize("order", [1, -1])
def test_latest_operator_wins_without_dispute(order: int) -> None:
    mistake = event(status=FAILED, source=EventSource.OPERATOR, at=1)
    correction = event(status=SUCCEEDED, source=EventSource.OPERATOR, at=2)
    events = [event(status=SUCCEEDED, at=0), mistake, correction, event(status=FAILED, at=3)][::order]
    [state] = fold_events(events).values()
    assert (state.status, state.decided_by, state.disputed) == (SUCCEEDED, correction.key, False)


@pytest.mark.parametrize("order", [1, -1])
def test_first_of_two_final_statuses_in_one_body_wins(order: int) -> None:
    for origin in range(20):
        body = [
            event(status=status, origin=UUID(int=origin), index=index)
            for index, status in enumerate((SUCCEEDED, FAILED))
        ]
        [state] = fold_events(body[::order]).values()
        assert (state.status, state.disputed) == (SUCCEEDED, True)


@given(events=st.lists(job_events, max_size=12).map(deduplicate_events), shuffle=st.randoms(use_true_random=False))
def test_last_applied_event_decides_the_state(events: list[JobEvent], shuffle: random.Random) -> None:
    shuffled = events[:]
    shuffle.shuffle(shuffled)
    effects = compute_effects(shuffled)
    assert effects == compute_effects(events)
    applied = [event.key for event, effect in effects if effect is Effect.APPLIED]
    mapped = [event for event in events if event.status is not None]
    assert applied[-1:] == [state.decided_by for state in fold_events(mapped).values()]
    assert [event for event, effect in effects if effect is None] == [
        event for event, _ in effects if event.status is None
    ]


@given(events=st.lists(job_events, max_size=12).map(deduplicate_events), data=st.data())
def test_effects_depend_only_on_the_deciding_earlier_event(events: list[JobEvent], data: st.DataObject) -> None:
    effects = compute_effects(events)
    ordered = [event for event, _ in effects]
    number = data.draw(st.integers(0, len(ordered)))
    deciding = [state.decided_by for state in fold_events(ordered[:number]).values()]
    preceding = next((event for event in ordered[:number] if event.key in deciding), None)
    assert compute_effects(ordered[number:], preceding) == effects[number:]


def test_operator_event_stays_with_its_job() -> None:
    job, key, deadline_at = derive_job_id("sandbox", "ref-1"), uuid4(), NOON + timedelta(hours=1)
    operator = OperatorAction(actor="ada", created_at=NOON)
    assert build_operator_event(
        job, "sandbox", "ref-1", operator, key=key, deadline_at=deadline_at, status=FAILED, detail="called the bank"
    ) == JobEvent(
        job_id=job,
        key=key,
        provider="sandbox",
        reference="ref-1",
        source=EventSource.OPERATOR,
        status=FAILED,
        precedence=Precedence.OPERATOR,
        received_at=NOON,
        deadline_at=deadline_at,
        detail="called the bank",
        actor="ada",
        names_job=True,
    )
    note = build_operator_event(job, "sandbox", "ref-1", operator, key=key, deadline_at=deadline_at)
    assert (note.status, note.precedence, note.detail) == (None, Precedence.NONE, None)


def test_unresolved_event_stays_with_its_job() -> None:
    unresolved = build_unresolved_event(uuid4(), "sandbox", "ref-1", NOON, "deadline passed")
    assert (unresolved.provider, unresolved.reference, unresolved.deadline_at) == ("sandbox", "ref-1", NOON)
    assert unresolved.names_job is True


def test_unresolved_event_key_depends_on_job_and_detail_only() -> None:
    job = derive_job_id("sandbox", "ref-1")
    unresolved = build_unresolved_event(job, "sandbox", "ref-1", NOON, "deadline passed")
    assert unresolved == build_unresolved_event(job, "sandbox", "ref-1", NOON, "deadline passed")
    assert (
        unresolved.key
        == build_unresolved_event(job, "sandbox", "ref-1", NOON + timedelta(hours=1), "deadline passed").key
    )
    assert unresolved.key != build_unresolved_event(uuid4(), "sandbox", "ref-1", NOON, "deadline passed").key
    assert unresolved.key != build_unresolved_event(job, "sandbox", "ref-1", NOON, "polling ended").key


def test_unresolved_status_yields_to_any_final_status() -> None:
    silent = event(status=IN_PROGRESS)
    unresolved = build_unresolved_event(silent.job_id, "sandbox", "ref-1", NOON + timedelta(hours=1), "deadline passed")
    assert (unresolved.source, unresolved.detail, unresolved.received_at) == (
        EventSource.DEADLINE,
        "deadline passed",
        NOON + timedelta(hours=1),
    )
    state = fold_events([silent, unresolved])[silent.job_id]
    assert (state.status, state.finished_at) == (UNRESOLVED, None)
    final = event(status=FAILED, at=7_200)
    assert fold_events([unresolved, silent, final])[silent.job_id].status is FAILED
    assert fold_events([unresolved, event(status=IN_PROGRESS, at=7_200)])[silent.job_id].status is UNRESOLVED
