"""Positions in the stream of changes."""

import re
from datetime import timedelta

import pytest

from receiver.domain.tail import MAX_RUNNING, TailCursor, merge_cursors, narrow_xid, widen_xid
from tests.support.factories import NOON

SECOND = timedelta(seconds=1)
CURSOR = TailCursor(NOON, 900, {850, 890}, {NOON - SECOND})


def test_cursor_is_the_same_after_parsing() -> None:
    assert re.fullmatch(TailCursor.PATTERN, str(CURSOR))
    assert TailCursor.parse(str(CURSOR)) == CURSOR


@pytest.mark.parametrize(("xid", "expected"), [(849, True), (850, False), (851, True), (890, False), (900, False)])
def test_transaction_is_seen_unless_it_was_running_or_later(xid: int, expected: bool) -> None:
    assert CURSOR.sees_xid(xid) is expected


@pytest.mark.parametrize(("seconds", "expected"), [(-2, True), (-1, False), (-0.5, True), (0, False), (1, False)])
def test_time_is_seen_unless_its_transaction_was_running_or_later(seconds: float, expected: bool) -> None:
    assert CURSOR.sees_time(NOON + seconds * SECOND) is expected


def test_text_lists_so_many_transactions_and_sees_no_younger_one() -> None:
    times = {NOON - number * SECOND for number in range(1, MAX_RUNNING + 10)}
    text = str(TailCursor(NOON, 1_000, set(range(500, 500 + MAX_RUNNING + 9)), times))
    assert len(text) < 3_200
    assert re.fullmatch(TailCursor.PATTERN, text)
    cursor = TailCursor.parse(text)
    assert not any(cursor.sees_xid(xid) for xid in range(500, 1_001))
    assert not any(cursor.sees_time(time) for time in times)
    assert cursor.sees_xid(499)


def test_merged_position_sees_what_all_see() -> None:
    other = TailCursor(NOON + SECOND, 950, {910}, {NOON - 2 * SECOND})
    merged = merge_cursors([other, CURSOR])
    assert merged == TailCursor(NOON, 900, {850, 890, 910}, {NOON - SECOND, NOON - 2 * SECOND})
    for xid in range(840, 960):
        assert merged.sees_xid(xid) <= (CURSOR.sees_xid(xid) and other.sees_xid(xid))


@pytest.mark.parametrize("xid", [3, (1 << 32) - 1, (1 << 32) + 3, (7 << 32) + 5])
def test_xid_is_widened_by_the_next_one(xid: int) -> None:
    assert narrow_xid(xid) in range(1 << 32)
    assert widen_xid(narrow_xid(xid), xid + 100) == xid


def test_xid_with_the_bits_of_the_next_one_is_an_era_older() -> None:
    assert widen_xid(5, (7 << 32) + 5) == (6 << 32) + 5
