"""The values that a recipe names, and the template of the signed content."""

import hashlib
from base64 import b64encode

import orjson
import pytest

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from tests.support.recipes import BODY, build_callback, build_recipe, compute_mac, expect_rejection


@pytest.mark.parametrize(
    ("source", "callback"),
    [
        ("header:X-SIG", build_callback({"x-sig": compute_mac(b"POST")})),
        ("query:sig", build_callback(target=f"/c?a=1&sig={compute_mac(b'POST')}")),
        ("auth.sig", build_callback(body=orjson.dumps({"auth": {"sig": compute_mac(b"POST")}}))),
        (
            "sig",
            build_callback(
                {"content-type": f"{FORM_MEDIA_TYPE}; charset=utf-8"}, body=b"a=1&sig=" + compute_mac(b"POST").encode()
            ),
        ),
    ],
)
def test_signature_location_is_header_query_or_body(source: str, callback: IncomingCallback) -> None:
    assert build_recipe(source=source, signed="{method}").verify(callback) == 0


@pytest.mark.parametrize(
    ("token", "content"),
    [
        ("{body}", BODY),
        ("{url}", b"https://h.example/in/c/acme?b=2&a=%C3%BC"),
        ("{url_no_query}", b"https://h.example/in/c/acme"),
        ("{path}", b"/in/c/acme"),
        ("{method}", b"POST"),
        ("{content_type}", b"application/json; v=1"),
        ("{md5_b64}", b64encode(hashlib.md5(BODY).digest())),
        ("{sha256_hex}", hashlib.sha256(BODY).hexdigest().encode()),
        ("{header:X-Wire}", b"\xc3\xbc"),
        ("{query:a}", b"\xc3\xbc"),
        ("{field:id}", b"e1"),
        ("{field:n}", b"7"),
        ("{field:t}", b"true"),
        ("{field:f}", b"1.5"),
        ("x{field:none}", b"x"),
        ("x{field:absent.too}", b"x"),
        ('{field:deep."a b"}', b"\xc3\xbc"),
        ("ü:{method}\n.{body}", "ü:POST\n.".encode() + BODY),
    ],
)
def test_token_is_replaced_by_value(token: str, content: bytes) -> None:
    headers = {"x-sig": compute_mac(content), "content-type": "application/json; v=1", "x-wire": "Ã¼"}
    assert build_recipe(signed=token).verify(build_callback(headers)) == 0


def test_sorted_params_are_distinct_names_and_values() -> None:
    headers = {"x-sig": compute_mac("a1a2b B=ü".encode()), "content-type": FORM_MEDIA_TYPE}
    body = b"b=+B%3D%C3%BC&a=2&a=1&a=2"
    assert build_recipe(signed="{sorted_params}").verify(build_callback(headers, body)) == 0


def test_sorted_params_require_form_body() -> None:
    scheme, headers = build_recipe(signed="{url}{sorted_params}"), {"x-sig": compute_mac(build_callback().url.encode())}
    assert scheme.verify(build_callback(headers, b"")) == 0
    assert expect_rejection(scheme, build_callback(headers)).part == "body"
    assert expect_rejection(scheme, build_callback(headers | {"content-type": "application/json"})).part == "body"
