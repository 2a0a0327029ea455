"""The callback endpoint by configuration: tokens, networks, GET, handshakes, acknowledgements, trust."""

import hmac
import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.domain.jobs import derive_job_id
from receiver.inbound.authentication import MAX_SAMPLES_PER_PROVIDER
from receiver.store.database import Connection
from tests.support.http import Response, parse_problem
from tests.support.processes import RECEIVER, Web, assert_ends_well, running_web, wait_for

TOKEN, OLD_TOKEN = "a-token-of-this-test", "the-token-before-it_"
KEY = "an-admin-key-of-length"
CALLBACK = """
reference = "id"
status = "state"
statuses = { RUNNING = "in_progress", DONE = "succeeded", ERROR = "failed" }
"""
POLL = 'poll = { path = "/jobs/{reference}" }'


def build_table(name: str, signature: str, callback: str = "", more: str = "") -> str:
    return f"""
[providers.{name}]
kind = "declared"
base_url = "http://127.0.0.1:9"
{more}
[providers.{name}.signature]
{signature}
[providers.{name}.callback]
{CALLBACK}
{callback}
"""


CONFIG = "".join(
    [
        build_table("hook", f'scheme = "token"\nsecrets = ["{TOKEN}", "{OLD_TOKEN}"]'),
        build_table("hub", 'scheme = "github"\nsecrets = ["new secret", "old secret"]'),
        build_table(
            "near", f'scheme = "token"\nsecrets = ["{TOKEN}"]\nallow_from = ["203.0.113.0/24", "2001:db8::/32"]'
        ),
        build_table("asker", f'scheme = "token"\nsecrets = ["{TOKEN}"]\ntrust = "confirm"', more=POLL),
        build_table("thin", f'scheme = "token"\nsecrets = ["{TOKEN}"]', "fetch = true", POLL),
        build_table("getter", f'scheme = "token"\nsecrets = ["{TOKEN}"]', 'body = "query"\nmethods = ["GET"]'),
        build_table("adyen", f'scheme = "token"\nsecrets = ["{TOKEN}"]', 'ack = { status = 202, body = "[accepted]" }'),
        build_table(
            "meta",
            'scheme = "meta"\nsecrets = ["app secret"]',
            'handshake = { kind = "get-echo", token_at = "query:t", token = "verify me", echo = "query:c" }',
        ),
    ]
)


@pytest.fixture(scope="module")
def dsn(server: str, template: str) -> Iterator[str]:
    with scratch_database(server, template=template) as scratch_dsn:
        yield scratch_dsn


@pytest.fixture(scope="module")
def web(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    directory = tmp_path_factory.mktemp("web")
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        running_web(
            directory,
            dsn,
            CONFIG,
            listener,
            WEB_CONCURRENCY="1",
            RECEIVER_TRUSTED_PROXIES="127.0.0.0/8",
            RECEIVER_ADMIN_KEY=KEY,
        ) as running,
    ):
        yield running
        assert_ends_well(running)


def build_report(reference: str, state: str = "DONE") -> bytes:
    return json.dumps({"id": reference, "state": state}).encode()


