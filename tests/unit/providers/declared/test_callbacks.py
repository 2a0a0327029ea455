"""Callbacks of declared providers: bodies of every kind, values outside the body, batches without items."""

import hmac
import json
from base64 import b64encode
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import JobStatus
from receiver.providers.base import Provider
from receiver.providers.capabilities import MalformedCallback
from receiver.providers.registry import build_provider
from receiver.signatures.base import InvalidSignature
from tests.support.capabilities import callbacks_of, parse_reports_of
from tests.support.factories import NOON

SECRET = "a-secret-of-some-length"
BEARER = {"scheme": "equals", "header": "X-Token", "secrets": [SECRET]}
TABLE = {"reference": "id", "status": "state", "statuses": {"DONE": "succeeded", "ERROR": "failed"}}
MULTIPART = "multipart/form-data; boundary=b"
REPORT = {"id": "r-1", "state": "DONE"}
ENCODED = json.dumps(REPORT)
INNER = b64encode(ENCODED.encode()).decode()


def build(callback: dict[str, Any], signature: dict[str, Any] | None = None) -> Provider:
    table = {"kind": "declared", "base_url": "https://api.acme.example", "callback": TABLE | callback}
    return build_provider("acme", table | {"signature": signature or BEARER})


def build_callback(body: object, target: str = "", method: str = "POST", **headers: str) -> IncomingCallback:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return IncomingCallback(method, f"/callbacks/acme{target}", names, raw, NOON)


def parse(provider: Provider, callback: IncomingCallback) -> list[tuple[str, JobStatus | None]]:
    parsed = parse_reports_of(provider, callback)
    assert parsed.errors == {}
    return [(report.reference, report.status) for _, report in parsed.reports]


def build_parts(**fields: str) -> bytes:
    parts = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()]
    return "".join([*parts, "--b--\r\n"]).encode()


@pytest.mark.parametrize(
    ("table", "content_type", "body"),
    [
        ({}, "text/plain", ENCODED.encode()),
        ({}, "application/x-www-form-urlencoded", b'{"id":"r-1","state":"DONE","text":"caf\xe9\n\\ud83d","n":NaN}'),
        ({"body": "form"}, "text/plain; charset=ISO-8859-1", b"id=r-1&state=DONE&state=DONE&text=caf%E9"),
        ({"body": "form"}, MULTIPART, build_parts(id="r-1", state="DONE")),
        ({"body": "multipart"}, MULTIPART, build_parts(id="r-1", state="DONE")),
        ({"body": "multipart", "json_field": "json"}, MULTIPART, build_parts(json=ENCODED)),
        (
            {"body": "xml", "reference": "report.id", "status": "report.state"},
            "text/xml",
            b"<report><id>r-1</id><state>DONE</state></report>",
        ),
        (
            {"body": "xml", "items": "reports.report", "reference": '"@id"', "status": '"#text"'},
            "text/xml",
            b'<reports><report id="r-1">DONE</report></reports>',
        ),
    ],
)
def test_body_is_read_by_its_kind(table: dict[str, Any], content_type: str, body: bytes) -> None:
    assert parse(build(table), build_callback(body, content_type=content_type)) == [("r-1", JobStatus.SUCCEEDED)]


@pytest.mark.parametrize(
    ("table", "body"),
    [
        ({"reference": "Message.id", "status": "Message.state"}, {"Message": ENCODED}),
        ({"reference": "message.data.id", "status": "message.data.state"}, {"message": {"data": INNER}}),
        ({"items": "Message.records[]"}, {"Message": json.dumps({"records": [REPORT]})}),
        ({"items": "Message"}, {"Message": json.dumps([REPORT])}),
        ({"items": "records[]", "reference": "data.id", "status": "data.state"}, {"records": [{"data": ENCODED}]}),
        ({"items": "[]", "reference": "data.id", "status": "data.state"}, [{"data": INNER}]),
        (
            {"items": "records[]", "reference": "id", "status": "$.Message.state"},
            {"records": [{"id": "r-1"}], "Message": ENCODED},
        ),
        (
            {"body": "form", "reference": "payload.id", "status": "payload.state"},
            urlencode({"payload": ENCODED}).encode(),
        ),
        ({"body": "form", "items": "events"}, urlencode({"events": json.dumps([REPORT])}).encode()),
    ],
)
def test_path_goes_through_json_within_a_text(table: dict[str, Any], body: object) -> None:
    assert parse(build(table), build_callback(body)) == [("r-1", JobStatus.SUCCEEDED)]


