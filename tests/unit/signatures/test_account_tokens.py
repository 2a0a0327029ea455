"""Shared parts of Twilio's and Plivo's schemes: the signed form, and the public URL."""

import pytest

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.account_tokens import MAX_PARAMETERS, AccountScheme, parse_form, with_public_url
from receiver.signatures.base import InvalidSignature
from receiver.signatures.plivo import PlivoV3
from receiver.signatures.twilio import Twilio
from tests.support.factories import NOON


def build_callback(body: bytes, media_type: str = FORM_MEDIA_TYPE, method: str = "POST") -> IncomingCallback:
    return IncomingCallback(
        method, "/callbacks/acme", {"content-type": media_type}, body, NOON, "https://receiver.example"
    )


def test_form_keeps_order_repetitions_and_empty_values() -> None:
    callback = build_callback(b"b=2&a=%C3%BC+1&b=1&c=")
    assert parse_form(callback) == [("b", "2"), ("a", "ü 1"), ("b", "1"), ("c", "")]


def test_empty_body_has_no_parameters() -> None:
    assert parse_form(build_callback(b"", "application/json")) == []


@pytest.mark.parametrize(
    "body",
    [
        b"a",
        b'{"x":"=1',
        b"\0[=1",
        b" <a=1",
        b"a=1&b",
        b"a=1&&b=2",
        b"a=%FF",
        b"\xff=1",
        b"&".join([b"a=1"] * (MAX_PARAMETERS + 1)),
    ],
)
def test_malformed_form_is_rejected(body: bytes) -> None:
    with pytest.raises(InvalidSignature) as caught:
        parse_form(build_callback(body))
    assert (caught.value.part, str(caught.value)) == ("body", "The body is not a well-formed form.")


@pytest.mark.parametrize("options", [{"media_type": "application/json"}, {"method": "GET"}])
def test_body_that_is_not_signed_is_rejected(options: dict[str, str]) -> None:
    message = r"^The body is not a form, and the signature does not cover other bodies\.$"
    with pytest.raises(InvalidSignature, match=message):
        parse_form(build_callback(b"a=1", **options))


@pytest.mark.parametrize("scheme", [Twilio(["some-token"]), PlivoV3(["some-token"])])
def test_normalized_form_is_what_is_signed(scheme: AccountScheme) -> None:
    callback = build_callback(b"b=2&a=%C3%BC+1&b=1&b=2&c=")
    assert scheme.normalize_body(callback) == b"a=%C3%BC+1&b=1&b=2&c="
    json = build_callback(b'{"a": 1}', "application/json")
    assert scheme.normalize_body(json) == json.body


def test_configured_public_url_replaces_that_of_the_callback() -> None:
    callback = build_callback(b"")
    assert with_public_url("https://other.example", callback).url == "https://other.example/callbacks/acme"
    assert with_public_url(None, callback) is callback
