"""The pure parts of `lists`: what its rounds amount to, and what is asked for."""

import pytest

from tests.benchmarks.figures import Spread
from tests.benchmarks.list_cases import cases
from tests.benchmarks.list_figures import TARGET, Filter, Listed, Timing, p95
from tests.population import request_of

SAME = Timing([4.0, 6.0, 5.0], [4.0, 6.0, 5.0])
SLOWER = Timing([4.0, 6.0, 5.0], [4.0 * TARGET, 6.0 * TARGET + 1.0, 5.0 * TARGET + 1.0])


def listed(*filters: Filter) -> Listed:
    return Listed(10_000, 1_000_000, filters, {"counts": [190.0, 200.0, 270.0]}, {"cores": 2})


def test_95_of_100_calls_take_no_longer() -> None:
    assert p95([float(number) for number in range(101)]) == pytest.approx(95.0)


def test_each_round_of_the_large_table_counts_against_its_neighbour() -> None:
    assert Timing([1.0, 2.0, 4.0], [2.0, 3.0, 2.0]).ratio() == Spread(1.5, 0.5, 2.0)


@pytest.mark.parametrize(
    ("http", "store", "is_over"), [(SAME, SAME, False), (SLOWER, SAME, True), (SAME, SLOWER, True)]
)
def test_a_filter_is_over_if_either_way_is(http: Timing, store: Timing, *, is_over: bool) -> None:
    assert Filter("jobs", 50, http, store).is_over is is_over


def test_the_table_tells_which_filters_are_over() -> None:
    told = listed(Filter("jobs", 50, SAME, SAME), Filter("jobs disputed=true", 8, SLOWER, SAME))

    assert told.over == ["jobs disputed=true"]
    lines = told.table().splitlines()
    assert "jobs                   50         5.0       5.0   1.00         5.0       5.0   1.00" in lines
    assert "target: at most 2 times as long; over it: jobs disputed=true" in lines
    assert "  counts: 200 (190 to 270)" in lines


def test_the_document_holds_what_the_table_shows() -> None:
    document = listed(Filter("jobs", 50, SAME, SLOWER)).document()

    assert document["jobs"] == {"small": 10_000, "large": 1_000_000}
    assert document["filters"]["jobs"]["http"]["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert document["figures_ms"]["counts"] == {"median": 200.0, "low": 190.0, "high": 270.0}


def test_filters_are_asked_for_as_the_api_takes_them() -> None:
    targets = {case.target(limit=5) for case in cases(20_000)}

    assert {
        "/v1/jobs?limit=5",
        "/v1/jobs?provider=hooli&limit=5",
        "/v1/jobs?disputed=true&limit=5",
        "/v1/jobs?finished_to=2026-11-08T12%3A00%3A00Z&limit=5",
        "/v1/requests?metadata.order=777&limit=5",
        f"/v1/jobs?request_id={request_of(105, 20_000)}&limit=5",
    } <= targets


def test_every_case_is_asked_for_once_and_alike_of_all_tables() -> None:
    small, large = (list(cases(jobs)) for jobs in (10_000, 1_000_000))

    assert len({str(case) for case in small}) == len(small)
    assert [(case.listed, case.filters.keys()) for case in small] == [
        (case.listed, case.filters.keys()) for case in large
    ]
