"""Results of contests: ratios within a turn, goals, and the table."""

from typing import Any

import pytest

from tests.benchmarks.contests import Contest, Goal
from tests.benchmarks.results import Contender, Round

EMPTY_VIEW = Contender("empty view", [Round(1_000, 1.0, {"python": 0.2}), Round(500, 1.0, {"python": 0.1})])
INTAKE = Contender("intake", [Round(500, 1.0, {"python": 0.1}), Round(500, 1.0, {"python": 0.1})])


def make_contest(**overrides: Any) -> Contest:
    fields: dict[str, Any] = {
        "benchmark": "peers",
        "operation": "callbacks",
        "contenders": [EMPTY_VIEW, INTAKE],
        "reference": EMPTY_VIEW,
        "goals": [Goal("ratio", 0.75, 0.85)],
        "checks": {"workers": 2},
        "machine": {"cores": 2},
    }
    return Contest(**fields | overrides)


@pytest.mark.parametrize(
    ("goal", "text"),
    [
        (Goal("rate", 45_000.0, 40_000), "goal: rate at least 40,000: 45,000, reached"),
        (Goal("rate", 39_999.0, 40_000), "goal: rate at least 40,000: 39,999, missed"),
        (Goal("CPU", 45.0, 45, is_maximum=True), "goal: CPU at most 45: 45.00, reached"),
        (Goal("CPU", 45.5, 45, is_maximum=True), "goal: CPU at most 45: 45.50, missed"),
    ],
)
def test_goal_is_reached_at_its_limit(goal: Goal, text: str) -> None:
    assert str(goal) == text
    assert goal.document()["reached"] is text.endswith("reached")


def test_contest_compares_with_reference_in_same_turn() -> None:
    lines = make_contest().table().splitlines()

    assert "  empty view: 750 (500 to 1,000)" in lines
    assert "  intake: 500 (500 to 500), 0.750 of empty view (0.500 to 1.000)" in lines
    assert "  intake, python: 200.0 (200.0 to 200.0)" in lines
    assert "goal: ratio at least 0.85: 0.75, missed" in lines


def test_contest_without_reference_has_no_ratios() -> None:
    contest = make_contest(reference=None)

    assert "  intake: 500 (500 to 500)" in contest.table().splitlines()
    assert "ratio" not in contest.document()["contenders"][1]


def test_contest_document_contains_table() -> None:
    document = make_contest().document()

    assert document["contenders"][1]["ratio"] == {"median": 0.75, "low": 0.5, "high": 1.0}
    assert document["goals"] == [{"name": "ratio", "value": 0.75, "at_least": 0.85, "reached": False}]
