"""Sorted parameters: how they are joined, what is left out, and which bodies have none."""

import hashlib
from typing import Any

import orjson
import pytest

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.coverage import CallbackDocument
from receiver.signatures.parameters import SortedParameters
from receiver.signatures.recipe import Recipe
from tests.support.recipes import build_callback, build_recipe, compute_mac, expect_rejection

FORM = CallbackDocument("form")


def build_form_recipe(**options: Any) -> Recipe:
    return build_recipe(signed="{sorted_params}", parameters=SortedParameters(**options))


def sign_form(body: bytes, content: str, media_type: str = FORM_MEDIA_TYPE) -> IncomingCallback:
    return build_callback({"x-sig": compute_mac(content.encode()), "content-type": media_type}, body)


def test_sorted_params_are_distinct_names_and_values() -> None:
    headers = {"x-sig": compute_mac("a1a2b B=ü".encode()), "content-type": FORM_MEDIA_TYPE}
    body = b"b=+B%3D%C3%BC&a=2&a=1&a=2"
    assert build_recipe(signed="{sorted_params}").verify(build_callback(headers, body)) == 0


def test_sorted_params_require_form_body() -> None:
    scheme, headers = build_recipe(signed="{url}{sorted_params}"), {"x-sig": compute_mac(build_callback().url.encode())}
    assert scheme.verify(build_callback(headers, b"")) == 0
    for content_type in ("", "application/json"):
        rejection = expect_rejection(scheme, build_callback(headers | {"content-type": content_type}))
        assert rejection.part == "body"
        assert str(rejection) == "The body is malformed: it is not the form whose parameters are signed."


@pytest.mark.parametrize(
    ("options", "body", "content"),
    [
        ({"assignment": "=", "separator": "&"}, b"b=2&a=1", "a=1&b=2"),
        ({"assignment": "=", "separator": "&", "exclude": ("sign",)}, b"b=2&sign=x&a=1", "a=1&b=2"),
        ({"assignment": "=", "separator": "&", "skip_empty": True}, b"b=2&a=&c", "b=2"),
        ({"assignment": "=", "separator": "&"}, b"b=2&a=", "a=&b=2"),
        ({"assignment": "=", "separator": "&", "replacement": "_"}, b"a=1%262%3D3&b=x", "a=1_2_3&b=x"),
        ({"separator": "&", "replacement": "_"}, b"a=1%262&b=x", "a1_2&bx"),
        ({}, b"b=2&a=1", "a1b2"),
    ],
)
def test_form_is_joined_as_configured(options: dict[str, Any], body: bytes, content: str) -> None:
    assert build_form_recipe(**options).verify(sign_form(body, content)) == 0


def test_query_or_members_of_json_may_be_parameters() -> None:
    query = build_form_recipe(source="query", assignment="=", separator="&", exclude=("sig",))
    assert query.verify(build_callback({"x-sig": compute_mac(b"a=1&b=2")}, target="/c?b=2&sig=x&a=1")) == 0
    members = build_form_recipe(source="json", assignment="=", separator="&", exclude=("sign", "list"), skip_empty=True)
    body = orjson.dumps({"n": 1.5, "b": True, "a": "\u00fc", "none": None, "sign": "x", "list": [1]})
    assert members.verify(build_callback({"x-sig": compute_mac("a=\u00fc&b=true&n=1.5".encode())}, body)) == 0


def test_members_of_the_root_of_xml_may_be_parameters() -> None:
    scheme = build_form_recipe(source="xml", exclude=("sign",)).with_body_kind("xml")
    body = b"<r><b>2</b><a>1</a><sign>x</sign></r>"
    assert scheme.verify(build_callback({"x-sig": compute_mac(b"a1b2")}, body)) == 0


NO_OBJECT = "it is not the object whose members are signed"


@pytest.mark.parametrize(
    ("source", "body", "reason"),
    [
        ("json", b"[]", NO_OBJECT),
        ("json", b"1", NO_OBJECT),
        ("json", b"{", "it is not JSON"),
        ("json", b'{"a":[1]}', "a is neither text nor a number"),
        ("json", b'{"a":{}}', "a is neither text nor a number"),
        ("xml", b"<r>1</r>", NO_OBJECT),
        ("xml", b"<r><a>1</a><a>2</a></r>", "a is neither text nor a number"),
    ],
)
def test_nested_members_and_other_documents_are_rejected(source: str, body: bytes, reason: str) -> None:
    scheme = build_form_recipe(source=source).with_body_kind(source)
    rejection = expect_rejection(scheme, build_callback({"x-sig": compute_mac(b"a")}, body))
    assert (rejection.part, str(rejection)) == ("body", f"The body is malformed: {reason}.")


