"""Callback authentication: tokens, networks, the sample of refused callbacks, and uses of secrets."""

import json
from base64 import b64encode

import pytest

from receiver.inbound.refusals import MAX_SAMPLES_PER_PROVIDER
from receiver.signatures.base import fingerprint_secret
from receiver.store.connections import Connection
from tests.support.declared_service import (
    BEARER_SECRET,
    KEY,
    OLD_TOKEN,
    TOKEN,
    build_state,
    find_refused,
    find_status,
    hub_signature,
    post,
)
from tests.support.http import parse_problem
from tests.support.processes import Web, wait_for


@pytest.mark.parametrize("token", [TOKEN, OLD_TOKEN])
def test_any_live_token_is_accepted(
    declared_web: Web, declared_connection: Connection, reference: str, token: str
) -> None:
    assert post(declared_web, f"hook/{token}", build_state(reference)).status == 200
    assert find_status(declared_connection, "hook", reference) == "succeeded"


@pytest.mark.parametrize("path", ["hook", "hook/", f"hook/{TOKEN}x", f"hook/{TOKEN}/", "hook/%ff", f"hub/{TOKEN}"])
def test_wrong_token_is_404_without_effect(
    declared_web: Web, declared_connection: Connection, reference: str, path: str
) -> None:
    response = post(declared_web, path, build_state(reference))
    assert response.status == 404
    parse_problem(response)
    assert find_status(declared_connection, path.partition("/")[0], reference) is None


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("203.0.113.7", 200),
        ("2001:db8::1", 200),
        ("::ffff:203.0.113.7", 200),
        ("198.51.100.1, 203.0.113.7", 200),
        ("203.0.113.7, 198.51.100.1", 401),
        ("203.0.113.7, 127.0.0.2", 200),
        ("unknown", 401),
        ("", 401),
    ],
)
def test_allow_from_uses_address_from_trusted_proxies(
    declared_web: Web, declared_connection: Connection, reference: str, forwarded: str, expected: int
) -> None:
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    assert post(declared_web, f"near/{TOKEN}", build_state(reference), headers).status == expected
    assert find_status(declared_connection, "near", reference) == ("succeeded" if expected == 200 else None)


def test_refused_callback_is_stored_with_failed_part(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    body = build_state(reference)
    assert post(declared_web, "hub", body, hub_signature(body, "wrong")).status == 401
    wait_for(lambda: find_refused(declared_connection, body))
    [(_, errors)] = find_refused(declared_connection, body)
    assert list(errors) == ["x-hub-signature-256"]
    assert find_status(declared_connection, "hub", reference) is None


def test_only_a_sample_of_forgeries_is_stored(declared_web: Web, declared_connection: Connection) -> None:
    for number in range(MAX_SAMPLES_PER_PROVIDER + 30):
        assert post(declared_web, "meta", build_state(f"forged-{number}")).status == 401
    last = build_state(f"forged-{MAX_SAMPLES_PER_PROVIDER + 29}")
    wait_for(lambda: find_refused(declared_connection, last))
    count = "SELECT count(*) FROM callbacks WHERE verdict = 'refused' AND provider = 'meta'"
    [(count_stored,)] = declared_connection.execute(count).fetchall()
    assert 1 <= count_stored <= MAX_SAMPLES_PER_PROVIDER


def test_unstorable_refusal_does_not_block_others(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    body = build_state(reference)
    for headers in ({"x-hub-signature-256": "sha256=\xff"}, {"x-other": "\x80"}, hub_signature(body, "x")):
        assert post(declared_web, "hub", body, headers).status == 401
    wait_for(lambda: find_refused(declared_connection, body))


def build_bearer_callbacks(reference: str) -> list[tuple[str, dict[str, str], bytes]]:
    """Return path, headers and body of a callback by each scheme that sends the secret itself."""
    body = build_state(reference)
    with_secret = json.dumps({**json.loads(body), "auth": {"token": BEARER_SECRET}}).encode()
    credentials = b64encode(f"user:{BEARER_SECRET}".encode()).decode()
    return [
        ("by-body", {"cookie": f"session={BEARER_SECRET}"}, with_secret),
        (f"by-query?%73ig={BEARER_SECRET.replace('0', '%30')}", {}, body),
        ("by-user", {"authorization": f"Basic {credentials}"}, body),
        (f"hook/{TOKEN}", {"x-original-uri": f"/callbacks/hook/{TOKEN}"}, body),
    ]


def read_rows(connection: Connection, provider: str) -> str:
    query = "SELECT callbacks::text || encode(coalesce(body, ''), 'escape') FROM callbacks WHERE provider = %s"
    return "".join(row for (row,) in connection.execute(query, [provider]))


@pytest.mark.parametrize("position", range(4))
def test_no_row_contains_the_secret_that_proved_a_sender(
    declared_web: Web, declared_connection: Connection, reference: str, position: int
) -> None:
    path, headers, body = build_bearer_callbacks(reference)[position]
    provider = path.partition("/")[0].partition("?")[0]
    assert post(declared_web, path, body, headers).status == 200
    assert find_status(declared_connection, provider, reference) == "succeeded"
    rows = read_rows(declared_connection, provider)
    credentials = b64encode(f"user:{BEARER_SECRET}".encode()).decode()
    assert [text for text in (BEARER_SECRET, TOKEN, credentials) if text in rows] == []
    secret = {"hook": TOKEN, "by-user": f"user:{BEARER_SECRET}"}.get(provider, BEARER_SECRET)
    assert fingerprint_secret(secret) in rows


def test_refused_callback_is_stored_without_the_value_that_was_sent(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    body = json.dumps({"id": reference, "state": "DONE", "auth": {"token": "an-earlier-secret"}}).encode()
    assert post(declared_web, "by-body", body).status == 401
    assert declared_web.call("GET", "/callbacks/meta?%74=verify+me").status == 401
    rows = wait_for(lambda: text if reference in (text := read_rows(declared_connection, "by-body")) else "")
    assert "an-earlier-secret" not in rows
    rows = wait_for(lambda: text if "%74" in (text := read_rows(declared_connection, "meta")) else "")
    assert "verify+me" not in rows


def test_last_use_of_each_secret_is_shown(declared_web: Web, reference: str) -> None:
    body = build_state(reference)
    assert post(declared_web, "hub", body, hub_signature(body, "old secret")).status == 200

    def last_used() -> list[str | None]:
        response = declared_web.call("GET", "/v1/providers", headers={"authorization": f"Bearer {KEY}"})
        [hub] = [item for item in json.loads(response.body)["items"] if item["name"] == "hub"]
        return [secret["last_used_at"] for secret in hub["secrets"]]

    wait_for(lambda: last_used()[1] is not None)
    assert len(last_used()) == 2
