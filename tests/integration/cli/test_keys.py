"""`receiver key`: create, list and revoke."""

import re
from datetime import UTC, datetime, timedelta

from tests.support.command_service import Service
from tests.support.processes import wait_for


def test_key_create_prints_the_key_alone_and_once(service: Service, name: str) -> None:
    created = service.run(
        *("key", "create", "--name", name, "--scope", "submit,read", "--provider", "acme"),
        *("--per-minute", 1000, "--expires", "90d"),
    )
    assert created.exit_code == 0
    key = created.stdout.removesuffix("\n")
    assert re.fullmatch(r"\S+", key)
    assert "only once" in created.stderr
    client = service.with_key(key)
    assert [item["name"] for item in client.json("provider", "list")["items"]] == ["acme"]
    assert "not allowed" in client.fails("provider", "pause", "acme")
    [created_key] = [item for item in service.json("key", "list", "--all")["items"] if item["name"] == name]
    assert (created_key["scopes"], created_key["providers"], created_key["per_minute"]) == (
        ["read", "submit"],
        ["acme"],
        1000,
    )
    assert (
        timedelta(days=89) < datetime.fromisoformat(created_key["expires_at"]) - datetime.now(UTC) < timedelta(days=91)
    )
    assert key not in service.ok("key", "list", "--all")
    assert created_key["id"] in service.ok("key", "revoke", created_key["id"], "--reason", "lost")
    wait_for(lambda: client.run("provider", "list").exit_code == 1)
    assert "RECEIVER_KEY" in client.fails("provider", "list")


def test_unknown_scope_is_a_usage_error(service: Service) -> None:
    assert "submit, read, admin" in service.fails("key", "create", "--name", "x", "--scope", "submit,write", code=2)
