"""A declared provider end to end: requests, responses, callbacks and polls over real HTTP."""

import hmac
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.store.database import connect
from receiver.store.requests import NewRequest, submit_requests
from tests.support.processes import assert_ends_well, running_web, running_worker, wait_for
from tests.support.provider import Provider, Reply, listening

CONFIG = """
[providers.acme]
kind = "declared"
base_url = "{url}/acme"
auth = {{ scheme = "header", name = "X-Key", secret = "sk_1" }}
[providers.acme.operations.render]
path = "/v1/renders"
callback_url = "webhook_url"
idempotency_header = "Idempotency-Key"
[providers.acme.response]
items = "items"
reference = "id"
code = "status"
codes = {{ queued = "accepted", bad = "rejected" }}
[providers.acme.callback]
items = "results[]"
reference = "id"
status = "state"
statuses = {{ RUNNING = "in_progress", DONE = "succeeded", ERROR = "failed" }}
[providers.acme.signature]
scheme = "hmac"
header = "X-Acme-Signature"
prefix = "sha256="
signed = "{{timestamp}}.{{body}}"
timestamp = "header:X-Acme-Timestamp"
secrets = ["a secret of acme's"]
{trust}
[providers.acme.poll]
path = "/v1/renders/{{reference}}"
"""


@pytest.fixture
def dsn(server: str, template: str) -> Iterator[str]:
    with scratch_database(server, template=template) as scratch_dsn:
        yield scratch_dsn


@pytest.fixture
def provider() -> Iterator[Provider]:
    with listening() as server:
        yield server


def sign(body: bytes) -> dict[str, str]:
    timestamp = str(int(time.time()))
    signature = hmac.new(b"a secret of acme's", timestamp.encode() + b"." + body, "sha256").hexdigest()
    return {
        "content-type": "application/json",
        "x-acme-timestamp": timestamp,
        "x-acme-signature": f"sha256={signature}",
    }


def build_reply(reference: str) -> Reply:
    items = [{"id": reference, "status": "queued"}, {"id": None, "status": "bad"}]
    return Reply(202, json.dumps({"items": items}).encode())


@pytest.mark.parametrize("final_state", ["DONE", "ERROR"])
@pytest.mark.parametrize("trust", ["", 'trust = "confirm"'])
def test_signed_callback_or_confirming_poll_decides(
    dsn: str, provider: Provider, tmp_path: Path, trust: str, final_state: str
) -> None:
    config = CONFIG.format(url=provider.url, trust=trust)
    provider.script("order-1", build_reply("r-1"))
    provider.script("r-1", Reply(200, json.dumps({"id": "r-1", "state": final_state}).encode()))
    with (
        closing(connect(dsn)) as connection,
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        running_web(tmp_path, dsn, config, listener, WEB_CONCURRENCY="1") as web,
        running_worker(tmp_path, dsn, config) as worker,
    ):
        payload = {"client_reference": "order-1"}
        submit_requests(connection, [NewRequest(uuid4(), "acme", "render", payload, {}, None, None, 3_600.0)])

        def find_status() -> str | None:
            row = connection.execute("SELECT status FROM jobs WHERE reference = 'r-1'").fetchone()
            return row[0] if row else None

        wait_for(lambda: find_status() == "accepted")
        body = json.dumps({"results": [{"id": "r-1", "state": "DONE" if trust else final_state}]}).encode()
        assert web.call("POST", "/callbacks/acme", body + b" ", sign(body)).status == 401
        assert find_status() == "accepted"
        assert web.call("POST", "/callbacks/acme", body, sign(body)).status == 200
        wait_for(lambda: find_status() == ("succeeded" if final_state == "DONE" else "failed"))
        [request] = provider.find_received("order-1")
        assert request.headers["x-key"] == "sk_1"
        assert json.loads(request.body)["webhook_url"].endswith("/callbacks/acme")
        assert len(provider.find_received("r-1")) == (1 if trust else 0)
        assert_ends_well(web)
        assert_ends_well(worker)
