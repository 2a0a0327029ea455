"""The short form of the trial `store`, and checks that the trial finds differences."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest

from tests.chaos.store import campaign
from tests.chaos.store.check import StoredJob, StoredRequest, find_differences
from tests.chaos.store.faults import FAULTS
from tests.chaos.store.ledger import Call, Ledger, find_false_readiness
from tests.chaos.store.postgres import Template
from tests.chaos.store.trial import Result, find_failures, measure_recovery, run

NAME, REFERENCE = "request-1", "request-1-0"


@pytest.fixture(scope="module")
def store_template() -> Iterator[Template]:
    with campaign.temporary_template() as template:
        yield template


@pytest.mark.chaos
@pytest.mark.parametrize(
    "faults",
    [("connections silent",), ("worker killed", "replies lost"), ("web master killed", "primary frozen")],
    ids=" + ".join,
)
def test_service_survives_faults(store_template: Template, faults: tuple[str, ...]) -> None:
    result = run(store_template, Random(1), 0, faults)
    if result.skipped:
        pytest.skip(result.skipped)
    assert result.differences == []


@pytest.fixture
def ledger() -> Ledger:
    """The ledger of one request: acknowledged, sent, and ended by a callback."""
    ledger = Ledger()
    ledger.began[NAME] = time.monotonic()
    ledger.submitted[NAME] = uuid4()
    ledger.record_send(NAME, str(ledger.submitted[NAME]))
    ledger.add_callback(REFERENCE, "SENT").acknowledged = True
    ledger.add_callback(REFERENCE, "DELIVERED").acknowledged = True
    return ledger


@pytest.fixture
def stored_request(ledger: Ledger) -> StoredRequest:
    return StoredRequest(ledger.submitted[NAME], NAME, "accepted", None, jobs=1)


@pytest.fixture
def stored_job() -> StoredJob:
    return StoredJob(REFERENCE, "succeeded", disputed=False, callbacks=2)


def test_agreeing_store_has_no_differences(
    ledger: Ledger, stored_request: StoredRequest, stored_job: StoredJob
) -> None:
    assert list(find_differences(ledger, [stored_request], [stored_job])) == []
    unknown = replace(stored_request, status="unknown", detail="worker lost", jobs=0)
    assert list(find_differences(ledger, [unknown], [stored_job])) == []


def test_lost_acknowledged_objects_are_found(
    ledger: Ledger, stored_request: StoredRequest, stored_job: StoredJob
) -> None:
    assert "is lost" in " ".join(find_differences(ledger, [], [stored_job]))
    assert "was sent and is not stored" in " ".join(find_differences(ledger, [], [stored_job]))
    assert "is lost: a callback" in " ".join(find_differences(ledger, [stored_request], []))
    ledger.callbacks[REFERENCE][0].acknowledged = ledger.callbacks[REFERENCE][1].acknowledged = False
    assert list(find_differences(ledger, [stored_request], [])) == []


def test_differences_of_a_request_are_found(
    ledger: Ledger, stored_request: StoredRequest, stored_job: StoredJob
) -> None:
    for request, difference in (
        (replace(stored_request, status="queued"), "did not end"),
        (replace(stored_request, status="sending"), "did not end"),
        (replace(stored_request, status="failed", detail="attempts used up"), "did not end"),
        (replace(stored_request, status="unknown"), "without a reason"),
        (replace(stored_request, jobs=2), "with 1 sends and 2 jobs"),
    ):
        assert difference in " ".join(find_differences(ledger, [request], [stored_job]))


def test_doubled_requests_are_found(ledger: Ledger, stored_request: StoredRequest, stored_job: StoredJob) -> None:
    second = replace(stored_request, id=uuid4())
    assert "is stored 2 times" in " ".join(find_differences(ledger, [stored_request, second], [stored_job]))
    ledger.record_send(NAME, str(stored_request.id))
    assert "was sent 2 times" in " ".join(find_differences(ledger, [stored_request], [stored_job]))


def test_differences_of_a_job_are_found(ledger: Ledger, stored_request: StoredRequest, stored_job: StoredJob) -> None:
    for job, difference in (
        (replace(stored_job, status="in_progress"), "is in_progress"),
        (replace(stored_job, status="failed"), "is failed"),
        (replace(stored_job, disputed=True), "is disputed"),
        (replace(stored_job, callbacks=3), "3 events of 2 callbacks"),
        (replace(stored_job, reference="other"), "unknown to the provider"),
    ):
        assert difference in " ".join(find_differences(ledger, [stored_request], [job]))
    ledger.callbacks[REFERENCE][1].acknowledged = False
    in_progress = replace(stored_job, status="in_progress", callbacks=1)
    assert list(find_differences(ledger, [stored_request], [in_progress])) == []


def test_differences_of_the_jobs_of_a_reused_reference_are_found(
    ledger: Ledger, stored_request: StoredRequest, stored_job: StoredJob
) -> None:
    ledger.ended[REFERENCE] = ledger.began["request-2"] = time.monotonic()
    assert ledger.record_send("request-2", "early", reuse=True).reference != REFERENCE
    ledger.sends.pop()
    ledger.ended[REFERENCE] = 0.0
    later = replace(stored_request, id=uuid4(), name="request-2")
    assert ledger.record_send(later.name, str(later.id), reuse=True).reference == REFERENCE
    ledger.add_callback(REFERENCE, "UNDELIVERED").acknowledged = True
    requests = [stored_request, later]
    jobs = [
        replace(stored_job, request=NAME),
        StoredJob(REFERENCE, "failed", disputed=False, callbacks=1, request=later.name),
    ]
    assert list(find_differences(ledger, requests, jobs)) == []
    assert "of request-2 is lost" in " ".join(find_differences(ledger, requests, jobs[:1]))
    mixed = [replace(jobs[0], status="failed"), replace(jobs[1], disputed=True)]
    differences = " ".join(find_differences(ledger, requests, mixed))
    assert "of request-1 is failed" in differences
    assert "of request-2 is disputed" in differences
    assert "and 3 are stored" in " ".join(find_differences(ledger, requests, [*jobs, jobs[0]]))
    unknown = replace(later, status="unknown", detail="worker lost", jobs=0)
    assert list(find_differences(ledger, [stored_request, unknown], [mixed[1]])) == []


def test_readiness_is_false_only_without_any_commit_around_it() -> None:
    calls = {
        "callback": [Call(0.0, 1.0, 200), Call(2.0, 20.0, 503), Call(19.0, 20.0, 200)],
        "readiness": [Call(at, at, 200) for at in (6.0, 8.0, 18.0, 19.0)] + [Call(9.0, 9.0, 503)],
    }
    false = find_false_readiness(calls, limit=6.0, margin=1.5)
    assert [check.began_at for check in false] == [8.0, 18.0]


def test_late_and_wrong_responses_are_found() -> None:
    ledger = Ledger()
    ledger.calls["callback"] = [Call(0.0, 1.0, 200), Call(1.0, 2.0, 500), Call(25.0, 26.0, 200)]
    ledger.calls["submission"] = [Call(0.0, 1.0, 202), Call(11.0, 12.0, 202)]
    recovery = measure_recovery(ledger, 10.0)
    assert recovery == {"callback": 16.0, "submission": 2.0, "settled": 0.0}
    assert list(find_failures(ledger, recovery)) == [
        "callback: 16.0 s after the end of the fault",
        "send: no success after the end of the fault",
        "1 calls (callback) were answered 500",
    ]


def test_each_turn_inflicts_every_fault_once() -> None:
    turns = [
        [campaign.choose_faults(1, turn * len(FAULTS) + place)[-1] for place in range(len(FAULTS))] for turn in (0, 1)
    ]
    assert sorted(turns[0]) == sorted(turns[1]) == sorted(FAULTS)
    assert turns[0] != turns[1]
    assert [campaign.choose_faults(1, 3), campaign.choose_faults(2, 3)] != [campaign.choose_faults(1, 3)] * 2


def test_finished_runs_are_not_repeated(tmp_path: Path) -> None:
    state = tmp_path / "results.jsonl"
    results = [Result(number, ["worker killed"], seconds=3.0) for number in range(2)]
    for result in results:
        campaign.append_result(state, 1, None, result)
    assert campaign.run_campaign(2, 1, None, state, lambda _: pytest.fail("repeats a run")) == results
    assert list(campaign.read_results(state, 2, None)) == list(campaign.read_results(state, 1, "read-only")) == []


def test_summary_counts_differences_by_fault() -> None:
    recovery = {"callback": 0.5, "submission": 1.0, "send": 1.5, "settled": 2.0}
    results = [
        Result(0, ["worker killed", "read-only"], recovery=recovery, callbacks=3, seconds=4.0),
        Result(1, ["read-only"], ["x is lost"], recovery={**recovery, "callback": 1.5}, seconds=6.0),
        Result(2, ["disk full"], skipped="a disk cannot be mounted"),
    ]
    _, disk_full, read_only, total = campaign.format_summary(results).splitlines()
    assert disk_full.split() == ["disk", "full", "1", "1", "0", "-", "-", "-", "-"]
    assert read_only.split()[:7] == ["read-only", "2", "0", "1", "1.0", "/", "1.5"]
    assert total == "3 runs, 1 with differences; 3 callbacks acknowledged; 5.0 s a run"
    assert campaign.format_result(results[1]).splitlines()[1] == "      x is lost"
    assert "skipped" in campaign.format_result(results[2])
