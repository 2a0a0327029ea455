"""A declared provider end to end: requests, responses, callbacks and polls over real HTTP."""

import hmac
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import NamedTuple
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection, connect
from receiver.store.requests import NewRequest, submit_requests
from tests.support.processes import Web, assert_ends_well, running_web, running_worker, wait_for
from tests.support.provider import Provider, Reply, listening

CONFIG = """
[providers.{name}]
kind = "declared"
base_url = "{url}/{name}"
auth = {{ scheme = "header", name = "X-Key", secret = "sk_1" }}
[providers.{name}.operations.render]
path = "/v1/renders"
callback_url = "webhook_url"
idempotency_header = "Idempotency-Key"
[providers.{name}.response]
items = "items"
reference = "id"
code = "status"
codes = {{ queued = "accepted", bad = "rejected" }}
[providers.{name}.callback]
items = "results[]"
reference = "id"
status = "state"
statuses = {{ RUNNING = "in_progress", DONE = "succeeded", ERROR = "failed" }}
[providers.{name}.signature]
scheme = "hmac"
header = "X-Acme-Signature"
prefix = "sha256="
signed = "{{timestamp}}.{{body}}"
timestamp = "header:X-Acme-Timestamp"
secrets = ["a secret of acme's"]
{trust}
[providers.{name}.poll]
path = "/v1/renders/{{reference}}"
"""
TRUST = {"acme": "", "confirmed": 'trust = "confirm"'}
"""The setting of each provider."""


class Service(NamedTuple):
    """A web process and a worker, their database, and the provider with both of its configurations."""

    web: Web
    connection: Connection
    provider: Provider


@pytest.fixture(scope="module")
def declared_service(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("service")
    with ExitStack() as stack:
        dsn = stack.enter_context(scratch_database(server, template=template))
        provider = stack.enter_context(listening())
        config = "".join(CONFIG.format(name=name, url=provider.url, trust=trust) for name, trust in TRUST.items())
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        web = stack.enter_context(running_web(directory, dsn, config, listener, WEB_CONCURRENCY="1"))
        worker = stack.enter_context(running_worker(directory, dsn, config))
        yield Service(web, stack.enter_context(closing(connect(dsn))), provider)
        assert_ends_well(web)
        assert_ends_well(worker)


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
@pytest.mark.parametrize("name", TRUST)
def test_signed_callback_or_confirming_poll_decides(declared_service: Service, name: str, final_state: str) -> None:
    web, connection, provider = declared_service
    order, reference = f"order-{uuid4().hex}", f"r-{uuid4().hex}"
    provider.script(order, build_reply(reference))
    provider.script(reference, Reply(200, json.dumps({"id": reference, "state": final_state}).encode()))
    submit_requests(
        connection, [NewRequest(uuid4(), name, "render", {"client_reference": order}, {}, None, None, 3_600.0)]
    )

    def find_status() -> str | None:
        row = connection.execute("SELECT status FROM jobs WHERE reference = %s", [reference]).fetchone()
        return row[0] if row else None

    wait_for(lambda: find_status() == "accepted")
    body = json.dumps({"results": [{"id": reference, "state": "DONE" if TRUST[name] else final_state}]}).encode()
    assert web.call("POST", f"/callbacks/{name}", body + b" ", sign(body)).status == 401
    assert find_status() == "accepted"
    assert web.call("POST", f"/callbacks/{name}", body, sign(body)).status == 200
    wait_for(lambda: find_status() == ("succeeded" if final_state == "DONE" else "failed"))
    [request] = provider.find_received(order)
    assert request.headers["x-key"] == "sk_1"
    assert json.loads(request.body)["webhook_url"].endswith(f"/callbacks/{name}")
    assert len(provider.find_received(reference)) == (1 if TRUST[name] else 0)
