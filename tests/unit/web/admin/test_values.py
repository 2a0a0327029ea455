"""How the pages show values of JSON and nested errors, see `receiver.web.admin.presentation`."""

from typing import Any

import pytest

from receiver.web.admin.presentation import format_errors, format_value


@pytest.mark.parametrize(
    ("value", "text"), [("order", "order"), (True, "true"), (None, "null"), ({"a": [1]}, '{"a":[1]}')]
)
def test_value_is_shown_as_text_or_json(value: Any, text: str) -> None:
    assert format_value(value) == text


def test_errors_have_the_paths_of_their_fields() -> None:
    errors = {"webhook-signature": ["No v1 signature matches."], "results": {"0": {"id": ["Not a valid string."]}}}

    assert format_errors(errors) == "webhook-signature: No v1 signature matches.; results.0.id: Not a valid string."
    assert format_errors(None) == ""
