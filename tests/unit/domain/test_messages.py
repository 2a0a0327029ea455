"""What responses say, at the places where APIs usually say it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.messages import MAX_MESSAGE_CHARS, add_message, describe_unreadable, find_message, shorten

JSON = {"content-type": "application/json"}
HTML = {"content-type": "text/html; charset=utf-8"}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"message": "No credit."}, "No credit."),
        ({"code": 21211, "Message": "Not a number"}, "Not a number"),
        ({"error": "no credit"}, "no credit"),
        ({"error": {"message": "Invalid key", "code": 7}}, "Invalid key"),
        ({"error": {"errors": [{"reason": "limit"}], "message": "Too many"}}, "Too many: limit"),
        ({"error": "invalid_grant", "error_description": "The token expired."}, "invalid_grant: The token expired."),
        ({"title": "Invalid request", "detail": "`to` is missing", "status": 400}, "Invalid request: `to` is missing"),
        ({"title": "Not found", "type": "about:blank"}, "Not found"),
        ({"detail": "Not a number"}, "Not a number"),
        ({"detail": [{"loc": ["body", "to"], "msg": "field required"}]}, "field required"),
        ({"errors": ["no credit", "no number"]}, "no credit; no number"),
        ({"errors": [{"message": "a"}, {"detail": "b"}, {"title": "c"}, {"code": 4}]}, "a; b; c"),
        ({"errors": [{"field": "to", "message": "is missing"}]}, "to: is missing"),
        ({"message": "Invalid", "errors": {"to": ["is missing", "is short"]}}, "Invalid: to: is missing; is short"),
        ({"errorMessage": "no credit", "message": ""}, "no credit"),
        ({"fault": {"faultstring": "Invalid ApiKey", "detail": {"errorcode": "x"}}}, "Invalid ApiKey"),
        ({"error": True, "reason": "rate"}, "rate"),
        ({"description": "no such model"}, "no such model"),
        ([{"message": "a"}, {"message": "a"}], "a"),
        ("no credit", "no credit"),
        ({"message": "line\r\n\tbreak\0 and \ud800 half"}, "line break and half"),
        ({"ok": False, "code": 12}, '{"ok": false, "code": 12}'),
        ({"error-message": "no credit"}, "no credit"),
        ({"errors": {"to": "missing", "text": ["is long"]}}, "to: missing; text: is long"),
        ({"errors": {"message": "no credit", "to": "missing"}}, "no credit"),
        ({"message": {"message": {"message": {"message": "deep"}}}}, "deep"),
        ({"message": {"message": {"message": {"message": {"message": "deep"}}}}}, None),
        ({"error": {"error": {"error": {"error": "deep"}}}}, "deep"),
        ({"error": {"error": {"error": {"error": {"error": "deep"}}}}}, None),
        ([[[["deep"]]]], "deep"),
        ([[[[["deep"]]]]], None),
        ({"errors": [{"errors": ["deep"]}]}, "deep"),
        ({"errors": [{"errors": [{"message": "deep"}]}]}, None),
    ],
)
def test_message_is_found_at_the_usual_places(document: object, message: str | None) -> None:
    body = json.dumps(document)
    assert find_message(JSON, body.encode()) == (message or body)
    is_quoted = message is None or message == body
    assert find_message(JSON, body.encode(), quotes_json=False) == (None if is_quoted else message)


@pytest.mark.parametrize(
    ("headers", "body", "message"),
    [
        (
            HTML,
            b"<html><head><title>Account\n suspended</title><body>Call us",
            "not JSON (text/html): Account suspended",
        ),
        (HTML, b"<style>p {}</style><h1>Tom &amp; <b>Sons</b></h1>", "not JSON (text/html): Tom & Sons"),
        (HTML, "<title>Zahlung f\u00e4llig</title>".encode(), "not JSON (text/html): Zahlung f\u00e4llig"),
        ({"content-type": "text/plain"}, b"no credit\n", "not JSON (text/plain): no credit"),
        ({"content-type": "text/xml"}, b"<?xml version='1.0'?><e><m>No</m></e>", "not JSON (text/xml): No"),
        (
            {"content-type": "text/plain; charset=windows-1251"},
            "нет денег".encode("windows-1251"),
            "not JSON (text/plain): нет денег",
        ),
        ({"content-type": "text/plain"}, b"to <b> is missing", "not JSON (text/plain): to <b> is missing"),
        (HTML, b"\n<p>No</p> ", "not JSON (text/html): No"),
        (JSON, b"{'message': 1}", "not JSON (application/json): {'message': 1}"),
        ({}, b"\x89PNG\0\0", "not JSON: 6 bytes"),
        ({}, b"<unclosed", "not JSON: <unclosed"),
    ],
)
def test_body_that_is_not_json_is_described(headers: dict[str, str], body: bytes, message: str) -> None:
    assert find_message(headers, body) == message == describe_unreadable(headers, body)


@pytest.mark.parametrize("body", [b"", b" \n", b"{}", b"[]", b"null", b'""'])
def test_empty_body_has_no_message(body: bytes) -> None:
    assert find_message(JSON, body) is None
    assert add_message("503: Wait.", JSON, body) == "503: Wait."


def test_empty_body_is_described() -> None:
    assert describe_unreadable(JSON, b" ") == "empty"


@pytest.mark.parametrize(("length", "shortened"), [(300, "a" * 300), (301, "a" * 299 + "…")])
def test_message_has_at_most_300_characters(length: int, shortened: str) -> None:
    assert shorten("a" * length) == shortened


def test_message_follows_the_detail_once() -> None:
    assert add_message("400: Fix it.", JSON, b'{"ok": 0}') == '400: Fix it. The provider responded: {"ok": 0}'
    body = b'{"message": "No credit."}'
    assert add_message("400: Fix it.", JSON, body) == "400: Fix it. The provider responded: No credit."
    assert add_message("rejected, E1", JSON, body) == "rejected, E1. The provider responded: No credit."
    assert add_message("400: No credit.", JSON, body) == "400: No credit."
    assert add_message("409: duplicate", JSON, b'{"message": "dup"}') == "409: duplicate. The provider responded: dup"


@pytest.mark.parametrize(
    "body", [b"<" * 100_000, b"<script" * 20_000, b"<title" * 20_000, b"<!--" * 30_000, b"[" * 9_999]
)
def test_hostile_page_is_described_quickly(body: bytes) -> None:
    assert len(describe_unreadable(HTML, body)) <= MAX_MESSAGE_CHARS


@given(body=st.binary() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["message", "error", "errors", "x"]), inner),
).map(lambda document: json.dumps(document).encode()))  # fmt: skip
def test_any_body_has_a_short_message_on_one_line(body: bytes) -> None:
    message = find_message(HTML, body)
    assert message is None or (0 < len(message) <= MAX_MESSAGE_CHARS and message.isprintable())
