"""Activity: buckets of durations, and percentiles estimated from them."""

import random
from collections import Counter
from itertools import pairwise
from statistics import quantiles

import pytest

from receiver.domain.activity import BUCKET_BOUNDS_S, estimate_percentiles, find_bucket, list_bucket_bounds


def test_bounds_grow_by_the_same_factor() -> None:
    ratios = [high / low for low, high in pairwise(BUCKET_BOUNDS_S)]
    assert ratios == pytest.approx([10**0.2] * len(ratios), rel=0.01)
    assert BUCKET_BOUNDS_S[0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(-5.0, 0), (0.0, 0), (0.099, 0), (0.1, 1), (0.5, 4), (1.0, 6), (1e7, len(BUCKET_BOUNDS_S)), (1e9, 41)],
)
def test_bucket_has_durations_from_its_bound_on(seconds: float, bucket: int) -> None:
    assert find_bucket(seconds) == bucket


def test_first_and_last_bucket_have_bounds_too() -> None:
    assert list_bucket_bounds({41: 2, 5: 0, 1: 1, 0: 3}) == [
        (0, pytest.approx(0.0631, abs=1e-4), 0.1),
        (1, 0.1, 0.158),
        (41, 1e7, pytest.approx(1.585e7, rel=1e-3)),
    ]


def test_estimates_are_close_to_percentiles() -> None:
    rng = random.Random(5)
    durations = [rng.lognormvariate(3.0, 1.5) for _ in range(5_000)]

    estimates = estimate_percentiles(Counter(map(find_bucket, durations)), [0.5, 0.95, 0.99])

    exact = quantiles(durations, n=100)
    assert estimates == pytest.approx([exact[49], exact[94], exact[98]], rel=0.1)


def test_estimates_of_nothing_are_none() -> None:
    assert estimate_percentiles({}, [0.5]) is None
    assert estimate_percentiles({3: 0}, [0.5]) is None


def test_estimate_between_buckets_is_the_bound_of_the_lower_one() -> None:
    assert estimate_percentiles({2: 5, 9: 5}, [0.5, 1.0]) == [BUCKET_BOUNDS_S[2], BUCKET_BOUNDS_S[9]]


def test_estimates_lie_within_their_bucket() -> None:
    low, high = BUCKET_BOUNDS_S[4], BUCKET_BOUNDS_S[5]
    estimates = estimate_percentiles({2: 0, 5: 10}, [0.01, 1.0])
    assert estimates is not None
    assert low <= estimates[0] < estimates[1] == pytest.approx(high, rel=1e-3)
