"""The sandbox's ledger: double sends, lost responses and jobs, and totals."""

import time
from http.client import RemoteDisconnected

import pytest

from receiver.sandbox.scripts import (
    CallbackKind,
    State,
)
from tests.support.processes import wait_for
from tests.support.sandbox import (
    SEED,
    CallbackServer,
    Sandbox,
    find_reference,
    match_callback,
    match_response,
    running_sandbox,
    wait_for_deliveries,
)


def test_repeat_without_key_is_a_double_send(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    reference = find_reference("twice", match_response("202"))
    before = sandbox.ledger()["double_sends"]
    assert (
        sandbox.send(reference, callback_server.url).references
        != sandbox.send(reference, callback_server.url).references
    )
    assert sandbox.ledger()["double_sends"] == before + 1
    assert sandbox.request(reference)["executions"] == 2


@pytest.mark.parametrize("kind", ["dropped then 202", "hung then 202", "504 then 202"])
def test_lost_response_without_key_is_expected_unknown(
    sandbox: Sandbox, callback_server: CallbackServer, kind: str
) -> None:
    reference = find_reference("unknown", match_response(kind))
    try:
        assert sandbox.send(reference, callback_server.url, timeout=0.5).status == 504
    except (TimeoutError, RemoteDisconnected):
        assert [job["matched"] for job in sandbox.jobs(reference)] == [False]
        wait_for_deliveries(callback_server, 2)
    assert sandbox.request(reference)["expected"] == "unknown"


def test_lost_job_is_final_when_polled(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    reference = find_reference("lost", match_callback(CallbackKind.LOST, State.DELIVERED))
    (job,) = sandbox.send(reference, callback_server.url).references
    assert sandbox.state(job) == "SENT"
    wait_for(lambda: sandbox.state(job) == "DELIVERED")
    assert callback_server.deliveries == []


def test_silent_job_stays_unresolved(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    reference = find_reference("silent", match_callback(CallbackKind.SILENT))
    (job,) = sandbox.send(reference, callback_server.url).references
    time.sleep(1)
    assert sandbox.state(job) == "SENT"
    assert sandbox.jobs(reference)[0]["expected"] == "unresolved"
    assert callback_server.deliveries == []


def test_totals_count_pending_and_sent_callbacks(callback_server: CallbackServer) -> None:
    with running_sandbox() as sandbox:
        sandbox.send(find_reference("pending", match_callback(CallbackKind.FORGED)), callback_server.url)
        assert sandbox.ledger()["pending"] == 1
        wait_for(lambda: sandbox.ledger()["pending"] == 0)
        totals = sandbox.call("GET", "/ledger/totals").body
    assert totals == {
        "seed": SEED,
        "pending": 0,
        "requests": 1,
        "jobs": 1,
        "forged": 3,
        "callbacks": {"sent": 4, "by_status": {"401": 3, "200": 1}, "undelivered": 0},
        "double_sends": 0,
    }
