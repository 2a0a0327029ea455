"""Fields that several schemas share: URLs, text and JSON that can be stored, networks, hosts, keys and times."""

from base64 import b64encode
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest
from marshmallow import ValidationError, fields

from receiver.schemas.fields import (
    MAX_JSON_DEPTH,
    Choice,
    HostList,
    JsonDocumentSchema,
    NetworkList,
    SigningKeys,
    StrictSchema,
    UTCDateTime,
    check_http_url,
    check_storable_json,
    check_storable_text,
)


class ListSchema(JsonDocumentSchema):
    """A document with a list."""

    numbers = fields.List(fields.Integer())


def nest(depth: int) -> Any:
    return [nest(depth - 1)] if depth else "text"


def test_http_url_may_have_port_and_path() -> None:
    check_http_url("http://[::1]:8080/in/v1/")


@pytest.mark.parametrize(
    "url", ["ftp://h", "https://", "https://h:0", "https://h//v1", "https://u@h", "https://h?a", "https://h/#a", "h"]
)
def test_url_that_cannot_begin_others_is_rejected(url: str) -> None:
    with pytest.raises(ValidationError):
        check_http_url(url)


@pytest.mark.parametrize("text", ["nul\0", "lone \ud800"])
def test_unstorable_text_is_rejected_anywhere_in_json(text: str) -> None:
    with pytest.raises(ValidationError):
        check_storable_text(text)
    for document in ({"a": [{"b": text}]}, {text: 1}):
        with pytest.raises(ValidationError):
            check_storable_json(document)


def test_depth_of_json_is_limited() -> None:
    check_storable_json(nest(MAX_JSON_DEPTH))
    with pytest.raises(ValidationError, match="nested"):
        check_storable_json(nest(MAX_JSON_DEPTH + 1))


def test_unknown_key_is_rejected_by_strict_schema() -> None:
    assert StrictSchema().validate({"colour": 1}) == {"colour": ["Unknown field. Check its spelling."]}


class InnerSchema(StrictSchema):
    """A table with a key that has another name."""

    header = fields.String()
    excluded = fields.String(data_key="exclude")


class NamesSchema(InnerSchema):
    """A table with a table."""

    inner = fields.Nested(InnerSchema)
    kind = fields.String(validate=Choice(("json", "form")))


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [("headr", "header"), ("HEADER", "header"), ("exclud", "exclude"), ("excluded", "exclude"), ("iner", "inner")],
)
def test_unknown_key_is_answered_with_the_one_it_resembles(key: str, suggestion: str) -> None:
    message = f"Unknown field. Did you mean {suggestion}?"
    errors: dict[str, Any] = NamesSchema().validate({key: "x", "kind": "jsn", "colour": 1, "inner": {"headr": 1}})
    assert errors == {
        key: [message],
        "kind": ["Must be one of: json, form."],
        "colour": ["Unknown field. Check its spelling."],
        "inner": {"headr": ["Unknown field. Did you mean header?"]},
    }


def test_errors_of_list_items_have_text_keys() -> None:
    errors: dict[str, Any] = ListSchema().validate({"numbers": [1, "x"]})
    assert errors == {"numbers": {"1": ["Not a valid integer."]}}


@pytest.mark.parametrize("value", ["203.0.113.0/24, ::1", ["203.0.113.0/24", "::1"]])
def test_networks_may_be_list_or_text(value: object) -> None:
    assert NetworkList().deserialize(value) == (ip_network("203.0.113.0/24"), ip_network("::1/128"))


@pytest.mark.parametrize("value", ["203.0.113.1/24", 7, [7, None], "here"])
def test_invalid_networks_are_rejected(value: object) -> None:
    with pytest.raises(ValidationError, match="Must be addresses or networks"):
        NetworkList().deserialize(value)


def test_host_patterns_are_normalized() -> None:
    assert HostList().deserialize("Shop.example., *.Shop.example") == ("shop.example", "*.shop.example")
    with pytest.raises(ValidationError, match="Must be host names"):
        HostList().deserialize("shop.*.example")


def test_signing_keys_are_separated_by_commas_or_spaces() -> None:
    secrets = ["whsec_" + b64encode(bytes([number]) * 24).decode() for number in range(3)]
    keys = SigningKeys().deserialize(f"{secrets[0]}, {secrets[1]} {secrets[2]}")
    assert keys == (bytes(24), b"\1" * 24, b"\2" * 24)


@pytest.mark.parametrize("secret", ["whsec_" + b64encode(b"short").decode(), b64encode(b"x" * 24).decode(), "whsec_?"])
def test_weak_or_malformed_signing_key_is_rejected(secret: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SigningKeys().deserialize(secret)
    assert secret not in str(caught.value)


def test_time_is_loaded_as_utc() -> None:
    assert UTCDateTime().deserialize("2026-11-23T14:00:00+01:00") == datetime(2026, 11, 23, 13, tzinfo=UTC)


@pytest.mark.parametrize("time", ["2026-11-23T14:00:00", "9000-02-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "soon"])
def test_time_without_offset_or_out_of_range_is_rejected(time: str) -> None:
    with pytest.raises(ValidationError):
        UTCDateTime().deserialize(time)