def post(web: Web, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    return web.call("POST", f"/callbacks/{path}", body, {"content-type": "application/json", **(headers or {})})


def hub_signature(body: bytes, secret: str = "new secret") -> dict[str, str]:
    return {"x-hub-signature-256": f"sha256={hmac.new(secret.encode(), body, 'sha256').hexdigest()}"}


def find_status(connection: Connection, provider: str, reference: str) -> str | None:
    row = connection.execute("SELECT status FROM jobs WHERE id = %s", [derive_job_id(provider, reference)]).fetchone()
    return row[0] if row else None


def find_refused(connection: Connection, body: bytes) -> list[Any]:
    query = "SELECT id, errors FROM callbacks WHERE verdict = 'refused' AND body = %s"
    return connection.execute(query, [body]).fetchall()


def run_command(web: Web, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "RECEIVER_URL": f"http://{web.host}:{web.port}", "RECEIVER_KEY": KEY}
    return subprocess.run([RECEIVER, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("token", [TOKEN, OLD_TOKEN])
def test_any_live_token_is_accepted(web: Web, connection: Connection, reference: str, token: str) -> None:
    assert post(web, f"hook/{token}", build_report(reference)).status == 200
    assert find_status(connection, "hook", reference) == "succeeded"


@pytest.mark.parametrize("path", ["hook", "hook/", f"hook/{TOKEN}x", f"hook/{TOKEN}/", "hook/%ff", f"hub/{TOKEN}"])
def test_wrong_token_is_404_without_effect(web: Web, connection: Connection, reference: str, path: str) -> None:
    response = post(web, path, build_report(reference))
    assert response.status == 404
    parse_problem(response)
    assert find_status(connection, path.partition("/")[0], reference) is None


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
    web: Web, connection: Connection, reference: str, forwarded: str, expected: int
) -> None:
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    assert post(web, f"near/{TOKEN}", build_report(reference), headers).status == expected
    assert find_status(connection, "near", reference) == ("succeeded" if expected == 200 else None)


def test_get_callback_is_parsed_from_its_query(web: Web, connection: Connection, reference: str) -> None:
    for state in ("RUNNING", "DONE"):
        response = web.call("GET", f"/callbacks/getter/{TOKEN}?id={reference}&state={state}")
        assert response.status == 200
    assert find_status(connection, "getter", reference) == "succeeded"
    assert post(web, f"getter/{TOKEN}", build_report(reference)).status == 405


def test_acknowledgement_is_configured_by_provider(web: Web, reference: str) -> None:
    response = post(web, f"adyen/{TOKEN}", build_report(reference))
    assert (response.status, response.body) == (202, b"[accepted]")


def test_handshake_echoes_challenge(web: Web) -> None:
    response = web.call("GET", "/callbacks/meta?t=verify+me&c=1158201444")
    assert (response.status, response.body) == (200, b"1158201444")
    assert response.headers["content-type"].startswith("text/plain")
    assert web.call("GET", "/callbacks/meta?t=verify&c=1").status == 401
    assert web.call("GET", "/callbacks/meta").status == 401


@pytest.mark.parametrize("provider", ["asker", "thin"])
def test_unconfirmed_final_status_only_triggers_poll(
    web: Web, connection: Connection, reference: str, provider: str
) -> None:
    assert post(web, f"{provider}/{TOKEN}", build_report(reference)).status == 200
    row = connection.execute(
        "SELECT status, poll_at <= now() FROM jobs WHERE id = %s", [derive_job_id(provider, reference)]
    ).fetchone()
    assert row == ("accepted", True)
    event = connection.execute(
        "SELECT verdict, provider_status FROM events JOIN callbacks ON callback_id = id WHERE job_id = %s",
        [derive_job_id(provider, reference)],
    ).fetchone()
    assert event == ("accepted", "DONE")


def test_refused_callback_is_stored_with_failed_part(web: Web, connection: Connection, reference: str) -> None:
    body = build_report(reference)
    assert post(web, "hub", body, hub_signature(body, "wrong")).status == 401
    wait_for(lambda: find_refused(connection, body))
    [(_, errors)] = find_refused(connection, body)
    assert list(errors) == ["x-hub-signature-256"]
    assert find_status(connection, "hub", reference) is None


def test_only_a_sample_of_forgeries_is_stored(web: Web, connection: Connection) -> None:
    for number in range(MAX_SAMPLES_PER_PROVIDER + 30):
        assert post(web, "meta", build_report(f"forged-{number}")).status == 401
    last = build_report(f"forged-{MAX_SAMPLES_PER_PROVIDER + 29}")
    wait_for(lambda: find_refused(connection, last))
    count = "SELECT count(*) FROM callbacks WHERE verdict = 'refused' AND provider = 'meta'"
    [(count_stored,)] = connection.execute(count).fetchall()
    assert 1 <= count_stored <= MAX_SAMPLES_PER_PROVIDER


def test_unstorable_refusal_does_not_block_others(web: Web, connection: Connection, reference: str) -> None:
    body = build_report(reference)
    for headers in ({"x-hub-signature-256": "sha256=\xff"}, {"x-other": "\x80"}, hub_signature(body, "x")):
        assert post(web, "hub", body, headers).status == 401
    wait_for(lambda: find_refused(connection, body))


def test_explain_names_failed_part_and_remedy(web: Web, connection: Connection, reference: str) -> None:
    signed, delivered = build_report(reference), build_report(reference).replace(b", ", b",").replace(b": ", b":")
    assert post(web, "hub", delivered, hub_signature(signed)).status == 401
    wait_for(lambda: find_refused(connection, delivered))
    [(callback_id, _)] = find_refused(connection, delivered)
    result = run_command(web, "callback", "explain", str(callback_id))
    assert result.returncode == 0
    assert "x-hub-signature-256" in result.stdout
    assert "modified in transit" in result.stdout
    newest = run_command(web, "callback", "explain", "--provider", "hub", "--json")
    assert json.loads(newest.stdout)["verdict"] == "refused"


def test_explain_names_remedy_for_forbidden_address(web: Web, reference: str) -> None:
    assert post(web, f"near/{TOKEN}", build_report(reference), {"x-forwarded-for": "198.51.100.9"}).status == 401
    output = wait_for(lambda: run_command(web, "callback", "explain", "--provider", "near").stdout)
    assert "address" in output
    assert "→ The caller's address is not in `allow_from`." in output


def test_callbacks_are_shown_without_secrets(web: Web, reference: str) -> None:
    post(web, f"hook/{TOKEN}", build_report(reference), {"authorization": "Bearer theirs"})
    page = json.loads(run_command(web, "callback", "list", "--provider", "hook", "--limit", "1", "--json").stdout)
    result = run_command(web, "callback", "show", page["items"][0]["id"])
    assert reference in result.stdout
    assert TOKEN not in result.stdout
    assert "theirs" not in result.stdout


def test_explain_without_refusal_or_service(web: Web) -> None:
    assert "No refused callback" in run_command(web, "callback", "explain", "--provider", "adyen").stderr
    environ = {**os.environ, "RECEIVER_URL": "http://127.0.0.1:9"}
    nobody = subprocess.run([RECEIVER, "callback", "list"], env=environ, capture_output=True, text=True, check=False)
    assert nobody.returncode == 1
    assert "set RECEIVER_URL" in nobody.stderr


def test_last_use_of_each_secret_is_shown(web: Web, reference: str) -> None:
    body = build_report(reference)
    assert post(web, "hub", body, hub_signature(body, "old secret")).status == 200

    def last_used() -> list[str | None]:
        response = web.call("GET", "/v1/providers", headers={"authorization": f"Bearer {KEY}"})
        [hub] = [item for item in json.loads(response.body)["items"] if item["name"] == "hub"]
        return [secret["last_used_at"] for secret in hub["secrets"]]

    wait_for(lambda: last_used()[1] is not None)
    assert len(last_used()) == 2


def test_check_prints_url_to_register(tmp_path: Path) -> None:
    (tmp_path / "receiver.toml").write_text(CONFIG)
    environ = {**os.environ, "RECEIVER_PUBLIC_URL": "https://receiver.example"}
    result = subprocess.run(
        [RECEIVER, "provider", "check", "hook"], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0
    assert f"https://receiver.example/callbacks/hook/{TOKEN}" in result.stdout
