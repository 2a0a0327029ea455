"""Declared providers: every key of their tables, with documents such as the vendors publish."""

import hashlib
import hmac
import json
import tomllib
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from receiver.domain.callbacks import FORM_MEDIA_TYPE, Ack, IncomingCallback, parse_attempt_token, redact_attempt_token
from receiver.domain.jobs import EventSource, JobStatus, StatusReport
from receiver.domain.sending import ItemStatus, ParsedResponse, Response
from receiver.domain.unknown_requests import UnknownRequest
from receiver.providers.base import Provider
from receiver.providers.capabilities import LookupImpossible, MalformedCallback, OutgoingRequest
from receiver.providers.registry import build_provider
from receiver.signatures.base import InvalidSignature
from tests.support.capabilities import answer_handshake, callbacks_of, lookup_of, parse_reports_of, poller_of, sender_of
from tests.support.factories import NOON, SECRET, attempt, report
from tests.support.length_extension import extend_sha256

BASE = f"""
kind = "declared"
base_url = "https://api.acme.example/base"
auth = {{ scheme = "bearer", secret = "sk_1" }}
signature = {{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}
"""
SIGNATURE = f'signature = {{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}'
TOKEN_ONLY = BASE.replace(SIGNATURE, 'signature = { scheme = "token", secrets = ["an-unguessable-token"] }')
OPERATION = '[operations.render]\npath = "/v1/renders"\n'
CALLBACK = """
[callback]
reference = "id"
status = "state"
statuses = { RUNNING = "in_progress", DONE = "succeeded", ERROR = "failed" }
"""
CALLBACK_URL = "https://receiver.example/callbacks/acme"


def build(more: str = CALLBACK, base: str = BASE) -> Provider:
    return build_provider("acme", tomllib.loads(base + more))


def compose_render(more: str, payload: dict[str, Any], base: str = BASE) -> OutgoingRequest:
    """Return the request of the operation `render`."""
    provider = build(more + CALLBACK, base)
    return sender_of(provider).compose(attempt(operation="render", payload=payload), CALLBACK_URL)


