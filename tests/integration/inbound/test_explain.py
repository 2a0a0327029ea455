"""Explanations of refused callbacks, and callbacks without the secrets in them."""

import json
import os
import subprocess

from receiver.store.connections import Connection
from tests.support.declared_service import TOKEN, build_state, find_refused, hub_signature, post, run_command
from tests.support.processes import RECEIVER, Web, wait_for


def test_explain_names_failed_part_and_remedy(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    signed, delivered = build_state(reference), build_state(reference).replace(b", ", b",").replace(b": ", b":")
    assert post(declared_web, "hub", delivered, hub_signature(signed)).status == 401
    wait_for(lambda: find_refused(declared_connection, delivered))
    [(callback_id, _)] = find_refused(declared_connection, delivered)
    result = run_command(declared_web, "callback", "explain", str(callback_id))
    assert result.returncode == 0
    assert "x-hub-signature-256" in result.stdout
    assert "modified in transit" in result.stdout
    newest = run_command(declared_web, "callback", "explain", "--provider", "hub", "--json")
    assert json.loads(newest.stdout)["verdict"] == "refused"


def test_explain_names_remedy_for_forbidden_address(declared_web: Web, reference: str) -> None:
    assert (
        post(declared_web, f"near/{TOKEN}", build_state(reference), {"x-forwarded-for": "198.51.100.9"}).status == 401
    )
    output = wait_for(lambda: run_command(declared_web, "callback", "explain", "--provider", "near").stdout)
    assert "address" in output
    assert "→ The caller's address is not in `allow_from`." in output


def test_callbacks_are_shown_without_secrets(declared_web: Web, reference: str) -> None:
    post(declared_web, f"hook/{TOKEN}", build_state(reference), {"authorization": "Bearer theirs"})
    page = json.loads(
        run_command(declared_web, "callback", "list", "--provider", "hook", "--limit", "1", "--json").stdout
    )
    result = run_command(declared_web, "callback", "show", page["items"][0]["id"])
    assert reference in result.stdout
    assert TOKEN not in result.stdout
    assert "theirs" not in result.stdout


def test_explain_of_redacted_refusal_names_the_reason(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    body = json.dumps({"id": reference, "state": "DONE", "auth": {"token": "wrong"}}).encode()
    assert post(declared_web, "by-body", body).status == 401
    stored = body.replace(b"wrong", b"[redacted]")
    [(callback_id, _)] = wait_for(lambda: find_refused(declared_connection, stored))
    explained = run_command(declared_web, "callback", "explain", str(callback_id)).stdout
    assert "does not match any configured secret" in explained
    assert "not stored, because it may be a secret" in explained.replace("\n", " ")
    replayed = run_command(declared_web, "callback", "replay", str(callback_id))
    assert (replayed.returncode, "is not stored" in replayed.stderr + replayed.stdout) == (1, True)


def test_explain_without_refusal_or_service(declared_web: Web) -> None:
    assert "No refused callback" in run_command(declared_web, "callback", "explain", "--provider", "adyen").stderr
    environ = {**os.environ, "RECEIVER_URL": "http://127.0.0.1:9"}
    nobody = subprocess.run([RECEIVER, "callback", "list"], env=environ, capture_output=True, text=True, check=False)
    assert nobody.returncode == 1
    assert "Set RECEIVER_URL" in nobody.stderr
