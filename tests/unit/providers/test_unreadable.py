"""Bodies of responses that cannot be parsed, in words for people."""

import pytest
from marshmallow import ValidationError

from receiver.domain.sending import Response
from receiver.providers.json_paths import parse_json
from receiver.providers.unreadable import build_unreadable_response


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "the body is empty"),
        (b"<title>Suspended</title>", "the body is not JSON (text/html): Suspended"),
        (b"accepted", "the body is not JSON (text/html): accepted"),
    ],
)
def test_body_that_is_not_json_is_described(body: bytes, problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse_json(body)
    response = Response(200, {"content-type": "text/html"}, body)
    parsed = build_unreadable_response(response, caught.value)
    assert (parsed.items, parsed.problem) == ((), problem)


def test_json_of_another_form_names_what_is_wrong() -> None:
    error = ValidationError({"items": ["Missing data for required field."]})
    problem = build_unreadable_response(Response(200, {}, b"{}"), error).problem
    assert problem == "the body cannot be read: {'items': ['Missing data for required field.']}"
