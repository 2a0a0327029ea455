"""A short run of `intake-items`."""

import shutil

import pytest

from tests.benchmarks.intake_items import ItemsLoad, compare


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_items_of_acknowledged_callbacks_are_stored() -> None:
    contest = compare(ItemsLoad(rounds=1, seconds=1, connections=4, workers=1, items=3))

    assert contest.checks["jobs"] == 3 * contest.checks["callbacks"] > 0
    assert len(contest.goals) == 4
