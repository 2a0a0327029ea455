"""Activity: how many requests were submitted, callbacks received and jobs finished, by period and provider.

The seconds from acceptance to the final status are counted in buckets whose bounds grow by the same factor, so that
percentiles over any number of periods and providers can be estimated from the sums.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import accumulate

_BOUNDS_PER_DECADE = 5
_FIRST_DECADE, _LAST_DECADE = -1, 7
BUCKET_BOUNDS_S = tuple(
    round(10 ** (number / _BOUNDS_PER_DECADE), 3)
    for number in range(_FIRST_DECADE * _BOUNDS_PER_DECADE, _LAST_DECADE * _BOUNDS_PER_DECADE + 1)
)
"""The bounds of the buckets, from 0.1 s to 116 days. Bucket `n` has the seconds from bound `n - 1` up to bound `n`."""


class ActivityKind(StrEnum):
    """What is counted."""

    REQUESTS = "requests"
    CALLBACKS = "callbacks"
    JOBS = "jobs"


@dataclass(frozen=True, slots=True)
class ActivityCount:
    """How often something happened to a provider in the period that begins at `started_at` (UTC).

    `outcome` is `submitted` of requests, the verdict of callbacks, and the final status of jobs.
    """

    started_at: datetime
    provider: str
    kind: ActivityKind
    outcome: str
    count: int


@dataclass(frozen=True, slots=True)
class ActivityIncrement:
    """How often something happened to a provider since it was last counted; see `ActivityCount`.

    Of jobs, `bucket` is that of the seconds from acceptance to the final status, and `seconds` is their sum; else 0.
    """

    provider: str
    kind: ActivityKind
    outcome: str
    bucket: int
    count: int
    seconds: float


def find_bucket(seconds: float) -> int:
    """Return the bucket of a duration."""
    return bisect_right(BUCKET_BOUNDS_S, seconds)


def estimate_percentiles(counts: Mapping[int, int], shares: Sequence[float]) -> list[float] | None:
    """Estimate percentiles in seconds from the number of durations in each bucket; None without any.

    Within a bucket, durations are taken to be evenly distributed on the logarithmic scale.

    Args:
        counts: bucket → number of durations.
        shares: the shares of the percentiles, between 0 and 1.
    """
    total = sum(counts.values())
    return [_estimate(counts, share * total) for share in shares] if total else None


def list_bucket_bounds(counts: Mapping[int, int]) -> list[tuple[int, float, float]]:
    """Return the buckets that have durations, in order, each with its bounds in seconds."""
    factor = 10 ** (1 / _BOUNDS_PER_DECADE)
    bounds = (BUCKET_BOUNDS_S[0] / factor, *BUCKET_BOUNDS_S, BUCKET_BOUNDS_S[-1] * factor)
    return [(bucket, bounds[bucket], bounds[bucket + 1]) for bucket in sorted(counts) if counts[bucket]]


def _estimate(counts: Mapping[int, int], rank: float) -> float:
    buckets = list_bucket_bounds(counts)
    last_ranks = list(accumulate(counts[bucket] for bucket, _, _ in buckets))
    index = bisect_left(last_ranks, rank)
    bucket, low, high = buckets[index]
    return high * math.pow(low / high, (last_ranks[index] - rank) / counts[bucket])
