"""Callback authentication: tokens, networks, the sample of refused callbacks, and uses of secrets."""

import json

import pytest

from receiver.inbound.authentication import MAX_SAMPLES_PER_PROVIDER
from receiver.store.database import Connection
from tests.support.declared_service import (
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


def test_last_use_of_each_secret_is_shown(declared_web: Web, reference: str) -> None:
    body = build_state(reference)
    assert post(declared_web, "hub", body, hub_signature(body, "old secret")).status == 200

    def last_used() -> list[str | None]:
        response = declared_web.call("GET", "/v1/providers", headers={"authorization": f"Bearer {KEY}"})
        [hub] = [item for item in json.loads(response.body)["items"] if item["name"] == "hub"]
        return [secret["last_used_at"] for secret in hub["secrets"]]

    wait_for(lambda: last_used()[1] is not None)
    assert len(last_used()) == 2
