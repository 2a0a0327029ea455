"""Figures of activity: their periods, and which of them are known."""

from datetime import UTC, datetime, timedelta

from receiver.domain.activity import ActivityCount, ActivityKind, find_bucket
from receiver.web.admin.activity import Window, draw_callbacks, draw_durations, draw_requests, sum_by_period

NOW = datetime(2026, 11, 29, 12, 30, 45, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def count(minutes_ago: int, outcome: str, number: int, kind: ActivityKind = ActivityKind.CALLBACKS) -> ActivityCount:
    return ActivityCount(NOW.replace(second=0) - minutes_ago * MINUTE, "acme", kind, outcome, number)


def test_window_ends_with_the_period_of_a_time() -> None:
    window = Window.of_last(3, 60, NOW)
    assert window.labels == ["12:28", "12:29", "12:30"]
    assert (window.since, window.until) == (NOW - timedelta(minutes=2, seconds=45), NOW + timedelta(seconds=15))
    assert Window.of_last(24, 3_600, NOW).labels[::23] == ["13:00", "12:00"]


def test_periods_are_summed_and_uncounted_ones_are_unknown() -> None:
    window = Window.of_last(5, 60, NOW)
    counts = [
        count(4, "accepted", 3),
        count(4, "unmapped", 2),
        count(4, "duplicate", 9),
        count(4, "accepted", 9, ActivityKind.JOBS),
        count(1, "accepted", 1),
    ]
    until = NOW - 2 * MINUTE
    sums = sum_by_period(window, counts, ActivityKind.CALLBACKS, {"accepted", "unmapped"}, until)
    assert sums == [5, 0, 0, 1, None]


def test_each_verdict_is_in_one_series() -> None:
    window = Window.of_last(2, 60, NOW)
    verdicts = ("accepted", "duplicate", "invalid", "unmapped", "refused")
    chart = draw_callbacks("callbacks", window, [count(1, verdict, 2) for verdict in verdicts], NOW)
    for text in ("accepted: 2,", "duplicate: 2,", "invalid, unmapped: 4,", "refused: 2,"):
        assert text in chart
    assert "Callbacks per minute" in chart
    assert "Requests per hour" in draw_requests("requests", Window.of_last(2, 3_600, NOW), [], NOW)


def test_durations_of_providers_are_added() -> None:
    bucket = find_bucket(2.0)
    chart = draw_durations("durations", "Durations", [{bucket: 3}, {bucket: 2, bucket + 5: 1}])
    assert chart is not None
    assert "6 in all. p50: 2" in chart
    assert draw_durations("durations", "Durations", [{}]) is None
