"""What configuration makes of the callback endpoint: tokens, networks, GET, handshakes, acknowledgements, trust."""

import hmac
import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.domain.jobs import derive_job_id
from receiver.inbound.authentication import MAX_SAMPLES_PER_PROVIDER
from receiver.store.database import Connection, connect
from tests.http import Answer, problem_of
from tests.processes import RECEIVER, Web, assert_ends_well, running_web, wait_for

TOKEN, OLD_TOKEN = "a-token-of-this-test", "the-token-before-it_"
KEY = "an-admin-key-of-length"
CALLBACK = """
reference = "id"
status = "state"
statuses = { RUNNING = "in_progress", DONE = "succeeded", ERROR = "failed" }
"""
POLL = 'poll = { path = "/jobs/{reference}" }'


def table(name: str, signature: str, callback: str = "", more: str = "") -> str:
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
        table("hook", f'scheme = "token"\nsecrets = ["{TOKEN}", "{OLD_TOKEN}"]'),
        table("hub", 'scheme = "github"\nsecrets = ["new secret", "old secret"]'),
        table("near", f'scheme = "token"\nsecrets = ["{TOKEN}"]\nallow_from = ["203.0.113.0/24", "2001:db8::/32"]'),
        table("asker", f'scheme = "token"\nsecrets = ["{TOKEN}"]\ntrust = "confirm"', more=POLL),
        table("thin", f'scheme = "token"\nsecrets = ["{TOKEN}"]', "fetch = true", POLL),
        table("getter", f'scheme = "token"\nsecrets = ["{TOKEN}"]', 'body = "query"\nmethods = ["GET"]'),
        table("adyen", f'scheme = "token"\nsecrets = ["{TOKEN}"]', 'ack = { status = 202, body = "[accepted]" }'),
        table(
            "meta",
            'scheme = "meta"\nsecrets = ["app secret"]',
            'handshake = { kind = "get-echo", token_at = "query:t", token = "verify me", echo = "query:c" }',
        ),
    ]
)


@pytest.fixture(scope="module")
def dsn(server: str, template: str) -> Iterator[str]:
    with scratch_database(server, template=template) as own:
        yield own


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


@pytest.fixture
def connection(dsn: str) -> Iterator[Connection]:
    with closing(connect(dsn)) as opened:
        yield opened


@pytest.fixture
def reference() -> str:
    return f"ref-{uuid4().hex}"


def says(reference: str, state: str = "DONE") -> bytes:
    return json.dumps({"id": reference, "state": state}).encode()


