"""Numbers with their nouns."""

import pytest

from receiver.domain.plurals import format_count


@pytest.mark.parametrize(("number", "text"), [(0, "0 keys"), (1, "1 key"), (2, "2 keys"), (1_000, "1,000 keys")])
def test_noun_agrees_with_its_number(number: int, text: str) -> None:
    assert format_count(number, "key") == text
