"""`/v1/providers` and `/v1/stats` over real HTTP."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import ANY
from uuid import uuid4

from receiver.domain.jobs import EventSource, JobStatus, build_unresolved_event, derive_job_id
from receiver.domain.limits import ProviderLimits
from receiver.reconcile import reconcile
from receiver.signatures.base import fingerprint_secret
from receiver.store.connections import Connection
from receiver.store.limits import ProviderCapacity, insert_providers, save_limits
from receiver.store.providers import CredentialRefusal, refuse_credentials
from receiver.store.requests import NewRequest, claim_requests, submit_requests
from receiver.store.stats import ATTENTION_KINDS
from receiver.web.app import create_app
from receiver.web.context import get_app_context
from tests.support.api_calls import create_key, create_request, is_now, send
from tests.support.factories import NOON, SECRET, event, settings
from tests.support.factories import provider as build_provider
from tests.support.http import Json, Server, build_report
from tests.support.processes import ADMIN_KEY


def get_provider(api: Server, name: str) -> Json:
    page = api.call("GET", "/v1/providers").json
    assert page["next_cursor"] is None
    provider: Json = next(item for item in page["items"] if item["name"] == name)
    return provider


def test_providers_are_listed_with_callback_urls(api: Server) -> None:
    page = api.call("GET", "/v1/providers").json
    configured = [item for item in page["items"] if item["configured"]]
    names = ["another", "by-attempt", "sandbox", "signing-urls", "silent", "tokened"]
    assert [item["name"] for item in configured] == names
    another = get_provider(api, "another")
    expected = {
        "name": "another",
        "configured": True,
        "operations": ["send"],
        "paused": False,
        "paused_at": None,
        "pause_reason": None,
        "pause_cause": None,
        "callback_url": "https://receiver.example/callbacks/another",
        "trust": "signature",
        "proof": "The signature covers everything that decides about a job.",
        "max_concurrency": 16,
        "max_per_second": None,
        "circuit": "closed",
        "held_until": None,
        "per_second": None,
    }
    assert {name: another[name] for name in expected} == expected
    assert [secret["fingerprint"] for secret in another["secrets"]] == [fingerprint_secret(SECRET)]


def test_url_token_is_shown_to_admins_only(api: Server) -> None:
    assert get_provider(api, "tokened")["trust"] == "sender"
    assert get_provider(api, "tokened")["callback_url"].endswith("/callbacks/tokened/an-unguessable-end-of-the-url")
    body = send(api, "GET", "/v1/providers", key=create_key(api, scopes=["read"])).body
    assert b"/callbacks/tokened/[redacted]" in body
    assert b"unguessable" not in body


def test_provider_shows_last_callback_and_missing_rate(api: Server, web_connection: Connection) -> None:
    silent = event(f"ref-{uuid4().hex}", JobStatus.FAILED, source=EventSource.POLL, actor=build_provider(name="silent"))
    reconcile(web_connection, [silent])
    assert get_provider(api, "silent")["missing_callback_rate"] == 1.0
    assert api.call_back(build_report(f"ref-{uuid4().hex}")).status == 200
    sandbox = get_provider(api, "sandbox")
    assert is_now(sandbox["last_callback_at"])
    assert 0.0 <= sandbox["missing_callback_rate"] <= 1.0
    assert api.call_back(build_report(silent.reference), name="silent").status == 200
    assert get_provider(api, "silent")["missing_callback_rate"] == 0.0


def test_pause_and_resume_are_idempotent(api: Server, web_connection: Connection) -> None:
    for _ in range(2):
        response = send(api, "POST", "/v1/providers/sandbox/pause", {"reason": "they told us of an outage"})
        assert response.status == 200
        # A callback of another test may have used a secret; that is written a second later.
        assert response.json | {"secrets": ANY} == get_provider(api, "sandbox")
        assert response.json["paused"] is True
        assert is_now(response.json["paused_at"])
        assert response.json["pause_reason"] == "paused by bootstrap: they told us of an outage"
        assert response.json["pause_cause"] == "operator"
    assert get_provider(api, "another")["paused"] is False
    for _ in range(2):
        response = send(api, "POST", "/v1/providers/sandbox/resume")
        assert (response.status, response.json["paused"], response.json["pause_reason"]) == (200, False, None)
    actions = web_connection.execute(
        "SELECT action, actor, reason FROM actions WHERE subject = 'sandbox' ORDER BY created_at"
    ).fetchall()
    assert actions == [("pause", "bootstrap", "they told us of an outage")] * 2 + [("resume", "bootstrap", None)] * 2


def test_credentials_pause_is_shown_and_resumed(api: Server, web_connection: Connection) -> None:
    refuse_credentials(web_connection, [CredentialRefusal("silent", "0123456789abcdef", "401: no")])
    paused = get_provider(api, "silent")
    assert (paused["paused"], paused["pause_reason"], paused["pause_cause"]) == (True, "401: no", "credentials")
    assert is_now(paused["paused_at"])
    resumed = send(api, "POST", "/v1/providers/silent/resume").json
    assert (resumed["paused"], resumed["pause_cause"]) == (False, None)


def test_removed_provider_is_listed_while_it_needs_attention(api: Server, web_connection: Connection) -> None:
    name = f"removed-{uuid4().hex}"
    queued, unknown, done = (
        NewRequest(uuid4(), name, "send", {}, {}, NOON + timedelta(days=36_500), None, 60.0) for _ in range(3)
    )
    submit_requests(web_connection, [queued, unknown, done])
    set_status = "UPDATE requests SET status = %s, due_at = NULL, finished_at = %s WHERE id = %s"
    web_connection.execute(set_status, ["unknown", None, unknown.id])
    web_connection.execute(set_status, ["completed", NOON, done.id])
    opened = event(
        f"ref-{uuid4().hex}",
        JobStatus.IN_PROGRESS,
        request_id=done.id,
        actor=build_provider(name=name),
    )
    reconcile(web_connection, [opened])
    listed = get_provider(api, name)
    assert (listed["configured"], listed["operations"], listed["callback_url"]) == (False, [], None)
    assert listed["attention"] == dict.fromkeys(ATTENTION_KINDS, 0) | {"unknown": 1, "unconfigured": 2}
    stats = send(api, "GET", f"/v1/stats?provider={name}").json["providers"][0]
    assert (stats["configured"], stats["attention"]) == (False, listed["attention"])
    key = create_key(api, scopes=["read"], providers=["another"])
    assert [item["name"] for item in send(api, "GET", "/v1/providers", key=key).json["items"]] == ["another"]
    assert send(api, "POST", f"/v1/providers/{name}/pause").status == 404

    reason = {"reason": "we left them"}
    assert send(api, "POST", f"/v1/requests/{queued.id}/cancel", reason).status == 200
    for action in ("retry", "send-now"):
        response = send(api, "POST", f"/v1/requests/{queued.id}/{action}", reason)
        assert response.status == 409
        assert "not configured" in response.json["detail"]
    resolution = {"status": "rejected", **reason}
    assert send(api, "POST", f"/v1/requests/{unknown.id}/resolve", resolution).status == 200
    assert send(api, "POST", f"/v1/jobs/{opened.job_id}/poll").status == 409
    assert send(api, "POST", f"/v1/jobs/{opened.job_id}/resolve", {"status": "failed", **reason}).status == 200
    assert name not in [item["name"] for item in send(api, "GET", "/v1/providers").json["items"]]
    assert [item["name"] for item in send(api, "GET", f"/v1/stats?provider={name}").json["providers"]] == [name]


def test_attention_is_counted_by_provider_and_in_total(api: Server, web_connection: Connection) -> None:
    before, everything = get_provider(api, "tokened")["attention"], send(api, "GET", "/v1/stats").json["attention"]
    actor = build_provider(name="tokened")
    unmatched, disputed, overdue = (f"{prefix}-{uuid4().hex}" for prefix in ("unmatched", "disputed", "overdue"))
    accepted = event(overdue, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=uuid4(), actor=actor)
    first_event = event(disputed, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=uuid4(), actor=actor)
    reconcile(
        web_connection,
        [
            event(unmatched, JobStatus.SUCCEEDED, actor=actor),
            first_event,
            event(disputed, JobStatus.SUCCEEDED, at=1, actor=actor),
            event(disputed, JobStatus.FAILED, at=2, actor=actor),
            accepted,
            build_unresolved_event(accepted.job_id, actor.name, overdue, NOON, "deadline passed"),
        ],
    )
    for _ in range(2):
        request = create_request(api, provider="tokened")
        web_connection.execute("UPDATE requests SET status = 'unknown', due_at = NULL WHERE id = %s", [request["id"]])
    conflicting = create_request(api, provider="tokened")
    web_connection.execute(
        """UPDATE requests SET status = 'accepted', due_at = NULL, conflict_deadline_at = now() + interval '1 day'
        WHERE id = %s""",
        [conflicting["id"]],
    )
    for verdict, number in (("invalid", 3), ("unmapped", 1), ("accepted", 1), ("refused", 1)):
        for _ in range(number):
            web_connection.execute(
                """INSERT INTO callbacks
                    (id, identity, provider, received_at, verdict, method, target, headers, body, errors)
                VALUES (gen_random_uuid(), gen_random_uuid(), 'tokened', now(), %s, 'POST', '/', '{}', '', '{}')""",
                [verdict],
            )
    added = {"unmatched": 1, "unmapped": 1, "invalid": 3, "disputed": 1, "unresolved": 1}
    added |= {"unknown": 2, "reference_conflict": 1}
    expected = before | {kind: before[kind] + number for kind, number in added.items()}
    assert get_provider(api, "tokened")["attention"] == expected
    stats = send(api, "GET", "/v1/stats?provider=tokened").json
    assert stats["attention"] == stats["providers"][0]["attention"] == expected
    after = send(api, "GET", "/v1/stats").json
    assert after["attention"] == everything | {kind: everything[kind] + number for kind, number in added.items()}
    for kind, number in after["attention"].items():
        assert number == sum(item["attention"][kind] for item in after["providers"])


def test_pause_stops_sending_but_not_submitting(api: Server, web_connection: Connection) -> None:
    api.call("POST", "/v1/providers/another/pause")
    request = create_request(api, provider="another")
    assert claim_requests(web_connection, [ProviderCapacity("another", 100)], {"another": 60.0}) == []
    api.call("POST", "/v1/providers/another/resume")
    attempts = claim_requests(web_connection, [ProviderCapacity("another", 100)], {"another": 60.0})
    assert request["id"] in {str(attempt.request_id) for attempt in attempts}


def test_stats_of_providers_add_up(api: Server, web_connection: Connection) -> None:
    name = f"p{uuid4().hex[:8]}"
    actor = build_provider(name=name)
    reconcile(
        web_connection,
        [
            event("done", JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=uuid4(), at=0, actor=actor),
            event("done", JobStatus.SUCCEEDED, at=30, actor=actor),
            event("both", JobStatus.SUCCEEDED, at=0, actor=actor),
            event("both", JobStatus.FAILED, at=10, actor=actor),
            event("open", JobStatus.ACCEPTED, at=5, actor=actor),
            event("later", JobStatus.IN_PROGRESS, at=9, actor=actor),
        ],
    )
    stats = send(api, "GET", f"/v1/stats?provider={name}").json
    (provider_stats,) = stats["providers"]
    assert provider_stats["jobs"] == stats["jobs"] == {"succeeded": 2, "accepted": 1, "in_progress": 1}
    assert (provider_stats["requests"], provider_stats["disputed"], provider_stats["unmatched"]) == ({}, 1, 3)
    assert (provider_stats["seconds_to_final"]["jobs"], provider_stats["seconds_to_final"]["p50"]) == (2, 15.0)
    assert (provider_stats["oldest_open_job"]["reference"], provider_stats["oldest_open_job"]["id"]) == (
        "open",
        str(derive_job_id(name, "open")),
    )
    everything = send(api, "GET", "/v1/stats").json
    for kind in ("requests", "jobs"):
        for status, number in everything[kind].items():
            assert number == sum(item[kind].get(status, 0) for item in everything["providers"])


def test_restricted_key_sees_its_providers_stats_only(api: Server) -> None:
    key = create_key(api, providers=["another"])
    assert [item["name"] for item in send(api, "GET", "/v1/stats", key=key).json["providers"]] == ["another"]
    assert [item["name"] for item in send(api, "GET", "/v1/providers", key=key).json["items"]] == ["another"]
    assert send(api, "GET", "/v1/stats?provider=sandbox", key=key).json["providers"] == []
    admin = create_key(api, providers=["another"], scopes=["admin"])
    assert send(api, "POST", "/v1/providers/sandbox/pause", key=admin).status == 404


def test_open_circuit_and_reduced_rate_are_shown(api: Server, web_connection: Connection) -> None:
    insert_providers(web_connection, ["silent"])
    until = datetime.now(UTC) + timedelta(seconds=60)
    failing = ProviderLimits("silent", rate=2.5, full_rate=10.0, failures=20, consecutive_openings=1, open_until=until)
    try:
        save_limits(web_connection, [failing])
        silent = get_provider(api, "silent")
        assert (silent["circuit"], silent["per_second"]) == ("open", 2.5)
        assert datetime.fromisoformat(silent["held_until"]) == until
        save_limits(web_connection, [replace(failing, probing=True)])
        silent = get_provider(api, "silent")
        assert (silent["circuit"], silent["held_until"]) == ("half_open", None)
    finally:
        save_limits(web_connection, [ProviderLimits("silent")])


def test_provider_without_callbacks_has_no_url(web_dsn: str, tmp_path: Path) -> None:
    only_sends = replace(build_provider(name="only-sends"), callbacks=None)
    app = create_app(replace(settings(web_dsn, tmp_path, {"only-sends": only_sends}), admin_key=ADMIN_KEY))
    with closing(get_app_context(app)):
        client = app.test_client()
        page: Json = client.get("/v1/providers", headers={"authorization": f"Bearer {ADMIN_KEY}"}).get_json()
        configured = [item for item in page["items"] if item["configured"]]
        assert [(item["callback_url"], item["operations"]) for item in configured] == [(None, ["send"])]
        assert client.post("/callbacks/only-sends", json={}).status_code == 404
        assert [*client.get("/openapi.json").get_json()["webhooks"]] == ["callback"]
