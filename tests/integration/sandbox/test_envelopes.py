"""Forged and malformed callbacks, as the `standardwebhooks` library verifies them."""

import pytest

from receiver.sandbox.scripts import (
    CallbackKind,
    State,
)
from tests.support.sandbox import CallbackServer, Sandbox, find_reference, match_callback, wait_for_deliveries


@pytest.mark.parametrize(
    ("state", "false_state", "status"),
    [(State.DELIVERED, "UNDELIVERED", "failed"), (State.UNDELIVERED, "DELIVERED", "succeeded")],
)
def test_forged_callbacks_do_not_verify_and_are_recorded(
    sandbox: Sandbox, callback_server: CallbackServer, state: State, false_state: str, status: str
) -> None:
    (job,) = sandbox.send(
        find_reference(f"forged-{state}", match_callback(CallbackKind.FORGED, state)), callback_server.url
    ).references
    *forged, true = wait_for_deliveries(callback_server, 4)
    assert [(incoming.signed, incoming.states) for incoming in forged] == [(False, [false_state])] * 3
    assert (true.signed, true.states) == (True, [state])
    assert len({incoming.headers["webhook-id"] for incoming in callback_server.deliveries}) == 4
    assert sandbox.forged(job) == [
        {"reference": job, "status": status, "flaw": flaw, "response_status": 401}
        for flaw in ("wrong key", "changed body", "stale timestamp")
    ]


def test_malformed_callbacks_are_signed_and_not_retried(sandbox: Sandbox, callback_server: CallbackServer) -> None:
    sandbox.send(find_reference("malformed", match_callback(CallbackKind.MALFORMED)), callback_server.url)
    received = wait_for_deliveries(callback_server, 3)
    assert [(incoming.signed, incoming.status) for incoming in received] == [(True, 400), (True, 400), (True, 200)]
