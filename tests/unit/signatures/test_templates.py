"""The template of the signed content: every token, and the tokens that are refused."""

import hashlib
import re
import zlib
from base64 import b64encode

import pytest

from receiver.signatures.base import InvalidSignature
from receiver.signatures.recipe_compiler import InvalidRecipe
from receiver.signatures.sources import parse_source
from receiver.signatures.templates import TemplateValues, parse_template
from tests.support.recipes import BODY, KEY, NOW, TOKENS, build_callback, build_recipe, compute_mac, expect_rejection


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
        ("{md5_hex}", hashlib.md5(BODY).hexdigest().encode()),
        ("{sha1_hex}", hashlib.sha1(BODY).hexdigest().encode()),
        ("{sha256_hex}", hashlib.sha256(BODY).hexdigest().encode()),
        ("{sha256_b64}", b64encode(hashlib.sha256(BODY).digest())),
        ("{sha512_hex}", hashlib.sha512(BODY).hexdigest().encode()),
        ("{crc32}", str(zlib.crc32(BODY)).encode()),
        ("{raw:deep}", b'{"a b": "\xc3\xbc"}'),
        ("{raw:list}", b"[1]"),
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


@pytest.mark.parametrize(
    ("token", "suggestion"),
    [
        ("bodi", "{body}"),
        ("sha256hex", "{sha256_hex}"),
        ("sorted_parms", "{sorted_params}"),
        ("Timestamp", "{timestamp}"),
    ],
)
def test_misspelt_token_is_answered_with_the_one_it_resembles(token: str, suggestion: str) -> None:
    with pytest.raises(InvalidRecipe, match=re.escape(f"Did you mean {suggestion}?")):
        build_recipe(signed=f"{{{token}}}")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"a":1}', b'{"data":1,"data":1}', b'{"data":1,"d\\u0061ta":2}', b'{"data":1} {}', b"\xff", b"{"],
)
def test_body_without_exactly_one_raw_member_is_rejected(body: bytes) -> None:
    scheme = build_recipe(signed="{raw:data}")
    assert expect_rejection(scheme, build_callback({"x-sig": compute_mac(b"1")}, body)).part == "body"


def test_body_is_signed_with_secret_in_place_of_signature() -> None:
    def sign(body: bytes) -> bytes:
        return body.replace(b"@", hashlib.md5(body.replace(b"@", KEY.encode())).hexdigest().encode())

    scheme = build_recipe(source="auth", algorithm="md5", is_digest=True, signed="{body_with_secret}")
    body = sign(b'{"auth":"@","events":[{"id":1}]}')
    assert scheme.verify(build_callback(body=body)) == 0
    expect_rejection(scheme, build_callback(body=body.replace(b"1}", b"2}")))
    twice = expect_rejection(scheme, build_callback(body=sign(b'{"auth":"@","events":["@"]}')))
    assert (twice.part, str(twice)) == (
        "signature",
        "The field auth is malformed: its text must be in the body once.",
    )
    with pytest.raises(InvalidRecipe) as caught:
        build_recipe(is_digest=True, signed="{body_with_secret}")
    assert "{body_with_secret} requires the signature to be in the body." in caught.value.errors.values()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "The member data is missing."),
        (b"[]", "The body is malformed: it is not a JSON object with one member data."),
    ],
)
def test_message_of_a_missing_member_names_it(body: bytes, message: str) -> None:
    with pytest.raises(InvalidSignature) as caught:
        build_recipe(signed="{raw:data}").verify(build_callback({"x-sig": "0" * 64}, body))
    assert str(caught.value) == message


def test_path_begins_after_the_first_host() -> None:
    callback = build_callback(
        {"x-sig": compute_mac(b"/to/http://b.example/c/acme")}, public_url="https://h.example/to/http://b.example"
    )
    assert build_recipe(signed="{path}").verify(callback) == 0


@pytest.mark.parametrize(
    ("signed", "message"),
    [
        ("{?}", f"Unknown token {{?}}. Must be one of: {TOKENS}."),
        ("body", f"Must contain at least one of: {TOKENS}."),
        ("{body}{", "Unmatched brace."),
        ("}{body}", "Unmatched brace."),
        ("{{body}}", "Unmatched brace."),
    ],
)
def test_invalid_template_is_refused(signed: str, message: str) -> None:
    with pytest.raises(InvalidRecipe) as caught:
        build_recipe(signed=signed)
    assert caught.value.errors["signed"] == message


@pytest.mark.parametrize(
    ("signed", "unseparated"),
    [
        ("{timestamp}{body}", ()),
        ("{url}{body}", ()),
        ("{url}.{id}", ()),
        ("{url}{id}", ("id",)),
        ("{content_type}{body}", ("body",)),
        ("{id}{body}", ("body", "id")),
        ("{header:X-A}{id}.{body}", ("header:x-a", "id")),
    ],
)
def test_values_that_nothing_separates_are_listed(signed: str, unseparated: tuple[str, ...]) -> None:
    roles = {"timestamp": parse_source("header:X-Time"), "id": parse_source("header:X-Id")}
    assert parse_template(signed, TemplateValues(roles)).unseparated == frozenset(unseparated)


def test_name_of_a_token_may_contain_a_colon() -> None:
    coverage = build_recipe(signed='{field:"a:b"}.{raw:c:d}').coverage
    assert (coverage.fields, coverage.raw_members) == (('"a:b"',), ("c:d",))


@pytest.mark.parametrize(("text", "last_token"), [("{url}{body}", "body"), ("{url}.", ""), ("{body}", "body")])
def test_last_token_is_empty_after_a_constant(text: str, last_token: str) -> None:
    assert parse_template(text, TemplateValues({})).last_token == last_token


def test_zero_cannot_be_moved_from_the_content_into_the_time() -> None:
    scheme = build_recipe(signed="{header:X-Id}{timestamp}", timestamp="header:X-Time", unit="s", tolerance=300.0)
    headers = {"x-sig": compute_mac(b"10%d" % NOW), "x-id": "10", "x-time": f"{NOW}"}
    assert scheme.verify(build_callback(headers)) == 0
    assert expect_rejection(scheme, build_callback(headers | {"x-id": "1", "x-time": f"0{NOW}"})).part == "x-time"
