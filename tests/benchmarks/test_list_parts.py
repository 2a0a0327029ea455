"""The pure parts of `lists`: its results and its cases."""

import pytest

from tests.benchmarks.list_cases import build_cases
from tests.benchmarks.list_results import MAX_RATIO, FilterResult, ListResults, Timing, compute_p95
from tests.benchmarks.results import Spread
from tests.support.population import derive_request_id

SAME = Timing([4.0, 6.0, 5.0], [4.0, 6.0, 5.0])
SLOWER = Timing([4.0, 6.0, 5.0], [4.0 * MAX_RATIO, 6.0 * MAX_RATIO + 1.0, 5.0 * MAX_RATIO + 1.0])


def make_results(*filters: FilterResult) -> ListResults:
    return ListResults(10_000, 1_000_000, filters, {"counts": [190.0, 200.0, 270.0]}, {"cores": 2})


def test_p95_is_not_exceeded_by_95_of_100_calls() -> None:
    assert compute_p95([float(number) for number in range(101)]) == pytest.approx(95.0)


def test_ratio_compares_rounds_next_to_each_other() -> None:
    assert Timing([1.0, 2.0, 4.0], [2.0, 3.0, 2.0]).compute_ratio() == Spread(1.5, 0.5, 2.0)


@pytest.mark.parametrize(
    ("http", "store", "is_over"), [(SAME, SAME, False), (SLOWER, SAME, True), (SAME, SLOWER, True)]
)
def test_filter_is_over_if_http_or_store_is(http: Timing, store: Timing, *, is_over: bool) -> None:
    assert FilterResult("jobs", 50, http, store).is_over is is_over


def test_table_names_filters_that_are_over() -> None:
    results = make_results(FilterResult("jobs", 50, SAME, SAME), FilterResult("jobs disputed=true", 8, SLOWER, SAME))

    assert results.over == ["jobs disputed=true"]
    lines = results.table().splitlines()
    assert "jobs                   50         5.0       5.0   1.00         5.0       5.0   1.00" in lines
    assert "target: at most 2 times as long; exceeded by: jobs disputed=true" in lines
    assert "  counts: 200 (190 to 270)" in lines


def test_document_contains_table() -> None:
    document = make_results(FilterResult("jobs", 50, SAME, SLOWER)).document()

    assert document["jobs"] == {"small": 10_000, "large": 1_000_000}
    assert document["filters"]["jobs"]["http"]["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert document["figures_ms"]["counts"] == {"median": 200.0, "low": 190.0, "high": 270.0}


def test_targets_use_parameters_of_the_api() -> None:
    targets = {case.build_target(limit=5) for case in build_cases(20_000)}

    assert {
        "/v1/jobs?limit=5",
        "/v1/jobs?provider=hooli&limit=5",
        "/v1/jobs?disputed=true&limit=5",
        "/v1/jobs?finished_to=2026-11-08T12%3A00%3A00Z&limit=5",
        "/v1/requests?metadata.order=777&limit=5",
        f"/v1/jobs?request_id={derive_request_id(105, 20_000)}&limit=5",
    } <= targets


def test_cases_are_unique_and_the_same_for_all_tables() -> None:
    small, large = (list(build_cases(jobs)) for jobs in (10_000, 1_000_000))

    assert len({str(case) for case in small}) == len(small)
    assert [(case.list_name, case.filters.keys()) for case in small] == [
        (case.list_name, case.filters.keys()) for case in large
    ]
