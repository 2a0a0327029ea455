"""The callback endpoint by configuration: GET, handshakes, acknowledgements, trust."""

import pytest

from receiver.domain.jobs import derive_job_id
from receiver.store.database import Connection
from tests.support.declared_service import TOKEN, build_state, find_status, post
from tests.support.processes import Web


def test_get_callback_is_parsed_from_its_query(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    for state in ("RUNNING", "DONE"):
        response = declared_web.call("GET", f"/callbacks/getter/{TOKEN}?id={reference}&state={state}")
        assert response.status == 200
    assert find_status(declared_connection, "getter", reference) == "succeeded"
    assert post(declared_web, f"getter/{TOKEN}", build_state(reference)).status == 405


def test_acknowledgement_is_configured_by_provider(declared_web: Web, reference: str) -> None:
    response = post(declared_web, f"adyen/{TOKEN}", build_state(reference))
    assert (response.status, response.body) == (202, b"[accepted]")


def test_handshake_echoes_challenge(declared_web: Web) -> None:
    response = declared_web.call("GET", "/callbacks/meta?t=verify+me&c=1158201444")
    assert (response.status, response.body) == (200, b"1158201444")
    assert response.headers["content-type"].startswith("text/plain")
    assert declared_web.call("GET", "/callbacks/meta?t=verify&c=1").status == 401
    assert declared_web.call("GET", "/callbacks/meta").status == 401


@pytest.mark.parametrize("provider", ["asker", "thin"])
def test_unconfirmed_final_status_only_triggers_poll(
    declared_web: Web, declared_connection: Connection, reference: str, provider: str
) -> None:
    assert post(declared_web, f"{provider}/{TOKEN}", build_state(reference)).status == 200
    row = declared_connection.execute(
        "SELECT status, poll_at <= now() FROM jobs WHERE id = %s", [derive_job_id(provider, reference)]
    ).fetchone()
    assert row == ("accepted", True)
    event = declared_connection.execute(
        "SELECT verdict, provider_status FROM events JOIN callbacks ON callback_id = id WHERE job_id = %s",
        [derive_job_id(provider, reference)],
    ).fetchone()
    assert event == ("accepted", "DONE")
