"""Short runs of `dispatch` and `followup`."""

import pytest

from tests.benchmarks import dispatch, followup


@pytest.mark.slow
def test_dispatched_requests_are_stored() -> None:
    contest = dispatch.compare(dispatch.DispatchLoad(rounds=1, requests=200, concurrency=10))

    assert contest.checks["sent"] == contest.checks["jobs"] == 400
    assert [goal.limit for goal in contest.goals] == [dispatch.MIN_RATIO]


@pytest.mark.slow
def test_polled_jobs_are_stored() -> None:
    contest = followup.compare(followup.FollowupLoad(rounds=1, polls=200, concurrency=10))

    assert contest.checks["polled"] == 400
    assert contest.checks["in_progress"] == contest.checks["succeeded"] == 200
