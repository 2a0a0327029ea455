"""The comparison of the sandbox's ledger with Postgres reports every kind of difference."""

from typing import Any

import pytest

from receiver.cli.demo.compare import Comparison, StoredState, compare

LEDGER: dict[str, Any] = {
    "requests": [
        {"client_reference": "c-1", "response": "202", "expected": "accepted"},
        {"client_reference": "c-2", "response": "202", "expected": "accepted"},
    ],
    "jobs": [
        {"reference": "r-1", "callback": "normal", "expected": "succeeded", "disputed": False, "matched": True},
        {"reference": "r-2", "callback": "lost", "expected": "failed", "disputed": False, "matched": True},
    ],
    "double_sends": 0,
    "forged": [{"response_status": 401}, {"response_status": None}],
}
REQUESTS = {"c-1": StoredState("accepted"), "c-2": StoredState("accepted")}
JOBS = {"r-1": StoredState("succeeded"), "r-2": StoredState("failed")}


def compare_ledger(
    ledger: dict[str, Any] | None = None,
    requests: dict[str, StoredState] | None = None,
    jobs: dict[str, StoredState] | None = None,
) -> Comparison:
    return compare(LEDGER | (ledger or {}), REQUESTS | (requests or {}), JOBS | (jobs or {}))


def test_equal_states_agree_and_are_counted() -> None:
    comparison = compare_ledger()
    assert comparison.agrees
    assert (comparison.requests, comparison.jobs, comparison.by_status) == (2, 2, {"succeeded": 1, "failed": 1})
    assert comparison.rows == {("request", "202"): (2, 2), ("job", "normal"): (1, 1), ("job", "lost"): (1, 1)}
    assert (comparison.forged, comparison.forged_accepted) == (2, 0)


@pytest.mark.parametrize(
    "state",
    [StoredState("failed"), StoredState("succeeded", disputed=True), StoredState("succeeded", matched=False)],
)
def test_job_with_other_state_is_a_mismatch(state: StoredState) -> None:
    comparison = compare_ledger(jobs={"r-1": state})
    assert not comparison.agrees
    [mismatch] = comparison.mismatches
    assert mismatch.startswith("job r-1 (normal): ")
    assert comparison.rows["job", "normal"] == (0, 1)


def test_missing_request_is_a_mismatch() -> None:
    comparison = compare(LEDGER, {"c-1": StoredState("accepted")}, JOBS)
    assert not comparison.agrees
    assert comparison.mismatches[0].endswith("missing in Postgres")
    assert comparison.rows["request", "202"] == (1, 2)


def test_unexpected_rows_are_mismatches() -> None:
    comparison = compare_ledger(requests={"c-9": StoredState("queued")}, jobs={"r-9": StoredState("accepted")})
    assert comparison.mismatches == [
        "request c-9: in Postgres, but not in the ledger",
        "job r-9: in Postgres, but not in the ledger",
    ]


def test_double_send_is_a_mismatch() -> None:
    assert compare_ledger({"double_sends": 3}).mismatches == ["3 requests carried out more than once"]


@pytest.mark.parametrize(("status", "accepted"), [(200, 1), (299, 1), (400, 0), (None, 0)])
def test_accepted_forgery_prevents_agreement(status: int | None, accepted: int) -> None:
    comparison = compare_ledger({"forged": [{"response_status": status}]})
    assert comparison.forged_accepted == accepted
    assert comparison.agrees is not bool(accepted)
