"""Jobs and their events: derived identities, the weight of a word, the join, and what each event changed."""

import random
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.jobs import (
    Effect,
    EventSource,
    JobEvent,
    JobState,
    JobStatus,
    Precedence,
    build_unresolved_event,
    compute_effects,
    compute_precedence,
    deduplicate_events,
    derive_event_key,
    derive_id,
    derive_job_id,
    fold_events,
)
from tests.factories import NOON, event

ACCEPTED, IN_PROGRESS, UNRESOLVED, SUCCEEDED, FAILED = JobStatus
TOLD = [source for source in EventSource if source is not EventSource.DEADLINE]

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


def statement(status: JobStatus | None, source: EventSource, origin: int, at: int, index: int) -> JobEvent:
    """Build an event whose precedence follows from its key: every other origin supersedes.

    So does an operator's receive time: the key is random, so that no other copy of the event exists.
    """
    at = origin % 5 if source is EventSource.OPERATOR else at
    return event(status=status, source=source, origin=UUID(int=origin), at=at, index=index, superseding=origin % 2 == 0)


statements = st.builds(
    statement,
    st.sampled_from([*JobStatus, None]),
    st.sampled_from(TOLD),
    st.integers(1, 6),
    st.integers(0, 4),
    st.integers(0, 2),
)
states = st.lists(statements, min_size=1, max_size=4).map(lambda events: fold_events(events)[events[0].job_id])


def test_a_job_keeps_the_identity_under_which_it_is_stored() -> None:
    assert derive_job_id("sandbox", "ref-1") == UUID("df18d8ed-8109-51c1-b459-382b6a34d37a")