def build_callback(
    body: object = b"", *, target: str = "/callbacks/acme", media_type: str = "", method: str = "POST", **headers: str
) -> IncomingCallback:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    all_headers = {
        "content-type": media_type or "application/json",
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    return IncomingCallback(method, target, all_headers, raw, NOON)


def parse_reports(more: str, callback: IncomingCallback) -> list[StatusReport]:
    parsed = parse_reports_of(build(more), callback)
    assert parsed.errors == {}
    return [report for _, report in parsed.reports]


def parse_statuses(more: str, body: object) -> list[tuple[str, JobStatus | None, str | None]]:
    return [
        (report.reference, report.status, report.provider_status)
        for report in parse_reports(more, build_callback(body))
    ]


def find_errors(more: str, base: str = BASE) -> dict[str, Any]:
    with pytest.raises(ValidationError) as caught:
        build(more, base)
    return caught.value.messages_dict


def base_with_auth(text: str) -> str:
    return BASE.replace('auth = { scheme = "bearer", secret = "sk_1" }', text)


@pytest.mark.parametrize(
    ("auth", "headers", "target", "body"),
    [
        ('auth = { scheme = "bearer", secret = "s" }', {"authorization": "Bearer s"}, "/base/v1/renders", {"a": 1}),
        (
            'auth = { scheme = "header", secret = "s", name = "Authorization", prefix = "Key " }',
            {"authorization": "Key s"},
            "/base/v1/renders",
            {"a": 1},
        ),
        ('auth = { scheme = "basic", secret = "u:p" }', {"authorization": "Basic dTpw"}, "/base/v1/renders", {"a": 1}),
        ('auth = { scheme = "query", secret = "s&", name = "key" }', {}, "/base/v1/renders?key=s%26", {"a": 1}),
        (
            'auth = { scheme = "body", secret = "s", name = "api_key" }',
            {},
            "/base/v1/renders",
            {"a": 1, "api_key": "s"},
        ),
        ('headers = { X-Version = "2" }', {"x-version": "2"}, "/base/v1/renders", {"a": 1}),
    ],
)
def test_request_carries_configured_credentials(auth: str, headers: dict[str, str], target: str, body: object) -> None:
    outgoing = compose_render(OPERATION, {"a": 1}, base_with_auth(auth))
    assert (outgoing.method, outgoing.target) == ("POST", target)
    assert outgoing.headers == {**headers, "content-type": "application/json"}
    assert json.loads(outgoing.body) == body


def test_form_body_repeats_lists_and_encodes_other_values_as_json() -> None:
    outgoing = compose_render(OPERATION + 'body = "form"\n', {"to": ["1", "2"], "deep": {"a": True}, "n": 3})
    assert outgoing.headers["content-type"] == "application/x-www-form-urlencoded"
    assert outgoing.body == urlencode([("to", "1"), ("to", "2"), ("deep", '{"a":true}'), ("n", "3")]).encode()


def test_path_placeholders_take_encoded_payload_fields() -> None:
    outgoing = compose_render('[operations.render]\npath = "/{model}/run"\n', {"model": "a/b c", "x": 1})
    assert outgoing.target == "/base/a%2Fb%20c/run"
    assert json.loads(outgoing.body) == {"x": 1}


@pytest.mark.parametrize(
    ("location", "target", "header", "body"),
    [
        ("webhook_url", "/base/v1/renders", None, {"webhook_url": CALLBACK_URL}),
        ("hooks.done.url", "/base/v1/renders", None, {"hooks": {"done": {"url": CALLBACK_URL}}}),
        ("query:fal_webhook", f"/base/v1/renders?{urlencode({'fal_webhook': CALLBACK_URL})}", None, {}),
        ("header:X-Callback", "/base/v1/renders", CALLBACK_URL, {}),
    ],
)
def test_callback_url_is_sent_at_configured_location(
    location: str, target: str, header: str | None, body: object
) -> None:
    outgoing = compose_render(f'{OPERATION}callback_url = "{location}"\n', {})
    assert outgoing.target == target
    assert outgoing.headers.get("x-callback") == header
    assert json.loads(outgoing.body) == body


OWN_LOCATIONS = ["own", "deep.own", "query:own", "header:X-Own"]


def collect_values(outgoing: OutgoingRequest, location: str) -> list[Any]:
    """Return all values that a request sends at a location."""
    kind, _, name = location.rpartition(":")
    query = parse_qsl(urlsplit(outgoing.target).query, keep_blank_values=True)
    if kind == "header":
        return [value for key, value in outgoing.headers.items() if key == name.lower()]
    media_type = outgoing.headers.get("content-type")
    if kind == "query" or media_type is None:
        pairs = query
    elif media_type == FORM_MEDIA_TYPE:
        pairs = parse_qsl(outgoing.body.decode(), keep_blank_values=True)
    else:
        pairs = [(key, value if name == key else json.dumps(value)) for key, value in json.loads(outgoing.body).items()]
    first, _, inner = name.partition(".")
    values = [value for key, value in pairs if key == first]
    return [json.loads(value)[inner] for value in values] if inner else values


@settings(deadline=None, max_examples=60)
@given(
    body=st.sampled_from(["json", "form", "query"]),
    callback_url=st.sampled_from(OWN_LOCATIONS),
    request_id=st.sampled_from([place.replace("own", "ref").replace("Own", "Ref") for place in OWN_LOCATIONS]),
    auth=st.sampled_from(["query", "body"]),
    payload=st.dictionaries(
        st.sampled_from(["own", "ref", "deep", "key", "version", "X-Own", "query:own", "own[]", "to"]),
        st.none() | st.text("aé&=", max_size=3) | st.lists(st.text("a"), max_size=2)
        | st.dictionaries(st.sampled_from(["own", "ref", "x"]), st.text("a", max_size=2), max_size=2),
    ),
)  # fmt: skip
def test_payload_never_overrides_what_is_ours(
    body: str, callback_url: str, request_id: str, auth: str, payload: dict[str, Any]
) -> None:
    operation = f'body = "{body}"\ncallback_url = "{callback_url}"\nrequest_id = "{request_id}"\n'
    base = base_with_auth(f'auth = {{ scheme = "{auth}", name = "key", secret = "sk" }}')
    render = OPERATION.replace("/renders", "/renders?version=2")
    outgoing = compose_render(render + operation, payload, base)
    request = collect_values(outgoing, request_id)
    assert collect_values(outgoing, callback_url) == [CALLBACK_URL]
    assert [len(str(value)) for value in request] == [36]
    assert collect_values(outgoing, "query:key" if auth == "query" else "key") == ["sk"]
    assert collect_values(outgoing, "query:version") == ["2"]


def test_idempotency_key_is_request_id_for_every_attempt() -> None:
    provider = build(OPERATION + 'idempotency_header = "Idempotency-Key"\n' + CALLBACK)
    first = attempt(operation="render", payload={})
    second = attempt(operation="render", payload={}, request_id=first.request_id)
    keys = {sender_of(provider).compose(each, CALLBACK_URL).headers["idempotency-key"] for each in (first, second)}
    assert keys == {str(first.request_id)}


def test_payload_without_required_fields_is_rejected() -> None:
    provider = build(
        '[operations.render]\npath = "/{model}"\nrequired = ["text"]\ndefaults = { size = 1 }\n' + CALLBACK
    )
    required = "Missing data for required field."
    assert provider.operations["render"].check_payload({}, NOON) == {"text": [required], "model": [required]}
    assert provider.operations["render"].check_payload({"text": "a", "model": {}}, NOON) == {
        "model": ["Must be text or a number."]
    }
    for empty in ("", None):
        errors = provider.operations["render"].check_payload({"text": empty, "model": "m"}, NOON)
        assert errors == {"text": ["Must not be empty."]}
    for dots in (".", ".."):
        errors = provider.operations["render"].check_payload({"text": "a", "model": dots}, NOON)
        assert errors == {"model": ["Must not contain the path segments . and ..: it becomes a part of the path."]}
    assert provider.operations["render"].check_payload({"text": "a", "model": "m"}, NOON) == {}
    assert json.loads(
        sender_of(provider).compose(attempt(operation="render", payload={"model": "m"}), CALLBACK_URL).body
    ) == {"size": 1}


RESPONSE = """
[response]
items = "items[]"
reference = "id"
code = "status"
codes = { queued = "accepted", done = "succeeded", bad = "rejected", 7 = "retry" }
detail = ["error.message", "note"]
"""


def interpret_items(more: str, body: object) -> list[tuple[ItemStatus, str | None, str | None, str | None]]:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    parsed = sender_of(build(more + CALLBACK)).interpret(Response(202, {}, raw))
    return [(item.item_status, item.reference, item.code, item.detail) for item in parsed.items]


def test_response_items_are_read_by_code_of_any_case_or_type() -> None:
    body = {
        "items": [
            {"id": "a", "status": "QUEUED", "note": "soon"},
            {"id": 17, "status": "done"},
            {"status": "bad", "error": {"message": "no such model"}},
            {"id": "c", "status": 7},
            {"id": "d", "status": "sparkling"},
            {"id": "e"},
        ]
    }
    assert interpret_items(RESPONSE, body) == [
        (ItemStatus.ACCEPTED, "a", "QUEUED", "soon"),
        (ItemStatus.SUCCEEDED, "17", "done", None),
        (ItemStatus.REJECTED, None, "bad", "no such model"),
        (ItemStatus.RETRY, "c", "7", None),
        (ItemStatus.UNKNOWN, "d", "sparkling", None),
        (ItemStatus.UNKNOWN, "e", None, None),
    ]


def test_response_may_give_any_other_code_a_meaning() -> None:
    more = CALLBACK + '[response]\nreference = "id"\ncode = "code"\ncodes = { "0" = "accepted", "*" = "rejected" }\n'
    sender = sender_of(build(OPERATION + more))
    bodies = [
        b'{"id":"a","code":0}',
        b'{"id":"b","code":"E1"}',
        b'{"id":"c"}',
        b'{"id":18446744073709551617,"code":"0"}',
    ]
    items = [sender.interpret(Response(200, {}, body)).items[0] for body in bodies]
    assert [item.item_status for item in items] == [
        *(ItemStatus.ACCEPTED, ItemStatus.REJECTED, ItemStatus.UNKNOWN, ItemStatus.ACCEPTED),
    ]
    assert items[3].reference == "18446744073709551617"


def test_response_without_codes_accepts_items_with_reference() -> None:
    plivo = '[response]\nitems = "message_uuid"\nreference = "@"\n'
    assert interpret_items(plivo, {"message_uuid": ["u-1", "u-2", None]}) == [
        (ItemStatus.ACCEPTED, "u-1", None, None),
        (ItemStatus.ACCEPTED, "u-2", None, None),
        (ItemStatus.UNKNOWN, None, None, None),
    ]


def test_reference_joins_values_of_all_paths() -> None:
    more = '[response]\nitems = "to[]"\nreference = ["$.batch", "number"]\n'
    assert interpret_items(more, {"batch": "b-1", "to": [{"number": "1"}, {"number": "2"}, {}]}) == [
        (ItemStatus.ACCEPTED, "b-1/1", None, None),
        (ItemStatus.ACCEPTED, "b-1/2", None, None),
        (ItemStatus.UNKNOWN, None, None, None),
    ]


def test_response_that_is_not_json_is_a_problem() -> None:
    parsed = sender_of(build(RESPONSE + CALLBACK)).interpret(Response(200, {}, b"<html>"))
    assert parsed.items == ()
    assert parsed.problem is not None


def test_callback_status_ignores_case_and_keeps_unknown_values() -> None:
    assert parse_statuses(CALLBACK, {"id": "a", "state": "done"}) == [("a", JobStatus.SUCCEEDED, "done")]
    assert parse_statuses(CALLBACK, {"id": "a", "state": "Error"}) == [("a", JobStatus.FAILED, "Error")]
    assert parse_statuses(CALLBACK, {"id": "a", "state": "melting"}) == [("a", None, "melting")]
    assert parse_statuses(CALLBACK, {"id": "a"}) == [("a", None, None)]


META = """
[callback]
items = "entry[].changes[].value.statuses[]"
reference = "id"
status = "status"
statuses = { sent = "in_progress", delivered = "succeeded", failed = "failed" }
code = "errors[0].code"
detail = "errors[0].title"
occurred_at = "timestamp"
time_unit = "s"
[callback.handshake]
kind = "get-echo"
token_at = "query:hub.verify_token"
token = "let-me-in-please"
echo = "query:hub.challenge"
"""


def test_callback_items_may_be_deeply_nested() -> None:
    def change(*statuses: dict[str, Any]) -> dict[str, Any]:
        return {"changes": [{"value": {"statuses": list(statuses)}}]}

    delivered = {"id": "wamid.1", "status": "delivered", "timestamp": "1763899200"}
    failed = {"id": "wamid.2", "status": "failed", "errors": [{"code": 131047, "title": "Re-engagement"}]}
    parsed_reports = parse_reports(META, build_callback({"entry": [change(delivered), change(failed)]}))
    assert [(report.reference, report.status) for report in parsed_reports] == [
        ("wamid.1", JobStatus.SUCCEEDED),
        ("wamid.2", JobStatus.FAILED),
    ]
    assert str(parsed_reports[0].occurred_at) == "2025-11-23 12:00:00+00:00"
    assert (parsed_reports[1].code, parsed_reports[1].detail) == ("131047", "Re-engagement")


def test_invalid_item_does_not_affect_other_items() -> None:
    more = CALLBACK.replace('reference = "id"', 'reference = "id"\nitems = "results[]"')
    parsed = parse_reports_of(
        build(more), build_callback({"results": [{"id": "a", "state": "DONE"}, {"state": "DONE"}, 7]})
    )
    assert [(index, report.reference) for index, report in parsed.reports] == [(0, "a")]
    assert list(parsed.errors) == ["id"]


@pytest.mark.parametrize(
    "body", [b"", b"no json", b"[1]", b"{}", b'{"id": null}', b'{"id": {}}', b'{"id": 1e30}', b'{"id": true}']
)
def test_callback_without_reference_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedCallback):
        parse_reports_of(build(), build_callback(body))


