"""Suggestions for misspelt names."""

import pytest

from receiver.domain.suggestions import format_suggestion

CHOICES = ("header", "secrets", "encoding", "GitHub", "hmac")


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("headr", " Did you mean header?"),
        ("SECRETS", " Did you mean secrets?"),
        ("secret", " Did you mean secrets?"),
        ("github", " Did you mean GitHub?"),
        ("hmca", " Did you mean hmac?"),
        ("colour", ""),
        ("", ""),
    ],
)
def test_suggestion_is_the_choice_that_resembles_a_name(name: str, suggestion: str) -> None:
    assert format_suggestion(name, CHOICES) == suggestion