def test_each_line_of_json_is_an_item() -> None:
    lines = b'{"id":"a","state":"DONE"}\n{"id":"b","state":"ERROR"}\n'
    expected = [("a", JobStatus.SUCCEEDED), ("b", JobStatus.FAILED)]
    assert parse(build({}), build_callback(lines)) == expected
    assert parse(build({"items": "[]"}), build_callback(lines)) == expected


@pytest.mark.parametrize(
    ("value", "reference"),
    [
        ("12345", "12345"),
        ("12345.0", "12345"),
        ("18446744073709551616", "18446744073709551616"),
        ("1" + "0" * 30, "1" + "0" * 30),
    ],
)
def test_reference_keeps_all_its_digits(value: str, reference: str) -> None:
    body = f'{{"id":{value},"state":"DONE"}}'.encode()
    assert parse(build({}), build_callback(body)) == [(reference, JobStatus.SUCCEEDED)]


@pytest.mark.parametrize("value", ["1.5", "1e300", "1" * 5_000, '"\\ud83d"', '"\\u0000"', '"caf\xe9"'])
def test_reference_that_is_not_exact_is_malformed(value: str) -> None:
    with pytest.raises(MalformedCallback):
        parse(build({}), build_callback(f'{{"id":{value},"state":"DONE"}}'.encode("latin-1")))


def test_odd_bytes_of_a_text_are_replaced() -> None:
    [(_, report)] = parse_reports_of(
        build({"detail": "text"}), build_callback(b'{"id":"r","state":"DONE","text":"caf\xe9"}')
    ).reports
    assert report.detail == "caf\ufffd"


PUSH = {
    "reference": "header:X-Goog-Resource-Id",
    "status": "header:X-Goog-Resource-State",
    "statuses": {"update": "succeeded"},
    "ignore": {"header:X-Goog-Resource-State": ["sync"]},
    "occurred_at": "query:at",
    "detail": ["message", "header:X-Detail"],
}


def test_values_may_be_in_headers_and_in_the_query() -> None:
    provider = build(PUSH)
    headers = {"x_goog_resource_id": "r", "x_goog_resource_state": "update", "x_detail": "text"}
    [(_, report)] = parse_reports_of(provider, build_callback(b"", "?at=2026-11-23T12:00:00Z", **headers)).reports
    assert (report.reference, report.status, report.detail) == ("r", JobStatus.SUCCEEDED, "text")
    assert report.occurred_at == NOON
    assert parse(provider, build_callback(b"", **headers | {"x_goog_resource_state": "sync"})) == []
    with pytest.raises(MalformedCallback):
        parse(provider, build_callback(b"", x_goog_resource_state="update"))


def test_body_that_is_not_read_may_be_anything() -> None:
    headers = {"x_goog_resource_id": "r", "x_goog_resource_state": "update"}
    table = PUSH | {"detail": "header:X-Detail"}
    assert parse(build(table), build_callback(b"not JSON", **headers)) == [("r", JobStatus.SUCCEEDED)]
    for read in ({"detail": "message"}, {"event_id": "id"}, {"items": "changes"}):
        with pytest.raises(MalformedCallback):
            parse(build(table | read), build_callback(b"not JSON", **headers))
    covered = "{header:X-Goog-Resource-Id}.{header:X-Goog-Resource-State}.{body}"
    signature = {"scheme": "hmac", "header": "X-Sig", "signed": covered, "secrets": [SECRET]}
    with pytest.raises(MalformedCallback):  # the header may have been "updated"
        parse(build(table, signature), build_callback(b"d", **headers))


