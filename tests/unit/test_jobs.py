"""Jobs and their events: derived identities, the weight of a word, the join, and what each event changed."""

import random
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.jobs import (
    Effect,
    Event,
    JobState,
    JobStatus,
    Precedence,
    Source,
    digest_id,
    earliest,
    effects,
    event_key,
    fold,
    job_id,
    precedence_of,
    unresolved,
)
from tests.factories import NOON, event

ACCEPTED, IN_PROGRESS, UNRESOLVED, SUCCEEDED, FAILED = JobStatus
TOLD = [source for source in Source if source is not Source.CLOCK]

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


def statement(status: JobStatus | None, source: Source, origin: int, at: int) -> Event:
    """Give a statement whose weight follows from its key: every other origin supersedes."""
    return event(status=status, source=source, origin=UUID(int=origin), at=at, superseding=origin % 2 == 0)


statements = st.builds(
    statement, st.sampled_from([*JobStatus, None]), st.sampled_from(TOLD), st.integers(1, 6), st.integers(0, 4)
)
states = st.lists(statements, min_size=1, max_size=4).map(lambda events: fold(events)[events[0].job_id])


def test_a_job_keeps_the_identity_under_which_it_is_stored() -> None:
    assert job_id("sandbox", "ref-1") == UUID("df18d8ed-8109-51c1-b459-382b6a34d37a")


