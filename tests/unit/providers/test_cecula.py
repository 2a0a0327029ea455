"""Cecula's three APIs: payload validation, every documented code, responses, reports and polls."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.sending import ItemStatus, ParsedResponse, Response, ResponseItem
from receiver.providers.base import Provider
from receiver.providers.capabilities import MalformedCallback, ParsedReports
from receiver.providers.cecula.codes import BROADCAST_CODES, LEGACY_CODES
from receiver.providers.cecula.reports import STATUSES, CeculaCallbacks, ReportFields, normalize_statuses
from tests.support.capabilities import callbacks_of, poller_of, sender_of
from tests.support.cecula import build_cecula
from tests.support.factories import NOON, attempt

CECULA = build_cecula()
LEGACY = build_cecula("cecula-legacy")
SYNC = build_cecula("cecula-sync")
ALL = (CECULA, LEGACY, SYNC)

ACCEPTED, REJECTED, UNKNOWN = ItemStatus.ACCEPTED, ItemStatus.REJECTED, ItemStatus.UNKNOWN

SEND: dict[str, Any] = {
    "recipients": ["2348181234567", "2348141234567"],
    "text": "Sample TexT",
    "sender": "Cecula",
    "flash": False,
}
SEND_TEMPLATE: dict[str, Any] = {
    "recipients": [
        {"mobile": "2348061234567", "data": {"customer_name": "John Doe", "payment_due": "NGN 100,000"}},
        {"mobile": "2348079876543", "data": {}},
        {"mobile": "2348079876544"},
    ],
    "template": "c628b9a8-8869-49a6-89ec-58020136abef",
    "sender": "Cecula",
    "flash": False,
}
SEND_A2P: dict[str, Any] = {"origin": "Cecula1", "message": "hello", "recipients": ["2349090000246"]}
SEND_P2P: dict[str, Any] = {"origin": "2348030000", "flash": True, "message": "hello", "recipients": ["2349090000246"]}
SEND_SMS: dict[str, Any] = {"text": "hello", "recipients": ["2349090000246", "+2349090000271"]}

DOCUMENTED_RESPONSE = {
    "recipients": [
        {"id": "b8bfb980-357a-4a39-863a-1b27c1f191d5", "mobile": "2348181234567", "status": "ACK", "code": 1801},
        {"id": "5f019c1e-e2ae-4dc7-b52d-3c748e96c97e", "mobile": "2348141234567", "status": "ACK", "code": 1801},
    ],
    "messageReference": "93b71cc8-744d-46e3-a2f4-96ace66ea738",
}
DOCUMENTED_A2P = {
    "status": "sent",
    "reference": "4982953",
    "sentTo": ["2348090000001"],
    "invalid": [],
    "declined": [],
    "declineReason": "",
    "code": "1801",
}
DOCUMENTED_P2P = {
    "status": "sent",
    "code": "1801",
    "messageID": "2579",
    "sentTo": [{"recipient": "2349090000246", "id": "5990"}, {"recipient": "2349090000271", "id": "5991"}],
    "declined": [],
}

FIELDS = ["id", "trackingId", "status", "code", "recipients", "reference", "sentTo", "declined", "invalid", "error"]
VALUES = ["", "ref", "DELIVRD", "1801", 1801, 1806, "CE1001", 10**30, 1.5, True]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(VALUES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner, max_size=5),
    max_leaves=12,
)
bodies = st.binary() | json_values.map(lambda value: json.dumps(value).encode())


def build_response(body: object, status: int = 200) -> Response:
    return Response(status, {}, body if isinstance(body, bytes) else orjson.dumps(body))


def interpret_items(body: object, api: Provider = CECULA) -> list[tuple[ItemStatus, str | None, str | None]]:
    """Return the status, reference and code of each item of a response."""
    parsed = sender_of(api).interpret(build_response(body))
    assert parsed.problem is None
    return [(item.item_status, item.reference, item.code) for item in parsed.items]


def parse(body: object, api: Provider = CECULA) -> ParsedReports:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return callbacks_of(api).parse(IncomingCallback("POST", "/callbacks/cecula/token", {}, raw, NOON))


def parse_reports(body: object, api: Provider = CECULA) -> list[StatusReport]:
    parsed = parse(body, api)
    assert parsed.errors == {}
    return [report for _, report in parsed.reports]


def find_errors(operation: str, payload: Mapping[str, Any], api: Provider = CECULA) -> Mapping[str, Any]:
    errors = api.operations[operation].check_payload(payload, NOON)
    assert orjson.loads(orjson.dumps(errors)) == errors
    return errors


# Requests


@pytest.mark.parametrize(
    ("api", "operation", "payload", "target"),
    [
        (CECULA, "send", SEND, "/api/sms/a2p/send"),
        (CECULA, "send_template", SEND_TEMPLATE, "/api/sms/a2p/template/send"),
        (LEGACY, "send_a2p", SEND_A2P, "/send/a2p"),
        (LEGACY, "send_p2p", SEND_P2P, "/send/p2p"),
        (SYNC, "send_sms", SEND_SMS, "/sync/api/send-sms"),
    ],
)
def test_operation_is_posted_as_documented(api: Provider, operation: str, payload: dict[str, Any], target: str) -> None:
    assert operation in api.operations
    assert find_errors(operation, payload, api) == {}
    outgoing = sender_of(api).compose(
        attempt(operation=operation, payload=payload), "https://we.example/callbacks/cecula/token"
    )
    assert (outgoing.method, outgoing.target) == ("POST", target)
    assert outgoing.headers == {"authorization": "Bearer CCL.key", "content-type": "application/json"}
    sent = payload if api is not SYNC else payload | {"recipients": "2349090000246,+2349090000271"}
    assert json.loads(outgoing.body) == sent


def test_api_key_is_not_in_repr() -> None:
    assert not any("CCL.key" in repr(api) for api in ALL)


MISSING = object()


@pytest.mark.parametrize(
    ("operation", "field", "value", "code"),
    [
        ("send", "sender", MISSING, "4001"),
        ("send", "sender", None, "4001"),
        ("send", "sender", "", "1807"),
        ("send", "sender", "x" * 12, "1807"),
        ("send", "sender", 7, "1807"),
        ("send", "text", MISSING, "1809"),
        ("send", "text", None, "1809"),
        ("send", "text", "", "1809"),
        ("send", "text", "x" * 1_072, "1808"),
        ("send", "recipients", MISSING, "6002"),
        ("send", "recipients", None, "6002"),
        ("send", "recipients", [], "6002"),
        ("send", "recipients", [""], "1806"),
        ("send", "recipients", [2348181234567], "1806"),
        ("send", "recipients", ["+2348181234567"], "1806"),
        ("send", "recipients", ["08181234567"], "1806"),
        ("send", "recipients", ["234 818 1234567"], "1806"),
        ("send", "recipients", ["234818"], "1806"),
        ("send", "recipients", ["2348181234567890"], "1806"),
        ("send", "recipients", ["2348181234567\n"], "1806"),
        ("send", "recipients", ["٢٣٤٨١٨١٢٣٤٥٦٧"], "1806"),
        ("send", "broadcastTime", "2026-12-01T16:24:00", "1903"),
        ("send", "broadcastTime", "2026-12-01 16:24", "1903"),
        ("send", "broadcastTime", "2026-12-1 16:24:00", "1903"),
        ("send", "broadcastTime", "2026-02-30 16:24:00", "1903"),
        ("send", "broadcastTime", "0000-01-01 00:00:00", "1903"),
        ("send", "broadcastTime", "", "1903"),
        ("send", "broadcastTime", "2026-11-22 12:00:00", "1902"),
        ("send_template", "template", MISSING, "6000"),
        ("send_template", "template", None, "6000"),
        ("send_template", "template", "", "6000"),
        ("send_template", "sender", MISSING, "4001"),
        ("send_template", "sender", "x" * 12, "1807"),
        ("send_template", "recipients", MISSING, "6002"),
        ("send_template", "recipients", [], "6002"),
        ("send_template", "recipients", [{"mobile": "0803"}], "1806"),
        ("send_template", "recipients", [{"data": {}}], "1806"),
        ("send_a2p", "origin", "x" * 12, "CE1003"),
        ("send_a2p", "origin", "Ce-cula", "CE1004"),
        ("send_a2p", "message", "", "CE1002"),
        ("send_a2p", "message", "x" * 1_531, "CE1005"),
        ("send_a2p", "recipients", MISSING, "CE1001"),
        ("send_p2p", "origin", "Cecula", "CE1011"),
        ("send_p2p", "origin", "1234", "CE1010"),
    ],
)
def test_invalid_payload_is_rejected_with_documented_code(operation: str, field: str, value: object, code: str) -> None:
    api = CECULA if operation in CECULA.operations else LEGACY
    valid = {"send": SEND, "send_template": SEND_TEMPLATE, "send_a2p": SEND_A2P, "send_p2p": SEND_P2P}[operation]
    payload = {name: inner for name, inner in valid.items() if name != field}
    errors = find_errors(operation, payload if value is MISSING else payload | {field: value}, api)
    assert errors.keys() == {field}
    assert code in json.dumps(errors)


@pytest.mark.parametrize(
    "change",
    [
        {"sender": "Elevenchars"},
        {"sender": "A & B"},
        {"text": "x" * 1_071},
        {"text": "grüße\n" * 100},
        {"recipients": ["1234567", "123456789012345"]},
        {"recipients": ["2348181234567"] * 5_000},
        {"flash": True},
        {"broadcastTime": None},
        {"broadcastTime": "2026-12-01 16:24:00"},
    ],
)
def test_valid_payload_is_accepted(change: dict[str, Any]) -> None:
    assert find_errors("send", SEND | change) == {}


@pytest.mark.parametrize(
    ("operation", "change", "field"),
    [
        ("send", {"callback_url": "http://we.example"}, "callback_url"),
        ("send", {"flash": "yes"}, "flash"),
        ("send", {"flash": []}, "flash"),
        ("send", {"text": "nul\0"}, "text"),
        ("send", {"sender": "\ud800"}, "sender"),
        ("send", {"recipients": ["2348181234567"] * 5_001}, "recipients"),
        ("send_template", {"broadcastTime": "2026-12-01 16:24:00"}, "broadcastTime"),
        ("send_template", {"recipients": [{"mobile": "2348061234567", "data": {"a": "nul\0"}}]}, "recipients"),
        ("send_template", {"recipients": [{"mobile": "2348061234567", "date": {}}]}, "recipients"),
    ],
)
def test_nonsensical_payload_is_rejected(operation: str, change: dict[str, Any], field: str) -> None:
    valid = SEND if operation == "send" else SEND_TEMPLATE
    assert find_errors(operation, valid | change).keys() == {field}


def test_broadcast_time_without_zone_is_past_in_every_zone() -> None:
    errors = {
        hours: find_errors("send", SEND | {"broadcastTime": _format_time(NOON, hours)}) for hours in (-12, -13, 0, 14)
    }
    assert {hours for hours, messages in errors.items() if messages} == {-13}


@pytest.mark.parametrize(("seconds", "refused"), [(0, False), (-1, True)])
def test_broadcast_time_with_zone_is_past_to_the_second(seconds: int, refused: bool) -> None:
    lagos = build_cecula(time_zone="Africa/Lagos")
    local = NOON + timedelta(hours=1, seconds=seconds)
    errors = lagos.operations["send"].check_payload(SEND | {"broadcastTime": _format_time(local)}, NOON)
    assert bool(errors) is refused


def test_ambiguous_broadcast_time_is_past_after_second_occurrence() -> None:
    berlin = build_cecula(time_zone="Europe/Berlin")
    payload = SEND | {"broadcastTime": "2026-10-25 02:30:00"}  # 00:30 and 01:30 UTC
    between, after = (datetime(2026, 10, 25, hour, 0, tzinfo=UTC) for hour in (1, 2))
    assert berlin.operations["send"].check_payload(payload, between) == {}
    assert berlin.operations["send"].check_payload(payload, after).keys() == {"broadcastTime"}


@pytest.mark.parametrize("zone", [{}, {"time_zone": "Pacific/Kiritimati"}, {"time_zone": "Etc/GMT+12"}])
@pytest.mark.parametrize(("year", "past"), [("0001-01-01", True), ("9999-12-31", False)])
def test_broadcast_time_at_calendar_limits_is_checked(zone: dict[str, str], year: str, past: bool) -> None:
    errors = build_cecula(**zone).operations["send"].check_payload(SEND | {"broadcastTime": f"{year} 00:00:00"}, NOON)
    assert bool(errors) is past


def _format_time(time: datetime, hours: int = 0) -> str:
    return f"{time + timedelta(hours=hours):%Y-%m-%d %H:%M:%S}"


# Responses of the current API


def test_documented_response_has_one_item_per_recipient() -> None:
    advice = BROADCAST_CODES["1801"][1]
    assert sender_of(CECULA).interpret(build_response(DOCUMENTED_RESPONSE)) == ParsedResponse(
        (
            ResponseItem(ACCEPTED, "b8bfb980-357a-4a39-863a-1b27c1f191d5", "ACK", "1801", advice),
            ResponseItem(ACCEPTED, "5f019c1e-e2ae-4dc7-b52d-3c748e96c97e", "ACK", "1801", advice),
        )
    )


def test_only_one_documented_code_accepts() -> None:
    refusing = {"1804", "1806", "1807", "1808", "1809", "1902", "1903", "6000", "6001", "6002"}
    refusing |= {"4001", "4002", "4003", "4004"}
    assert {code: item_status for code, (item_status, _) in BROADCAST_CODES.items()} == {
        "1801": ACCEPTED,
        **dict.fromkeys(refusing, REJECTED),
    }


@pytest.mark.parametrize("code_type", [int, str])
@pytest.mark.parametrize("code", BROADCAST_CODES)
def test_code_may_be_number_or_text_of_recipient_or_response(code: str, code_type: type[int] | type[str]) -> None:
    item_status, advice = BROADCAST_CODES[code]
    recipient = {"id": "ref-1", "mobile": "2348181234567", "status": "ACK"}
    expected = ResponseItem(item_status, "ref-1", "ACK", code, advice)
    bodies: list[dict[str, Any]] = [
        {"recipients": [recipient | {"code": code_type(code)}]},
        {"recipients": [recipient], "code": code_type(code)},
    ]
    for body in bodies:
        assert sender_of(CECULA).interpret(build_response(body)).items == (expected,)
    empty_bodies: list[dict[str, Any]] = [{}, {"recipients": []}, {"recipients": None}]
    for body in empty_bodies:
        parsed = sender_of(CECULA).interpret(build_response(body | {"code": code_type(code)}))
        assert parsed.items == (ResponseItem(item_status, None, None, code, advice),)


@pytest.mark.parametrize("code", [0, -1801, 1802, 18_010, "01801", "18O1", "ACK", "", None, True, 1801.0, [1801], {}])
def test_unknown_code_never_accepts(code: object) -> None:
    recipient = {"id": "ref-1", "status": "ACK", "code": code}
    assert [item_status for item_status, _, _ in interpret_items({"recipients": [recipient]})] == [UNKNOWN]
    if code is not None:
        assert [item_status for item_status, _, _ in interpret_items({"recipients": [recipient], "code": 1801})] == [
            UNKNOWN
        ]
        assert [item_status for item_status, _, _ in interpret_items({"code": code})] == [UNKNOWN]
        assert [
            item_status
            for item_status, _, _ in interpret_items({"recipients": [recipient | {"code": 1801}], "code": code})
        ] == [UNKNOWN]


def test_contradicting_response_never_accepts() -> None:
    body = {"recipients": [{"id": "a", "code": 1801}, {"id": "b", "code": 1806}, {"id": "c"}], "code": 1804}
    assert interpret_items(body) == [(UNKNOWN, "a", "1801"), (REJECTED, "b", "1806"), (REJECTED, "c", "1804")]
    [contradicting, *_] = sender_of(CECULA).interpret(build_response(body)).items
    assert (
        contradicting.detail
        == f"The response contradicts itself; as a whole it says: 1804 {BROADCAST_CODES['1804'][1]}"
    )


def test_recipient_refusal_outweighs_overall_acceptance() -> None:
    assert interpret_items({"recipients": [{"id": "a", "code": 1801}, {"code": "1806"}], "code": "1801"}) == [
        (ACCEPTED, "a", "1801"),
        (REJECTED, None, "1806"),
    ]


def test_invalid_recipient_does_not_affect_other_recipients() -> None:
    body = {"recipients": [None, "2348", {"id": "a", "code": 1801}, {"id": {}, "code": 1801}, {"id": 7, "code": 1801}]}
    assert interpret_items(body) == [
        (UNKNOWN, None, None),
        (UNKNOWN, None, None),
        (ACCEPTED, "a", "1801"),
        (ACCEPTED, None, "1801"),
        (ACCEPTED, "7", "1801"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>504</html>", b"\xff\xfe", b'{"recipients": [', b"[" * 100_000, b"null", b"[]", b"1801", b"{}"),
        *(b'{"recipients": []}', b'{"recipients": {"id": "a", "code": 1801}}', b'{"messageReference": "m"}'),
    ],
)
def test_response_without_recipients_or_code_is_a_problem(body: bytes) -> None:
    parsed = sender_of(CECULA).interpret(build_response(body))
    assert parsed.items == ()
    assert parsed.problem


@pytest.mark.parametrize("api", ALL)
@given(body=bodies, status=st.integers(100, 599))
def test_interpret_never_raises(api: Provider, body: bytes, status: int) -> None:
    parsed = sender_of(api).interpret(build_response(body, status))
    assert bool(parsed.items) == (parsed.problem is None)
    for item in parsed.items:
        assert item.item_status is not ACCEPTED or item.code in {"1801", None if api is SYNC else "1801"}
        assert all(text != "" for text in (item.reference, item.code, item.provider_status))


# Responses of the legacy API and of Sync


def test_legacy_a2p_response_has_one_job_and_rejected_recipients() -> None:
    with_rejected = DOCUMENTED_A2P | {"declined": ["2348090000002"], "declineReason": "DND", "invalid": ["0", "1"]}
    assert sender_of(LEGACY).interpret(build_response(DOCUMENTED_A2P)).items == (
        ResponseItem(ACCEPTED, "4982953", "sent", "1801", LEGACY_CODES["1801"][1]),
    )
    _, *rejected = sender_of(LEGACY).interpret(build_response(with_rejected)).items
    assert rejected == [
        ResponseItem(REJECTED, None, "declined", None, "Declined: DND"),
        ResponseItem(REJECTED, None, "invalid", None, "Invalid recipient."),
        ResponseItem(REJECTED, None, "invalid", None, "Invalid recipient."),
    ]


def test_legacy_p2p_response_has_one_job_per_recipient() -> None:
    assert interpret_items(DOCUMENTED_P2P, LEGACY) == [(ACCEPTED, "5990", "1801"), (ACCEPTED, "5991", "1801")]
    mixed = DOCUMENTED_P2P | {"sentTo": [{"id": 5990}, {}, "x"], "declined": ["2349"]}
    assert interpret_items(mixed, LEGACY) == [
        (ACCEPTED, "5990", "1801"),
        (ACCEPTED, None, "1801"),
        (ACCEPTED, None, "1801"),
        (REJECTED, None, None),
    ]


def test_legacy_response_without_sent_recipients_accepts_none() -> None:
    assert interpret_items(DOCUMENTED_A2P | {"sentTo": [], "declined": ["2348"]}, LEGACY) == [(REJECTED, None, None)]
    assert interpret_items(DOCUMENTED_A2P | {"sentTo": []}, LEGACY) == [(UNKNOWN, "4982953", "1801")]


@pytest.mark.parametrize("change", [{"code": "1804"}, {"code": "1"}, {"code": None}, {"error": "so"}, {"error": {}}])
def test_contradicting_legacy_response_never_accepts(change: dict[str, Any]) -> None:
    for body in (DOCUMENTED_A2P, DOCUMENTED_P2P):
        assert {item_status for item_status, _, _ in interpret_items(body | change, LEGACY)} == {UNKNOWN}


@pytest.mark.parametrize("code", [code for code in LEGACY_CODES if code.startswith("CE")])
def test_legacy_error_has_documented_meaning(code: str) -> None:
    item_status, meaning = LEGACY_CODES[code]
    assert item_status is (ItemStatus.RETRY if code == "CE1013" else REJECTED)
    assert sender_of(LEGACY).interpret(build_response({"error": "so", "code": code})).items == (
        ResponseItem(item_status, None, None, code, meaning),
    )


def test_undocumented_legacy_error_is_quoted() -> None:
    [item] = sender_of(LEGACY).interpret(build_response({"error": "Invalid PIN Ref", "code": "CE2000"})).items
    assert (item.item_status, item.code) == (UNKNOWN, "CE2000")
    assert item.detail == "This code is not documented. Error: Invalid PIN Ref."


@pytest.mark.parametrize("tracking_ids", [["t-1", "7"], ["t-1", 7], "t-1,7", "t-1 , 7,", [" t-1 ", "", None, {}, "7"]])
def test_sync_response_has_tracking_ids_in_any_form(tracking_ids: object) -> None:
    assert interpret_items({"trackingId": tracking_ids}, SYNC) == [(ACCEPTED, "t-1", None), (ACCEPTED, "7", None)]


@pytest.mark.parametrize("fields", [{"error": "so"}, {"status": "Failed"}, {"code": "CE1013"}, {"code": 9}])
def test_contradicting_sync_response_never_accepts(fields: dict[str, Any]) -> None:
    assert [item_status for item_status, *_ in interpret_items(fields | {"trackingId": "t-1"}, SYNC)] == [UNKNOWN]
    assert ACCEPTED not in [item_status for item_status, *_ in interpret_items(fields, SYNC)]


@pytest.mark.parametrize("body", [{}, {"trackingId": None}, {"trackingId": ""}, {"trackingId": True}, []])
def test_sync_response_without_tracking_ids_is_a_problem(body: object) -> None:
    assert sender_of(SYNC).interpret(build_response(body)).problem


# Reports


@pytest.mark.parametrize(
    ("provider_status", "status"),
    [
        *STATUSES.items(),
        ("delivrd", JobStatus.SUCCEEDED),
        (" Undeliv ", JobStatus.FAILED),
        ("TELEPORTED", None),
        (7, None),
    ],
)
def test_report_status_is_mapped(provider_status: str | int, status: JobStatus | None) -> None:
    assert parse_reports({"id": "ref-1", "status": provider_status, "code": 0, "more": []}) == [
        StatusReport("ref-1", status, provider_status=str(provider_status), code="0")
    ]


def test_default_statuses_are_mapped() -> None:
    names = {
        JobStatus.IN_PROGRESS: "ACCEPTD ACCEPTED ACK BUFFERED ENROUTE PENDING QUEUED SENT SUBMITTED",
        JobStatus.SUCCEEDED: "DELIVERED DELIVRD",
        JobStatus.FAILED: "DELETED EXPIRED FAILED REJECTD REJECTED UNDELIV UNDELIVERABLE UNDELIVERED",
    }
    assert {name: status for status, group in names.items() for name in group.split()} == STATUSES


@pytest.mark.parametrize(
    "wrap",
    [
        lambda items: items,
        lambda items: {"reports": items},
        lambda items: {"status": "ok", "numbers": [1], "empty": [], "data": items},
        lambda items: {"id": "callback-7", "data": items},
    ],
)
def test_reports_are_found_in_array_or_object(wrap: Any) -> None:
    items = [{"id": f"ref-{number}", "status": "SENT"} for number in range(3)]
    assert [report.reference for report in parse_reports(wrap(items))] == ["ref-0", "ref-1", "ref-2"]


def test_report_fields_and_statuses_are_configurable() -> None:
    paths = ReportFields(
        items="events[].reports[]",
        reference="message.ref",
        status="dlr.state || state",
        code="dlr.err",
        occurred_at="at",
        detail="dlr.why",
    )
    statuses = normalize_statuses({"Landed": JobStatus.SUCCEEDED})
    api = replace(CECULA, callbacks=CeculaCallbacks(callbacks_of(CECULA).settings, paths, statuses))
    first = {
        "message": {"ref": 7},
        "dlr": {"state": "LANDED", "err": 5, "why": "so"},
        "at": "2026-11-23T13:00:00+01:00",
    }
    second = {"message": {"ref": "8"}, "state": "DELIVRD", "at": "yesterday"}
    body = {"events": [{"reports": [first]}, {"reports": [second]}]}
    assert parse_reports(body, api) == [
        StatusReport("7", JobStatus.SUCCEEDED, "LANDED", code="5", detail="so", occurred_at=NOON),
        StatusReport("8", None, "DELIVRD"),
    ]


@pytest.mark.parametrize("field", ["items", "reference", "status", "code", "occurred_at", "detail"])
def test_invalid_path_raises_value_error(field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: not JMESPath"):
        ReportFields(**{field: "a["})


def test_path_that_fails_on_a_value_finds_nothing() -> None:
    api = build_cecula(callback={"items": "max(@)", "detail": "join('', @)"})
    assert parse_reports({"id": "a", "status": "SENT"}, build_cecula(callback={"detail": "join('', @)"}))
    with pytest.raises(MalformedCallback):
        parse([{}, 1], api)


def test_invalid_report_does_not_affect_other_reports() -> None:
    valid = {"id": "ref-1", "status": "SENT"}
    parsed = parse([valid, {"id": "ref-2"}, None, valid | {"id": ""}, valid | {"id": "nul\0"}, valid | {"id": 3}])
    assert [(index, report.reference) for index, report in parsed.reports] == [(0, "ref-1"), (5, "3")]
    assert {index: set(fields) for index, fields in parsed.errors.items()} == {
        "1": {"status"},
        "2": {"reference", "status"},
        "3": {"reference"},
        "4": {"reference"},
    }


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[" * 100_000, b"null", b"7", b'"DELIVRD"', [], {}, [[]], {"id": "a"}, {"a": [{}], "b": [{}]}],
)
def test_callback_without_reports_is_malformed(body: object) -> None:
    with pytest.raises(MalformedCallback) as caught:
        parse(body)
    assert caught.value.errors


@pytest.mark.parametrize("api", ALL)
@given(body=bodies)
def test_parse_raises_only_malformed_callback(api: Provider, body: bytes) -> None:
    try:
        parsed = parse(body, api)
    except MalformedCallback as error:
        parsed = ParsedReports((), error.errors)
    assert parsed.reports or parsed.errors
    assert orjson.loads(orjson.dumps(parsed.errors)) == parsed.errors
    assert all(report.reference and report.provider_status for _, report in parsed.reports)


# Polls and checks


def test_api_without_poll_path_cannot_poll() -> None:
    assert [api.poller is not None for api in ALL] == [False, False, True]
    assert poller_of(SYNC).compose(["ref-1"], "/api/status/1").target == "/api/status/1"


def test_poll_uses_reference() -> None:
    outgoing = poller_of(build_cecula(poll={"path": "/sms/reports/{reference}?full=1"})).compose(["a/b c"], None)
    assert (outgoing.method, outgoing.target) == ("GET", "/api/sms/reports/a%2Fb%20c?full=1")
    assert poller_of(SYNC).compose(["t-1"], None).target == "/sync/api/sent-sms-status/t-1"
    assert poller_of(SYNC).compose(["t-1"], None).headers["authorization"] == "Bearer CCL.key"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"trackingId": "t-1", "status": "DELIVERED"}, JobStatus.SUCCEEDED),
        ({"status": "failed"}, JobStatus.FAILED),
        ([{"trackingId": "t-0", "status": "FAILED"}, {"trackingId": "t-1", "status": "SENT"}], JobStatus.IN_PROGRESS),
        ({"status": "TELEPORTED"}, None),
    ],
)
def test_poll_response_is_parsed_for_its_job(body: object, status: JobStatus | None) -> None:
    report = poller_of(SYNC).interpret(["t-1"], build_response(body)).get("t-1")
    assert report
    assert (report.reference, report.status) == ("t-1", status)


@pytest.mark.parametrize(
    "body", [b"", b"null", {}, [], {"trackingId": "t-2", "status": "SENT"}, [{"status": "SENT"}] * 2]
)
def test_poll_response_without_the_job_is_none(body: object) -> None:
    assert poller_of(SYNC).interpret(["t-1"], build_response(body)).get("t-1") is None
    assert poller_of(SYNC).interpret(["t-1"], build_response({"status": "DELIVERED"}, 404)).get("t-1") is None


POLL = {"path": "/reports/{reference}"}
ALL_POLLED = (build_cecula(poll=POLL), build_cecula("cecula-legacy", poll=POLL), SYNC)


@pytest.mark.parametrize("api", ALL_POLLED)
@given(body=bodies)
def test_interpret_poll_and_read_check_never_raise(api: Provider, body: bytes) -> None:
    report = poller_of(api).interpret(["ref"], build_response(body)).get("ref")
    assert report is None or report.reference == "ref"
    assert all(check.format_result(build_response(body)).isprintable() for check in api.account_checks.values())


def test_checks_request_balance_and_sender_names() -> None:
    checks = {name: (check.outgoing.method, check.outgoing.target) for name, check in CECULA.account_checks.items()}
    assert checks == {"balance": ("GET", "/api/sms/check-balance"), "sender names": ("GET", "/api/sms/identities")}
    assert LEGACY.account_checks["balance"].outgoing.target == "/account/a2pbalance"
    assert SYNC.account_checks["balance"].outgoing.target == "/sync/api/cecula-balance"
    assert CECULA.account_checks["balance"].outgoing.headers["authorization"] == "Bearer CCL.key"


@pytest.mark.parametrize(
    ("name", "body", "status", "line"),
    [
        ("balance", {"balance": "118.00"}, 200, "balance: 118.00"),
        ("balance", {"balance": 234.1}, 200, "balance: 234.1"),
        ("balance", {"balance": -3}, 200, "balance: -3"),
        ("balance", {"balance": "\x1b[2J"}, 200, "balance: the response cannot be read"),
        ("balance", {}, 200, "balance: the response cannot be read"),
        ("balance", ["Cecula"], 200, "balance: the response cannot be read"),
        ("balance", b"<html>", 200, "balance: the response cannot be read"),
        ("sender names", ["Cecula", "DartPro"], 200, "sender names: Cecula, DartPro"),
        ("sender names", [], 200, "sender names: none"),
        ("sender names", ["\x1b[2J"], 200, "sender names: the response cannot be read"),
        ("sender names", {"balance": "118.00"}, 200, "sender names: the response cannot be read"),
        (
            "balance",
            b"",
            401,
            "balance: 401: Authentication failed or the API key is missing. Check the provider's credentials.",
        ),
    ],
)
def test_check_result_is_one_line(name: str, body: object, status: int, line: str) -> None:
    assert CECULA.account_checks[name].format_result(build_response(body, status)) == line