def test_values_in_headers_identify_a_callback() -> None:
    callbacks = callbacks_of(build(PUSH))
    headers = {"x_goog_resource_id": "r", "x_goog_resource_state": "update"}
    content = callbacks.find_content(build_callback(b"", **headers))
    assert content == callbacks.find_content(build_callback(b"", **headers, x_detail="other"))
    assert content != callbacks.find_content(build_callback(b"", **headers | {"x_goog_resource_id": "s"}))
    assert content != callbacks.find_content(build_callback(b"", **headers | {"x_goog_resource_state": "sync"}))


def test_empty_body_without_values_in_headers_is_malformed() -> None:
    for kind in ("json", "xml"):
        with pytest.raises(MalformedCallback):
            parse(build({"body": kind}), build_callback(b""))


@pytest.mark.parametrize(
    ("table", "body"),
    [
        ({"items": "events"}, {"events": [], "entropy": "S0m3"}),
        ({"items": "events[]"}, {"events": []}),
        ({"items": "entry[].changes[]"}, {"entry": []}),
        ({"items": "entry[].changes[]"}, {"entry": [{"changes": []}]}),
        ({"items": "events[*].data"}, {"events": []}),
        ({"items": "[]"}, []),
        ({}, []),
        ({"body": "form", "items": "mandrill_events[]"}, b"mandrill_events=%5B%5D"),
        ({"body": "form", "json_field": "mandrill_events", "items": "[]"}, b"mandrill_events=[]"),
        ({"body": "form", "json_field": "mandrill_events"}, b"mandrill_events=[]"),
    ],
)
def test_empty_batch_is_accepted(table: dict[str, Any], body: object) -> None:
    assert parse(build(table), build_callback(body)) == []


@pytest.mark.parametrize(
    ("items", "body"),
    [
        ("events", {}),
        ("events", {"events": None}),
        ("events[]", {"others": []}),
        ("entry[].changes[]", {"entry": [{"other": []}]}),
        ("events[*].data", {"events": [{"other": 1}]}),
        ("events[]", []),
    ],
)
def test_path_of_items_that_leads_nowhere_is_malformed(items: str, body: object) -> None:
    with pytest.raises(MalformedCallback):
        parse(build({"items": items}), build_callback(body))


def test_any_other_status_may_have_a_meaning() -> None:
    provider = build({"statuses": {"0": "succeeded", "*": "failed"}})
    for state, status in (("0", JobStatus.SUCCEEDED), ("1032", JobStatus.FAILED), (None, None), ("", None)):
        assert parse(provider, build_callback({"id": "r", "state": state})) == [("r", status)]


@pytest.mark.parametrize(
    ("unit", "time"), [("iso", "soon"), ("s", "2026-11-23T12:00:00Z"), ("iso", "9999-01-01 00:00")]
)
def test_unreadable_time_is_noted(unit: str, time: str) -> None:
    provider = build({"occurred_at": "at", "time_unit": unit})
    [(_, report)] = parse_reports_of(provider, build_callback({"id": "r", "state": "DONE", "at": time})).reports
    assert (report.status, report.occurred_at) == (JobStatus.SUCCEEDED, None)
    assert report.errors is not None
    assert time in report.errors["at"][0]


@pytest.mark.parametrize("time", [None, "", {}, True])
def test_missing_time_is_not_noted(time: object) -> None:
    [(_, report)] = parse_reports_of(
        build({"occurred_at": "at"}), build_callback({"id": "r", "state": "DONE", "at": time})
    ).reports
    assert report.errors is None


