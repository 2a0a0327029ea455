"""Token buckets: bursts, and the rate afterwards."""

from receiver.domain.buckets import TokenBucket


def test_bucket_allows_a_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(3, 1)
    assert [bucket.take(1, 10.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(1, 10.5)
    assert bucket.take(1, 11.0)
    assert not bucket.take(1, 11.5)


def test_bucket_is_refilled_at_its_rate() -> None:
    bucket = TokenBucket(10, 4)
    assert bucket.take(10, 100.0)
    assert bucket.refill(100.5) == 2.0
    assert bucket.refill(101.0) == 4.0


def test_bucket_never_holds_more_than_its_capacity() -> None:
    bucket = TokenBucket(2, 1)
    assert bucket.take(2, 0.0)
    assert bucket.refill(1_000.0) == 2


def test_refused_amount_is_not_counted() -> None:
    bucket = TokenBucket(5, 1)
    assert not bucket.take(6, 0.0)
    assert bucket.take(5, 0.0)


def test_clock_that_goes_back_adds_nothing() -> None:
    bucket = TokenBucket(1, 1)
    assert bucket.take(1, 10.0)
    assert not bucket.take(1, 5.0)
