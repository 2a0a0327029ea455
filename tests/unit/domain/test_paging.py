"""Keyset pagination: the text of a cursor, and the cursor of the next page."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.paging import BaseCursor, Cursor, NameCursor, Page, PositionCursor, ReceiptCursor
from tests.support.factories import NOON

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2112, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # `timezones`
POSITIONS = st.integers(0, 2**31 - 1)
ROWS = [Cursor(NOON - timedelta(seconds=number), UUID(int=number)) for number in range(4)]


@given(
    cursor=st.one_of(
        st.builds(Cursor, TIMES, st.uuids()),
        st.builds(ReceiptCursor, TIMES, POSITIONS, st.uuids()),
        st.builds(PositionCursor, POSITIONS, st.uuids(), st.uuids()),
        st.builds(NameCursor, st.from_regex("[a-z0-9/_-]{1,127}", fullmatch=True)),
    )
)
def test_cursor_is_parsed_from_its_text(cursor: BaseCursor) -> None:
    assert re.fullmatch(cursor.PATTERN, str(cursor))
    assert type(cursor).parse(str(cursor)) == cursor


@pytest.mark.parametrize("cursor_class", [ReceiptCursor, PositionCursor])
@given(data=st.data())
def test_position_in_cursor_fits_the_database(
    cursor_class: type[ReceiptCursor | PositionCursor], data: st.DataObject
) -> None:
    text = data.draw(st.from_regex(cursor_class.PATTERN, fullmatch=True))
    assert cursor_class.parse(text).position in range(2**31)


def test_name_in_cursor_is_hexadecimal() -> None:
    assert str(NameCursor("acme/eu")) == "61636d652f6575"


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
