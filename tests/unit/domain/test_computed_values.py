"""Values that are computed from others: templates, times, digests and encodings."""

import hmac
from base64 import b64encode
from hashlib import md5, sha256
from zoneinfo import ZoneInfo

import pytest

from receiver.domain.computed_values import ComputedValue, find_header_sources
from tests.support.factories import NOON


def compute(text: str, **options: object) -> str:
    value = ComputedValue(text, **options)  # type: ignore[arg-type]  # the options of each test
    assert value.find_error() is None
    return value.compute({"a": "1", "B-c": "é"}, NOON)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{a}-{B-c}{a}", "1-é1"),
        ("{absent}", ""),
        ('{{"a":{a}}}', '{"a":1}'),
        ("{now:%Y%m%d%H%M%S}", "20261123120000"),
        ("{now:%H:%M:%S %%}", "12:00:00 %"),
        ("{now:s}", "1795435200"),
        ("{now:ms}", "1795435200000"),
        ("{now:iso}", "2026-11-23T12:00:00.000Z"),
    ],
)
def test_placeholders_are_replaced(text: str, expected: str) -> None:
    assert compute(text) == expected


def test_times_have_a_zone() -> None:
    assert compute("{now:%H%M}", zone=ZoneInfo("Africa/Nairobi")) == "1500"
    assert compute("{now:iso}", zone=ZoneInfo("Africa/Nairobi")) == "2026-11-23T15:00:00.000+03:00"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"encoding": "base64"}, b64encode(b"1pass").decode()),
        ({"encoding": "hex"}, b"1pass".hex()),
        ({"encoding": "hex", "upper": True}, b"1pass".hex().upper()),
        ({"hash_name": "md5"}, md5(b"1pass").hexdigest()),
        ({"hash_name": "sha256", "encoding": "base64"}, b64encode(sha256(b"1pass").digest()).decode()),
        ({"hmac_name": "sha256", "prefix": "v1="}, "v1=" + hmac.new(b"pass", b"1pass", "sha256").hexdigest()),
        ({"upper": True}, "1PASS"),
    ],
)
def test_text_is_hashed_and_encoded(options: dict[str, object], expected: str) -> None:
    assert compute("{a}{secret}", secret="pass", **options) == expected


def test_base64url_has_no_padding() -> None:
    assert compute("?>é", encoding="base64url") == "Pz7DqQ"
    assert compute("aaW", encoding="base64url") == "YWFX"


@pytest.mark.parametrize(
    ("texts", "error"),
    [
        (["{", "a}", "{}", "{a}{"], "Unmatched brace. Write {{ and }} for braces."),
        (["{secret}"], "{secret} requires secret to be set."),
        (["{now}"], "{now} requires a format, such as {now:%Y%m%d%H%M%S}, {now:s} or {now:iso}."),
        (
            ["{now:%q}", "{now:%}", "{now:%q:%H}"],
            "Not a format of times: use %Y %m %d %H %M %S %f %z, or s, ms or iso.",
        ),
    ],
)
def test_invalid_template_has_an_error(texts: list[str], error: str) -> None:
    assert [ComputedValue(text).find_error() for text in texts] == [error] * len(texts)


def test_names_are_those_of_fields() -> None:
    assert ComputedValue("{a}{secret}{now:s}{{b}}{request_id}").names == {"a", "request_id"}
    assert "pass" not in repr(ComputedValue("{secret}", secret="pass"))


def test_sources_of_headers_are_found_through_others() -> None:
    values = {
        "header:X-A": ComputedValue("{b}"),
        "b": ComputedValue("{c}{d}{e}"),
        "d": ComputedValue("{secret-of-d}", encoding="base64"),
        "header:X-B": ComputedValue("{f}", hash_name="md5"),
        "g": ComputedValue("{h}"),
    }
    assert find_header_sources(values) == {"b", "c", "d", "e"}