@given(first=st.tuples(names, names), second=st.tuples(names, names))
def test_two_jobs_share_an_identity_only_if_provider_and_reference_are_the_same(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    assert (derive_job_id(*first) == derive_job_id(*second)) == (first == second)


@given(provider=names, reference=names)
def test_a_letter_that_moves_between_provider_and_reference_makes_another_job(provider: str, reference: str) -> None:
    assert derive_job_id(provider + "x", reference) != derive_job_id(provider, "x" + reference)


@given(parts=st.lists(st.binary(max_size=4), max_size=4), others=st.lists(st.binary(max_size=4), max_size=4))
def test_a_digest_depends_on_where_its_parts_end(parts: list[bytes], others: list[bytes]) -> None:
    assert (derive_id(*parts) == derive_id(*others)) == (parts == others)


def test_a_digest_tells_length_from_content() -> None:
    assert len({derive_id(), derive_id(b""), derive_id(b"", b""), derive_id(b"ab"), derive_id(b"a", b"b")}) == 5
    assert derive_id(b"1:a", b"b") != derive_id(b"", b"a1:b")


def test_a_statement_is_another_one_by_source_origin_index_or_status() -> None:
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


def test_a_statement_is_another_one_if_it_weighs_more() -> None:
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
def test_a_word_weighs_by_its_status_its_source_and_whether_it_supersedes(
    status: JobStatus | None, source: EventSource, superseding: bool, precedence: Precedence
) -> None:
    assert compute_precedence(status, source, superseding=superseding) is precedence


def test_the_weights_are_ordered_as_the_design_orders_them() -> None:
    assert list(Precedence) == sorted(Precedence)
    assert [status for status in JobStatus if status.is_final] == [SUCCEEDED, FAILED]


@given(a=states, b=states, c=states)
def test_the_join_is_associative(a: JobState, b: JobState, c: JobState) -> None:
    assert a.merge(b).merge(c) == a.merge(b.merge(c))


@given(a=states, b=states)
def test_the_join_is_commutative(a: JobState, b: JobState) -> None:
    assert a.merge(b) == b.merge(a)


@given(a=states, b=states)
def test_the_join_is_idempotent(a: JobState, b: JobState) -> None:
    assert a.merge(a) == a
    assert a.merge(b).merge(b) == a.merge(b)


@given(a=states, b=states)
def test_the_join_never_lowers_the_weight_and_keeps_the_earliest_acceptance(a: JobState, b: JobState) -> None:
    joined = a.merge(b)
    assert joined.precedence == max(a.precedence, b.precedence)
    assert joined.accepted_at == min(a.accepted_at, b.accepted_at)
    assert joined.finished_at == (joined.decided_at if joined.status.is_final else None)


def test_on_equal_weight_the_word_received_first_stands_and_then_the_lower_key() -> None:
    early, late = event(status=SUCCEEDED, at=1), event(status=FAILED, at=2)
    assert fold_events([late, early])[early.job_id].status is SUCCEEDED
    low, high = sorted([event(status=SUCCEEDED), event(status=FAILED)], key=lambda one: one.key)
    assert fold_events([high, low])[low.job_id].decided_by == low.key


def test_two_different_final_words_dispute_a_job_until_a_heavier_one_settles_it() -> None:
    words = [event(status=SUCCEEDED, at=1), event(status=FAILED, at=2)]
    assert fold_events(words)[words[0].job_id].disputed
    words.append(event(status=FAILED, source=EventSource.OPERATOR, at=3))
    settled = fold_events(words)[words[0].job_id]
    assert (settled.status, settled.disputed) == (FAILED, False)


def test_a_job_of_which_nothing_intelligible_was_said_is_accepted() -> None:
    said = event(status=None, at=3)
    state = fold_events([said])[said.job_id]
    assert (state.status, state.precedence, state.finished_at) == (ACCEPTED, Precedence.NONE, None)
    assert state.accepted_at == NOON + timedelta(seconds=3)


def test_jobs_are_folded_apart() -> None:
    one, other = event("one", SUCCEEDED), event("other", FAILED)
    assert {job: state.status for job, state in fold_events([one, other]).items()} == {
        one.job_id: SUCCEEDED,
        other.job_id: FAILED,
    }


@given(events=st.lists(statements, max_size=12), shuffle=st.randoms(use_true_random=False))
def test_of_each_statement_the_copy_received_first_is_kept_in_the_order_of_locks(
    events: list[JobEvent], shuffle: random.Random
) -> None:
    again = events * 2
    shuffle.shuffle(again)
    kept = deduplicate_events(again)
    assert kept == sorted(kept, key=lambda one: (one.job_id, one.key))
    assert {one.key: one.received_at for one in kept} == {
        one.key: min(other.received_at for other in events if other.key == one.key) for one in events
    }


Word = tuple[JobStatus | None, EventSource, bool]
ANSWERED: Word = (ACCEPTED, EventSource.RESPONSE, False)
WORKING: Word = (IN_PROGRESS, EventSource.CALLBACK, False)
OVERDUE: Word = (UNRESOLVED, EventSource.DEADLINE, False)
WON: Word = (SUCCEEDED, EventSource.CALLBACK, False)
LOST: Word = (FAILED, EventSource.POLL, False)
REVERSED: Word = (FAILED, EventSource.CALLBACK, True)
RULED: Word = (SUCCEEDED, EventSource.OPERATOR, False)
OVERRULED: Word = (FAILED, EventSource.OPERATOR, False)
GIBBERISH: Word = (None, EventSource.CALLBACK, False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([ANSWERED, WORKING, WON], [Effect.APPLIED, Effect.APPLIED, Effect.APPLIED]),
        ([WON, ANSWERED, WORKING], [Effect.APPLIED, Effect.STALE, Effect.STALE]),
        ([WORKING, WORKING], [Effect.APPLIED, Effect.DUPLICATE]),
        ([WON, WON], [Effect.APPLIED, Effect.DUPLICATE]),
        ([WON, LOST, LOST], [Effect.APPLIED, Effect.DISPUTED, Effect.DISPUTED]),
        ([WON, REVERSED, WON, LOST], [Effect.APPLIED, Effect.APPLIED, Effect.STALE, Effect.DUPLICATE]),
        ([OVERDUE, WORKING, WON], [Effect.APPLIED, Effect.STALE, Effect.APPLIED]),
        ([WON, OVERDUE], [Effect.APPLIED, Effect.STALE]),
        ([LOST, RULED, WON, LOST], [Effect.APPLIED, Effect.APPLIED, Effect.DUPLICATE, Effect.STALE]),
        ([RULED, OVERRULED, RULED], [Effect.APPLIED, Effect.APPLIED, Effect.APPLIED]),
        ([GIBBERISH, ANSWERED, GIBBERISH, WON], [None, Effect.APPLIED, None, Effect.APPLIED]),
        ([], []),
    ],
)
def test_each_event_changed_what_it_did_in_the_order_of_receipt(
    words: list[Word], expected: list[Effect | None]
) -> None:
    events = [
        event(status=status, source=source, superseding=superseding, at=at)
        for at, (status, source, superseding) in enumerate(words)
    ]
    told = compute_effects(reversed(events))
    assert [one for one, _ in told] == events
    assert [effect for _, effect in told] == expected


