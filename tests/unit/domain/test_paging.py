"""Keyset pagination: the text of a cursor, and the cursor of the next page."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.paging import CURSOR_PATTERN, Cursor, Page
from tests.support.factories import NOON

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2112, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # `timezones`
ROWS = [Cursor(NOON - timedelta(seconds=number), UUID(int=number)) for number in range(4)]


@given(time=TIMES, identifier=st.uuids())
def test_cursor_is_parsed_from_its_text(time: datetime, identifier: UUID) -> None:
    cursor = Cursor(time, identifier)
    assert re.fullmatch(CURSOR_PATTERN, str(cursor))
    assert Cursor.parse(str(cursor)) == cursor


def test_cursor_before_the_epoch_is_the_epoch() -> None:
    early = Cursor(datetime(1969, 12, 31, tzinfo=UTC), UUID(int=7))
    assert Cursor.parse(str(early)) == Cursor(datetime(1970, 1, 1, tzinfo=UTC), UUID(int=7))


@pytest.mark.parametrize("count", [3, 4])
def test_page_names_its_last_item_only_if_more_follow(count: int) -> None:
    page = Page.from_rows(ROWS[:count], 3, lambda row: row)
    assert page.items == ROWS[:3]
    assert page.next_cursor == (ROWS[2] if count == 4 else None)


def test_empty_page_has_no_cursor() -> None:
    assert Page[Cursor].from_rows([], 3, lambda row: row) == Page([], None)
