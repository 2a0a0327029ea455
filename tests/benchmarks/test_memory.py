"""The benchmark `memory`: its samples and results, and a short run."""

import os
import shutil

import pytest

from tests.benchmarks.memory import MemoryLoad, MemoryResults, Usage, compare, read_memory


def make_usage(*pss: float) -> Usage:
    return Usage("web 1", [value + 20.0 for value in pss], pss)


def test_growth_ignores_the_warm_up() -> None:
    usage = make_usage(10.0, 20.0, 50.0, 50.0, 60.0, 40.0, 50.0, 50.0, 51.0, 51.0)

    assert usage.compute_growth() == pytest.approx(0.02)


def test_memory_table_shows_each_process_and_the_goals() -> None:
    results = MemoryResults([make_usage(50.0, 50.0, 60.0)], {"minutes": 1}, {"cores": 2})
    lines = results.table().splitlines()

    assert lines[1] == "  web 1: PSS 50.0, 60.0, 60.0; +20.0%; RSS 70.0, 80.0, 80.0"
    assert [goal.is_reached for goal in results.list_goals()] == [True, False]
    assert results.document()["processes"]["web 1"]["max_pss_mib"] == 60.0


def test_memory_of_a_process_is_read() -> None:
    rss, pss = read_memory(os.getpid())

    assert 1.0 < pss <= rss


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_memory_is_sampled_under_load() -> None:
    results = compare(MemoryLoad(minutes=0.05, connections=2, workers=1))

    assert [usage.name for usage in results.usages] == ["web 1", "worker"]
    assert results.checks["requests"] >= results.checks["accepted"] > 0
