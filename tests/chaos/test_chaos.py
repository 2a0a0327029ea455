"""Short forms of the trials, and that their judges can tell good from bad."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from receiver.store.scratch import scratch_database
from tests.chaos import kills, limits, silence
from tests.chaos.fake import Arrival
from tests.chaos.kills import HOLD, RETRY, Stored, violations

KILLS = 8
BUSY = 0.5
"""What share of a limit must be used on a machine that does other things as well, and at the start."""


@pytest.fixture
def dsn(server: str, template: str) -> Iterator[str]:
    with scratch_database(server, template=template) as own:
        yield own


def test_workers_that_are_killed_double_nothing_and_lose_nothing(dsn: str, tmp_path: Path) -> None:
    trial = kills.run(dsn, tmp_path, count=KILLS, seed=1)
    assert trial.violations == []
    assert sum(trial.kills.values()) == KILLS
    assert len(trial.kills) > 3
    assert len(trial.stored) == len(trial.submitted)
    assert any(one.status == "unknown" for one in trial.stored)


def test_two_workers_use_a_limit_and_keep_it(dsn: str, tmp_path: Path) -> None:
    assert limits.run(dsn, tmp_path, seconds=2.0, least_used=BUSY).violations == []


def test_many_silent_jobs_delay_nobody_else(dsn: str, tmp_path: Path) -> None:
    assert silence.run(dsn, tmp_path, jobs=150, limit=100, least_used=BUSY).violations == []


def stored(lane: str = HOLD, status: str = "accepted", **more: int) -> Stored:
    given = {"attempts": 1, "answered": 1, "open": 0, "jobs": 1} | more
    return Stored(uuid4(), lane, f"{lane}-1", status, **given)


def sent(one: Stored, key: UUID | None = None) -> Arrival:
    return Arrival(0.0, one.lane, "POST", one.name, str(key or one.id))


def found(one: Stored, *arrivals: Arrival) -> list[str]:
    return list(violations({one.name: one.lane}, arrivals, [one]))


def test_what_went_well_is_no_violation() -> None:
    for lane in (HOLD, RETRY):
        accepted = stored(lane)
        assert found(accepted, sent(accepted)) == []
    again = stored(RETRY, attempts=2)
    assert found(again, sent(again), sent(again)) == []
    for attempts in (1, 2):
        unknown = stored(HOLD, "unknown", attempts=attempts, answered=attempts - 1, jobs=0)
        assert found(unknown, sent(unknown)) == found(unknown) == []


@pytest.mark.parametrize(
    ("one", "sends", "fault"),
    [
        (stored(HOLD, attempts=2), 2, "was sent 2 times"),
        (stored(RETRY), 2, "by 1 attempts"),
        (stored(RETRY), 0, "is accepted with 0 sends"),
        (stored(RETRY, jobs=2), 1, "and 2 jobs"),
        (stored(RETRY, "unknown", answered=0), 1, "did not end"),
        (stored(HOLD, "unknown"), 1, "each of its attempts has an answer"),
        (stored(HOLD, "unknown", answered=0, open=1), 1, "still under way"),
        *[(stored(lane, status), 1, "did not end") for lane in (HOLD, RETRY) for status in ("queued", "sending")],
    ],
)
def test_what_must_not_be_is_found(one: Stored, sends: int, fault: str) -> None:
    assert fault in " ".join(found(one, *[sent(one)] * sends))


def test_a_request_that_is_lost_or_came_from_nowhere_is_found() -> None:
    one = stored()
    assert list(violations({"lost": HOLD, one.name: HOLD}, [sent(one)], [one])) == ["lost is lost"]
    (fault, *_) = violations({one.name: HOLD}, [sent(one), replace(sent(one), name="nobody", key="k")], [one])
    assert fault == "nobody was never submitted"


def test_another_idempotency_key_and_one_of_two_requests_are_found() -> None:
    one, key = stored(RETRY, attempts=2), uuid4()
    assert "another idempotency key" in " ".join(found(one, sent(one), sent(one, key)))
    two = replace(stored(RETRY), name="retry-2")
    both = [sent(one, key), sent(two, key)]
    assert f"several requests have the idempotency key {key}" in list(
        violations({one.name: RETRY, two.name: RETRY}, both, [one, two])
    )


def test_the_fullest_second_is_found_wherever_it_begins() -> None:
    assert limits.most_in([], 1.0) == 0
    assert limits.most_in([0.0, 0.5, 0.9, 1.2, 1.45, 2.5], 1.0) == 4
    assert limits.most_in([0.0, 1.0], 1.0) == 1


def test_a_limit_that_is_passed_or_hardly_used_is_found() -> None:
    evenly = [number / limits.LIMIT for number in range(limits.LIMIT * 4)]
    good = limits.Trial(evenly, 10, 4.0)
    assert good.violations == []
    assert replace(good, times=[*evenly[:-1], *evenly[-1:] * 3]).violations == ["22 arrived within a second"]
    assert "of the allowance" in replace(good, times=evenly[::2]).violations[0]
    assert "there must be both" in replace(good, polls=0).violations[0]


def test_what_silent_jobs_must_not_do_is_found() -> None:
    good = silence.Trial(100, 200, 0, [number / 100 for number in range(200)], [0.1, 0.2], 80.0)
    assert good.violations == []
    for bad, fault in (
        (replace(good, left=3), "3 jobs were not asked"),
        (replace(good, polls=[number / 200 for number in range(200)]), "200 polls arrived within a second"),
        (replace(good, polls=[number / 50 for number in range(200)]), "only 50"),
        (replace(good, delays=[0.1, float("inf")]), "delayed by inf"),
        (replace(good, memory=151.0), "151 MiB"),
    ):
        assert fault in " ".join(bad.violations)
