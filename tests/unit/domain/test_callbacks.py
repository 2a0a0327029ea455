"""One delivery of a callback: the parts of its URL, its media type, and the attempt token."""

from uuid import UUID

import pytest

from receiver.domain.callbacks import (
    Ack,
    IncomingCallback,
    add_attempt_token,
    add_echoed_header,
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
    size = sum(len(name) + len(value) for name, value in headers.items())
    assert limit_headers(headers, size) is headers


def test_largest_headers_are_left_out_beyond_the_limit() -> None:
    signature = {"content-type": "application/json", "x-signature": "0" * 512}
    padding = {f"x-{number}": "x" * 8_000 for number in range(80)} | {"y" * 7_000: ""}
    headers = limit_headers({**padding, **signature}, 64 << 10)
    assert signature.items() <= headers.items()
    assert sum(len(name) + len(value) for name, value in headers.items()) <= 64 << 10
    assert limit_headers({"x-id": "12345"}, 8) == {}
    assert limit_headers({"x-large": "12345", "x-id": "12345"}, 9) == {"x-id": "12345"}


def test_header_is_echoed_beside_those_of_the_acknowledgement() -> None:
    ack = Ack(202, b"ok", {"x-own": "1"})
    callback = build_callback(**{"x-hook-secret": "s3cret"})
    echoed = Ack(202, b"ok", {"x-own": "1", "X-Hook-Secret": "s3cret"})
    assert add_echoed_header(ack, "X-Hook-Secret", callback) == echoed


@pytest.mark.parametrize("headers", [{}, {"x-hook-secret": ""}, {"x-hook-secret": "a b"}, {"x-hook-secret": "a" * 257}])
def test_missing_or_unfit_header_is_not_echoed(headers: dict[str, str]) -> None:
    ack = Ack()
    assert add_echoed_header(ack, "X-Hook-Secret", build_callback(**headers)) is ack


@pytest.mark.parametrize(
    ("url", "url_with_token"),
    [
        ("/callbacks/acme", f"/callbacks/acme?request={ATTEMPT}"),
        ("/callbacks/acme?region=eu", f"/callbacks/acme?region=eu&request={ATTEMPT}"),
    ],
)
def test_added_attempt_token_is_parsed(url: str, url_with_token: str) -> None:
    assert add_attempt_token(url, ATTEMPT) == url_with_token
    assert parse_attempt_token(build_callback(url_with_token)) == ATTEMPT


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
    assert redact_attempt_token(f"/callbacks/acme?request={ATTEMPT}&a=?", "x") == "/callbacks/acme?request=x&a=?"
