"""Cecula's three APIs: what is refused before sending, every documented code, answers, reports and polls."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.sending import ItemStatus, ParsedResponse, Response, ResponseItem
from receiver.providers.base import MalformedCallback, ParsedReports
from receiver.providers.cecula import CeculaApi, CeculaLegacy, CeculaSync
from receiver.providers.cecula_codes import BROADCAST_CODES, LEGACY_CODES
from receiver.providers.cecula_reports import STATUSES, ReportFields
from tests.cecula import built, cecula
from tests.factories import NOON, attempt

CECULA = cecula()
OLDER_API = built(CeculaLegacy, origin="https://api.cecula.com", base_path="")
SYNC = built(CeculaSync, origin="https://cecula.com", base_path="/sync/api")
ALL = (CECULA, OLDER_API, SYNC)

ACCEPTED, REFUSED, UNKNOWN = ItemStatus.ACCEPTED, ItemStatus.REFUSED, ItemStatus.UNKNOWN

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

DOCUMENTED_ANSWER = {
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
WORDS = ["", "ref", "DELIVRD", "1801", 1801, 1806, "CE1001", 10**30, 1.5, True]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner, max_size=5),
    max_leaves=12,
)
bodies = st.binary() | json_values.map(lambda value: json.dumps(value).encode())


def response(body: object, status: int = 200) -> Response:
    return Response(status, {}, body if isinstance(body, bytes) else orjson.dumps(body))


def items(body: object, api: CeculaApi = CECULA) -> list[tuple[ItemStatus, str | None, str | None]]:
    """Give what an answer says of each item: its disposition, reference and code."""
    parsed = api.interpret(response(body))
    assert parsed.problem is None
    return [(item.item_status, item.reference, item.code) for item in parsed.items]


def parse(body: object, api: CeculaApi = CECULA) -> ParsedReports:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return api.parse(IncomingCallback("POST", "/callbacks/cecula/token", {}, raw, NOON))


def reports(body: object, api: CeculaApi = CECULA) -> list[StatusReport]:
    parsed = parse(body, api)
    assert parsed.errors == {}
    return [report for _, report in parsed.reports]


def faults(operation: str, payload: Mapping[str, Any], api: CeculaApi = CECULA) -> Mapping[str, Any]:
    told = api.check_payload(operation, payload, NOON)
    assert orjson.loads(orjson.dumps(told)) == told
    return told


# Requests


@pytest.mark.parametrize(
    ("api", "operation", "payload", "target"),
    [
        (CECULA, "send", SEND, "/api/sms/a2p/send"),
        (CECULA, "send_template", SEND_TEMPLATE, "/api/sms/a2p/template/send"),
        (OLDER_API, "send_a2p", SEND_A2P, "/send/a2p"),
        (OLDER_API, "send_p2p", SEND_P2P, "/send/p2p"),
        (SYNC, "send_sms", SEND_SMS, "/sync/api/send-sms"),
    ],
)
def test_an_operation_is_posted_as_documented(
    api: CeculaApi, operation: str, payload: dict[str, Any], target: str
) -> None:
    assert operation in api.operations()
    assert faults(operation, payload, api) == {}
    outgoing = api.compose(attempt(operation=operation, payload=payload), "https://we.example/callbacks/cecula/token")
    assert (outgoing.method, outgoing.target) == ("POST", target)
    assert outgoing.headers == {"authorization": "Bearer CCL.key", "content-type": "application/json"}
    sent = payload if api is not SYNC else payload | {"recipients": "2349090000246,+2349090000271"}
    assert json.loads(outgoing.body) == sent


def test_a_key_is_never_shown() -> None:
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
def test_what_cecula_documents_to_refuse_is_refused_before_sending_with_its_code(
    operation: str, field: str, value: object, code: str
) -> None:
    api = CECULA if operation in CECULA.operations() else OLDER_API
    good = {"send": SEND, "send_template": SEND_TEMPLATE, "send_a2p": SEND_A2P, "send_p2p": SEND_P2P}[operation]
    payload = {name: inner for name, inner in good.items() if name != field}
    told = faults(operation, payload if value is MISSING else payload | {field: value}, api)
    assert told.keys() == {field}
    assert code in json.dumps(told)


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
def test_what_cecula_takes_is_not_refused(change: dict[str, Any]) -> None:
    assert faults("send", SEND | change) == {}


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
def test_what_cannot_be_meant_is_refused(operation: str, change: dict[str, Any], field: str) -> None:
    good = SEND if operation == "send" else SEND_TEMPLATE
    assert faults(operation, good | change).keys() == {field}


def test_without_a_time_zone_a_broadcast_time_is_past_once_it_is_past_everywhere() -> None:
    told = {hours: faults("send", SEND | {"broadcastTime": _clock(NOON, hours)}) for hours in (-12, -13, 0, 14)}
    assert {hours for hours, refused in told.items() if refused} == {-13}


@pytest.mark.parametrize(("seconds", "refused"), [(0, False), (-1, True)])
def test_in_a_known_time_zone_a_broadcast_time_is_past_to_the_second(seconds: int, refused: bool) -> None:
    lagos = cecula(time_zone=ZoneInfo("Africa/Lagos"))
    local = NOON + timedelta(hours=1, seconds=seconds)
    told = lagos.check_payload("send", SEND | {"broadcastTime": _clock(local)}, NOON)
    assert bool(told) is refused


def test_a_time_that_the_clock_shows_twice_is_past_when_the_second_is() -> None:
    berlin = cecula(time_zone=ZoneInfo("Europe/Berlin"))
    payload = SEND | {"broadcastTime": "2026-10-25 02:30:00"}  # 00:30 and 01:30 UTC
    between, after = (datetime(2026, 10, 25, hour, 0, tzinfo=UTC) for hour in (1, 2))
    assert berlin.check_payload("send", payload, between) == {}
    assert berlin.check_payload("send", payload, after).keys() == {"broadcastTime"}


@pytest.mark.parametrize("zone", [None, ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Etc/GMT+12")])
@pytest.mark.parametrize(("year", "past"), [("0001-01-01", True), ("9999-12-31", False)])
def test_the_ends_of_the_calendar_can_be_told(zone: ZoneInfo | None, year: str, past: bool) -> None:
    told = cecula(time_zone=zone).check_payload("send", SEND | {"broadcastTime": f"{year} 00:00:00"}, NOON)
    assert bool(told) is past


def _clock(at: datetime, hours: int = 0) -> str:
    return f"{at + timedelta(hours=hours):%Y-%m-%d %H:%M:%S}"


# Answers of the current API


def test_the_documented_answer_makes_a_job_of_each_recipient() -> None:
    advice = BROADCAST_CODES["1801"][1]
    assert CECULA.interpret(response(DOCUMENTED_ANSWER)) == ParsedResponse(
        (
            ResponseItem(ACCEPTED, "b8bfb980-357a-4a39-863a-1b27c1f191d5", "ACK", "1801", advice),
            ResponseItem(ACCEPTED, "5f019c1e-e2ae-4dc7-b52d-3c748e96c97e", "ACK", "1801", advice),
        )
    )


def test_the_documented_codes_are_these_and_only_one_accepts() -> None:
    refusing = {"1804", "1806", "1807", "1808", "1809", "1902", "1903", "6000", "6001", "6002"}
    refusing |= {"4001", "4002", "4003", "4004"}
    assert {code: item_status for code, (item_status, _) in BROADCAST_CODES.items()} == {
        "1801": ACCEPTED,
        **dict.fromkeys(refusing, REFUSED),
    }


@pytest.mark.parametrize("written", [int, str])
@pytest.mark.parametrize("code", BROADCAST_CODES)
def test_a_code_means_the_same_as_number_or_text_of_a_recipient_or_of_the_whole(
    code: str, written: type[int] | type[str]
) -> None:
    item_status, advice = BROADCAST_CODES[code]
    recipient = {"id": "ref-1", "mobile": "2348181234567", "status": "ACK"}
    expected = ResponseItem(item_status, "ref-1", "ACK", code, advice)
    given: list[dict[str, Any]] = [
        {"recipients": [recipient | {"code": written(code)}]},
        {"recipients": [recipient], "code": written(code)},
    ]
    for body in given:
        assert CECULA.interpret(response(body)).items == (expected,)
    nobody: list[dict[str, Any]] = [{}, {"recipients": []}, {"recipients": None}]
    for body in nobody:
        parsed = CECULA.interpret(response(body | {"code": written(code)}))
        assert parsed.items == (ResponseItem(item_status, None, None, code, advice),)


@pytest.mark.parametrize("code", [0, -1801, 1802, 18_010, "01801", "18O1", "ACK", "", None, True, 1801.0, [1801], {}])
def test_any_other_code_is_never_taken_for_an_acceptance(code: object) -> None:
    recipient = {"id": "ref-1", "status": "ACK", "code": code}
    assert [kind for kind, _, _ in items({"recipients": [recipient]})] == [UNKNOWN]
    if code is not None:
        assert [kind for kind, _, _ in items({"recipients": [recipient], "code": 1801})] == [UNKNOWN]
        assert [kind for kind, _, _ in items({"code": code})] == [UNKNOWN]
        assert [kind for kind, _, _ in items({"recipients": [recipient | {"code": 1801}], "code": code})] == [UNKNOWN]


def test_an_answer_that_contradicts_itself_is_never_taken_for_an_acceptance() -> None:
    body = {"recipients": [{"id": "a", "code": 1801}, {"id": "b", "code": 1806}, {"id": "c"}], "code": 1804}
    assert items(body) == [(UNKNOWN, "a", "1801"), (REFUSED, "b", "1806"), (REFUSED, "c", "1804")]
    [doubtful, *_] = CECULA.interpret(response(body)).items
    assert doubtful.detail == f"The answer contradicts itself; as a whole it says: 1804 {BROADCAST_CODES['1804'][1]}"


def test_a_recipients_own_refusal_stands_against_the_acceptance_of_the_whole() -> None:
    assert items({"recipients": [{"id": "a", "code": 1801}, {"code": "1806"}], "code": "1801"}) == [
        (ACCEPTED, "a", "1801"),
        (REFUSED, None, "1806"),
    ]


def test_a_recipient_that_cannot_be_read_costs_none_of_the_others() -> None:
    body = {"recipients": [None, "2348", {"id": "a", "code": 1801}, {"id": {}, "code": 1801}, {"id": 7, "code": 1801}]}
    assert items(body) == [
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
def test_an_answer_without_recipients_or_code_is_a_problem(body: bytes) -> None:
    parsed = CECULA.interpret(response(body))
    assert parsed.items == ()
    assert parsed.problem


@pytest.mark.parametrize("api", ALL)
@given(body=bodies, status=st.integers(100, 599))
def test_nothing_in_an_answer_makes_interpret_raise(api: CeculaApi, body: bytes, status: int) -> None:
    parsed = api.interpret(response(body, status))
    assert bool(parsed.items) == (parsed.problem is None)
    for item in parsed.items:
        assert item.item_status is not ACCEPTED or item.code in {"1801", None if api is SYNC else "1801"}
        assert all(text != "" for text in (item.reference, item.code, item.provider_status))


# Answers of the older API and of Sync


def test_the_older_a2p_answer_makes_one_job_of_the_group_and_tells_who_was_turned_down() -> None:
    declined = DOCUMENTED_A2P | {"declined": ["2348090000002"], "declineReason": "DND", "invalid": ["0", "1"]}
    assert OLDER_API.interpret(response(DOCUMENTED_A2P)).items == (
        ResponseItem(ACCEPTED, "4982953", "sent", "1801", LEGACY_CODES["1801"][1]),
    )
    _, *turned_down = OLDER_API.interpret(response(declined)).items
    assert turned_down == [
        ResponseItem(REFUSED, None, "declined", None, "Declined: DND"),
        ResponseItem(REFUSED, None, "invalid", None, "Invalid recipient."),
        ResponseItem(REFUSED, None, "invalid", None, "Invalid recipient."),
    ]


def test_the_older_p2p_answer_makes_a_job_of_each_recipient() -> None:
    assert items(DOCUMENTED_P2P, OLDER_API) == [(ACCEPTED, "5990", "1801"), (ACCEPTED, "5991", "1801")]
    mixed = DOCUMENTED_P2P | {"sentTo": [{"id": 5990}, {}, "x"], "declined": ["2349"]}
    assert items(mixed, OLDER_API) == [
        (ACCEPTED, "5990", "1801"),
        (ACCEPTED, None, "1801"),
        (ACCEPTED, None, "1801"),
        (REFUSED, None, None),
    ]


def test_an_older_answer_that_was_sent_to_nobody_accepts_nobody() -> None:
    assert items(DOCUMENTED_A2P | {"sentTo": [], "declined": ["2348"]}, OLDER_API) == [(REFUSED, None, None)]
    assert items(DOCUMENTED_A2P | {"sentTo": []}, OLDER_API) == [(UNKNOWN, "4982953", "1801")]


@pytest.mark.parametrize("change", [{"code": "1804"}, {"code": "1"}, {"code": None}, {"error": "so"}, {"error": {}}])
def test_an_older_answer_in_doubt_is_never_taken_for_an_acceptance(change: dict[str, Any]) -> None:
    for body in (DOCUMENTED_A2P, DOCUMENTED_P2P):
        assert {kind for kind, _, _ in items(body | change, OLDER_API)} == {UNKNOWN}


@pytest.mark.parametrize("code", [code for code in LEGACY_CODES if code.startswith("CE")])
def test_an_error_of_the_older_api_has_its_documented_meaning(code: str) -> None:
    item_status, meaning = LEGACY_CODES[code]
    assert item_status is (ItemStatus.RETRY if code == "CE1013" else REFUSED)
    assert OLDER_API.interpret(response({"error": "so", "code": code})).items == (
        ResponseItem(item_status, None, None, code, meaning),
    )


def test_an_error_without_documented_meaning_is_told_in_its_own_words() -> None:
    [item] = OLDER_API.interpret(response({"error": "Invalid PIN Ref", "code": "CE2000"})).items
    assert (item.item_status, item.code) == (UNKNOWN, "CE2000")
    assert item.detail == "This code is not documented. It says: Invalid PIN Ref."


@pytest.mark.parametrize("given_ids", [["t-1", "7"], ["t-1", 7], "t-1,7", "t-1 , 7,", [" t-1 ", "", None, {}, "7"]])
def test_sync_answers_with_tracking_ids_in_whatever_form(given_ids: object) -> None:
    assert items({"trackingId": given_ids}, SYNC) == [(ACCEPTED, "t-1", None), (ACCEPTED, "7", None)]


@pytest.mark.parametrize("said", [{"error": "so"}, {"status": "Failed"}, {"code": "CE1013"}, {"code": 9}])
def test_a_sync_answer_in_doubt_is_never_taken_for_an_acceptance(said: dict[str, Any]) -> None:
    assert [kind for kind, *_ in items(said | {"trackingId": "t-1"}, SYNC)] == [UNKNOWN]
    assert ACCEPTED not in [kind for kind, *_ in items(said, SYNC)]


@pytest.mark.parametrize("body", [{}, {"trackingId": None}, {"trackingId": ""}, {"trackingId": True}, []])
def test_a_sync_answer_without_tracking_ids_is_a_problem(body: object) -> None:
    assert SYNC.interpret(response(body)).problem


# Reports


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *STATUSES.items(),
        ("delivrd", JobStatus.SUCCEEDED),
        (" Undeliv ", JobStatus.FAILED),
        ("TELEPORTED", None),
        (7, None),
    ],
)
def test_a_report_tells_the_status_of_a_job_in_our_words(word: str | int, status: JobStatus | None) -> None:
    assert reports({"id": "ref-1", "status": word, "code": 0, "more": []}) == [
        StatusReport("ref-1", status, provider_status=str(word), code="0")
    ]


def test_the_words_are_these() -> None:
    words = {
        JobStatus.IN_PROGRESS: "ACCEPTD ACCEPTED ACK BUFFERED ENROUTE PENDING QUEUED SENT SUBMITTED",
        JobStatus.SUCCEEDED: "DELIVERED DELIVRD",
        JobStatus.FAILED: "DELETED EXPIRED FAILED REJECTD REJECTED UNDELIV UNDELIVERABLE UNDELIVERED",
    }
    assert {word: status for status, each in words.items() for word in each.split()} == STATUSES


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda given: given,
        lambda given: {"reports": given},
        lambda given: {"status": "ok", "numbers": [1], "empty": [], "data": given},
        lambda given: {"id": "callback-7", "data": given},
    ],
)
def test_reports_come_in_an_array_or_in_an_object_that_holds_one(wrapped: Any) -> None:
    given_reports = [{"id": f"ref-{number}", "status": "SENT"} for number in range(3)]
    assert [report.reference for report in reports(wrapped(given_reports))] == ["ref-0", "ref-1", "ref-2"]


def test_fields_and_words_are_configurable() -> None:
    paths = ReportFields(
        items="events[].reports[]",
        reference="message.ref",
        status="dlr.state || state",
        code="dlr.err",
        occurred_at="at",
        detail="dlr.why",
    )
    api = cecula(report_fields=paths, statuses={"Landed": JobStatus.SUCCEEDED})
    first = {
        "message": {"ref": 7},
        "dlr": {"state": "LANDED", "err": 5, "why": "so"},
        "at": "2026-11-23T13:00:00+01:00",
    }
    second = {"message": {"ref": "8"}, "state": "DELIVRD", "at": "yesterday"}
    body = {"events": [{"reports": [first]}, {"reports": [second]}]}
    assert reports(body, api) == [
        StatusReport("7", JobStatus.SUCCEEDED, "LANDED", code="5", detail="so", occurred_at=NOON),
        StatusReport("8", None, "DELIVRD"),
    ]


@pytest.mark.parametrize("field", ["items", "reference", "status", "code", "occurred_at", "detail"])
def test_a_path_that_is_none_is_refused_at_once(field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: not JMESPath"):
        ReportFields(**{field: "a["})


def test_a_path_that_fails_on_what_was_sent_finds_nothing() -> None:
    api = cecula(report_fields=ReportFields(items="max(@)", detail="join('', @)"))
    assert reports({"id": "a", "status": "SENT"}, cecula(report_fields=ReportFields(detail="join('', @)")))
    with pytest.raises(MalformedCallback):
        parse([{}, 1], api)


def test_a_bad_report_takes_none_of_the_others_with_it() -> None:
    good = {"id": "ref-1", "status": "SENT"}
    parsed = parse([good, {"id": "ref-2"}, None, good | {"id": ""}, good | {"id": "nul\0"}, good | {"id": 3}])
    assert [(index, report.reference) for index, report in parsed.reports] == [(0, "ref-1"), (5, "3")]
    assert {place: set(fields) for place, fields in parsed.errors.items()} == {
        "1": {"status"},
        "2": {"reference", "status"},
        "3": {"reference"},
        "4": {"reference"},
    }


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[" * 100_000, b"null", b"7", b'"DELIVRD"', [], {}, [[]], {"id": "a"}, {"a": [{}], "b": [{}]}],
)
def test_a_callback_without_any_report_is_malformed(body: object) -> None:
    with pytest.raises(MalformedCallback) as caught:
        parse(body)
    assert caught.value.errors


@pytest.mark.parametrize("api", ALL)
@given(body=bodies)
def test_nothing_in_a_callback_makes_parse_raise_anything_else(api: CeculaApi, body: bytes) -> None:
    try:
        parsed = parse(body, api)
    except MalformedCallback as error:
        parsed = ParsedReports((), error.errors)
    assert parsed.reports or parsed.errors
    assert orjson.loads(orjson.dumps(parsed.errors)) == parsed.errors
    assert all(report.reference and report.provider_status for _, report in parsed.reports)


# Polls and checks


def test_nothing_is_polled_where_no_path_is_known() -> None:
    assert [api.can_poll for api in ALL] == [False, False, True]
    with pytest.raises(ValueError, match="poll_path"):
        CECULA.compose_poll("ref-1", None)
    assert CECULA.compose_poll("ref-1", "/api/status/1").target == "/api/status/1"


def test_a_poll_asks_by_reference() -> None:
    polled = cecula(poll_path="/sms/reports/{reference}?full=1").compose_poll("a/b c", None)
    assert (polled.method, polled.target) == ("GET", "/api/sms/reports/a%2Fb%20c?full=1")
    assert SYNC.compose_poll("t-1", None).target == "/sync/api/sent-sms-status/t-1"
    assert SYNC.compose_poll("t-1", None).headers["authorization"] == "Bearer CCL.key"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"trackingId": "t-1", "status": "DELIVERED"}, JobStatus.SUCCEEDED),
        ({"status": "failed"}, JobStatus.FAILED),
        ([{"trackingId": "t-0", "status": "FAILED"}, {"trackingId": "t-1", "status": "SENT"}], JobStatus.IN_PROGRESS),
        ({"status": "TELEPORTED"}, None),
    ],
)
def test_a_poll_reads_the_state_of_the_job_that_was_asked_about(body: object, status: JobStatus | None) -> None:
    report = SYNC.interpret_poll("t-1", response(body))
    assert report
    assert (report.reference, report.status) == ("t-1", status)


@pytest.mark.parametrize(
    "body", [b"", b"null", {}, [], {"trackingId": "t-2", "status": "SENT"}, [{"status": "SENT"}] * 2]
)
def test_a_poll_that_does_not_speak_of_the_job_says_nothing(body: object) -> None:
    assert SYNC.interpret_poll("t-1", response(body)) is None
    assert SYNC.interpret_poll("t-1", response({"status": "DELIVERED"}, 404)) is None


@pytest.mark.parametrize("api", ALL)
@given(body=bodies)
def test_nothing_in_the_answer_to_a_poll_or_check_makes_it_raise(api: CeculaApi, body: bytes) -> None:
    read = api.interpret_poll("ref", response(body))
    assert read is None or read.reference == "ref"
    assert all(api.read_check(name, response(body)).isprintable() for name in api.compose_checks())


def test_the_checks_ask_for_the_balance_and_the_sender_names() -> None:
    checks = {name: (check.method, check.target) for name, check in CECULA.compose_checks().items()}
    assert checks == {"balance": ("GET", "/api/sms/check-balance"), "sender names": ("GET", "/api/sms/identities")}
    assert OLDER_API.compose_checks()["balance"].target == "/account/a2pbalance"
    assert SYNC.compose_checks()["balance"].target == "/sync/api/cecula-balance"
    assert CECULA.compose_checks()["balance"].headers["authorization"] == "Bearer CCL.key"


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
def test_a_check_is_told_in_a_line(name: str, body: object, status: int, line: str) -> None:
    assert CECULA.read_check(name, response(body, status)) == line
