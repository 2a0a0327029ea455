"""Suggestions for names that no entry of the catalog has."""

import pytest

from receiver.providers.catalog.suggestions import format_entry_suggestion


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("paystack-transfers", " Did you mean paystack?"),
        ("stripe", " Did you mean stripe-payments, stripe-payouts or stripe-refunds?"),
        ("twillio", " Did you mean twilio?"),
        ("declard", " Did you mean declared?"),
        ("nobody", ""),
    ],
)
def test_entry_is_suggested_by_name_and_title(name: str, suggestion: str) -> None:
    assert format_entry_suggestion(name, ["declared", "sandbox"]) == suggestion
