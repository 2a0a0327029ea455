"""A short run of `growth`."""

import shutil

import pytest

from tests.benchmarks.growth import SMALL_JOBS, GrowthLoad, compare


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_callbacks_are_stored_in_both_databases() -> None:
    contest = compare(GrowthLoad(jobs=SMALL_JOBS * 2, rounds=1, seconds=1, connections=4, workers=1))

    assert [contender.name for contender in contest.contenders] == ["20,000 jobs", "10,000 jobs"]
    assert min(contest.checks["callbacks"]) > 0
    assert len(contest.goals) == 1
