"""A short run of `prune`."""

import shutil

import pytest

from tests.benchmarks.prune import PruneLoad, compare


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_prune_removes_jobs_beside_intake() -> None:
    contest = compare(PruneLoad(jobs=20_000, rounds=1, seconds=1, connections=4, workers=1))

    # On a busy machine, prune may not have begun after a second of intake.
    assert contest.checks["removed_per_second_alone"] > 0
    assert contest.checks["callbacks"] >= contest.checks["acknowledged"] > 0
