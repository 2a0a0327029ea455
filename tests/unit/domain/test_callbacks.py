"""One delivery of a callback: the parts of its URL, its media type, and the attempt token."""

from uuid import UUID

import pytest

from receiver.domain.callbacks import (
    IncomingCallback,
    add_attempt_token,
    limit_headers,
    parse_attempt_token,
    redact_attempt_token,
)
from tests.support.factories import NOON

ATTEMPT = UUID("018f0000-0000-7000-8000-0000000000ff")


def build_callback(target: str = "/callbacks/acme", **headers: str) -> IncomingCallback:
    return IncomingCallback("POST", target, headers, b"", NOON, "https://receiver.example/in")


def test_url_is_public_url_with_target_unchanged() -> None:
    callback = build_callback("/callbacks/acme?a=%C3%BC&b")
    assert callback.url == "https://receiver.example/in/callbacks/acme?a=%C3%BC&b"
    assert callback.query == "a=%C3%BC&b"
    assert build_callback().query == ""


@pytest.mark.parametrize(
    ("content_type", "media_type"),
    [("Application/JSON; charset=utf-8", "application/json"), (" text/xml ;a=b", "text/xml"), ("", "")],
)
def test_media_type_is_lower_case_without_parameters(content_type: str, media_type: str) -> None:
    assert build_callback(**{"content-type": content_type}).media_type == media_type


def test_media_type_is_empty_without_header() -> None:
    assert build_callback().media_type == ""


def test_usual_headers_are_the_same_object() -> None:
    headers = {"content-type": "application/json", "x-large": "x" * 60_000}
    assert limit_headers(headers, 64 << 10) is headers


def test_largest_headers_are_left_out_beyond_the_limit() -> None:
    signature = {"content-type": "application/json", "x-signature": "0" * 512}
    padding = {f"x-{number}": "x" * 8_000 for number in range(80)} | {"y" * 7_000: ""}
    headers = limit_headers({**padding, **signature}, 64 << 10)
    assert signature.items() <= headers.items()
    assert sum(len(name) + len(value) for name, value in headers.items()) <= 64 << 10
    assert limit_headers({"x-id": "12345"}, 8) == {}


@pytest.mark.parametrize("url", ["/callbacks/acme", "/callbacks/acme?region=eu"])
def test_added_attempt_token_is_parsed(url: str) -> None:
    assert parse_attempt_token(build_callback(add_attempt_token(url, ATTEMPT))) == ATTEMPT


@pytest.mark.parametrize(
    "query",
    ["", f"request={ATTEMPT}x", f"xrequest={ATTEMPT}", f"request={str(ATTEMPT).upper()}", f"request={'0' * 32}"],
)
def test_query_without_exact_token_has_none(query: str) -> None:
    assert parse_attempt_token(build_callback(f"/callbacks/acme?{query}")) is None


def test_attempt_token_is_redacted_and_rest_is_kept() -> None:
    target = f"/callbacks/acme?region=eu&request={ATTEMPT}&a=1"
    assert redact_attempt_token(target, "[redacted]") == "/callbacks/acme?region=eu&request=[redacted]&a=1"
    assert redact_attempt_token("/callbacks/acme?a=1", "[redacted]") == "/callbacks/acme?a=1"
