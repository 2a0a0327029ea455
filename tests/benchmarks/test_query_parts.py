"""The pure parts of `queries`: its results and its cases."""

import pytest

from tests.benchmarks.query_cases import STATISTICS, build_list_cases
from tests.benchmarks.query_results import (
    MAX_RATIO,
    MAX_STATISTICS_MS,
    QueriesResults,
    QueryResult,
    Timing,
    compute_p95,
)
from tests.benchmarks.results import Spread
from tests.support.population import derive_request_id

SAME = Timing([4.0, 6.0, 5.0], [4.0, 6.0, 5.0])
SLOWER = Timing([4.0, 6.0, 5.0], [4.0 * MAX_RATIO, 6.0 * MAX_RATIO + 1.0, 5.0 * MAX_RATIO + 1.0])


def make_results(*lists: QueryResult) -> QueriesResults:
    statistics = QueryResult("/v1/stats", 0, Timing([5.0], [MAX_STATISTICS_MS]), Timing([1.0], [10.0]))
    return QueriesResults(10_000, 1_000_000, lists, [statistics], {"cores": 2})


def test_p95_is_not_exceeded_by_95_of_100_calls() -> None:
    assert compute_p95([float(number) for number in range(101)]) == pytest.approx(95.0)


def test_ratio_compares_rounds_next_to_each_other() -> None:
    assert Timing([1.0, 2.0, 4.0], [2.0, 3.0, 2.0]).compute_ratio() == Spread(1.5, 0.5, 2.0)


@pytest.mark.parametrize(
    ("http", "store", "is_over"), [(SAME, SAME, False), (SLOWER, SAME, True), (SAME, SLOWER, True)]
)
def test_filter_is_over_if_http_or_store_is(http: Timing, store: Timing, *, is_over: bool) -> None:
    assert QueryResult("jobs", 50, http, store).is_over is is_over


@pytest.mark.parametrize(("ms", "is_over"), [(MAX_STATISTICS_MS, False), (MAX_STATISTICS_MS + 1, True)])
def test_statistics_are_over_a_number_of_milliseconds(ms: float, *, is_over: bool) -> None:
    assert QueryResult("/v1/stats", 0, Timing([1.0], [ms]), SLOWER).is_over is is_over


def test_table_names_queries_that_are_over() -> None:
    results = make_results(QueryResult("jobs", 50, SAME, SAME), QueryResult("jobs disputed=true", 8, SLOWER, SAME))

    assert results.over == ["jobs disputed=true"]
    lines = results.table().splitlines()
    assert "jobs                   50         5.0       5.0   1.00         5.0       5.0   1.00" in lines
    assert "/v1/stats                         5.0      50.0  10.00         1.0      10.0  10.00" in lines
    assert "exceeded by: jobs disputed=true" in lines


def test_document_contains_table() -> None:
    document = make_results(QueryResult("jobs", 50, SAME, SLOWER)).document()

    assert document["jobs"] == {"small": 10_000, "large": 1_000_000}
    assert document["over"] == ["jobs"]
    assert document["queries"]["jobs"]["http"]["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert document["queries"]["/v1/stats"]["http"]["large_ms"]["median"] == MAX_STATISTICS_MS


def test_targets_use_parameters_of_the_api() -> None:
    targets = {case.build_target(5) for case in build_list_cases(20_000)}
    targets |= {case.build_target(5) for case in STATISTICS}

    assert {
        "/v1/stats",
        "/v1/jobs?limit=5",
        "/v1/jobs?provider=hooli&limit=5",
        "/v1/jobs?disputed=true&limit=5",
        "/v1/jobs?finished_to=2026-11-08T12%3A00%3A00Z&limit=5",
        "/v1/requests?metadata.order=777&limit=5",
        f"/v1/jobs?request_id={derive_request_id(105, 20_000)}&limit=5",
    } <= targets


def test_cases_are_unique_and_the_same_for_all_tables() -> None:
    small, large = (list(build_list_cases(jobs)) for jobs in (10_000, 1_000_000))

    assert len({str(case) for case in small}) == len(small)
    assert [(case.list_name, case.filters.keys()) for case in small] == [
        (case.list_name, case.filters.keys()) for case in large
    ]
