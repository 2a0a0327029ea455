"""`/v1/providers` and `/v1/stats` over real HTTP."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from receiver.domain.jobs import EventSource, JobStatus, build_unresolved_event, derive_job_id
from receiver.domain.limits import ProviderLimits
from receiver.reconcile import reconcile
from receiver.signatures.base import fingerprint_secret
from receiver.store.database import Connection
from receiver.store.limits import ProviderCapacity, insert_providers, save_limits
from receiver.store.providers import CredentialRefusal, refuse_credentials
from receiver.store.requests import claim_requests
from tests.factories import NOON, SECRET, event
from tests.factories import provider as named
from tests.http import Json, Server, says
from tests.integration.api.calls import is_now, new_key, send, submitted


def provider_called(api: Server, name: str) -> Json:
    listed = api.call("GET", "/v1/providers").json
    assert listed["next_cursor"] is None
    found: Json = next(item for item in listed["items"] if item["name"] == name)
    return found


def test_providers_are_listed_with_where_they_call_back(api: Server) -> None:
    listed = api.call("GET", "/v1/providers").json
    known = ["another", "by-attempt", "sandbox", "signing-urls", "silent", "tokened"]
    assert [item["name"] for item in listed["items"]] == known
    shown = provider_called(api, "another")
    expected = {
        "name": "another",
        "operations": ["send"],
        "paused": False,
        "paused_at": None,
        "pause_reason": None,
        "pause_cause": None,
        "callback_url": "https://receiver.example/callbacks/another",
        "max_concurrency": 16,
        "max_per_second": None,
        "circuit": "closed",
        "held_until": None,
        "per_second": None,
    }
    assert {name: shown[name] for name in expected} == expected
    assert [secret["fingerprint"] for secret in shown["secrets"]] == [fingerprint_secret(SECRET)]


def test_the_token_of_a_callback_url_is_shown_to_admins_only(api: Server) -> None:
    assert provider_called(api, "tokened")["callback_url"].endswith("/callbacks/tokened/an-unguessable-end-of-the-url")
    listed = send(api, "GET", "/v1/providers", key=new_key(api, scopes=["read"])).body
    assert b"/callbacks/tokened/[redacted]" in listed
    assert b"unguessable" not in listed


def test_a_provider_tells_when_it_last_called_back_and_how_often_it_does_not(
    api: Server, connection: Connection
) -> None:
    silent = event(f"ref-{uuid4().hex}", JobStatus.FAILED, source=EventSource.POLL, actor=named(name="silent"))
    reconcile(connection, [silent])
    assert provider_called(api, "silent")["missing_callback_rate"] == 1.0
    assert api.call_back(says(f"ref-{uuid4().hex}")).status == 200
    shown = provider_called(api, "sandbox")
    assert is_now(shown["last_callback_at"])
    assert 0.0 <= shown["missing_callback_rate"] <= 1.0
    assert api.call_back(says(silent.reference), name="silent").status == 200
    assert provider_called(api, "silent")["missing_callback_rate"] == 0.0


def test_an_operator_pauses_a_provider_and_resumes_it_however_often(api: Server, connection: Connection) -> None:
    for _ in range(2):
        response = send(api, "POST", "/v1/providers/sandbox/pause", {"reason": "they told us of an outage"})
        assert response.status == 200
        assert response.json == provider_called(api, "sandbox")
        assert response.json["paused"] is True
        assert is_now(response.json["paused_at"])
        assert response.json["pause_reason"] == "paused by bootstrap: they told us of an outage"
        assert response.json["pause_cause"] == "operator"
    assert provider_called(api, "another")["paused"] is False
    for _ in range(2):
        response = send(api, "POST", "/v1/providers/sandbox/resume")
        assert (response.status, response.json["paused"], response.json["pause_reason"]) == (200, False, None)
    kept = connection.execute(
        "SELECT action, actor, reason FROM actions WHERE subject = 'sandbox' ORDER BY created_at"
    ).fetchall()
    assert kept == [("pause", "bootstrap", "they told us of an outage")] * 2 + [("resume", "bootstrap", None)] * 2


def test_a_provider_that_refused_our_credentials_says_so_and_is_resumed(api: Server, connection: Connection) -> None:
    refuse_credentials(connection, [CredentialRefusal("silent", "0123456789abcdef", "401: no")])
    shown = provider_called(api, "silent")
    assert (shown["paused"], shown["pause_reason"], shown["pause_cause"]) == (True, "401: no", "credentials")
    assert is_now(shown["paused_at"])
    resumed = send(api, "POST", "/v1/providers/silent/resume").json
    assert (resumed["paused"], resumed["pause_cause"]) == (False, None)


def test_what_needs_attention_is_counted_for_each_provider_and_in_sum(api: Server, connection: Connection) -> None:
    before, everything = provider_called(api, "tokened")["attention"], send(api, "GET", "/v1/stats").json["attention"]
    actor = named(name="tokened")
    unmatched, disputed, overdue = (f"{what}-{uuid4().hex}" for what in ("unmatched", "disputed", "overdue"))
    accepted = event(overdue, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=uuid4(), actor=actor)
    answered = event(disputed, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=uuid4(), actor=actor)
    reconcile(
        connection,
        [
            event(unmatched, JobStatus.SUCCEEDED, actor=actor),
            answered,
            event(disputed, JobStatus.SUCCEEDED, at=1, actor=actor),
            event(disputed, JobStatus.FAILED, at=2, actor=actor),
            accepted,
            build_unresolved_event(accepted.job_id, actor.name, overdue, NOON, "deadline passed"),
        ],
    )
    for _ in range(2):
        request = submitted(api, provider="tokened")
        connection.execute("UPDATE requests SET status = 'unknown', due_at = NULL WHERE id = %s", [request["id"]])
    for verdict, number in (("invalid", 3), ("unmapped", 1), ("accepted", 1), ("refused", 1)):
        for _ in range(number):
            connection.execute(
                """INSERT INTO callbacks
                    (id, identity, provider, received_at, verdict, method, target, headers, body, errors)
                VALUES (gen_random_uuid(), gen_random_uuid(), 'tokened', now(), %s, 'POST', '/', '{}', '', '{}')""",
                [verdict],
            )
    added = {"unmatched": 1, "unmapped": 1, "invalid": 3, "disputed": 1, "unresolved": 1, "unknown": 2}
    needed = {kind: before[kind] + number for kind, number in added.items()}
    assert provider_called(api, "tokened")["attention"] == needed
    stats = send(api, "GET", "/v1/stats?provider=tokened").json
    assert stats["attention"] == stats["providers"][0]["attention"] == needed
    after = send(api, "GET", "/v1/stats").json
    assert after["attention"] == {kind: everything[kind] + number for kind, number in added.items()}
    for kind, number in after["attention"].items():
        assert number == sum(one["attention"][kind] for one in after["providers"])


def test_a_pause_stops_sending_but_not_submitting(api: Server, connection: Connection) -> None:
    api.call("POST", "/v1/providers/another/pause")
    request = submitted(api, provider="another")
    assert claim_requests(connection, [ProviderCapacity("another", 100)], lease=60.0) == []
    api.call("POST", "/v1/providers/another/resume")
    attempts = claim_requests(connection, [ProviderCapacity("another", 100)], lease=60.0)
    assert request["id"] in {str(attempt.request_id) for attempt in attempts}


def test_the_figures_of_each_provider_add_up(api: Server, connection: Connection) -> None:
    name = f"p{uuid4().hex[:8]}"
    actor = named(name=name)
    reconcile(
        connection,
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
    (ours,) = stats["providers"]
    assert ours["jobs"] == stats["jobs"] == {"succeeded": 2, "accepted": 1, "in_progress": 1}
    assert (ours["requests"], ours["disputed"], ours["unmatched"]) == ({}, 1, 3)
    assert (ours["seconds_to_final"]["jobs"], ours["seconds_to_final"]["p50"]) == (2, 15.0)
    assert (ours["oldest_open_job"]["reference"], ours["oldest_open_job"]["id"]) == (
        "open",
        str(derive_job_id(name, "open")),
    )
    everything = send(api, "GET", "/v1/stats").json
    for what in ("requests", "jobs"):
        for status, number in everything[what].items():
            assert number == sum(one[what].get(status, 0) for one in everything["providers"])


def test_a_bound_key_is_told_the_figures_of_its_providers_only(api: Server) -> None:
    key = new_key(api, providers=["another"])
    assert [one["name"] for one in send(api, "GET", "/v1/stats", key=key).json["providers"]] == ["another"]
    assert [one["name"] for one in send(api, "GET", "/v1/providers", key=key).json["items"]] == ["another"]
    assert send(api, "GET", "/v1/stats?provider=sandbox", key=key).json["providers"] == []
    admin = new_key(api, providers=["another"], scopes=["admin"])
    assert send(api, "POST", "/v1/providers/sandbox/pause", key=admin).status == 404


def test_a_provider_that_is_left_alone_and_slowed_down_says_so(api: Server, connection: Connection) -> None:
    insert_providers(connection, ["silent"])
    until = datetime.now(UTC) + timedelta(seconds=60)
    failing = ProviderLimits("silent", rate=2.5, full_rate=10.0, failures=20, consecutive_openings=1, open_until=until)
    try:
        save_limits(connection, [failing])
        shown = provider_called(api, "silent")
        assert (shown["circuit"], shown["per_second"]) == ("open", 2.5)
        assert datetime.fromisoformat(shown["held_until"]) == until
        save_limits(connection, [replace(failing, probing=True)])
        shown = provider_called(api, "silent")
        assert (shown["circuit"], shown["held_until"]) == ("half_open", None)
    finally:
        save_limits(connection, [ProviderLimits("silent")])
