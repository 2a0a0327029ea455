"""`/v1/requests/bulk` over real HTTP: previews, their tokens, and who may act on what."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask

from receiver.schemas.api import bulk_actions as schemas
from receiver.store.connections import Connection
from tests.support.api_calls import UNKNOWN_ID, build_submission, create_key, create_request, send
from tests.support.http import Json, Response, Server, parse_problem

BULK = "/v1/requests/bulk"
FAR_FUTURE = "2126-01-01T00:00:00Z"


@pytest.fixture
def campaign() -> str:
    """Return a value of metadata that no other test uses."""
    return uuid4().hex


def build_call(campaign: str, action: str = "cancel", **fields: Any) -> Json:
    return {"action": action, "filter": {"metadata": {"campaign": campaign}}, "reason": "sent by mistake", **fields}


def submit_many(api: Server, campaign: str, count: int, **overrides: Any) -> list[str]:
    """Submit requests that are not sent during the test, and return their ids."""
    submission = build_submission(metadata={"campaign": campaign}, send_after=FAR_FUTURE) | overrides
    response = send(api, "POST", "/v1/requests/batch", {"requests": [submission] * count})
    assert response.status == 202, response
    return [item["id"] for item in response.json["items"]]


def preview(api: Server, call: Json, **options: Any) -> Json:
    response = send(api, "POST", BULK, {**call, "dry_run": True}, **options)
    assert response.status == 200, response
    return response.json


def carry_out(api: Server, call: Json, token: str, **options: Any) -> Response:
    return send(api, "POST", BULK, {**call, "token": token}, **options)


def count_statuses(api: Server, campaign: str) -> Mapping[str, int]:
    items = send(api, "GET", f"/v1/requests?limit=500&metadata.campaign={campaign}").json["items"]
    statuses = [item["status"] for item in items]
    return {status: statuses.count(status) for status in statuses}


def test_preview_changes_nothing_and_its_token_acts_once(api: Server, campaign: str) -> None:
    ids, call = submit_many(api, campaign, 12), build_call(campaign)
    shown = preview(api, call)
    assert [item["id"] for item in shown["sample"]] == ids[:10]
    assert {name: shown[name] for name in ("action", "count", "applied", "skipped", "remaining")} == {
        "action": "cancel",
        "count": 12,
        "applied": 0,
        "skipped": 0,
        "remaining": 12,
    }
    assert count_statuses(api, campaign) == {"queued": 12}
    submit_many(api, campaign, 1)
    send(api, "POST", f"/v1/requests/{ids[0]}/cancel")
    done = carry_out(api, call, shown["token"]).json
    assert [done[name] for name in ("count", "applied", "skipped", "remaining")] == [12, 11, 1, 0]
    assert {item["status"] for item in done["sample"]} == {"cancelled"}
    assert carry_out(api, call, shown["token"]).json == done
    assert count_statuses(api, campaign) == {"cancelled": 12, "queued": 1}
    [action] = send(api, "GET", f"/v1/requests/{ids[5]}").json["actions"]
    assert (action["actor"], action["action"], action["reason"]) == ("bootstrap", "cancel", "sent by mistake")


def test_empty_preview_is_carried_out(api: Server, campaign: str) -> None:
    call = build_call(campaign)
    shown = preview(api, call)
    assert (shown["count"], shown["sample"]) == (0, [])
    assert carry_out(api, call, shown["token"]).json["remaining"] == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, "token"),
        ({"dry_run": False}, "token"),
        ({"dry_run": True, "token": UNKNOWN_ID}, "token"),
        ({"dry_run": "true"}, "dry_run"),
        ({"token": "abc"}, "token"),
        ({"dry_run": True, "action": "delete"}, "action"),
        ({"dry_run": True, "status": "rejected"}, "status"),
        ({"dry_run": True, "action": "resolve"}, "status"),
        ({"dry_run": True, "action": "resolve", "status": "accepted"}, "status"),
        ({"dry_run": True, "action": "resolve", "status": "failed", "reason": None}, "reason"),
        ({"dry_run": True, "filter": None}, "filter"),
        ({"dry_run": True, "filter": {"metadata": {"order": 7}}}, "filter"),
        ({"dry_run": True, "filter": {"limit": 7}}, "filter"),
    ],
)
def test_invalid_call_is_400_and_names_the_field(api: Server, campaign: str, change: Json, field: str) -> None:
    response = send(api, "POST", BULK, build_call(campaign) | change)
    assert response.status == 400, response
    assert field in parse_problem(response)["errors"]


def test_call_without_token_says_to_preview_first(api: Server, campaign: str) -> None:
    [message] = parse_problem(send(api, "POST", BULK, build_call(campaign)))["errors"]["token"]
    assert "Preview the action first" in message


def test_unknown_token_is_404_with_the_remedy(api: Server, campaign: str) -> None:
    problem = parse_problem(carry_out(api, build_call(campaign), UNKNOWN_ID))
    assert problem["status"] == 404
    assert "Preview the action again" in problem["detail"]


def test_token_of_another_action_or_client_is_refused(api: Server, campaign: str) -> None:
    submit_many(api, campaign, 1)
    token = preview(api, build_call(campaign))["token"]
    assert parse_problem(carry_out(api, build_call(campaign, "send-now"), token))["status"] == 409
    other = create_key(api, scopes=["submit", "read"])
    assert parse_problem(carry_out(api, build_call(campaign), token, key=other))["status"] == 404
    assert count_statuses(api, campaign) == {"queued": 1}


def test_filter_of_another_status_is_409(api: Server, campaign: str) -> None:
    call = build_call(campaign) | {"filter": {"status": "accepted"}, "dry_run": True}
    assert "applies to queued requests" in parse_problem(send(api, "POST", BULK, call))["detail"]


def test_submit_key_acts_on_its_own_requests_only(api: Server, campaign: str) -> None:
    submit_many(api, campaign, 2)
    key = create_key(api, client=f"own-{campaign}", scopes=["submit"])
    colleague = create_key(api, client=f"own-{campaign}", scopes=["submit"])
    submission = build_submission(metadata={"campaign": campaign}, send_after=FAR_FUTURE)
    own = send(api, "POST", "/v1/requests", submission, key=key).json["id"]
    shown = preview(api, build_call(campaign), key=key)
    assert [item["id"] for item in shown["sample"]] == [own]
    assert carry_out(api, build_call(campaign), shown["token"], key=colleague).json["applied"] == 1
    assert count_statuses(api, campaign) == {"queued": 2, "cancelled": 1}


def test_only_admin_resolves_in_bulk(api: Server, campaign: str) -> None:
    call = build_call(campaign, "resolve", status="rejected", dry_run=True)
    response = send(api, "POST", BULK, call, key=create_key(api))
    assert (response.status, "`admin`" in parse_problem(response)["detail"]) == (403, True)
    assert send(api, "POST", BULK, call).status == 200


def test_key_acts_on_its_providers_only(api: Server, campaign: str) -> None:
    submit_many(api, campaign, 1)
    [visible] = submit_many(api, campaign, 1, provider="another")
    key = create_key(api, client=f"two-{campaign}", providers=["another"])
    shown = preview(api, build_call(campaign), key=key)
    assert [item["id"] for item in shown["sample"]] == [visible]
    unrestricted = create_key(api, client=f"two-{campaign}")
    wider = preview(api, build_call(campaign), key=unrestricted)
    assert wider["count"] == 2
    assert carry_out(api, build_call(campaign), wider["token"], key=key).status == 409


def test_too_many_requests_are_refused(app: Flask, api: Server, campaign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    submit_many(api, campaign, 4)
    call, headers = build_call(campaign, dry_run=True), {"authorization": f"Bearer {create_key(api)}"}
    monkeypatch.setattr(schemas, "MAX_BULK_SIZE", 4)
    shown: Json = app.test_client().post(BULK, json=call, headers=headers).get_json()
    assert shown["count"] == 4
    monkeypatch.setattr(schemas, "MAX_BULK_SIZE", 3)
    response = app.test_client().post(BULK, json=call, headers=headers)
    problem: Json = response.get_json()
    assert response.status_code == 400
    assert problem["errors"]["filter"][0].startswith("Matches more than")


def test_request_shows_what_send_now_in_bulk_did(api: Server, campaign: str) -> None:
    [request] = submit_many(api, campaign, 1)
    call = build_call(campaign, "send-now")
    assert carry_out(api, call, preview(api, call)["token"]).json["applied"] == 1
    shown = send(api, "GET", f"/v1/requests/{request}").json
    assert shown["due_at"] < FAR_FUTURE
    assert [action["action"] for action in shown["actions"]] == ["send-now"]


def test_requests_of_removed_provider_are_cancelled_but_not_retried(
    api: Server, web_connection: Connection, campaign: str
) -> None:
    request = create_request(api, metadata={"campaign": campaign}, send_after=FAR_FUTURE)["id"]
    web_connection.execute("UPDATE requests SET provider = 'removed' WHERE id = %s", [UUID(request)])
    for action in ("retry", "send-now"):
        call = build_call(campaign, action) | {"filter": {"provider": "removed"}, "dry_run": True}
        response = send(api, "POST", BULK, call)
        assert "removed is not configured" in parse_problem(response)["detail"]
    call = build_call(campaign)
    assert carry_out(api, call, preview(api, call)["token"]).json["applied"] == 1


@pytest.mark.slow
def test_ten_thousand_requests_are_cancelled_within_5_s(api: Server, web_connection: Connection, campaign: str) -> None:
    name = f"many-{campaign}"
    web_connection.execute(
        """
        INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, due_at,
            notify_url)
        SELECT gen_random_uuid(), %s, 'send', '{}', '{}', 'queued', now(), now() + interval '1 h',
            now() + interval '1 h', 'https://shop.example/hook'
        FROM generate_series(1, 10000)
        """,
        [name],
    )
    call = build_call(campaign) | {"filter": {"provider": name}}
    shown = preview(api, call)
    started_at = time.monotonic()
    done = carry_out(api, call, shown["token"]).json
    assert time.monotonic() - started_at < 5.0
    assert (done["count"], done["applied"], done["remaining"]) == (10_000, 10_000, 0)
