"""The benchmark `startup`: its results, and a short run."""

import pytest

from tests.benchmarks.startup import GOALS_S, StartupResults, compare


def test_startup_table_shows_times_and_goals() -> None:
    seconds = {name: [limit, limit / 2, limit * 2] for name, limit in GOALS_S.items()}
    results = StartupResults(seconds, {name: [0.1] for name in seconds}, {"cores": 2})

    assert "  receiver --help        0.25 (0.12 to 0.50), CPU 0.10" in results.table().splitlines()
    assert all(goal.is_reached for goal in results.list_goals())
    assert results.document()["seconds"]["receiver --help"]["high"] == 0.5


@pytest.mark.slow
def test_startup_measures_commands_and_processes() -> None:
    results = compare(1)

    assert results.seconds.keys() == results.cpu_seconds.keys() > GOALS_S.keys()
    assert all(len(values) == 1 and values[0] > 0.0 for values in results.seconds.values())