@pytest.mark.parametrize("order", [1, -1])
def test_latest_operator_stands_and_disputes_nothing(order: int) -> None:
    mistake = event(status=FAILED, source=EventSource.OPERATOR, at=1)
    correction = event(status=SUCCEEDED, source=EventSource.OPERATOR, at=2)
    events = [event(status=SUCCEEDED, at=0), mistake, correction, event(status=FAILED, at=3)][::order]
    [state] = fold_events(events).values()
    assert (state.status, state.decided_by, state.disputed) == (SUCCEEDED, correction.key, False)


@pytest.mark.parametrize("order", [1, -1])
def test_first_of_two_final_statuses_in_one_body_stands(order: int) -> None:
    for origin in range(20):
        body = [
            event(status=status, origin=UUID(int=origin), index=index)
            for index, status in enumerate((SUCCEEDED, FAILED))
        ]
        [state] = fold_events(body[::order]).values()
        assert (state.status, state.disputed) == (SUCCEEDED, True)


@given(events=st.lists(statements, max_size=12).map(deduplicate_events), shuffle=st.randoms(use_true_random=False))
def test_the_last_applied_event_is_the_one_that_stands(events: list[JobEvent], shuffle: random.Random) -> None:
    shuffled = events[:]
    shuffle.shuffle(shuffled)
    told = compute_effects(shuffled)
    assert told == compute_effects(events)
    applied = [one.key for one, effect in told if effect is Effect.APPLIED]
    interpreted = [one for one in events if one.status is not None]
    assert applied[-1:] == [state.decided_by for state in fold_events(interpreted).values()]
    assert [one for one, effect in told if effect is None] == [one for one, _ in told if one.status is None]


def test_the_clocks_say_one_word_however_many_they_are_and_whenever_they_say_it() -> None:
    job = derive_job_id("sandbox", "ref-1")
    word = build_unresolved_event(job, "sandbox", "ref-1", NOON, "deadline passed")
    assert word == build_unresolved_event(job, "sandbox", "ref-1", NOON, "deadline passed")
    assert word.key == build_unresolved_event(job, "sandbox", "ref-1", NOON + timedelta(hours=1), "deadline passed").key
    assert word.key != build_unresolved_event(uuid4(), "sandbox", "ref-1", NOON, "deadline passed").key
    assert word.key != build_unresolved_event(job, "sandbox", "ref-1", NOON, "given up asking").key


def test_the_clocks_word_is_no_guess_and_gives_way_to_any_final_one() -> None:
    silent = event(status=IN_PROGRESS)
    word = build_unresolved_event(silent.job_id, "sandbox", "ref-1", NOON + timedelta(hours=1), "deadline passed")
    assert (word.source, word.detail, word.received_at) == (
        EventSource.DEADLINE,
        "deadline passed",
        NOON + timedelta(hours=1),
    )
    state = fold_events([silent, word])[silent.job_id]
    assert (state.status, state.finished_at) == (UNRESOLVED, None)
    final = event(status=FAILED, at=7_200)
    assert fold_events([word, silent, final])[silent.job_id].status is FAILED
    assert fold_events([word, event(status=IN_PROGRESS, at=7_200)])[silent.job_id].status is UNRESOLVED