def post(web: Web, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    return web.call("POST", f"/callbacks/{path}", body, {"content-type": "application/json", **(headers or {})})


def hub_signature(body: bytes, secret: str = "new secret") -> dict[str, str]:
    return {"x-hub-signature-256": f"sha256={hmac.new(secret.encode(), body, 'sha256').hexdigest()}"}


def status(connection: Connection, provider: str, reference: str) -> str | None:
    row = connection.execute("SELECT status FROM jobs WHERE id = %s", [derive_job_id(provider, reference)]).fetchone()
    return row[0] if row else None


def refused(connection: Connection, body: bytes) -> list[Any]:
    query = "SELECT id, errors FROM callbacks WHERE verdict = 'refused' AND body = %s"
    return connection.execute(query, [body]).fetchall()


def run(web: Web, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "RECEIVER_URL": f"http://{web.host}:{web.port}", "RECEIVER_KEY": KEY}
    return subprocess.run([RECEIVER, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("token", [TOKEN, OLD_TOKEN])
def test_any_live_token_lets_in(web: Web, connection: Connection, reference: str, token: str) -> None:
    assert post(web, f"hook/{token}", says(reference)).status == 200
    assert status(connection, "hook", reference) == "succeeded"


@pytest.mark.parametrize("path", ["hook", "hook/", f"hook/{TOKEN}x", f"hook/{TOKEN}/", "hook/%ff", f"hub/{TOKEN}"])
def test_a_wrong_token_is_404_and_leaves_no_trace(web: Web, connection: Connection, reference: str, path: str) -> None:
    response = post(web, path, says(reference))
    assert response.status == 404
    problem_of(response)
    assert status(connection, path.partition("/")[0], reference) is None


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
def test_only_the_networks_of_allow_from_may_call_as_trusted_proxies_tell(
    web: Web, connection: Connection, reference: str, forwarded: str, expected: int
) -> None:
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    assert post(web, f"near/{TOKEN}", says(reference), headers).status == expected
    assert status(connection, "near", reference) == ("succeeded" if expected == 200 else None)


def test_a_callback_by_get_is_read_from_its_query_and_each_is_a_callback_of_its_own(
    web: Web, connection: Connection, reference: str
) -> None:
    for state in ("RUNNING", "DONE"):
        response = web.call("GET", f"/callbacks/getter/{TOKEN}?id={reference}&state={state}")
        assert response.status == 200
    assert status(connection, "getter", reference) == "succeeded"
    assert post(web, f"getter/{TOKEN}", says(reference)).status == 405


def test_the_acknowledgement_is_the_providers_own(web: Web, reference: str) -> None:
    response = post(web, f"adyen/{TOKEN}", says(reference))
    assert (response.status, response.body) == (202, b"[accepted]")


def test_an_unsigned_get_with_the_verify_token_gets_its_challenge_back(web: Web) -> None:
    response = web.call("GET", "/callbacks/meta?t=verify+me&c=1158201444")
    assert (response.status, response.body) == (200, b"1158201444")
    assert response.headers["content-type"].startswith("text/plain")
    assert web.call("GET", "/callbacks/meta?t=verify&c=1").status == 401
    assert web.call("GET", "/callbacks/meta").status == 401


@pytest.mark.parametrize("provider", ["asker", "thin"])
def test_an_unconfirmed_final_word_changes_nothing_and_makes_us_ask_at_once(
    web: Web, connection: Connection, reference: str, provider: str
) -> None:
    assert post(web, f"{provider}/{TOKEN}", says(reference)).status == 200
    row = connection.execute(
        "SELECT status, poll_at <= now() FROM jobs WHERE id = %s", [derive_job_id(provider, reference)]
    ).fetchone()
    assert row == ("accepted", True)
    kept = connection.execute(
        "SELECT verdict, provider_status FROM events JOIN callbacks ON callback_id = id WHERE job_id = %s",
        [derive_job_id(provider, reference)],
    ).fetchone()
    assert kept == ("accepted", "DONE")


def test_a_refused_callback_is_kept_with_the_part_that_failed(web: Web, connection: Connection, reference: str) -> None:
    body = says(reference)
    assert post(web, "hub", body, hub_signature(body, "wrong")).status == 401
    wait_for(lambda: refused(connection, body))
    [(_, errors)] = refused(connection, body)
    assert list(errors) == ["x-hub-signature-256"]
    assert status(connection, "hub", reference) is None


def test_of_a_storm_of_forgeries_only_a_sample_is_kept(web: Web, connection: Connection) -> None:
    for number in range(MAX_SAMPLES_PER_PROVIDER + 30):
        assert post(web, "meta", says(f"forged-{number}")).status == 401
    last = says(f"forged-{MAX_SAMPLES_PER_PROVIDER + 29}")
    wait_for(lambda: refused(connection, last))
    count = "SELECT count(*) FROM callbacks WHERE verdict = 'refused' AND provider = 'meta'"
    [(kept,)] = connection.execute(count).fetchall()
    assert 1 <= kept <= MAX_SAMPLES_PER_PROVIDER


def test_what_postgres_cannot_hold_keeps_no_other_refusal_from_being_kept(
    web: Web, connection: Connection, reference: str
) -> None:
    body = says(reference)
    for headers in ({"x-hub-signature-256": "sha256=\xff"}, {"x-other": "\x80"}, hub_signature(body, "x")):
        assert post(web, "hub", body, headers).status == 401
    wait_for(lambda: refused(connection, body))


def test_explain_says_which_part_failed_and_what_to_do(web: Web, connection: Connection, reference: str) -> None:
    signed, delivered = says(reference), says(reference).replace(b", ", b",").replace(b": ", b":")
    assert post(web, "hub", delivered, hub_signature(signed)).status == 401
    wait_for(lambda: refused(connection, delivered))
    [(callback_id, _)] = refused(connection, delivered)
    told = run(web, "callback", "explain", str(callback_id))
    assert told.returncode == 0
    assert "x-hub-signature-256" in told.stdout
    assert "modified in transit" in told.stdout
    newest = run(web, "callback", "explain", "--provider", "hub", "--json")
    assert json.loads(newest.stdout)["verdict"] == "refused"


def test_explain_says_what_to_do_about_an_address_that_is_not_allowed(web: Web, reference: str) -> None:
    assert post(web, f"near/{TOKEN}", says(reference), {"x-forwarded-for": "198.51.100.9"}).status == 401
    told = wait_for(lambda: run(web, "callback", "explain", "--provider", "near").stdout)
    assert "address" in told
    assert "→ The caller's address is not in `allow_from`." in told


def test_a_list_and_one_callback_are_shown_without_secrets(web: Web, reference: str) -> None:
    post(web, f"hook/{TOKEN}", says(reference), {"authorization": "Bearer theirs"})
    listed = json.loads(run(web, "callback", "list", "--provider", "hook", "--limit", "1", "--json").stdout)
    shown = run(web, "callback", "show", listed["items"][0]["id"])
    assert reference in shown.stdout
    assert TOKEN not in shown.stdout
    assert "theirs" not in shown.stdout


def test_explain_without_any_refusal_or_service_says_so(web: Web) -> None:
    assert "no refused callback" in run(web, "callback", "explain", "--provider", "adyen").stderr
    environ = {**os.environ, "RECEIVER_URL": "http://127.0.0.1:9"}
    nobody = subprocess.run([RECEIVER, "callback", "list"], env=environ, capture_output=True, text=True, check=False)
    assert nobody.returncode == 1
    assert "set RECEIVER_URL" in nobody.stderr


def test_each_live_secret_remembers_when_it_last_matched(web: Web, reference: str) -> None:
    body = says(reference)
    assert post(web, "hub", body, hub_signature(body, "old secret")).status == 200

    def last_used() -> list[str | None]:
        response = web.call("GET", "/v1/providers", headers={"authorization": f"Bearer {KEY}"})
        [hub] = [item for item in json.loads(response.body)["items"] if item["name"] == "hub"]
        return [secret["last_used_at"] for secret in hub["secrets"]]

    wait_for(lambda: last_used()[1] is not None)
    assert len(last_used()) == 2


def test_check_prints_the_url_to_register(tmp_path: Path) -> None:
    (tmp_path / "receiver.toml").write_text(CONFIG)
    environ = {**os.environ, "RECEIVER_PUBLIC_URL": "https://receiver.example"}
    told = subprocess.run(
        [RECEIVER, "provider", "check", "hook"], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0
    assert f"https://receiver.example/callbacks/hook/{TOKEN}" in told.stdout
