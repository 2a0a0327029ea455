"""Values that would lead to another path."""

import pytest

from receiver.domain.paths import has_dot_segment


@pytest.mark.parametrize("text", [".", "..", "../a", "a/..", "a/./b", "/..", "..\\a", "a\\.."])
def test_dot_segment_leads_to_another_path(text: str) -> None:
    assert has_dot_segment(text)


@pytest.mark.parametrize(
    "text", ["", "a", "...", ".a", "a.", "..a", "a..", "a..b", "a/b", "a/.b", "1.5", "....", "a b"]
)
def test_other_dots_are_part_of_a_name(text: str) -> None:
    assert not has_dot_segment(text)