@given(first=st.tuples(names, names), second=st.tuples(names, names))
def test_two_jobs_share_an_identity_only_if_provider_and_reference_are_the_same(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    assert (job_id(*first) == job_id(*second)) == (first == second)


@given(provider=names, reference=names)
def test_a_letter_that_moves_between_provider_and_reference_makes_another_job(provider: str, reference: str) -> None:
    assert job_id(provider + "x", reference) != job_id(provider, "x" + reference)


@given(parts=st.lists(st.binary(max_size=4), max_size=4), others=st.lists(st.binary(max_size=4), max_size=4))
def test_a_digest_depends_on_where_its_parts_end(parts: list[bytes], others: list[bytes]) -> None:
    assert (digest_id(*parts) == digest_id(*others)) == (parts == others)


def test_a_digest_tells_length_from_content() -> None:
    assert len({digest_id(), digest_id(b""), digest_id(b"", b""), digest_id(b"ab"), digest_id(b"a", b"b")}) == 5
    assert digest_id(b"1:a", b"b") != digest_id(b"", b"a1:b")


def test_a_statement_is_another_one_by_source_origin_index_or_status() -> None:
    origin = UUID(int=1)
    keys = {
        event_key(Source.CALLBACK, origin, 0, SUCCEEDED),
        event_key(Source.POLL, origin, 0, SUCCEEDED),
        event_key(Source.CALLBACK, UUID(int=2), 0, SUCCEEDED),
        event_key(Source.CALLBACK, origin, 1, SUCCEEDED),
        event_key(Source.CALLBACK, origin, 0, FAILED),
        event_key(Source.CALLBACK, origin, 0, None),
    }
    assert len(keys) == 6
    assert event_key(Source.CALLBACK, origin, 0, SUCCEEDED) in keys


def test_a_statement_is_another_one_if_it_weighs_more() -> None:
    origin = UUID(int=1)
    for status in (SUCCEEDED, IN_PROGRESS, None):
        plain = event_key(Source.CALLBACK, origin, 0, status)
        assert (event_key(Source.CALLBACK, origin, 0, status, superseding=True) != plain) == (status is SUCCEEDED)


@pytest.mark.parametrize(
    ("status", "source", "superseding", "precedence"),
    [
        (None, Source.CALLBACK, False, Precedence.NOTHING),
        (None, Source.CALLBACK, True, Precedence.NOTHING),
        (None, Source.OPERATOR, False, Precedence.NOTHING),
        (ACCEPTED, Source.ANSWER, False, Precedence.ACCEPTED),
        (ACCEPTED, Source.ANSWER, True, Precedence.ACCEPTED),
        (IN_PROGRESS, Source.CALLBACK, False, Precedence.IN_PROGRESS),
        (IN_PROGRESS, Source.CALLBACK, True, Precedence.IN_PROGRESS),
        (UNRESOLVED, Source.CLOCK, False, Precedence.UNRESOLVED),
        (SUCCEEDED, Source.ANSWER, False, Precedence.FINAL),
        (FAILED, Source.POLL, False, Precedence.FINAL),
        (SUCCEEDED, Source.CALLBACK, True, Precedence.SUPERSEDING),
        (FAILED, Source.CALLBACK, True, Precedence.SUPERSEDING),
        (FAILED, Source.OPERATOR, False, Precedence.OPERATOR),
        (FAILED, Source.OPERATOR, True, Precedence.OPERATOR),
        (IN_PROGRESS, Source.OPERATOR, False, Precedence.OPERATOR),
    ],
)
def test_a_word_weighs_by_its_status_its_source_and_whether_it_supersedes(
    status: JobStatus | None, source: Source, superseding: bool, precedence: Precedence
) -> None:
    assert precedence_of(status, source, superseding=superseding) is precedence


def test_the_weights_are_ordered_as_the_design_orders_them() -> None:
    assert list(Precedence) == sorted(Precedence)
    assert [status for status in JobStatus if status.is_final] == [SUCCEEDED, FAILED]


@given(a=states, b=states, c=states)
def test_the_join_is_associative(a: JobState, b: JobState, c: JobState) -> None:
    assert a.join(b).join(c) == a.join(b.join(c))


@given(a=states, b=states)
def test_the_join_is_commutative(a: JobState, b: JobState) -> None:
    assert a.join(b) == b.join(a)


@given(a=states, b=states)
def test_the_join_is_idempotent(a: JobState, b: JobState) -> None:
    assert a.join(a) == a
    assert a.join(b).join(b) == a.join(b)


@given(a=states, b=states)
def test_the_join_never_lowers_the_weight_and_keeps_the_earliest_acceptance(a: JobState, b: JobState) -> None:
    joined = a.join(b)
    assert joined.precedence == max(a.precedence, b.precedence)
    assert joined.accepted_at == min(a.accepted_at, b.accepted_at)
    assert joined.finished_at == (joined.decided_at if joined.status.is_final else None)


def test_on_equal_weight_the_word_received_first_stands_and_then_the_lower_key() -> None:
    early, late = event(status=SUCCEEDED, at=1), event(status=FAILED, at=2)
    assert fold([late, early])[early.job_id].status is SUCCEEDED
    low, high = sorted([event(status=SUCCEEDED), event(status=FAILED)], key=lambda one: one.key)
    assert fold([high, low])[low.job_id].decided_by == low.key


def test_two_different_final_words_dispute_a_job_until_a_heavier_one_settles_it() -> None:
    words = [event(status=SUCCEEDED, at=1), event(status=FAILED, at=2)]
    assert fold(words)[words[0].job_id].disputed
    words.append(event(status=FAILED, source=Source.OPERATOR, at=3))
    settled = fold(words)[words[0].job_id]
    assert (settled.status, settled.disputed) == (FAILED, False)


def test_a_job_of_which_nothing_intelligible_was_said_is_accepted() -> None:
    said = event(status=None, at=3)
    state = fold([said])[said.job_id]
    assert (state.status, state.precedence, state.finished_at) == (ACCEPTED, Precedence.NOTHING, None)
    assert state.accepted_at == NOON + timedelta(seconds=3)


def test_jobs_are_folded_apart() -> None:
    one, other = event("one", SUCCEEDED), event("other", FAILED)
    assert {job: state.status for job, state in fold([one, other]).items()} == {
        one.job_id: SUCCEEDED,
        other.job_id: FAILED,
    }


@given(events=st.lists(statements, max_size=12), shuffle=st.randoms(use_true_random=False))
def test_of_each_statement_the_copy_received_first_is_kept_in_the_order_of_locks(
    events: list[Event], shuffle: random.Random
) -> None:
    again = events * 2
    shuffle.shuffle(again)
    kept = earliest(again)
    assert kept == sorted(kept, key=lambda one: (one.job_id, one.key))
    assert {one.key: one.received_at for one in kept} == {
        one.key: min(other.received_at for other in events if other.key == one.key) for one in events
    }


Word = tuple[JobStatus | None, Source, bool]
ANSWERED: Word = (ACCEPTED, Source.ANSWER, False)
WORKING: Word = (IN_PROGRESS, Source.CALLBACK, False)
OVERDUE: Word = (UNRESOLVED, Source.CLOCK, False)
WON: Word = (SUCCEEDED, Source.CALLBACK, False)
LOST: Word = (FAILED, Source.POLL, False)
REVERSED: Word = (FAILED, Source.CALLBACK, True)
RULED: Word = (SUCCEEDED, Source.OPERATOR, False)
OVERRULED: Word = (FAILED, Source.OPERATOR, False)
GIBBERISH: Word = (None, Source.CALLBACK, False)


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
        ([RULED, OVERRULED, RULED], [Effect.APPLIED, Effect.DISPUTED, Effect.DUPLICATE]),
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
    told = effects(reversed(events))
    assert [one for one, _ in told] == events
    assert [effect for _, effect in told] == expected


@given(events=st.lists(statements, max_size=12).map(earliest), shuffle=st.randoms(use_true_random=False))
def test_the_last_applied_event_is_the_one_that_stands(events: list[Event], shuffle: random.Random) -> None:
    shuffled = events[:]
    shuffle.shuffle(shuffled)
    told = effects(shuffled)
    assert told == effects(events)
    applied = [one.key for one, effect in told if effect is Effect.APPLIED]
    interpreted = [one for one in events if one.status is not None]
    assert applied[-1:] == [state.decided_by for state in fold(interpreted).values()]
    assert [one for one, effect in told if effect is None] == [one for one, _ in told if one.status is None]


def test_the_clocks_say_one_word_however_many_they_are_and_whenever_they_say_it() -> None:
    job = job_id("sandbox", "ref-1")
    word = unresolved(job, "sandbox", "ref-1", NOON, "deadline passed")
    assert word == unresolved(job, "sandbox", "ref-1", NOON, "deadline passed")
    assert word.key == unresolved(job, "sandbox", "ref-1", NOON + timedelta(hours=1), "deadline passed").key
    assert word.key != unresolved(uuid4(), "sandbox", "ref-1", NOON, "deadline passed").key
    assert word.key != unresolved(job, "sandbox", "ref-1", NOON, "given up asking").key


def test_the_clocks_word_is_no_guess_and_gives_way_to_any_final_one() -> None:
    silent = event(status=IN_PROGRESS)
    word = unresolved(silent.job_id, "sandbox", "ref-1", NOON + timedelta(hours=1), "deadline passed")
    assert (word.source, word.detail, word.received_at) == (Source.CLOCK, "deadline passed", NOON + timedelta(hours=1))
    state = fold([silent, word])[silent.job_id]
    assert (state.status, state.finished_at) == (UNRESOLVED, None)
    final = event(status=FAILED, at=7_200)
    assert fold([word, silent, final])[silent.job_id].status is FAILED
    assert fold([word, event(status=IN_PROGRESS, at=7_200)])[silent.job_id].status is UNRESOLVED