FRAGMENTS = [
    *(b'{"id":', b'"r"', b"}", b"[", b"]", b"NaN", b"\\ud83d", b"\n", b"\x00", b"\xff", b"9" * 30, b'"Message":'),
    *(b"id=", b"&", b"%E9", b"--b", b'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\n', b"--b--"),
    *(b"<a>", b"</a>", b"<!DOCTYPE a>", b"e30", b"eyJpZCI6MX0="),
]
ANY_CALLBACKS = {
    (kind, method): build(
        {
            "body": kind,
            "methods": ["POST", "GET"],
            "items": "items || @",
            "reference": ["id", "$.Message.id", "header:X-Id"],
            "status": ["state", "Message.data.state"],
            "code": "query:code",
            "detail": "text",
            "occurred_at": "at",
            "event_id": "Message.id",
            "ignore": {"header:X-Type": ["ping"]},
        }
    )
    for kind in ("json", "form", "multipart", "xml", "query")
    for method in ("POST", "GET")
}


@given(
    case=st.sampled_from(sorted(ANY_CALLBACKS)),
    body=st.binary(max_size=100) | st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3)).map(b"".join),
    text=st.text(max_size=20),
)
def test_arbitrary_callbacks_raise_only_malformed_callback(case: tuple[str, str], body: bytes, text: str) -> None:
    callbacks = callbacks_of(ANY_CALLBACKS[case])
    callback = build_callback(body, f"?{text}", case[1], content_type=MULTIPART, x_id=text)
    callbacks.find_event_id(callback)
    callbacks.find_content(callback)
    with suppress(MalformedCallback):
        list(callbacks.parse(callback))


FIELDS = {"scheme": "hmac", "header": "X-Sig", "secrets": [SECRET]}


def sign(text: str) -> str:
    return hmac.new(SECRET.encode(), text.encode(), "sha256").hexdigest()


@pytest.mark.parametrize(
    ("table", "signed", "body", "headers"),
    [
        (
            {"body": "multipart"},
            "{field:id}.{field:state}",
            build_parts(id="r-1", state="DONE"),
            {"content_type": MULTIPART},
        ),
        (
            {"body": "xml", "reference": "a.id", "status": "a.state"},
            "{field:a.id}.{field:a.state}",
            b"<a><id>r-1</id><state>DONE</state></a>",
            {},
        ),
        (
            {"reference": "Message.id", "status": "Message.state"},
            "{field:Message.id}.{field:Message.state}",
            json.dumps({"Message": ENCODED}).encode(),
            {},
        ),
    ],
)
def test_signed_fields_are_those_that_are_read(
    table: dict[str, Any], signed: str, body: bytes, headers: dict[str, str]
) -> None:
    provider = build(table, FIELDS | {"signed": signed})
    callback = build_callback(body, x_sig=sign("r-1.DONE"), **headers)
    assert callbacks_of(provider).settings.auth.verify(callback) == 0
    assert parse(provider, callback) == [("r-1", JobStatus.SUCCEEDED)]


def test_text_is_signed_whole_and_read_within() -> None:
    provider = build({"reference": "Message.id", "status": "Message.state"}, FIELDS | {"signed": "{field:Message}"})
    callback = build_callback({"Message": ENCODED}, x_sig=sign(ENCODED))
    assert callbacks_of(provider).settings.auth.verify(callback) == 0
    assert parse(provider, callback) == [("r-1", JobStatus.SUCCEEDED)]


def test_lines_of_which_no_field_is_signed_are_rejected() -> None:
    """Fields that are missing are signed as empty: who has seen such a signature could send any lines."""
    provider = build({}, FIELDS | {"signed": "{field:id}.{field:state}"})
    callback = build_callback(b'{"id":"a","state":"DONE"}\n{"id":"b","state":"DONE"}', x_sig=sign("."))
    with pytest.raises(InvalidSignature):
        callbacks_of(provider).settings.auth.verify(callback)
