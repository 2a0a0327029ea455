"""Responses of the sandbox to messages, as a real process over HTTP."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import RemoteDisconnected

import pytest

from receiver.sandbox.scripts import (
    PLAIN_RESPONSE,
    SPECIAL_RESPONSES,
)
from tests.support.sandbox import CallbackServer, Sandbox, find_reference, match_response

RESPONSES = {
    "200 mixed": (200, 200, "accepted"),
    "200 refused": (200, 200, "rejected"),
    "200 delivered": (200, 200, "completed"),
    "200 unknown code": (200, 200, "unknown"),
    "200 busy then 202": (200, 202, "accepted"),
    "201": (201, 201, "accepted"),
    "202": (202, 202, "accepted"),
    "202 with hints": (202, 202, "accepted"),
    "202 broadcast": (202, 202, "accepted"),
    "204": (204, 204, "completed"),
    "400": (400, 400, "rejected"),
    "401 then 202": (401, 202, "accepted"),
    "403": (403, 403, "rejected"),
    "404": (404, 404, "rejected"),
    "405": (405, 405, "rejected"),
    "409": (409, 409, "rejected"),
    "422": (422, 422, "rejected"),
    "408 then 202": (408, 202, "accepted"),
    "425 then 202": (425, 202, "accepted"),
    "429 seconds then 202": (429, 202, "accepted"),
    "429 date then 202": (429, 202, "accepted"),
    "500 then 202": (500, 202, "accepted"),
    "502 then 202": (502, 202, "accepted"),
    "503 then 202": (503, 202, "accepted"),
    "504 then 202": (504, 202, "accepted"),
    "507 then 202": (507, 202, "accepted"),
    "523 then 202": (523, 202, "accepted"),
    "500 for ever": (500, 500, "failed"),
    "dropped then 202": (None, 202, "accepted"),
    "hung then 202": (None, 202, "accepted"),
}


def test_table_covers_all_responses() -> None:
    assert set(RESPONSES) == {response.kind for response in (PLAIN_RESPONSE, *SPECIAL_RESPONSES)}


@pytest.mark.parametrize(("kind", "row"), RESPONSES.items())
def test_first_and_second_response_of_each_kind(
    sandbox: Sandbox, callback_server: CallbackServer, kind: str, row: tuple[int | None, int, str]
) -> None:
    first, second, expected = row
    reference = find_reference("row", match_response(kind))
    if first is None:
        with pytest.raises((TimeoutError, RemoteDisconnected)):
            sandbox.send(reference, callback_server.url, key=reference, timeout=0.5)
    else:
        assert sandbox.send(reference, callback_server.url, key=reference).status == first
    assert sandbox.send(reference, callback_server.url, key=reference).status == second
    accepted = 200 <= second < 300
    assert sandbox.request(reference) == {
        "client_reference": reference,
        "response": kind,
        "expected": expected,
        "attempts": 2,
        "executions": int(accepted),
    }


def test_mixed_items_are_accepted_delivered_and_refused(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    reference = find_reference("mixed", match_response("200 mixed"))
    items = sandbox.send(reference, callback_server.url).items
    assert [(item["code"], item["id"] is not None) for item in items] == [
        (1801, True),
        (1800, True),
        (1806, False),
        (1804, False),
    ]
    assert sandbox.state(items[1]["id"]) == "DELIVERED"
    assert [job["reference"] for job in sandbox.jobs(reference)] == [items[0]["id"], items[1]["id"]]


def test_busy_response_opens_no_job(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    reference = find_reference("busy", match_response("200 busy then 202"))
    response = sandbox.send(reference, callback_server.url)
    assert [(item["code"], item["id"]) for item in response.items] == [(1899, None)]
    assert sandbox.jobs(reference) == []


def test_retry_after_has_both_forms(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    seconds = sandbox.send(find_reference("seconds", match_response("429 seconds then 202")), callback_server.url)
    date = sandbox.send(find_reference("date", match_response("429 date then 202")), callback_server.url)
    assert seconds.headers["retry-after"] == "1"
    assert 0 < (parsedate_to_datetime(date.headers["retry-after"]) - datetime.now(UTC)).total_seconds() <= 2


def test_hints_give_poll_url_and_delay(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    response = sandbox.send(find_reference("hints", match_response("202 with hints")), callback_server.url)
    assert response.headers["retry-after"] == "1"
    assert sandbox.call("GET", response.headers["location"]).body["id"] == response.references[0]


def test_same_idempotency_key_acts_once(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    reference = find_reference("idempotent", match_response("202"))
    first, second = (sandbox.send(reference, callback_server.url, key="the same") for _ in range(2))
    assert first.body == second.body
    assert len(sandbox.jobs(reference)) == 1


@pytest.mark.parametrize("kind", ["dropped then 202", "hung then 202"])
def test_withheld_response_is_returned_to_a_repeated_key(
    sandbox: Sandbox, callback_server: CallbackServer, kind: str
) -> None:
    reference = find_reference("withheld", match_response(kind))
    with pytest.raises((TimeoutError, RemoteDisconnected)):
        sandbox.send(reference, callback_server.url, key=reference, timeout=0.5)
    response = sandbox.send(reference, callback_server.url, key=reference)
    (job,) = sandbox.jobs(reference)
    assert response.references == [job["reference"]]
    assert job["matched"]