@given(
    body=st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["id", "state", "entry", "changes", "value", "statuses", "errors"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_callback_is_parsed_or_malformed(body: bytes) -> None:
    for more in (CALLBACK, META):
        try:
            parsed = parse_reports_of(_PROVIDERS[more], build_callback(body))
        except MalformedCallback:
            continue
        assert all(report.reference for _, report in parsed.reports)


_PROVIDERS = {more: build(more) for more in (CALLBACK, META)}

FORM = """
[callback]
body = "form"
methods = ["POST", "GET"]
reference = "MessageUUID"
status = "Status"
statuses = { queued = "in_progress", sent = "in_progress", delivered = "succeeded", failed = "failed" }
code = "ErrorCode"
"""


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_form_callback_is_read_from_body_or_query(method: str) -> None:
    fields = "MessageUUID=u-1&Status=failed&ErrorCode=450&To=%2B2348030000000"
    body, query = (fields, "") if method == "POST" else ("", f"?{fields}")
    callback = build_callback(
        body.encode(), target=f"/callbacks/acme{query}", method=method, media_type="application/x-www-form-urlencoded"
    )
    provider = build(FORM, TOKEN_ONLY)
    [(_, report)] = parse_reports_of(provider, callback).reports
    assert (report.reference, report.status, report.code) == ("u-1", JobStatus.FAILED, "450")
    assert callbacks_of(provider).settings.methods == {"GET", "POST"}


@pytest.mark.parametrize("line", ['methods = ["GET", "POST"]', 'body = "query"'])
def test_callback_table_reading_unsigned_query_is_rejected(line: str) -> None:
    errors = find_errors(CALLBACK.replace("[callback]", f"[callback]\n{line}"))
    assert "does not cover the query" in str(errors["callback"])


def test_items_other_than_the_signed_ones_are_rejected() -> None:
    adyen = BASE.replace(SIGNATURE, 'signature = { scheme = "adyen", secrets = ["00ff"] }')
    errors = find_errors(CALLBACK.replace("[callback]", '[callback]\nitems = "others[]"'), adyen)
    assert list(errors["callback"]) == ["items"]


def test_form_field_may_contain_json() -> None:
    more = CALLBACK.replace("[callback]", '[callback]\nbody = "form"\njson_field = "response"\nitems = "[]"')
    inner = json.dumps([{"id": "a", "state": "DONE"}, {"id": "b", "state": "ERROR"}])
    callback = build_callback(urlencode({"response": inner}).encode(), media_type="application/x-www-form-urlencoded")
    assert [report.reference for report in parse_reports(more, callback)] == ["a", "b"]
    with pytest.raises(MalformedCallback):
        parse_reports_of(build(more), build_callback(b"other=1"))


@pytest.mark.parametrize("body", [b'{"id":"1","state":"ERROR"}', b'{"id":"1","state":"ERROR"}\n', b"[]", b"1"])
@pytest.mark.parametrize("extension", [b'\n{"id":"1","state":"DONE"}', b'{"id":"1","state":"DONE"}', b"\n", b'"}'])
@pytest.mark.parametrize("charset", ["", "; charset=utf-16", "; charset=utf-7", "; charset=latin-1", "; charset=cp037"])
def test_body_of_digest_that_was_extended_is_unreadable(body: bytes, extension: bytes, charset: str) -> None:
    """In whatever way a body is read, no bytes that can be appended leave it readable."""
    secret = "a secret"
    digest = hashlib.sha256(secret.encode() + body).digest()
    appended, extended = extend_sha256(digest, len(secret) + len(body), extension)
    signature = f'signature = {{ scheme = "hubspot-v1", secrets = ["{secret}"] }}'
    provider = build(base=BASE.replace(SIGNATURE, signature))
    forged = build_callback(
        body + appended, media_type=f"application/json{charset}", x_hubspot_signature=extended.hex()
    )
    assert callbacks_of(provider).settings.auth.verify(forged) == 0
    with pytest.raises(MalformedCallback):
        parse_reports_of(provider, forged)


PAYSTACK = """
[callback]
reference = "data.reference"
status = "event"
superseding = ["transfer.reversed"]
only = { event = ["charge.success", "transfer.failed", "transfer.reversed"] }
[callback.statuses]
"charge.success" = "succeeded"
"transfer.failed" = "failed"
"transfer.reversed" = "failed"
"""


def test_superseding_status_is_marked() -> None:
    [report] = parse_reports(PAYSTACK, build_callback({"event": "transfer.reversed", "data": {"reference": "t-1"}}))
    assert (report.status, report.superseding) == (JobStatus.FAILED, True)


def test_filtered_callback_has_no_reports() -> None:
    assert parse_reports(PAYSTACK, build_callback({"event": "customeridentification.success", "data": {}})) == []
    ignoring = CALLBACK.replace("[callback]", '[callback]\nignore = { type = ["ping"] }')
    assert parse_reports(ignoring, build_callback({"type": "ping"})) == []


def test_fetch_callback_only_needs_poll() -> None:
    more = """
[callback]
reference = "transcript_id"
status = "status"
statuses = { queued = "in_progress", completed = "succeeded", error = "failed" }
fetch = true
[poll]
path = "/v2/transcript/{reference}"
reference = "id"
"""
    [report] = parse_reports(more, build_callback({"transcript_id": "t-1", "status": "completed"}))
    assert (report.reference, report.status, report.provider_status, report.needs_poll) == (
        "t-1",
        None,
        "completed",
        True,
    )


@pytest.mark.parametrize(
    ("event_id", "expected"),
    [("header:X-Delivery", "d-1"), ("query:n", "7"), ("id", "evt-1"), ("missing", ""), ("header:X-None", "")],
)
def test_event_id_is_read_at_configured_location(event_id: str, expected: str) -> None:
    provider = build(CALLBACK.replace("[callback]", f'[callback]\nevent_id = "{event_id}"'), TOKEN_ONLY)
    callback = build_callback({"id": "evt-1"}, target="/callbacks/acme?n=7", x_delivery="d-1")
    assert callbacks_of(provider).find_event_id(callback) == expected


@pytest.mark.parametrize(
    ("signed", "event_id", "expected"),
    [
        ("{body}", "header:X-Delivery", ""),
        ("{header:x-delivery}.{body}", "header:X-Delivery", "d-1"),
        ("{header:x-delivery}{body}", "header:X-Delivery", ""),
        ("{body}", "query:n", ""),
        ("{query:n}.{body}", "query:n", "7"),
        ("{url}{body}", "query:n", "7"),
        ("{body}", "id", "evt-1"),
        ("{field:id}.{field:state}", "id", "evt-1"),
        ("{field:id}.{field:state}", "other", ""),
    ],
)
def test_event_id_identifies_callback_only_if_signed(signed: str, event_id: str, expected: str) -> None:
    signature = f'signature = {{ scheme = "hmac", header = "X-Sig", secrets = ["s"], signed = "{signed}" }}'
    base = BASE.replace(SIGNATURE, signature)
    provider = build(CALLBACK.replace("[callback]", f'[callback]\nevent_id = "{event_id}"'), base)
    callback = build_callback({"id": "evt-1", "other": "o"}, target="/callbacks/acme?n=7", x_delivery="d-1")
    assert callbacks_of(provider).find_event_id(callback) == expected


@pytest.mark.parametrize(
    ("signature", "more", "body", "variant"),
    [
        ('"twilio"', 'body = "form"', b"state=DONE&id=a%20b", b"id=a+b&state=DONE&state=DONE"),
        ('"plivo-v3"', 'body = "form"', b"state=DONE&id=a", b"%69d=a&state=DONE"),
        ('"hmac", header = "X", signed = "{sorted_params}"', 'body = "form"', b"id=1&state=2", b"state=2&id=%31"),
        ('"hmac", header = "X", signed = "{field:id}:{field:state}"', "", b'{"id":"1"}', b'{"x":7, "id":"1"}'),
        ('"hmac", header = "X", signed = "{url}"', 'body = "query"', b"one", b"two"),
    ],
)
def test_content_is_equal_for_bodies_with_one_signature(signature: str, more: str, body: bytes, variant: bytes) -> None:
    base = BASE.replace(SIGNATURE, f'signature = {{ scheme = {signature}, secrets = ["s"] }}')
    callbacks = callbacks_of(build(CALLBACK.replace("[callback]", f"[callback]\n{more}"), base))
    media_type = FORM_MEDIA_TYPE if "form" in more else "application/json"
    first, second, other = (
        callbacks.find_content(build_callback(content, media_type=media_type))
        for content in (body, variant, body.replace(b"1", b"9").replace(b"=a", b"=z"))
    )
    assert first == second
    assert other != first or "query" in more


@pytest.mark.parametrize(
    ("kind", "media_type", "body"),
    [
        ("form", "", b'{"id":"seen","state":"ERROR","x":"&id=forged&state=DONE&x="}'),
        ("json", FORM_MEDIA_TYPE, b'{"id":"forged","state":"DONE","x":"&id=seen&state=ERROR&x="}'),
    ],
)
def test_signed_fields_are_read_as_the_callback_is(kind: str, media_type: str, body: bytes) -> None:
    signature = (
        'signature = { scheme = "hmac", header = "X-Sig", secrets = ["s"], signed = "{field:id}:{field:state}" }'
    )
    provider = build(CALLBACK.replace("[callback]", f'[callback]\nbody = "{kind}"'), BASE.replace(SIGNATURE, signature))
    callback = build_callback(body, media_type=media_type, x_sig=_hmac("s", "seen:ERROR"))
    with pytest.raises(InvalidSignature):
        callbacks_of(provider).settings.auth.verify(callback)


def test_ack_is_configurable() -> None:
    provider = build(
        CALLBACK.replace(
            "[callback]", '[callback]\nack = { status = 202, body = "[accepted]", content_type = "text/plain" }'
        )
    )
    assert callbacks_of(provider).settings.ack == Ack(202, b"[accepted]", {"content-type": "text/plain"})


def test_get_handshake_echoes_challenge_as_plain_text() -> None:
    target = "/callbacks/acme?hub.mode=subscribe&hub.verify_token={}&hub.challenge=%3Cb%3E"
    ack = answer_handshake(build(META), build_callback(method="GET", target=target.format("let-me-in-please")))
    assert ack is not None
    assert ack.body == b"<b>"
    assert ack.headers["content-type"].startswith("text/plain")
    for wrong in (target.format("let-me-in"), target.format("%00"), "/callbacks/acme"):
        with pytest.raises(InvalidSignature):
            answer_handshake(build(META), build_callback(method="GET", target=wrong))
    assert answer_handshake(build(META), build_callback({"entry": []})) is None


def post_handshake(handshake: str, body: object) -> Ack | None:
    more = CALLBACK.replace("[callback]", f"[callback]\nhandshake = {handshake}")
    return answer_handshake(build(more, TOKEN_ONLY), build_callback(body))


def test_post_handshake_echoes_challenge() -> None:
    slack = '{ kind = "post-echo", when = { type = "url_verification" }, echo = "challenge" }'
    ack = post_handshake(slack, {"type": "url_verification", "challenge": "3eZ"})
    assert ack is not None
    assert (ack.status, ack.body) == (200, b"3eZ")
    assert post_handshake(slack, {"type": "event_callback", "challenge": "3eZ"}) is None


def test_hmac_handshake_responds_with_hmac() -> None:
    when = '{ event = "endpoint.url_validation" }'
    zoom = f'{{ kind = "post-hmac", when = {when}, echo = "payload.plainToken", secret = "s3cret" }}'
    ack = post_handshake(
        zoom, {"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}}
    )
    assert ack is not None
    assert json.loads(ack.body) == {
        "plainToken": "qgg8vlvZRS6UYooatFL8Aw",
        "encryptedToken": _hmac("s3cret", "qgg8vlvZRS6UYooatFL8Aw"),
    }


def _hmac(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()


def test_unsigned_handshake_is_refused() -> None:
    more = CALLBACK.replace(
        "[callback]", '[callback]\nhandshake = { kind = "post-echo", when = { type = "v" }, echo = "c" }'
    )
    with pytest.raises(InvalidSignature):
        answer_handshake(build(more), build_callback({"type": "v", "c": "x"}))


POLL = """
[poll]
path = "/v1/renders/{reference}?full=1"
reference = "id"
not_found = "failed"
"""


def test_poll_uses_reference_and_callback_statuses() -> None:
    provider = build(CALLBACK + POLL)
    assert provider.poller is not None
    outgoing = poller_of(provider).compose(["a/b"], None)
    assert (outgoing.method, outgoing.target) == ("GET", "/base/v1/renders/a%2Fb?full=1")
    assert outgoing.headers == {"authorization": "Bearer sk_1"}
    report = poller_of(provider).interpret(["r"], Response(200, {}, b'{"id": "r", "state": "done"}')).get("r")
    assert report is not None
    assert report.status is JobStatus.SUCCEEDED
    assert poller_of(provider).interpret(["r"], Response(200, {}, b'{"id": "other", "state": "done"}')).get("r") is None
    assert poller_of(provider).interpret(["r"], Response(200, {}, b"<html>")).get("r") is None
    assert poller_of(provider).interpret(["r"], Response(500, {}, b'{"id": "r", "state": "done"}')).get("r") is None
    assert poller_of(provider).interpret(["r"], Response(201, {}, b'{"id": "r", "state": "done"}')).get("r")
    assert poller_of(provider).interpret(["r"], Response(200, {}, b'{"state": "done"}')).get("r") == report
    assert poller_of(provider).interpret(["r"], Response(200, {}, b'{"error": "none"}')).get("r") is None
    report = poller_of(provider).interpret(["r"], Response(404, {}, b"")).get("r")
    assert report is not None
    assert report.status is JobStatus.FAILED


def test_poll_finds_its_job_and_uses_its_own_statuses() -> None:
    more = """
[poll]
method = "POST"
path = "/status"
body = { ids = "{reference}" }
items = "jobs[]"
reference = "ref"
status = "s"
statuses = { ok = "succeeded" }
"""
    provider = build(CALLBACK + more)
    assert json.loads(poller_of(provider).compose(["b"], None).body) == {"ids": "b"}
    report = (
        poller_of(provider)
        .interpret(["b"], Response(200, {}, b'{"jobs": [{"ref": "a", "s": "no"}, {"ref": "b", "s": "OK"}]}'))
        .get("b")
    )
    assert report is not None
    assert report.status is JobStatus.SUCCEEDED


def test_read_once_poll_returns_reports_of_other_jobs() -> None:
    once = POLL.replace("not_found", 'items = "results"\nread_once = true\nnot_found')
    response = Response(200, {}, b'{"results": [{"id": "a", "state": "DONE"}, {"id": "b", "state": "ERROR"}, {}]}')
    provider = build(CALLBACK + once)
    assert [report.reference for report in poller_of(provider).interpret_other_jobs(["a"], response)] == ["b"]
    assert poller_of(build(CALLBACK + once.replace("true", "false"))).interpret_other_jobs(["a"], response) == ()
    assert not poller_of(provider).interpret_other_jobs(["a"], Response(200, {}, b"<html>"))


def test_poll_location_is_read_from_response() -> None:
    provider = build('[response]\nreference = "id"\nlocation = "urls.get"\n' + CALLBACK + POLL)
    url = "https://api.acme.example/base/p/1"
    [item] = sender_of(provider).interpret(Response(201, {}, orjson.dumps({"id": "p1", "urls": {"get": url}}))).items
    assert item.location == url
    accepted = report("p1", JobStatus.ACCEPTED, location=item.location)
    assert provider.build_event(accepted, EventSource.RESPONSE, uuid4(), NOON).location == "/base/p/1"
    assert poller_of(provider).compose(["p1"], "/base/p/1").target == "/base/p/1"


def test_provider_without_poll_and_lookup_has_neither() -> None:
    assert build().poller is None
    assert not build().lookup is not None
    assert build().first_lookup_after is None


REFERENCES = ["a/b", "c,d"]


@pytest.mark.parametrize(
    ("poll", "target", "body"),
    [
        ('path = "/v1/jobs?ids={references}"', "/base/v1/jobs?ids=a%2Fb,c%2Cd", b""),
        ('path = "/v1/jobs/{references}/status"\nseparator = "|"', "/base/v1/jobs/a%2Fb|c%2Cd/status", b""),
        (
            'path = "/s"\nmethod = "POST"\nbody = { q = { ids = "{references}" } }',
            "/base/s",
            {"q": {"ids": REFERENCES}},
        ),
        ('path = "/s"\nmethod = "POST"\nbody = { ids = "in:{references}" }', "/base/s", {"ids": "in:a/b,c,d"}),
        (
            'path = "/s"\nmethod = "POST"\nencoding = "form"\nbody = { ids = "{references}", full = "1" }',
            "/base/s",
            b"ids=a%2Fb%2Cc%2Cd&full=1",
        ),
    ],
)
def test_poll_batch_contains_all_references(poll: str, target: str, body: object) -> None:
    provider = build(f"{CALLBACK}[poll]\nbatch = 100\n{poll}\n")
    assert poller_of(provider).batch_size == 100
    outgoing = poller_of(provider).compose(REFERENCES, None)
    assert outgoing.target == target
    assert (json.loads(outgoing.body) if isinstance(body, dict) else outgoing.body) == body
    assert ("content-type" in outgoing.headers) == bool(body)
    assert poller_of(provider).compose(["a/b"], "/elsewhere").target == "/elsewhere"


OPERATION_WITH_KEY = """[operations.render]
path = "/v1/renders"
idempotency_header = "Idempotency-Key"
defaults = { area = "eu" }
[response]
reference = "id"
code = "status"
codes = { queued = "accepted", done = "succeeded", bad = "rejected" }
"""
LOOKUP = """
[lookup]
path = "/v1/renders?key={request_id}&area={area}&order={order}"
items = "data"
"""


def build_unknown_request(**payload: Any) -> UnknownRequest:
    """Return an unknown request."""
    return UnknownRequest(
        id=UUID(int=7),
        provider="acme",
        operation="render",
        payload=payload,
        failures=1,
        lookup_count=1,
        not_found=0,
        unknown_since=NOON,
        deadline_at=NOON,
        at=NOON,
    )


def test_poll_has_computed_values() -> None:
    provider = build(
        CALLBACK
        + """
[poll]
method = "POST"
path = "/stkpushquery/v1/query"
body = { BusinessShortCode = 174379, CheckoutRequestID = "{reference}" }
[poll.computed]
Password = { text = "{BusinessShortCode}{secret}{Timestamp}", secret = "passkey", encoding = "base64" }
Timestamp = "{now:%Y%m%d%H%M%S}"
"header:X-Reference" = "{reference}"
"""
    )
    outgoing = poller_of(provider).compose_at(["ws_1"], None, NOON)
    assert json.loads(outgoing.body) == {
        "BusinessShortCode": 174379,
        "CheckoutRequestID": "ws_1",
        "Timestamp": "20261123120000",
        "Password": b64encode(b"174379passkey20261123120000").decode(),
    }
    assert outgoing.headers["x-reference"] == "ws_1"


def test_lookup_uses_request_id_and_payload_fields() -> None:
    provider = build(OPERATION_WITH_KEY + CALLBACK + LOOKUP)
    assert provider.lookup is not None
    assert provider.first_lookup_after == 60.0
    outgoing = lookup_of(provider).compose(build_unknown_request(order="7 & 8"))
    assert (outgoing.method, outgoing.body) == ("GET", b"")
    assert outgoing.target == f"/base/v1/renders?key={UUID(int=7)}&area=eu&order=7%20%26%208"
    assert outgoing.headers == {"authorization": "Bearer sk_1"}


@pytest.mark.parametrize("payload", [{}, {"order": ""}, {"order": None}, {"order": ["7"]}])
def test_lookup_without_payload_field_is_impossible(payload: dict[str, Any]) -> None:
    """An empty value would ask for the requests of everybody."""
    with pytest.raises(LookupImpossible, match="its payload has no order"):
        lookup_of(build(OPERATION_WITH_KEY + CALLBACK + LOOKUP)).compose(build_unknown_request(**payload))


@pytest.mark.parametrize("value", ["..", ".", "../admin", "a/../b"])
def test_value_that_leads_to_another_path_is_not_sent(value: str) -> None:
    lookup = '[lookup]\npath = "/v1/orders/{order}"\n'
    with pytest.raises(LookupImpossible, match="path"):
        lookup_of(build(OPERATION_WITH_KEY + CALLBACK + lookup)).compose(build_unknown_request(order=value))
    operation = build('[operations.render]\npath = "/v1/{id}"\n' + CALLBACK).operations["render"]
    assert operation.check_payload({"id": value}, NOON).keys() == {"id"}


def test_value_must_not_form_a_dot_segment_with_the_path() -> None:
    operation = build('[operations.render]\npath = "/v1/.{a}?b={b}"\n' + CALLBACK).operations["render"]
    assert operation.check_payload({"a": "/x", "b": "1"}, NOON).keys() == {"a"}
    assert operation.check_payload({"a": "x", "b": "/./"}, NOON).keys() == {"b"}
    assert operation.check_payload({"a": "x", "b": "1"}, NOON) == {}


def test_lookup_body_has_placeholders() -> None:
    more = '[lookup]\nmethod = "POST"\npath = "/find"\nbody = { any = [{ key = "{request_id}" }], n = 1 }\n'
    outgoing = lookup_of(build(OPERATION_WITH_KEY + CALLBACK + more)).compose(build_unknown_request())
    assert json.loads(outgoing.body) == {"any": [{"key": str(UUID(int=7))}], "n": 1}


def test_lookup_response_is_parsed_like_a_response() -> None:
    provider = build(OPERATION_WITH_KEY + CALLBACK + LOOKUP)
    body = {"data": [{"id": "r1", "status": "queued"}, {"id": "r2", "status": "DONE"}, {"id": "r3", "status": "?"}]}
    items = lookup_of(provider).interpret(Response(200, {}, orjson.dumps(body))).items
    assert [(item.reference, item.item_status) for item in items] == [
        ("r1", ItemStatus.ACCEPTED),
        ("r2", ItemStatus.SUCCEEDED),
        ("r3", ItemStatus.UNKNOWN),
    ]


@pytest.mark.parametrize(
    "response", [Response(404, {}, b""), Response(200, {}, b'{"data": []}'), Response(200, {}, b"{}")]
)
def test_lookup_without_items_means_not_found(response: Response) -> None:
    assert lookup_of(build(OPERATION_WITH_KEY + CALLBACK + LOOKUP)).interpret(response) == ParsedResponse()


@pytest.mark.parametrize(
    "response", [Response(500, {}, b'{"data": []}'), Response(401, {}, b""), Response(200, {}, b"<html>")]
)
def test_failed_lookup_is_a_problem(response: Response) -> None:
    parsed = lookup_of(build(OPERATION_WITH_KEY + CALLBACK + LOOKUP)).interpret(response)
    assert (parsed.items, bool(parsed.problem)) == ((), True)


def test_lookup_response_may_be_parsed_by_job_status() -> None:
    more = LOOKUP + 'status = "state"\nreference = "ref"\n'
    states = ["RUNNING", "done", "error", "?"]
    body = {"data": [{"ref": state, "state": state} for state in states]}
    items = (
        lookup_of(build(OPERATION_WITH_KEY + CALLBACK + more)).interpret(Response(200, {}, orjson.dumps(body))).items
    )
    assert [(item.reference, item.item_status, item.job) for item in items] == [
        ("RUNNING", ItemStatus.ACCEPTED, JobStatus.IN_PROGRESS),
        ("done", ItemStatus.SUCCEEDED, JobStatus.SUCCEEDED),
        ("error", ItemStatus.ACCEPTED, JobStatus.FAILED),
        ("?", ItemStatus.UNKNOWN, None),
    ]


REQUEST_ID = "018f0000-0000-7000-8000-000000000007"


@pytest.mark.parametrize(
    ("location", "find"),
    [
        ("meta.key", lambda request: request["body"]["meta"]["key"]),
        ("query:key", lambda request: request["query"]["key"]),
        ("header:X-Key", lambda request: request["headers"]["x-key"]),
    ],
)
def test_request_id_is_sent_at_configured_location(location: str, find: Callable[[dict[str, Any]], str]) -> None:
    first_attempt = attempt(operation="render", payload={})
    provider = build(f'{OPERATION}request_id = "{location}"\n{CALLBACK}')
    outgoing = sender_of(provider).compose(first_attempt, CALLBACK_URL)
    request = {
        "body": json.loads(outgoing.body),
        "query": dict(parse_qsl(urlsplit(outgoing.target).query)),
        "headers": outgoing.headers,
    }
    assert find(request) == str(first_attempt.request_id)


@pytest.mark.parametrize("callback_url", [CALLBACK_URL, f"{CALLBACK_URL}?region=eu"])
def test_callback_url_carries_attempt_token(callback_url: str) -> None:
    first_attempt = attempt(operation="render", payload={})
    provider = build(f'{OPERATION}callback_url = "hook"\ncallback_token = true\n{CALLBACK}')
    url = json.loads(sender_of(provider).compose(first_attempt, callback_url).body)["hook"]
    assert url.startswith(callback_url)
    callback = build_callback({}, target=url.removeprefix("https://receiver.example"))
    assert parse_attempt_token(callback) == first_attempt.id
    assert callbacks_of(provider).settings.uses_attempt_token
    assert not callbacks_of(build(OPERATION + CALLBACK)).settings.uses_attempt_token
    assert redact_attempt_token(callback.target, "…") == callback.target.replace(str(first_attempt.id), "…")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "request=",
        "request=7",
        f"xrequest={REQUEST_ID}",
        f"request={REQUEST_ID}0",
        f"request={REQUEST_ID.replace('-', '')}",
    ],
)
def test_malformed_attempt_token_is_ignored(query: str) -> None:
    assert parse_attempt_token(build_callback({}, target=f"/callbacks/acme?{query}")) is None


CALLBACK_WITH_REQUEST_ID = CALLBACK.replace("[callback]", '[callback]\nitems = "jobs"\nrequest = "meta.key"')


@pytest.mark.parametrize("value", [REQUEST_ID, REQUEST_ID.upper(), "", "7", None, 7, [REQUEST_ID]])
def test_callback_items_carry_request_id(value: object) -> None:
    jobs = [{"id": "a", "state": "DONE", "meta": {"key": value}}, {"id": "b", "state": "DONE"}]
    reports = [
        report
        for _, report in parse_reports_of(
            build(OPERATION_WITH_KEY + CALLBACK_WITH_REQUEST_ID), build_callback({"jobs": jobs})
        ).reports
    ]
    expected = UUID(REQUEST_ID) if isinstance(value, str) and len(value) > 30 else None
    assert [report.request_id for report in reports] == [expected, None]


def test_request_id_outside_body_must_be_signed() -> None:
    signature = """signature = { scheme = "hmac", header = "x-sig", signed = "{body}.{header:X-Key}", \
secrets = ["k"] }"""
    base = BASE.replace(SIGNATURE, signature.replace("\\\n", ""))
    tables = OPERATION_WITH_KEY + CALLBACK.replace("[callback]", '[callback]\nrequest = "header:X-Key"')
    callback = build_callback({"id": "a", "state": "DONE"}, **{"x-key": REQUEST_ID})
    [(_, report)] = parse_reports_of(build(tables, base), callback).reports
    assert report.request_id == UUID(REQUEST_ID)
    for location in ("header:X-Other", "query:key"):
        with pytest.raises(ValidationError) as caught:
            build(tables.replace("header:X-Key", location), base)
        assert "does not cover" in caught.value.messages_dict["callback"]["request"][0]


@pytest.mark.parametrize(
    ("more", "key"),
    [
        (f"{OPERATION}callback_token = true\n{CALLBACK}", "operations.render.callback_token"),
        (f"{OPERATION}{CALLBACK_WITH_REQUEST_ID}", "callback.request"),
        (f'{OPERATION}[response]\nreference = "id"\n{CALLBACK}{LOOKUP}', "lookup.path"),
        (f'{OPERATION_WITH_KEY}{CALLBACK}{LOOKUP}status = "s"\ncodes = {{ a = "accepted" }}\n', "lookup.codes"),
        (f'{OPERATION_WITH_KEY}{CALLBACK}{LOOKUP}statuses = {{ a = "accepted" }}\n', "lookup.statuses"),
        (f'{OPERATION_WITH_KEY}{CALLBACK}{LOOKUP}not_found = "failed"\n', "lookup.not_found"),
        (f'{OPERATION_WITH_KEY}{CALLBACK}[lookup]\npath = "/v1/renders"\n', "lookup.path"),
        (f"{OPERATION_WITH_KEY.replace('reference', '#')}{CALLBACK}{LOOKUP}", "lookup.reference"),
        (f'{CALLBACK}[poll]\npath = "/s/{{reference}}"\nbatch = 10\n', "poll.batch"),
        (f'{CALLBACK}[poll]\npath = "/s/{{references}}"\n', "poll.batch"),
        (f'{CALLBACK}[poll]\npath = "/s/{{references}}"\nbatch = 1001\n', "poll.batch"),
        (f'{CALLBACK}[poll]\npath = "/s/{{job}}"\n', "poll.path"),
        (f'{CALLBACK}[poll]\npath = "/s/{{references}}"\nbatch = 9\nseparator = " "\n', "poll.separator"),
    ],
)
def test_follow_up_error_is_reported_at_its_key(more: str, key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        build(more)
    errors: Any = caught.value.messages_dict
    for name in key.split("."):
        assert name in errors, caught.value.messages_dict
        errors = errors[name]
    assert isinstance(errors, list)


def test_all_errors_are_reported_at_their_keys() -> None:
    invalid = """
max_concurency = 3
[operations.render]
method = "FETCH"
path = "v1"
body = "yaml"
[response]
items = "items["
code = "status"
[callback]
reference = "id"
statuses = { DONE = "finished" }
ack = { status = 404 }
handshake = { kind = "get-echo", echo = "query:" }
[poll]
path = "/x"
first_after = -1
"""
    errors = find_errors(invalid, base_with_auth('auth = { scheme = "header", secret = "s" }'))
    assert set(errors) == {"max_concurency", "auth", "operations", "response", "callback", "poll"}
    assert set(errors["operations"]["render"]) == {"method", "path", "body"}
    assert set(errors["response"]) == {"items", "codes"}
    assert set(errors["callback"]) == {"status", "statuses", "ack", "handshake"}
    assert set(errors["poll"]) == {"first_after"}
    assert set(errors["auth"]) == {"name"}


def test_fetch_requires_poll() -> None:
    assert set(find_errors(CALLBACK + "fetch = true")) == {"poll"}


def test_unstorable_detail_is_dropped_and_reference_is_malformed() -> None:
    more = CALLBACK + 'detail = "why"\ncode = "code"\n'
    [report] = parse_reports(more, build_callback({"id": "a", "state": "DONE", "why": "nul \0", "code": "\0"}))
    assert (report.status, report.detail, report.code) == (JobStatus.SUCCEEDED, None, None)
    for reference in ("nul \0", "x" * 2_000):
        with pytest.raises(MalformedCallback) as caught:
            parse_reports_of(build(more), build_callback({"id": reference, "state": "DONE"}))
        assert list(caught.value.errors) == ["id"]


def test_report_index_counts_filtered_items() -> None:
    more = CALLBACK.replace("[callback]", '[callback]\nitems = "[]"\nonly = { live = "true" }')
    body = [{"live": False}, {"live": True, "id": "a", "state": " done "}, {"live": True}]
    parsed = parse_reports_of(build(more), build_callback(body))
    assert [(index, report.reference, report.status) for index, report in parsed.reports] == [
        (1, "a", JobStatus.SUCCEEDED)
    ]


def test_get_handshake_with_other_mode_is_refused() -> None:
    more = META + 'when = { "query:hub.mode" = "subscribe" }\n'
    target = "/callbacks/acme?hub.mode={}&hub.verify_token=let-me-in-please&hub.challenge=1"
    assert answer_handshake(build(more), build_callback(method="GET", target=target.format("subscribe"))) is not None
    with pytest.raises(InvalidSignature):
        answer_handshake(build(more), build_callback(method="GET", target=target.format("unsubscribe")))


def test_get_without_verify_token_may_be_a_callback() -> None:
    more = META.replace("[callback]", '[callback]\nmethods = ["GET", "POST"]')
    provider = build(more, TOKEN_ONLY)
    assert answer_handshake(provider, build_callback(method="GET", target="/callbacks/acme?id=1")) is None


def test_hmac_handshake_uses_matching_secret() -> None:
    zoom = 'signature = { scheme = "zoom", secrets = ["new", "old"] }'
    base = BASE.replace(f'signature = {{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}', zoom)
    handshake = '{ kind = "post-hmac", when = { event = "v" }, echo = "p", secret = ["new", "old"] }'
    provider = build(CALLBACK.replace("[callback]", f"[callback]\nhandshake = {handshake}"), base)
    body = orjson.dumps({"event": "v", "p": "plain"})
    signature = f"v0={_hmac('old', f'v0:1:{body.decode()}')}"
    ack = answer_handshake(provider, build_callback(body, x_zm_signature=signature, x_zm_request_timestamp="1"))
    assert ack is not None
    assert json.loads(ack.body)["encryptedToken"] == _hmac("old", "plain")
