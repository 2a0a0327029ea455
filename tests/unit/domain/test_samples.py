"""The sample of refused callbacks: what floods displace, and what they do not."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from receiver.domain.samples import Sample, choose_surplus
from tests.support.factories import NOON


def build_samples(prefix: str, count: int, *, start_s: float = 0.0, **fields: Any) -> list[Sample[str]]:
    defaults: dict[str, Any] = {"is_plausible": True, "caller": "198.51.100.1", "form": "a", "size": 1}
    return [
        Sample(id=f"{prefix}{n}", received_at=NOON + timedelta(seconds=start_s + n), **defaults | fields)
        for n in range(count)
    ]


def find_kept(samples: Sequence[Sample[str]], max_count: int = 100, **limits: int) -> set[str]:
    surplus: list[str] = choose_surplus(samples, max_count, **limits)
    return {sample.id for sample in samples}.difference(surplus)


def test_nothing_is_surplus_within_the_limits() -> None:
    assert choose_surplus(build_samples("a", 100), 100) == []


def test_flood_of_the_same_form_does_not_displace_an_earlier_callback() -> None:
    samples = [*build_samples("genuine", 1), *build_samples("forged", 220, start_s=10)]
    kept = find_kept(samples)
    assert len(kept) == 100
    assert {"genuine0", "forged219"} <= kept


def test_newest_and_oldest_of_a_form_take_turns() -> None:
    assert find_kept(build_samples("a", 6), 4) == {"a5", "a0", "a4", "a1"}


def test_implausible_flood_takes_places_of_its_own() -> None:
    genuine = build_samples("genuine", 90)
    kept = find_kept([*genuine, *build_samples("forged", 220, start_s=100, is_plausible=False)])
    assert sum(name.startswith("genuine") for name in kept) == 80
    assert sum(name.startswith("forged") for name in kept) == 20


def test_implausible_callbacks_fill_places_that_nobody_needs() -> None:
    kept = find_kept([*build_samples("genuine", 3), *build_samples("forged", 220, is_plausible=False)])
    assert len(kept) == 100
    assert {"genuine0", "genuine1", "genuine2"} <= kept


def test_plausible_callbacks_leave_no_place_for_missing_ones() -> None:
    assert len(find_kept(build_samples("genuine", 220))) == 100


def test_callers_share_the_places_evenly() -> None:
    forged = build_samples("forged", 500, start_s=100)
    for form in ("a", "b"):
        genuine = build_samples("genuine", 30, caller="203.0.113.7", form=form)
        assert {sample.id for sample in genuine} <= find_kept([*genuine, *forged])


def test_forms_of_one_caller_share_its_places() -> None:
    genuine = build_samples("genuine", 30, start_s=50, form="b")
    kept = find_kept([*genuine, *build_samples("before", 60), *build_samples("after", 200, start_s=100)])
    assert {sample.id for sample in genuine} <= kept


def test_oldest_of_an_earlier_day_makes_room() -> None:
    old = build_samples("old", 60)
    kept = find_kept([*old, *build_samples("new", 100, start_s=2 * 86_400)])
    assert kept.isdisjoint(sample.id for sample in old)
    [day_old] = build_samples("old", 1, start_s=1 - 86_400)
    assert find_kept([day_old, *build_samples("new", 2)], 2) == {"new0", "new1"}


def test_bytes_are_limited_for_the_most_plausible_first() -> None:
    samples = [*build_samples("forged", 1, size=60, is_plausible=False), *build_samples("genuine", 3, size=30)]
    assert find_kept(samples, max_bytes=100) == {"genuine0", "genuine1", "genuine2"}
    assert find_kept(samples, max_bytes=90) == {"genuine0", "genuine1", "genuine2"}


def test_caller_of_the_newest_callback_has_the_first_place() -> None:
    samples = [*build_samples("a", 1, start_s=10), *build_samples("b", 2, caller="203.0.113.7")]
    assert find_kept(samples, 1) == find_kept(samples[::-1], 1) == {"a0"}
