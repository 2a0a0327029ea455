"""A web process with declared providers of several authentication schemes, and calls of it."""

import hmac
import json
import os
import socket
import subprocess
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from receiver.domain.jobs import derive_job_id
from receiver.store.connections import Connection
from tests.support.http import Response
from tests.support.processes import RECEIVER, Web, assert_ends_well, running_web

BEARER_SECRET = "0123456789abcdef-secret"
TOKEN, OLD_TOKEN = "a-token-of-this-test", "the-token-before-it_"
KEY = "an-admin-key-of-length"
NONCE_SECRET = "a-secret-for-nonces"
REWRITTEN_URL = "https://hooks.acme.example/in"
"""The callback URL of the provider `rewritten`, as the provider knows it."""
CALLBACK = """
reference = "id"
status = "state"
statuses = { RUNNING = "in_progress", DONE = "succeeded", ERROR = "failed" }
"""
POLL = 'poll = { path = "/jobs/{reference}" }'


def build_declared_table(name: str, signature: str, callback: str = "", more: str = "") -> str:
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
        build_declared_table("hook", f'scheme = "token"\nsecrets = ["{TOKEN}", "{OLD_TOKEN}"]'),
        build_declared_table("hub", 'scheme = "github"\nsecrets = ["new secret", "old secret"]'),
        build_declared_table("plivo", f'scheme = "plivo-v2"\nsecrets = ["{NONCE_SECRET}"]\ntrust = "sender"'),
        build_declared_table(
            "rewritten", 'scheme = "square"\nsecrets = ["new secret"]', more=f'public_url = "{REWRITTEN_URL}"'
        ),
        build_declared_table(
            "numbered", 'scheme = "github"\nsecrets = ["new secret"]', 'event_id = "header:X-Delivery"'
        ),
        build_declared_table(
            "near", f'scheme = "token"\nsecrets = ["{TOKEN}"]\nallow_from = ["203.0.113.0/24", "2001:db8::/32"]'
        ),
        build_declared_table("asker", f'scheme = "token"\nsecrets = ["{TOKEN}"]\ntrust = "confirm"', more=POLL),
        build_declared_table("thin", f'scheme = "token"\nsecrets = ["{TOKEN}"]', "fetch = true", POLL),
        build_declared_table("getter", f'scheme = "token"\nsecrets = ["{TOKEN}"]', 'body = "query"\nmethods = ["GET"]'),
        build_declared_table(
            "adyen", f'scheme = "token"\nsecrets = ["{TOKEN}"]', 'ack = { status = 202, body = "[accepted]" }'
        ),
        build_declared_table("timed", 'scheme = "github"\nsecrets = ["new secret"]', 'occurred_at = "at"'),
        build_declared_table("batch", 'scheme = "github"\nsecrets = ["new secret"]', 'items = "items"'),
        build_declared_table("parts", 'scheme = "github"\nsecrets = ["new secret"]', 'body = "multipart"'),
        build_declared_table(
            "by-body", f'scheme = "equals"\nsource = "auth.token"\nsecrets = ["old", "{BEARER_SECRET}"]'
        ),
        build_declared_table("by-query", f'scheme = "equals"\nsource = "query:sig"\nsecrets = ["{BEARER_SECRET}"]'),
        build_declared_table("by-user", f'scheme = "basic"\nsecrets = ["user:{BEARER_SECRET}"]'),
        build_declared_table(
            "meta",
            'scheme = "meta"\nsecrets = ["app secret"]',
            'handshake = { kind = "get-echo", token_at = "query:t", token = "verify me", echo = "query:c" }',
        ),
    ]
)


def sign_nonce(url: str, nonce: str) -> dict[str, str]:
    """Return the headers of Plivo's signature V2, which covers the URL and a nonce."""
    signature = hmac.digest(NONCE_SECRET.encode(), f"{url}{nonce}".encode(), "sha256")
    return {"x-plivo-signature-v2": b64encode(signature).decode(), "x-plivo-signature-v2-nonce": nonce}


@contextmanager
def running_declared_web(dsn: str, directory: Path) -> Iterator[Web]:
    """Run a web process with declared providers of several schemes."""
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


def build_state(reference: str, state: str = "DONE") -> bytes:
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
