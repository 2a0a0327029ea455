"""Values at paths and locations, as text that can be stored."""

import pytest
from marshmallow import ValidationError

from receiver.domain.callbacks import IncomingCallback
from receiver.providers.json_paths import (
    JsonPath,
    as_text,
    bind_location,
    compile_location,
    find_first_text,
    is_outside_document,
    join_texts,
    parse_fields,
    parse_json,
)
from tests.support.factories import NOON

DOCUMENT = {"a": {"b": "1"}, "n": 12345.0, "rounded": 1e30, "odd": "caf\udce9", "half": "\ud83d", "flag": True}
CALLBACK = IncomingCallback("POST", "/callbacks/acme?state=DONE&n=1&n=1&m=1&m=2", {"x-id": "h"}, b"", NOON)


@pytest.mark.parametrize("parse", [lambda: parse_json(b"no json"), lambda: parse_fields("&".join(["a"] * 10_001))])
def test_unreadable_body_is_a_validation_error(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(ValidationError) as caught:
        parse()
    assert caught.value.messages_dict.keys() == {"_body"}


@pytest.mark.parametrize(
    ("location", "value"),
    [("header:X-Id", "h"), ("header:X-None", None), ("query:state", "DONE"), ("query:n", "1"), ("query:m", None)],
)
def test_location_outside_the_document_is_bound_to_a_callback(location: str, value: str | None) -> None:
    path = compile_location(location)
    assert is_outside_document(path)
    assert path(DOCUMENT, DOCUMENT) is None
    bound = bind_location(path, CALLBACK)
    assert bound(DOCUMENT, DOCUMENT) == value
    assert bound.path.lower() == location.lower()


def test_path_is_the_same_for_every_callback() -> None:
    path = compile_location("a.b")
    assert not is_outside_document(path)
    assert bind_location(path, CALLBACK) is path
    assert path(DOCUMENT, DOCUMENT) == "1"


@pytest.mark.parametrize(
    ("path", "text"), [("n", "12345"), ("rounded", "1e+30"), ("odd", "caf\ufffd"), ("half", None), ("flag", "true")]
)
def test_first_text_is_one_that_can_be_stored(path: str, text: str | None) -> None:
    assert find_first_text([JsonPath("missing"), JsonPath(path)], DOCUMENT, DOCUMENT) == text


def test_reference_is_exact_text() -> None:
    assert join_texts([JsonPath("a.b"), JsonPath("n")], DOCUMENT, DOCUMENT) == "1/12345"
    assert join_texts([JsonPath("rounded")], DOCUMENT, DOCUMENT) is None
    assert as_text(True) is None
    for path in ("odd", "half"):
        with pytest.raises(ValidationError):
            join_texts([JsonPath(path)], DOCUMENT, DOCUMENT)