def test_form_is_read_under_any_media_type_but_multipart() -> None:
    scheme = build_form_recipe().with_body_kind("form")
    assert scheme.verify(sign_form(b"a=1", "a1", "text/plain")) == 0
    assert expect_rejection(scheme, sign_form(b"a=1", "a1", "multipart/form-data; boundary=b")).part == "body"
    assert expect_rejection(build_form_recipe(), sign_form(b"a=1", "a1", "text/plain")).part == "body"


def test_half_of_a_surrogate_pair_in_json_is_no_error() -> None:
    scheme = build_form_recipe(source="json")
    expect_rejection(scheme, build_callback({"x-sig": "00"}, body=b'{"\\ud83d":"\\ud83d","id":1}'))


@pytest.mark.parametrize("source", ["form", "query", "json"])
def test_excluded_parameters_are_not_covered(source: str) -> None:
    coverage = build_form_recipe(source=source, exclude=("sign", "type")).coverage
    document = CallbackDocument(source)
    assert not coverage.covers_document(document)
    assert coverage.covers_path(document, "status")
    assert coverage.covers_path(document, "join('-', [id, status])")
    for path in ("sign", '"type"', "@", "*", "values(@)[0]", "sign || status", "[status, type]", "keys(@)"):
        assert not coverage.covers_path(document, path)
    assert coverage.covers_document(CallbackDocument(source, json_field="payload"))
    assert not coverage.covers_document(CallbackDocument(source, json_field="sign"))


def test_value_moved_into_an_excluded_parameter_is_rejected() -> None:
    scheme = build_form_recipe(assignment="=", separator="&", exclude=("sign",))
    assert scheme.verify(sign_form(b"id=1&status=done&sign=a", "id=1&status=done")) == 0
    expect_rejection(scheme, sign_form(b"id=1&sign=done", "id=1&status=done"))


def test_bodies_with_the_same_signed_parameters_have_the_same_content() -> None:
    scheme = build_form_recipe(assignment="=", separator="&", exclude=("attempt",))
    first, second, other = (sign_form(body, "") for body in (b"b=2&a=1&attempt=1", b"a=%31&b=2&attempt=2", b"a=1&b=3"))
    assert scheme.normalize_body(first) == scheme.normalize_body(second) != scheme.normalize_body(other)
    query = build_form_recipe(source="query", exclude=("attempt",))
    targets = ("/c?b=2&a=1&attempt=1", "/c?a=1&b=2", "/c?a=1&b=3")
    contents = [query.normalize_query(build_callback(target=target)) for target in targets]
    assert contents[0] == contents[1] != contents[2]


def test_whole_form_without_exclusions_is_covered() -> None:
    assert build_form_recipe(assignment="=").coverage.covers_document(FORM)
    assert not build_form_recipe(assignment="=", exclude=("sign",)).coverage.covers_document(FORM)


def test_older_sms_api_of_vonage_is_a_digest_of_sorted_parameters() -> None:
    parameters = SortedParameters("query", "=", "&", exclude=("sig",), replacement="_")
    signed = "&{sorted_params}{secret}"
    scheme = build_recipe(
        source="query:sig", is_digest=True, algorithm="md5", signed=signed, parameters=parameters, secrets=["s3cret"]
    )
    content = "&message-timestamp=2026-01-02 03:04:05&messageId=0A&msisdn=447700900001&text=a_b_cs3cret"
    digest = hashlib.md5(content.encode()).hexdigest()
    query = "msisdn=447700900001&messageId=0A&text=a%26b%3Dc&message-timestamp=2026-01-02+03%3A04%3A05"
    assert scheme.verify(build_callback(body=b"", target=f"/c?{query}&sig={digest}", method="GET")) == 0
    changed = query.replace("0A", "0B")
    expect_rejection(scheme, build_callback(body=b"", target=f"/c?{changed}&sig={digest}", method="GET"))
    assert scheme.coverage.covers_path(CallbackDocument("query"), "messageId")
    assert not scheme.coverage.covers_path(CallbackDocument("query"), "sig")
