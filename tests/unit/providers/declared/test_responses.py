"""Responses of declared providers: where the reference of a job is, and what is wrong with a response without one."""

import tomllib
from typing import Any
from uuid import uuid4

import orjson
import pytest
from marshmallow import ValidationError

from receiver.domain.jobs import JobStatus
from receiver.domain.sending import ItemStatus, ParsedResponse, Response
from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from tests.support.capabilities import lookup_of, sender_of

BASE = """
kind = "declared"
base_url = "https://api.acme.example/base"
signature = { scheme = "token", secrets = ["an-unguessable-token"] }
operations.run = { path = "/run"%s }
callback = { reference = "id", status = "state", statuses = { DONE = "succeeded", ERROR = "failed" } }
"""
SENDS_ID = BASE % ', idempotency_header = "Idempotency-Key"'


def build(more: str, base: str = BASE % "") -> Provider:
    return build_provider("acme", tomllib.loads(base + more))


def parse(response_table: str, body: object = b"", base: str = BASE % "", **headers: str) -> ParsedResponse:
    """Parse a 202 by a table `response`; underscores in the names of headers stand for hyphens."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return sender_of(build(f"response = {{ {response_table} }}", base)).interpret(Response(202, names, raw))


def find_errors(more: str, base: str = BASE % "") -> dict[str, Any]:
    with pytest.raises(ValidationError) as caught:
        build(more, base)
    return caught.value.messages_dict


@pytest.mark.parametrize(
    ("name", "value", "reference"),
    [
        ("Location", "https://api.acme.example/v1/jobs/j-1", "j-1"),
        ("Location", "/v1/jobs/j-1/?full=1#top", "j-1"),
        ("Location", "jobs/j-1", "j-1"),
        ("Location", "j-1", "j-1"),
        ("Location", "/jobs/j%2F1%20a", "j/1 a"),
        ("Operation-Location", "https://api.acme.example/operations/j-1?api-version=7", "j-1"),
        ("X-Status-Url", "HTTPS://api.acme.example/jobs/j-1", "j-1"),
        ("X-Job-Id", "j-1", "j-1"),
        ("X-Job-Id", "group/j-1", "group/j-1"),
        ("Location", "https://api.acme.example/", None),
        ("Location", "https://[", None),
        ("Location", "", None),
    ],
)
@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"Accepted", b"<html>"])
def test_reference_in_header_is_last_segment_of_a_url(
    name: str, value: str, reference: str | None, body: bytes
) -> None:
    headers = {name.lower().replace("-", "_"): value}
    [item] = parse(f'reference = "header:{name}"', body, **headers).items
    assert item.reference == reference
    assert item.item_status is (ItemStatus.ACCEPTED if reference else ItemStatus.UNKNOWN)
    assert item.problem == (None if reference else f"no reference at `header:{name.lower()}`")


@pytest.mark.parametrize(
    ("template", "location", "reference"),
    [
        ("/jobs/{reference}/status", "https://api.acme.example/v2/jobs/j-1/status", "j-1"),
        ("/jobs/{reference}/status", "/jobs/j-1/status/?x=/jobs/j-2/status", "j-1"),
        ("/{kind}/{reference}/status", "/v1/films/j%201/status", "j 1"),
        ("/status?job={reference}", "/status?job=j-1&x=2", "j-1"),
        ("/jobs/{reference}", "/jobs/j-1/status", None),
        ("/jobs/{reference}", "/joint-jobs", None),
    ],
)
def test_template_cuts_reference_from_url(template: str, location: str, reference: str | None) -> None:
    in_header = parse(f'reference = "header:Location", reference_template = "{template}"', location=location)
    in_body = parse(f'reference = "links.self", reference_template = "{template}"', {"links": {"self": location}})
    assert [in_header.items[0].reference, in_body.items[0].reference] == [reference, reference]
    if reference is None:
        assert in_body.items[0].problem == f"no reference that matches {template} at `links.self`"


def test_url_of_reference_is_polled_as_it_is() -> None:
    url = "https://api.acme.example/operations/j-1?api-version=7"
    [item] = parse('reference = "header:Operation-Location"', operation_location=url, location="/result").items
    assert item.location == url
    [item] = parse('reference = "id", location = "header:X-Status"', {"id": "j-1"}, x_status="/jobs/j-1").items
    assert (item.reference, item.location) == ("j-1", "/jobs/j-1")
    [item] = parse('reference = "header:X-Job-Id"', x_job_id="j-1").items
    assert item.location is None


def test_header_may_be_a_part_of_the_reference() -> None:
    parsed = parse('items = "to", reference = ["header:X-Batch", "n"]', {"to": [{"n": 1}, {"n": 2}, {}]}, x_batch="b")
    assert [item.reference for item in parsed.items] == ["b/1", "b/2", None]


def test_header_names_the_only_item() -> None:
    table = 'items = "to", reference = "header:X-Job-Id"'
    assert parse(table, {"to": [{}]}, x_job_id="j-1").items[0].reference == "j-1"
    items = parse(table, {"to": [{}, {}]}, x_job_id="j-1").items
    assert [(item.reference, item.problem) for item in items] == [
        (None, "no reference, as the response has several items")
    ] * 2


def test_code_decides_unless_the_body_is_empty() -> None:
    table = 'reference = "header:Location", code = "status", codes = { ok = "accepted", bad = "rejected" }'
    expected = {
        b'{"status":"ok"}': ItemStatus.ACCEPTED,
        b'{"status":"bad"}': ItemStatus.REJECTED,
        b"": ItemStatus.ACCEPTED,
    }
    for body, item_status in expected.items():
        assert parse(table, body, location="/jobs/j-1").items[0].item_status is item_status
    assert parse(table, b"{}", location="/jobs/j-1").items[0].problem == "no code at `status`"
    assert parse(table, b"Accepted", location="/jobs/j-1").problem == "the body is not JSON: Accepted"


@pytest.mark.parametrize("body", [b"", b"{}", b"Accepted", b'{"request_id": "of-theirs"}'])
def test_request_id_is_reference_if_an_operation_sends_it(body: bytes) -> None:
    parsed = parse('reference = "request_id"', body, SENDS_ID)
    request_id = uuid4()
    [item] = parsed.bind(request_id).items
    assert (item.item_status, item.reference, item.problem) == (ItemStatus.ACCEPTED, str(request_id), None)


def test_request_id_is_a_member_of_the_body_otherwise() -> None:
    assert parse('reference = "request_id"', {"request_id": "r-1"}).bind(uuid4()).items[0].reference == "r-1"
    member = parse('reference = "$.request_id"', {"request_id": "r-1"}, SENDS_ID).bind(uuid4())
    assert member.items[0].reference == "r-1"


def test_request_id_names_the_only_item() -> None:
    table = 'items = "to", reference = "request_id"'
    items = parse(table, {"to": [{}, {}]}, SENDS_ID).bind(uuid4()).items
    assert [item.reference for item in items] == [None, None]


@pytest.mark.parametrize("more", ["", 'status = "state"\n'])
def test_lookup_of_request_known_by_its_id_finds_the_job(more: str) -> None:
    tables = '[response]\nreference = "request_id"\n[lookup]\npath = "/jobs?ref={request_id}"\nitems = "data"\n'
    request_id = uuid4()
    response = Response(200, {}, b'{"data": [{"state": "DONE"}]}')
    parsed = lookup_of(build(tables + more, SENDS_ID)).interpret(response).bind(request_id)
    assert [(item.reference, item.job) for item in parsed.items] == [
        (str(request_id), JobStatus.SUCCEEDED if more else None)
    ]


@pytest.mark.parametrize(
    ("table", "body", "problem"),
    [
        ('reference = "id"', b'{"job": 1}', "no reference at `id`"),
        ('reference = ["batch", "id"]', b'{"id": 1}', "no reference at `batch`, `id`"),
        ("", b"{}", "no reference, as response.reference is not set"),
        ('reference = "id", code = "s", codes = { a = "accepted" }', b'{"id": 1}', "no code at `s`"),
    ],
)
def test_item_without_reference_names_the_path(table: str, body: bytes, problem: str) -> None:
    assert parse(table, body).items[0].problem == problem


@pytest.mark.parametrize("name", ["Location", "Operation-Location", "Content-Location"])
@pytest.mark.parametrize("table", ["", 'reference = "id"'])
def test_location_is_suggested_where_a_reference_is_missing(table: str, name: str) -> None:
    headers = {name.lower().replace("-", "_"): "/jobs/j-1"}
    hint = f'the response has the header {name}: set response.reference = "header:{name}"'
    for body in (b"{}", b"", b"Accepted"):
        parsed = parse(table, body, **headers)
        problem = parsed.problem or parsed.items[0].problem
        assert problem is not None
        assert problem.endswith(f"; {hint}")


def test_reference_keys_are_checked() -> None:
    template = 'response = { reference = %s, reference_template = "%s" }'
    assert find_errors(template % ('"header:Location"', "/jobs/{id}")) == {
        "response": {"reference_template": ["Must contain {reference} once."]}
    }
    assert find_errors(template % ('["a", "b"]', "/jobs/{reference}")) == {
        "response": {"reference_template": ["Must be combined with one location in reference."]}
    }
    assert find_errors('response = { reference = ["request_id", "n"] }', SENDS_ID) == {
        "response": {
            "reference": ["Must not combine the request's id with others. For a field of the body, write $.request_id."]
        }
    }
    assert list(find_errors('response = { reference = "header:" }')["response"]) == ["reference"]
    lookup = 'lookup = { path = "/jobs?ref={request_id}" }\nresponse = { reference = "header:Location" }'
    assert find_errors(lookup, SENDS_ID) == {
        "lookup": {"reference": ["Missing data for required field: in response it is in a header."]}
    }
