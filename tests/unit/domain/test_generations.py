"""Generations of a reference: to which job an event belongs, and when a reference is used again."""

from datetime import timedelta
from uuid import uuid4

import pytest

from receiver.domain.generations import (
    Generation,
    assign_generations,
    derive_generation_job_id,
    is_reuse,
    split_events,
)
from receiver.domain.jobs import EventSource, JobState, JobStatus
from tests.support.factories import NOON, event

FIRST_ID = event().job_id
SECOND, THIRD = (
    Generation(FIRST_ID, number, derive_generation_job_id(FIRST_ID, number), NOON + timedelta(hours=number))
    for number in (2, 3)
)
HOUR_S = 3_600.0


def test_each_generation_has_an_id_of_its_own() -> None:
    ids = [derive_generation_job_id(FIRST_ID, number) for number in range(1, 5)]
    assert ids[0] == FIRST_ID
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("hours", "number"), [(0, 1), (1.999, 1), (2, 2), (2.5, 2), (2.999, 2), (3, 3), (900, 3)], ids=str
)
def test_callback_belongs_to_the_generation_of_its_receive_time(hours: float, number: int) -> None:
    [assigned] = assign_generations([event(at=hours * HOUR_S)], [THIRD, SECOND])
    assert assigned.job_id == derive_generation_job_id(FIRST_ID, number)


def test_response_belongs_to_the_newest_generation() -> None:
    response = event(source=EventSource.RESPONSE, request_id=uuid4())
    assert [assigned.job_id for assigned in assign_generations([response], [SECOND, THIRD])] == [THIRD.job_id]


def test_callback_with_a_request_belongs_to_its_receive_time() -> None:
    [assigned] = assign_generations([event(request_id=uuid4())], [SECOND, THIRD])
    assert assigned.job_id == FIRST_ID


@pytest.mark.parametrize("references", [["ref-1"], ["other"]])
def test_event_stays_where_nothing_else_is_known(references: list[str]) -> None:
    named = [event(reference, at=900 * HOUR_S) for reference in references]
    generations = [SECOND] if references == ["other"] else []
    assert assign_generations(named, generations) == named


@pytest.mark.parametrize(
    ("status", "seconds", "reused"),
    [
        (JobStatus.SUCCEEDED, 60.0, False),
        (JobStatus.SUCCEEDED, 60.1, True),
        (JobStatus.FAILED, 61.0, True),
        (JobStatus.UNRESOLVED, 61.0, True),
        (JobStatus.UNRESOLVED, 59.0, False),
        (JobStatus.ACCEPTED, 61.0, False),
        (JobStatus.IN_PROGRESS, 61.0, False),
    ],
)
def test_reference_is_reused_long_after_the_end_of_its_job(status: JobStatus, seconds: float, reused: bool) -> None:
    state = JobState.from_event(event(status=status))
    assert is_reuse(state, NOON + timedelta(seconds=seconds), 60.0) is reused


def test_later_callbacks_and_responses_are_taken_over() -> None:
    early = [event(at=at, source=source) for at in (0, 9.9) for source in EventSource]
    later = {source: event(at=10, source=source) for source in EventSource}
    staying, moved = split_events([*early, *later.values()], NOON + timedelta(seconds=10))
    assert moved == [later[EventSource.RESPONSE], later[EventSource.CALLBACK]]
    assert set(staying) == {*early, *later.values()} - set(moved)
