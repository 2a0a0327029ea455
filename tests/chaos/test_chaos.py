"""The trials, which plain `pytest` runs in short forms, and checks that the trials find violations."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.chaos import hostile, kills, limits, silence
from tests.chaos.counting_provider import Arrival
from tests.chaos.kills import HOLD, RETRY, StoredRequest, find_violations

MAX_P99_S = 3.0
"""On a machine that runs other tests beside the attackers."""
MIN_USED = 0.5
"""The share of a limit that must be used on a busy machine and at the start."""


@pytest.mark.parametrize("count", [8, pytest.param(200, marks=pytest.mark.chaos)])
def test_killed_workers_send_nothing_twice_and_lose_nothing(dsn: str, tmp_path: Path, count: int) -> None:
    trial = kills.run(dsn, tmp_path, count=count, seed=1)
    assert trial.violations == []
    assert sum(trial.kills.values()) == count
    assert len(trial.kills) > 3
    assert len(trial.stored) == len(trial.submitted)
    assert any(request.status == "unknown" for request in trial.stored)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [2.0, pytest.param(30.0, marks=pytest.mark.chaos)])
def test_two_workers_use_and_respect_a_limit(dsn: str, tmp_path: Path, seconds: float) -> None:
    assert limits.run(dsn, tmp_path, seconds=seconds, min_used=MIN_USED).violations == []


@pytest.mark.parametrize(("jobs", "limit"), [(150, 100), pytest.param(10_000, 200, marks=pytest.mark.chaos)])
def test_silent_jobs_do_not_delay_another_provider(dsn: str, tmp_path: Path, jobs: int, limit: int) -> None:
    assert silence.run(dsn, tmp_path, jobs=jobs, limit=limit, min_used=MIN_USED).violations == []


@pytest.mark.slow
def test_strangers_do_not_stop_callbacks(dsn: str, tmp_path: Path) -> None:
    trial = hostile.run(dsn, tmp_path, seconds=3.0, per_second=50, max_p99=MAX_P99_S)
    assert trial.violations == [], trial.summary()
    assert trial.refusals["malformed"] > 0


def make_stored(provider: str = HOLD, status: str = "accepted", **overrides: int) -> StoredRequest:
    counts = {"attempts": 1, "responses": 1, "open_attempts": 0, "jobs": 1} | overrides
    return StoredRequest(uuid4(), provider, f"{provider}-1", status, **counts)


def make_arrival(request: StoredRequest, key: UUID | None = None) -> Arrival:
    return Arrival(0.0, request.provider, "POST", request.name, str(key or request.id))


def check_request(request: StoredRequest, *arrivals: Arrival) -> list[str]:
    return list(find_violations({request.name: request.provider}, arrivals, [request]))


def test_correct_requests_are_no_violations() -> None:
    for provider in (HOLD, RETRY):
        accepted = make_stored(provider)
        assert check_request(accepted, make_arrival(accepted)) == []
    retried = make_stored(RETRY, attempts=2)
    assert check_request(retried, make_arrival(retried), make_arrival(retried)) == []
    for attempts in (1, 2):
        unknown = make_stored(HOLD, "unknown", attempts=attempts, responses=attempts - 1, jobs=0)
        assert check_request(unknown, make_arrival(unknown)) == check_request(unknown) == []


@pytest.mark.parametrize(
    ("request_", "sends", "violation"),
    [
        (make_stored(HOLD, attempts=2), 2, "was sent 2 times"),
        (make_stored(RETRY), 2, "by 1 committed attempts"),
        (make_stored(RETRY), 0, "is accepted with 0 sends"),
        (make_stored(RETRY, jobs=2), 1, "and 2 jobs"),
        (make_stored(RETRY, "unknown", responses=0), 1, "did not end"),
        (make_stored(HOLD, "unknown"), 1, "each of its attempts has a response"),
        (make_stored(HOLD, "unknown", responses=0, open_attempts=1), 1, "still open"),
        *[
            (make_stored(provider, status), 1, "did not end")
            for provider in (HOLD, RETRY)
            for status in ("queued", "sending")
        ],
    ],
)
def test_violations_of_a_request_are_found(request_: StoredRequest, sends: int, violation: str) -> None:
    assert violation in " ".join(check_request(request_, *[make_arrival(request_)] * sends))


def test_lost_and_unsubmitted_requests_are_found() -> None:
    request = make_stored()
    arrival = make_arrival(request)
    submitted = {request.name: HOLD}
    assert list(find_violations({"lost": HOLD, **submitted}, [arrival], [request])) == ["lost is lost"]
    stranger = replace(arrival, name="stranger", key="k")
    (violation, *_) = find_violations(submitted, [arrival, stranger], [request])
    assert violation == "stranger was never submitted"


def test_changed_and_shared_idempotency_keys_are_found() -> None:
    request, key = make_stored(RETRY, attempts=2), uuid4()
    violations = check_request(request, make_arrival(request), make_arrival(request, key))
    assert "the idempotency key of another request" in " ".join(violations)
    other = replace(make_stored(RETRY), name="retry-2")
    arrivals = [make_arrival(request, key), make_arrival(other, key)]
    assert f"several requests have the idempotency key {key}" in list(
        find_violations({request.name: RETRY, other.name: RETRY}, arrivals, [request, other])
    )


def test_busiest_second_is_found_wherever_it_starts() -> None:
    assert limits.count_busiest([], 1.0) == 0
    assert limits.count_busiest([0.0, 0.5, 0.9, 1.2, 1.45, 2.5], 1.0) == 4
    assert limits.count_busiest([0.0, 1.0], 1.0) == 1


def test_exceeded_and_unused_limits_are_found() -> None:
    times = [number / limits.LIMIT_PER_S for number in range(limits.LIMIT_PER_S * 4)]
    trial = limits.LimitsTrial(times, 10, 4.0)
    assert trial.violations == []
    exceeded = replace(trial, times=[*times[:-1], *times[-1:] * 3])
    assert exceeded.violations == ["22 exchanges arrived within a second"]
    assert "of the limit was used" in replace(trial, times=times[::2]).violations[0]
    assert "both kinds must occur" in replace(trial, polls=0).violations[0]


def test_violations_of_the_silence_trial_are_found() -> None:
    trial = silence.SilenceTrial(100, 200, 0, [number / 100 for number in range(200)], [0.1, 0.2], 80.0)
    assert trial.violations == []
    for violating, violation in (
        (replace(trial, open_jobs=3), "3 jobs have no final status"),
        (replace(trial, polls=[number / 200 for number in range(200)]), "200 polls arrived within a second"),
        (replace(trial, polls=[number / 50 for number in range(200)]), "only 50"),
        (replace(trial, delays=[0.1, float("inf")]), "delayed by inf"),
        (replace(trial, memory=151.0), "151 MiB"),
    ):
        assert violation in " ".join(violating.violations)
