"""The sandbox provider: requests, responses, callbacks and polls, and that no input makes it fail."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.sending import ItemStatus, ParsedResponse, Response, ResponseItem
from receiver.providers.capabilities import MalformedCallback
from receiver.providers.sandbox import CODES, STATES
from receiver.signatures.base import InvalidSignature
from receiver.signatures.standard_webhooks import decode_key, sign
from tests.support.capabilities import callbacks_of, parse_reports_of, poller_of, sender_of
from tests.support.factories import NOON, SECRET, attempt, provider

PROVIDER = provider()

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
item_like = st.dictionaries(
    st.sampled_from(["id", "status", "code", "state", "reason", "at", "more"]),
    json_values | st.sampled_from(["", "ref", "DELIVERED", 1801, "2026-11-23T12:00:00Z", "0001-01-01T00:00:00+23:59"]),
)
bodies = st.binary() | st.one_of(
    json_values,
    item_like,
    st.fixed_dictionaries({}, optional={"items": st.lists(item_like) | json_values}),
    st.fixed_dictionaries({}, optional={"results": st.lists(item_like) | json_values}),
).map(lambda value: json.dumps(value).encode())


def build_response(body: object, status: int = 200) -> Response:
    return Response(status, {}, body if isinstance(body, bytes) else orjson.dumps(body))


def build_callback(
    body: object, headers: Mapping[str, str] = MappingProxyType({}), received_at: datetime = NOON
) -> IncomingCallback:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return IncomingCallback("POST", "/callbacks/sandbox", headers, raw, received_at)


def parse_reports(callback: IncomingCallback) -> list[StatusReport]:
    """Return the reports of a callback without errors, in their order."""
    parsed = parse_reports_of(PROVIDER, callback)
    assert parsed.errors == {}
    assert [index for index, _ in parsed.reports] == list(range(len(parsed.reports)))
    return [report for _, report in parsed.reports]


def parse(body: object) -> Sequence[StatusReport] | Mapping[str, Any]:
    """Return the reports of a callback, or the errors of a malformed one."""
    try:
        return [report for _, report in parse_reports_of(PROVIDER, build_callback(body)).reports]
    except MalformedCallback as error:
        return error.errors


def find_errors(body: object) -> Mapping[str, Any]:
    """Return the errors of a malformed callback."""
    errors = parse(body)
    assert isinstance(errors, Mapping)
    return errors


def test_request_carries_payload_callback_url_and_idempotency_key() -> None:
    first = attempt(payload={"client_reference": "c-1", "to": ["234803"], "text": "grüße"})
    outgoing = sender_of(provider(base_path="/api")).compose(first, "https://we.example/callbacks/sandbox")
    assert (outgoing.method, outgoing.target) == ("POST", "/api/v1/messages")
    assert outgoing.headers == {
        "authorization": "Bearer key",
        "content-type": "application/json",
        "idempotency-key": str(first.request_id),
    }
    assert json.loads(outgoing.body) == {**first.payload, "callback_url": "https://we.example/callbacks/sandbox"}


def test_idempotency_key_is_equal_for_every_attempt() -> None:
    first = attempt()
    second = attempt(request_id=first.request_id, failures=1)
    assert sender_of(PROVIDER).compose(first, "http://we") == sender_of(PROVIDER).compose(second, "http://we")


def test_provider_without_idempotency_sends_no_key() -> None:
    assert "idempotency-key" not in sender_of(provider(idempotent=False)).compose(attempt(), "http://we").headers


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        ({"client_reference": "c", "to": ["1"], "text": "hello"}, set()),
        ({}, {"client_reference", "to", "text"}),
        ({"client_reference": "c", "to": [], "text": "hello"}, {"to"}),
        ({"client_reference": "c", "to": ["1"], "text": "x" * 1_072}, {"text"}),
        ({"client_reference": "c", "to": ["1", "nul\0"], "text": "lone \ud800"}, {"to", "text"}),
        ({"client_reference": "c", "to": ["1"], "text": "hello", "callback_url": "http://evil"}, {"callback_url"}),
    ],
)
def test_payload_errors_are_reported_by_field(payload: dict[str, Any], fields: set[str]) -> None:
    assert [*PROVIDER.operations] == ["send"]
    errors = PROVIDER.operations["send"].check_payload(payload, NOON)
    assert errors.keys() == fields
    assert orjson.loads(orjson.dumps(errors)) == errors


@pytest.mark.parametrize(("code", "item_status", "detail"), [(code, *meaning) for code, meaning in CODES.items()])
def test_documented_code_has_documented_meaning(code: int, item_status: ItemStatus, detail: str) -> None:
    parsed = sender_of(PROVIDER).interpret(
        build_response({"items": [{"id": "ref-1", "to": "1", "status": "ACK", "code": code}]})
    )
    assert parsed == ParsedResponse((ResponseItem(item_status, "ref-1", "ACK", str(code), detail),))


def test_documented_codes_are_mapped() -> None:
    assert {code: item_status for code, (item_status, _) in CODES.items()} == {
        1800: ItemStatus.SUCCEEDED,
        1801: ItemStatus.ACCEPTED,
        1804: ItemStatus.REJECTED,
        1806: ItemStatus.REJECTED,
        1899: ItemStatus.RETRY,
    }


@pytest.mark.parametrize("code", [0, -1801, 1802, 18_010, 10**18])
def test_unknown_code_never_accepts(code: int) -> None:
    [item] = sender_of(PROVIDER).interpret(build_response({"items": [{"id": "ref-1", "code": code}]})).items
    assert (item.item_status, item.reference, item.code) == (ItemStatus.UNKNOWN, "ref-1", str(code))


def test_response_may_have_many_items_and_no_reference() -> None:
    recipients = [{"id": f"ref-{number}", "code": 1801} for number in range(999)] + [{"id": None, "code": 1806}]
    items = sender_of(PROVIDER).interpret(build_response({"items": recipients})).items
    assert [item.reference for item in items] == [*(f"ref-{number}" for number in range(999)), None]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>504</html>",
        b"\xff\xfe",
        b'{"items": [',
        b"[" * 100_000,
        b"null",
        b"[]",
        b'"items"',
        b'{"error": "scripted"}',
        b'{"items": []}',
        b'{"items": {"id": "ref-1", "code": 1801}}',
        b'{"items": [{"id": "ref-1"}]}',
        b'{"items": [{"id": "ref-1", "code": "1801"}]}',
        b'{"items": [{"id": "ref-1", "code": 1801.0}]}',
        b'{"items": [{"id": "ref-1", "code": true}]}',
        b'{"items": [{"id": 7, "code": 1801}]}',
        b'{"items": [{"id": "", "code": 1801}]}',
        b'{"items": [{"id": "nul\\u0000", "code": 1801}]}',
        b'{"items": [{"id": "\\ud800", "code": 1801}]}',
        b'{"items": [{"id": "ref-1", "code": 1801}, null]}',
    ],
)
def test_undocumented_response_is_a_problem(body: bytes) -> None:
    parsed = sender_of(PROVIDER).interpret(build_response(body))
    assert parsed.items == ()
    assert parsed.problem is not None
    assert parsed.problem.startswith(("the body cannot be read: ", "the body is "))


@given(body=bodies, status=st.integers(100, 599))
def test_interpret_never_raises(body: bytes, status: int) -> None:
    parsed = sender_of(PROVIDER).interpret(build_response(body, status))
    assert bool(parsed.items) == (parsed.problem is None)


@pytest.mark.parametrize(
    ("state", "status"), [*STATES.items(), ("delivered", JobStatus.SUCCEEDED), ("TELEPORTED", None), ("ﬀ", None)]
)
def test_callback_state_is_mapped(state: str, status: JobStatus | None) -> None:
    result = {"id": "ref-1", "state": state, "reason": "so", "at": "2026-11-23T12:00:00.250Z", "new": "field"}
    at = NOON + timedelta(milliseconds=250)
    assert parse_reports(build_callback({"results": [result]})) == [
        StatusReport("ref-1", status, provider_status=state, detail="so", occurred_at=at)
    ]


def test_documented_states_are_mapped() -> None:
    assert {state: status.value for state, status in STATES.items()} == {
        "QUEUED": "in_progress",
        "SENT": "in_progress",
        "DELIVERED": "succeeded",
        "UNDELIVERED": "failed",
        "EXPIRED": "failed",
    }


def test_callback_with_many_results_keeps_their_order() -> None:
    results = [{"id": f"ref-{number}", "state": "SENT"} for number in range(1_000)]
    assert parse_reports(build_callback({"results": results})) == [
        StatusReport(f"ref-{number}", JobStatus.IN_PROGRESS, provider_status="SENT") for number in range(1_000)
    ]


def test_callback_times_are_converted_to_utc() -> None:
    results = [{"id": "ref-1", "state": "SENT", "at": "2026-11-23T13:30:30+01:30:30"}]
    [report] = parse_reports(build_callback({"results": results}))
    assert report.occurred_at == NOON
    assert report.occurred_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (b"", {"_body"}),
        (b'{"results": [', {"_body"}),
        (b"\xff", {"_body"}),
        (b"[" * 100_000, {"_body"}),
        (b"null", {"_schema"}),
        ([], {"_schema"}),
        ({}, {"results"}),
        ({"results": None}, {"results"}),
        ({"results": []}, {"results"}),
    ],
)
def test_malformed_callback_reports_errors_by_field(body: object, errors: set[str]) -> None:
    assert find_errors(body).keys() == errors


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None),
        ("id", ""),
        ("id", 5),
        ("id", "x" * 1_001),
        ("id", "nul\0"),
        ("state", None),
        ("state", ["SENT"]),
        ("reason", {"text": "so"}),
        ("at", "yesterday"),
        ("at", "2026-11-23T12:00:00"),
        ("at", 1_763_899_200),
        ("at", "0001-01-01T00:00:00+23:59"),
        ("at", "9999-12-31T23:59:59-00:01"),
    ],
)
def test_malformed_result_is_reported_by_index_and_field(field: str, value: object) -> None:
    valid = {"id": "ref-1", "state": "SENT"}
    errors = find_errors({"results": [valid | {field: value}, valid | {field: value}]})["results"]
    assert {index: set(fields) for index, fields in errors.items()} == {"0": {field}, "1": {field}}
    parsed = parse_reports_of(PROVIDER, build_callback({"results": [valid, valid | {field: value}]}))
    assert [(index, report.reference) for index, report in parsed.reports] == [(0, "ref-1")]
    errors = parsed.errors
    assert {index: set(fields) for index, fields in errors["results"].items()} == {"1": {field}}
    assert all(isinstance(message, str) for message in errors["results"]["1"][field])


@given(body=bodies)
def test_parse_raises_only_malformed_callback(body: bytes) -> None:
    parsed = parse(body)
    if isinstance(parsed, Mapping):
        assert orjson.loads(orjson.dumps(parsed)) == parsed
    else:
        assert all(report.reference and report.provider_status for report in parsed)
    assert parsed


def test_signature_is_verified_at_receive_time() -> None:
    timestamp = int(NOON.timestamp())
    signature = sign(decode_key(SECRET), "msg_1", timestamp, b"{}")
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(timestamp), "webhook-signature": signature}
    callbacks_of(PROVIDER).settings.auth.verify(build_callback(b"{}", headers, NOON + timedelta(seconds=300)))
    assert callbacks_of(PROVIDER).find_event_id(build_callback(b"{}", headers)) == "msg_1"
    late = NOON + timedelta(seconds=301)
    for refused in (build_callback(b"{ }", headers), build_callback(b"{}", headers, late), build_callback(b"{}")):
        with pytest.raises(InvalidSignature):
            callbacks_of(PROVIDER).settings.auth.verify(refused)


@pytest.mark.parametrize(
    ("reference", "location", "target"),
    [
        ("ref-1", None, "/api/v1/messages/ref-1"),
        ("a/b?c=d#e f%", None, "/api/v1/messages/a%2Fb%3Fc%3Dd%23e%20f%25"),
        ("grüße", None, "/api/v1/messages/gr%C3%BC%C3%9Fe"),
        ("ref-1", "/status/7?full=1", "/status/7?full=1"),
    ],
)
def test_poll_uses_reference_or_location(reference: str, location: str | None, target: str) -> None:
    outgoing = poller_of(provider(base_path="/api")).compose([reference], location)
    assert (outgoing.method, outgoing.target, outgoing.body) == ("GET", target, b"")
    assert outgoing.headers == {"authorization": "Bearer key"}


def test_poll_response_is_parsed_for_its_job() -> None:
    body = {"id": "ref-1", "state": "EXPIRED", "reason": "validity period passed", "at": "2026-11-23T12:00:00Z"}
    expected = StatusReport(
        "ref-1", JobStatus.FAILED, provider_status="EXPIRED", detail="validity period passed", occurred_at=NOON
    )
    assert poller_of(PROVIDER).interpret(["ref-1"], build_response(body)).get("ref-1") == expected
    assert poller_of(PROVIDER).interpret(["ref-2"], build_response(body)).get("ref-2") is None


def test_poll_response_with_unknown_state_has_no_status() -> None:
    report = (
        poller_of(PROVIDER).interpret(["ref-1"], build_response({"id": "ref-1", "state": "TELEPORTED"})).get("ref-1")
    )
    assert report == StatusReport("ref-1", None, provider_status="TELEPORTED")


@pytest.mark.parametrize("status", [201, 202, 204, 304, 404, 410, 429, 500, 503])
def test_poll_response_other_than_200_is_none(status: int) -> None:
    assert (
        poller_of(PROVIDER)
        .interpret(["ref-1"], build_response({"id": "ref-1", "state": "DELIVERED"}, status))
        .get("ref-1")
        is None
    )


@given(body=bodies)
def test_interpret_poll_never_raises(body: bytes) -> None:
    report = poller_of(PROVIDER).interpret(["ref"], build_response(body)).get("ref")
    assert report is None or report.reference == "ref"


def test_secrets_are_not_in_repr() -> None:
    text = repr(provider(api_key="sk_live_4242"))
    assert "sk_live_4242" not in text
    assert repr(decode_key(SECRET))[2:-1] not in text


def test_callback_url_may_carry_attempt_token() -> None:
    with_tokens = provider(callback_token=True)
    attempts = [attempt(), attempt()]
    bodies = [json.loads(sender_of(with_tokens).compose(each, "https://us/callbacks/s").body) for each in attempts]
    assert [body["callback_url"] for body in bodies] == [
        f"https://us/callbacks/s?request={each.id}" for each in attempts
    ]
