"""Schemas of Cecula: payloads with documented error codes, and lenient responses and reports."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from receiver.schemas.cecula import (
    MAX_RECIPIENTS,
    BroadcastSchema,
    CeculaReportSchema,
    CeculaResponseSchema,
    SyncResponseSchema,
    is_past,
)

BROADCAST = {"recipients": ["2348181234567"], "text": "hello", "sender": "Cecula"}
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "place", "code"),
    [
        ({"recipients": []}, "recipients", "6002"),
        ({"text": ""}, "text", "1809"),
        ({"text": "x" * 1_072}, "text", "1808"),
        ({"sender": None}, "sender", "4001"),
        ({"sender": "twelve chars"}, "sender", "1807"),
        ({"broadcastTime": "2026-11-23T12:00:00"}, "broadcastTime", "1903"),
        ({"broadcastTime": "2026-02-30 12:00:00"}, "broadcastTime", "1903"),
    ],
)
def test_error_begins_with_documented_code(change: dict[str, Any], place: str, code: str) -> None:
    errors = BroadcastSchema().validate(BROADCAST | change)
    assert errors.keys() == {place}
    assert errors[place][0].startswith(f"{code}: ")


def test_error_of_recipient_is_reported_at_its_index() -> None:
    errors: dict[str, Any] = BroadcastSchema().validate(BROADCAST | {"recipients": ["2348181234567", "0812345678"]})
    assert errors["recipients"]["1"][0].startswith("1806: ")


def test_number_of_recipients_is_limited() -> None:
    recipients = ["2348181234567"] * MAX_RECIPIENTS
    assert BroadcastSchema().validate(BROADCAST | {"recipients": recipients}) == {}
    assert BroadcastSchema().validate(BROADCAST | {"recipients": [*recipients, "2348181234567"]}).keys() == {
        "recipients"
    }


@pytest.mark.parametrize(("hours", "past"), [(-13, True), (-11, False), (1, False)])
def test_time_without_zone_is_past_in_every_zone(hours: int, past: bool) -> None:
    text = (NOON + timedelta(hours=hours)).strftime("%F %T")
    assert is_past(text, NOON, None) is past


def test_time_with_zone_is_past_to_the_second() -> None:
    lagos = ZoneInfo("Africa/Lagos")
    assert is_past("2026-11-23 12:59:59", NOON, lagos)
    assert not is_past("2026-11-23 13:00:00", NOON, lagos)


def test_response_of_unexpected_types_is_no_error() -> None:
    assert CeculaResponseSchema().load({"recipients": 7, "code": [1], "more": 1}) == {"recipients": None, "code": ""}
    assert CeculaResponseSchema().load({"code": 1800}) == {"recipients": None, "code": "1800"}


@pytest.mark.parametrize(
    ("value", "ids"), [("a, b,", ["a", "b"]), (7, ["7"]), (["a", 7, None], ["a", "7"]), ({"a": 1}, []), ("", [])]
)
def test_tracking_ids_may_have_any_form(value: object, ids: list[str]) -> None:
    assert SyncResponseSchema().load({"trackingId": value})["tracking_ids"] == ids


def test_report_needs_reference_and_status_only() -> None:
    loaded = CeculaReportSchema().load({"reference": 7, "status": "DELIVRD", "code": {}, "occurred_at": "never"})
    assert loaded == {"reference": "7", "status": "DELIVRD", "code": "", "detail": None, "occurred_at": None}
    assert CeculaReportSchema().validate({"status": None}).keys() == {"reference", "status"}
