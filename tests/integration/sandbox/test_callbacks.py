"""Callbacks of each kind, as the `standardwebhooks` library verifies them."""

import time
from datetime import UTC, datetime

import pytest

from receiver.sandbox.scripts import (
    CallbackKind,
    State,
)
from tests.support.processes import wait_for
from tests.support.sandbox import (
    TIMEOUT_S,
    CallbackServer,
    Sandbox,
    find_reference,
    match_callback,
    match_response,
    wait_for_deliveries,
)


def test_normal_job_is_sent_then_final(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    reference = find_reference("normal", match_callback(CallbackKind.NORMAL, State.EXPIRED))
    (job,) = sandbox.send(reference, callback_server.url).references
    assert sandbox.state(job) == "SENT"
    first, final = wait_for_deliveries(callback_server, 2)
    assert (first.states, final.states) == (["SENT"], ["EXPIRED"])
    assert first.signed
    assert final.signed
    assert first.headers["webhook-id"] != final.headers["webhook-id"]
    assert final.headers["content-type"] == "application/json"
    (result,) = final.results
    assert sandbox.call("GET", f"/v1/messages/{job}").body == result
    assert result["id"] == job
    assert result["reason"]
    assert result["at"].endswith("Z")
    assert abs((datetime.fromisoformat(result["at"]) - datetime.now(UTC)).total_seconds()) < TIMEOUT_S
    assert sandbox.jobs(reference)[0] == {
        "reference": job,
        "client_reference": reference,
        "callback": "normal",
        "expected": "failed",
        "disputed": False,
        "matched": True,
    }


def test_early_callback_is_acknowledged_before_the_202(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    callback_server.delay = 0.2
    (job,) = sandbox.send(find_reference("early", match_callback(CallbackKind.EARLY)), callback_server.url).references
    now = time.monotonic()
    (final,) = callback_server.deliveries
    assert final.results[0]["id"] == job
    assert 0 < final.ended < now


@pytest.mark.slow
def test_late_callback_comes_after_seconds(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    (job,) = sandbox.send(find_reference("late", match_callback(CallbackKind.LATE)), callback_server.url).references
    wait_for_deliveries(callback_server, 1)
    assert sandbox.state(job) == "SENT"
    first, final = wait_for_deliveries(callback_server, 2)
    assert first.states == ["QUEUED"]
    assert 3.5 < final.started - first.started < 5.5


def test_duplicate_comes_three_times_two_at_once(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    callback_server.delay = 0.2
    sandbox.send(find_reference("duplicate", match_callback(CallbackKind.DUPLICATE)), callback_server.url)
    first, second, third = wait_for_deliveries(callback_server, 3)
    assert len({(incoming.headers["webhook-id"], incoming.body) for incoming in (first, second, third)}) == 1
    assert max(first.started, second.started) < min(first.ended, second.ended)
    assert third.started > max(first.ended, second.ended)


def test_out_of_order_sends_the_final_state_first(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    sandbox.send(
        find_reference("order", match_callback(CallbackKind.OUT_OF_ORDER, State.DELIVERED)), callback_server.url
    )
    assert [incoming.states for incoming in wait_for_deliveries(callback_server, 2)] == [["DELIVERED"], ["SENT"]]


def test_contradiction_is_disputed_and_first_state_stands(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    reference = find_reference("contradicting", match_callback(CallbackKind.CONTRADICTING))
    (job,) = sandbox.send(reference, callback_server.url).references
    assert [incoming.states for incoming in wait_for_deliveries(callback_server, 2)] == [["DELIVERED"], ["UNDELIVERED"]]
    (entry,) = wait_for(lambda: [entry for entry in sandbox.jobs(reference) if entry["disputed"]])
    assert entry["expected"] == "succeeded"
    assert sandbox.state(job) == "DELIVERED"


def test_broadcast_is_reported_in_one_body(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    references = sandbox.send(
        find_reference("broadcast", match_response("202 broadcast")), callback_server.url
    ).references
    (bulk,) = wait_for_deliveries(callback_server, 1)
    assert [result["id"] for result in bulk.results] == references
    assert len(references) == 5


def test_callback_is_retried_until_acknowledged(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    callback_server.choose_status = lambda incoming: (
        503 if incoming.started - callback_server.deliveries[0].started < 1.1 else 204
    )
    sandbox.send(find_reference("retried", match_callback(CallbackKind.BULK)), callback_server.url)
    wait_for(lambda: [incoming for incoming in callback_server.deliveries if incoming.status == 204])
    assert len({(incoming.headers["webhook-id"], incoming.body) for incoming in callback_server.deliveries}) == 1
    assert len({incoming.headers["webhook-timestamp"] for incoming in callback_server.deliveries}) > 1
    assert all(incoming.signed for incoming in callback_server.deliveries)
