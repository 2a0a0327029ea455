"""Suggestions for misspelt names."""

import pytest

from receiver.domain.suggestions import format_list_suggestion, format_suggestion

CHOICES = (
    "header",
    "secrets",
    "encoding",
    "GitHub",
    "hmac",
    "max_body",
    "max_size",
    "a.one",
    "a.two",
    "a.three",
    "a.four",
)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("headr", " Did you mean header?"),
        ("SECRETS", " Did you mean secrets?"),
        ("secret", " Did you mean secrets?"),
        ("github", " Did you mean GitHub?"),
        ("hmca", " Did you mean hmac?"),
        ("git-hub", " Did you mean GitHub?"),
        ("max", " Did you mean max_body or max_size?"),
        ("MAX-SIZE", " Did you mean max_size?"),
        ("ma", ""),
        ("a", " Did you mean a.one, a.two or a.three?"),
        ("colour", ""),
        ("sec", ""),
        ("", ""),
        ("-", ""),
    ],
)
def test_suggestion_is_the_choice_that_resembles_a_name(name: str, suggestion: str) -> None:
    assert format_suggestion(name, CHOICES) == suggestion


def test_only_the_most_similar_choice_is_suggested() -> None:
    assert format_suggestion("headr", ["headers", "header", "heads"]) == " Did you mean header?"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("paystack-transfers", " Did you mean paystack?"),
        ("Paystack charges", " Did you mean paystack-charges?"),
        ("adyen-transfer", " Did you mean adyen-transfers?"),
        ("amazon", " Did you mean sns?"),
        ("amazn-sns", " Did you mean sns?"),
        ("Paystack", " Did you mean paystack?"),
    ],
)
def test_title_is_a_spelling_of_its_choice(name: str, suggestion: str) -> None:
    titles = {
        "adyen-transfers": "Adyen for Platforms transfers",
        "paystack": "Paystack transfers",
        "paystack-charges": "Paystack charges",
        "sns": "Amazon SNS",
    }
    assert format_suggestion(name, titles, titles) == suggestion


def test_short_list_needs_no_suggestion() -> None:
    assert format_list_suggestion("headr", CHOICES[:3]) == ""
    assert format_list_suggestion("headr", CHOICES) == " Did you mean header?"
